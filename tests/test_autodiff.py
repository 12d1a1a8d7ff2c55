"""The reverse walk itself: what is added up and in which order, what is released, what hooks and watchers see, and that
it is a linear map that can be walked again.
"""

from __future__ import annotations

import dataclasses
import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DTypeError, GraphError, ShapeError
from tinygrad_nn.graph.graph import Node
from tinygrad_nn.graph.reverse import RELEASED, reverse
from tinygrad_nn.ops.movement import CAT


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def scalar(value: float) -> tg.Tensor:
    return tg.tensor(value, dtype=tg.float64, requires_grad=True)


def gradients(out: tg.Tensor, *inputs: tg.Tensor, **options: Any) -> list[Any]:
    found = tg.autograd.grad(out, inputs, retain_graph=True, **options)
    return [None if g is None else g.detach().numpy() for g in found]


def program(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    """Shared nodes, broadcasting, a reduction, a contraction and an index: (3,), (3,) -> (3,)."""
    shared = (x * y).sin()
    outer = shared.unsqueeze(-1) * y + x
    return outer.exp() @ shared + (shared / (y * y + 1))[[2, 0, 2]] * outer.sum()


POINTS = (leaf(0.3, -1.2, 0.8), leaf(1.1, 0.4, -0.7))


# ---- accumulation


def test_gradients_of_shared_nodes_are_added() -> None:
    x = leaf(2.0, 3.0)
    shared = x * x
    (g,) = gradients((shared * shared + shared * 5).sum(), x)
    np.testing.assert_array_equal(g, 4 * np.array([2.0, 3.0]) ** 3 + 10 * np.array([2.0, 3.0]))


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (lambda x: x + x, 2.0),
        (lambda x: x - x, 0.0),
        (lambda x: x * x, 6.0),
        (lambda x: x / x, 0.0),
        (lambda x: x.where(tg.tensor(True), x), 1.0),
        (lambda x: x.maximum(x), 1.0),
        (lambda x: tg.stack([x, x, x]).sum(), 3.0),
        (lambda x: x**x, 27 * (math.log(3.0) + 1)),
    ],
    ids=["add", "sub", "mul", "div", "where", "maximum", "stack", "pow"],
)
def test_the_same_tensor_as_every_operand(function: Callable[[tg.Tensor], tg.Tensor], derivative: float) -> None:
    x = scalar(3.0)
    (g,) = gradients(function(x), x)
    assert g == pytest.approx(derivative, rel=1e-15, abs=1e-15)


def test_a_diamond_is_walked_once_per_node_not_once_per_path() -> None:
    y = x = scalar(1.0)
    for _ in range(60):  # 2**60 paths
        y = y * 0.5 + y * 0.5
    (g,) = gradients(y, x)
    assert g == 1.0


@pytest.mark.parametrize(
    ("factors", "total"),
    [((1e16, 1.0, -1e16), 0.0), ((1.0, 1e16, -1e16), 1.0), ((1e16, -1e16, 1.0), 0.0)],
)
def test_what_the_newest_user_gives_is_added_first(factors: tuple[float, ...], total: float) -> None:
    x = scalar(1.0)
    users = [x * factor for factor in factors]
    for order in ((0, 1, 2), (2, 0, 1)):  # how the users are combined does not matter
        (g,) = gradients(users[order[0]] + users[order[1]] + users[order[2]], x)
        assert g == total


def test_the_same_tape_twice_gives_the_same_bits() -> None:
    x, y = POINTS
    out = program(x, y).sum()
    first, second = gradients(out, x, y), gradients(out, x, y)
    rebuilt = gradients(program(x, y).sum(), x, y)
    recorded = gradients(out, x, y, create_graph=True)
    for a, *others in zip(first, second, rebuilt, recorded, strict=True):
        assert [other.tobytes() for other in others] == [a.tobytes()] * 3


def test_several_roots_share_one_walk() -> None:
    x = leaf(2.0)
    a, b = x * x, x * 3
    (g,) = tg.autograd.grad((a, b, a), x, [tg.tensor([k], dtype=tg.float64) for k in (1.0, 10.0, 100.0)])
    assert g is not None
    assert g.tolist() == [4.0 + 30.0 + 400.0]


# ---- a linear map of the cotangent


def test_linear_in_the_cotangent() -> None:
    x, y = POINTS
    out = program(x, y)
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=3), rng.normal(size=3)

    def pulled(cotangent: Any) -> list[Any]:
        return gradients(out, x, y, grad_outputs=tg.tensor(cotangent))

    for both, a, b, scaled in zip(pulled(3 * u + v), pulled(u), pulled(v), pulled(-4 * u), strict=True):
        np.testing.assert_allclose(both, 3 * a + b, rtol=1e-13, atol=1e-13)
        assert (scaled == -4 * a).all()  # a power of two: to the bit


