"""Sizes and axes of any integer kind; ops that run inside of other ops; labels in any byte order."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn.errors import DTypeError, TraceError

DATA = np.arange(12.0, dtype=np.float32).reshape(3, 4)


class Computed:
    """An integer that takes an op to find out."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return int((tg.tensor(self.value) + tg.tensor([0, 0])).sum().item()) - self.value


CALLS: dict[str, Callable[[Any, Callable[[int], Any]], Any]] = {  # (tensor of either library, maker of integers)
    "narrow": lambda x, i: x.narrow(i(1), i(1), i(2)),
    "topk": lambda x, i: x.topk(i(2), i(0))[0],
    "sum": lambda x, i: x.sum(i(1)),
    "reshape": lambda x, i: x.reshape(i(4), i(3)),
    "reshape one": lambda x, i: x.reshape(i(-1)),
    "reshape tuple": lambda x, i: x.reshape((i(2), 6)),
    "split": lambda x, i: x.split(i(2), i(1))[1],
    "chunk": lambda x, i: x.chunk(i(2), i(1))[0],
    "select": lambda x, i: x.select(i(0), i(-1)),
    "roll": lambda x, i: x.roll(i(1), i(0)),
    "permute": lambda x, i: x.permute(i(1), i(0)),
    "transpose": lambda x, i: x.transpose(i(1), i(0)),
    "unsqueeze": lambda x, i: x.unsqueeze(i(1)),
    "squeeze": lambda x, i: x.squeeze(i(1)),
    "flip": lambda x, i: x.flip(i(1)),
    "repeat": lambda x, i: x.repeat(i(2), i(1)),
    "expand": lambda x, i: x.expand(i(2), i(3), i(4)),
    "unflatten": lambda x, i: x.unflatten(i(1), (i(2), i(2))),
    "movedim": lambda x, i: x.movedim(i(0), i(1)),
    "tril": lambda x, i: x.tril(i(1)),
    "diagonal": lambda x, i: x.diagonal(i(1)),
    "unfold": lambda x, i: x.unfold(i(1), i(2), i(1)),
    "cumsum": lambda x, i: x.cumsum(i(0)),
    "softmax": lambda x, i: x.softmax(i(1)),
    "max": lambda x, i: x.max(i(1))[1] if not hasattr(i(1), "shape") else x.argmax(i(1)),
    "getitem": lambda x, i: x[i(1)],
    "slice": lambda x, i: x[i(0) : i(2)],
}


@pytest.mark.parametrize("kind", [tg.tensor, Computed, np.int32, np.array])
@pytest.mark.parametrize("name", CALLS)
def test_every_kind_of_integer_is_a_size_or_an_axis(name: str, kind: Callable[[int], Any]) -> None:
    expected = CALLS[name](torch.tensor(DATA), int)
    got = CALLS[name](tg.tensor(DATA), kind)
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("wrong", ["1", None, 1.0, True, 1j, [1.5], tg.tensor(1.0), tg.tensor([1, 0]), object()])
def test_what_is_no_integer_is_no_size(wrong: Any) -> None:
    x = tg.tensor(DATA)
    for call in (
        lambda: x.narrow(0, wrong, 1),
        lambda: x.select(0, wrong),
        lambda: x.unsqueeze(wrong),
        lambda: x.topk(wrong),
        lambda: tg.zeros(2, wrong),
        lambda: tg.eye(wrong),
    ):
        with pytest.raises(DTypeError, match="integer"):
            call()


def test_a_traced_size_says_that_it_is_traced() -> None:
    with pytest.raises(TraceError, match="traced value"):
        tg.jit(lambda x, n: x.narrow(0, n.sum(), 1))(tg.tensor(DATA), tg.tensor([0, 1]))


def test_ops_in_a_signal_handler_meet_quiet_numpy() -> None:
    """Wherever the signal comes: between two ops, inside of one, inside of a backward walk or an optimizer."""
    errors: list[Exception] = []
    calls = 0

    def handler(number: int, frame: Any) -> None:
        nonlocal calls
        try:
            w = tg.tensor([0.0, 1.0])
            assert (1.0 / w).tolist() == [np.inf, 1.0]  # NumPy would warn
            calls += 1
        except Exception as error:
            errors.append(error)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        a = tg.ones(40, 40, requires_grad=True)
        opt = tg.optim.Adam([a], lr=0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            while calls <= 10 and not errors:
                (a @ a).exp().sum().backward()
                opt.step()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not errors, errors[:3]


@pytest.mark.parametrize("kind", [">i8", ">i4", ">i2", "<i8"])
def test_labels_and_data_in_any_byte_order(kind: str) -> None:
    labels, x = np.array([0, 2, 1]).astype(kind), tg.tensor(DATA)
    assert tg.tensor(labels).tolist() == [0, 2, 1]
    assert F.cross_entropy(x, labels).item() == F.cross_entropy(x, [0, 2, 1]).item()
    assert x.index_select(0, labels).tolist() == DATA[[0, 2, 1]].tolist() == x[labels].tolist()
    assert x.gather(1, labels.reshape(3, 1)).tolist() == [[0.0], [6.0], [9.0]]
    assert (x + DATA.astype(">f4")).tolist() == (DATA * 2).tolist()
