"""Graphs: every invariant is checked and can be seen to be, walks stop where they should, and the text form is fixed.

Golden texts lie in tests/golden.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import GraphError
from tinygrad_nn.graph.graph import NO_ATTRS, Graph, Node, next_serial, reachable
from tinygrad_nn.ops import TABLE
from tinygrad_nn.tensor.core import constant

FLOAT = np.dtype(np.float64)
MATMUL = {"tx": False, "ty": False}


def vector(*values: float) -> Node:
    return constant(np.array(values))


def node(
    op: str, *inputs: Node, shape: Any = (2,), dtype: Any = FLOAT, attrs: Any = NO_ATTRS, value: Any = None
) -> Node:
    return Node(TABLE[op], inputs, attrs, shape, dtype, value)


def symbol(shape: tuple[int, ...] = (2,)) -> Node:
    """An input: no value before the graph runs."""
    return node("input", shape=shape)


def step() -> Graph:
    """w and x in, a product and an update out."""
    w, x = symbol(), symbol()
    product = node("mul", w, x)
    return Graph.of([product], [w, x], [(w, node("add", w, product))])


# ---- verify


def test_a_legal_graph_is_returned() -> None:
    graph = step()
    assert graph.verify() is graph
    assert len(graph.nodes) == 4


def node_twice() -> Graph:
    graph = step()
    return dataclasses.replace(graph, nodes=(*graph.nodes, graph.nodes[2]))


def operand_after_user() -> Graph:
    a = vector(1.0, 2.0)
    negative = node("neg", a)
    return Graph((a, node("neg", negative), negative), (), ())


def operand_outside() -> Graph:
    a = vector(1.0, 2.0)
    return Graph((node("neg", a),), (), ())


def wrong_shape() -> Graph:
    a = vector(1.0, 2.0)
    return Graph.of([node("sum", a, shape=(1,), attrs={"axis": (0,), "keepdims": False})])


def wrong_dtype() -> Graph:
    a = vector(1.0, 2.0)
    return Graph.of([node("lt", a, a)])


def broadcast_to_nothing() -> Graph:
    return Graph.of([node("add", vector(1.0, 2.0), vector(1.0, 2.0), shape=(7,))])


def operands_that_do_not_broadcast() -> Graph:
    return Graph.of([node("add", vector(1.0, 2.0), vector(1.0, 2.0, 3.0), shape=(3,))])


def broadcast_with_gradient() -> Graph:
    a = Node(TABLE["constant"], (), NO_ATTRS, (1,), FLOAT, np.ones(1), needs_grad=True)
    return Graph.of([node("add", a, vector(1.0, 2.0))])


def refused_shapes() -> Graph:
    return Graph.of([node("matmul", vector(1.0), vector(1.0, 2.0), attrs=MATMUL)])


def refused_dtype() -> Graph:
    return Graph.of([node("sin", constant(np.array([1, 2])))])


def refused_attrs() -> Graph:
    return Graph.of([node("sum", vector(1.0), shape=(), attrs={"axes": (0,)})])


def value_of_other_shape() -> Graph:
    return Graph.of([node("neg", vector(1.0, 2.0), value=np.ones(3))])


def value_of_other_dtype() -> Graph:
    return Graph.of([Node(TABLE["constant"], (), NO_ATTRS, (2,), FLOAT, np.ones(2, np.float32))])


def source_without_value() -> Graph:
    return Graph.of([node("neg", symbol())])


def strange_input() -> Graph:
    return dataclasses.replace(step(), inputs=(symbol(),))


def input_outside() -> Graph:
    graph = step()
    return dataclasses.replace(graph, inputs=(*graph.inputs, symbol()))


def strange_output() -> Graph:
    return dataclasses.replace(step(), outputs=(vector(1.0, 2.0),))


def strange_update() -> Graph:
    graph = step()
    return dataclasses.replace(graph, updates=((graph.inputs[0], vector(1.0, 2.0)),))


def update_of_other_shape() -> Graph:
    w = symbol()
    return Graph.of([w], [w], [(w, vector(1.0))])


def update_of_other_dtype() -> Graph:
    w = symbol()
    return Graph.of([w], [w], [(w, node("lt", w, w, dtype=np.dtype(bool)))])


def update_of_no_input() -> Graph:
    a = vector(1.0, 2.0)
    new = node("neg", a)
    return Graph.of([a], [], [(a, new)])


def two_updates_of_one_input() -> Graph:
    w = symbol()
    return Graph.of([w], [w], [(w, node("neg", w)), (w, node("abs", w))])


FAULTS: dict[Callable[[], Graph], str] = {
    node_twice: "a node that stands in the graph twice",
    operand_after_user: "operand neg[2]:float64 that does not come before its user",
    operand_outside: "operand constant[2]:float64 that does not come before its user",
    wrong_shape: "sum[1]:float64 where the rules of sum give []:float64",
    wrong_dtype: "lt[2]:float64 where the rules of lt give [2]:bool",
    broadcast_to_nothing: "add[7]:float64 where the rules of add give [2]:float64",
    operands_that_do_not_broadcast: "add[3]:float64, which the rules of add refuse: [add] got shapes (2,) and (3,)",
    broadcast_with_gradient: "add[2]:float64, which the rules of add refuse: [add] got shapes (1,) and (2,)",
    refused_shapes: "matmul[2]:float64, which the rules of matmul refuse: [matmul] got shapes (1,) and (2,)",
    refused_dtype: "sin[2]:float64, which the rules of sin refuse: [sin] got dtype int64",
    refused_attrs: "sum[]:float64, which the rules of sum refuse: ",
    value_of_other_shape: "a value of shape (3,):float64 in neg[2]:float64",
    value_of_other_dtype: "a value of shape (2,):float32 in constant[2]:float64",
    source_without_value: "input[2]:float64, which has no value and is no input",
    strange_input: "input[2]:float64, which has no value and is no input",
    input_outside: "input[2]:float64 as an input, output or update; expected a node of the graph",
    strange_output: "constant[2]:float64 as an input, output or update; expected a node of the graph",
    strange_update: "constant[2]:float64 as an input, output or update; expected a node of the graph",
    update_of_other_shape: "an update of input[2]:float64 by constant[1]:float64; expected the same shape and dtype",
    update_of_other_dtype: "an update of input[2]:float64 by lt[2]:bool; expected the same shape and dtype",
    update_of_no_input: "an update of constant[2]:float64; expected one update of an input",
    two_updates_of_one_input: "an update of input[2]:float64; expected one update of an input",
}


@pytest.mark.parametrize("faulty", FAULTS, ids=lambda make: make.__name__)
def test_a_broken_invariant_is_named(faulty: Callable[[], Graph]) -> None:
    with pytest.raises(GraphError, match=re.escape("[graph] got " + FAULTS[faulty])):
        faulty().verify()


def test_elementwise_operands_without_gradient_may_broadcast() -> None:
    a, b = constant(np.ones((2, 1))), vector(1.0, 2.0, 3.0)
    Graph.of([node("add", a, b, shape=(2, 3))]).verify()
    x = tg.ones(2, 3, requires_grad=True)
    Graph.of([(x * tg.ones(3) + 1).node]).verify()


def test_the_nodes_around_the_fault_are_shown() -> None:
    nodes = [vector(1.0, 2.0)]
    for _ in range(20):
        nodes.append(node("neg", nodes[-1]))
    nodes[10] = node("neg", nodes[9], shape=(3,))
    nodes[11:] = [node("abs", nodes[10], shape=(3,)) for _ in range(10)]
    with pytest.raises(GraphError) as caught:
        Graph(tuple(nodes), (), (nodes[-1],)).verify()
    around = str(caught.value).splitlines()[1:]
    assert len(around) == 11
    assert [line[0] for line in around] == [" "] * 5 + [">"] + [" "] * 5
    assert around[5] == "> %10 = neg(%9) [3]:float64"


# ---- of, reachable


def test_the_graph_of_outputs_has_what_they_depend_on_in_order() -> None:
    a, b, unused = vector(1.0, 2.0), vector(3.0, 4.0), vector(5.0, 6.0)
    shared = node("mul", a, b)
    node("add", shared, unused)
    first, second = node("neg", shared), node("add", shared, a)
    graph = Graph.of([second, first, second]).verify()
    assert graph.nodes == (a, b, shared, first, second)
    assert (graph.inputs, graph.outputs, graph.updates) == ((), (second, first, second), ())


def test_the_walk_stops_at_inputs() -> None:
    a = vector(1.0, 2.0)
    h = node("neg", a)
    out = node("mul", h, h)
    assert Graph.of([out], [h]).verify().nodes == (h, out)
    assert Graph.of([out, a], [h]).verify().nodes == (h, out, a)
    assert Graph.of([h], [h]).verify().nodes == (h,)


def test_inputs_nobody_reads_and_updates_are_in_the_graph() -> None:
    w, x, idle = symbol(), symbol(), symbol()
    new = node("add", w, x)
    graph = Graph.of([], [w, x, idle], [(w, new)]).verify()
    assert graph.nodes == (w, x, idle, new)
    assert graph.updates == ((w, new),)


def test_nothing() -> None:
    graph = Graph.of([]).verify()
    assert graph.nodes == ()
    assert str(graph) == "return "
    assert reachable([]) == []


def test_the_order_does_not_depend_on_the_age_of_constants() -> None:
    def build(constants: tuple[Node, ...]) -> str:
        two, one, idle = constants
        x = symbol()
        product = node("mul", x, two)
        return str(Graph.of([idle, node("add", node("mul", product, one), two)], [x]).verify())

    values = np.array([2.0, 2.0]), np.array([1.0, 1.0]), np.array([0.0, 0.0])
    forwards = tuple(constant(value) for value in values)
    backwards = tuple(constant(value) for value in values[::-1])[::-1]
    assert build(forwards) == build(backwards) == build(forwards)
    order = ["input", "constant", "mul", "constant", "mul", "add", "constant", "return"]
    assert re.findall(r"(?:= |^)(\w+)(?=[( ])", build(forwards), re.MULTILINE) == order


def test_serials_grow() -> None:
    first, serial, second = vector(1.0), next_serial(), vector(1.0)
    assert first.serial < serial < second.serial


def test_reachable_is_pruned() -> None:
    a, b = vector(1.0, 2.0), vector(3.0, 4.0)
    left, right = node("neg", a), node("neg", b)
    out = node("mul", left, right)
    assert reachable([out, out]) == [a, b, left, right, out]
    assert reachable([out], lambda n: n is not left) == [b, right, out]
    assert reachable([out], lambda n: n is not out) == []


def test_100_000_chained_nodes() -> None:
    chain = [vector(1.0, 2.0)]
    for _ in range(100_000):
        chain.append(node("add", chain[-1], chain[-1]))
    assert reachable(chain[-1:]) == chain
    graph = Graph.of(chain[-1:], chain[:1])
    assert list(graph.nodes) == chain
    assert graph.verify() is graph
    assert str(graph).splitlines()[-2:] == ["%100000 = add(%99999, %99999) [2]:float64", "return %100000"]


# ---- text


def test_text_of_a_step(golden: Any) -> None:
    golden("step", str(step()))


def test_text_of_every_kind_of_line(golden: Any) -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    index = tg.tensor([1, 0, 1])
    picked = x.index_select(0, index).sum(1, keepdim=True) * 0.5
    large = tg.arange(5.0) + x.amax()
    yes = picked > tg.tensor(True)
    outputs = [picked, large, yes.to(tg.int32), x.reshape(4).cumsum(0)]
    golden("lines", str(Graph.of([out.node for out in outputs], [x.node])))


def test_text_of_gradients(golden: Any) -> None:
    w, b = (tg.tensor(v, dtype=tg.float64, requires_grad=True) for v in ([[0.5], [-1.0]], [0.25]))
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=tg.float64)
    loss = ((x @ w + b).tanh() ** 2).mean()
    found = tg.autograd.grad(loss, (w, b), create_graph=True)
    graph = Graph.of([loss.node, *(g.node for g in found if g is not None)], [w.node, b.node]).verify()
    golden("gradients", str(graph))


def test_a_node_is_one_line_whatever_the_print_options() -> None:
    a = constant(np.array([[1 / 3, 1e-9], [1.0, -2.0]]))
    expected = "%0 = constant([[ 3.33333333e-01 1.00000000e-09] [ 1.00000000e+00 -2.00000000e+00]]) [2, 2]:float64"
    with np.printoptions(precision=2, suppress=True, sign="+", floatmode="fixed", linewidth=20):
        assert str(Graph.of([a])).splitlines() == [expected, "return %0"]
    nodes = [a, a, node("neg", a, shape=(3,))]
    with pytest.raises(GraphError, match=r"\n> %2 = neg\(%0\) \[3\]:float64\n"):
        Graph((*nodes[:1], constant(np.ones((2, 2))), nodes[2]), (), ()).verify()


def test_strangers_are_marked_in_the_text() -> None:
    a, stranger = vector(1.0, 2.0), vector(1.0, 2.0)
    out = node("mul", a, stranger)
    assert str(Graph((a, out), (), (out, stranger), ((stranger, out),))).splitlines()[1:] == [
        "%1 = mul(%0, ?) [2]:float64",
        "return %1, ?",
        "update ? <- %1",
    ]
