"""A function of tensors as a function of one vector, with its vector-Jacobian products: what gradcheck and the
identities work on.

The tensors keep their places: to evaluate at a point each checked leaf is given the values *where it is*, the function
is called, and everything is put back as it was (values, gradients, versions; what the call itself left behind too).
So it does not matter whether the function got a tensor as an argument or reached it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np

from ..autograd import grad
from ..compiler import jit
from ..errors import GradcheckError, message
from ..graph.graph import NO_ATTRS, Array, GradSlot, Node, Shape
from ..ops.source import CONSTANT
from ..tensor import Tensor, enable_grad
from ..tensor.core import constant
from .numeric import Vector, flat
from .reach import Held, State, inlined

Kind = Literal["input", "parameter", "cotangent"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor whose elements are variables: its name, and whether it was given, reached, or is a cotangent."""

    name: str
    handle: Tensor
    kind: Kind = "input"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def element(self, k: int) -> str:
        """Element k by name: `rnn.weight_hh_l0[2, 1]`."""
        shape = self.handle.shape
        return f"{self.name}{[int(i) for i in np.unravel_index(k, shape)]}" if shape else self.name


class Checkable(Protocol):
    """A function f of a vector x, and rows v^T J(x) of its Jacobian: the whole of what a comparison needs."""

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Whose elements x is made of."""

    @property
    def state(self) -> State:
        """What calls change."""

    @property
    def order(self) -> int:
        """1 for a function, 2 for its gradient."""

    @property
    def compiled(self) -> bool:
        """Whether both run as machine code."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the outputs."""

    def start(self) -> Vector:
        """The point at which it was given."""

    def value(self, x: Vector) -> Vector:
        """f(x): the outputs one after the other."""

    def call(self) -> Vector:
        """f where the leaves are now; what the call changes stays changed."""

    def pull(self, x: Vector, cotangents: Sequence[Vector]) -> list[list[Array]]:
        """The gradient: for each cotangent v an array per leaf, which together are v^T J(x)."""

    def run_eagerly(self, x: Vector) -> None:
        """Evaluate f at x, not compiled, for whoever looks on."""

    def replay(self) -> None:
        """Evaluate f and one vector-Jacobian product eagerly at the start, for whoever looks on."""


