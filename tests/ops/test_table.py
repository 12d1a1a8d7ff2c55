"""Every op of the table, with no code per op: rules against values, gradients to second order, layouts, the executor,
mutations.

What an op's block says is enough; `tests/test_new_op.py` shows it on those of docs/adding_an_op.md.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DTypeError, GradcheckError, ShapeError
from tinygrad_nn.executor import run
from tinygrad_nn.graph.graph import Case, Graph, Op
from tinygrad_nn.ops import TABLE
from tinygrad_nn.testing.samples import operands
from tinygrad_nn.testing.strategies import LAYOUTS, laid_out

OPS = [op for op in TABLE.values() if op.kind != "source"]
DIFFERENTIABLE = [op for op in OPS if op.differentiable]
ELEMENTWISE = [op for op in DIFFERENTIABLE if op.kind == "elementwise"]
BINARY = [op for op in ELEMENTWISE if len(op.domain[0].args) == 2]
SHAPES = [(), (1,), (7,), (0,), (3, 0, 2), (2, 3, 4), (17,)]
PAIRS = [
    ((2, 3), ()),
    ((), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (2, 3)),
    ((2, 1), (1, 3)),
    ((0, 3), (1, 3)),
    ((2, 1, 2), (3, 1)),
]


def named(ops: list[Op]) -> Any:
    return pytest.mark.parametrize("op", ops, ids=lambda op: op.name)


def tensors(op: Op, case: Case, shapes: tuple[Any, ...] | None = None, seed: int = 0) -> list[tg.Tensor]:
    values = operands(case, np.random.default_rng(seed), shapes)
    return [tg.tensor(v).requires_grad_() if v.dtype.kind == "f" else tg.tensor(v) for v in values]


def apply(op: Op, case: Case) -> Any:
    return lambda first, *others: first.apply(op, *others, **case.attrs)


def check(op: Op, case: Case, inputs: list[tg.Tensor], order: int = 2) -> None:
    if any(x.requires_grad for x in inputs):
        tg.testing.gradcheck(apply(op, case), inputs, order=order)


def cases(op: Op) -> Iterator[Case]:
    return iter(op.domain)


@named(OPS)
def test_every_op_is_described(op: Op) -> None:
    assert op.domain
    assert not isinstance(op.vjp, tuple) or all(len(case.args) == len(op.vjp) for case in op.domain)
    assert TABLE[op.name] is op


@named(OPS)
def test_rules_and_executor_agree_with_values(op: Op) -> None:
    for case in cases(op):
        for dtype in (np.float64, np.float32):
            values = operands(case, np.random.default_rng(1), dtype=dtype)
            inputs = [tg.tensor(v) for v in values]
            out = apply(op, case)(*inputs)
            assert out.shape == op.shape(*(x.shape for x in inputs), **case.attrs)
            assert out.dtype == op.dtype(*(x.dtype for x in inputs), **case.attrs)
            leaf = [x.requires_grad_() if x.dtype.kind == "f" and op.differentiable else x for x in inputs]
            recorded = apply(op, case)(*leaf)
            graph = Graph.of([recorded.node], [x.node for x in leaf]).verify()
            (again,), _ = run(graph, values)
            np.testing.assert_array_equal(np.asarray(again), out.numpy())


@named(DIFFERENTIABLE)
def test_gradients_to_second_order(op: Op) -> None:
    for case in cases(op):
        check(op, case, tensors(op, case))


@named(ELEMENTWISE)
def test_gradients_over_shapes(op: Op) -> None:
    case = op.domain[0]
    for shape in SHAPES:
        check(op, case, tensors(op, case, (shape,) * len(case.args)))


@named(BINARY)
def test_gradients_over_broadcasting(op: Op) -> None:
    for pair in PAIRS:
        check(op, op.domain[0], tensors(op, op.domain[0], pair))


@named([op for op in DIFFERENTIABLE if len(op.domain[0].args) > 1])
def test_gradients_of_each_subset_of_operands(op: Op) -> None:
    for case in cases(op):
        floats = [k for k, arg in enumerate(case.args) if arg.dtype == "float"]
        for count in range(1, len(floats)):
            for chosen in itertools.combinations(floats, count):
                inputs = [x if k in chosen else x.detach() for k, x in enumerate(tensors(op, case))]
                check(op, case, inputs)


def derivatives(op: Op, case: Case, values: list[np.ndarray]) -> list[np.ndarray]:
    """The result, the gradients for a random cotangent, and the gradients of a weighted sum of these."""
    rng = np.random.default_rng(3)

    def weights(like: tg.Tensor) -> tg.Tensor:
        return tg.tensor(rng.normal(size=like.shape))

    inputs = [tg.from_numpy(value) for value in values]
    wanted = [x.requires_grad_() for x in inputs if op.differentiable and x.dtype.kind == "f"]
    out = apply(op, case)(*inputs)
    found = [out]
    if out.requires_grad:
        first = tg.autograd.grad(out, wanted, weights(out), create_graph=True, allow_unused=True)
        found += [g for g in first if g is not None]
        bent = [g for g in found[1:] if g.requires_grad]
        if bent:
            second = tg.autograd.grad(bent, wanted, [weights(g) for g in bent], allow_unused=True)
            found += [g for g in second if g is not None]
    return [x.detach().numpy() for x in found]


def assert_layout_does_not_matter(op: Op, layout: str) -> None:
    """Values and derivatives to second order are those of the same numbers in row-major order."""
    for case in cases(op):
        values = [np.asarray(laid_out(v, layout)) for v in operands(case, np.random.default_rng(2))]
        expected = derivatives(op, case, [np.array(v, order="C") for v in values])
        found = derivatives(op, case, values)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-13, atol=1e-13)


@named(OPS)
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_layout_does_not_matter(op: Op, layout: str) -> None:
    assert_layout_does_not_matter(op, layout)


@pytest.mark.parametrize("layout", ["F", "transposed"])
def test_an_op_that_reads_memory_in_its_order_is_caught(layout: str) -> None:
    exp = TABLE["exp"]
    broken = dataclasses.replace(exp, numpy=lambda x: np.exp(x.ravel("K")).reshape(x.shape))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_layout_does_not_matter(broken, layout)
    rule = lambda g, out, x: g * tg.tensor(exp.numpy(x.detach().numpy().ravel("K"))).reshape(x.shape)  # noqa: E731
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_layout_does_not_matter(dataclasses.replace(exp, vjp=(rule,)), layout)


@named([op for op in BINARY if op.domain[0].args[0] == op.domain[0].args[1] and not op.domain[0].args[0].apart])
def test_the_same_tensor_as_both_operands(op: Op) -> None:
    (x, _) = tensors(op, op.domain[0])
    tg.testing.gradcheck(lambda x: x.apply(op, x), (x,))


@named([op for op in OPS if not op.differentiable])
def test_ops_without_gradient_record_nothing(op: Op) -> None:
    case = op.domain[0]
    out = apply(op, case)(*tensors(op, case))
    assert not out.requires_grad


MUTATIONS: dict[str, Any] = {
    "sign": lambda g: -g,
    "factor": lambda g: g * 1.00001,
    "offset": lambda g: g + 1e-6,
    "zero": lambda g: g * 0.0,
}


def spoiled(op: Op, mutation: Any) -> Iterator[tuple[int, Op]]:
    """The op with the gradient of one operand changed, for each that has one."""
    rules = op.vjp
    if not isinstance(rules, tuple):
        together = lambda *a, **k: {n: mutation(g) if n == 0 else g for n, g in rules(*a, **k).items()}  # noqa: E731
        yield 0, dataclasses.replace(op, vjp=together)
        return
    for argnum, rule in enumerate(rules):
        if rule is not None:
            wrong = lambda *a, _rule=rule, **k: mutation(_rule(*a, **k))  # noqa: E731
            yield argnum, dataclasses.replace(op, vjp=(*rules[:argnum], wrong, *rules[argnum + 1 :]))


@named(DIFFERENTIABLE)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_rule_is_caught(op: Op, mutation: str) -> None:
    """The matrix itself can fail: each rule is spoiled in turn, by as little as 1e-5."""
    case = op.domain[0]
    for argnum, broken in spoiled(op, MUTATIONS[mutation]):
        inputs = tensors(broken, case)
        flat = bool((tg.autograd.grad(apply(op, case)(*inputs).sum(), inputs[argnum])[0] == 0).all())  # type: ignore[union-attr]
        if flat and mutation != "offset":  # floor and its like: nothing to spoil by a factor
            continue
        with pytest.raises(GradcheckError, match="differ from the numeric ones"):
            tg.testing.gradcheck(apply(broken, case), inputs, order=1)


@named(BINARY)
def test_shapes_that_do_not_broadcast_are_named(op: Op) -> None:
    x, y = tensors(op, op.domain[0], ((2, 3), (4,)))
    with pytest.raises(
        ShapeError, match=rf"\[{op.name}\] got shapes \(2, 3\) and \(4,\); expected shapes that broadcast; hint: "
    ):
        x.apply(op, y)


@named([op for op in OPS if op.kind == "elementwise" and len(op.domain[0].args) > 1])
def test_rules_refuse_unequal_operands(op: Op) -> None:
    others = len(op.domain[0].args) - 1
    shapes = [(2,)] * others
    with pytest.raises(ShapeError, match=rf"^\[{op.name}\]"):
        op.shape(*shapes, (3,))
    dtypes = [np.dtype(np.float32)] * others
    with pytest.raises(DTypeError, match=rf"^\[{op.name}\]"):
        op.dtype(*dtypes, np.dtype(np.int64))


SPECIAL = (0.0, -0.0, 1.0, -80.0, 80.0, 1e30, -np.inf, np.inf, np.nan)


@named([op for op in OPS if op.composed is not None])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_composite_is_what_it_is_composed_of(op: Op, dtype: Any) -> None:
    """Values to the last bit, and where they are not finite; gradients but for their rounding."""
    rng = np.random.default_rng(5)
    for case, special in itertools.product(cases(op), (False, True)):
        values = operands(case, rng, dtype=dtype)
        if special:
            chosen = [rng.random(v.shape) < (0.2 if v.dtype.kind == "f" else 0) for v in values]
            pairs = zip(chosen, values, strict=True)
            values = [np.where(at, rng.choice(SPECIAL, v.shape), v).astype(v.dtype) for at, v in pairs]
        found, expected = (
            [tg.tensor(v).requires_grad_() if v.dtype.kind == "f" else tg.tensor(v) for v in values] for _ in range(2)
        )
        assert op.composed is not None
        whole, parts = apply(op, case)(*found), op.composed(*expected, **case.attrs)
        np.testing.assert_array_equal(whole.detach().numpy(), parts.detach().numpy())
        if not op.differentiable:
            continue
        weights = tg.tensor(rng.uniform(0.5, 1, whole.shape).astype(dtype))
        (whole * weights).sum().backward()
        (parts * weights).sum().backward()
        for one, other in zip(found, expected, strict=True):
            if one.grad is not None:
                close = {"rtol": 1e-4, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}
                np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), **close)


@named([op for op in OPS if op.composed is not None])
def test_a_composite_is_not_seen_by_who_records_symbols(op: Op) -> None:
    for case in cases(op):
        inputs = tensors(op, case)
        graph = tg.jit(apply(op, case)).entry(tuple(inputs), {}).compiled.stages.graph
        assert op not in {node.op for node in graph.nodes}
