"""What cannot be compared is a failure that names the operation with the kink and the user's line; what only lies near
a kink is compared.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import GradcheckError
from tinygrad_nn.testing import gradcheck
from tinygrad_nn.testing.numeric import settled_slope, slope


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def zeros(*shape: int) -> tg.Tensor:
    return tg.zeros(*shape, dtype=tg.float64, requires_grad=True)


def bent_relu(x: tg.Tensor) -> tg.Tensor:
    h = x * 2 - 2
    return h.relu() * h.exp()


def masked(x: tg.Tensor) -> tg.Tensor:
    positive = x > 1
    return tg.where(positive, x * 3, x + 2) * x


def steps_over(x: tg.Tensor) -> tg.Tensor:
    def step(carry: tg.Tensor, entry: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        new = (carry + entry).abs()
        return new, new

    return tg.scan(step, tg.zeros((), dtype=tg.float64), x)[1]


def branches(x: tg.Tensor) -> tg.Tensor:
    if float(x.detach().sum()) > 0:
        return x.exp()
    return x * 3 + 1


KINKS: dict[str, tuple[Callable[..., Any], tg.Tensor, str, str]] = {
    # name: function, point, the op, a part of the user's line
    "relu": (bent_relu, leaf(1.0, 2.0, -3.0), "relu", "return h.relu() * h.exp()"),
    "abs": (lambda x: (x - 1).abs(), leaf(1.0, 0.5), "abs", "(x - 1).abs()"),
    "clamp": (lambda x: x.clamp(-1, 1), leaf(0.5, 1.0), "clamp", "x.clamp(-1, 1)"),
    "max": (lambda x: x.max() * 2, leaf(2.0, 2.0, 1.0), "max", "x.max() * 2"),
    "amin": (lambda x: x.amin(0), leaf(2.0, 2.0, 3.0), "amin", "x.amin(0)"),
    "maximum": (lambda x: tg.maximum(x, 2 - x), leaf(1.0, 2.0), "maximum", "tg.maximum(x, 2 - x)"),
    "sort": (lambda x: x.sort()[0], leaf(2.0, 2.0, -1.0), "sort", "x.sort()[0]"),
    "topk": (lambda x: x.topk(1)[0], leaf(2.0, 2.0, -1.0), "topk", "x.topk(1)[0]"),
    "where": (masked, leaf(1.0, 3.0), "where", "return tg.where(positive, x * 3, x + 2) * x"),
    "comparison": (masked, leaf(1.0, 3.0), "it follows lt", "positive = x > 1"),
    "mask": (lambda x: (x > 0).to(tg.float64) * x, leaf(0.0, 3.0), "cast", "(x > 0).to(tg.float64)"),
    "floor": (lambda x: x.floor() * x, leaf(2.0, 1.5), "floor", "x.floor() * x"),
    "round": (lambda x: x.round() * x, leaf(2.5, 1.2), "round", "x.round() * x"),
    "sign": (lambda x: x.sign() * x, leaf(0.0, 1.2), "sign", "x.sign() * x"),
    "norm": (lambda x: x.norm(), leaf(0.0, 0.0), "norm", "x.norm()"),
    "scan": (steps_over, leaf(1.0, -1.0, 3.0), "abs, at time step 1 of scan", "new = (carry + entry).abs()"),
    "branch": (branches, leaf(0.0), "another branch of the Python code", "return x * 3 + 1"),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_a_failure_that_names_the_op_and_the_line(name: str, compiled: bool, order: int) -> None:
    function, x, op, line = KINKS[name]
    if compiled and name == "branch":
        return
    with pytest.raises(GradcheckError) as caught:
        gradcheck(tg.jit(function) if compiled else function, (x,), order=order)
    head, columns, *rows = str(caught.value).splitlines()
    assert "of the first derivative that cannot be compared; expected a point where the function is smooth" in head
    assert columns.split() == ["output", "input", "why"]
    what, file, _ = rows[0].partition("test_kinks.py:")
    assert op in (rows[0] if name == "comparison" else what)
    assert file
    assert line in rows[0]


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize("point", [leaf(0.0), leaf(1.0, 0.0, -2.0)], ids=["only", "one of three"])
@pytest.mark.parametrize("function", [tg.Tensor.relu, tg.Tensor.abs])
def test_relu_and_abs_at_0_do_not_agree(function: Any, point: tg.Tensor, mode: Any) -> None:
    with pytest.raises(GradcheckError, match=f"kink in {function.__name__}"):
        gradcheck(lambda x: function(x), (point,), mode=mode)


def test_kinks_inside_of_modules_name_the_module_and_its_line() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.act = nn.Linear(2, 2, bias=False, dtype=tg.float64), nn.ReLU()

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            h = self.linear(x)
            return self.act(h)

    line = f"test_kinks.py:{inspect.getsourcelines(Net.forward)[1] + 2}"
    for model in (Net(), tg.jit(Net())):
        with pytest.raises(GradcheckError, match=rf"kink in relu in ReLU, at {line}: return self.act\(h\)"):
            gradcheck(model, (zeros(1, 2),))
    rnn = nn.RNN(2, 2, nonlinearity="relu", bias=False, dtype=tg.float64)
    with pytest.raises(GradcheckError, match="kink in relu in RNN, at time step 0 of "):
        gradcheck(rnn, (zeros(3, 1, 2),))
    for module, op in ((nn.MaxPool1d(2), "MaxPool1d"), (nn.LeakyReLU(), "LeakyReLU"), (nn.Hardtanh(0, 1), "Hardtanh")):
        with pytest.raises(GradcheckError, match=f"kink in .* in {op}, at test_kinks.py"):
            gradcheck(module, (zeros(1, 1, 4),))


def test_one_kink_among_many_entries_is_found() -> None:
    x = np.random.default_rng(0).normal(size=200)
    x[17] = 0.0
    with pytest.raises(GradcheckError, match=r"0\[17\]  kink in relu"):
        gradcheck(lambda x: x.relu().sum(), (tg.tensor(x).requires_grad_(),))


@pytest.mark.parametrize("distance", [1e-3, 1e-4, 1e-5, -1e-6])
def test_what_only_lies_near_a_kink_is_compared(distance: float) -> None:
    report = gradcheck(lambda x: x.relu() * x.exp() + x.abs(), (leaf(distance, 1.0),))
    assert report.refused == 0


@pytest.mark.parametrize("error", [1e-5, -1e-5])
def test_near_a_kink_a_factor_off_by_1e_5_is_caught(error: float) -> None:
    class Wrong(tg.Function):
        @staticmethod
        def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
            ctx.save_for_backward(x)
            return x.relu()

        @staticmethod
        def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
            (x,) = ctx.saved_tensors
            return g * (x > 0).to(tg.float64) * (1 + error)

    with pytest.raises(GradcheckError, match="differ from the numeric ones"):
        gradcheck(Wrong.apply, (leaf(1e-4, 1.0),), order=1)
    with pytest.raises(GradcheckError, match=r"1e-05[^\n]*\n"):
        gradcheck(Wrong.apply, (leaf(1e-4),), order=1)


def test_kinks_of_the_gradient_are_refused_and_counted_and_too_many_are_an_error() -> None:
    report = gradcheck(lambda x: x * x.abs(), (leaf(0.0, 2.0, 3.0),))
    assert report.refused == 1
    assert "1 refused (not differentiable or too noisy here)" in str(report)
    with pytest.raises(GradcheckError, match=r"1 of 27 entries that were refused, more than 3%[^$]*abs"):
        gradcheck(lambda x: x * x.abs(), (leaf(0.0, 2.0, 3.0),), refusals=0.03)
    with pytest.raises(GradcheckError, match=r"more than 10%[^$]*smooth_l1_loss.* test_kinks.py"):
        gradcheck(lambda x: F.smooth_l1_loss(x, tg.zeros(1, dtype=tg.float64)), (leaf(1.0),))


def test_refusals_1_only_counts() -> None:
    report = gradcheck(lambda x: x.relu(), (leaf(0.0, 1.0, -2.0),), order=1, refusals=1)
    assert (report.checked, report.refused) == (8, 1)
    with pytest.raises(GradcheckError, match="1 of 1 entries"):
        gradcheck(lambda x: x.relu(), (leaf(0.0),), order=1, refusals=1)


def test_noise_is_said_to_be_noise() -> None:
    with pytest.raises(GradcheckError, match="too noisy: the values have too few digits"):
        gradcheck(lambda x: (x + 1e9) - 1e9, (leaf(0.3),))


# ---- numeric slopes
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "at", "exact"),
    [
        (np.sin, 0.7, np.cos(0.7)),
        (lambda x: x * np.abs(x), 0.0, 0.0),
        (lambda x: np.abs(x) ** 1.5, 0.0, 0.0),
        (lambda x: np.maximum(x, 0.0), 1e-5, 1.0),
        (lambda x: np.where(x > 1, 2 * x - 1, x * x), 1.0, 2.0),
        (lambda x: np.sin(100 * x), 0.1, 100 * np.cos(10.0)),
    ],
)
def test_a_slope_is_as_good_as_it_says(function: Any, at: float, exact: float) -> None:
    x = np.array([at])
    found = settled_slope(function, x, np.ones(1), 6e-4, function(x), 1e-6)
    assert not found.kink[0]
    assert abs(found.value[0] - exact) <= 10 * found.error[0]
    assert found.error[0] < 1e-4


@pytest.mark.parametrize("function", [np.abs, lambda x: np.maximum(x, 0), lambda x: np.minimum(x, 3 * x)])
def test_a_kink_at_the_point_is_one_at_any_step(function: Any) -> None:
    x = np.zeros(1)
    for step in (6e-4, 1e-5, 1e-7):
        assert slope(function, x, np.ones(1), step, function(x)).kink[0]
    assert settled_slope(function, x, np.ones(1), 6e-4, function(x), 1e-6).kink[0]


def test_jumps_are_not_known() -> None:
    for function in (np.sign, np.ceil, lambda x: np.heaviside(x, 0.0)):
        x = np.zeros(1)
        assert settled_slope(function, x, np.ones(1), 6e-4, function(x), 1e-6).error[0] > 1


def relu_net(seed: int) -> tuple[nn.Module, Callable[[], tg.Tensor]]:
    """A network with kinks within most differences, and its loss."""
    tg.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)).double()
    x, y = tg.tensor(rng.normal(size=(64, 10))), tg.tensor(rng.integers(0, 3, 64))
    return model, lambda: F.cross_entropy(model(x), y)


@pytest.mark.parametrize("seed", [0, 4, 8])
def test_many_kinks_nearby_spoil_nothing(seed: int) -> None:
    model, loss = relu_net(seed)
    report = gradcheck(loss, mode="fast")
    assert report.refused == 0
    for weight in model.parameters():
        remove = weight.register_hook(lambda g: g * (1 + 1e-5))
        with pytest.raises(GradcheckError, match="differ from the numeric ones"):
            gradcheck(loss, mode="fast", order=1)
        remove()
