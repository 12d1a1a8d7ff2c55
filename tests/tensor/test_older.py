"""Second names, sizes that change in place, and tensors like another: as PyTorch has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tinygrad_nn.errors import GraphError, ShapeError, TraceError


def same(call: Callable[[Any], Any]) -> None:
    ours, theirs = call(tg), call(torch)
    assert ours == theirs


def seen(x: Any) -> Any:
    return tuple(x.shape), x.tolist()


MOVES: dict[str, Callable[[Any], Any]] = {
    "unsqueeze": lambda x: x.unsqueeze_(1),
    "squeeze": lambda x: x.unsqueeze_(0).squeeze_(),
    "squeeze one": lambda x: x.unsqueeze_(0).squeeze_(0),
    "t": lambda x: x.t_(),
    "transpose": lambda x: x.transpose_(0, -1),
    "swapaxes": lambda x: x.swapaxes_(0, 1),
    "resize": lambda x: x.resize_(3, 2),
    "resize to fewer": lambda x: x.resize_((2, 2)),
    "resize as": lambda x: x.resize_as_(x.new(6)),
    "resize to nothing": lambda x: x.resize_(0),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("of_view", [False, True])
def test_another_shape_in_place(name: str, of_view: bool) -> None:
    def call(lib: Any) -> Any:
        base = lib.arange(6.0)
        x = base.view(2, 3) if of_view else lib.arange(6.0).view(2, 3).clone()
        assert MOVES[name](x) is x
        x += 10  # what it shares, it shares still
        return seen(x), seen(base)

    same(call)


def test_more_elements_are_room_to_write() -> None:
    same(lambda lib: seen(lib.ones(2).resize_(2, 3).fill_(4)))
    same(lambda lib: seen(lib.ones(2, dtype=lib.int64).new().resize_as_(lib.ones(3)).zero_()))


@pytest.mark.parametrize("name", ["unsqueeze", "t", "transpose", "squeeze"])
def test_gradients_follow_the_shape(name: str) -> None:
    weights = np.arange(6.0).reshape(3, 2)

    def call(lib: Any) -> Any:
        x = lib.ones(2, 3, requires_grad=True)
        y = MOVES[name](x * lib.arange(3.0))
        (y * lib.tensor(weights, dtype=lib.float32).reshape(tuple(y.shape))).sum().backward()
        return x.grad.tolist()

    same(call)


def test_a_leaf_moves_under_no_grad_and_stays_one() -> None:
    def call(lib: Any) -> Any:
        x = lib.ones(3, requires_grad=True)
        with lib.no_grad():
            x.unsqueeze_(0)
        (x * 2).sum().backward()
        return seen(x), x.is_leaf, seen(x.grad)

    same(call)
    with pytest.raises(GraphError, match="leaf"):
        tg.ones(3, requires_grad=True).unsqueeze_(0)


def test_views_made_before_say_that_they_ended() -> None:
    x = tg.arange(9.0).reshape(3, 3).clone()
    row = x[0]
    x.t_()
    with pytest.raises(GraphError, match="in place since"):
        row.tolist()
    with pytest.raises(GraphError, match="in place since"):
        row.add_(1)
    assert x[0].tolist() == [0, 3, 6]
    part = tg.arange(9.0).view(3, 3)
    corner = part[1:]
    part.t_()
    with pytest.raises(GraphError, match="in place since"):
        corner.zero_()


def test_what_cannot_be_resized() -> None:
    with pytest.raises(GraphError, match="requires grad"):
        tg.ones(3, requires_grad=True).resize_(1, 3)
    with pytest.raises(GraphError, match="clone"):
        tg.ones(4)[:2].resize_(3)
    with pytest.raises(ShapeError, match="lie in that order"):
        tg.ones(2, 3).t().resize_(6)


def test_compiled_functions_move_what_they_made() -> None:
    @tg.jit
    def made(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        y.unsqueeze_(0)
        return y.t_() + 1

    @tg.jit
    def given(x: tg.Tensor) -> tg.Tensor:
        return x.unsqueeze_(0)

    assert made(tg.ones(3)).tolist() == [[3], [3], [3]]
    with pytest.raises(TraceError, match="use unsqueeze,"):
        given(tg.ones(3))


@pytest.mark.parametrize("shape", [(3, 3), (7, 3), (3, 7), (2, 2, 2), (1, 4)])
@pytest.mark.parametrize("wrap", [False, True])
def test_fill_diagonal(shape: tuple[int, ...], wrap: bool) -> None:
    same(lambda lib: seen(lib.zeros(*shape).fill_diagonal_(2.5, wrap=wrap)))


def test_fill_diagonal_needs_one() -> None:
    for shape in [(3,), (2, 3, 2)]:
        with pytest.raises(ShapeError, match="fill_diagonal_"):
            tg.zeros(*shape).fill_diagonal_(1)


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_older_names() -> None:
    same(lambda lib: [lib.ones(2, 3).nelement(), lib.ones(2, 3).ndimension(), lib.ones(2, 3).stride()])
    same(lambda lib: [lib.ones(2, 3, 4).permute(2, 0, 1).stride(), lib.ones(2, 3).stride(-1)])
    same(lambda lib: lib.arange(6.0).view(2, 3)[1].storage().tolist())
    same(lambda lib: lib.ones(3, requires_grad=True).data.storage().tolist())
    same(lambda lib: [lib.ones(2).is_same_size(lib.zeros(2)), lib.ones(2).is_same_size(lib.zeros(2, 1))])
    same(lambda lib: [lib.tensor([0.0]).is_nonzero(), lib.tensor(True).is_nonzero()])
    same(lambda lib: seen(lib.ones(2).share_memory_()))


def test_new_is_of_the_same_dtype() -> None:
    same(lambda lib: [seen(lib.ones(2, dtype=lib.int64).new([1, 2])), tuple(lib.ones(2).new(3, 4).shape)])
    same(lambda lib: seen(lib.ones(2, 3).new()))
    same(lambda lib: tuple(lib.ones(2, 3).new(lib.zeros(4, 5).size()).shape))
    assert tg.ones(2, dtype=tg.float64).new(3).dtype == tg.float64


@pytest.mark.parametrize("value", [1.5, [1.5], [[1.5]]])
def test_tensors_of_one_element_in_a_list_are_numbers(value: Any) -> None:
    same(lambda lib: seen(lib.tensor([[lib.tensor(value)], [lib.tensor([2.0])]])))
    same(lambda lib: seen(lib.tensor([lib.tensor(value), lib.tensor([[2.0]])])))
