"""What a step and an evaluation return, as numbers by name; and the means of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from ..errors import DataError, DivisionByZero, IndexOutOfRange, ShapeError, message
from ..support.settings import shown
from ..tensor import Tensor, no_grad
from .trouble import Place, locate

Scores = Callable[[], Any]

FROM_DATA: Final = IndexOutOfRange, DivisionByZero  # errors of numbers that come from data


def numbers_of(returned: Any) -> dict[str, float]:
    """What a step returned, by name."""
    named = returned if isinstance(returned, Mapping) else {"loss": returned}
    return {name: _number("step", name, value) for name, value in named.items()}


def _number(owner: str, name: str, value: Any) -> float:
    if isinstance(value, (int, float)) or (isinstance(value, np.generic) and value.dtype.kind in "biuf"):
        return _float(owner, name, value)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if not isinstance(value, (Tensor, np.ndarray)) or value.shape not in ((), (1,)) or kind not in "biuf":
        got = f"{type(value).__name__} {getattr(value, 'shape', '')}".strip() + f" as {name!r} from {owner}"
        raise ShapeError(message("fit", got, "a number or a 0-d tensor", "return the mean loss"))
    return float(value.item())


def _float(owner: str, name: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise DataError(message("fit", f"{shown(value)} as {name!r} from {owner}", "what a float holds")) from None


def scores_of(evaluate: Scores) -> dict[str, float]:
    """What an evaluation returned, by name."""
    with no_grad():
        returned = evaluate()
    if not isinstance(returned, Mapping):
        got = f"{type(returned).__name__} from evaluate"
        raise DataError(message("fit", got, 'a dict of scores such as {"test_acc": ...}'))
    return {name: _number("evaluate", name, value) for name, value in returned.items()}


def evaluated(evaluate: Scores, epoch: int) -> dict[str, float]:
    """The scores after an epoch. An error of a number from data names it."""
    try:
        return scores_of(evaluate)
    except FROM_DATA as error:
        locate(error, Place(epoch))
        raise


class Means:
    """Means over the samples of an epoch, of whatever the step returns."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.samples = 0

    def add(self, numbers: Mapping[str, float], size: int) -> None:
        """What the step returned for a batch of this size."""
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + size * value
        self.samples += size

    def values(self) -> dict[str, float]:
        """The means."""
        return {name: total / self.samples for name, total in self.sums.items()}
