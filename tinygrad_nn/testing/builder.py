"""Random applications of ops from the table on random shapes.

A program is built with its values at hand, so that most of them stay finite. How an op may be called it says itself:
`Op.vary`, or one of the cases of its domain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import numpy as np

from ..errors import DivisionByZero, DTypeError, IndexOutOfRange, ShapeError
from ..graph.graph import Array, Attrs, Case, Op, Shape
from ..ops import TABLE
from ..ops.rules import DTYPES, FLOAT32, FLOAT64, INT32, INT64, LENGTHS, chance, pick
from ..tensor import Tensor
from ..tensor.core import constant
from .samples import dtypes_of

LONG: Final = (63, 64, 65, 129, 255, 256, 257, 300, 513)  # several vectors at a time
LIMIT: Final = 1100  # elements of a value
SPECIAL: Final = 0.04  # of the applications are not of an op of the table
OPS: Final = tuple(op for op in TABLE.values() if op.kind != "source")
KINDS: Final = tuple(tuple(op for op in OPS if op.kind == kind) for kind in sorted({op.kind for op in OPS}))
TRIES: Final = 8  # values that an op is offered


@dataclass(frozen=True, slots=True)
class Step:
    """One application, its operands by number."""

    op: Op
    operands: tuple[int, ...]
    attrs: Attrs

    def apply(self, operands: Sequence[Tensor]) -> Tensor:
        """The op; a result that is no float ends gradients."""
        dtype = self.op.dtype(*(x.dtype for x in operands), **self.attrs)
        first, *others = operands if dtype.kind == "f" else [x.detach() for x in operands]
        result: Tensor = first.apply(self.op, *others, **self.attrs)
        return result


class Applied(Protocol):
    """What makes a value of others."""

    @property
    def operands(self) -> tuple[int, ...]:
        """The numbers of the values it takes."""

    def apply(self, operands: Sequence[Tensor]) -> Tensor:
        """Its value."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value from outside: an input, or a constant."""

    is_input: bool


