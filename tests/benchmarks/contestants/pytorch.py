"""PyTorch, eager and under torch.compile (the model and the optimizer's step)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..workloads import ADAM, CNN, GPT
from . import Run, Sample, Setting, Table, models, passes, repeated

torch.set_num_threads(1)


class Trained:
    """A model with its optimizer, and a step; compiled where the contestant says so."""

    def __init__(self, setting: Setting, model: nn.Module, optimizer: Any, loss: Callable[..., Any]) -> None:
        self.first = [torch.from_numpy(w) for w in setting.weights()]
        self.model = model.to(self.first[0].dtype)
        self.optimizer = optimizer(self.model.parameters())
        self.compiled = setting.contestant == "torch-compile"
        wrap = torch.compile if self.compiled else lambda function: function
        self.forward = wrap(lambda x, y: loss(self.model(x), y))
        self.predict = wrap(lambda x: self.model(x).argmax(1))
        self.descend = wrap(self.optimizer.step)
        self.reset()

    def reset(self) -> None:
        """Back to the first weights."""
        with torch.no_grad():
            for p, w in zip(self.model.parameters(), self.first, strict=True):
                p.copy_(w)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def step(self, x: Any, y: Any) -> Any:
        """A training step."""
        self.optimizer.zero_grad()
        loss, *_ = outputs if isinstance(outputs := self.forward(x, y), tuple) else (outputs,)
        loss.backward()
        self.descend()
        return outputs


def layers(setting: Setting, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the weights' shapes, with an activation between them."""
    found: list[nn.Module] = []
    weights = [w for w in setting.weights() if w.ndim == 2]
    for w in weights:
        found += [nn.Linear(w.shape[1], w.shape[0], bias=len(weights) > 1), activation()]
    return nn.Sequential(*found[:-1])


def descent(rate: float) -> Callable[..., Any]:
    """Stochastic gradient descent."""
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def iris(setting: Setting) -> Run:
    """Epochs."""
    x, y, test_x, test_y = (torch.from_numpy(setting.arrays[name]) for name in ("x", "y", "test_x", "test_y"))
    batches = [(x[k : k + 32], y[k : k + 32]) for k in range(0, 120, 32)]
    trained = Trained(setting, layers(setting), descent(0.01), F.cross_entropy)

    def accuracy(x: Any, y: Any) -> float:
        return float((trained.predict(x) == y).double().mean().item())

    def run(iterations: int) -> Sample:
        trained.reset()
        history = []
        start = time.perf_counter()
        for _ in range(iterations):
            total = sum([len(by) * trained.step(bx, by).item() for bx, by in batches])
            with torch.no_grad():
                history.append((total / 120, accuracy(x, y), accuracy(test_x, test_y)))
        return Sample(time.perf_counter() - start, list(history[-1]))

    return run


def titanic(setting: Setting) -> Run:
    """Epochs."""
    x, y = (torch.from_numpy(setting.arrays[name]) for name in ("x", "y"))

    def loss(z: Any, y: Any) -> tuple[Any, Any]:
        return F.binary_cross_entropy_with_logits(z, y), (z.detach().sigmoid() - y).abs().mean()

    trained = Trained(setting, layers(setting), descent(0.1), loss)

    def run(iterations: int) -> Sample:
        trained.reset()
        start = time.perf_counter()
        history = [trained.step(x, y)[1].item() for _ in range(iterations)]
        return Sample(time.perf_counter() - start, history[-1:])

    return run


def calls(trained: Trained, batches: Sequence[tuple[Any, Any]]) -> Run:
    """Steps from NumPy arrays, a batch after the other."""
    count = 0

    def call() -> Any:
        nonlocal count
        x, y = batches[count % len(batches)]
        count += 1
        return trained.step(torch.from_numpy(x), torch.from_numpy(y))

    def reset() -> None:
        nonlocal count
        count = 0
        trained.reset()

    return repeated(call, lambda loss: [loss.item()], reset)


def step(setting: Setting) -> Run:
    """Calls."""
    trained = Trained(setting, layers(setting), descent(0.01), F.cross_entropy)
    return calls(trained, [(setting.arrays["x"], setting.arrays["y"])])


def inference(setting: Setting) -> Run:
    """Calls."""
    x = setting.arrays["x"]
    trained = Trained(setting, layers(setting), descent(0.01), F.cross_entropy)

    def call() -> Any:
        with torch.no_grad():
            return trained.predict(torch.from_numpy(x))

    return repeated(call, lambda found: [float(k) for k in found], lambda: None)


def adam(parameters: Any) -> Any:
    """The optimizer of the larger nets."""
    return torch.optim.Adam(parameters, lr=1e-3)


def classifier(setting: Setting) -> Run:
    """Calls, over eight batches in turn."""
    trained = Trained(setting, layers(setting), adam, F.cross_entropy)
    return calls(trained, list(zip(setting.arrays["x"], setting.arrays["y"], strict=True)))


def mlp_64(setting: Setting) -> Run:
    """Calls."""
    trained = Trained(setting, layers(setting), descent(0.01), F.mse_loss)
    return calls(trained, [(setting.arrays["x"], setting.arrays["y"])])


