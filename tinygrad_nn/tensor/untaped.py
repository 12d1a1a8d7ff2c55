"""`Untaped`: the handle of a backward walk that nobody records. It is its own node and holds a value, nothing else.

Gradient rules are written once, in Tensor operations; run on Untaped handles they cost little more than the NumPy
calls. All methods come from the layers and reach `apply` or `_binary`, which are the two that differ here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ..graph.graph import DType, Op, Shape
from ..ops import elementwise as e
from ..ops.movement import PAD, StridedSlice, as_slices
from .contract import Contracted
from .core import Core, scalar
from .elementwise import Operand

_new = object.__new__


def _operator(op: Op, general: Callable[[Any, Operand], Any]) -> Callable[[Any, Operand], Any]:
    """The operator of an op, for two untaped floats of one dtype in one call; for others as the layers define it."""
    numpy = op.eager

    def operator(self: Untaped, other: Operand) -> Untaped:
        if type(other) is Untaped:
            a, b = self.value, other.value
            dtype = a.dtype
            if b.dtype is dtype and dtype.kind == "f":
                result = _new(Untaped)
                result.value = numpy(a, b)
                return result
        return general(self, other)  # type: ignore[no-any-return]

    return operator


class Untaped(Contracted):
    """A value with Tensor's methods. Must be used inside `Mode.quiet_region`."""

    __slots__ = ("value",)

    needs_grad = False
    value: Any

    @staticmethod
    def handle(node: Any) -> Untaped:
        """A Untaped with the value of a node."""
        untaped = _new(Untaped)
        untaped.value = node.value
        return untaped

    @property
    def node(self) -> Any:  # type: ignore[override]
        """Itself: what the layers ask of a node (value, shape, dtype) is here."""
        return self

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""
        return self.value.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.value.dtype  # type: ignore[no-any-return]

    __add__ = _operator(e.ADD, Contracted.__add__)
    __sub__ = _operator(e.SUB, Contracted.__sub__)
    __mul__ = _operator(e.MUL, Contracted.__mul__)
    __truediv__ = _operator(e.DIV, Contracted.__truediv__)

    def apply(self, op: Op, *others: Core, **attrs: Any) -> Self:
        """Compute with the op's NumPy function."""
        result = _new(Untaped)
        if len(others) == 1:
            result.value = op.eager(self.value, others[0].node.value, **attrs)
        elif others:
            result.value = op.eager(self.value, *[other.node.value for other in others], **attrs)
        else:
            result.value = op.eager(self.value, **attrs)
        return result  # type: ignore[return-value]

    def _binary(self, op: Op, other: Operand, swap: bool = False) -> Self:
        a = self.value
        if type(other) is Untaped and other.value.dtype is a.dtype:
            b = other.value
        elif type(other) in _NUMBERS and a.dtype.kind == "f":
            b = scalar(other, a.dtype).value  # type: ignore[arg-type]
        else:
            left, right = self._promoted(other)
            return right.apply(op, left) if swap else left.apply(op, right)
        result = _new(Untaped)
        result.value = op.eager(b, a) if swap else op.eager(a, b)
        return result  # type: ignore[return-value]

    def _placed(self, shape: Shape, bounds: StridedSlice) -> Self:
        """Zeros of `shape` with this written at `bounds`, when somebody looks."""
        result = _new(Placed)
        result.pieces, result.count, result.whole, result.array = [(self, bounds)], 1, shape, None
        return result  # type: ignore[return-value]

    def masked_fill(self, mask: Core | np.ndarray[Any, Any], value: Operand) -> Self:
        """A copy with `value` where `mask` (bool) holds; the dtype stays."""
        dtype = self.value.dtype
        if not (type(mask) is Untaped and type(value) in _NUMBERS and mask.value.dtype.kind + dtype.kind == "bf"):
            return super().masked_fill(mask, value)
        result = _new(Untaped)
        result.value = e.WHERE.numpy(mask.value, scalar(value, dtype).value, self.value)  # type: ignore[arg-type]
        return result  # type: ignore[return-value]


class Placed(Untaped):
    """A sum of pieces placed in zeros of one shape, added up when its value is asked for.

    A loop over x[0], x[1], ... leaves one cotangent per step, each as long as x; added up one after another they would
    cost T * T. The list of pieces is shared by the sums that were built from one another and only ever grows: `count`
    says how many of them are this one's.
    """

    __slots__ = ("array", "count", "pieces", "whole")

    pieces: list[tuple[Untaped, StridedSlice]]
    count: int
    whole: Shape
    array: Any

    @property
    def value(self) -> Any:
        """The array."""
        if self.array is None:
            (first, bounds), *rest = self.pieces[: self.count]
            if not rest:
                self.array = PAD.numpy(first.value, self.whole, bounds)
                return self.array
            total = np.zeros(self.whole, first.value.dtype)
            with np.errstate(all="ignore"):
                for piece, bounds in self.pieces[: self.count]:
                    total[as_slices(bounds)] += piece.value  # the first one too: -0.0 + 0.0 is 0.0
            self.array = total
        return self.array

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""
        return self.whole

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.pieces[0][0].dtype

    def __add__(self, other: Operand) -> Untaped:  # type: ignore[override]
        """One more piece, or the sum of two arrays."""
        if type(other) is not Placed or other.whole != self.whole or other.dtype is not self.dtype or other.count > 1:
            mine: Untaped = Untaped.handle(self)
            both: Untaped = mine + (Untaped.handle(other) if type(other) is Placed else other)
            return both
        pieces = self.pieces if len(self.pieces) == self.count else self.pieces[: self.count]
        pieces.append(other.pieces[0])
        result = _new(Placed)
        result.pieces, result.count, result.whole, result.array = pieces, self.count + 1, self.whole, None
        return result


_NUMBERS = frozenset((int, float))
