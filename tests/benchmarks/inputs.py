"""Data and first weights of each workload: made once, written to an .npz, loaded by every contestant.

The data is random of the right shape, with classes that can be learnt; the cost of a step does not depend on the
values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_nn.data import synthetic

from .workloads import ADAM, CHARACTERS, CNN, GPT, PAYMENTS

Arrays = dict[str, np.ndarray]


def uniform(rng: np.random.Generator, shapes: Mapping[str, tuple[int, ...]], bound: float, dtype: Any) -> Arrays:
    """First weights."""
    return {name: rng.uniform(-bound, bound, shape).astype(dtype) for name, shape in shapes.items()}


def iris() -> Arrays:
    """120 + 30 flowers and the weights of 4-8-3, in PyTorch's layout (out, in)."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(150) % 3)
    x = rng.normal(size=(3, 4))[labels] * 2 + rng.normal(size=(150, 4)) + 3
    weights = uniform(rng, {"w1": (8, 4), "b1": (8,), "w2": (3, 8), "b2": (3,)}, 0.5, np.float64)
    return {"x": x[:120], "y": labels[:120], "test_x": x[120:], "test_y": labels[120:], **weights}


def step() -> Arrays:
    """The first batch of Iris."""
    arrays = iris()
    return {**arrays, "x": arrays["x"][:32], "y": arrays["y"][:32]}


def inference() -> Arrays:
    """The test part of Iris."""
    arrays = iris()
    return {**arrays, "x": arrays["test_x"]}


def titanic() -> Arrays:
    """534 passengers."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (534, 7))
    y = (x @ rng.normal(size=7) + rng.normal(size=534) * 0.5 > 0).astype(np.float64)
    return {"x": x, "y": y[:, None], "w": rng.uniform(0, 0.5, (1, 7))}


def dense(rng: np.random.Generator, widths: Sequence[int]) -> Arrays:
    """First weights of linear layers."""
    found: Arrays = {}
    for k, (before, after) in enumerate(pairwise(widths), 1):
        found |= uniform(rng, {f"w{k}": (after, before), f"b{k}": (after,)}, before**-0.5, np.float32)
    return found


def classifier(*widths: int) -> Arrays:
    """Eight batches of 128 rows and their classes."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, widths[-1], (8, 128))
    x = rng.normal(size=(widths[-1], widths[0]))[labels] * 0.1 + rng.normal(size=(8, 128, widths[0]))
    return {"x": x.astype(np.float32), "y": labels, **dense(rng, widths)}


def full_batch() -> Arrays:
    """10,000 rows, and what a net is to make of them."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(10_000, 4)).astype(np.float32)
    y = np.tanh(x @ rng.normal(size=(4, 4))).astype(np.float32)
    return {"x": x, "y": y, **dense(rng, (4, 32, 16, 4))}


def mlp_64() -> Arrays:
    """A batch of 64."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(64, 64)).astype(np.float32)
    y = np.tanh(x @ rng.normal(size=(64, 1)) / 8).astype(np.float32)
    shapes = {"w1": (64, 64), "b1": (64,), "w2": (64, 64), "b2": (64,), "w3": (1, 64), "b3": (1,)}
    return {"x": x, "y": y, **uniform(rng, shapes, 1 / 8, np.float32)}


def recurrent(seed: int, shape: tuple[int, int, int], hidden: int, gates: int, bound: float, dtype: Any) -> Arrays:
    """Sequences (N, T, F), a target per step, and weights in PyTorch's layout."""
    rng = np.random.default_rng(seed)
    y = (rng.random((*shape[:2], 1)) < 0.5).astype(dtype)
    x = (rng.uniform(-1, 1, shape) + y).astype(dtype)
    rows = gates * hidden
    first = {"w_ih": (rows, shape[2]), "w_hh": (rows, hidden), "b_ih": (rows,), "b_hh": (rows,)}
    weights = uniform(rng, {**first, "w_out": (1, hidden), "b_out": (1,)}, bound, dtype)
    if gates == 1:  # one bias, as limit.cpp: the other one stays 0
        weights["b_hh"][:] = 0
    return {"x": x, "y": y, **weights}


def fraud_small() -> Arrays:
    """12 sequences of 5 steps."""
    return recurrent(4, (12, 5, 3), 5, 1, 0.5, np.float64)