def full_batch(setting: Setting) -> Run:
    """Epochs of one step."""
    trained = Trained(setting, layers(setting, nn.Tanh), adam, F.mse_loss)
    return calls(trained, [(setting.arrays["x"], setting.arrays["y"])])


class Recurrent(nn.Module):
    """A recurrent layer and a linear one on every step. `frozen` is the bias that limit.cpp does not have."""

    def __init__(self, layer: Any, frozen: bool = True) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(layer.hidden_size * (1 + layer.bidirectional), 1)
        self.layer.bias_hh_l0.requires_grad_(not frozen)

    def forward(self, x: Any) -> Any:
        """(N, T, F) to (N, T, 1)."""
        return self.out(self.layer(x)[0])


def squares(z: Any, y: Any) -> Any:
    """Sum of squares."""
    return ((z - y) ** 2).sum()


def fraud_small(setting: Setting) -> Run:
    """Epochs."""
    x, y = (torch.from_numpy(setting.arrays[name]) for name in ("x", "y"))
    batches = [(x[k : k + 1], y[k : k + 1]) for k in range(len(x))]
    model = Recurrent(nn.RNN(3, 5, nonlinearity="relu", batch_first=True))
    trained = Trained(setting, model, descent(1e-6), squares)

    def run(iterations: int) -> Sample:
        trained.reset()
        start = time.perf_counter()
        history = [sum([trained.step(*batch).item() for batch in batches]) / len(x) for _ in range(iterations)]
        return Sample(time.perf_counter() - start, history[-1:])

    return run


def fraud_small_batch(setting: Setting) -> Run:
    """Epochs of one step."""
    x, y = (torch.from_numpy(setting.arrays[name]) for name in ("x", "y"))
    model = Recurrent(nn.RNN(3, 5, nonlinearity="relu", batch_first=True))
    trained = Trained(setting, model, descent(1e-6), squares)

    def run(iterations: int) -> Sample:
        trained.reset()
        start = time.perf_counter()
        history = [trained.step(x, y).item() for _ in range(iterations)]
        return Sample(time.perf_counter() - start, history[-1:])

    return run


def over(setting: Setting, trained: Trained, batch: int) -> Run:
    """Passes over sequences in batches; the mean of what the step returns."""
    columns = [torch.from_numpy(setting.arrays[name]) for name in ("x", "y")]

    def run(iterations: int) -> Sample:
        trained.reset()
        rows, epochs = passes(iterations, len(columns[0]))
        x, y = (column[:rows] for column in columns)
        start = time.perf_counter()
        for _ in range(epochs):
            batches = zip(x.split(batch), y.split(batch), strict=True)
            losses = [len(a) * trained.step(a, b).item() for a, b in batches]
        return Sample(time.perf_counter() - start, [sum(losses) / rows])

    return run


def fraud_kaggle(setting: Setting) -> Run:
    """Sequences."""
    return over(setting, Trained(setting, Recurrent(nn.RNN(29, 10, batch_first=True)), descent(1e-3), squares), 1)


def fraud_kaggle_64(setting: Setting) -> Run:
    """Sequences."""
    model = Recurrent(nn.RNN(29, 10, batch_first=True))
    return over(setting, Trained(setting, model, descent(0.01), F.mse_loss), 64)


def sequences(make: Callable[[], nn.Module], setting: Setting) -> Run:
    """Calls."""
    trained = Trained(setting, Recurrent(make(), False), descent(0.01), F.mse_loss)
    return calls(trained, [(setting.arrays["x"], setting.arrays["y"])])


def cnn(sizes: tuple[Any, ...], setting: Setting) -> Run:
    """Calls, over two batches in turn."""
    trained = Trained(setting, models.convolutional(nn, sizes), adam, F.cross_entropy)
    return calls(trained, list(zip(setting.arrays["x"], setting.arrays["y"], strict=True)))


def gpt(sizes: tuple[int, ...], setting: Setting) -> Run:
    """Calls, over four batches in turn."""
    trained = Trained(setting, models.gpt(nn, F, *sizes), lambda p: torch.optim.AdamW(p, lr=1e-3), F.cross_entropy)
    return calls(trained, list(zip(setting.arrays["x"], setting.arrays["y"], strict=True)))


WORKLOADS: Table = {
    "iris": iris,
    "titanic": titanic,
    "step": step,
    "inference": inference,
    **dict.fromkeys(ADAM, classifier),
    "full-batch": full_batch,
    "mlp-64": mlp_64,
    "fraud-small": fraud_small,
    "fraud-small-batch": fraud_small_batch,
    "fraud-kaggle": fraud_kaggle,
    "fraud-kaggle-64": fraud_kaggle_64,
    "lstm": partial(sequences, lambda: nn.LSTM(29, 64, batch_first=True)),
    "gru": partial(sequences, lambda: nn.GRU(29, 128, batch_first=True)),
    "bilstm": partial(sequences, lambda: nn.LSTM(29, 64, 2, batch_first=True, bidirectional=True)),
    **{name: partial(cnn, sizes) for name, sizes in CNN.items()},
    **{name: partial(gpt, sizes) for name, sizes in GPT.items()},
}
