"""Expanded code: what the verifier refuses, where steps stand, and what a machine of any width makes of them."""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.compiler.toy_c import print_c
from tinygrad_nn import adjoint, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.codegen.llvm.operations import OPERATIONS as PRINTED
from tinygrad_nn.compiler.expand import kernel
from tinygrad_nn.compiler.expand.builder import Builder
from tinygrad_nn.compiler.expand.code import (
    Block,
    Call,
    Carried,
    Check,
    Expanded,
    Function,
    Gemm,
    Loop,
    Part,
    Statement,
    Store,
    Value,
    When,
)
from tinygrad_nn.compiler.expand.expand import expand
from tinygrad_nn.compiler.expand.verify import _RULES, verify
from tinygrad_nn.compiler.loopir import ir
from tinygrad_nn.compiler.loopir.ir import Access, Assign, Buffer, Guard, Kernel, Let, Register, Var, affine
from tinygrad_nn.compiler.loopir.program import Fault, Program, Span
from tinygrad_nn.compiler.schedule.schedule import schedule
from tinygrad_nn.compiler.simulate import _COMPUTE, Machine, simulate
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.errors import GraphError, IndexOutOfRange
from tinygrad_nn.graph.graph import Array, Graph
from tinygrad_nn.graph.scalar import BOOL, FLOAT32, FLOAT64, INT64, OPERATIONS, const, param
from tinygrad_nn.ops.lookup import Called
from tinygrad_nn.support.pytree import flatten
from tinygrad_nn.testing.agreement import WIDTHS
from tinygrad_nn.testing.fuzz import judge
from tinygrad_nn.testing.programs import generate

X, Y = Buffer("x", (8,), FLOAT64, "input", row_major=True), Buffer("y", (8,), FLOAT64, row_major=True)
K = Buffer("k", (1,), INT64, "input", row_major=True)
SMALL = Buffer("s", (4,), FLOAT64, "input", row_major=True)
I = Var("i", 8)  # noqa: E741


def program(*body: Any, inputs: Any = (X, SMALL), outputs: Any = (Y,), faults: Any = (), kernels: Any = ()) -> Program:
    """The body as a kernel, or kernels."""
    all_ = kernels or (Kernel("k", body),)
    return Program(all_, (*inputs, *outputs), inputs, outputs, (), faults, (Span(0, len(all_)),)).verify()


def load(buffer: Buffer, *index: Any, guards: Sequence[Guard] = ()) -> Any:
    return param(Access(buffer, tuple(index), tuple(guards)), buffer.dtype)


COPY = program(ir.Loop(I, (ir.Store(Access(Y, (affine(I),)), load(X, affine(I))),)))
SCHEDULE = schedule(COPY, 64)


# ---- what the verifier refuses --------------------------------------------------------------------------------------


def value(op: str, dtype: Any, *args: Value, lanes: int = 0, depth: int = 0, data: Any = None) -> Value:
    return Value(op, args, dtype, lanes, depth, data)


def number(what: Any, dtype: Any = INT64, lanes: int = 0) -> Value:
    return value("const", dtype, lanes=lanes, data=dtype.type(what))


FROM, TO = value("start", FLOAT64, data=X), value("start", FLOAT64, data=Y)
LITTLE = value("start", FLOAT64, data=SMALL)
ONE = value("load", FLOAT64, FROM)
SIX = value("address", FLOAT64, FROM, number(6))
SEVEN = value("address", FLOAT64, FROM, number(7))
SPREAD = value("address", FLOAT64, TO, value("steps", INT64, lanes=2, data=(0, 3)), lanes=2)
PAIR = value("splat", FLOAT64, ONE, lanes=2)
YES = number(True, BOOL)
COUNTER = value("counter", INT64, depth=1)
INSIDE = value("add", FLOAT64, ONE, ONE, depth=1)
CARRIED = [value(op, FLOAT64) for op in ("carried", "result")]
SAME = Function("same", (FROM,), (), (ONE, Store(FROM, ONE, None)))
NAMED = Function("named", (), (value("given", INT64),), ())


