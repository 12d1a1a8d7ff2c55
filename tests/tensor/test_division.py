"""Integers divided by 0: an error, eagerly and in compiled code, which then leaves everything as it was."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tinygrad_nn.errors import DivisionByZero, TinygradError

DIVISIONS: dict[str, Callable[[Any, Any], Any]] = {
    "//": operator.floordiv,
    "%": operator.mod,
    "floor_divide": lambda x, y: x.floor_divide(y),
    "remainder": lambda x, y: x.remainder(y),
    "fmod": lambda x, y: x.fmod(y),
    "div floor": lambda x, y: x.div(y, rounding_mode="floor"),
    "div trunc": lambda x, y: x.div(y, rounding_mode="trunc"),
}
OURS = {
    **DIVISIONS,
    "divmod": divmod,
    "tg.floor_divide": tg.floor_divide,
    "tg.remainder": tg.remainder,
    "tg.fmod": tg.fmod,
}
DTYPES = (tg.int32, tg.int64)
every_division = pytest.mark.parametrize("name", OURS)


def refused(call: Callable[[], Any], text: str = r"got a divisor of 0") -> None:
    with pytest.raises(DivisionByZero, match=text) as found:
        call()
    assert isinstance(found.value, ZeroDivisionError)
    assert isinstance(found.value, TinygradError)


@pytest.mark.parametrize("dtype", DTYPES)
@every_division
def test_tensor_by_tensor(name: str, dtype: Any) -> None:
    x, y = tg.tensor([[5, -5, 0], [1, 2, 3]], dtype=dtype), tg.tensor([2, 0, 1], dtype=dtype)
    refused(lambda: OURS[name](x, y), r"at position \[1\]; expected divisors that are not 0; hint: divide by tg.where")
    refused(lambda: tg.jit(OURS[name])(x, y), r"at position \[1\]")


@every_division
def test_by_a_number_and_of_a_number(name: str) -> None:
    x = tg.tensor([5, 0])
    refused(lambda: OURS[name](x, 0))
    refused(lambda: tg.jit(lambda x: OURS[name](x, 0))(x))
    if name in ("//", "%", "divmod"):
        refused(lambda: OURS[name](7, x), r"position \[1\]")
        refused(lambda: tg.jit(lambda x: OURS[name](7, x))(x), r"position \[1\]")
        refused(lambda: OURS[name](7, tg.tensor(0)), "got a divisor of 0;")


@pytest.mark.parametrize("write", [operator.ifloordiv, operator.imod])
def test_in_place(write: Callable[[Any, Any], Any]) -> None:
    x = tg.tensor([5, 6])
    refused(lambda: write(x, tg.tensor([1, 0])))
    refused(lambda: tg.jit(lambda y: write(x, y))(tg.tensor([1, 0])))
    assert x.tolist() == [5, 6]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("name", DIVISIONS)
def test_as_pytorch(name: str, dtype: Any) -> None:
    """Values where there is no 0, an error where there is one, nothing where nothing is divided."""
    rng = np.random.default_rng(3)
    ours = {torch.int32: tg.int32, torch.int64: tg.int64}[dtype]
    for _ in range(40):
        x, y = rng.integers(-9, 10, (2, 3)), rng.integers(-4, 5, 3)
        if rng.random() < 0.1:
            x = x[:0]
        try:
            wanted = DIVISIONS[name](torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)).tolist()
        except RuntimeError:  # that is how torch says ZeroDivisionError
            wanted = None
        a, b = tg.tensor(x, dtype=ours), tg.tensor(y, dtype=ours)
        for function in (DIVISIONS[name], tg.jit(DIVISIONS[name])):
            if wanted is None:
                refused(lambda function=function, a=a, b=b: function(a, b))  # type: ignore[misc]
            else:
                assert function(a, b).tolist() == wanted


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_smallest_by_minus_one_wraps_around(dtype: Any) -> None:
    """On x86 the instruction would end the process."""
    low = int(np.iinfo(dtype).min)
    x, y = tg.tensor([low] * 9, dtype=dtype), tg.tensor([-1] * 9, dtype=dtype)
    for name, wanted in {"//": low, "div trunc": low, "%": 0, "fmod": 0}.items():
        for function in (DIVISIONS[name], tg.jit(DIVISIONS[name])):
            assert function(x, y).tolist() == [wanted] * 9


def test_floats_have_infinity_and_nan() -> None:
    x, zero = tg.tensor([5.0, -5.0, 0.0]), tg.tensor([0.0] * 3)
    for function in (operator.floordiv, tg.jit(operator.floordiv)):
        assert function(x, zero).tolist()[:2] == [np.inf, -np.inf]
    assert (tg.tensor([5, -5]) / 0).tolist() == [np.inf, -np.inf]
    assert (tg.tensor([5]) // 0.0).tolist() == [np.inf]
    assert np.isnan((x % zero).numpy()).all()


# What stands beside the divisor in memory is not divided by, and what is divided by is looked at however it is made.
SHAPES: dict[str, Callable[[Any, Any], Any]] = {
    "masked": lambda a, b: tg.where(b != 0, a // tg.where(b == 0, 1, b), 0),
    "part": lambda a, b: a[1:] // b[1:],
    "another part": lambda a, b: a[:2] // b[1:3],
    "every second": lambda a, b: a[::2] // b[::2],
    "reversed": lambda a, b: a // b.flip(0),
    "transposed": lambda a, b: a.reshape(2, 2) // b.reshape(2, 2).T,
    "broadcast": lambda a, b: a.unsqueeze(1) // b,
    "sum": lambda a, b: a // b[:3].sum(),
    "one entry": lambda a, b: a // b[1],
    "computed": lambda a, b: a // (b * 2 - 4),
    "piece of another": lambda a, b: (a // (b + 1), tg.cat([b + 1, b * 0])),
    "result used in part": lambda a, b: (a // b)[0],
    "divided twice": lambda a, b: a // (12 // b),
    "quotient and rest": lambda a, b: a // b + a % b,
    "at positions": lambda a, b: a // b.index_select(0, tg.tensor([3, 2, 2, 3])),
    "constant": lambda a, b: a // tg.tensor([1, 2, 0, 3]) + b,
    "of the result's shape": lambda a, b: tg.stack([a, a]) % tg.stack([b, b + 5]),
    "running": lambda a, b: a // b.cumsum(0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_divided_by(name: str) -> None:
    function = SHAPES[name]
    compiled, outcomes = tg.jit(function), set()
    a = tg.tensor([7, -7, 5, 9])
    for b in (
        [1, 2, 3, 4],
        [0, 2, 3, 4],
        [1, 0, 3, 4],
        [1, 2, 0, 4],
        [1, 2, 3, 0],
        [-1, 3, -2, 0],
        [2, 5, 5, 5],
        [-1, 3, -2, 1],
    ):
        try:
            wanted = function(a, tg.tensor(b))
        except DivisionByZero:
            outcomes.add("refused")
            refused(lambda b=b: compiled(a, tg.tensor(b)))  # type: ignore[misc]
            continue
        outcomes.add("divided")
        found = compiled(a, tg.tensor(b))
        for one, other in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, wanted)), strict=True):
            assert one.tolist() == other.tolist(), b
    assert outcomes == {"masked": {"divided"}, "constant": {"refused"}}.get(name, {"divided", "refused"})


def test_in_the_steps_of_a_scan() -> None:
    def total(xs: Any, ds: Any) -> Any:
        return tg.scan(lambda carry, entry: (carry + (entry[0] // entry[1]).float(), carry), tg.zeros(()), (xs, ds))[0]

    xs, compiled = tg.tensor([10, 20, 30]), tg.jit(total)
    assert total(xs, tg.tensor([1, 2, 3])).item() == compiled(xs, tg.tensor([1, 2, 3])).item() == 30
    refused(lambda: total(xs, tg.tensor([1, 0, 3])))
    refused(lambda: compiled(xs, tg.tensor([1, 0, 3])))


def test_a_compiled_step_leaves_the_state_as_it_was() -> None:
    w, count = tg.tensor([1.0, 2.0], requires_grad=True), tg.zeros(())
    opt = tg.optim.SGD([w], lr=0.5, momentum=0.9)

    @tg.jit
    def step(x: Any, d: Any) -> Any:
        opt.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        opt.step()
        count.add_(1)
        return loss + (tg.tensor([7, 8]) // d).sum()

    x, good, bad = tg.tensor([1.0, 3.0]), tg.tensor([1, 2]), tg.tensor([1, 0])
    step(x, good)
    before = w.tolist(), count.item(), opt.state[w]["momentum_buffer"].tolist()
    refused(lambda: step(x, bad), r"\[floor_divide\] got a divisor of 0 at position \[1\]")
    assert (w.tolist(), count.item(), opt.state[w]["momentum_buffer"].tolist()) == before
    step(x, good)
    assert count.item() == 2


@pytest.mark.parametrize("rows", [8, 10])  # the last batch is whole, or shorter
def test_fit(rows: int) -> None:
    seen = tg.zeros(())

    @tg.jit
    def step(x: Any, d: Any) -> Any:
        seen.add_(1)
        return (x // d).float().mean()

    x, d = np.arange(rows), np.ones(rows, np.int64)
    tg.fit(step, (x, d), epochs=2, batch_size=4, shuffle=False, progress=False)
    assert seen.item() == 2 * -(-rows // 4)
    d[5] = 0
    refused(
        lambda: tg.fit(step, (x, d), epochs=2, batch_size=4, shuffle=False, progress=False),
        r"a divisor of 0 in row 5 \(epoch 1, batch 1\)",
    )


def test_gradients_of_floats_are_as_they_were() -> None:
    x = tg.tensor([5.5, -5.5], requires_grad=True)
    (x % tg.tensor([2.0, 2.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0]
