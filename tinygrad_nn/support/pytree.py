"""Nested structures of tensors: lists, tuples (named ones too), dicts and dataclasses, flattened to leaves and built
again.

A structure is described by a hashable `Tree`, so that it can be part of a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from ..errors import ShapeError, message


@dataclass(frozen=True, slots=True)
class Tree:
    """The shape of a structure: its type, the names of its parts and the parts. A leaf has no type."""

    type: Any = None
    names: tuple[Any, ...] = ()
    parts: tuple[Tree, ...] = ()

    @property
    def size(self) -> int:
        """Number of leaves."""
        return 1 if self.type is None else sum(part.size for part in self.parts)


LEAF = Tree()


DEEPEST: Final = 500  # levels of a structure: one that holds itself has no end


def flatten(value: Any, depth: int = 0) -> tuple[list[Any], Tree]:
    """The leaves of a structure, in order, and its description.

    >>> flatten({"b": [1, 2], "a": (3,)})[0]
    [1, 2, 3]
    """
    parts = _parts(value)
    if parts is None:
        return [value], LEAF
    if depth > DEEPEST:
        hint = "a structure may not hold itself"
        raise ShapeError(message("pytree", f"a structure nested more than {DEEPEST} deep", "a flatter one", hint))
    names, children = parts
    leaves: list[Any] = []
    trees = []
    for child in children:
        below, tree = flatten(child, depth + 1)
        leaves += below
        trees.append(tree)
    return leaves, Tree(type(value), names, tuple(trees))


def _parts(value: Any) -> tuple[tuple[Any, ...], list[Any]] | None:
    if isinstance(value, dict):
        return tuple(value), list(value.values())
    if isinstance(value, (list, tuple)):
        return getattr(value, "_fields", ()), list(value)
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in fields(value) if field.init)
        return names, [getattr(value, name) for name in names]
    return None


def leaf_names(tree: Tree, name: str) -> list[str]:
    """A name for each leaf: its key or field where there is one, else `name` and its place.

    >>> leaf_names(flatten({"b": [1, 2], "a": 3})[1], "carry")
    ['b 0', 'b 1', 'a']
    >>> leaf_names(flatten((1, 2))[1], "carry"), leaf_names(flatten(1)[1], "carry")
    (['carry 0', 'carry 1'], ['carry'])
    """
    if tree.type is None:
        return [name]
    owns = tree.names or [f"{name} {k}" for k in range(len(tree.parts))]
    return [leaf for own, part in zip(owns, tree.parts, strict=True) for leaf in leaf_names(part, str(own))]


def unflatten(tree: Tree, leaves: list[Any]) -> Any:
    """The structure `tree` describes, with these leaves.

    >>> unflatten(flatten([0, (0, 0)])[1], [1, 2, 3])
    [1, (2, 3)]
    """
    return _build(tree, iter(leaves))


def _build(tree: Tree, leaves: Iterator[Any]) -> Any:
    if tree.type is None:
        return next(leaves)
    children = [_build(part, leaves) for part in tree.parts]
    if issubclass(tree.type, dict):
        return tree.type(zip(tree.names, children, strict=True))
    if tree.names:
        return tree.type(**dict(zip(tree.names, children, strict=True)))
    return tree.type(children)


def mapped(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Apply a function to the leaves of structures of one shape.

    >>> mapped(lambda a, b: a + b, {"x": 1}, {"x": 2})
    {'x': 3}
    """
    leaves, tree = flatten(first)
    columns = [flatten(other)[0] for other in others]
    return unflatten(tree, [function(*row) for row in zip(leaves, *columns, strict=True)])