def loop(*body: Statement, carried: Sequence[Carried] = (), **more: Any) -> Loop:
    return Loop(COUNTER, number(4), 1, tuple(carried), body, **more)


REFUSED: dict[str, tuple[Sequence[Statement], str]] = {
    "a use before it is made": ([ONE, FROM], "start, which is not known here"),
    "a use after its loop": ([FROM, ONE, loop(INSIDE), value("neg", FLOAT64, INSIDE)], "add, which is not known here"),
    "a use in another block": ([Block("a", (FROM,)), Block("b", (ONE,))], "not known here"),
    "a part that was not given it": ([FROM, Part("p", (), (ONE,))], "not known here"),
    "a function that was not given it": ([Call(Function("f", (), (), (ONE,)), (), ())], "not known here"),
    "another depth": ([FROM, ONE, INSIDE], "depth 1, 0 loops deep"),
    "operands of two dtypes": ([FROM, ONE, value("add", FLOAT64, ONE, number(1))], "a result of None"),
    "a result of another dtype": ([FROM, ONE, value("lt", FLOAT64, ONE, ONE)], "a result of bool"),
    "too few operands": ([FROM, ONE, value("add", FLOAT64, ONE)], "a result of None"),
    "operands of other lanes": ([FROM, ONE, PAIR, value("add", FLOAT64, PAIR, ONE, lanes=2)], "of other lanes"),
    "an address as a number": ([FROM, value("neg", FLOAT64, FROM)], "an address as a number"),
    "no operation": ([value("guess", FLOAT64)], "operands that do not fit"),
    "a splat of lanes": ([FROM, ONE, PAIR, value("splat", FLOAT64, PAIR, lanes=4)], "operands that do not fit"),
    "half of three": ([FROM, ONE, PAIR, value("half", FLOAT64, PAIR, lanes=2, data=0)], "operands that do not fit"),
    "an index of another dtype": ([FROM, value("address", FLOAT64, FROM, number(0, FLOAT64))], "that do not fit"),
    "a gather without a mask": ([TO, SPREAD, value("load", FLOAT64, SPREAD, lanes=2)], "operands that do not fit"),
    "a mask of numbers": ([FROM, ONE, value("load", FLOAT64, FROM, ONE)], "operands that do not fit"),
    "a load beyond the end": ([FROM, SIX, value("load", FLOAT64, SIX, lanes=4)], "places up to 9 of 8"),
    "a store beyond the end": ([FROM, ONE, PAIR, SEVEN, Store(SEVEN, PAIR, None)], "places up to 8 of 8"),
    "a store of another dtype": ([TO, Store(TO, number(1), None)], "does not fit its address"),
    "a scatter without a mask": ([FROM, TO, ONE, SPREAD, PAIR, Store(SPREAD, PAIR, None)], "a scatter without a mask"),
    "a mask of other lanes": ([FROM, TO, ONE, PAIR, Store(TO, PAIR, YES)], "a mask that does not fit"),
    "a check of lanes": ([Check(number(True, BOOL, 2), 1)], "no scalar bool"),
    "a check that says all is well": ([Check(YES, 0)], "went well"),
    "a condition that is a number": ([When(number(1), ())], "no scalar bool"),
    "bounds that are no numbers": ([Loop(COUNTER, YES, 1, (), ())], "bounds that are no numbers"),
    "no step": ([Loop(COUNTER, number(1), 0, (), ())], "bounds that are no numbers"),
    "something carried that changes": (
        [FROM, ONE, loop(carried=[Carried(ONE, CARRIED[0], number(1), CARRIED[1])])],
        "changes its kind",
    ),
    "something carried through no round": (
        [FROM, ONE, loop(carried=[Carried(ONE, CARRIED[0], CARRIED[0], CARRIED[1])], may_be_empty=True)],
        "there may be no round",
    ),
    "a block in a block's loop": ([loop(Block("a", ()))], "a block in a loop"),
    "a product that is too large": ([FROM, TO, Gemm(number(0), TO, FROM, FROM, (3, 3, 1), False, False)], "do not fit"),
    "a call with another buffer": ([Call(SAME, (SMALL,), ())], "buffers that do not fit"),
    "a call with no buffer": ([Call(SAME, (), ())], "buffers that do not fit"),
    "a call with another number": ([Call(NAMED, (), (number(1.0, FLOAT64),))], "values that do not fit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_fault_is_named_and_shown(name: str) -> None:
    body, words = REFUSED[name]
    with pytest.raises(GraphError, match=words):
        verify(Expanded(SCHEDULE, tuple(body)))


def test_what_is_right_passes() -> None:
    carried = Carried(ONE, CARRIED[0], INSIDE, CARRIED[1])
    whole = Expanded(SCHEDULE, (FROM, ONE, loop(INSIDE, carried=[carried]), TO, Store(TO, CARRIED[1], None)))
    assert verify(whole) is whole
    for right in ((Call(SAME, (Y,), ()), Call(NAMED, (), (number(1),))), (FROM, Part("p", (FROM,), (ONE,)))):
        verify(Expanded(SCHEDULE, right))


def test_every_operation_is_known_everywhere() -> None:
    """To the verifier, to the machine and to LLVM's printer."""
    assert set(_RULES) == set(_COMPUTE)
    assert set(PRINTED) == set(_COMPUTE) | set(OPERATIONS)


# ---- where steps stand ----------------------------------------------------------------------------------------------


def steps(body: Sequence[Statement], depth: int = 0) -> Iterator[tuple[int, Statement]]:
    """All statements, with the number of loops around them."""
    for one in body:
        yield depth, one
        if isinstance(one, Loop | Block | When | Part):
            yield from steps(one.body, depth + isinstance(one, Loop))


def made(whole: Program, lanes: int, op: str) -> list[tuple[int, Value]]:
    expanded = verify(expand(schedule(whole, 8 * lanes), lanes))
    return [(depth, one) for depth, one in steps(expanded.body) if isinstance(one, Value) and one.op == op]


ROWS, COLUMNS = Var("r", 40), Var("c", 50)
TABLE = Buffer("t", (40, 50), FLOAT64, "input")
LINE, OUT = Buffer("line", (40,), FLOAT64, "input"), Buffer("o", (40, 50), FLOAT64)
PLUS = ir.Loop(
    ROWS,
    (
        ir.Loop(
            COLUMNS,
            (
                ir.Store(
                    Access(OUT, (affine(ROWS), affine(COLUMNS))),
                    load(TABLE, affine(ROWS), affine(COLUMNS)) + load(LINE, affine(ROWS)).sqrt(),
                ),
            ),
        ),
    ),
)


def test_what_does_not_change_stands_outside_of_the_loop() -> None:
    whole = program(PLUS, inputs=(TABLE, LINE), outputs=(OUT,))
    for lanes in (1, 4):
        assert [depth for depth, _ in made(whole, lanes, "sqrt")] == [1]
        assert [depth for depth, one in made(whole, lanes, "add") if one.dtype == FLOAT64] == [2]
        assert sorted(depth for depth, _ in made(whole, lanes, "load")) == [1, 2]


def test_a_load_of_what_the_kernel_writes_stays_where_it_is() -> None:
    """Though its address does not change; and what was just stored is not loaded."""
    long = Var("i", 40)
    wide = Buffer("y", (40,), FLOAT64, row_major=True)
    first, last = Access(wide, (affine(0),)), Access(wide, (affine(long),))
    both = program(
        ir.Store(first, const(1.0, FLOAT64)),
        ir.Loop(long, (ir.Store(last, param(first, FLOAT64) + 1.0),)),
        outputs=(wide,),
    )
    (loaded,) = made(both, 1, "load")
    assert loaded[0] == 1
    again = program(
        ir.Loop(
            long,
            (
                ir.Store(last, load(X, affine(0)) * 2.0),
                ir.Store(last, param(last, FLOAT64) + 1.0),
            ),
        ),
        outputs=(wide,),
    )
    assert [one.args[0].buffer for _, one in made(again, 1, "load")] == [X]
    (result,), _ = simulate(expand(schedule(both, 64), 1), [np.zeros(8), np.zeros(4)])
    np.testing.assert_array_equal(result, [2.0, *[3.0] * 39])


def test_what_is_stored_elsewhere_in_a_buffer_is_loaded_anew() -> None:
    here, there = Access(Y, (affine(0),)), Access(Y, (param(Access(K, (affine(0),)), INT64),))
    whole = program(
        ir.Check((load(K, affine(0)) >= 0) & (load(K, affine(0)) < 8), 1),
        ir.Store(here, const(1.0, FLOAT64)),
        ir.Store(there, const(2.0, FLOAT64)),
        ir.Store(Access(Y, (affine(1),)), param(here, FLOAT64)),
        inputs=(K,),
        faults=(Fault(Called("take"), K, 8),),
    )
    for lanes in WIDTHS:
        (result,), _ = run(whole, lanes, np.zeros(1, np.int64))
        assert (result[0], result[1]) == (2.0, 2.0)


def test_equal_steps_are_one() -> None:
    twice = (load(X, affine(I)) * 3.0 + 1.0) * (load(X, affine(I)) * 3.0 + 1.0)
    whole = program(ir.Loop(I, (ir.Store(Access(Y, (affine(I),)), twice),)))
    assert len(made(whole, 8, "load")) == 1
    assert [one.args[0] is one.args[1] for _, one in made(whole, 8, "mul")] == [False, True]


def test_numbers_are_calculated() -> None:
    """With the operations of the scalar language, and guards of unrolled loops with them."""
    short = Var("i", 3)
    ahead = affine(short) + 6
    whole = program(
        ir.Loop(
            short,
            (ir.Store(Access(Y, (affine(short),)), load(X, ahead, guards=[Guard(ahead, 0, 8)])),),
        ),
        ir.Store(Access(Y, (affine(7),)), const(2.0, FLOAT64).sqrt()),
    )
    assert made(whole, 1, "sqrt") == made(whole, 1, "lt") == made(whole, 1, "where") == []
    assert len(made(whole, 1, "load")) == 2
    (result,), _ = run(whole, 1, np.arange(8.0), np.zeros(4))
    np.testing.assert_array_equal(result[[0, 1, 2, 7]], [6.0, 7.0, 0.0, np.sqrt(2.0)])


@pytest.mark.parametrize(
    ("outer", "inner", "copies", "loops"), [(3, 4, 12, 0), (4, 40, 1, 2), (4, 5, 5, 1), (40, 3, 3, 1)]
)
def test_what_is_unrolled(outer: int, inner: int, copies: int, loops: int) -> None:
    """Short loops, from the inside: never one in which a loop stays, nor more copies of a statement than `COPIES`."""
    i, j = Var("i", outer), Var("j", inner)
    table, out = Buffer("t", (outer, inner), FLOAT64, "input"), Buffer("o", (outer, inner), FLOAT64)
    body = ir.Store(Access(out, (affine(i), affine(j))), load(table, affine(i), affine(j)))
    whole = program(ir.Loop(i, (ir.Loop(j, (body,)),)), inputs=(table,), outputs=(out,))
    body_of = [one for _, one in steps(expand(schedule(whole, 8), 1).body)]
    assert sum(isinstance(one, Store) for one in body_of) == copies
    assert sum(isinstance(one, Loop) for one in body_of) == loops


def test_one_lane_is_a_scalar() -> None:
    expanded = expand(schedule(program(PLUS, inputs=(TABLE, LINE), outputs=(OUT,)), 8))
    assert all(one.lanes == 0 for _, one in steps(expanded.body) if isinstance(one, Value))


def test_the_text_names_every_kind_of_step() -> None:
    whole = program(PLUS, inputs=(TABLE, LINE), outputs=(OUT,))
    text = str(expand(schedule(whole, 32)))
    for part in ("block k:", "for v", "float64 x4 = load", "start t", "store v", "= sqrt"):
        assert part in text


# ---- what a machine makes of them -----------------------------------------------------------------------------------


def run(whole: Program, lanes: int, *values: Any) -> tuple[list[Any], list[Any]]:
    return simulate(verify(expand(schedule(whole, 8 * lanes), lanes)), values)


@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 70])
def test_lengths_that_straddle_the_lanes(length: int, dtype: Any, lanes: int) -> None:
    """A map, a fold over all lanes, one that is guarded and backwards, and a scatter."""
    i, j, k = (Var(name, length) for name in "ijk")
    x = Buffer("x", (length,), dtype, "input")
    places = Buffer("p", (length,), INT64, "input")
    doubled, total, turned, moved = (Buffer(f"y{n}", (length,) if n != 1 else (), dtype) for n in range(4))
    fold = Register("s", dtype, 0, lambda a, b: a + b)
    back, at = affine(j) * -1 + (length - 2), load(places, affine(k))
    pieces: list[tuple[Any, ...]] = [
        (ir.Loop(i, (ir.Store(Access(doubled, (affine(i),)), load(x, affine(i)) + load(x, affine(i))),)),),
        (
            Let(fold, const(0, dtype)),
            ir.Loop(i, (Assign(fold, param(fold, dtype) + load(x, affine(i))),)),
            ir.Store(Access(total, ()), param(fold, dtype)),
        ),
        (ir.Loop(j, (ir.Store(Access(turned, (affine(j),)), load(x, back, guards=[Guard(back, 0, length)])),)),),
        (ir.Loop(k, (ir.Check((at >= 0) & (at < length), 1),)),),
        (ir.Loop(k, (ir.Store(Access(moved, (at,)), load(x, affine(k))),)),),
    ]
    whole = program(
        inputs=(x, places),
        outputs=(doubled, total, turned, moved),
        faults=(Fault(Called("take"), places, length),),
        kernels=tuple(Kernel(f"k{n}", piece) for n, piece in enumerate(pieces)),
    )
    rng = np.random.default_rng(length)
    values, order = rng.integers(-9, 9, length).astype(dtype), rng.permutation(length)
    found, _ = run(whole, lanes, values, order)
    scattered = np.zeros(length, dtype)
    scattered[order] = values
    for got, wanted in zip(found, (values * 2, values.sum(), np.append(values[::-1][1:], 0), scattered), strict=True):
        np.testing.assert_array_equal(got, wanted)
    if length > 1:
        order[length - 2] = length
        with pytest.raises(IndexOutOfRange, match=f"got index {length}"):
            run(whole, lanes, values, order)


