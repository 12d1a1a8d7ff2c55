"""A scan, compiled: the same values and gradients as the eager loop, in code that does not grow with the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler import interp
from tinygrad_nn.compiler.loopir.program import Repeat
from tinygrad_nn.errors import IndexOutOfRange, TraceError

RNG = np.random.default_rng(0)
W, U, B = (RNG.standard_normal(shape) * 0.4 for shape in ((4, 4), (3, 4), (4,)))


def rnn(x: Any, h: Any, w: Any, u: Any, b: Any, reverse: bool = False) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = (x @ u + h @ w + b).tanh()
        return h, h * 2 + x.sum()

    return tg.scan(step, h, x, reverse=reverse)


def summed(*args: Any, **options: Any) -> Any:
    last, stacked = rnn(*args, **options)
    return (last * last).sum() + (stacked * stacked).sum()


def near(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_values_and_gradients(steps: int, rows: int, reverse: bool) -> None:
    args = (RNG.standard_normal((steps, rows, 3)), RNG.standard_normal((rows, 4)), W, U, B)
    jitted = tg.jit(lambda *args: rnn(*args, reverse=reverse))
    for found, wanted in zip(jitted(*args), rnn(*map(tg.tensor, args), reverse=reverse), strict=True):
        near(found, wanted)
    gradients = tg.grad(lambda *args: summed(*args, reverse=reverse), argnums=(0, 1, 2, 3, 4))
    for found, wanted in zip(tg.jit(gradients)(*args), gradients(*map(tg.tensor, args)), strict=True):
        near(found, wanted)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_second_derivatives(steps: int) -> None:
    x, h = RNG.standard_normal((steps, 2, 3)), RNG.standard_normal((2, 4))

    def curvature(w: Any) -> Any:
        inner = tg.grad(lambda w: summed(tg.tensor(x), tg.tensor(h), w, tg.tensor(U), tg.tensor(B)))
        return tg.grad(lambda w: (inner(w) ** 2).sum())(w)

    near(tg.jit(curvature)(W), curvature(tg.tensor(W)))


def several(x: Any, a: Any, c: Any) -> Any:
    """Two carries that change places, series of two shapes, an output that is the entry itself."""

    def step(carry: Any, entry: Any) -> Any:
        a, c = carry
        return (c * 0.5 + entry["x"], a.reshape(2, 3).T.reshape(6)), {"same": entry["x"], "sum": (a * c).sum()}

    return tg.scan(step, (a, c), {"x": x})


def nested(x: Any, a: Any, c: Any) -> Any:
    def outer(a: Any, row: Any) -> Any:
        total, inner = tg.scan(lambda t, e: (t + e * a.sum(), t * e), c.sum(), row)
        return a * 0.9 + total, inner

    return tg.scan(outer, a, x)


@pytest.mark.parametrize("function", [several, nested])
def test_structures(function: Callable[..., Any]) -> None:
    args = RNG.standard_normal((5, 6)), RNG.standard_normal(6), RNG.standard_normal(6)
    found, wanted = tg.jit(function)(*args), function(*map(tg.tensor, args))
    for a, b in zip(_leaves(found), _leaves(wanted), strict=True):
        near(a, b)
    loss = tg.grad(lambda *args: sum((leaf * leaf).sum() for leaf in _leaves(function(*args))), argnums=(0, 1, 2))
    for a, b in zip(tg.jit(loss)(*args), loss(*map(tg.tensor, args)), strict=True):
        near(a, b)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())
    return [leaf for part in value for leaf in _leaves(part)] if isinstance(value, tuple) else [value]


def test_the_interpreter_agrees() -> None:
    args = [RNG.standard_normal((3, 2, 3)), RNG.standard_normal((2, 4)), W, U, B]
    jitted = tg.jit(lambda *args: summed(*args))
    wanted = jitted(*args)
    outputs, _ = interp.run(jitted.program(*args), args)
    np.testing.assert_allclose(outputs[0], wanted.numpy(), rtol=1e-12)


def test_code_does_not_grow_with_the_steps() -> None:
    def kernels(steps: int) -> int:
        x, h = np.zeros((steps, 2, 3)), np.zeros((2, 4))
        return len(tg.jit(tg.grad(lambda w: summed(x, h, w, U, B))).program(W).kernels)

    assert kernels(50) == kernels(500)
    assert kernels(3) < kernels(5) < 2 * kernels(3)  # written out: they are short


def test_in_native_fit() -> None:
    x, y = RNG.standard_normal((10, 6, 3)), RNG.standard_normal((10, 1))

    def work(jit: bool) -> tuple[Any, Any]:
        tg.manual_seed(0)
        layer, w = nn.Linear(4, 1, dtype=tg.float64), nn.Parameter(tg.tensor(W))
        opt = optim.Adam([*layer.parameters(), w], lr=0.01)

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            h = x.new_zeros(x.shape[0], 4)
            h, _ = tg.scan(lambda h, x: ((x @ tg.tensor(U) + h @ w).tanh(), None), h, x.transpose(0, 1))
            loss = F.mse_loss(layer(h), y)
            loss.backward()
            opt.step()
            return loss

        history = tg.fit(tg.jit(step) if jit else step, (x, y), epochs=5, batch_size=4, seed=1, progress=False)
        return history["loss"], w.detach().numpy()

    for found, wanted in zip(work(True), work(False), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_each_state_lies_in_memory_once() -> None:
    """Carries before and after the steps are one buffer, which a step writes where it belongs."""
    x, h = RNG.standard_normal((90, 2, 3)), RNG.standard_normal((2, 4))
    program = tg.jit(tg.grad(lambda w: summed(x, h, w, U, B))).program(W)
    assert [b.shape for b in program.buffers].count((91, 2, 4)) == 1
    loops = [region for region in program.regions if isinstance(region, Repeat)]
    inside = [program.kernels[k].name for loop in loops for span in loop.body for k in range(span.start, span.stop)]  # type: ignore[union-attr]
    assert not [name for name in inside if "carry" in name or "entry" in name]


def test_what_nobody_reads_is_not_kept() -> None:
    x, h = RNG.standard_normal((90, 2, 3)), RNG.standard_normal((2, 4))
    program = tg.jit(lambda w: rnn(x, h, w, U, B)[0]).program(W)
    assert not [b for b in program.buffers if b.role == "temporary" and {90, 91} & {*b.shape}]


@pytest.mark.parametrize("reverse", [False, True])
def test_states_are_read_at_positions(reverse: bool) -> None:
    """They begin one place after the first of their buffer, or at it."""

    def read(x: Any, h: Any, w: Any, index: Any) -> Any:
        _, ys = tg.scan(lambda h, x: ((h @ w + x).tanh(),) * 2, h, x, reverse=reverse)
        return ys.index_select(0, index)

    args = (RNG.standard_normal((90, 2, 4)), RNG.standard_normal((2, 4)), W, np.array([89, 0, 7, 7]))
    near(tg.jit(read)(*args), read(*map(tg.tensor, args)))
    program = tg.jit(read).program(*args).verify()
    assert ("] + 1, " in str(program)) is not reverse
    with pytest.raises(IndexOutOfRange):
        tg.jit(read)(*args[:3], np.array([90]))
    gradients = tg.grad(lambda *args: (read(*args) ** 2).sum(), argnums=(0, 1, 2))
    for found, wanted in zip(tg.jit(gradients)(*args), gradients(*map(tg.tensor, args)), strict=True):
        near(found, wanted)


@pytest.mark.parametrize("reverse", [False, True])
def test_states_are_read_in_every_way(reverse: bool) -> None:
    """By an index from data, as a matrix of all, from both ends, and once more by a scan."""

    def read(x: Any, h: Any, w: Any, index: Any) -> Any:
        last, ys = tg.scan(lambda h, x: ((h @ w + x).tanh(),) * 2, h, x, reverse=reverse)
        again, _ = tg.scan(lambda c, y: (c * 0.5 + y, None), h, ys, reverse=not reverse)
        return last, ys.index_select(0, index), ys.reshape(-1), ys[0] + ys[-1], ys[::-3], again, ys.max(0)[0]

    def weighed(x: Any, h: Any, w: Any, index: Any) -> Any:
        return sum((part * part).sum() for part in read(x, h, w, index))

    args = (RNG.standard_normal((90, 2, 4)), RNG.standard_normal((2, 4)), W, np.array([89, 0, 7, 7]))
    for found, wanted in zip(tg.jit(read)(*args), read(*map(tg.tensor, args)), strict=True):
        near(found, wanted)
    gradients = tg.grad(weighed, argnums=(0, 1, 2))
    for found, wanted in zip(tg.jit(gradients)(*args), gradients(*map(tg.tensor, args)), strict=True):
        near(found, wanted)


def test_a_carry_that_does_not_change_and_two_that_change_places() -> None:
    def step(carry: Any, x: Any) -> Any:
        a, b, c = carry
        return (b, a, c), (a * c, x)

    args = (RNG.standard_normal((90, 3)), *(RNG.standard_normal(3) for _ in range(3)))
    run = lambda x, a, b, c: tg.scan(step, (a, b, c), x)  # noqa: E731
    for last, rows in (tg.jit(run)(*args), run(*map(tg.tensor, args))):
        near(rows[0], tg.tensor(np.stack([args[1 + t % 2] * args[3] for t in range(90)])))
        near(rows[1], tg.tensor(args[0]))
        near(last[0], tg.tensor(args[1]))
        near(last[2], tg.tensor(args[3]))


def test_explain_counts_the_steps() -> None:
    x, h = RNG.standard_normal((90, 2, 3)), RNG.standard_normal((2, 4))
    table = tg.explain(lambda w: rnn(x, h, w, U, B)[0], W)
    assert {row.times for row in table.rows} == {1, 90}
    assert "90 * " in str(table)


@pytest.mark.parametrize("steps", [(2, 13), (14, 13), (3, 60), (60, 3)])
def test_second_derivatives_of_a_scan_in_a_scan(steps: tuple[int, int]) -> None:
    """What the inner one leaves is read by the gradient of the outer one, and by that of its gradient."""
    outer, inner = steps
    x, w = RNG.standard_normal((outer, 3)), RNG.standard_normal(3) * 0.3

    def value(x: Any, w: Any) -> Any:
        def within(c: Any, e: Any) -> Any:
            new = (c * w + e).tanh() * (c * w).sigmoid()
            return new, new

        def step(c: Any, e: Any) -> Any:
            _, ys = tg.scan(within, c * 0.5, (c * w + e).unsqueeze(0).expand(inner, 3))
            return ys[-1], ys

        c, ys = tg.scan(step, x[0] * 0, x)
        return (c * c).sum() + (ys * ys).sum()

    def curvature(x: Any, w: Any) -> Any:
        gradients = tg.grad(value, argnums=(0, 1))
        return tg.grad(lambda x, w: sum((g * g).sum() for g in gradients(x, w)), argnums=(0, 1))(x, w)

    for found, wanted in zip(tg.jit(curvature)(x, w), curvature(tg.tensor(x), tg.tensor(w)), strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-8, atol=1e-11)


def test_what_is_reached_from_outside_is_read_as_often_as_you_like() -> None:
    w, x = tg.tensor(W[0], requires_grad=True), tg.tensor(RNG.standard_normal((5, 4)))

    def nested(x: Any) -> Any:
        def step(c: Any, e: Any) -> Any:
            last, _ = tg.scan(lambda d, f: ((d * w + f).tanh() * w, None), c * w, e.unsqueeze(0).expand(3, 4))
            return last * w, last

        return tg.scan(step, w * 0, x)[1] * w

    near(tg.jit(nested)(x).detach(), nested(x))


def test_what_is_outside_may_be_read_but_not_written() -> None:
    total = tg.zeros(4, dtype=tg.float64)

    def step(c: Any, e: Any) -> Any:
        read = c + total
        total.add_(e)
        return read, None

    with pytest.raises(TraceError, match="a write to a tensor"):
        tg.jit(lambda x: tg.scan(step, x[0], x)[0])(RNG.standard_normal((5, 4)))