def fraud_kaggle() -> Arrays:
    """As many sequences as the table of payments gives for training."""
    return recurrent(5, (PAYMENTS, 10, 29), 10, 1, 0.2, np.float64)


def lstm() -> Arrays:
    """A batch of 64."""
    return recurrent(6, (64, 50, 29), 64, 4, 0.125, np.float32)


def gru() -> Arrays:
    """A batch of 64."""
    return recurrent(8, (64, 50, 29), 128, 3, 0.09, np.float32)


def bilstm() -> Arrays:
    """A batch of 64; the weights layer by layer, forward and backward in time."""
    found, rng = lstm(), np.random.default_rng(9)
    shapes = {}
    for k, width in enumerate((29, 29, 128, 128)):
        shapes |= {f"w_ih{k}": (256, width), f"w_hh{k}": (256, 64), f"b_ih{k}": (256,), f"b_hh{k}": (256,)}
    shapes |= {"w_out": (1, 128), "b_out": (1,)}
    return {"x": found["x"], "y": found["y"], **uniform(rng, shapes, 0.125, np.float32)}


def pictures(side: int, batch: int, channels: Sequence[int], kernel: int, *rest: Any) -> Arrays:
    """Two batches of grey pictures and their classes."""
    *_, widths = rest
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 10, (2, batch))
    x = rng.normal(size=(10, 1, side, side))[labels] + rng.normal(size=(2, batch, 1, side, side))
    found = {"x": x.astype(np.float32), "y": labels}
    for k, (before, after) in enumerate(pairwise(channels)):
        shapes = {f"w_conv{k}": (after, before, kernel, kernel), f"b_conv{k}": (after,)}
        found |= uniform(rng, shapes, (before * kernel * kernel) ** -0.5, np.float32)
    return found | dense(rng, widths)


def gpt(layers: int, width: int, heads: int, tokens: int, batch: int) -> Arrays:
    """Four batches of text, and the weights in the order of the layers."""
    rng = np.random.default_rng(10)
    text = rng.integers(0, CHARACTERS, (4, batch, tokens + 1))
    found = {"x": text[..., :-1], "y": text[..., 1:].reshape(4, batch * tokens)}
    found |= uniform(rng, {"w_characters": (CHARACTERS, width), "w_places": (tokens, width)}, 1.0, np.float32)

    def norm(name: str) -> Arrays:
        return {f"w_{name}": np.ones(width, np.float32), f"b_{name}": np.zeros(width, np.float32)}

    def linear(name: str, before: int, after: int) -> Arrays:
        return uniform(rng, {f"w_{name}": (after, before), f"b_{name}": (after,)}, before**-0.5, np.float32)

    for k in range(layers):
        found |= norm(f"before{k}") | linear(f"attention{k}", width, 3 * width) | linear(f"together{k}", width, width)
        found |= norm(f"between{k}") | linear(f"up{k}", width, 4 * width) | linear(f"down{k}", 4 * width, width)
    return found | norm("last") | linear("head", width, CHARACTERS)


INPUTS: dict[str, Callable[[], Arrays]] = {
    "iris": iris,
    "step": step,
    "inference": inference,
    "titanic": titanic,
    **{name: partial(classifier, *widths) for name, widths in ADAM.items()},
    "full-batch": full_batch,
    "mlp-64": mlp_64,
    "fraud-small": fraud_small,
    "fraud-small-batch": fraud_small,
    "fraud-kaggle": fraud_kaggle,
    "fraud-kaggle-64": fraud_kaggle,
    "lstm": lstm,
    "gru": gru,
    "bilstm": bilstm,
    **{name: partial(pictures, *sizes) for name, sizes in CNN.items()},
    **{name: partial(gpt, *sizes) for name, sizes in GPT.items()},
}


def write(function: str, folder: Path) -> Path:
    """The file of a workload's function, written where it is not there yet."""
    if function == "csv":
        path = folder / "payments.csv"
        if not path.exists():
            synthetic.payments().to_csv(path)
        return path
    path = folder / f"{function}.npz"
    if not path.exists():
        np.savez(path, **INPUTS[function]())  # type: ignore[arg-type]
    return path