def test_what_lies_outside_is_refused() -> None:
    """Where the verifier cannot know it: an index that is computed."""
    at = value("add", INT64, number(4), number(4))
    beyond = value("address", FLOAT64, FROM, at)
    wrong = Expanded(SCHEDULE, (Block("k", (FROM, at, beyond, value("load", FLOAT64, beyond))),))
    verify(wrong)
    with pytest.raises(GraphError, match=r"x at 8; expected places below 8(?s:.*)load(?s:.*)in kernel k"):
        Machine(wrong).run()


def test_what_was_never_written_shows() -> None:
    loaded = value("load", FLOAT64, TO)
    copied = Expanded(SCHEDULE, (Block("k", (TO, loaded, Store(TO, loaded, None))),))
    (result,), _ = simulate(verify(copied), [np.zeros(8), np.zeros(4)])
    assert np.isnan(result).all()


STORE, REAL = Builder.store, kernel.Expansion.real


def _one_too_far(self: Any, var: Any, base: Any, env: Any) -> Any:
    return REAL(self, var, base + 1 if isinstance(base, int) else self.b.add(base, self.b.whole(1)), env)


def _unmasked(self: Any, one: Any, env: Any) -> None:
    env.registers[one.register] = self.b.splat(self.value(one.value, env), self.lanes)