def test_cotangent_zero_gives_exact_zeros() -> None:
    x, y = POINTS
    for g in gradients(program(x, y), x, y, grad_outputs=tg.zeros(3, dtype=tg.float64)):
        assert g.shape == (3,)
        assert not g.any()


@pytest.mark.parametrize("dtype", [tg.float32, tg.int64])
def test_a_cotangent_takes_the_dtype_of_its_output(dtype: Any) -> None:
    x = leaf(1.0, 2.0)
    (x * x).backward(tg.tensor([1, 10], dtype=dtype))
    assert x.grad is not None
    assert x.grad.dtype == tg.float64
    assert x.grad.tolist() == [2.0, 40.0]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 2)])
def test_seeds_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    x = leaf(1.0, 2.0)
    out = x * x
    with pytest.raises(ShapeError, match=r"\[backward\] got a gradient of shape \(.*\) for \(2,\); expected equal"):
        out.backward(tg.ones(shape))
    with pytest.raises(ShapeError, match=r"\[backward\] got a gradient of shape"):
        tg.autograd.grad(out, x, tg.ones(shape))
    assert x.grad is None
    out.backward(tg.ones(2))  # nothing was consumed
    assert x.grad is not None


@pytest.mark.parametrize("seed", [1.0, [1.0, 1.0], np.ones(2)], ids=lambda seed: type(seed).__name__)
def test_seeds_that_are_no_tensors_are_refused(seed: Any) -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(DTypeError, match=rf"\[backward\] got {type(seed).__name__} as the gradient; expected a tensor"):
        (x * x).backward(seed)


# ---- what is reached


def test_inputs_that_do_not_matter_are_absent() -> None:
    x, y, z = leaf(1.0), leaf(2.0), leaf(3.0)
    dead = y * z
    g = gradients(x * 2, x, y, dead, allow_unused=True)
    assert g[0].tolist() == [2.0]
    assert g[1:] == [None, None]
    (x * 2).backward()
    assert (y.grad, z.grad) == (None, None)


def test_only_wanted_inputs_are_walked_to() -> None:
    seen: list[str] = []
    x, y = leaf(2.0), leaf(3.0)
    left, right = x.exp(), y.exp()
    for name, tensor in (("x", x), ("left", left), ("y", y), ("right", right)):
        tensor.register_hook(lambda g, name=name: seen.append(name))  # type: ignore[misc]
    gradients((left * right).sum(), y)
    assert seen == ["right", "y"]


def test_one_rule_for_all_operands_runs_once_and_is_told_which_are_wanted() -> None:
    asked: list[tuple[int, ...]] = []

    def rule(g: Any, out: Any, *xs: Any, wanted: tuple[int, ...], axis: int) -> dict[int, Any]:
        asked.append(wanted)
        return CAT.vjp(g, out, *xs, wanted=wanted, axis=axis)  # type: ignore[operator,no-any-return]

    op = dataclasses.replace(CAT, vjp=rule)
    assert op.differentiable
    x, y, z, constant = leaf(1.0), leaf(2.0, 3.0), leaf(4.0), tg.tensor([5.0], dtype=tg.float64)
    out = x.apply(op, y, constant, z, axis=0)
    weighted = (out * tg.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=tg.float64)).sum()
    assert [g.tolist() for g in gradients(weighted, x, y, z)] == [[1.0], [2.0, 3.0], [5.0]]
    assert [g.tolist() for g in gradients(weighted, z)] == [[5.0]]
    assert asked == [(0, 1, 3), (3,)]


def test_constants_and_integers_end_the_walk() -> None:
    x = leaf(1.5, 2.5)
    index = x.argsort()
    out = (x[index] * x.detach() * (x > 2).to(tg.float64)).sum()
    (g,) = gradients(out, x)
    assert g.tolist() == [0.0, 2.5]


def test_a_root_may_itself_be_wanted() -> None:
    x = leaf(3.0)
    h = x * x
    assert [g.tolist() for g in gradients(h, h, x)] == [[1.0], [6.0]]
    assert [g.tolist() for g in gradients(x, x)] == [[1.0]]


# ---- release


