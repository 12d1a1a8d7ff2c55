"""float64 beside float32: an error where PyTorch has one, so that no model computes in float64 unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tests.test_door import FUNCTIONAL, PRODUCTS, Call
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import DTypeError

# torch computes rms_norm and addr in the larger dtype, and rounds what is added in a transposed convolution, in
# conv_tbc and in instance_norm.
STRICTER = frozenset(("rms_norm", "conv_transpose1d", "conv_transpose2d", "conv_tbc", "instance_norm", "addr"))


def places(call: Call) -> list[int]:
    return [k for k in call.places if np.asarray(call.arguments[k]).dtype.kind == "f"]


MIXED = [
    (name, place)
    for name in [*FUNCTIONAL, *sorted(name for name in PRODUCTS if hasattr(tg.Tensor, name))]
    for place in places(FUNCTIONAL.get(name) or Call(name, getattr(tg.Tensor, name)))
    if len(places(FUNCTIONAL.get(name) or Call(name, getattr(tg.Tensor, name)))) > 1
]


def in_torch(name: str, arguments: list[Any]) -> bool:
    """Whether torch takes these arguments."""
    function = getattr(torch.Tensor, name, None) if name in PRODUCTS else getattr(torch.nn.functional, name)
    order = [torch.tensor(one) if isinstance(one, np.ndarray) else one for one in arguments]
    options: dict[str, Any] = {}
    if name == "tensordot":
        function, options = torch.tensordot, {"dims": order.pop()}
    if name == "binary_cross_entropy_with_logits":
        options = {"weight": order[2], "pos_weight": order[4]}
        order = order[:2]
    if name == "multi_margin_loss":
        options, order = {"weight": order[4]}, order[:2]
    try:
        function(*order, **options)
    except RuntimeError:
        return False
    return True


@pytest.mark.filterwarnings("ignore:Mismatch dtype", "ignore:reduction", "ignore:Default grid_sample")
@pytest.mark.parametrize(("name", "place"), MIXED)
def test_as_pytorch(name: str, place: int) -> None:
    call = FUNCTIONAL.get(name) or Call(name, getattr(tg.Tensor, name))
    for odd, even in (("float64", "float32"), ("float32", "float64")):
        arrays = [
            np.asarray(one, odd if k == place else even) if k in places(call) else one
            for k, one in enumerate(call.arguments)
        ]
        given = [tg.tensor(one) if k in call.places else one for k, one in enumerate(arrays)]
        if in_torch(name, arrays) and name not in STRICTER:
            call.function(*given)
            continue
        for function in (call.function, tg.jit(call.function)):
            with pytest.raises(
                DTypeError, match=rf"^\[{name}\] got dtypes float\d\d and float\d\d; expected one float"
            ):
                function(*given)


X = np.random.default_rng(1).normal(size=(5, 4, 3))
RECURRENT: dict[str, Callable[[Any, Any], Any]] = {
    "RNN": lambda x, h: nn.RNN(3, 2)(x, h),
    "GRU": lambda x, h: nn.GRU(3, 2)(x, h),
    "LSTM": lambda x, h: nn.LSTM(3, 2)(x, (h, h)),
    "LSTM's cell state": lambda x, h: nn.LSTM(3, 2)(x, (h.float(), h)),
    "RNNCell": lambda x, h: nn.RNNCell(3, 2)(x[0], h[0]),
    "GRUCell": lambda x, h: nn.GRUCell(3, 2)(x[0], h[0]),
    "LSTMCell": lambda x, h: nn.LSTMCell(3, 2)(x[0], (h[0], h[0])),
    "LSTMCell's cell state": lambda x, h: nn.LSTMCell(3, 2)(x[0], (h[0].float(), h[0])),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name: str) -> None:
    call, h = RECURRENT[name], tg.zeros(1, 4, 2)
    call(tg.tensor(X).float(), h)
    with pytest.raises(DTypeError, match=r"got dtypes float\d\d and float\d\d"):
        call(tg.tensor(X), h)
    with pytest.raises(DTypeError, match=rf"\[{name.partition(chr(39))[0]}\] got dtypes float32 and float64"):
        call(tg.tensor(X).float(), h.double())


def test_the_error_says_what_to_convert_and_that_helps() -> None:
    model, x = nn.Linear(3, 2), tg.tensor(X)
    with pytest.raises(
        DTypeError, match=r"hint: x.float\(\) or x.double\(\) for data, model.float\(\) or model.double\(\)"
    ):
        model(x)
    assert model(x.float()).dtype == tg.float32
    assert model.double()(x).dtype == tg.float64


def test_einsum_and_operators() -> None:
    x, y = tg.ones(2, 3), tg.ones(3, 2).double()
    for product in (lambda: tg.einsum("ij,jk->ik", x, y), lambda: x @ y, lambda: y @ x):
        with pytest.raises(DTypeError, match=r"^\[(einsum|matmul)\] got dtypes"):
            product()
    assert (x.T + y).dtype == tg.float64
    assert F.mse_loss(x.T, y).dtype == tg.float64


def test_integers_count_as_data() -> None:
    """Unlike in PyTorch: nothing is computed twice as wide."""
    assert nn.Linear(3, 2)(tg.tensor([[1, 2, 3]])).dtype == tg.float32
    assert (tg.ones(2, 3) @ tg.ones(3, 2).long()).dtype == tg.float32


def test_arrays_of_a_compiled_step_are_data() -> None:
    """As in eager code; a tensor that was made float64 is no such thing."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    opt = tg.optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    compiled = tg.jit(step)
    x, y = X[0], X[0][:, :1]
    assert step(x, y).dtype == compiled(x, y).dtype == tg.float32
    with pytest.raises(DTypeError, match=r"\[linear\] got dtypes float64 and float32"):
        tg.jit(step)(tg.tensor(x), tg.tensor(y))
    product = tg.jit(lambda x: x @ model[0].weight.T)
    assert product(x).dtype == tg.float32
    assert compiled(x, y).item() == pytest.approx(compiled(x.astype(np.float32), y.astype(np.float32)).item(), rel=0.5)