def _remembered(self: Any, address: Any, value: Any, mask: Any) -> None:
    """What is stored hides nothing."""
    known = [dict(level.stored) for level in self.levels]
    STORE(self, address, value, mask)
    for level, before in zip(self.levels, known, strict=True):
        level.stored = {**before, **level.stored}


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the last lane is dropped": lambda patch: patch.setattr(kernel.Expansion, "real", _one_too_far),
    "lanes beyond the end are folded": lambda patch: patch.setitem(kernel._EXPAND, Assign, _unmasked),
    "guards are dropped": lambda patch: patch.setattr(kernel.Expansion, "guard", lambda self, site, env: None),
    "what was stored is not forgotten": lambda patch: patch.setattr(Builder, "store", _remembered),
}


def added_to() -> tuple[Graph, list[Array]]:
    """Zeros, some of which are written at places that are data, and all read again: few enough to be known by number.
    Random programs seldom do that.
    """
    arguments = tg.tensor([[1.0], [2.0], [3.0], [4.0]]), tg.tensor([1])
    flat, tree = flatten((arguments, {}))
    graph = trace(lambda x, at: tg.zeros(4, 2).index_add(1, at, x).exp(), tree, flat, [True, True]).graph
    return graph, [x.numpy() for x in arguments]


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_on_purpose_is_found_without_llvm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in ("host", "object_code", "load", "verify"):
        monkeypatch.setattr(native, function, lambda *args: pytest.fail("LLVM was asked"))
    monkeypatch.setattr(adjoint, "CALLS", math.inf)  # nor is it by the loops of eager code
    graph, values = generate((13, 0))
    assert not judge(graph, values, native=False).problems
    BROKEN[name](monkeypatch)
    for number in range(600):
        graph, values = generate((13, number)) if number else added_to()
        if sum(int(np.prod(node.shape)) for node in graph.nodes) > 1000:
            continue
        if judge(graph, values, native=False).problems:
            return
    pytest.fail(f"{name}: 600 programs found nothing")


