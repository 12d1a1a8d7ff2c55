"""This project, eager and under tg.jit: nothing but the public API."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim

from ..workloads import ADAM, CNN, GPT
from . import Run, Sample, Setting, Table, fingerprint, models, passes, repeated


def begin(setting: Setting) -> Callable[..., Any]:
    """What a step goes through: tg.jit, or nothing. What loads late is imported here, beyond what is timed."""
    start = time.perf_counter()
    _ = tg.fit, tg.metrics
    setting.notes["import of tg.fit, ms"] = 1e3 * (time.perf_counter() - start)
    tg.set_default_dtype(setting.weights()[0].dtype)
    if setting.contestant == "eager":
        return lambda function: function
    start = time.perf_counter()
    __import__("llvmlite.binding")
    setting.notes["import of llvmlite, ms"] = 1e3 * (time.perf_counter() - start)
    return tg.jit


def layers(setting: Setting, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the weights' shapes, with an activation between them."""
    found: list[nn.Module] = []
    weights = [w for w in setting.weights() if w.ndim == 2]
    for w in weights:
        found += [nn.Linear(w.shape[1], w.shape[0], bias=len(weights) > 1), activation()]
    return nn.Sequential(*found[:-1])


def reset(setting: Setting, model: nn.Module, opt: Any = None) -> None:
    """Back to the first weights."""
    with tg.no_grad():
        for p, w in zip(model.parameters(), setting.weights(), strict=True):
            p.assign(tg.tensor(w))
        for state in opt.state.values() if opt else ():
            for value in state.values():
                value.assign(tg.zeros(*value.shape, dtype=value.dtype))


def classify(model: Any, opt: Any) -> Callable[[Any, Any], Any]:
    """A step of the classifiers."""

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def iris(setting: Setting) -> Run:
    """Epochs."""
    wrap, model, arrays = begin(setting), layers(setting), setting.arrays
    x, y, test_x, test_y = (tg.tensor(arrays[name]) for name in ("x", "y", "test_x", "test_y"))
    step = wrap(classify(model, optim.SGD(model.parameters(), lr=0.01)))

    def scores() -> dict[str, tg.Tensor]:
        return {
            "train_acc": tg.metrics.accuracy(model(x), y),
            "test_acc": tg.metrics.accuracy(model(test_x), test_y),
        }

    def run(iterations: int) -> Sample:
        reset(setting, model)
        start = time.perf_counter()
        history = tg.fit(
            step,
            (arrays["x"], arrays["y"]),
            epochs=iterations,
            batch_size=32,
            shuffle=False,
            evaluate=scores,
            eval_every=1,
            progress=False,
        )
        seconds = time.perf_counter() - start
        return Sample(seconds, [float(history[name][-1]) for name in ("loss", "train_acc", "test_acc")])

    return run


def titanic(setting: Setting) -> Run:
    """Epochs."""
    wrap, model, arrays = begin(setting), layers(setting), setting.arrays
    opt = optim.SGD(model.parameters(), lr=0.1)

    def descend(x: tg.Tensor, y: tg.Tensor) -> dict[str, tg.Tensor]:
        opt.zero_grad()
        logits = model(x)
        F.binary_cross_entropy_with_logits(logits, y).backward()
        opt.step()
        return {"mae": (logits.sigmoid() - y).abs().mean()}

    step = wrap(descend)

    def run(iterations: int) -> Sample:
        reset(setting, model)
        start = time.perf_counter()
        history = tg.fit(step, (arrays["x"], arrays["y"]), epochs=iterations, shuffle=False, progress=False)
        return Sample(time.perf_counter() - start, [float(history["mae"][-1])])

    return run


def calls(setting: Setting, model: Any, opt: Any, step: Any, batches: Sequence[tuple[Any, Any]]) -> Run:
    """Steps from NumPy arrays (eager: from tensors made of them), a batch after the other."""
    count = 0
    take = tg.tensor if setting.contestant == "eager" else lambda array: array

    def call() -> Any:
        nonlocal count
        x, y = batches[count % len(batches)]
        count += 1
        return step(take(x), take(y))

    def again() -> None:
        nonlocal count
        count = 0
        reset(setting, model, opt)

    return repeated(call, lambda loss: [loss.item()], again)


def step(setting: Setting) -> Run:
    """Calls."""
    wrap, model = begin(setting), layers(setting)
    opt = optim.SGD(model.parameters(), lr=0.01)
    return calls(setting, model, opt, wrap(classify(model, opt)), [(setting.arrays["x"], setting.arrays["y"])])


def inference(setting: Setting) -> Run:
    """Calls."""
    wrap, model, x = begin(setting), layers(setting), setting.arrays["x"]
    predict = wrap(lambda x: model(x).argmax(1))
    take = tg.tensor if setting.contestant == "eager" else lambda array: array
    run = repeated(
        lambda: predict(take(x)), lambda found: [float(k) for k in found.tolist()], lambda: reset(setting, model)
    )

    def quiet(iterations: int) -> Sample:
        with tg.no_grad():
            return run(iterations)

    return quiet


def adam(setting: Setting) -> Run:
    """Calls, over eight batches in turn."""
    wrap, model = begin(setting), layers(setting)
    opt = optim.Adam(model.parameters(), lr=1e-3)
    batches = list(zip(setting.arrays["x"], setting.arrays["y"], strict=True))
    return calls(setting, model, opt, wrap(classify(model, opt)), batches)


def regress(
    model: Any, rate: float, reduction: str, descent: Callable[..., Any] = optim.SGD
) -> tuple[Any, Callable[[Any, Any], Any]]:
    """The optimizer, and a step on squares."""
    opt = descent([p for p in model.parameters() if p.requires_grad], lr=rate)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y, reduction=reduction)
        loss.backward()
        opt.step()
        return loss

    return opt, step