class Builder:
    """A program in the making: steps and their values."""

    def __init__(
        self,
        rng: np.random.Generator,
        special: Callable[[Builder], bool] | None = None,
        favourite: Op | None = None,
    ) -> None:
        self.rng, self.special, self.favourite = rng, special, favourite
        self.float = FLOAT32 if rng.random() < 0.6 else FLOAT64
        self.steps: list[Applied | Given] = []
        self.values: list[Array] = []
        self.takes_inputs = True

    def build(self, count: int) -> None:
        """That many applications, beginning with a few inputs."""
        for _ in range(int(self.rng.integers(1, 4))):
            self.given(self.shape(), self.float)
        self.apply_some(count)

    def apply_some(self, count: int, inputs: bool = True) -> None:
        """That many applications. Without `inputs`, values from outside are constants."""
        self.takes_inputs = inputs
        attempts = 0
        while count and attempts < 2000:
            attempts += 1
            if self.special is not None and self.chance(SPECIAL):
                count -= self.special(self)
                continue
            try:
                step = self.propose(self.op())
                count -= step is not None and self.add(step)
            except (ShapeError, DTypeError, ValueError, IndexError):
                continue

    def op(self) -> Op:
        """Any of the table; those of small kinds come up more often, and half of the time the favourite."""
        if self.favourite is not None and self.chance(0.5):
            return self.favourite
        op: Op = self.pick(self.pick(KINDS)) if self.chance(0.3) else self.pick(OPS)
        return op

    def pick(self, options: Sequence[Any]) -> Any:
        """One of several."""
        return pick(self.rng, options)

    def chance(self, part: float) -> bool:
        """True that often."""
        return chance(self.rng, part)

    def shape(self) -> Shape:
        """A shape of 0 to 3 axes."""
        while True:
            lengths = LENGTHS if self.chance(0.8) else (1, 2, *LONG)
            shape = tuple(int(self.pick(lengths)) for _ in range(int(self.rng.integers(0, 4))))
            if math.prod(shape) <= LIMIT and (0 not in shape or self.chance(0.3)):
                return shape

    def given(self, shape: Shape, dtype: Any, low: int = -3, high: int = 4) -> int:
        """A new input or constant; integers lie in [low, high)."""
        value: Any
        if dtype.kind == "f":
            value = self.rng.uniform(-2, 2, shape)
            value = np.round(value * 2) / 2 if self.chance(0.2) else value  # ties and zeros
        elif dtype.kind == "i":
            value = self.rng.integers(low, max(high, low + 1), shape)
        else:
            value = self.rng.random(shape) < 0.5
        self.steps.append(Given(self.chance(0.8) and self.takes_inputs))
        self.values.append(np.asarray(value, dtype))
        return len(self.values) - 1

    def some(self, fits: Callable[[Array], bool]) -> int | None:
        """A value that fits, late ones rather than early ones."""
        found = [k for k, value in enumerate(self.values) if fits(value)]
        if not found:
            return None
        return found[-1 - min(int(self.rng.geometric(0.25)) - 1, len(found) - 1)]

    def add(self, step: Step) -> bool:
        """Take a step if the rules of its op allow it and most of its values are tame."""
        operands = [self.values[k] for k in step.operands]
        if step.op.kind == "elementwise":
            operands = [np.asarray(x) for x in np.broadcast_arrays(*operands)]
        shape = step.op.shape(*(x.shape for x in operands), **step.attrs)
        dtype = step.op.dtype(*(x.dtype for x in operands), **step.attrs)
        if math.prod(shape) > LIMIT:
            return False
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(step.op.numpy(*operands, **step.attrs))
        except (IndexOutOfRange, DivisionByZero):
            value = np.zeros(shape, dtype)
        if value.dtype.kind == "f" and value.size and not self.chance(0.1):
            with np.errstate(all="ignore"):
                wild = ~(np.abs(value) < 1e4)
            if wild.mean() > 0.1:
                return False
        self.steps.append(step)
        self.values.append(value)
        return True

    def replay(self, given: Iterator[Tensor]) -> list[Tensor]:
        """All values, as tensors, from others in the place of the inputs."""
        made: list[Tensor] = []
        for step, value in zip(self.steps, self.values, strict=True):
            if isinstance(step, Given):
                made.append(next(given) if step.is_input else Tensor.handle(constant(value)))
            else:
                made.append(step.apply([made[k] for k in step.operands]))
        return made

    def propose(self, op: Op) -> Step | None:
        """An application to values at hand, as far as they fit, and to new ones."""
        taken = [dtype for dtype in DTYPES if any(dtypes_of(op, case, dtype) for case in op.domain)]
        for _ in range(TRIES):
            own = self.some(lambda x: x.dtype in taken)
            first = self.given(self.shape(), self.pick(taken)) if own is None else own
            value = self.values[first]
            case = op.vary(self.rng, value.shape) if op.vary else self.pick(op.domain)
            index = INT32 if op.kind == "index" and self.chance(0.3) else INT64
            dtypes = case and dtypes_of(op, case, value.dtype, index)
            if case and dtypes:
                make = self.together if op.kind == "elementwise" else self.apart
                return Step(op, make(op, case, dtypes, first), case.attrs)
        return None

    def together(self, op: Op, case: Case, dtypes: Sequence[Any], first: int) -> tuple[int, ...]:
        """Operands that broadcast with the first one, which takes any of the places it can."""
        own = self.values[first]
        place = self.pick([k for k, dtype in enumerate(dtypes) if dtype == own.dtype])
        operands = [first if k == place else self.partner(own.shape, dtype) for k, dtype in enumerate(dtypes)]
        if op.divides and own.dtype.kind == "i" and not self.values[operands[1]].all() and not self.chance(0.02):
            low, high = self.pick(((1, 5), (-4, 0)))
            operands[1] = self.given(self.values[operands[1]].shape, own.dtype, low, high)
        return tuple(operands)

    def apart(self, op: Op, case: Case, dtypes: Sequence[Any], first: int) -> tuple[int, ...]:
        """Operands of the shapes of a case. Positions are a new input or constant, now and then wrong."""
        operands: list[int] = []
        for arg, dtype in zip(case.args, dtypes, strict=True):
            wanted = arg.shape or ()
            fits = partial(_fits, wanted, dtype)
            known = None
            if arg.dtype != "int":
                known = first if not operands and fits(self.values[first]) else self.some(fits)
            if known is None:
                wrong = int(op.kind == "index" and self.chance(0.02))
                lengths = tuple(int(self.pick(LENGTHS)) if n == -1 else n for n in wanted)
                known = self.given(lengths, dtype, int(arg.low) - wrong, int(arg.high) + wrong)
            operands.append(known)
        return tuple(operands)

    def partner(self, shape: Shape, dtype: Any) -> int:
        """A value that broadcasts with a shape, a new one where there is none."""

        def fits(x: Array) -> bool:
            try:
                return x.dtype == dtype and math.prod(np.broadcast_shapes(x.shape, shape)) <= LIMIT
            except ValueError:
                return False

        found = self.some(fits) if self.chance(0.8) else None
        if found is not None:
            return found
        start = int(self.rng.integers(0, len(shape) + 1)) if self.chance(0.3) else 0
        return self.given(tuple(1 if self.chance(0.2) else n for n in shape[start:]), dtype)


def _fits(shape: Shape, dtype: Any, x: Array) -> bool:
    """Whether a value is of a dtype and a shape, in which -1 is any length."""
    same = len(x.shape) == len(shape) and all(n in (m, -1) for n, m in zip(shape, x.shape, strict=True))
    return same and x.dtype == dtype