# ---- a back end -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_back_end_is_a_table(tmp_path: Path) -> None:
    """A training step, printed as C by a page of code, gives the bits of the simulated machine."""
    model, rng = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double(), np.random.default_rng(0)
    opt = optim.Adam(model.parameters())

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    x, y = tg.tensor(rng.normal(size=(7, 3))), tg.tensor(np.arange(7) % 4)
    compiled = step.entry((x, y), {}).compiled
    values = [np.array(view) for view in compiled.inputs]
    expanded = expand(schedule(compiled.stages.program, 8), 1)
    source, library = tmp_path / "step.c", tmp_path / "step.so"
    source.write_text(print_c(expanded))
    flags = ["-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, str(source), "-o", str(library), "-lm"], check=True)
    planned, buffers = expanded.schedule, expanded.schedule.program
    arena = planned.arena()
    for buffer, value in zip(buffers.inputs, values, strict=True):
        arena.view(planned.at(buffer))[...] = value
    assert ctypes.CDLL(str(library)).run(ctypes.c_void_p(arena.address)) == 0
    outputs, updates = simulate(expanded, values)
    for buffer, wanted in zip((*buffers.outputs, *(old for old, _ in buffers.updates)), outputs + updates, strict=True):
        np.testing.assert_array_equal(arena.view(planned.at(buffer)), wanted)