def mlp_64(setting: Setting) -> Run:
    """Calls."""
    wrap, model = begin(setting), layers(setting)
    opt, step = regress(model, 0.01, "mean")
    return calls(setting, model, opt, wrap(step), [(setting.arrays["x"], setting.arrays["y"])])


def full_batch(setting: Setting) -> Run:
    """Epochs of one step."""
    wrap, arrays, model = begin(setting), setting.arrays, layers(setting, nn.Tanh)
    opt, descend = regress(model, 1e-3, "mean", optim.Adam)
    step = wrap(descend)

    def run(iterations: int) -> Sample:
        reset(setting, model, opt)
        start = time.perf_counter()
        history = tg.fit(step, (arrays["x"], arrays["y"]), epochs=iterations, shuffle=False, progress=False)
        return Sample(time.perf_counter() - start, [float(history["loss"][-1])])

    return run


class Recurrent(nn.Module):
    """A recurrent layer and a linear one on every step. `frozen` is the bias that limit.cpp does not have."""

    def __init__(self, layer: Any, hidden: int, frozen: bool = True) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(hidden, 1)
        if frozen:
            self.layer.bias_hh_l0.requires_grad_(False)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """(N, T, F) to (N, T, 1)."""
        states, _ = self.layer(x)
        values: tg.Tensor = self.out(states)
        return values


def small() -> Recurrent:
    """3-5-1."""
    return Recurrent(nn.RNN(3, 5, nonlinearity="relu", batch_first=True), 5)


def large() -> Recurrent:
    """29-10-1."""
    return Recurrent(nn.RNN(29, 10, batch_first=True), 10)


def over(setting: Setting, make: Callable[[], Recurrent], rate: float, reduction: str, batch: int | None) -> Run:
    """Training on all sequences, in order. Iterations are epochs of the small model, sequences of the large one."""
    wrap, arrays = begin(setting), setting.arrays
    model = make()
    step = wrap(regress(model, rate, reduction)[1])

    def run(iterations: int) -> Sample:
        reset(setting, model)
        rows, epochs = passes(iterations, len(arrays["x"])) if make is large else (len(arrays["x"]), iterations)
        columns = (arrays["x"][:rows], arrays["y"][:rows])
        start = time.perf_counter()
        history = tg.fit(step, columns, epochs=epochs, batch_size=batch, shuffle=False, progress=False)
        return Sample(time.perf_counter() - start, [float(history["loss"][-1])])

    return run


def fraud_small(setting: Setting) -> Run:
    """Epochs."""
    return over(setting, small, 1e-6, "sum", 1)


def fraud_small_batch(setting: Setting) -> Run:
    """Epochs of one step."""
    return over(setting, small, 1e-6, "sum", None)


def fraud_kaggle(setting: Setting) -> Run:
    """Sequences."""
    return over(setting, large, 1e-3, "sum", 1)


def fraud_kaggle_64(setting: Setting) -> Run:
    """Sequences."""
    return over(setting, large, 0.01, "mean", 64)


def csv(setting: Setting) -> Run | None:
    """Reads; nothing is compiled."""
    if setting.contestant == "eager":
        return None
    start = time.perf_counter()
    __import__("polars")
    setting.notes["import of polars, ms"] = 1e3 * (time.perf_counter() - start)

    def run(iterations: int) -> Sample:
        start = time.perf_counter()
        for _ in range(iterations):
            found = tg.data.sequences.from_csv(setting.file)
        return Sample(time.perf_counter() - start, fingerprint(found.x, found.y))

    return run


def sequences(make: Callable[[], nn.Module], hidden: int, setting: Setting) -> Run:
    """Calls."""
    wrap = begin(setting)
    model = Recurrent(make(), hidden, frozen=False)
    opt, step = regress(model, 0.01, "mean")
    return calls(setting, model, opt, wrap(step), [(setting.arrays["x"], setting.arrays["y"])])


def cnn(sizes: tuple[Any, ...], setting: Setting) -> Run:
    """Calls, over two batches in turn."""
    wrap, model = begin(setting), models.convolutional(nn, sizes)
    opt = optim.Adam(model.parameters(), lr=1e-3)
    batches = list(zip(setting.arrays["x"], setting.arrays["y"], strict=True))
    return calls(setting, model, opt, wrap(classify(model, opt)), batches)


def gpt(sizes: tuple[int, ...], setting: Setting) -> Run:
    """Calls, over four batches in turn."""
    wrap, model = begin(setting), models.gpt(nn, F, *sizes)
    opt = optim.AdamW(model.parameters(), lr=1e-3)
    batches = list(zip(setting.arrays["x"], setting.arrays["y"], strict=True))
    return calls(setting, model, opt, wrap(classify(model, opt)), batches)


WORKLOADS: Table = {
    "iris": iris,
    "titanic": titanic,
    "step": step,
    "inference": inference,
    **dict.fromkeys(ADAM, adam),
    "full-batch": full_batch,
    "mlp-64": mlp_64,
    "csv": csv,
    "fraud-small": fraud_small,
    "fraud-small-batch": fraud_small_batch,
    "fraud-kaggle": fraud_kaggle,
    "fraud-kaggle-64": fraud_kaggle_64,
    "lstm": partial(sequences, lambda: nn.LSTM(29, 64, batch_first=True), 64),
    "gru": partial(sequences, lambda: nn.GRU(29, 128, batch_first=True), 128),
    "bilstm": partial(sequences, lambda: nn.LSTM(29, 64, 2, batch_first=True, bidirectional=True), 128),
    **{name: partial(cnn, sizes) for name, sizes in CNN.items()},
    **{name: partial(gpt, sizes) for name, sizes in GPT.items()},
}
