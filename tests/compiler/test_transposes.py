"""Copies of matrices in another order: made where they pay, where the matrix has its value, and read only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.expand.expand import expand
from tinygrad_nn.compiler.loopir.program import Program, Repeat, spans
from tinygrad_nn.compiler.simulate import simulate

RNG = np.random.default_rng(0)


def vector(steps: int) -> tuple[Any, ...]:
    return RNG.standard_normal((steps, 24)), RNG.standard_normal((24, 24)) * 0.2


def forward_and_back(x: Any, w: Any) -> Any:
    """A recurrence of one row: its gradient reads the weights along the other axis."""

    def loss(w: Any) -> Any:
        last, _ = tg.scan(lambda h, x: ((h.reshape(1, 24) @ w.T).reshape(24).tanh() + x, None), x[0], x)
        return (last * last).sum()

    return tg.grad(loss)(w)


def changing(x: Any, w: Any) -> Any:
    """A matrix that changes at every step, read both ways at each."""

    def step(w: Any, x: Any) -> Any:
        row = first = x.reshape(1, 24)
        for other in (*[w] * 6, *[w.T] * 6):
            row = (row @ other).tanh()
        return w * 0.9 + first.T @ first * 0.01, row.reshape(24)

    return tg.scan(step, w, x)


def scheduled(function: Any, *args: Any) -> Program:
    schedule = tg.jit(function).entry(args, {}).compiled.stages.schedule
    program: Program = schedule.program
    return program


def places(program: Program) -> list[int]:
    """Of each copy: in how many repetitions it is."""
    around = {k: len(path) for span, path in spans(program.regions) for k in range(span.start, span.stop)}
    return [around[k] for k, kernel in enumerate(program.kernels) if kernel.name.startswith("transpose")]


WORKS: dict[str, tuple[Callable[..., Any], int, list[int]]] = {
    "written out": (forward_and_back, 14, [0]),
    "outside of a loop that does not change it": (forward_and_back, 90, [0]),
    "inside of a loop that does": (changing, 90, [1]),
}


@pytest.mark.parametrize("name", WORKS)
def test_where_a_copy_is_made(name: str) -> None:
    function, steps, wanted = WORKS[name]
    args = vector(steps)
    program = scheduled(function, *args)
    assert places(program) == wanted
    found, expected = tg.jit(function)(*args), function(*map(tg.tensor, args))
    for a, b in zip(found, expected, strict=True) if isinstance(expected, tuple) else ((found, expected),):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)


def test_a_batch_fills_the_lanes_without_a_copy() -> None:
    args = RNG.standard_normal((64, 24)), RNG.standard_normal((24, 24))
    both = lambda x, w: ((x @ w.T).tanh() @ w).sum(0)  # noqa: E731
    assert places(scheduled(both, *args)) == []


def test_the_program_with_copies_means_the_same() -> None:
    args = vector(20)
    schedule = tg.jit(forward_and_back).entry(args, {}).compiled.stages.schedule
    assert any(isinstance(region, Repeat) for region in schedule.program.regions) or places(schedule.program)
    outputs, _ = simulate(expand(schedule), args)
    np.testing.assert_allclose(outputs[0], forward_and_back(*map(tg.tensor, args)).numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [(512,), (8, 64)])
@pytest.mark.parametrize("widths", [(128, 512, 128), (256, 1024, 256)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_activations_are_not_scattered_where_weights_may_be_copied(
    widths: tuple[int, ...], rows: tuple[int, ...], activation: Callable[[], nn.Module]
) -> None:
    before, hidden, after = widths
    model = nn.Sequential(nn.Linear(before, hidden), activation(), nn.Linear(hidden, after))
    opt = optim.SGD(model.parameters(), lr=1e-3)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    args = tg.zeros(*rows, before), tg.zeros(*rows, after)
    schedule = tg.jit(step).entry(args, {}).compiled.stages.schedule
    stored = 0
    for kernel in schedule.program.kernels:
        for access, is_written, _ in kernel.accesses:
            if is_written and kernel.vector and access.buffer.shape == (*rows, hidden):
                (axis,) = [k for k, index in enumerate(access.index) if index.coefficient(kernel.vector)]  # type: ignore[union-attr]
                assert schedule.layouts[access.buffer].inner == axis, kernel.name
                stored += 1
    assert stored
