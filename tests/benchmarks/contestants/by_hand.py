"""NumPy, gradients written by hand."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from . import Run, Sample, Setting, Table, fingerprint, passes, repeated


def cross_entropy(z: Any, y: Any, rows: Any) -> tuple[float, Any]:
    """Mean loss of logits, and its gradient."""
    z = z - z.max(1, keepdims=True)
    e = np.exp(z)
    total = e.sum(1, keepdims=True)
    loss = float((np.log(total[:, 0]) - z[rows, y]).mean())
    e /= total
    e[rows, y] -= 1
    e /= len(rows)
    return loss, e


class Classifier:
    """Two layers and their gradients."""

    def __init__(self, setting: Setting) -> None:
        self.first = setting.weights()
        self.reset()

    def reset(self) -> None:
        """Back to the first weights."""
        self.w1, self.b1, self.w2, self.b2 = (w.copy() for w in self.first)

    def scores(self, x: Any) -> Any:
        """Logits."""
        h = x @ self.w1.T
        h += self.b1
        np.maximum(h, 0, out=h)
        return h @ self.w2.T + self.b2

    def gradients(self, x: Any, y: Any, rows: Any) -> tuple[float, tuple[Any, ...]]:
        """Loss, and gradients in the order of the weights."""
        h = x @ self.w1.T
        h += self.b1
        np.maximum(h, 0, out=h)
        loss, g = cross_entropy(h @ self.w2.T + self.b2, y, rows)
        gh = g @ self.w2
        gh *= h > 0
        return loss, (gh.T @ x, gh.sum(0), g.T @ h, g.sum(0))

    def descend(self, x: Any, y: Any, rows: Any) -> float:
        """A step of gradient descent."""
        loss, (gw1, gb1, gw2, gb2) = self.gradients(x, y, rows)
        self.w1 -= 0.01 * gw1
        self.b1 -= 0.01 * gb1
        self.w2 -= 0.01 * gw2
        self.b2 -= 0.01 * gb2
        return loss


def iris(setting: Setting) -> Run:
    """Epochs."""
    model, a = Classifier(setting), setting.arrays
    batches = [(a["x"][k : k + 32], a["y"][k : k + 32], np.arange(len(a["y"][k : k + 32]))) for k in range(0, 120, 32)]
    every, labels = np.concatenate([a["x"], a["test_x"]]), np.concatenate([a["y"], a["test_y"]])

    def run(iterations: int) -> Sample:
        model.reset()
        history = []
        start = time.perf_counter()
        for _ in range(iterations):
            total = sum([len(rows) * model.descend(x, y, rows) for x, y, rows in batches])
            right = model.scores(every).argmax(1) == labels
            history.append((total / 120, np.count_nonzero(right[:120]) / 120, np.count_nonzero(right[120:]) / 30))
        return Sample(time.perf_counter() - start, list(history[-1]))

    return run


def titanic(setting: Setting) -> Run:
    """Epochs."""
    x, y = setting.arrays["x"], setting.arrays["y"][:, 0]

    def run(iterations: int) -> Sample:
        w = setting.arrays["w"][0].copy()
        history = []
        start = time.perf_counter()
        for _ in range(iterations):
            d = x @ w
            np.negative(d, out=d)
            np.exp(d, out=d)
            d += 1
            np.divide(1, d, out=d)
            d -= y
            history.append(float(np.abs(d).mean()))
            w -= 0.1 / 534 * (d @ x)
        return Sample(time.perf_counter() - start, history[-1:])

    return run


def step(setting: Setting) -> Run:
    """Calls."""
    model, rows = Classifier(setting), np.arange(32)
    x, y = setting.arrays["x"], setting.arrays["y"]
    return repeated(lambda: model.descend(x, y, rows), lambda loss: [loss], model.reset)


def inference(setting: Setting) -> Run:
    """Calls."""
    model, x = Classifier(setting), setting.arrays["x"]
    return repeated(lambda: model.scores(x).argmax(1), lambda found: [float(k) for k in found], model.reset)


def mlp_784(setting: Setting) -> Run:
    """Calls, over eight batches in turn."""
    x, y, rows = setting.arrays["x"], setting.arrays["y"], np.arange(128)
    model = Classifier(setting)
    count = 0
    moments: list[tuple[Any, Any]] = []

    def reset() -> None:
        nonlocal count, moments
        model.reset()
        count, moments = 0, [(np.zeros_like(w), np.zeros_like(w)) for w in model.first]

    def call() -> float:
        nonlocal count
        loss, gradients = model.gradients(x[count % 8], y[count % 8], rows)
        count += 1
        rate, root = 1e-3 / (1 - 0.9**count), float(np.sqrt(1 - 0.999**count))
        weights = (model.w1, model.b1, model.w2, model.b2)
        for w, g, (m, v) in zip(weights, gradients, moments, strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            d = np.sqrt(v)
            d /= root
            d += 1e-8
            np.divide(m, d, out=d)
            d *= rate
            w -= d
        return loss

    return repeated(call, lambda loss: [loss], reset)


def mlp_64(setting: Setting) -> Run:
    """Calls."""
    x, y = setting.arrays["x"], setting.arrays["y"]
    weights: list[Any] = []

    def reset() -> None:
        weights[:] = [w.copy() for w in setting.weights()]

    def call() -> float:
        w1, b1, w2, b2, w3, b3 = weights
        h1 = np.maximum(x @ w1.T + b1, 0)
        h2 = np.maximum(h1 @ w2.T + b2, 0)
        d = h2 @ w3.T + b3 - y
        loss = float((d * d).mean())
        d *= 2 / 64
        g2 = d @ w3
        g2 *= h2 > 0
        g1 = g2 @ w2
        g1 *= h1 > 0
        for w, g in zip(weights, (g1.T @ x, g1.sum(0), g2.T @ h1, g2.sum(0), d.T @ h2, d.sum(0)), strict=True):
            w -= 0.01 * g
        return loss

    return repeated(call, lambda loss: [loss], reset)


def descend(weights: list[Any], x: Any, y: Any, rate: float, relu: bool) -> float:
    """A step of an RNN on one sequence (T, F), or on several (N, T, F), backwards through time; the sum of squares."""
    wx, wh, b, _, wo, bo = weights
    if x.ndim == 3:
        x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
    steps, pre = len(x), x @ wx.T + b
    h = np.zeros((steps + 1, *pre.shape[1:]))
    for t in range(steps):
        z = h[t] @ wh.T
        z += pre[t]
        h[t + 1] = np.maximum(z, 0) if relu else np.tanh(z)
    d = h[1:] @ wo.T + bo - y
    loss = float((d * d).sum())
    d *= 2
    gh = d @ wo
    slope = (h[1:] > 0) if relu else 1 - h[1:] * h[1:]
    dz = np.empty_like(gh)
    dz[-1] = gh[-1] * slope[-1]
    for t in range(steps - 2, -1, -1):
        dz[t] = (gh[t] + dz[t + 1] @ wh) * slope[t]
    before, after = h[:-1], h[1:]
    if x.ndim == 3:
        x, dz, d, before, after = (v.reshape(-1, v.shape[2]) for v in (x, dz, d, before, after))
    for w, g in ((wx, dz.T @ x), (wh, dz.T @ before), (b, dz.sum(0)), (wo, d.T @ after), (bo, d.sum(0))):
        w -= rate * g
    return loss


def over(setting: Setting, rate: float, mean: bool, batch: int | None, large: bool) -> Run:
    """Training on all sequences, in order. Iterations are epochs of the small model, sequences of the large one."""
    x, y = setting.arrays["x"], setting.arrays["y"]

    def run(iterations: int) -> Sample:
        weights = [w.copy() for w in setting.weights()]
        rows, epochs = passes(iterations, len(x)) if large else (len(x), iterations)
        size = batch or rows
        parts: list[Any] = [slice(k, min(k + size, rows)) for k in range(0, rows, size)]
        parts = list(range(rows)) if size == 1 else parts
        rates = [rate / y[k].size if mean else rate for k in parts]
        start = time.perf_counter()
        for _ in range(epochs):
            losses = [descend(weights, x[k], y[k], r, not large) for k, r in zip(parts, rates, strict=True)]
        return Sample(time.perf_counter() - start, [sum(losses) / (y[:rows].size if mean else len(parts))])

    return run


def fraud_small(setting: Setting) -> Run:
    """Epochs."""
    return over(setting, 1e-6, mean=False, batch=1, large=False)


def fraud_small_batch(setting: Setting) -> Run:
    """Epochs of one step."""
    return over(setting, 1e-6, mean=False, batch=None, large=False)


def fraud_kaggle(setting: Setting) -> Run:
    """Sequences."""
    return over(setting, 1e-3, mean=False, batch=1, large=True)


def fraud_kaggle_64(setting: Setting) -> Run:
    """Sequences."""
    return over(setting, 0.01, mean=True, batch=64, large=True)


def csv(setting: Setting) -> Run:
    """Reads. Neither order nor missing values are looked at."""

    def run(iterations: int) -> Sample:
        start = time.perf_counter()
        for _ in range(iterations):
            table = np.loadtxt(setting.file, delimiter=",", skiprows=1, usecols=range(2, 32))
            with open(setting.file, encoding="utf-8") as lines:
                names = [line.partition(",")[0] for line in lines][1:]
            begins = [k for k in range(1, len(names)) if names[k] != names[k - 1]]
            x, y = np.split(table[:, :29], begins), np.split(table[:, 29:], begins)
        return Sample(time.perf_counter() - start, fingerprint(x, y))

    return run


WORKLOADS: Table = {
    "iris": iris,
    "titanic": titanic,
    "step": step,
    "inference": inference,
    "mlp-784": mlp_784,
    "mlp-64": mlp_64,
    "csv": csv,
    "fraud-small": fraud_small,
    "fraud-small-batch": fraud_small_batch,
    "fraud-kaggle": fraud_kaggle,
    "fraud-kaggle-64": fraud_kaggle_64,
}
