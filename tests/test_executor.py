"""The executor is the meaning of a graph: it gives what eager gave, for other inputs too, keeps no value longer than
needed, and refuses what does not fit.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import GraphError, IndexOutOfRange, ShapeError
from tinygrad_nn.executor import run
from tinygrad_nn.graph.graph import NO_ATTRS, Attrs, Graph, Node, Op
from tinygrad_nn.ops import TABLE
from tinygrad_nn.tensor.core import Core, bind, constant, tracing
from tinygrad_nn.testing.samples import operands

OPS = [op for op in TABLE.values() if op.kind != "source"]
FLOAT = np.dtype(np.float64)


def same(found: Any, expected: Any) -> None:
    """Equal in dtype, shape and every bit."""
    a, b = np.asarray(found), np.asarray(expected)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert a.tobytes() == b.tobytes()


def symbol(*shape: int, dtype: Any = FLOAT) -> Node:
    return Node(TABLE["input"], (), NO_ATTRS, shape, np.dtype(dtype), None)


def leaf(value: Any) -> tg.Tensor:
    return tg.tensor(np.asarray(value, np.float64)).requires_grad_()


# ---- every op


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_each_op_on_other_operands_than_it_was_recorded_with(op: Op) -> None:
    for case in op.domain:
        recorded, others = (operands(case, np.random.default_rng(seed)) for seed in (0, 1))
        inputs = [constant(np.asarray(value)) for value in recorded]
        out = Node(op, tuple(inputs), case.attrs, *typed(op, inputs, case.attrs), None)
        graph = Graph.of([out], inputs).verify()
        for values in (recorded, others):
            first, *rest = (tg.from_numpy(np.asarray(value)) for value in values)
            same(run(graph, values)[0][0], first.apply(op, *rest, **case.attrs).numpy())
        same(run(graph)[0][0], run(graph, recorded)[0][0])


def typed(op: Op, inputs: list[Node], attrs: Attrs) -> tuple[Any, Any]:
    shape = op.shape(*(node.shape for node in inputs), **attrs)
    return shape, op.dtype(*(node.dtype for node in inputs), **attrs)


@pytest.mark.parametrize("op", [op for op in OPS if op.differentiable], ids=lambda op: op.name)
def test_each_gradient_as_a_graph(op: Op) -> None:
    for case in op.domain:
        values = operands(case, np.random.default_rng(0))
        inputs = [leaf(v) if v.dtype.kind == "f" else tg.tensor(v) for v in values]
        wanted = [x for x in inputs if x.requires_grad]
        out = inputs[0].apply(op, *inputs[1:], **case.attrs)
        seed = tg.ones_like(out).requires_grad_()
        found = [g for g in tg.autograd.grad(out, wanted, seed, create_graph=True, allow_unused=True) if g is not None]
        graph = Graph.of([g.node for g in found], [x.node for x in wanted]).verify()
        again, _ = run(graph, [x.detach().numpy() for x in wanted])
        for value, g in zip(again, found, strict=True):
            same(value, g.detach().numpy())


class Scaled(tg.Function):
    """factor * x and x - y."""

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor, factor: float, y: tg.Tensor) -> Any:
        return x * factor, x - y

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor, h: tg.Tensor) -> Any:
        return g, None, h


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: Scaled.apply(x, 3.0, y),
        lambda x, y: tg.checkpoint(lambda x, y: (x.sin() * y + 1, (x + y).exp() * x), x, y),
        lambda x, y: tg.checkpoint(lambda a, b: Scaled.apply(a * b, 3.0, b)[1] * 2, x, y),
    ],
    ids=["Function", "checkpoint", "both"],
)
def test_ops_made_for_one_call_on_other_operands(function: Any) -> None:
    x, y = leaf([0.3, 1.2]), leaf([2.0, -1.0])
    outputs = function(x, y)
    nodes = [out.node for out in (outputs if isinstance(outputs, tuple) else (outputs,))]
    graph = Graph.of(nodes, [x.node, y.node]).verify()
    a, b = np.array([0.7, -0.4]), np.array([1.5, 0.1])
    expected = function(tg.tensor(a), tg.tensor(b))
    for found, out in zip(run(graph, [a, b])[0], expected if isinstance(expected, tuple) else (expected,), strict=True):
        same(found, out.numpy())


# ---- a training step


class Recorder:
    """Computes and keeps every application, with broadcasting as nodes of their own."""

    def lift(self, handle: Core) -> Node:
        return handle.node

    def bind(self, op: Op, nodes: tuple[Node, ...], attrs: Attrs) -> Node:
        if op.kind == "elementwise":
            shape = np.broadcast_shapes(*(node.shape for node in nodes))
            nodes = tuple(node if node.shape == shape else self.stretched(node, shape) for node in nodes)
        made = bind(op, nodes, attrs)
        return Node(op, nodes, attrs, made.shape, made.dtype, made.value, made.needs_grad)

    def stretched(self, node: Node, shape: tuple[int, ...]) -> Node:
        axes = tuple(range(len(shape) - len(node.shape)))
        return self.bind(TABLE["broadcast"], (node,), {"shape": shape, "axes": axes})

    def assign(self, handle: Core, node: Node) -> None:
        handle._point_at(node)


X = np.random.default_rng(0).normal(size=(3, 8, 5))
Y = np.random.default_rng(1).integers(0, 3, size=(3, 8))


def loss_of(w: tg.Tensor, b: tg.Tensor, v: tg.Tensor, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    """Cross entropy of a small network, and a penalty."""
    logits = (x @ w + b).tanh() @ v
    picked = logits.gather(1, y.unsqueeze(-1)) - logits.exp().sum(-1, keepdim=True).log()
    return -picked.mean() + 0.01 * (w * w).sum()


def train(parameters: list[tg.Tensor], x: tg.Tensor, y: tg.Tensor) -> tuple[tg.Tensor, list[tg.Tensor]]:
    """Loss and parameters after a step of gradient descent."""
    loss = loss_of(*parameters, x, y)
    found = tg.autograd.grad(loss, parameters)
    with tg.no_grad():
        return loss, [p - 0.1 * g for p, g in zip(parameters, found, strict=True) if g is not None]


def test_a_training_step_run_again_is_training() -> None:
    """Loss, gradients and updates as one graph, recorded once: three runs of it are three eager steps, to the bit."""
    rng = np.random.default_rng(2)
    parameters = [leaf(rng.normal(size=shape) * 0.5) for shape in ((5, 4), (4,), (4, 3))]
    x, y = tg.tensor(X[0]), tg.tensor(Y[0])
    state = [p.node for p in parameters]
    with tracing(Recorder()):
        loss, new = train(parameters, x, y)
    updates = [(old, p.node) for old, p in zip(state, new, strict=True)]
    graph = Graph.of([loss.node], [*state, x.node, y.node], updates).verify()

    current: list[Any] = [p.detach().numpy() for p in parameters]
    for k in range(3):
        fresh = [p.detach().requires_grad_() for p in parameters]
        expected, parameters = train(fresh, tg.tensor(X[k]), tg.tensor(Y[k]))
        (value,), current = run(graph, [*current, X[k], Y[k]])
        same(value, expected.detach().numpy())
        for mine, theirs in zip(current, parameters, strict=True):
            same(mine, theirs.detach().numpy())


def test_updates_come_after_the_outputs() -> None:
    w, x = symbol(2), symbol(2)
    new = Node(TABLE["add"], (w, x), NO_ATTRS, (2,), FLOAT, None)
    old = Node(TABLE["neg"], (w,), NO_ATTRS, (2,), FLOAT, None)
    graph = Graph.of([old, w], [w, x], [(w, new)]).verify()
    (minus, same_as_before), (after,) = run(graph, [np.array([1.0, 2.0]), np.array([10.0, 20.0])])
    assert minus.tolist() == [-1.0, -2.0]
    assert same_as_before.tolist() == [1.0, 2.0]
    assert after.tolist() == [11.0, 22.0]


def test_several_updates_each_to_its_input() -> None:
    a, b = symbol(1), symbol(1)
    total = Node(TABLE["add"], (a, b), NO_ATTRS, (1,), FLOAT, None)
    graph = Graph.of([], [a, b], [(b, total), (a, b)]).verify()
    outputs, updates = run(graph, [np.array([3.0]), np.array([5.0])])
    assert outputs == []
    assert [u.tolist() for u in updates] == [[8.0], [5.0]]


# ---- inputs


def test_an_input_may_be_an_intermediate() -> None:
    x = leaf([3.0])
    h = x.exp() * 2
    graph = Graph.of([(h * h).node, h.node], [h.node]).verify()
    (square, own), _ = run(graph, [np.array([5.0])])
    assert (square.tolist(), own.tolist()) == ([25.0], [5.0])
    outputs = [(x + h).node]
    (total,), _ = run(Graph.of(outputs, [x.node, h.node]).verify(), [np.array([1.0]), np.array([5.0])])
    assert total.tolist() == [6.0]


def test_inputs_keep_their_own_values_by_default() -> None:
    x = leaf([1.0, 2.0])
    graph = Graph.of([(x * 3).node], [x.node])
    assert run(graph)[0][0].tolist() == [3.0, 6.0]
    assert run(graph, [[10.0, 20.0]])[0][0].tolist() == [30.0, 60.0]
    assert run(graph, np.array([[10.0, 20.0]]))[0][0].tolist() == [30.0, 60.0]  # type: ignore[arg-type]
    assert run(graph, (tg.tensor([10.0, 20.0]).double(),))[0][0].tolist() == [30.0, 60.0]
    assert run(graph)[0][0].tolist() == [3.0, 6.0]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([np.ones(2)], "1 inputs; expected 2"),
        ([np.ones(2)] * 3, "3 inputs; expected 2"),
        ([np.ones(3), np.array(1)], "(3,):float64 as input 0; expected (2,):float64"),
        ([np.ones((2, 1)), np.array(1)], "(2, 1):float64 as input 0; expected (2,):float64"),
        ([np.ones(2, np.float32), np.array(1)], "(2,):float32 as input 0; expected (2,):float64"),
        ([np.ones(2), np.array(1.0)], "():float64 as input 1; expected ():int64"),
        ([np.ones(2), None], "no value for input 1; expected ():int64"),
        ([], "no value for input 0; expected (2,):float64"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: list[Any], text: str) -> None:
    x, k = symbol(2), symbol(dtype=np.int64)
    out = Node(TABLE["take"], (x, k), {"axis": 0}, (), FLOAT, None)
    with pytest.raises(ShapeError) as caught:
        run(Graph.of([out], [x, k]).verify(), inputs)
    assert str(caught.value) == f"[run] got {text}"


def test_an_index_out_of_range_is_found_while_running() -> None:
    x, k = symbol(2), symbol(dtype=np.int64)
    graph = Graph.of([Node(TABLE["take"], (x, k), {"axis": 0}, (), FLOAT, None)], [x, k]).verify()
    assert run(graph, [np.array([1.0, 2.0]), np.array(1)])[0] == [2.0]
    for index in (2, -1):
        with pytest.raises(IndexOutOfRange, match=rf"\[take\] got index {index}"):
            run(graph, [np.ones(2), np.array(index)])


# ---- running


def test_nothing_to_run() -> None:
    assert run(Graph.of([])) == ([], [])


def test_warnings_of_numpy_are_silent() -> None:
    x = symbol(3)
    graph = Graph.of([Node(TABLE["log"], (x,), NO_ATTRS, (3,), FLOAT, None)], [x])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (value,), _ = run(graph, [np.array([-1.0, 0.0, 1.0])])
    np.testing.assert_array_equal(value, [np.nan, -np.inf, 0.0])


def test_each_node_is_computed_once_and_dropped_after_its_last_use() -> None:
    alive: list[int] = []
    living: set[int] = set()

    class Counted(np.ndarray):  # type: ignore[type-arg]
        def __del__(self) -> None:
            living.discard(id(self))

    def add(x: Any, y: Any) -> Any:
        result = np.add(x, y).view(Counted)
        living.add(id(result))
        alive.append(len(living))
        return result

    op = dataclasses.replace(TABLE["add"], numpy=add)
    x = symbol(2)
    chain = [x]
    for _ in range(50):
        chain.append(Node(op, (chain[-1], chain[-1]), NO_ATTRS, (2,), FLOAT, None))
    (kept, last), _ = run(Graph.of([chain[10], chain[-1]], [x]).verify(), [np.ones(2)])
    assert len(alive) == 50
    assert max(alive) == 3  # an operand, its result, and the output kept from before
    assert (kept.tolist(), last.tolist()) == ([2.0**10] * 2, [2.0**50] * 2)


def test_100_000_nodes() -> None:
    x = symbol()
    chain = [x]
    for _ in range(100_000):
        chain.append(Node(TABLE["neg"], (chain[-1],), NO_ATTRS, (), FLOAT, None))
    assert run(Graph.of(chain[-1:], [x]), [np.array(2.0)])[0] == [2.0]


def test_a_source_cannot_be_computed() -> None:
    source = TABLE["constant"]
    for call, text in ((source.shape, "its shape by rule"), (source.dtype, "its dtype"), (source.numpy, "compute it")):
        with pytest.raises(GraphError, match=rf"\[source\] got a request .*{text}"):
            call()
