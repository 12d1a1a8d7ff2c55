"""Random applications of ops from the table on random shapes.

A program is built with its values at hand, so that most of them stay finite; attributes are drawn by kind of op.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from ..errors import DivisionByZero, DTypeError, IndexOutOfRange, ShapeError
from ..graph import Attrs, Op, Shape
from ..ops import TABLE
from ..ops.elementwise import DIVISIONS
from ..ops.rules import BOOL, DTYPES, FLOAT32, FLOAT64, INT32, INT64
from ..tensor import Tensor
from ..tensor.core import constant

Array = np.ndarray[Any, Any]
LENGTHS: Final = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33)
LONG: Final = (63, 64, 65, 129, 255, 256, 257, 300, 513)  # several vectors at a time
LIMIT: Final = 1100  # elements of a value
SPECIAL: Final = 0.04  # of the applications are not of an op of the table
OPS: Final = tuple(op for op in TABLE.values() if op.kind != "source")
COMMON: Final = tuple(
    TABLE[name] for name in ("add", "sub", "mul", "sum", "max", "broadcast", "matmul", "where", "slice")
)


@dataclass(frozen=True, slots=True)
class Step:
    """One application, its operands by number."""

    op: Op
    operands: tuple[int, ...]
    attrs: Attrs

    def apply(self, operands: Sequence[Tensor]) -> Tensor:
        """The op; a cast to what is no float ends gradients."""
        first, *others = operands
        ends = self.op.name == "cast" and self.attrs["dtype"].kind != "f"
        result: Tensor = (first.detach() if ends else first).apply(self.op, *others, **self.attrs)
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

    def __init__(self, rng: np.random.Generator, special: Callable[[Builder], bool] | None = None) -> None:
        self.rng, self.special = rng, special
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
            op = self.pick(COMMON) if self.rng.random() < 0.25 else self.pick(OPS)
            try:
                step = _PROPOSE[op.kind](self, op)
                count -= step is not None and self.add(step)
            except (ShapeError, DTypeError, ValueError, IndexError):
                continue

    def pick(self, options: Sequence[Any]) -> Any:
        """One of several."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, part: float) -> bool:
        """True that often."""
        return bool(self.rng.random() < part)

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
        step.op.dtype(*(x.dtype for x in operands), **step.attrs)
        if math.prod(shape) > LIMIT:
            return False
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(step.op.numpy(*operands, **step.attrs))
        except (IndexOutOfRange, DivisionByZero):
            value = np.zeros(shape, operands[0].dtype)
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

    # ---- proposals by kind ----------------------------------------------------------------------------------------

    def elementwise(self, op: Op) -> Step | None:
        """Operands that broadcast, of a dtype the op takes."""
        count = len(op.vjp)
        start = 1 if op.name == "where" else 0
        first = self.some(lambda x: self.takes(op, x.dtype))
        if first is None:
            dtype = next(d for d in (INT64, BOOL, self.float) if self.takes(op, d))
            first = self.given(self.shape(), dtype)
        attrs = {"dtype": self.pick(DTYPES)} if op.name == "cast" else {}
        own = self.values[first]
        others = [self.partner(own.shape, own.dtype) for _ in range(count - 1 - start)]
        operands = [first, *others]
        if start:
            operands.insert(0, self.partner(own.shape, BOOL))
        elif self.chance(0.3):
            operands.reverse()
        divides = op in DIVISIONS and own.dtype.kind == "i"
        if divides and not self.values[operands[1]].all() and not self.chance(0.02):
            sides = ((1, 5), (-4, 0))
            operands[1] = self.given(self.values[operands[1]].shape, own.dtype, *sides[int(self.chance(0.5))])
        return Step(op, tuple(operands), attrs)

    def takes(self, op: Op, dtype: Any) -> bool:
        """Whether an elementwise op takes operands of a dtype."""
        dtypes = [BOOL, dtype, dtype] if op.name == "where" else [dtype] * len(op.vjp)
        try:
            op.dtype(*dtypes, **({"dtype": INT32} if op.name == "cast" else {}))
        except DTypeError:
            return False
        return True

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

    def reduce(self, op: Op) -> Step | None:
        """Over some axes."""
        x = self.some(lambda x: x.ndim > 0 or op.name in ("sum", "max"))
        if x is None:
            return None
        rank = self.values[x].ndim
        axes = [a for a in range(rank) if self.chance(0.5)]
        if op.name.startswith("arg"):
            axes = [int(self.rng.integers(rank))]
        return Step(op, (x,), {"axis": tuple(axes), "keepdims": self.chance(0.5)})

    def movement(self, op: Op) -> Step | None:
        """Attributes by the name of the op."""
        x = self.some(lambda x: op.name != "cat" or x.ndim > 0)
        if x is None:
            return None
        shape = self.values[x].shape
        operands: tuple[int, ...] = (x,)
        attrs: dict[str, Any] = {}
        if op.name == "broadcast":
            wide = [int(self.pick(LENGTHS)) if n == 1 and self.chance(0.7) else n for n in shape]
            places = sorted(int(self.rng.integers(0, len(wide) + 1)) for _ in range(int(self.rng.integers(0, 3))))
            axes = tuple(place + k for k, place in enumerate(places))
            for axis in axes:
                wide.insert(axis, int(self.pick(LENGTHS)))
            attrs = {"shape": tuple(wide), "axes": axes}
        elif op.name == "reshape":
            attrs = {"shape": self.reshaped(math.prod(shape))}
        elif op.name == "permute":
            attrs = {"order": tuple(int(a) for a in self.rng.permutation(len(shape)))}
        elif op.name == "slice":
            attrs = {"bounds": tuple(self.bound(n) for n in shape)}
        elif op.name == "embed":
            wide = [n * int(self.rng.integers(1, 3)) + int(self.rng.integers(0, 3)) for n in shape]
            attrs = {"shape": tuple(wide), "bounds": tuple(map(self.inside, shape, wide))}
        else:
            axis, dtype = int(self.rng.integers(len(shape))), self.values[x].dtype
            rest = (shape[:axis], shape[axis + 1 :])
            same = lambda y: y.dtype == dtype and (y.shape[:axis], y.shape[axis + 1 :]) == rest and y.ndim == len(shape)  # noqa: E731
            operands += tuple(k for _ in range(int(self.rng.integers(0, 3))) if (k := self.some(same)) is not None)
            attrs = {"axis": axis}
        return Step(op, operands, attrs)

    def reshaped(self, size: int) -> Shape:
        """Another shape of as many elements."""
        result: list[int] = []
        for _ in range(int(self.rng.integers(0, 3))):
            options = [n for n in range(1, size + 1) if size % n == 0] or [0]
            result.append(int(self.pick(options)))
            size = size // result[-1] if result[-1] else 0
        result.append(size)
        if self.chance(0.3):
            result.insert(int(self.rng.integers(len(result) + 1)), 1)
        return tuple(result)

    def bound(self, n: int) -> tuple[int, int, int]:
        """(start, step, length) within an axis."""
        if n == 0 or self.chance(0.4):
            return (0, 1, n)
        step = int(self.pick((1, 1, 2, 3, -1, -2)))
        length = int(self.rng.integers(0 if self.chance(0.1) else 1, (n - 1) // abs(step) + 2))
        reach = abs(step) * max(0, length - 1)
        low = int(self.rng.integers(0, n - reach))
        return (0, 1, 0) if length == 0 else (low if step > 0 else low + reach, step, length)

    def inside(self, n: int, wide: int) -> tuple[int, int, int]:
        """(start, step, length) of n elements within a longer axis."""
        if n == 0:
            return (0, 1, 0)
        step = int(self.pick([s for s in (1, 2, 3) if s * (n - 1) < wide]))
        low = int(self.rng.integers(0, wide - step * (n - 1)))
        return (low, step, n) if self.chance(0.7) else (low + step * (n - 1), -step, n)

    def contract(self, op: Op) -> Step | None:
        """A product of matrices."""
        x = self.some(lambda x: x.ndim >= 2 and x.dtype.kind != "b")
        if x is None:
            x = self.given((int(self.pick(LENGTHS)), int(self.pick(LENGTHS))), self.float)
        own, tx, ty = self.values[x], self.chance(0.5), self.chance(0.5)
        inner = own.shape[-2 if tx else -1]
        at = -1 if ty else -2
        y = self.some(
            lambda y: (
                y.ndim == own.ndim and y.shape[:-2] == own.shape[:-2] and y.shape[at] == inner and y.dtype == own.dtype
            )
        )
        if y is None:
            width = int(self.pick(LENGTHS))
            y = self.given((*own.shape[:-2], *((width, inner) if ty else (inner, width))), own.dtype)
        return Step(op, (x, y), {"tx": tx, "ty": ty})

    def index(self, op: Op) -> Step | None:
        """Positions are a new input or constant, now and then wrong."""
        x = self.some(lambda x: x.ndim > 0)
        if x is None:
            return None
        shape = self.values[x].shape
        axis = int(self.rng.integers(len(shape)))
        if op.name == "argsort":
            return Step(op, (x,), {"axis": axis, "descending": self.chance(0.5)})
        size = shape[axis]
        if op.name in ("put_add", "scatter_add"):
            size = int(self.rng.integers(1, 20))
        low, high = (-1, size + 1) if self.chance(0.02) else (0, size)
        dtype = INT32 if self.chance(0.3) else INT64
        if op.name == "take":
            return Step(op, (x, self.given(self.shape()[:2], dtype, low, high)), {"axis": axis})
        if op.name == "put_add":
            end = int(self.rng.integers(axis, len(shape) + 1))
            return Step(op, (x, self.given(shape[axis:end], dtype, low, high)), {"axis": axis, "size": size})
        if op.name == "scatter_add":
            whole = (*shape[:axis], size, *shape[axis + 1 :])
            return Step(op, (x, self.given(shape, dtype, low, high)), {"axis": axis, "shape": whole})
        lines = tuple(
            int(self.pick(LENGTHS)) if a == axis else n if self.chance(0.8) else max(0, n - 1)
            for a, n in enumerate(shape)
        )
        if math.prod(lines) > LIMIT:
            return None
        positions = self.given(lines, dtype, low, high)
        if op.name == "gather":
            return Step(op, (x, positions), {"axis": axis})
        return Step(op, (x, positions, self.given(lines, self.values[x].dtype)), {"axis": axis})

    def control(self, op: Op) -> Step | None:
        """Along an axis."""
        x = self.some(lambda x: x.ndim > 0 and (op.name != "recurrence" or x.dtype.kind == "f"))
        if x is None:
            return None
        own = self.values[x]
        attrs: dict[str, Any] = {"axis": int(self.rng.integers(own.ndim))}
        if op.name != "cumprod":
            attrs["reverse"] = self.chance(0.5)
        if op.name != "recurrence":
            return Step(op, (x,), attrs)
        other = self.some(lambda y: y.shape == own.shape and y.dtype == own.dtype)
        return None if other is None else Step(op, (x, other), attrs)

    def random(self, op: Op) -> Step | None:
        """Words of a random key."""
        key = self.given((2,), INT64, 0, 2**32)
        return Step(op, (key, self.given((), INT64, 0, 2**31)), {"shape": self.shape()})


_PROPOSE: Final[dict[str, Callable[[Builder, Op], Step | None]]] = {
    "elementwise": Builder.elementwise,
    "reduce": Builder.reduce,
    "movement": Builder.movement,
    "contract": Builder.contract,
    "index": Builder.index,
    "control": Builder.control,
    "random": Builder.random,
}
