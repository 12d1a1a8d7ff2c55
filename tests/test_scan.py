"""tg.scan: what a loop in Python computes, to second order, as one node."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tinygrad_nn.adjoint import SCAN
from tinygrad_nn.errors import GraphError
from tinygrad_nn.executor import run
from tinygrad_nn.graph.graph import Graph, Node, reachable
from tinygrad_nn.ops.scan import Cotangents, _program
from tinygrad_nn.support.pytree import flatten, mapped

LENGTHS = (0, 1, 2, 7)


def numbers(*shape: int, seed: int = 0) -> tg.Tensor:
    value = np.random.default_rng((seed, *shape)).normal(size=shape) * 0.5
    return tg.tensor(value, dtype=tg.float64).requires_grad_()


def unrolled(fn: Any, init: Any, xs: Any, reverse: bool = False) -> tuple[Any, Any]:
    """The same in Python, for at least one step."""
    length = flatten(xs)[0][0].shape[0]
    carry, ys = init, [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        carry, ys[t] = fn(carry, mapped(lambda x, t=t: x[t], xs))
    return carry, mapped(lambda *parts: tg.stack(parts), *ys)


def weighed(results: Any) -> tg.Tensor:
    """A number that depends on every element of every result in its own way."""
    total = tg.tensor(0.0, dtype=tg.float64)
    for k, leaf in enumerate(flatten(results)[0]):
        weight = tg.tensor(np.random.default_rng(k).normal(size=leaf.shape), dtype=tg.float64)
        total = total + (weight * leaf).sum() + (leaf * leaf * leaf).sum()
    return total


def agree(left: Sequence[Any], right: Sequence[Any]) -> None:
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)


def same_to_second_order(by_scan: Any, by_loop: Any, leaves: Sequence[tg.Tensor]) -> None:
    agree(flatten(by_scan)[0], flatten(by_loop)[0])
    first = [tg.autograd.grad(weighed(r), leaves, create_graph=True) for r in (by_scan, by_loop)]
    agree(first[0], first[1])  # type: ignore[arg-type]
    agree(*(tg.autograd.grad(weighed(list(g)), leaves, retain_graph=True) for g in first))  # type: ignore[arg-type]


def scans(result: tg.Tensor) -> list[Node]:
    return [node for node in reachable([result.node]) if node.op is SCAN]


# ---- values and gradients


class Pair(NamedTuple):
    h: Any
    c: Any


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", LENGTHS[1:])
def test_a_cell_with_outside_parameters(length: int, reverse: bool) -> None:
    w, b, h, x = numbers(3, 3), numbers(3), numbers(2, 3), numbers(length, 2, 3)

    def step(h: Any, x: Any) -> Any:
        new = (h @ w + x + b).tanh()
        return new, (new * new).sum(-1)

    same_to_second_order(tg.scan(step, h, x, reverse=reverse), unrolled(step, h, x, reverse), (w, b, h, x))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", LENGTHS[1:])
def test_structures_and_several_carries(length: int, reverse: bool) -> None:
    w, h, c, x, scale = numbers(3), numbers(3), numbers(2, 2), numbers(length, 3), numbers(length)

    def step(state: Any, x: Any) -> Any:
        h = (state.h * w + x["in"]).sin()
        c = state.c * x["more"][0] + h.sum()
        return Pair(h, c), {"both": [h * c.sum(), (c,)], "x": x["in"]}

    args = (step, Pair(h, c), {"in": x, "more": (scale,)})
    by_scan = tg.scan(*args, reverse=reverse)
    assert isinstance(by_scan[0], Pair)
    assert list(by_scan[1]) == ["both", "x"]
    same_to_second_order(by_scan, unrolled(*args, reverse), (w, h, c, x, scale))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_gradcheck(length: int, reverse: bool) -> None:
    def f(w: Any, h: Any, x: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            new = (w * h + x).tanh()
            return new, new * x

        return tg.scan(step, h, x, reverse=reverse)

    if length == 0:  # ys are empty and do not depend on anything
        assert tg.testing.gradcheck(lambda h: f(numbers(2), h, tg.zeros(0, 2, dtype=tg.float64))[0], (numbers(2),))
    else:
        assert tg.testing.gradcheck(f, (numbers(2), numbers(2, seed=1), numbers(length, 2)), order=2)


@pytest.mark.parametrize("reverse", [False, True])
def test_no_steps(reverse: bool) -> None:
    w, h, x = numbers(3), numbers(3), tg.zeros(0, 3, dtype=tg.float64, requires_grad=True)
    carry, ys = tg.scan(lambda h, x: (h * w + x, {"y": h.sum(), "z": h.unsqueeze(0)}), h, x, reverse=reverse)
    assert carry.tolist() == h.tolist()
    assert (ys["y"].shape, ys["z"].shape) == ((0,), (0, 1, 3))
    (carry.sum() + ys["y"].sum() + ys["z"].sum()).backward()
    assert h.grad is not None
    assert h.grad.tolist() == [1.0, 1.0, 1.0]
    assert [None if p.grad is None else p.grad.tolist() for p in (w, x)] == [[0.0, 0.0, 0.0], []]


def test_no_xs_and_no_ys() -> None:
    c, ys = tg.scan(lambda c, x: (c * 2, x), tg.tensor(1.0), length=5)
    assert (c.item(), ys) == (32.0, None)
    assert tg.scan(lambda c, x: (c, c), 1.0, length=2)[1].tolist() == [1.0, 1.0]
    assert tg.scan(lambda c, x: (c, tg.ones(2)), (), length=3)[1].shape == (3, 2)
    assert tg.scan(lambda c, x: (c, x * 2), (), tg.tensor([1.0, 2.0]))[1].tolist() == [2.0, 4.0]


def test_integers_may_be_read() -> None:
    table, h = numbers(4, 2), numbers(2)
    index = tg.tensor([3, 0, 3])

    def step(h: Any, k: Any) -> Any:
        return (h * table.index_select(0, k.reshape(1))[0]).sin(), h

    same_to_second_order(tg.scan(step, h, index), unrolled(step, h, index), (table, h))


def test_one_dtype_for_the_gradients_of_several() -> None:
    x = numbers(3)
    w = tg.tensor([1.5]).requires_grad_()
    c, _ = tg.scan(lambda c, x: (c * w.double() + x, None), tg.zeros(1, dtype=tg.float64), x)
    c.sum().backward()
    assert w.grad is not None
    assert w.grad.dtype == tg.float32
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [2.25, 1.5, 1.0])


def test_sums_are_kept_in_the_wider_dtype() -> None:
    w = tg.tensor(1.0, dtype=tg.float64, requires_grad=True)
    c, _ = tg.scan(lambda c, x: (c + w.float() * x, None), tg.tensor(0.0), tg.tensor([1e8, 1.0, -1e8]))
    c.backward()
    assert w.grad is not None
    assert (w.grad.item(), w.grad.dtype) == (1.0, tg.float64)


def test_where_no_gradient_flows() -> None:
    w, h, x = numbers(3), numbers(3), numbers(4, 3).detach()

    def step(h: Any, x: Any) -> Any:
        with tg.no_grad():
            scale = (h * w).exp()
        return (h * w + x).sin() * scale, (h * h.detach()).masked_fill(h > 0, 0.5)

    same_to_second_order(tg.scan(step, h, x), unrolled(step, h, x), (w, h))


def test_what_is_computed_outside_gets_its_gradient() -> None:
    w, h, x = numbers(3), numbers(3), numbers(4, 3)
    scale, start, rows = (w * w).sin(), h.exp(), x * w

    def step(c: Any, x: Any) -> Any:
        return (c * scale + x * start).tanh(), c * scale

    same_to_second_order(tg.scan(step, start, rows), unrolled(step, start, rows), (w, h, x))


def test_a_module_in_the_step() -> None:
    cell, x = tg.nn.LSTMCell(3, 4, dtype=tg.float64), numbers(5, 2, 3)
    zero = tg.zeros(2, 4, dtype=tg.float64)

    def step(state: Any, x: Any) -> Any:
        state = cell(x, state)
        return state, state[0]

    leaves = [*cell.parameters(), x]
    same_to_second_order(tg.scan(step, (zero, zero), x), unrolled(step, (zero, zero), x), leaves)


def test_a_leaf_written_before_the_walk_is_refused() -> None:
    w, x = numbers(2), numbers(3, 2)
    loss = tg.scan(lambda c, x: (c * w + x, None), x[0], x)[0].sum()
    with tg.no_grad():
        w.add_(1)
    with pytest.raises(GraphError, match="since written in place"):
        loss.backward()


def test_forward_and_second_derivatives() -> None:
    def power(c: Any) -> Any:
        return tg.scan(lambda c, x: (c * c * x, None), c, tg.ones(2))[0]

    assert tg.hessian(power)(tg.tensor(2.0)).item() == 48.0
    assert [v.item() for v in tg.jvp(power, (tg.tensor(2.0),), (tg.tensor(1.0),))] == [16.0, 32.0]
    assert tg.grad(tg.grad(tg.grad(power)))(tg.tensor(2.0)).item() == 48.0


def test_backward_twice_and_freed() -> None:
    w, x = numbers(2), numbers(3, 2)
    out = tg.scan(lambda c, x: (c * w + x, None), x[0], x)[0].sum()
    out.backward(retain_graph=True)
    assert w.grad is not None
    once = w.grad.numpy().copy()
    out.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * once)
    with pytest.raises(GraphError, match="second walk"):
        out.backward()


def test_a_scan_in_a_scan() -> None:
    w, h, x = numbers(2), numbers(2), numbers(3, 4, 2)

    def outer(by: Callable[..., Any]) -> Any:
        def step(h: Any, rows: Any) -> Any:
            inner = lambda c, x: ((c * w + x * h).tanh(), c.sum())  # noqa: E731
            last, sums = by(inner, h, rows)
            return last, sums

        return by(step, h, x)

    same_to_second_order(outer(tg.scan), outer(unrolled), (w, h, x))


def test_a_gradient_in_the_step() -> None:
    target, start, rate = numbers(3), numbers(3), numbers(4)

    def step(w: Any, rate: Any) -> Any:
        g = tg.grad(lambda w: ((w - target) ** 2 * w).sum())(w)
        return w - rate * 0.1 * g, g.sum()

    same_to_second_order(tg.scan(step, start, rate), unrolled(step, start, rate), (target, start, rate))


def test_checkpoint_in_the_step() -> None:
    w, h, x = numbers(3, 3), numbers(3), numbers(4, 3)

    def step(h: Any, x: Any) -> Any:
        return tg.checkpoint(lambda h, x: (h @ w + x).tanh(), h, x), None

    by_loop = h
    for t in range(4):
        by_loop, _ = step(by_loop, x[t])
    same_to_second_order(tg.scan(step, h, x)[0], by_loop, (w, h, x))
    assert tg.testing.gradcheck(lambda x: tg.checkpoint(lambda x: tg.scan(step, h, x)[0], x), (x,), order=2)


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_as_torch_trains_an_rnn_cell(dtype: Any) -> None:
    torch.manual_seed(0)
    kind = torch.float32 if dtype == tg.float32 else torch.float64
    theirs = torch.nn.RNN(3, 5, dtype=kind)
    mine = {name: tg.tensor(p.detach().numpy()).requires_grad_() for name, p in theirs.named_parameters()}
    x = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(dtype)

    def step(h: Any, x: Any) -> Any:
        h = (x + h @ mine["weight_hh_l0"].T + mine["bias_hh_l0"]).tanh()
        return h, h

    inputs = tg.tensor(x) @ mine["weight_ih_l0"].T + mine["bias_ih_l0"]
    last, outputs = tg.scan(step, tg.zeros(4, 5, dtype=dtype), inputs)
    out, hidden = theirs(torch.tensor(x))
    (outputs.square().sum() + last.sum()).backward()
    (out.square().sum() + hidden.sum()).backward()
    tolerance = 1e-5 if dtype == tg.float32 else 1e-12
    np.testing.assert_allclose(outputs.detach().numpy(), out.detach().numpy(), rtol=tolerance, atol=tolerance)
    for name, p in theirs.named_parameters():
        grad = mine[name].grad
        assert grad is not None
        np.testing.assert_allclose(grad.numpy(), p.grad.numpy(), rtol=tolerance, atol=10 * tolerance, err_msg=name)


# ---- one node


def test_one_node_whatever_the_length() -> None:
    counts = []
    for length in (2, 200):
        w, x = numbers(3), numbers(length, 3)
        calls: list[int] = []
        last, _ = tg.scan(lambda c, x: (calls.append(1) or (c * w + x).tanh(), None), w * 0, x)  # noqa: B023
        (g,) = tg.autograd.grad(last.sum(), w, create_graph=True)
        assert g is not None
        assert len(calls) == 1
        assert (len(scans(last)), len(scans(g))) == (1, 2)
        counts.append(len(reachable([g.node])))
    assert counts[0] == counts[1]


def test_the_node_is_a_graph_that_runs_and_prints() -> None:
    w, x = numbers(2), numbers(3, 2)
    last, ys = tg.scan(lambda c, x: (c * w + x, c.sum()), x[0], x)
    graph = Graph.of([last.node, ys.node], [w.node, x.node]).verify()
    agree([tg.tensor(value) for value in run(graph)[0]], [last, ys])
    text = str(graph)
    assert text.count("scan(") == 1
    assert "body={%0 = input" in text
    scans(last)[0].attrs["body"].verify()


def test_what_is_the_same_in_every_step_is_computed_outside() -> None:
    u, v, h, x = numbers(3, 2), numbers(2, 3), numbers(2, 3), numbers(4, 2, 3)

    def step(h: Any, x: Any) -> Any:
        weight = (u @ v).sin() * 2.0  # a gradient by way of it, and by way of u itself
        new = (h @ weight.T + x * u.sum()).tanh()
        return new, new * (u * u).sum()

    by_scan = tg.scan(step, h, x)
    same_to_second_order(by_scan, unrolled(step, h, x), (u, v, h, x))
    (node,) = scans(by_scan[0])
    inside = [one.op.name for one in node.attrs["body"].nodes]
    assert "sin" not in inside
    assert inside.count("matmul") == 1
    assert "sum" not in inside

    def constant(c: Any, x: Any) -> Any:
        return c, (u.exp(), x)

    same_to_second_order(tg.scan(constant, h, x), unrolled(constant, h, x), (u, h, x))


def test_what_never_changes_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    w = tg.ones(2, 2)
    last = tg.scan(lambda c, x: (c @ w.T.exp() + x, None), tg.zeros(2), tg.ones(5, 2).requires_grad_())[0]
    np.testing.assert_allclose(last.detach().numpy(), sum(np.full(2, (2 * np.e) ** k) for k in range(5)), rtol=1e-5)
    (node,) = scans(last)
    _, once, each, _ = _program(node.attrs["body"], 2)
    assert [len(once), len(each)] == [0, 4]  # the exponential is outside


def test_the_rule_knows_its_cotangent() -> None:
    """It makes all cotangents at once, of the one it is given."""
    w, x = numbers(2), numbers(3, 2)
    (node,) = scans(tg.scan(lambda c, x: (c * w + x, None), x[0], x)[0])
    out, operands = tg.Tensor.handle(node), [tg.Tensor.handle(operand) for operand in node.inputs]
    seeds = [Cotangents({0: tg.ones(3, 2, dtype=tg.float64) * k}) for k in (1.0, 2.0)]
    wanted = tuple(range(len(operands)))
    one, two = (node.op.vjp(g, out, *operands, wanted=wanted, **node.attrs) for g in seeds)
    assert one.keys() == two.keys() == set(wanted)
    for argnum in wanted:
        assert one[argnum].tolist() != two[argnum].tolist()
        agree([one[argnum] * 2], [two[argnum]])


def test_nothing_is_kept_after_the_walk() -> None:
    w, x = numbers(3), numbers(4, 3)
    last, _ = tg.scan(lambda c, x: (c * w + x, None), w, x)
    node = weakref.ref(scans(last)[0])
    last.sum().backward()
    del last
    gc.collect()
    assert node() is None


def test_under_jit() -> None:
    w, h, x = numbers(3, 3), numbers(3), numbers(5, 3)

    def value(w: Any, h: Any, x: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = (h @ w + x).tanh()
            return h, h.sum()

        last, ys = tg.scan(step, h, x, reverse=True)
        return (last * last).sum() + (ys * ys).sum()

    def rows(h: Any, x: Any) -> Any:
        return tg.scan(lambda h, x: (h + x, {"y": h * x}), h, x, reverse=True)

    agree(flatten(rows(h, x))[0], flatten(tg.jit(rows)(h, x))[0])
    both = tg.value_and_grad(value, (0, 1, 2))
    eager, compiled = both(w, h, x), tg.jit(both)(w, h, x)
    agree(flatten(eager)[0], flatten(compiled)[0])
    empty = tg.jit(lambda h, x: tg.scan(lambda h, x: (h + x, h * x), h, x))(tg.ones(2), tg.ones(0, 2))
    assert (empty[0].tolist(), empty[1].shape) == ([1.0, 1.0], (0, 2))


def test_an_anomaly_names_the_step() -> None:
    with pytest.raises(GraphError, match=r"^\[log\] got inf .* made at time step 2 of scan, "), tg.detect_anomaly():
        tg.scan(lambda c, x: (c + x.log(), None), tg.tensor(0.0), tg.tensor([1.0, 2.0, 0.0, 4.0]))
