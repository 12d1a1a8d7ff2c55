"""Loops over time for random programs: `tg.scan` of a small random program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..errors import IndexOutOfRange
from ..loops import scan
from ..ops import TABLE
from ..tensor import Tensor, no_grad
from ..tensor.core import constant
from .builder import LIMIT, Builder, Given, Step

STEPS: Final = 33  # of a loop at most
SMALL: Final = 80  # elements of what a loop carries


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """A scan: its carry, its series and what every step reads, by number; the values of a step that become the next
    carry and what is stacked; and what is taken of the results.
    """

    operands: tuple[int, ...]
    body: Builder
    carry: int
    row: int
    reverse: bool
    taken: str

    def apply(self, operands: Sequence[Tensor]) -> Tensor:
        """The loop."""
        first, series, *rest = operands

        def step(carry: Tensor, entry: Tensor) -> tuple[Tensor, Tensor]:
            made = self.body.replay(iter((carry, entry, *rest)))
            return made[self.carry], made[self.row]

        last, rows = scan(step, first, series, reverse=self.reverse)
        if self.taken == "both":
            both: Tensor = last.reshape(-1).cat_with(rows.reshape(-1), dim=0)
            return both
        result: Tensor = last if self.taken == "last" else rows
        return result


def add_loop(builder: Builder) -> bool:
    """Take a loop over the first axis of a value, if its values stay tame."""

    def fits(x: Any) -> bool:
        return bool(x.dtype == builder.float and x.size <= SMALL)

    carry = builder.some(fits)
    series = builder.some(lambda x: fits(x) and x.ndim > 0 and 0 < len(x) <= STEPS)
    if series is None or carry is None:
        return False
    rest = [k for k in (builder.some(fits) for _ in range(2)) if k is not None and builder.chance(0.7)]
    operands = (carry, series, *rest)
    body = Builder(builder.rng)
    body.float = builder.float
    body.values = [builder.values[carry], builder.values[series][0], *(builder.values[k] for k in rest)]
    body.steps = [Given(True) for _ in body.values]
    body.apply_some(int(builder.rng.integers(1, 6)), inputs=False)
    row = body.some(fits) or 0
    if not _closed(body, row):
        return False
    own = builder.values[carry]
    after = body.some(lambda x: x.shape == own.shape and x.dtype == own.dtype) or 0
    loop = Loop(operands, body, after, row, builder.chance(0.5), builder.pick(("last", "rows", "both")))
    try:
        with no_grad(), np.errstate(all="ignore"):
            value = loop.apply([Tensor.handle(constant(builder.values[k])) for k in operands]).numpy()
    except IndexOutOfRange:
        return False
    if value.size > LIMIT or not np.isfinite(value).all():
        return False
    builder.steps.append(loop)
    builder.values.append(value)
    return True


def _closed(body: Builder, row: int) -> bool:
    """Whether a value could be made that may be the next carry: the carry less a sum, within bounds."""
    shape = body.values[0].shape
    steps: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
        ("sum", (row,), {"axis": tuple(range(body.values[row].ndim)), "keepdims": False}),
        ("broadcast", (len(body.steps),), {"shape": shape, "axes": tuple(range(len(shape)))}),
        ("sub", (0, len(body.steps) + 1), {}),
        ("sin", (len(body.steps) + 2,), {}),
    ]
    return all(body.add(Step(TABLE[name], operands, attrs)) for name, operands, attrs in steps)
