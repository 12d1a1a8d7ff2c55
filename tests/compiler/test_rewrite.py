"""Passes over graphs: what each does, and what none may do: change a NaN, an infinity or the sign of a zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler.passes.algebra import (
    common_subexpressions,
    fold_constants,
    narrow_constants,
    rewrite,
    strength_reduction,
    triangle,
)
from tinygrad_nn.compiler.passes.movement import unit_steps
from tinygrad_nn.compiler.run.runtime import Compiled
from tinygrad_nn.compiler.trace import trace
from tinygrad_nn.executor import run
from tinygrad_nn.graph.graph import NO_ATTRS, Graph, Node
from tinygrad_nn.ops.movement import PAD
from tinygrad_nn.ops.source import CONSTANT
from tinygrad_nn.support.pytree import flatten
from tinygrad_nn.testing.agreement import check, same_bits

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.1, 3.0, 1e-310, -5e-324, 1e300])


def traced(function: Any, *values: Any) -> Graph:
    leaves, tree = flatten((values, {}))
    return trace(function, tree, leaves, [True] * len(leaves)).graph


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if node.op.kind != "source"]


FORBIDDEN: dict[str, Callable[[Any], Any]] = {
    "x * 0": lambda x: x * 0.0,
    "x * -0": lambda x: x * -0.0,
    "x - x": lambda x: x - x,
    "x / x": lambda x: x / x,
    "x + 0": lambda x: x + 0.0,
    "0 + x": lambda x: 0.0 + x,
    "x - -0": lambda x: x - -0.0,
    "0 - x": lambda x: 0.0 - x,
    "0 / x": lambda x: 0.0 / x,
    "x / 3": lambda x: x / 3.0,
    "x / 10": lambda x: x / 10.0,
    "x * 3 / 3": lambda x: x * 3.0 / 3.0,
    "(x + 1) - 1": lambda x: (x + 1.0) - 1.0,
    "(x * 1e30) * 1e-30": lambda x: (x * 1e30) * 1e-30,
    "sqrt(x) ** 2": lambda x: x.sqrt() * x.sqrt(),
    "x != x": lambda x: x.ne(x),
    "x == x": lambda x: x.eq(x),
    "maximum(x, 0) + minimum(x, 0)": lambda x: x.maximum(x.new_zeros(x.shape)) + x.minimum(x.new_zeros(x.shape)),
    "where(x == 0, 0, x)": lambda x: tg.where(x == 0, 0.0, x),
    "abs(-x)": lambda x: (-x).abs(),
    "x ** 2": lambda x: x**2,
    "sum of one": lambda x: x.reshape(12, 1).sum(1),
}


@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_rewrite_changes_special_numbers(name: str, dtype: Any) -> None:
    with np.errstate(all="ignore"):
        x = SPECIAL.astype(dtype)
    graph = traced(FORBIDDEN[name], x)
    (wanted,), _ = run(graph, [x])
    (rewritten,), _ = run(rewrite(graph), [x])
    (native,), _ = Compiled(graph).run([x])
    assert same_bits(np.asarray(rewritten), np.asarray(wanted))
    if "imum" not in name:  # which of two zeros is the larger is open
        assert same_bits(native, np.asarray(wanted))


@pytest.mark.parametrize("name", ["x * 0", "x - x", "x / x", "x + 0", "x / 3"])
def test_the_operation_is_still_there(name: str) -> None:
    graph = traced(FORBIDDEN[name], SPECIAL)
    assert names(rewrite(graph)) == names(graph)


def test_maximum_of_a_value_with_itself_stays() -> None:
    graph = traced(lambda x: x.maximum(x), SPECIAL)
    assert "maximum" in names(rewrite(graph))
    (found,), _ = Compiled(graph).run([SPECIAL])
    assert same_bits(found, SPECIAL)


IDENTITIES: dict[str, Callable[[Any], Any]] = {
    "x * 1": lambda x: x * 1.0,
    "1 * x": lambda x: 1.0 * x,
    "x / 1": lambda x: x / 1.0,
    "x - 0": lambda x: x - 0.0,
    "-(-x)": lambda x: x.neg().neg(),
    "same shape": lambda x: x.reshape(3, 4).reshape(12),
    "same order": lambda x: x.reshape(3, 4).permute(1, 0).permute(1, 0).reshape(12),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_go_and_change_nothing(name: str) -> None:
    graph = traced(IDENTITIES[name], SPECIAL)
    small = rewrite(rewrite(graph))
    assert names(small) in ([], ["reshape"], ["reshape", "reshape"])
    (found,), _ = run(small, [SPECIAL])
    assert same_bits(np.asarray(found), SPECIAL)


def constant(value: Any) -> Node:
    array = np.asarray(value)
    return Node(CONSTANT, (), NO_ATTRS, array.shape, array.dtype, array)


def test_constants_are_worked_out() -> None:
    ops = tg.ops.TABLE
    a = constant(np.arange(3.0))
    b = Node(ops["exp"], (Node(ops["add"], (a, a), NO_ATTRS, (3,), a.dtype, None),), NO_ATTRS, (3,), a.dtype, None)
    graph = fold_constants(Graph.of([b]))
    assert names(graph) == []
    np.testing.assert_array_equal(graph.outputs[0].value, np.exp(2 * np.arange(3.0)))


def test_large_constants_are_left() -> None:
    ops = tg.ops.TABLE
    a = constant(np.zeros(70_000))
    graph = fold_constants(Graph.of([Node(ops["add"], (a, a), NO_ATTRS, a.shape, a.dtype, None)]))
    assert names(graph) == ["add"]


def test_equal_applications_are_one() -> None:
    graph = common_subexpressions(traced(lambda x: x.exp() + x.exp() * x.exp(), SPECIAL))
    assert names(graph).count("exp") == 1


def test_constants_of_different_signs_or_types_are_not_one() -> None:
    ops = tg.ops.TABLE
    x = constant(np.float64(0.0)), constant(np.float64(-0.0)), constant(np.int64(0)), constant(np.float64(0.0))
    graph = common_subexpressions(Graph.of([Node(ops["abs"], (one,), NO_ATTRS, (), one.dtype, None) for one in x]))
    assert len({id(node) for node in graph.outputs}) == 3


def test_squares_are_products() -> None:
    graph = traced(lambda x: x.pow(x.new_full(x.shape, 2.0)) + x.pow(x.new_full(x.shape, 3.0)), SPECIAL)
    found = names(strength_reduction(graph))
    assert names(graph).count("pow") == 2
    assert (found.count("mul"), found.count("pow")) == (1, 1)


@pytest.mark.parametrize("step", [1, 2, 3, -1, -2, -3])
def test_embeds_have_unit_steps(step: int) -> None:
    """The gradient of a slice with a step."""
    x = np.arange(24.0).reshape(2, 12)

    def gradient(x: Any) -> Any:
        y = x.flip(1) if step < 0 else x
        return tg.autograd.grad((y[:, :: abs(step)] * x[:, : -(-12 // abs(step))]).sum(), x)

    graph = traced(gradient, tg.tensor(x).requires_grad_())
    again = unit_steps(graph)
    pads = [node for node in again.nodes if node.op is PAD]
    assert pads or abs(step) == 1
    assert all(abs(one[1]) == 1 or one[2] <= 1 for node in pads for one in node.attrs["bounds"])
    (wanted,), _ = run(graph, [x])
    (found,), _ = run(again, [x])
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert not check(graph, [x]).problems


def test_rewriting_keeps_inputs_outputs_and_updates() -> None:
    a, b = tg.zeros(3), tg.ones(3)

    def step(x: Any) -> Any:
        a.add_(x * 1.0)
        b.mul_(2.0)
        return x / 1.0

    x = np.arange(3, dtype=np.float32)
    graph = traced(step, x)
    again = rewrite(graph)
    assert again.inputs == graph.inputs
    assert [old for old, _ in again.updates] == [old for old, _ in graph.updates]
    assert len(again.outputs) == 1
    again.verify()


def shaped(x: Any, w: Any) -> Any:
    """A layer on three axes, and the product that its weights get as their gradient."""
    y = (x.reshape(10, 3) @ w).reshape(2, 5, 4)
    return y, (y * y).reshape(10, 4).T @ x.reshape(10, 3)


PIECES: dict[str, tuple[Any, list[tuple[int, ...]], list[str]]] = {
    "a part of a part": (lambda x: x[1:][::-2][1:, 1], [(9, 3)], ["slice", "reshape"]),
    "a part of one piece": (lambda x, y: tg.cat([x, y, x])[4:6], [(3, 2), (4, 2)], ["slice"]),
    "one piece": (lambda x, y: tg.cat([x, y, x], 1)[:, 3:7], [(2, 3), (2, 4)], []),
    "whole pieces": (lambda x, y: tg.cat([x, y, x])[3:], [(3, 2), (4, 2)], ["cat"]),
    "more than a piece": (lambda x, y: tg.cat([x, y])[2:5], [(3, 2), (4, 2)], ["cat", "slice"]),
    "every second": (lambda x, y: tg.cat([x, y])[::2], [(3, 2), (4, 2)], ["cat", "slice"]),
    "merged rows": (shaped, [(2, 5, 3), (3, 4)], ["broadcast", "matmul", "mul", "matmul", "sum"]),
}


@pytest.mark.parametrize("name", PIECES)
def test_what_moves_is_read_where_it_is(name: str) -> None:
    function, shapes, wanted = PIECES[name]
    values = [np.random.default_rng(k).normal(size=shape) for k, shape in enumerate(shapes)]
    graph = traced(function, *values)
    rewritten = rewrite(graph).verify()
    assert names(rewritten) == wanted
    for found, expected in zip(run(rewritten, values)[0], run(graph, values)[0], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    check(graph, values)


@pytest.mark.parametrize("reverse", [False, True])
def test_short_scans_are_written_out(reverse: bool) -> None:
    """The cats are of all states, of the sums and of the cotangents that the weights get theirs from."""

    def loss(w: Any, x: Any) -> Any:
        last, ys = tg.scan(lambda h, x: ((h @ w + x).tanh(), h.sum()), x[0], x, reverse=reverse)
        return (last * last).sum() + ys.sum()

    def written(steps: int) -> list[str]:
        values = [np.random.default_rng(0).normal(size=shape) for shape in ((3, 3), (steps, 2, 3))]
        graph = traced(tg.value_and_grad(loss), *values)
        rewritten = rewrite(graph).verify()
        for found, expected in zip(run(rewritten, values)[0], run(graph, values)[0], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
        return names(rewritten)

    assert [written(4).count(name) for name in ("scan", "column", "tanh", "cat")] == [0, 0, 4, 3]
    assert written(100).count("scan") == 2


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32])
def test_a_sum_of_products_wraps_as_the_products_do(dtype: Any) -> None:
    values = [np.array([[2, -1, 3]], dtype), np.array([[2016247320], [-1984574922], [690214415]], dtype)]
    graph = traced(lambda x, y: ((y @ x).sum(0), (y @ x).sum(), (y @ x) + x), *values)
    assert check(graph, values).problems == ()


def test_no_steps_and_no_elements() -> None:
    """Loops of length 0, inside of others and around them."""
    values = [np.ones((0, 1), np.float32), np.ones((0, 5), np.float32)]
    graph = traced(lambda x, y: ((y * y).T @ (x * x.sum()), y.T.reshape(5, 0) @ y), *values)
    assert check(graph, values).problems == ()


REPEATED: dict[str, tuple[Any, tuple[int, ...]]] = {
    "a broadcast": (np.broadcast_to(np.arange(12.0).reshape(3, 4), (6, 3, 4)), (3, 4)),
    "copies": (np.broadcast_to(np.arange(12.0).reshape(3, 1, 4), (3, 6, 4)).copy(), (3, 4)),
    "columns": (np.repeat(np.arange(30.0)[:, None], 4, 1), (30,)),
    "two axes": (np.broadcast_to(np.arange(4.0)[:, None], (6, 4, 5)).copy(), (4,)),
    "nothing": (np.arange(120.0).reshape(4, 30), (4, 30)),
    "one value everywhere": (np.ones((4, 30)), (4, 30)),
    "zeros of two signs": (np.repeat([[0.0], [1.0]], 60, 1) * np.where(np.arange(60) < 59, 1, -1), (2, 60)),
    "only ends are alike": (np.stack([np.zeros(60), np.ones(60), np.zeros(60)]), (3,)),
}


@pytest.mark.parametrize("name", REPEATED)
def test_constants_that_repeat_are_stored_once(name: str) -> None:
    array, shape = REPEATED[name]
    x = np.arange(float(array.size)).reshape(array.shape)
    graph = traced(lambda x: x + tg.tensor(array), x)
    narrowed = narrow_constants(graph)
    assert [node.shape for node in narrowed.nodes if node.op is CONSTANT] == [shape]
    (found,), _ = run(narrowed, [x])
    (native,), _ = Compiled(graph).run([x])
    assert same_bits(np.asarray(found), x + array)
    assert same_bits(np.asarray(native), x + array)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (17, 40), (2, 2)], ids=str)
def test_triangles_are_compared_and_not_stored(shape: tuple[int, int]) -> None:
    """Every diagonal, both triangles; and matrices that are none."""
    x = np.arange(float(np.prod(shape))).reshape(shape)
    for k in range(-shape[0] - 1, shape[1] + 2):
        for mask in (np.tri(*shape, k, dtype=bool), ~np.tri(*shape, k, dtype=bool)):
            node = Node(CONSTANT, (), NO_ATTRS, shape, mask.dtype, mask)
            found = triangle(node)
            row, column = np.indices(shape)
            if found is not None:
                assert ((found[0] * (row - column) >= found[1]) == mask).all()
            crossed = any(0 < n < shape[1] for n in mask.sum(1))
            assert (found is not None) == crossed
            compiled = Compiled(traced(lambda x, mask=mask: tg.where(tg.tensor(mask), x, -1.0), x))
            if crossed or mask.all() or not mask.any():
                assert not [one for one in compiled.stages.schedule.program.buffers if one.dtype.kind == "b"]
            (native,), _ = compiled.run([x])
            assert same_bits(np.asarray(native), np.where(mask, x, -1.0))
            for place in ((0, 0), (shape[0] - 1, 0), (0, shape[1] - 1), (shape[0] - 1, shape[1] - 1)):
                spoiled = mask.copy()
                spoiled[place] ^= True
                other = triangle(Node(CONSTANT, (), NO_ATTRS, shape, mask.dtype, spoiled))
                if other is not None:
                    assert ((other[0] * (row - column) >= other[1]) == spoiled).all()
