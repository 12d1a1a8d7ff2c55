"""A function of tensors as a function of one vector, and its gradient as another such problem: what gradcheck and the
identities work on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import as_tuple, grad
from ..tensor import Tensor, enable_grad, no_grad
from ..tensor.core import constant
from .numeric import Vector, flat


@dataclass(frozen=True)
class Problem:
    """A function of tensors as a function of one vector: the inputs that are checked, laid out after each other, and
    behind them as many cotangents.
    """

    fn: Callable[..., Any]
    inputs: tuple[Any, ...]
    places: tuple[int, ...]
    cotangents: int = 0

    @property
    def leaves(self) -> list[Tensor]:
        """The inputs that are checked, as they were given."""
        return [self.inputs[place] for place in self.places]

    @property
    def bounded(self) -> int:
        """How many elements are those of inputs of the function, for which its domain holds."""
        own = self.leaves
        return sum(leaf.numel() for leaf in own[: len(own) - self.cotangents])

    def start(self) -> Vector:
        """Where the function was given."""
        return flat(leaf.detach().numpy() for leaf in self.leaves)

    def at(self, x: Vector, requires_grad: bool = False) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """(fresh leaves, outputs) at x."""
        fresh, begin = [], 0
        for place in self.places:
            own = self.inputs[place]
            part = x[begin : begin + own.numel()].reshape(own.shape)
            begin += own.numel()
            leaf = Tensor.handle(constant(part.astype(np.float64)))
            fresh.append(leaf.requires_grad_() if requires_grad else leaf)
        return fresh, self.outputs(*fresh)

    def outputs(self, *leaves: Tensor) -> tuple[Tensor, ...]:
        """What the function returns in floats for other tensors in the checked places."""
        arguments = list(self.inputs)
        for place, leaf in zip(self.places, leaves, strict=True):
            arguments[place] = leaf
        return tuple(out for out in as_tuple(self.fn(*arguments)) if out.dtype.kind == "f")

    def value(self, x: Vector) -> Vector:
        """The outputs at x as one vector."""
        with no_grad():
            return flat(out.numpy() for out in self.at(x)[1])


def cut(cotangent: Vector, outputs: Sequence[Tensor]) -> list[Vector]:
    """A vector as one array per output."""
    ends = np.cumsum([out.numel() for out in outputs])[:-1]
    return [part.reshape(out.shape) for part, out in zip(np.split(cotangent, ends), outputs, strict=True)]


def pulled(outputs: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Vector]) -> Vector:
    """The vector-Jacobian product as a vector; what an output does not depend on has derivative 0."""
    live = [(out, seed) for out, seed in zip(outputs, cotangents, strict=True) if out.requires_grad]
    if not live:
        return np.zeros(sum(leaf.numel() for leaf in leaves))
    seeds = [Tensor.handle(constant(np.asarray(seed))) for _, seed in live]
    found = grad([out for out, _ in live], leaves, seeds, retain_graph=True, allow_unused=True)
    return flat(
        np.zeros(leaf.shape) if g is None else g.detach().numpy() for leaf, g in zip(leaves, found, strict=True)
    )


def gradient_of(problem: Problem, rng: np.random.Generator) -> Problem:
    """The vector-Jacobian product of a problem, as a problem in its inputs and the cotangents."""
    _, outputs = problem.at(problem.start())
    seeds = [
        Tensor.handle(constant(rng.normal(size=out.shape) if out.shape else np.asarray(rng.normal()))).requires_grad_()
        for out in outputs
    ]
    count = len(problem.inputs)

    def transposed(*arguments: Any) -> tuple[Tensor, ...]:
        with enable_grad():
            own = list(arguments[:count])
            leaves = []
            for place in problem.places:
                leaf = own[place]
                own[place] = leaf * 1 if leaf.requires_grad else leaf.detach().requires_grad_()
                leaves.append(own[place])
            results = [out for out in as_tuple(problem.fn(*own)) if out.dtype.kind == "f"]
            live = [(out, seed) for out, seed in zip(results, arguments[count:], strict=True) if out.requires_grad]
            if not live:
                return tuple(leaf.new_zeros(leaf.shape) for leaf in leaves)
            found = grad([o for o, _ in live], leaves, [s for _, s in live], create_graph=True, allow_unused=True)
            return tuple(leaf.new_zeros(leaf.shape) if g is None else g for leaf, g in zip(leaves, found, strict=True))

    def detached(*arguments: Any) -> tuple[Tensor, ...]:
        results = transposed(*arguments)
        watched = any(isinstance(x, Tensor) and x.requires_grad for x in arguments)
        return results if watched else tuple(result.detach() for result in results)

    places = (*problem.places, *range(count, count + len(seeds)))
    return Problem(detached, (*problem.inputs, *seeds), places, len(seeds))
