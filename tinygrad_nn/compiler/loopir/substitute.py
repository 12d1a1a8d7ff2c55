"""Statements with other variables or buffers in the place of some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...graph.scalar import Expr, walk
from .ir import Access, Affine, Assign, Buffer, Check, Guard, Let, Loop, Statement, Store, Var, affine


@dataclass(frozen=True, slots=True)
class Substitution:
    """What stands for what. The buffers of a Gemm stay.

    `variables` have another place for theirs, `loops` run over another variable; where `places` has a buffer, the index
    on that axis is this one whatever it was; where `appended` has one, this index comes behind its others.
    """

    variables: Mapping[Var, Var | Affine] = field(default_factory=dict)
    buffers: Mapping[Buffer, Buffer] = field(default_factory=dict)
    expressions: Mapping[Expr, Expr] = field(default_factory=dict)
    loops: Mapping[Var, Var] = field(default_factory=dict)
    places: Mapping[Buffer, tuple[int, Affine]] = field(default_factory=dict)
    appended: Mapping[Buffer, Affine] = field(default_factory=dict)

    def statement(self, one: Statement) -> Statement:
        """A statement, with all inside of it."""
        if isinstance(one, Loop):
            return Loop(self.loops.get(one.var, one.var), tuple(self.statement(inner) for inner in one.body))
        if isinstance(one, (Let, Assign)):
            return replace(one, value=self.expression(one.value))
        if isinstance(one, Store):
            return replace(one, target=self._access(one.target), value=self.expression(one.value))
        if isinstance(one, Check):
            return replace(one, condition=self.expression(one.condition))
        return one

    def expression(self, root: Expr) -> Expr:
        """An expression."""
        fresh: dict[Expr, Expr] = {}
        for node in walk(root):
            if node in self.expressions:
                fresh[node] = self.expressions[node]
                continue
            value = self._leaf(node.value) if node.op == "param" else node.value
            args = tuple(fresh[arg] for arg in node.args)
            changed = value is not node.value or any(x is not y for x, y in zip(args, node.args, strict=True))
            fresh[node] = Expr(node.op, args, node.dtype, value) if changed else node
        return fresh[root]

    def _leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, Access):
            return self._access(leaf)
        return self._affine(leaf) if isinstance(leaf, Affine) else leaf

    def _access(self, access: Access) -> Access:
        index = tuple(
            self._affine(part) if isinstance(part, Affine) else self.expression(part) for part in access.index
        )
        if access.buffer in self.places:
            axis, place = self.places[access.buffer]
            index = (*index[:axis], place, *index[axis + 1 :])
        if access.buffer in self.appended:
            index = (*index, self.appended[access.buffer])
        guards = tuple(Guard(self._affine(guard.index), guard.low, guard.high) for guard in access.guards)
        return Access(self.buffers.get(access.buffer, access.buffer), index, guards)

    def _affine(self, index: Affine) -> Affine:
        if not any(var in self.variables for var, _ in index.terms):
            return index
        result = Affine(index.offset)
        for var, factor in index.terms:
            given = self.variables.get(var, var)
            result += (affine(given) if isinstance(given, Var) else given) * factor
        return result
