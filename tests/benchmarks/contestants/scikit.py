"""scikit-learn's MLPClassifier and MLPRegressor, a pass of `partial_fit` at a time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from . import Run, Sample, Setting, Table, repeated

PLAIN = {"alpha": 0.0, "shuffle": False, "momentum": 0.0, "nesterovs_momentum": False}


def started(kind: Any, setting: Setting, x: Any, y: Any, classes: Any = None, **settings: Any) -> Any:
    """A model that holds the first weights."""
    weights = setting.weights()
    hidden = tuple(len(b) for b in weights[1:-1:2])
    model = kind(hidden_layer_sizes=hidden, **PLAIN, **settings)
    if classes is None:
        model.partial_fit(x, y)
    else:
        model.partial_fit(x, y, classes=list(classes))
    model.coefs_ = [w.T.copy() for w in weights[::2]]
    model.intercepts_ = [b.copy() for b in weights[1::2]]
    if settings["solver"] == "adam":  # no moments of the first pass; those of sgd count for nothing without momentum
        optimizer = model._optimizer
        optimizer.t = 0
        optimizer.ms, optimizer.vs = ([np.zeros_like(m) for m in old] for old in (optimizer.ms, optimizer.vs))
    return model


def iris(setting: Setting) -> Run:
    """Epochs."""
    x, y, test_x, test_y = (setting.arrays[name] for name in ("x", "y", "test_x", "test_y"))

    def run(iterations: int) -> Sample:
        model = started(MLPClassifier, setting, x, y, range(3), solver="sgd", batch_size=32, learning_rate_init=0.01)
        history = []
        start = time.perf_counter()
        for _ in range(iterations):
            model.partial_fit(x, y)
            history.append((model.loss_, model.score(x, y), model.score(test_x, test_y)))
        return Sample(time.perf_counter() - start, [float(value) for value in history[-1]])

    return run


def calls(kind: Any, setting: Setting, batches: Any, classes: Any = None, **settings: Any) -> Run:
    """Steps, a batch after the other."""
    model: Any = None
    count = 0

    def reset() -> None:
        nonlocal model, count
        model, count = started(kind, setting, *batches[0], classes, **settings), 0

    def call() -> Any:
        nonlocal count
        x, y = batches[count % len(batches)]
        count += 1
        return model.partial_fit(x, y).loss_

    factor = 1 if classes is not None else 2  # the regressor's loss is half of the mean squared error
    return repeated(call, lambda loss: [factor * float(loss)], reset)


def step(setting: Setting) -> Run:
    """Calls."""
    batches = [(setting.arrays["x"], setting.arrays["y"])]
    return calls(MLPClassifier, setting, batches, range(3), solver="sgd", batch_size=32, learning_rate_init=0.01)


def inference(setting: Setting) -> Run:
    """Calls."""
    x = setting.arrays["x"]
    model = started(MLPClassifier, setting, x, np.arange(len(x)) % 3, range(3), solver="sgd", batch_size=30)
    return repeated(lambda: model.predict(x), lambda found: [float(k) for k in found], lambda: None)


def mlp_784(setting: Setting) -> Run:
    """Calls, over eight batches in turn."""
    batches = list(zip(setting.arrays["x"], setting.arrays["y"], strict=True))
    return calls(MLPClassifier, setting, batches, range(10), solver="adam", batch_size=128, learning_rate_init=1e-3)


def mlp_64(setting: Setting) -> Run:
    """Calls; its gradient is that of half of the error."""
    batches = [(setting.arrays["x"], setting.arrays["y"][:, 0])]
    return calls(MLPRegressor, setting, batches, solver="sgd", batch_size=64, learning_rate_init=0.02)


WORKLOADS: Table = {"iris": iris, "step": step, "inference": inference, "mlp-784": mlp_784, "mlp-64": mlp_64}
