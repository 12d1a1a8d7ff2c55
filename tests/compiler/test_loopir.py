"""The text of programs, and the verifier: each invariant broken once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn.compiler import interp
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Guard,
    Kernel,
    Let,
    Loop,
    Register,
    Store,
    Var,
    affine,
)
from tinygrad_nn.compiler.loopir.program import Fault, Program, Repeat, Span
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.errors import GraphError
from tinygrad_nn.graph.scalar import FLOAT64, INT64, const, param
from tinygrad_nn.ops.lookup import Called
from tinygrad_nn.support.pytree import flatten

I, J = Var("i", 4), Var("j", 3)  # noqa: E741
X, Y = Buffer("x", (4,), FLOAT64, "input"), Buffer("y", (4,), FLOAT64)
K = Buffer("k", (3,), INT64, "input")
ONE = const(1, FLOAT64)
PLAIN = Register("s", FLOAT64)
SUM = Register("s", FLOAT64, 0, lambda a, x: a + x)


def load(buffer: Buffer, *index: Any, guards: Any = ()) -> Any:
    return param(Access(buffer, tuple(index), guards), buffer.dtype)


def program(*body: Any, vector: Any = None, buffers: Any = (X, Y, K), faults: Any = ()) -> Program:
    return Program((Kernel("k0", body, (), vector),), buffers, (X, K), (Y,), (), faults, (Span(0, 1),))


def copy(index: Any, guards: Any = ()) -> Any:
    return Store(Access(Y, (affine(I),)), load(X, index, guards=guards))


FAULTS: dict[str, tuple[Program, str]] = {
    "above": (program(Loop(I, (copy(affine(I) + 1),))), r"x\[i \+ 1\], which reaches 1\.\.4 on axis 0 of length 4"),
    "below": (program(Loop(I, (copy(affine(I) - 1),))), r"which reaches -1\.\.2"),
    "backwards": (program(Loop(I, (copy(affine(I) * -1 + 2),))), r"which reaches -1\.\.2"),
    "stored outside": (program(Loop(I, (Store(Access(Y, (affine(I) * 2,)), ONE),))), r"reaches 0\.\.6"),
    "a guard too wide": (
        program(Loop(I, (copy(affine(I) + 1, (Guard(affine(I) + 1, 0, 5),)),))),
        r"reaches 1\.\.4",
    ),
    "no such buffer": (program(Loop(I, (copy(affine(I)),)), buffers=(Y, K)), "of a buffer the program does not have"),
    "too few indices": (program(Loop(I, (Store(Access(Y, ()), ONE),))), r"for shape \(4,\)"),
    "an unchecked index": (
        program(Loop(J, (Store(Access(Y, (load(K, affine(J)),)), ONE),))),
        r"y\[k\[j\]\], whose index on axis 0 is not checked",
    ),
    "an index checked for another axis": (
        program(Loop(J, (Store(Access(Y, (load(K, affine(J)),)), ONE),)), faults=(Fault(Called("take"), K, 5),)),
        "is not checked",
    ),
    "a computed index": (
        program(Loop(J, (Store(Access(Y, (load(K, affine(J)) + 1,)), ONE),)), faults=(Fault(Called("take"), K, 4),)),
        "is not checked",
    ),
    "what nothing writes": (
        program(Loop(I, (Store(Access(X, (affine(I),)), load(Y, affine(I))),))),
        "which nothing writes",
    ),
    "a variable outside": (program(copy(affine(I))), "i outside of its loop"),
    "a variable as a number": (
        program(Loop(I, (Store(Access(Y, (affine(I),)), param(affine(J), INT64).to(FLOAT64)),))),
        "j outside of its loop",
    ),
    "a loop in itself": (program(Loop(I, (Loop(I, (copy(affine(I)),)),))), "a loop over i inside of itself"),
    "two vector loops": (
        program(Loop(I, (Loop(J, (copy(affine(I)),)), copy(affine(I)))), Loop(I, (copy(affine(I)),)), vector=I),
        "",
    ),
    "a register too early": (
        program(Loop(I, (Store(Access(Y, (affine(I),)), param(PLAIN, FLOAT64)),))),
        "a use of s before it begins",
    ),
    "a change too early": (program(Assign(PLAIN, ONE)), "a change of s before it begins"),
    "a register of another loop": (
        program(Loop(I, (Let(PLAIN, ONE),)), Store(Access(Y, (Affine(),)), param(PLAIN, FLOAT64))),
        "a use of s before it begins",
    ),
    "shared lanes": (
        program(Let(PLAIN, ONE), Loop(I, (Assign(PLAIN, param(PLAIN, FLOAT64) + load(X, affine(I))),)), vector=I),
        "lanes that share s, which cannot be combined",
    ),
}


@pytest.mark.parametrize("name", [name for name, (_, words) in FAULTS.items() if words])
def test_each_fault_is_named_and_shown(name: str) -> None:
    wrong, words = FAULTS[name]
    with pytest.raises(GraphError, match=words) as caught:
        wrong.verify()
    assert "kernel k0" in str(caught.value)


RIGHT: dict[str, Program] = {
    "a copy": program(Loop(I, (copy(affine(I)),)), vector=I),
    "a guard": program(Loop(I, (copy(affine(I) + 1, (Guard(affine(I) + 1, 0, 4),)),))),
    "nothing": program(Loop(Var("z", 0), (Store(Access(Y, (Affine(9),)), ONE),))),
    "a sum": program(Let(SUM, ONE), Loop(I, (Assign(SUM, param(SUM, FLOAT64) + load(X, affine(I))),)), vector=I),
    "a checked index": program(
        Loop(J, (Check((load(K, affine(J)) >= 0) & (load(K, affine(J)) < 4), 1),)),
        Loop(J, (Store(Access(Y, (load(K, affine(J)),)), ONE),)),
        faults=(Fault(Called("take"), K, 4),),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name: str) -> None:
    assert RIGHT[name].verify() is RIGHT[name]


def test_the_interpreter_refuses_what_lies_outside() -> None:
    """Even where nobody verified."""
    wrong = FAULTS["above"][0]
    with pytest.raises(GraphError, match=r"(?s)x\[i \+ 1\] at \[4\], where i = 3.*kernel k0"):
        interp.run(wrong, [np.zeros(4), np.zeros(3, np.int64)])


def test_the_interpreter_shows_what_was_never_written() -> None:
    one = program(Loop(J, (Store(Access(Y, (affine(J),)), ONE),)))
    (y,), _ = interp.run(one, [np.zeros(4), np.zeros(3, np.int64)])
    np.testing.assert_array_equal(y, [1, 1, 1, np.nan])


def test_the_interpreter_repeats() -> None:
    count = Buffer("n", (), INT64, "input")
    state = Buffer("t", (), FLOAT64, "input")
    new = Buffer("u", (), FLOAT64)
    add = Kernel("k0", (Store(Access(new, ()), load(state) + 2.0),))
    span = Span(0, 1, ((state, new),))
    order = (Repeat(Var("e", 9), (span,), Access(count, ())),)
    whole = Program((add,), (count, state, new), (count, state), (), ((state, new),), (), order)
    _, (found,) = interp.run(whole.verify(), [np.int64(5), np.float64(1.0)])
    assert found == 11.0


def lowered(function: Any, *values: Any) -> str:
    leaves, tree = flatten((values, {}))
    graph = trace(function, tree, leaves, [True] * len(leaves)).graph
    return str(build(Job((Part(graph),)), last="rows").program)


def iris_step() -> Any:
    tg.manual_seed(0)
    model = tg.nn.Sequential(tg.nn.Linear(4, 10), tg.nn.ReLU(), tg.nn.Linear(10, 3))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, tg.zeros(8, 4), np.zeros(8, np.int64)


def adam_step() -> Any:
    weight = tg.ones(3, 5).requires_grad_()
    optimizer = tg.optim.Adam([weight], lr=0.1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        (weight * x).sum().backward()
        optimizer.step()

    return step, tg.zeros(3, 5)


def rnn_cell() -> Any:
    tg.manual_seed(0)
    cell = tg.nn.RNN(3, 5)
    return (lambda x: cell(x)[0]), tg.zeros(4, 2, 3)


GOLDEN: dict[str, Callable[[], Any]] = {
    "iris_step": iris_step,
    "softmax": lambda: (lambda x: F.softmax(x, -1), tg.zeros(3, 5)),
    "layer_norm": lambda: (lambda x: F.layer_norm(x, (5,)), tg.zeros(3, 5)),
    "adam_step": adam_step,
    "rnn": rnn_cell,
    "cumsum": lambda: (lambda x: x.cumsum(1), tg.zeros(3, 5)),
    "gather": lambda: (lambda x, k: x.gather(1, k), tg.zeros(3, 20), np.zeros((3, 2), np.int64)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    """Before the schedule, which is that of one machine."""
    function, *values = GOLDEN[name]()
    golden(name, lowered(function, *values))