@pytest.mark.parametrize("kept", [False, True])
def test_a_second_walk_over_freed_values_is_refused(kept: bool) -> None:
    x = leaf(2.0)
    shared = x.exp()
    if kept:
        shared.retain_grad()
    first, second = shared.sum(), (shared * 3).sum()
    first.backward()
    got = r"\[backward\] got a second walk through exp\[1\]:float64, whose saved values were freed by the first"
    with pytest.raises(GraphError, match=got + r"; hint: call the first backward\(retain_graph=True\)"):
        second.backward()


def test_nothing_is_freed_when_the_graph_is_retained_or_recorded() -> None:
    x = leaf(2.0)
    out = (x * x).sum()
    for options in ({"retain_graph": True}, {"create_graph": True}):
        (g,) = tg.autograd.grad(out, x, **options)  # type: ignore[arg-type]
        assert g is not None
        assert g.tolist() == [4.0]
    (g,) = tg.autograd.grad(out, x, create_graph=True, retain_graph=False)
    with pytest.raises(GraphError, match="freed by the first"):
        tg.autograd.grad(out, x)


def test_walks_that_read_no_values_can_be_repeated() -> None:
    x = leaf(1.0, 2.0)
    out = (x + x).reshape(2, 1).sum()
    for total in (2.0, 4.0, 6.0):
        out.backward()
        assert x.grad is not None
        assert x.grad.tolist() == [total, total]


def test_a_walk_keeps_nothing_alive() -> None:
    gc.collect()
    x = leaf(1.0)
    (x.exp() * 2).sum().backward()
    before = sum(type(thing) is Node for thing in gc.get_objects())
    for _ in range(3):
        out = (x.exp() * x).sum()
        tg.autograd.grad(out, x, create_graph=True)
        del out
    gc.collect()
    assert sum(type(thing) is Node for thing in gc.get_objects()) <= before


def test_a_wanted_node_is_not_released_nor_walked_through() -> None:
    x = scalar(3.0)
    h = x * x
    (g,) = tg.autograd.grad(h * h, h)
    assert g is not None
    (onward,) = tg.autograd.grad(h, x, g)
    assert onward is not None
    assert onward.item() == 4 * 27.0


def test_a_gradient_asked_for_at_a_released_node_is_its_own() -> None:
    x = scalar(3.0)
    first, second = x * 2, x * 5
    out = first * second
    out.backward(inputs=[first, second, x])  # the walk goes on through both, and frees them
    (first + 1).backward(inputs=[first])
    assert first.grad is not None
    assert second.grad is not None
    assert (first.grad.item(), second.grad.item()) == (16.0, 6.0)
    assert (out.grad, RELEASED.grad) == (None, None)
    with pytest.raises(GraphError, match="freed by the first"):
        first.backward()


# ---- higher orders


def test_mixed_third_derivatives() -> None:
    a, b = 0.7, -1.3
    x, y = scalar(a), scalar(b)
    s, c = math.sin(a * b), math.cos(a * b)
    expected = {
        "xxx": -(b**3) * c,
        "xxy": -2 * b * s - a * b**2 * c,
        "xyx": -2 * b * s - a * b**2 * c,
        "yxx": -2 * b * s - a * b**2 * c,
        "yyy": -(a**3) * c,
    }
    for path, value in expected.items():
        g = (x * y).sin()
        for letter in path:
            (g,) = tg.autograd.grad(g, {"x": x, "y": y}[letter], create_graph=True)  # type: ignore[assignment]
        assert g.item() == pytest.approx(value, rel=1e-14), path


def test_only_a_recorded_walk_can_be_differentiated() -> None:
    x = scalar(2.0)
    out = x**3
    plain, recorded = (tg.autograd.grad(out, x, None, True, create)[0] for create in (False, True))
    assert plain is not None
    assert recorded is not None
    assert not plain.requires_grad
    assert recorded.requires_grad
    with tg.no_grad():
        (inside,) = tg.autograd.grad(out, x, create_graph=True)
    assert inside is not None
    assert tg.autograd.grad(inside, x)[0].item() == 12.0  # type: ignore[union-attr]


def test_a_gradient_penalty_reaches_the_leaves() -> None:
    w, x = leaf(0.5, -0.2), leaf(1.0, 2.0)
    (g,) = tg.autograd.grad((w * x * x).sum(), x, create_graph=True)
    assert g is not None
    (g * g).sum().backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), 8 * np.array([0.5 * 1, -0.2 * 4]), rtol=1e-15)


def test_100_000_nodes_to_second_order() -> None:
    y = x = scalar(3.0)
    for _ in range(50_000):
        y = (y * 1.0) + 0.0
    (g,) = tg.autograd.grad(y * y, x, create_graph=True)
    assert g is not None
    assert g.item() == 6.0
    assert tg.autograd.grad(g, x)[0].item() == 2.0  # type: ignore[union-attr]


