"""The functions of the top level: the methods, for anything that can become a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.tensor.parity import check
from tinygrad_nn.errors import ConfigError, DTypeError, ShapeError, TinygradError
from tinygrad_nn.tensor import functions, loaded

OTHER_ORDER = ("polygamma", "where")  # x.where(condition, y), but where(condition, x, y)
FOUND = {name: getattr(functions, name) for name in dir(functions) if name not in OTHER_ORDER}
NAMES = sorted(name for name, value in FOUND.items() if hasattr(value, "__wrapped__"))


@pytest.mark.parametrize("name", NAMES)
def test_each_function_is_its_method(name: str) -> None:
    function = getattr(tg, name)
    assert function.__wrapped__ is (getattr(tg.Tensor, function.__name__, None) or loaded(name))
    assert function.__doc__
    assert function.__doc__ == function.__wrapped__.__doc__


def test_numbers_lists_and_arrays_become_tensors() -> None:
    assert tg.exp(0.0).item() == 1.0
    assert tg.maximum([1, 5], 3).tolist() == [3, 5]
    out = tg.sqrt(np.array([4.0, 9.0]))
    assert (out.tolist(), out.dtype) == ([2.0, 3.0], tg.float64)
    assert tg.max([[1.0, 2.0], [4.0, 3.0]], dim=1).indices.tolist() == [1, 0]
    assert tg.allclose([1.0], np.array([1.0 + 1e-9]))


def test_wrong_input_is_named() -> None:
    with pytest.raises(DTypeError, match=r"\[exp\] got data of dtype"):
        tg.exp("text")
    with pytest.raises(ShapeError, match=r"\[sum\] got rows of different lengths"):
        tg.sum([[1.0], [2.0, 3.0]])
    with pytest.raises(TinygradError, match=r"mask of dtype int64"):
        tg.where([1, 0], 1.0, 2.0)
    with pytest.raises(ConfigError, match=r"\[where\] got one of input and other; expected both or none"):
        tg.where([True], 1.0)


def test_where_with_a_condition_alone_gives_positions() -> None:
    for x in (np.eye(3), np.zeros((2, 2)), np.array([0, 2, 3]), np.zeros((0, 2))):
        check(lambda lib, x: lib.where(x), x, grad=False)


@pytest.mark.parametrize("x", [True, 1, 2.5, np.float32(1), np.ones(2, np.int32)])
@pytest.mark.parametrize("y", [True, 1, 2.5, np.ones(2, np.float64), np.ones((), np.int32)])
def test_where_promotes_as_pytorch(x: Any, y: Any) -> None:
    numbers = [v.item() if isinstance(v, np.generic) else v for v in (x, y)]
    check(lambda lib, x, y: lib.where(lib.tensor([True, False]), x, y), *numbers, grad=False)
