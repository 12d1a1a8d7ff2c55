"""Every op of the table, compiled: NumPy executor, interpreter and machine code agree, with no code per op.

What "agree" means for which op stands in `tinygrad_nn.testing.agreement`, once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler import interp
from tinygrad_nn.compiler.run.runtime import Compiled
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.errors import IndexOutOfRange
from tinygrad_nn.graph.graph import Case, Graph, Op
from tinygrad_nn.ops import TABLE
from tinygrad_nn.ops.rules import DTYPES, INT64, SELECT_LIMIT
from tinygrad_nn.support.pytree import flatten
from tinygrad_nn.testing.agreement import check
from tinygrad_nn.testing.samples import dtypes_of, operands
from tinygrad_nn.testing.strategies import LAYOUTS, laid_out

OPS = [op for op in TABLE.values() if op.kind != "source"]
ELEMENTWISE = [op for op in OPS if op.kind == "elementwise"]
LENGTHS = [*range(1, 18), 31, 32, 33]
PAIRS = [
    ((2, 3), ()),
    ((), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (2, 3)),
    ((2, 1), (1, 3)),
    ((0, 3), (1, 3)),
    ((5, 1, 17), (3, 1)),
]
SPECIAL = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    0.1,
    -7.3,
    1e-30,
    -1e30,
    3e9,
    1e-310,
    -1e-45,
    1e19,
]


def named(ops: list[Op]) -> Any:
    return pytest.mark.parametrize("op", ops, ids=lambda op: op.name)


def traced(function: Any, *values: Any) -> Graph:
    leaves, tree = flatten((values, {}))
    return trace(function, tree, leaves, [True] * len(leaves)).graph


def applied(op: Op, values: Any, attrs: Any) -> Graph:
    return traced(lambda first, *others: first.apply(op, *others, **attrs), *values)


def agree(op: Op, values: Any, attrs: Any, interpreted: bool = True) -> None:
    outcome = check(applied(op, values, attrs), values, interpreted)
    assert not outcome.problems, "\n".join(outcome.problems)


def all_dtypes(op: Op, case: Case) -> Iterator[list[Any]]:
    """The dtypes a case's operands may have: all that the op takes, an index being int32 or int64."""
    for dtype, index in itertools.product(DTYPES, DTYPES[1:3]):
        found = dtypes_of(op, case, dtype, index)
        if found and (index == INT64 or op.kind in ("index", "composite")):
            yield found


def drawn(op: Op, case: Case, dtypes: list[Any], shapes: Any = None, seed: int = 0) -> list[Any]:
    values = operands(case, np.random.default_rng(seed), shapes)
    return [
        np.asarray(np.floor(v * 4) if d.kind == "i" and v.dtype.kind == "f" else v).astype(d)
        for v, d in zip(values, dtypes, strict=True)
    ]


@named(OPS)
def test_every_case_in_every_dtype(op: Op) -> None:
    count = 0
    for case in op.domain:
        for dtypes in all_dtypes(op, case):
            count += 1
            agree(op, drawn(op, case, dtypes), case.attrs)
    assert count


@named(ELEMENTWISE)
def test_every_remainder_of_the_lanes(op: Op) -> None:
    case = op.domain[0]
    floats = list(all_dtypes(op, case))
    for dtypes in floats[-1:] + floats[-2:-1]:
        for n in LENGTHS:
            agree(op, drawn(op, case, dtypes, ((n,),) * len(case.args)), case.attrs, n in (1, 5, 9, 17))


@named([op for op in OPS if op.kind == "reduce" or op.kind == "control"])
@pytest.mark.parametrize("axis", [0, 1])
def test_every_remainder_along_and_across(op: Op, axis: int) -> None:
    case = op.domain[0]
    attrs = dict(case.attrs)
    attrs["axis"] = axis if op.kind == "control" else (axis,)
    rng = np.random.default_rng(0)
    for n, dtype in itertools.product([*LENGTHS, 127, 128, 256, 257, 300], (np.float32, np.float64)):
        for shape in ((3, n), (n, 3)):
            agree(op, [rng.normal(size=shape).astype(dtype) for _ in case.args], attrs, n in (5, 9))