# ---- hooks, watchers


def test_hooks_run_from_the_output_to_the_input_in_order_of_registration() -> None:
    seen: list[tuple[str, float]] = []

    def spy(name: str, factor: float | None = None) -> Callable[[tg.Tensor], tg.Tensor | None]:
        def hook(g: tg.Tensor) -> tg.Tensor | None:
            seen.append((name, g.item()))
            return None if factor is None else g * factor

        return hook

    x = scalar(1.0)
    h = x * 2
    out = h * 3 + h * 4
    x.register_hook(spy("x"))
    remove = h.register_hook(spy("h first", 10.0))
    h.register_hook(spy("h second", 0.5))
    h.register_hook(spy("h third"))
    out.register_hook(spy("out"))
    (g,) = gradients(out, x)
    assert seen == [("out", 1.0), ("h first", 7.0), ("h second", 70.0), ("h third", 35.0), ("x", 70.0)]
    assert g == 70.0
    remove()
    remove()
    assert gradients(out, x)[0] == 7.0


def test_hooks_see_tensors_that_can_be_changed_without_harm() -> None:
    seen: list[tg.Tensor] = []
    x, y = leaf(1.0), leaf(2.0)
    out = x + y  # both operands get the same cotangent
    x.register_hook(seen.append)
    out.sum().backward()
    assert type(seen[0]) is tg.Tensor
    seen[0].zero_()
    assert y.grad is not None
    assert x.grad is not None
    assert (x.grad.tolist(), y.grad.tolist()) == ([1.0], [1.0])


def test_hooks_of_a_recorded_walk_are_recorded() -> None:
    x = scalar(2.0)
    h = x * x
    remove = h.register_hook(lambda g: g * g * h)
    (g,) = tg.autograd.grad(h * 3, x, create_graph=True)  # 9 x^2 * 2 x
    remove()
    assert g is not None
    assert g.item() == 144.0
    assert tg.autograd.grad(g, x)[0].item() == 54.0 * 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("hook", "error", "text"),
    [
        (lambda g: g.sum(), ShapeError, r"a gradient \(\):float64 for a tensor \(2,\):float64; expected the same"),
        (lambda g: g.float(), ShapeError, r"a gradient \(2,\):float32 for a tensor \(2,\):float64"),
        (lambda g: 2.0, GraphError, "float instead of a gradient; expected a tensor or None"),
        (lambda g: np.ones(2), GraphError, "ndarray instead of a gradient"),
    ],
    ids=["shape", "dtype", "number", "array"],
)
def test_what_a_hook_may_not_return(hook: Any, error: type[Exception], text: str) -> None:
    x = leaf(1.0, 2.0)
    x.register_hook(hook)
    for create_graph in (False, True):
        with pytest.raises(error, match=r"\[hook\] got " + text):
            (x * x).sum().backward(create_graph=create_graph)
        assert x.grad is None


class Watcher:
    """Notes what a walk tells."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def begin(self) -> None:
        self.told.append("begin")

    def see(self, node: Node, g: tg.Tensor, argnum: int, cotangent: tg.Tensor) -> None:
        self.told.append((node.op.name, g.item(), argnum, cotangent.item()))

    def end(self) -> None:
        self.told.append("end")


def test_a_watcher_is_told_of_every_cotangent() -> None:
    x, y = scalar(2.0), scalar(5.0)
    out = x * y + x
    watcher = Watcher()
    found = reverse([out.node], [tg.tensor(3.0).double()], tg.Tensor.handle, watch=watcher)
    assert watcher.told == [
        "begin",
        ("add", 3.0, 0, 3.0),
        ("add", 3.0, 1, 3.0),
        ("mul", 3.0, 0, 15.0),
        ("mul", 3.0, 1, 6.0),
        "end",
    ]
    assert {node: g.item() for node, g in found.items()} == {x.node: 18.0, y.node: 6.0}


def test_hooks_get_what_expose_makes() -> None:
    seen: list[Any] = []
    x = scalar(2.0)
    x.register_hook(seen.append)
    reverse([(x * 3).node], [tg.tensor(1.0).double()], tg.Tensor.handle, expose=lambda g: ("exposed", g.item()))
    assert seen == [("exposed", 3.0)]


def test_gradients_are_found_where_they_are_kept() -> None:
    x = scalar(2.0)
    kept, dropped = x * 3, x * 5
    kept.retain_grad()
    found = reverse([(kept * dropped).node], [tg.tensor(1.0).double()], tg.Tensor.handle)
    assert found.keys() == {x.node, kept.node}
    assert RELEASED.grad is None
