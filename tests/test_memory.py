"""What no machine has the memory for is refused at once, with the size that it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import data, nn
from tinygrad_nn import functional as F
from tinygrad_nn.errors import ConfigError, ShapeError, TooLarge
from tinygrad_nn.ops import TABLE
from tinygrad_nn.support import memory
from tinygrad_nn.tensor.core import explain

CALLS: dict[str, Callable[[], Any]] = {
    "zeros": lambda: tg.zeros(10**15),
    "zeros of two axes": lambda: tg.zeros(2**40, 2**40),
    "ones": lambda: tg.ones(10**8, 10**8),
    "full": lambda: tg.full((10**15,), 1.0),
    "eye": lambda: tg.eye(10**8),
    "arange": lambda: tg.arange(10**15),
    "arange of floats": lambda: tg.arange(0.0, 1e18),
    "linspace": lambda: tg.linspace(0, 1, 10**15),
    "rand": lambda: tg.rand(10**15),
    "randn": lambda: tg.randn(10**8, 10**8),
    "randint": lambda: tg.randint(3, size=(10**15,)),
    "randperm": lambda: tg.randperm(10**15),
    "Linear": lambda: nn.Linear(10**8, 10**8),
    "Embedding": lambda: nn.Embedding(10**8, 10**8),
    "LSTM": lambda: nn.LSTM(2, 2, 2**62),
    "GRU": lambda: nn.GRU(2, 2, 10**13, bidirectional=True),
    "RNN": lambda: nn.RNN(2, 10**9, 1),
    "pad": lambda: F.pad(tg.zeros(2), (10**15, 0)),
    "new_zeros": lambda: tg.zeros(2).new_zeros(10**15),
    "split": lambda: data.split_indices(10**15),
    "kfold": lambda: data.kfold(10**8, 10**7),
    "polynomial_features": lambda: data.polynomial_features(np.ones((3, 60)), degree=12),
    "interactions": lambda: data.polynomial_features(np.ones((3, 90)), degree=45, interaction_only=True),
}


@pytest.mark.parametrize("name", CALLS)
def test_too_much_is_refused_with_its_size(name: str) -> None:
    with pytest.raises(
        TooLarge, match=r"^\[\w+\] got .*, which needs [\d.,]+ [KMGTPE]?i?B; expected at most the machine"
    ):
        CALLS[name]()


def test_more_than_a_machine_counts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^\[LSTM\] got num_layers 9223372036854775808; .* num_layers <= 9,22"):
        nn.LSTM(2, 2, 2**63)


@pytest.mark.parametrize("dims", [2**31, 2**63, 3, -1, -(2**40)])
def test_tensordot_over_axes_that_are_not_there(dims: int) -> None:
    with pytest.raises(ShapeError, match=rf"\[tensordot\] got dims={dims} for shapes"):
        tg.ones(2, 3).tensordot(tg.ones(2, 3, 4), dims)


def test_what_fits_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "installed", lambda: 400)
    assert tg.zeros(100).shape == (100,)
    with pytest.raises(TooLarge, match=r"\[zeros\] got shape \(101,\), which needs 4e\+02 B|which needs 404 B"):
        tg.zeros(101)
    assert memory.check_fits("x", "y", 400) is None


def test_what_numpy_has_no_memory_for_is_named_by_its_op() -> None:
    x = tg.ones(2).node
    error = explain(MemoryError("Unable to allocate"), TABLE["exp"], (x,), {})
    assert type(error) is TooLarge
    assert "; expected a result" in str(error)


def test_this_machine_has_memory() -> None:
    assert 2**26 < memory.installed() < 2**60
    assert [memory.shown(n) for n in (0, 1023, 1024, 3 * 2**29, 2**70)] == [
        "0 B",
        "1,023 B",
        "1 KiB",
        "1.5 GiB",
        "1,024 EiB",
    ]
