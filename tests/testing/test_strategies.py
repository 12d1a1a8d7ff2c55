"""What the strategies make, and what it becomes when Hypothesis makes an example smaller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.graph.graph import Arg
from tinygrad_nn.ops import TABLE
from tinygrad_nn.testing import gradcheck, strategies

SEARCH = settings(max_examples=1000, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def smallest(strategy: Any, holds: Any) -> Any:
    return find(strategy, holds, settings=SEARCH)


def test_values_shrink_to_few_small_round_numbers() -> None:
    assert smallest(strategies.arrays(layout="C"), lambda x: x.size > 0 and bool((x > 0.3).any())).tolist() in (
        1.0,
        [1.0],
    )
    found = smallest(strategies.arrays(shape=(3, 4), layout="C"), lambda x: (x < -0.7).any())
    assert sorted(set(found.ravel().tolist())) in ([-1.0], [-1.0, 0.0])
    assert (found != 0).sum() in (1, 12)
    found = smallest(strategies.arrays(shape=(4,), layout="C"), lambda x: x.sum() > 3.0)
    assert np.unique(found).size <= 2
    assert all(float(v).is_integer() for v in found)
    found = smallest(strategies.tensors(shape=(2, 2)), lambda t: float(t.detach().abs().sum()) > 1.5)
    assert all(float(v).is_integer() for v in found.detach().numpy().ravel())
    assert smallest(strategies.shapes(), lambda shape: len(shape) == 2) == (0, 0)


@given(st.sampled_from([case.args[0] for op in TABLE.values() for case in op.domain if case.args]), st.data())
def test_values_lie_in_the_domain(arg: Arg, data: Any) -> None:
    value = data.draw(strategies.arrays(arg, layout="C", shape=None if arg.shape is not None else (3, 2)))
    if arg.dtype == "bool":
        assert value.dtype == np.bool_
        return
    assert value.dtype == (np.int64 if arg.dtype == "int" else np.float64)
    low, high = (-np.inf, np.inf) if isinstance(arg.kinks, str) else (arg.low, arg.high)
    assert ((value >= low) & (value <= high)).all()
    if isinstance(arg.kinks, str):
        shift = {"integers": 0.0, "halves": 0.5}[arg.kinks]
        assert (np.abs(value - shift - np.round(value - shift)) > 0.1).all()
    else:
        assert all((np.abs(value - kink) >= 0.1).all() for kink in arg.kinks)
    if arg.apart:
        assert np.unique(value).size == value.size


@given(strategies.arrays(Arg(kinks=(0.0,))))
def test_with_its_kink_named_relu_can_be_checked(x: Any) -> None:
    assert gradcheck(lambda x: x.relu() * x, (tg.tensor(x).requires_grad_(),), order=1)


@given(strategies.arrays(dtype=np.float32))
def test_other_dtypes(x: Any) -> None:
    assert x.dtype == np.float32


def has(kind: type) -> Any:
    return lambda model: any(isinstance(part, kind) for part in model.modules())


@pytest.mark.parametrize("kind", [nn.Linear, nn.RNN, nn.GRU, nn.LSTM, nn.Conv1d, nn.ReLU, nn.LayerNorm])
def test_modules_of_every_kind_and_the_smallest_of_them(kind: type) -> None:
    model = smallest(strategies.modules(), has(kind))
    assert len([part for part in model if not isinstance(part, nn.Identity | nn.LayerNorm | nn.ReLU)]) <= 2
    assert sum(p.numel() for p in model.parameters()) <= 30
    assert all(p.dtype == tg.float64 for p in model.parameters())


def test_a_recurrent_relu_is_among_them() -> None:
    def holds(model: nn.Module) -> bool:
        return any(isinstance(part, nn.RNN) and part.nonlinearity == "relu" for part in model.modules())

    assert smallest(strategies.modules(in_features=2), holds)(tg.ones(3, 2, dtype=tg.float64)).shape[0] == 3


@given(strategies.modules(in_features=3), st.integers(0, 3))
@settings(max_examples=8)
def test_all_their_gradients_hold(model: nn.Module, seed: int) -> None:
    x = tg.tensor(np.random.default_rng(seed).normal(size=(2, 3))).requires_grad_()
    report = gradcheck(model, (x,), mode="fast")
    assert report.refused == 0
    assert report.leaves[1:] == tuple(name for name, _ in model.named_parameters())
