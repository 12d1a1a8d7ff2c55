"""What is refused when it is made: settings of layers, losses, optimizers, schedules and callbacks; what is legal in
torch is made.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn.errors import ConfigError, TinygradError
from tinygrad_nn.optim import lr_scheduler
from tinygrad_nn.support.settings import choice, integer, number

NAN, INF = math.nan, math.inf
NO_NUMBERS = ("1", None, NAN, INF, True, [0.1], 1j)
NO_SIZES = ("3", None, 2.5, 3.0, -1, True, (3,), NAN)


def params() -> list[Any]:
    return [tg.zeros(2, requires_grad=True)]


def sgd() -> optim.SGD:
    return optim.SGD(params(), lr=0.1)


SIZES: dict[str, Callable[[Any], Any]] = {  # `owner setting` -> what is made with a size
    "Linear in_features": lambda n: nn.Linear(n, 3),
    "Linear out_features": lambda n: nn.Linear(3, n),
    "Bilinear in1_features": lambda n: nn.Bilinear(n, 3, 2),
    "Bilinear in2_features": lambda n: nn.Bilinear(3, n, 2),
    "Bilinear out_features": lambda n: nn.Bilinear(3, 2, n),
    "Embedding num_embeddings": lambda n: nn.Embedding(n, 3),
    "Embedding embedding_dim": lambda n: nn.Embedding(3, n),
    "LayerNorm normalized_shape": lambda n: nn.LayerNorm([2, n]),
    "RMSNorm normalized_shape": lambda n: nn.RMSNorm([2, n]),
    "BatchNorm1d num_features": lambda n: nn.BatchNorm1d(n),
    "PReLU num_parameters": lambda n: nn.PReLU(n),
    "Conv1d in_channels": lambda n: nn.Conv1d(n, 3, 2),
    "Conv1d out_channels": lambda n: nn.Conv1d(3, n, 2),
    "Conv1d kernel_size": lambda n: nn.Conv1d(3, 3, n),
    "Conv1d stride": lambda n: nn.Conv1d(3, 3, 2, stride=n),
    "Conv1d padding": lambda n: nn.Conv1d(3, 3, 2, padding=n),
    "Conv1d dilation": lambda n: nn.Conv1d(3, 3, 2, dilation=n),
    "Conv1d groups": lambda n: nn.Conv1d(3, 3, 2, groups=n),
    "Conv2d kernel_size": lambda n: nn.Conv2d(3, 3, (2, n)),
    "Conv2d stride": lambda n: nn.Conv2d(3, 3, 2, stride=(n, 1)),
    "ConvTranspose2d output_padding": lambda n: nn.ConvTranspose2d(3, 3, 2, output_padding=n),
    "AdaptiveMaxPool1d output_size": lambda n: nn.AdaptiveMaxPool1d(n if n is not None else -1),
    "AvgPool2d padding": lambda n: nn.AvgPool2d(6, padding=n),
    "MaxPool1d kernel_size": lambda n: nn.MaxPool1d(n),
    "MaxPool1d dilation": lambda n: nn.MaxPool1d(2, dilation=n),
    "AvgPool1d kernel_size": lambda n: nn.AvgPool1d(n),
    "RNN input_size": lambda n: nn.RNN(n, 3),
    "LSTM hidden_size": lambda n: nn.LSTM(3, n),
    "GRU num_layers": lambda n: nn.GRU(3, 3, n),
    "RNNCell input_size": lambda n: nn.RNNCell(n, 3),
    "LSTMCell hidden_size": lambda n: nn.LSTMCell(3, n),
    "StepLR step_size": lambda n: lr_scheduler.StepLR(sgd(), n),
    "MultiStepLR milestone": lambda n: lr_scheduler.MultiStepLR(sgd(), [2, n]),
    "ConstantLR total_iters": lambda n: lr_scheduler.ConstantLR(sgd(), total_iters=n),
    "LinearLR total_iters": lambda n: lr_scheduler.LinearLR(sgd(), total_iters=n),
    "PolynomialLR total_iters": lambda n: lr_scheduler.PolynomialLR(sgd(), total_iters=n),
    "CosineAnnealingLR T_max": lambda n: lr_scheduler.CosineAnnealingLR(sgd(), n),
    "CosineAnnealingWarmRestarts T_0": lambda n: lr_scheduler.CosineAnnealingWarmRestarts(sgd(), n),
    "CosineAnnealingWarmRestarts T_mult": lambda n: lr_scheduler.CosineAnnealingWarmRestarts(sgd(), 3, n),
    "OneCycleLR epochs": lambda n: lr_scheduler.OneCycleLR(sgd(), 0.1, epochs=n if n is not None else 0,
                                                           steps_per_epoch=2),
    "OneCycleLR steps_per_epoch": lambda n: lr_scheduler.OneCycleLR(sgd(), 0.1, epochs=2,
                                                                    steps_per_epoch=n if n is not None else 0),
    "ReduceLROnPlateau patience": lambda n: lr_scheduler.ReduceLROnPlateau(sgd(), patience=n),
    "ReduceLROnPlateau cooldown": lambda n: lr_scheduler.ReduceLROnPlateau(sgd(), cooldown=n),
    "SequentialLR milestone": lambda n: lr_scheduler.SequentialLR(
        (opt := sgd()), [lr_scheduler.StepLR(opt, 2), lr_scheduler.StepLR(opt, 3)], [n]),
    "EarlyStopping patience": lambda n: callbacks.EarlyStopping(patience=n),
    "LogLines every": lambda n: callbacks.LogLines(every=n),
}
FROM_ONE = (  # 0 is refused too
    "StepLR step_size", "CosineAnnealingLR T_max", "CosineAnnealingWarmRestarts T_0",
    "CosineAnnealingWarmRestarts T_mult", "ConstantLR total_iters", "LinearLR total_iters", "PolynomialLR total_iters",
    "OneCycleLR epochs", "OneCycleLR steps_per_epoch", "LogLines every", "Conv1d kernel_size", "Conv1d stride",
    "Conv1d dilation", "Conv1d groups", "MaxPool1d kernel_size", "MaxPool1d dilation", "AvgPool1d kernel_size",
    "RNN input_size", "LSTM hidden_size", "GRU num_layers", "Bilinear in1_features", "Conv2d kernel_size",
    "Conv2d stride",
)  # fmt: skip


@pytest.mark.parametrize("what", SIZES)
def test_sizes(what: str) -> None:
    owner, name = what.split()
    for value in NO_SIZES + ((0,) if what in FROM_ONE else ()):
        if (name == "padding" and isinstance(value, str)) or (what == "StepLR step_size" and value == 3.0):
            continue  # which have a meaning there
        if isinstance(value, tuple) and name in ("kernel_size", "stride", "padding", "dilation", "output_padding",
                                                 "output_size"):  # fmt: skip
            continue  # one for each axis
        with pytest.raises(ConfigError, match=rf"^\[{owner}\] got {name} .*; expected an integer"):
            SIZES[what](value)
    for value in (2 if name == "groups" else 3, np.int64(1), np.int32(2)):
        if name != "groups" or value == 1:
            SIZES[what](value)
    if what not in FROM_ONE:
        SIZES[what](0)


NUMBERS: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...], tuple[Any, ...]]] = {
    # `owner setting` -> what is made, other refused values, values that are legal
    "Dropout p": (lambda v: nn.Dropout(v), (-0.1, 1.1), (0, 1, 0.5, np.float32(0.25))),
    "LSTM dropout": (lambda v: nn.LSTM(3, 3, 2, dropout=v), (-0.1, 1.1), (0, 1)),
    "LayerNorm eps": (lambda v: nn.LayerNorm(3, eps=v), (-1e-9,), (0, 1e-5)),
    "BatchNorm1d eps": (lambda v: nn.BatchNorm1d(3, eps=v), (-1,), (0,)),
    "BatchNorm1d momentum": (lambda v: nn.BatchNorm1d(3, momentum=v if v is not None else "None"), (-0.1, 1.5), (0,)),
    "LeakyReLU negative_slope": (lambda v: nn.LeakyReLU(v), (), (-1, 0)),
    "ELU alpha": (lambda v: nn.ELU(v), (), (-1, 0)),
    "CELU alpha": (lambda v: nn.CELU(v), (0,), (-1, 2)),
    "Softplus beta": (lambda v: nn.Softplus(v), (0,), (-1, 2)),
    "Softshrink lambd": (lambda v: nn.Softshrink(v), (-1,), (0,)),
    "SmoothL1Loss beta": (lambda v: nn.SmoothL1Loss(beta=v), (-1,), (0,)),
    "HuberLoss delta": (lambda v: nn.HuberLoss(delta=v), (-1, 0), (2,)),
    "CrossEntropyLoss label_smoothing": (lambda v: nn.CrossEntropyLoss(label_smoothing=v), (-0.1, 1.1), (0, 1)),
    "TripletMarginLoss margin": (lambda v: nn.TripletMarginLoss(v), (-1, 0), (1,)),
    "MarginRankingLoss margin": (lambda v: nn.MarginRankingLoss(v), (), (-1, 0)),
    "SGD lr": (lambda v: optim.SGD(params(), lr=v), (-1,), (0, 1, np.float64(0.1), tg.tensor(0.5))),
    "SGD momentum": (lambda v: optim.SGD(params(), lr=0.1, momentum=v), (-1,), (0, 1.5)),
    "SGD dampening": (lambda v: optim.SGD(params(), lr=0.1, momentum=0.5, dampening=v), (), (-1,)),
    "Adam weight_decay": (lambda v: optim.Adam(params(), weight_decay=v), (-1,), (0,)),
    "Adam eps": (lambda v: optim.Adam(params(), eps=v), (-1,), (0,)),
    "AdamW beta": (lambda v: optim.AdamW(params(), betas=(0.9, v)), (-0.1, 1), (0.0,)),
    "RMSprop alpha": (lambda v: optim.RMSprop(params(), alpha=v), (-1,), (0, 2)),
    "Adadelta rho": (lambda v: optim.Adadelta(params(), rho=v), (-0.1, 1.5), (0, 1)),
    "Adagrad lr_decay": (lambda v: optim.Adagrad(params(), lr_decay=v), (-1,), (0,)),
    "NAdam momentum_decay": (lambda v: optim.NAdam(params(), momentum_decay=v), (-1,), (0,)),
    "RAdam lr": (lambda v: optim.RAdam([{"params": params(), "lr": v}]), (-1,), (0,)),
    "StepLR gamma": (lambda v: lr_scheduler.StepLR(sgd(), 2, gamma=v), (-1,), (0, 2)),
    "MultiStepLR gamma": (lambda v: lr_scheduler.MultiStepLR(sgd(), [2], gamma=v), (-1,), (0, 2)),
    "ExponentialLR gamma": (lambda v: lr_scheduler.ExponentialLR(sgd(), v), (-1,), (0, 2)),
    "ConstantLR factor": (lambda v: lr_scheduler.ConstantLR(sgd(), v), (-1, 0, 2), (1,)),
    "LinearLR start_factor": (lambda v: lr_scheduler.LinearLR(sgd(), v), (-1, 0, 2), (1,)),
    "LinearLR end_factor": (lambda v: lr_scheduler.LinearLR(sgd(), end_factor=v), (-1, 2), (0, 1)),
    "PolynomialLR power": (lambda v: lr_scheduler.PolynomialLR(sgd(), power=v), (-1,), (0, 2)),
    "CosineAnnealingLR eta_min": (lambda v: lr_scheduler.CosineAnnealingLR(sgd(), 3, v), (-1,), (0, 1)),
    "OneCycleLR max_lr": (lambda v: lr_scheduler.OneCycleLR(sgd(), v, 5), (-1,), (0, 1)),
    "OneCycleLR pct_start": (lambda v: lr_scheduler.OneCycleLR(sgd(), 0.1, 10, pct_start=v), (-0.1, 2), (0, 0.1, 1)),
    "OneCycleLR div_factor": (lambda v: lr_scheduler.OneCycleLR(sgd(), 0.1, 5, div_factor=v), (-1, 0), (1,)),
    "ReduceLROnPlateau factor": (lambda v: lr_scheduler.ReduceLROnPlateau(sgd(), factor=v), (-1, 0, 1, 2), (0.5,)),
    "ReduceLROnPlateau threshold": (lambda v: lr_scheduler.ReduceLROnPlateau(sgd(), threshold=v), (-1,), (0,)),
    "ReduceLROnPlateau min_lr": (lambda v: lr_scheduler.ReduceLROnPlateau(sgd(), min_lr=v), (-1,), (0, 1)),
    "EarlyStopping min_delta": (lambda v: callbacks.EarlyStopping(min_delta=v), (-1,), (0,)),
    "clip_grad_value_ clip_value": (lambda v: nn.utils.clip_grad_value_(params(), INF if v == INF else v), (-1,), (0,)),
    "normal_ std": (lambda v: nn.init.normal_(tg.zeros(2), std=v), (-1,), (0, 2)),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_numbers(what: str) -> None:
    owner, name = what.split()
    make, refused, legal = NUMBERS[what]
    for value in (*refused, *NO_NUMBERS):
        if (name == "clip_value" and value == INF) or (name == "max_lr" and isinstance(value, list)):
            continue  # which have a meaning there
        with pytest.raises(ConfigError, match=rf"^\[{owner}\] got {name} .*; expected a"):
            make(value)
    for value in legal:
        make(value)


WRONG: list[tuple[Callable[[], Any], type[TinygradError], str]] = [
    (lambda: nn.RNN(3, 3, nonlinearity="elu"), ConfigError, r"\[RNN\] .*'elu'; expected 'tanh', 'relu' or 'sigmoid'"),
    (lambda: nn.RNNCell(3, 3, nonlinearity=["relu"]), ConfigError, r"\[RNNCell\] got nonlinearity \['relu'\]"),
    (lambda: nn.GELU("exact"), ConfigError, r"\[GELU\] got approximate 'exact'"),
    (lambda: nn.Hardtanh(1.0, 1.0), ConfigError, r"\[Hardtanh\] got max_val 1.0; expected a number, 1.0 < max_val"),
    (lambda: nn.Softmax("last"), ConfigError, r"\[Softmax\] got dim 'last'"),
    (lambda: nn.Conv1d(3, 3, 2, padding="full"), ConfigError, r"\[Conv1d\] got padding 'full'"),
    (lambda: nn.Conv1d(3, 3, 2, stride=2, padding="same"), ConfigError, r"padding 'same' with stride \(2,\)"),
    (lambda: nn.MaxPool1d(2, padding=2), ConfigError, r"at most half of it, \(1,\)"),
    (lambda: nn.AvgPool1d(3, stride=0), ConfigError, r"\[AvgPool1d\] got stride 0"),
    (lambda: nn.LayerNorm("3"), ConfigError, r"\[LayerNorm\] got normalized_shape '3'"),
    (
        lambda: nn.MSELoss(reduction="average"),
        ConfigError,
        r"\[MSELoss\] got reduction 'average'; expected 'mean', 'sum' or",
    ),
    (lambda: nn.MSELoss(reduction=None), ConfigError, r"\[MSELoss\] got reduction None"),
    (lambda: nn.L1Loss(reduction="batchmean"), ConfigError, r"\[L1Loss\] got reduction 'batchmean'"),
    (lambda: nn.L1Loss("sum"), ConfigError, r"\[L1Loss\] got size_average 'sum'.*write reduction='sum'"),
    (lambda: nn.NLLLoss(ignore_index=1.5), ConfigError, r"\[NLLLoss\] got ignore_index 1.5"),
    (lambda: nn.MultiMarginLoss(p=3), ConfigError, r"\[MultiMarginLoss\] got p 3; expected 1 or 2"),
    (lambda: nn.Conv2d(1, 2, 3, bias=3), ConfigError, r"\[Conv2d\] got bias 3; expected True or False"),
    (lambda: nn.MaxPool2d(2, ceil_mode="yes"), ConfigError, r"\[MaxPool2d\] got ceil_mode 'yes'"),
    (lambda: nn.BatchNorm1d(2, device="cuda"), ConfigError, r"\[BatchNorm1d\] got device 'cuda'; expected 'cpu'"),
    (lambda: nn.GRU(2, 3, batch_first=1), ConfigError, r"\[GRU\] got batch_first 1; expected True or False"),
    (lambda: nn.CosineSimilarity(dim="1"), ConfigError, r"\[CosineSimilarity\] got dim '1'"),
    (lambda: optim.Adam(params(), betas=0.9), ConfigError, r"\[Adam\] got betas 0.9; expected two numbers"),
    (lambda: optim.Adam(params(), betas=(0.9,)), ConfigError, r"\[Adam\] got betas \(0.9,\); expected two numbers"),
    (lambda: optim.SGD(params(), lr=0.1, nesterov=True), ConfigError, "nesterov with momentum 0.0"),
    (lambda: optim.SGD([{"params": params(), "nesterov": True}], lr=0.1), ConfigError, "nesterov with momentum 0.0"),
    (lambda: optim.SGD(None, lr=0.1), ConfigError, r"\[SGD\] got a NoneType; expected an iterable of parameters"),
    (lambda: optim.SGD(nn.Linear(2, 2), lr=0.1), ConfigError, r"a Linear; .*; hint: pass model.parameters\(\)"),
    (lambda: optim.SGD([{"lr": 0.1}], lr=0.1), ConfigError, "a dict with 'params'"),
    (lambda: optim.SGD([{"params": params()}, params()], lr=0.1), ConfigError, "a dict with 'params'"),
    (lambda: lr_scheduler.LambdaLR(sgd(), [3]), ConfigError, r"\[LambdaLR\] got a int; expected a function"),
    (lambda: lr_scheduler.LambdaLR(sgd(), 0.5), ConfigError, r"\[LambdaLR\] got a float; expected a function"),
    (lambda: lr_scheduler.LambdaLR(sgd(), lambda t: -1.0), ConfigError, r"\[LambdaLR\] got factor of step 0 -1"),
    (lambda: lr_scheduler.ReduceLROnPlateau(sgd()).step("x"), ConfigError, r"\[ReduceLROnPlateau\] got metrics 'x'"),
    (lambda: lr_scheduler.LambdaLR(sgd(), lambda t: None), ConfigError, r"\[LambdaLR\] got factor of step 0 None"),
    (lambda: lr_scheduler.LambdaLR(None, lambda t: 1.0), ConfigError, r"\[LambdaLR\] got a NoneType; expected an opt"),
    (lambda: lr_scheduler.MultiStepLR(sgd(), 3), ConfigError, r"\[MultiStepLR\] got milestones 3; expected a list"),
    (lambda: lr_scheduler.OneCycleLR(sgd(), 0.1, 0), ConfigError, r"\[OneCycleLR\] got total_steps 0"),
    (lambda: lr_scheduler.OneCycleLR("opt", 0.1, 3), ConfigError, r"\[OneCycleLR\] got a str; expected an optimizer"),
    (lambda: lr_scheduler.ReduceLROnPlateau(None), ConfigError, r"\[ReduceLROnPlateau\] got a NoneType"),
    (lambda: lr_scheduler.StepLR(sgd(), 3, last_epoch=-2), ConfigError, r"\[StepLR\] got last_epoch -2"),
    (lambda: lr_scheduler.SequentialLR(sgd(), [None], []), ConfigError, "schedules that count steps"),
    (lambda: callbacks.EarlyStopping(mode="lowest"), ConfigError, "'min' or 'max'"),
    (lambda: callbacks.EarlyStopping(monitor=3), ConfigError, r"\[EarlyStopping\] got monitor 3"),
    (lambda: callbacks.EarlyStopping("loss"), ConfigError, r"\[EarlyStopping\] got parameters of type str"),
    (lambda: callbacks.EarlyStopping(tg.zeros(2)), ConfigError, "parameters of type Tensor"),
    (lambda: callbacks.Schedule(sgd()), ConfigError, r"\[Schedule\] got a SGD"),
    (lambda: callbacks.JsonLines(3), ConfigError, r"\[JsonLines\] got path 3"),
    (lambda: nn.utils.clip_grad_norm_(params(), -1.0), ConfigError, r"\[clip_grad_norm_\] got max_norm -1.0"),
    (lambda: nn.init.uniform_(tg.zeros(2), 1.0, 0.0), ConfigError, r"\[uniform_\] got b 0.0"),
    (lambda: nn.init.trunc_normal_(tg.zeros(2), a=1.0, b=1.0), ConfigError, r"\[trunc_normal_\] got b 1.0"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Callable[[], Any], error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_schedules_in_a_wrong_order() -> None:
    opt = sgd()
    parts = [lr_scheduler.StepLR(opt, 2) for _ in range(3)]
    with pytest.raises(ConfigError, match=r"milestones \[5, 2\]; expected rising steps"):
        lr_scheduler.SequentialLR(opt, parts, [5, 2])
    lr_scheduler.SequentialLR(opt, parts, [3, 3])


LEGAL: list[tuple[str, tuple[Any, ...]]] = [  # made by torch, so made here
    ("Linear", (0, 3)),
    ("Linear", (3, 0)),
    ("Embedding", (0, 3)),
    ("LayerNorm", (0,)),
    ("LayerNorm", ((),)),
    ("BatchNorm1d", (0,)),
    ("Conv1d", (0, 3, 2)),
    ("RNNCell", (0, 3)),
    ("RNNCell", (3, 0)),
    ("PReLU", (0,)),
    ("KLDivLoss", (None, None, "batchmean")),
    ("Threshold", (0.0, -INF)),
    ("Hardtanh", (-INF, INF)),
    ("PairwiseDistance", (INF,)),
]


@pytest.mark.parametrize(("name", "args"), LEGAL)
def test_what_torch_makes_is_made(name: str, args: tuple[Any, ...]) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(torch.nn, name)(*args)
    getattr(nn, name)(*args)


def test_one_cycle_of_a_warmup_of_one_step() -> None:
    opt = sgd()
    schedule = lr_scheduler.OneCycleLR(opt, 1.0, total_steps=10, pct_start=0.1)
    assert opt.param_groups[0]["lr"] == 1.0  # torch divides by zero here
    schedule.step()
    assert opt.param_groups[0]["lr"] < 1.0


def test_a_refused_group_is_not_added() -> None:
    opt = sgd()
    with pytest.raises(ConfigError, match=r"\[SGD\] got lr nan"):
        opt.add_param_group({"params": params(), "lr": NAN})
    assert len(opt.param_groups) == 1


@pytest.mark.parametrize("value", [NAN, INF, None, "0.1"])
def test_a_learning_rate_stays_a_number(value: Any) -> None:
    opt = sgd()
    with pytest.raises(ConfigError, match=r"\[ParamGroup\] got lr .*; expected a finite number"):
        opt.param_groups[0]["lr"] = value
    assert opt.param_groups[0]["lr"] == 0.1


class Stateful:
    """A callback that counts its calls."""

    calls = 0

    def __call__(self, run: Any, logs: Any) -> None:
        self.calls += 1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"step": None}, r"None as step; expected a function"),
        ({"evaluate": 3}, r"3 as evaluate; expected a function"),
        ({"evaluate": {"acc": 1.0}}, r"\{'acc': 1.0\} as evaluate"),
        ({"callbacks": Stateful()}, r"callbacks=.*; expected a list of functions; hint: put it in a list"),
        ({"callbacks": None}, r"callbacks=None"),
        ({"callbacks": [print, "log"]}, r"'log' as a callback; expected a function"),
        ({"callbacks": [Stateful]}, r"the class Stateful as a callback; expected Stateful\(...\)"),
        ({"callbacks": {"stop": print}}, r"callbacks=\{"),
    ],
)
def test_what_fit_calls_can_be_called(given: dict[str, Any], text: str) -> None:
    calls: list[int] = []

    def step(x: Any) -> float:
        calls.append(1)
        return 0.0

    with pytest.raises(ConfigError, match=rf"^\[fit\] got {text}"):
        tg.fit(**{"step": step, "data": [1.0, 2.0], "progress": False, **given})
    assert calls == []
    counter = Stateful()
    tg.fit(step, [1.0, 2.0], epochs=2, progress=False, callbacks=(one for one in (counter,)))
    assert counter.calls == 2


def test_a_tensor_as_learning_rate_is_a_number() -> None:
    opt = optim.SGD(params(), lr=tg.tensor(0.5))
    assert type(opt.param_groups[0]["lr"]) is float


def test_an_optimizer_of_the_user_has_settings_of_its_own() -> None:
    class Own(optim.Optimizer):
        def __init__(self, params: Any, **values: Any) -> None:
            super().__init__(params, **values)

    assert Own(params(), lr=0.1, mode="fast", steps=(1, 2)).param_groups[0]["mode"] == "fast"
    with pytest.raises(ConfigError, match=r"\[Own\] got strength -1"):
        Own(params(), lr=0.1, strength=-1)


def test_the_checks_themselves() -> None:
    assert number("f", "x", Fraction(1, 2), least=0) == Fraction(1, 2)
    assert number("f", "x", INF, finite=False) == INF
    assert integer("f", "n", np.array(3)) == 3
    with pytest.raises(ConfigError, match=r"\[f\] got x inf; expected a finite number"):
        number("f", "x", INF)
    with pytest.raises(ConfigError, match=r"expected a number, 0 < x < 1"):
        number("f", "x", 0, above=0, below=1)
    with pytest.raises(ConfigError, match=r"\[f\] got n 'x'; expected an integer$"):
        integer("f", "n", "x")
    assert choice("f", "kind", "a", ("a",)) == "a"
    with pytest.raises(ConfigError, match=r"\[f\] got kind 'b'; expected 'a'$"):
        choice("f", "kind", "b", ("a",))