@pytest.mark.parametrize(("tx", "ty"), [(False, False), (False, True), (True, False), (True, True)])
def test_every_remainder_of_a_product_of_matrices(tx: bool, ty: bool) -> None:
    rng = np.random.default_rng(0)
    for n, dtype in itertools.product(LENGTHS, (np.float32, np.float64, np.int32)):
        for rows, inner, columns in ((3, n, 2), (n, 3, 2), (2, 3, n), (n, 5, n)):
            x = (rng.normal(size=(inner, rows) if tx else (rows, inner)) * 4).astype(dtype)
            y = (rng.normal(size=(columns, inner) if ty else (inner, columns)) * 4).astype(dtype)
            agree(TABLE["matmul"], [x, y], {"tx": tx, "ty": ty}, n == 5)


@pytest.mark.parametrize(("tx", "ty"), [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_products_of_matrices(tx: bool, ty: bool, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 160) if tx else (160, 150)).astype(dtype)
    y = rng.normal(size=(170, 150) if ty else (150, 170)).astype(dtype)
    agree(TABLE["matmul"], [x, y], {"tx": tx, "ty": ty}, False)
    graph = applied(TABLE["matmul"], [x, y], {"tx": tx, "ty": ty})
    stages = Compiled(graph).stages
    if "Gemm" in {type(one).__name__ for kernel in stages.program.kernels for one in kernel.body}:
        (found,), _ = interp.run(stages.program, [x, y])
        np.testing.assert_allclose(found, stages.graph.outputs[0].op.numpy(x, y, tx=tx, ty=ty), rtol=1e-3, atol=1e-3)


@named([op for op in ELEMENTWISE if len(op.domain[0].args) == 2])
def test_broadcasting(op: Op) -> None:
    case = op.domain[0]
    for pair, dtypes in itertools.product(PAIRS, list(all_dtypes(op, case))[-2:]):
        agree(op, drawn(op, case, dtypes, pair), case.attrs)


@named(OPS)
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_operands_in_any_layout(op: Op, layout: str) -> None:
    for case in op.domain:
        for dtypes in list(all_dtypes(op, case))[-1:]:
            values = [np.asarray(laid_out(v, layout)) for v in drawn(op, case, dtypes)]
            agree(op, values, case.attrs)


def special(dtype: Any) -> Any:
    if dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.array(SPECIAL, dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    limits = np.iinfo(dtype)
    return np.array([0, 1, -1, 2, -2, 3, -7, 31, 32, 63, 64, -64, limits.max, limits.min, limits.min + 1], dtype)


@named(ELEMENTWISE)
def test_special_numbers(op: Op) -> None:
    """NaN, infinities, zeros, denormals, extreme integers; division by 0, shifts past the width."""
    rng = np.random.default_rng(0)
    varied = [case for case in (op.vary(rng, ()) for _ in range(32) if op.vary) if case]
    for case in {repr(case.attrs): case for case in (*op.domain, *varied)}.values():
        for dtypes in all_dtypes(op, case):
            pools = [special(d) for d in dtypes]
            if op.limit < np.inf:
                pools = [pool[~(np.abs(pool) >= op.limit)] for pool in pools]
            rows = list(itertools.product(*pools))[:: 1 if len(pools) < 3 else 7]
            values = [np.array([row[k] for row in rows], d) for k, d in enumerate(dtypes)]
            agree(op, values, case.attrs)


@named([op for op in OPS if op.kind == "reduce"])
def test_special_numbers_in_a_reduction(op: Op) -> None:
    for dtype in [dtype for dtype in DTYPES if dtypes_of(op, op.domain[0], dtype)]:
        attrs = {**op.domain[0].attrs, "axis": (0,)}
        pool = special(dtype)
        for rest in (
            [],
            [1.0],
            [np.nan, 2.0],
            [0.0, -0.0],
            [-0.0, -0.0, -0.0],
            [np.inf, -np.inf, np.nan],
            [-np.inf] * 9,
        ):
            if rest and dtype.kind != "f":
                continue
            line = np.array(rest, dtype) if rest else np.resize(pool, 33)
            agree(op, [line], {**attrs, "keepdims": False})
            agree(op, [np.stack([line] * 9, 1)], {**attrs, "keepdims": True})


INDEXED: dict[str, Any] = {
    "take": lambda n: (np.arange(3.0 * n).reshape(n, 3), [2, 2], {"axis": 0}),
    "index_add": lambda n: (np.ones((2, 2, 3)), [2, 2], {"axis": 0, "size": n}),
    "gather": lambda n: (np.arange(3.0 * n).reshape(n, 3), [2, 3], {"axis": 0}),
    "scatter_add": lambda n: (np.ones((2, 3)), [2, 3], {"axis": 0, "shape": (n, 3)}),
    "scatter": lambda n: (np.ones((n, 3)), [2, 3], {"axis": 0}),
}


@pytest.mark.parametrize("name", INDEXED)
@pytest.mark.parametrize("size", [3, SELECT_LIMIT, SELECT_LIMIT + 1, 40])
@pytest.mark.parametrize("bad", [-1, 0, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_an_index_out_of_range(name: str, size: int, bad: int, dtype: Any) -> None:
    """Each position in turn; `bad` 0 stands for the length itself."""
    values, index_shape, attrs = INDEXED[name](size)
    index = np.arange(int(np.prod(index_shape))).reshape(index_shape).astype(dtype) % size
    wrong = bad or size
    more = [np.zeros(index_shape)] if name == "scatter" else []
    compiled = Compiled(applied(TABLE[name], [values, index, *more], attrs))
    expected = compiled.run([values, index, *more])[0][0]
    for position in np.ndindex(*index_shape):
        broken = index.copy()
        broken[position] = wrong
        words = rf"\[{name}\] got index {wrong} in row {position[0]}, column {position[1]};.* 0 <= index < {size}"
        with pytest.raises(IndexOutOfRange, match=words):
            compiled.run([values, broken, *more])
        with pytest.raises(IndexOutOfRange, match=words):
            interp.run(compiled.stages.program, [values, broken, *more])
    np.testing.assert_array_equal(compiled.run([values, index, *more])[0][0], expected)


@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("size", [5, 50])
def test_an_index_out_of_range_leaves_the_state(count: int, size: int) -> None:
    state, table = tg.zeros(count), tg.arange(float(size))

    @tg.jit
    def step(index: Any) -> Any:
        state.add_(1.0)
        state.add_(table.index_select(0, index))
        return state * 2

    index = np.arange(count) % size
    step(index)
    before = state.numpy().copy()
    broken = index.copy()
    broken[-1] = size
    with pytest.raises(IndexOutOfRange, match=rf"index {size} in row {count - 1}"):
        step(broken)
    np.testing.assert_array_equal(state.numpy(), before)
    step(index)
    np.testing.assert_array_equal(state.numpy(), before + 1 + index)


def test_a_wrong_scalar_form_is_found() -> None:
    """The comparison can fail: a spoiled op, by as little as a few ULP."""
    exp = TABLE["exp"]
    assert exp.emit is not None
    wrong = dataclasses.replace(exp, emit=lambda x: exp.emit(x) * (1 + 1e-14))
    values = [np.linspace(-1, 1, 9)]
    assert check(applied(wrong, values, {}), values).problems
    assert not check(applied(exp, values, {}), values).problems
    swapped = dataclasses.replace(TABLE["sub"], emit=lambda x, y: y - x)
    values = [np.arange(3.0), np.ones(3)]
    assert check(applied(swapped, values, {}), values).problems


def test_a_fold_in_a_loop_that_is_written_out_begins_anew() -> None:
    def function(x: tg.Tensor) -> tg.Tensor:
        return x.argmin(2, keepdim=True).amax(0).cumsum(0)

    x = np.random.default_rng(0).integers(-5, 5, (3, 8, 15))
    assert tg.jit(function)(x).tolist() == function(tg.tensor(x)).tolist()


def test_positions_read_through_a_split_axis() -> None:
    def function(x: tg.Tensor, index: tg.Tensor) -> tg.Tensor:
        return x.reshape(12, 2).index_select(0, index)

    x, index = np.arange(24.0), np.array([3, 11, 0])
    assert tg.jit(function)(x, index).tolist() == function(tg.tensor(x), tg.tensor(index)).tolist()
