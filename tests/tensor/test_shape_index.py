"""Shape, indexing and contraction methods against torch and NumPy, with gradients; and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_nn as tg
from tinygrad_nn.errors import DTypeError, GraphError, IndexOutOfRange, ShapeError, TinygradError

RNG = np.random.default_rng(4)
A, B, M = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 4, 5)), RNG.normal(size=(3, 4))
V = RNG.normal(size=4)
INDEX = np.array([[2, 0, 1, 1], [0, 0, 2, 2]])

SAME: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "view": (lambda x: x.view(6, -1), [A]),
    "flatten": (lambda x: x.flatten(1), [A]),
    "unflatten": (lambda x: x.unflatten(2, (2, -1)), [A]),
    "squeeze": (lambda x: x.unsqueeze(1).squeeze(1), [A]),
    "transpose": (lambda x: x.transpose(0, -1), [A]),
    "swapaxes": (lambda x: x.swapaxes(0, 1), [A]),
    "movedim": (lambda x: x.movedim(0, 2), [A]),
    "permute": (lambda x: x.permute(2, 0, 1), [A]),
    "expand": (lambda x: x.unsqueeze(0).expand(3, -1, -1), [M]),
    "broadcast_to": (lambda x: x.broadcast_to((2, 3, 4)), [M]),
    "repeat": (lambda x: x.repeat(2, 1, 3), [M]),
    "tile": (lambda x: x.tile(2), [M]),
    "split": (lambda x: x.split(2, 1)[0] * 2 + x.split([2, 1], 1)[0], [A]),
    "chunk": (lambda x: x.chunk(2, 2)[1], [A]),
    "unbind": (lambda x: x.unbind(1)[2], [A]),
    "flip": (lambda x: x.flip(0, 2), [A]),
    "roll": (lambda x: x.roll((1, -2), (0, 2)) + x.roll(5), [A]),
    "tril": (lambda x: x.tril(1) + x.triu(-1), [A]),
    "diagonal": (lambda x: x.diagonal(1, 1, 2), [A]),
    "diagonal below": (lambda x: x.diagonal(-1, 1, 2), [A]),
    "narrow": (lambda x: x.narrow(2, 1, 2), [A]),
    "select": (lambda x: x.select(1, -1), [A]),
    "unfold": (lambda x: x.unfold(2, 3, 1), [A]),
    "matmul": (lambda x, y: x @ y, [A, B]),
    "matmul folded": (lambda x, y: x @ y.transpose(0, 1), [A, M]),
    "matvec": (lambda x, y: x @ y, [A, V]),
    "vecmat": (lambda x, y: y @ x.transpose(1, 2), [A, V]),
    "dot": (lambda x: x.dot(x), [V]),
    "bmm": (lambda x, y: x.bmm(y), [A, B]),
    "mv": (lambda x, y: x.mv(y), [M, V]),
    "outer": (lambda x, y: x.outer(y), [V, M[:, 0]]),
    "inner": (lambda x, y: x.inner(y), [M, V]),
    "masked_fill": (lambda x: x.masked_fill(x > 0, -1.0), [A]),
    "basic": (lambda x: x[1, ::2, None, 1:], [A]),
    "ellipsis": (lambda x: x[..., -1], [A]),
    "mask": (lambda x: x[x > 0.1], [A]),
    "cumsum": (lambda x: x.cumsum(1), [A]),
}


@pytest.mark.parametrize("name", SAME)
def test_like_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    function, arrays = SAME[name]
    mine = [tg.tensor(a).requires_grad_() for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out, expected = function(*mine), function(*theirs)
    np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    (out * out).sum().backward()
    (expected * expected).sum().backward()
    for a, b in zip(mine, theirs, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


INDEXED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "gather": lambda x, i, s: x.gather(0, i),
    "scatter": lambda x, i, s: x.scatter(0, i[:1], s[:1]),
    "scatter_add": lambda x, i, s: x.scatter_add(0, i, s),
    "index_select": lambda x, i, s: x.index_select(1, i[0]),
    "index_add": lambda x, i, s: x.index_add(1, i[0], s.repeat(2, 1)[:3], alpha=2),
    "take": lambda x, i, s: x.take(i),
    "take_along_dim": lambda x, i, s: x.take_along_dim(i, 0),
    "getitem": lambda x, i, s: x[i[0], 1:3],
    "two indices": lambda x, i, s: x[i[1], i[0]],
}


@pytest.mark.parametrize("name", INDEXED)
def test_indices_like_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    source = RNG.normal(size=(2, 4))
    results = []
    for library in (tg, torch):
        x, s = library.tensor(M).requires_grad_(), library.tensor(source).requires_grad_()
        out = INDEXED[name](x, library.tensor(INDEX), s)
        (out * out).sum().backward()
        results.append([out.detach().numpy(), x.grad.numpy(), None if s.grad is None else s.grad.numpy()])
    for a, b in zip(*results, strict=True):
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(3, 4), (4, 2)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("ij->ji", [(3, 4)]),
        ("ii", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("i,j", [(3,), (4,)]),
        ("ij,ij,ij->j", [(3, 4)] * 3),
        ("...ij,...jk", [(2, 1, 3, 4), (5, 4, 2)]),
        ("a...->...", [(2, 3, 4)]),
        ("ab,cb,dc->da", [(2, 3), (4, 3), (5, 4)]),
        ("i,->i", [(3,), ()]),
    ],
)
def test_einsum(equation: str, shapes: list[Any]) -> None:
    arrays = [np.asarray(RNG.normal(size=s)) for s in shapes]
    np.testing.assert_allclose(
        tg.einsum(equation, *arrays).numpy(), np.einsum(equation, *arrays), rtol=1e-12, atol=1e-12
    )
    leaves = [tg.tensor(a).requires_grad_() for a in arrays]
    assert tg.testing.gradcheck(lambda *xs: tg.einsum(equation, *xs), leaves, mode="fast")


def test_functions_of_several() -> None:
    x = [np.ones((2, 1)), np.zeros((2, 1))]
    np.testing.assert_array_equal(tg.cat(x, 1).numpy(), np.concatenate(x, 1))
    np.testing.assert_array_equal(tg.stack(x, -1).numpy(), np.stack(x, -1))
    np.testing.assert_array_equal(tg.hstack(x).numpy(), np.hstack(x))
    np.testing.assert_array_equal(tg.vstack(x).numpy(), np.vstack(x))
    assert tg.cat([tg.tensor([1]), tg.tensor([2.5])]).dtype == tg.float32
    for k in (-1, 0, 2):
        np.testing.assert_array_equal(tg.diag([1.0, 2.0], k).numpy(), np.diag([1.0, 2.0], k))
    for indexing in ("ij", "xy"):
        grids = tg.meshgrid([1, 2, 3], [4, 5], indexing=indexing)  # type: ignore[arg-type]
        for a, b in zip(grids, np.meshgrid([1, 2, 3], [4, 5], indexing=indexing), strict=True):  # type: ignore[call-overload]
            np.testing.assert_array_equal(a.numpy(), b)


@given(st.data())
def test_getitem_is_numpys(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(float)
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    np.testing.assert_array_equal(tg.tensor(value, dtype=tg.float64)[key].numpy(), value[key])


@given(st.data())
def test_integer_arrays_are_numpys(data: st.DataObject) -> None:
    value = np.arange(24.0).reshape(2, 3, 4)
    key = data.draw(hnp.integer_array_indices((2, 3, 4)))
    np.testing.assert_array_equal(tg.tensor(value)[key].numpy(), value[key])


def test_assignment() -> None:
    x = tg.zeros(3, 4)
    x[1] = 2.0
    x[:, 0] = tg.tensor([5.0, 6.0, 7.0])
    x[x > 6] = -1
    expected = np.zeros((3, 4), np.float32)
    expected[1] = 2
    expected[:, 0] = [5, 6, 7]
    expected[expected > 6] = -1
    np.testing.assert_array_equal(x.numpy(), expected)
    v, base = tg.ones(2, requires_grad=True), tg.ones(3, requires_grad=True)
    y = base * 3
    y[:2] = v * 2
    (y * y).sum().backward()
    assert v.grad is not None
    assert base.grad is not None
    assert (v.grad.tolist(), base.grad.tolist()) == ([8.0, 8.0], [0.0, 0.0, 18.0])


x34 = tg.zeros(3, 4)
WRONG: list[tuple[Any, type[TinygradError], str]] = [
    (lambda: x34.reshape(5, -1), ShapeError, r"\[reshape\] got shape \(3, 4\) \(12 elements\) for \(5, -1\)"),
    (lambda: x34.permute(0, 0), ShapeError, r"\[permute\] got order \(0, 0\)"),
    (lambda: x34.transpose(0, 2), IndexOutOfRange, "axis 2 for a tensor of 2 axes"),
    (lambda: x34.expand(2, 4), ShapeError, r"\[expand\] got shapes \(3, 4\) and \(2, 4\)"),
    (lambda: x34.split([1, 1]), ShapeError, r"sizes \[1, 1\] for an axis of 3"),
    (lambda: x34.narrow(0, 2, 2), IndexOutOfRange, "start 2 and length 2 on an axis of 3"),
    (lambda: x34[3], IndexOutOfRange, r"index 3 on axis 0 of shape \(3, 4\)"),
    (lambda: x34[0, 0, 0], IndexOutOfRange, r"3 indices for shape \(3, 4\)"),
    (lambda: x34[[0, 7]], IndexOutOfRange, "index 7"),
    (lambda: x34[1.5], DTypeError, "an index of type float"),
    (lambda: x34[tg.tensor([0.5])], DTypeError, r"an index of dtype float32; .*\.long\(\)"),
    (
        lambda: x34.index_select(0, tg.tensor([3])),
        IndexOutOfRange,
        r"index 3 in row 0; expected 0 <= index < 3",
    ),
    (lambda: x34.index_select(0, tg.tensor([0.0])), DTypeError, "an index of dtype float32"),
    (lambda: x34.gather(0, tg.tensor([[5]])), IndexOutOfRange, r"index 5 in row 0, column 0"),
    (lambda: x34.scatter(0, tg.tensor([[0, 1]]), tg.zeros(3)), ShapeError, r"a source of shape \(3,\)"),
    (lambda: x34 @ x34, ShapeError, r"\[matmul\] got shapes \(3, 4\) and \(3, 4\); .*inner lengths 4 and 3 differ"),
    (lambda: x34 @ tg.tensor(1.0), ShapeError, "at least one axis each; hint: use"),
    (lambda: x34.mm(tg.zeros(4)), ShapeError, r"\[mm\] got shapes"),
    (lambda: tg.cat([]), ShapeError, "no tensors"),
    (lambda: tg.cat([x34, tg.zeros(2, 3)]), ShapeError, r"\[cat\] got shapes \(3, 4\) and \(2, 3\)"),
    (lambda: tg.stack([x34, tg.zeros(2)]), ShapeError, r"\[stack\] got shapes"),
    (lambda: tg.einsum("ij,jk", x34), ShapeError, "1 operands"),
    (lambda: tg.einsum("ijk", x34), ShapeError, "the term 'ijk'"),
    (lambda: tg.einsum("ij->k", x34), ShapeError, "the output 'k'"),
    (lambda: tg.zeros(2, requires_grad=True).__setitem__(0, 1.0), GraphError, "written in place; hint"),
    (lambda: tg.zeros(2).__setitem__(slice(None), tg.zeros(3)), ShapeError, r"a value of shape \(3,\) for \(2,\)"),
    (lambda: iter(tg.tensor(1.0)), ShapeError, "a 0-d tensor"),
    (lambda: iter(tg.tensor(1.0)), TypeError, "a 0-d tensor"),  # by which libraries tell a number from a list
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Any, error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