@dataclass(frozen=True)
class Problem:
    """A function without arguments that reads `leaves` and returns tensors. `function(recorded)`: whether what it
    computes is differentiated. `compiled`: it is run as machine code, and so is its gradient.
    """

    function: Callable[[bool], Sequence[Tensor]]
    leaves: tuple[Leaf, ...]
    state: State = field(default_factory=State)
    compiled: bool = False
    order: int = 1
    seed: int = 0
    notes: tuple[str, ...] = ()  # for the report

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the outputs."""
        with placed(self, self.start()), inlined() if self.compiled else nullcontext():
            return tuple(out.shape for out in self.function(False))

    def start(self) -> Vector:
        """The point at which it was given."""
        return flat(leaf.handle.detach().numpy() for leaf in self.leaves)

    def value(self, x: Vector) -> Vector:
        """The outputs at x, one after the other."""
        with placed(self, x):
            return self.call()

    def call(self) -> Vector:
        """The outputs where the leaves are now; what the call changes stays changed."""
        outputs = self._compiled() if self.compiled else self.function(False)
        return flat(out.detach().numpy() for out in outputs)

    def pull(self, x: Vector, cotangents: Sequence[Vector]) -> list[list[Array]]:
        """For each cotangent the vector-Jacobian product at x: an array per leaf."""
        handles = [leaf.handle for leaf in self.leaves]
        with placed(self, x):
            if self.compiled:
                return [self._pull_compiled(v) for v in cotangents]
            outputs = self.function(True)
            rows = []
            for v in cotangents:
                seeds = [Tensor.handle(constant(part)) for part in cut(v, self.shapes)]
                rows.append([g.detach().numpy() for g in transposed(outputs, handles, seeds, retain=True)])
            return rows

    def run_eagerly(self, x: Vector) -> None:
        """Evaluate f at x, not compiled, for whoever looks on."""
        with placed(self, x), inlined():
            self.function(False)

    def replay(self) -> None:
        """Evaluate f and one vector-Jacobian product eagerly at the start, for whoever looks on."""
        with placed(self, self.start()), inlined():
            outputs = self.function(True)
            seeds = [out.detach().new_ones(out.shape) for out in outputs]
            transposed(outputs, [leaf.handle for leaf in self.leaves], seeds)

    @cached_property
    def gradient(self) -> Problem:
        """The vector-Jacobian product J(x)^T v as a problem in x and the cotangents v, which begin at random."""
        rng = np.random.default_rng(self.seed + self.order)
        starts = [constant(np.asarray(rng.normal(size=shape))) for shape in self.shapes]
        seeds = [Leaf(f"v{k}", Tensor.handle(node).requires_grad_(), "cotangent") for k, node in enumerate(starts)]
        handles = [leaf.handle for leaf in self.leaves]

        def function(recorded: bool) -> Sequence[Tensor]:
            outputs = self.function(True)
            return transposed(outputs, handles, [seed.handle * 1 for seed in seeds], create_graph=recorded)

        return Problem(function, (*self.leaves, *seeds), self.state, self.compiled, self.order + 1, self.seed)

    @cached_property
    def _compiled(self) -> Callable[[], Sequence[Tensor]]:
        return jit(lambda: tuple(self.function(False)))

    @cached_property
    def _transposed(self) -> tuple[list[Tensor], Callable[[], Sequence[Tensor]]]:
        """Tensors for the cotangents, and the compiled function that reads them."""
        seeds = [Tensor.handle(constant(np.zeros(shape))) for shape in self.shapes]
        handles = [leaf.handle for leaf in self.leaves]
        return seeds, jit(lambda: tuple(transposed(self.function(True), handles, [seed * 1 for seed in seeds])))

    def _pull_compiled(self, v: Vector) -> list[Array]:
        seeds, function = self._transposed
        for seed, part in zip(seeds, cut(v, self.shapes), strict=True):
            seed.node = constant(part)
        return [g.detach().numpy() for g in function()]


def transposed(
    outputs: Sequence[Tensor],
    handles: Sequence[Tensor],
    seeds: Sequence[Tensor],
    create_graph: bool = False,
    retain: bool = False,
) -> list[Tensor]:
    """v^T J as tensors: what an output does not depend on has derivative 0."""
    live = [(out, seed) for out, seed in zip(outputs, seeds, strict=True) if out.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(handles)
    if live:
        roots, starts = [out for out, _ in live], [seed for _, seed in live]
        found = grad(roots, handles, starts, retain or create_graph, create_graph, allow_unused=True)
    return [h.new_zeros(h.shape) if g is None else g for h, g in zip(handles, found, strict=True)]


@dataclass(frozen=True)
class StepProblem:
    """A training step: f is the loss that it returns, the gradient what it leaves in `.grad` of the parameters."""

    step: Callable[[], Tensor]
    eager: Callable[[], Tensor]  # the same step, not compiled
    leaves: tuple[Leaf, ...]
    state: State
    compiled: bool = False
    order: int = 1
    shapes: tuple[Shape, ...] = ((),)

    def start(self) -> Vector:
        """The parameters."""
        return flat(leaf.handle.detach().numpy() for leaf in self.leaves)

    def value(self, x: Vector) -> Vector:
        """The loss of a step that begins at x."""
        with placed(self, x):
            return self.call()

    def call(self) -> Vector:
        """The loss of a step that begins here, after which the parameters are others."""
        return flat([self.step().detach().numpy()])

    def pull(self, x: Vector, cotangents: Sequence[Vector]) -> list[list[Array]]:
        """What the step leaves in `.grad`, times each cotangent."""
        with placed(self, x):
            self.step()
            left = [leaf.handle.grad for leaf in self.leaves]
            found = [
                np.zeros(leaf.handle.shape) if g is None else np.asarray(g.detach().numpy())
                for leaf, g in zip(self.leaves, left, strict=True)
            ]
        return [[float(v[0]) * g for g in found] for v in cotangents]

    def run_eagerly(self, x: Vector) -> None:
        """One step that begins at x, not compiled."""
        with placed(self, x), inlined():
            self.eager()

    def replay(self) -> None:
        """One step, not compiled."""
        self.run_eagerly(self.start())


@contextmanager
def placed(problem: Checkable, x: Vector) -> Iterator[None]:
    """Within the block the leaves hold the values x, without gradients; afterwards everything is as before."""
    parts = cut(x, [leaf.handle.shape for leaf in problem.leaves])
    pairs = [(Held.of(leaf.handle), part) for leaf, part in zip(problem.leaves, parts, strict=True)]
    pairs.sort(key=_shares)
    try:
        for own, part in pairs:
            own.handle.node = _fresh(own, part)
        with enable_grad():
            yield
    finally:
        problem.state.restore()
        for own, _ in pairs:
            own.restore()


def _shares(pair: tuple[Held, Array]) -> bool:
    """Whether a leaf is a view: it holds what it was given for as long as its base holds the same."""
    return pair[0].handle._base is not None


def _fresh(held: Held, value: Array) -> Node:
    """A leaf in place of another: without a gradient, with its hooks, which belong to what is trained."""
    node = Node(CONSTANT, (), NO_ATTRS, value.shape, value.dtype, value, True)
    node.slot = GradSlot(node.serial, keep=True)
    if held.slot is not None:
        node.slot.hooks = held.slot.hooks
    return node


def cut(x: Vector, shapes: Sequence[Shape]) -> list[Array]:
    """A vector as one array per shape."""
    sizes = [int(np.prod(shape, dtype=int)) for shape in shapes]
    parts = np.split(x, np.cumsum(sizes)[:-1]) if shapes else []
    return [np.array(part, np.float64).reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def floats(returned: Sequence[Any], what: str = "a function") -> tuple[Tensor, ...]:
    """The float tensors among what a function returned; raises GradcheckError where there is nothing to compare."""
    found = tuple(out for out in returned if isinstance(out, Tensor) and out.dtype.kind == "f")
    if found and all(out.dtype == np.float64 for out in found):
        return found
    if found:
        got, hint = "an output of dtype float32", "float32 keeps too few digits for differences: compute in float64"
        raise GradcheckError(message("gradcheck", got, "float64", hint))
    kinds = ", ".join(dict.fromkeys(_kind(out) for out in returned)) or "nothing"
    raise GradcheckError(message("gradcheck", f"{what} that returned {kinds}", "tensors of floats"))


def _kind(value: Any) -> str:
    return f"a tensor of {value.dtype.name}" if isinstance(value, Tensor) else type(value).__name__
