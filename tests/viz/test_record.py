"""Drawings of functions that write: steps with an optimizer, statistics, random numbers. All of it is taken back."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import GraphError, TinygradError, TraceError
from tinygrad_nn.viz import Drawing


def results(drawing: Drawing) -> set[str]:
    """What results are called."""
    return {line[2:] for box in drawing.description.boxes for line in box.details if line.startswith("\u2192")}


def titles(drawing: Drawing) -> list[str]:
    return [box.title for box in drawing.description.boxes]


class Training:
    """A model, an optimizer and a step."""

    def __init__(self, compiled: bool = False, **settings: Any) -> None:
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.opt = tg.optim.Adam(self.model.parameters(), lr=0.1)

    def step(self, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        self.opt.zero_grad()
        loss = F.mse_loss(self.model(x), y)
        loss.backward()
        self.opt.step()
        return loss

    def state(self) -> list[Any]:
        found = [value.tolist() for value in self.model.state_dict().values()]
        found += [p.grad if p.grad is None else p.grad.tolist() for p in self.model.parameters()]
        found += [{key: value.tolist() for key, value in s.items()} for s in self.opt.state.values()]
        return [*found, tg.random.default_generator.get_state().tolist()]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("before", [0, 2])
def test_a_training_step_is_drawn_and_taken_back(compiled: bool, before: int) -> None:
    training = Training()
    x, y = tg.rand(6, 3), tg.rand(6, 1)
    for _ in range(before):
        training.step(x, y)
    state = training.state()
    drawing = tg.draw(tg.jit(training.step) if compiled else training.step, x, y)
    assert training.state() == state
    named = {f"new {name}" for name, _ in training.model.named_parameters()}
    named |= {"new 1.running_mean", "new exp_avg of 0.weight", "gradient of 3.bias"}
    assert named <= results(drawing)
    assert {"lr", "step of 0.weight", "0.weight", "y: input"} <= set(titles(drawing))
    assert "random bits" in titles(drawing)
    training.step(x, y)  # nothing is left that is not an ordinary tensor
    assert all(np.isfinite(p.detach().numpy()).all() for p in training.model.parameters())


def test_drawn_and_not_drawn_train_alike() -> None:
    ends = []
    for drawn in (False, True):
        tg.manual_seed(3)
        training = Training()
        x, y = tg.rand(6, 3), tg.rand(6, 1)
        for _ in range(3):
            if drawn:
                tg.draw(training.step, x, y)
            training.step(x, y)
        ends.append(training.state())
    assert ends[0] == ends[1]


def test_an_error_takes_back_too() -> None:
    w = tg.ones(2)

    def broken(x: tg.Tensor) -> tg.Tensor:
        w.add_(x)
        return w @ tg.ones(3)

    with pytest.raises(TinygradError, match="matmul"):
        tg.draw(broken, tg.ones(2))
    assert w.tolist() == [1.0, 1.0]
    assert (w + 1).tolist() == [2.0, 2.0]


def test_in_place_updates() -> None:
    total = tg.zeros(3)

    def run(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        y += 1
        total.add_(y)
        return y.sum()

    drawing = tg.draw(run, tg.ones(3))
    assert results(drawing) == {"new total"}
    assert titles(drawing).count("add") == 2
    assert total.tolist() == [0.0, 0.0, 0.0]


def test_an_argument_that_is_written() -> None:
    x = tg.ones(3)
    assert results(tg.draw(lambda x: x.mul_(3), x)) == {"new x"}
    assert x.tolist() == [1.0, 1.0, 1.0]


def test_a_parameter_that_is_read_after_its_update() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)

    def run(x: tg.Tensor) -> tg.Tensor:
        (w * x).sum().backward()
        with tg.no_grad():
            w.sub_(w.grad * 0.1)
        return (w * x).sum()

    drawing = tg.draw(run, tg.tensor([3.0, 4.0]))
    boxes = {box.key: box for box in drawing.description.boxes}
    sub = next(box for box in boxes.values() if box.title == "sub")
    assert sub.details == ("\u2192 new w",)
    assert [boxes[a.head].title for a in drawing.description.arrows if a.tail == sub.key] == ["mul"]
    assert (w.tolist(), w.grad) == ([1.0, 2.0], None)


def test_gradients_that_were_there_stay() -> None:
    w = tg.tensor(2.0, requires_grad=True)
    (w * w).backward()
    before = w.grad

    def run() -> tg.Tensor:
        w.grad = None
        loss = w * w * w
        loss.backward()
        return loss

    assert results(tg.draw(run)) == {"gradient of w"}
    assert w.grad is before


def test_what_is_detached_is_shown_with_what_it_is_of() -> None:
    drawing = tg.draw(lambda x: (x.exp() * x.exp().detach()).sum(), tg.tensor([1.0], requires_grad=True))
    labels = [arrow.label for arrow in drawing.description.arrows]
    assert labels.count("detached") == 1
    assert "constant" not in titles(drawing)


def test_a_detached_result_shows_what_made_it() -> None:
    assert titles(tg.draw(lambda x: x.exp().detach(), tg.tensor([1.0], requires_grad=True))) == ["x: input", "exp"]
    hessian = tg.draw(tg.hessian(lambda x: (x**3).sum()), tg.tensor([1.0, 2.0]))
    assert len(hessian.description.boxes) > 5


def test_a_checkpoint_shows_what_is_in_it() -> None:
    body, head = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 1)
    drawing = tg.draw(lambda x: head(tg.checkpoint(body, x)).sum(), tg.rand(5, 3))
    assert {"body.0.weight", "tanh", "x: input", "head.bias"} <= set(titles(drawing))
    assert "checkpoint" in [arrow.label for arrow in drawing.description.arrows]


def test_names_reach_through_functions_methods_and_lists() -> None:
    w, more = tg.tensor(2.0, requires_grad=True), [tg.tensor(3.0, requires_grad=True)]

    def inner(x: tg.Tensor) -> tg.Tensor:
        return x * w + more[0]

    def outer(scale: float, x: tg.Tensor) -> tg.Tensor:
        return inner(x) * scale

    assert {"w", "more 0"} <= set(titles(tg.draw(functools.partial(outer, 2.0), tg.tensor(1.0))))
    assert {"0.weight", "x: input"} <= set(titles(tg.draw(Training().step, tg.rand(6, 3), tg.rand(6, 1))))


def test_the_module_names_its_weights() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    weight, part = model[0].weight, model[1]
    drawing = tg.draw(lambda x: part(model[0](x)) + (weight * weight).sum(), tg.rand(1, 2))
    assert {"0.weight", "1.bias"} <= set(titles(drawing))
    assert "weight" not in titles(drawing)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(tg.ones(2))
            self.inner = nn.Linear(2, 2)

        def loss(self, x: tg.Tensor) -> tg.Tensor:
            return (self.inner(x) * self.scale).sum()

    assert {"scale", "inner.weight"} <= set(titles(tg.draw(Net().loss, tg.rand(1, 2))))


def test_a_variable_without_a_value_does_no_harm() -> None:
    def run(x: tg.Tensor) -> tg.Tensor:
        return later if len(x) == 0 else x * 2

    drawing = tg.draw(run, tg.rand(3))
    assert len(drawing.description.boxes) == 2
    later = tg.zeros(1)
    assert later.shape == (1,)


def test_two_models_keep_their_names() -> None:
    left, right = nn.Linear(2, 2), nn.Linear(2, 2)
    drawing = tg.draw(lambda x: left(x) + right(x), tg.rand(1, 2))
    assert {"left.weight", "right.weight"} <= set(titles(drawing))


def test_constants_are_one_number_or_one_box() -> None:
    drawing = tg.draw(lambda x: 1 - x * tg.full((3,), 0.5) + tg.arange(3) * 2, tg.rand(3))
    lines = [box.lines[0] for box in drawing.description.boxes]
    assert {"mul(\u00b7, 0.5)", "sub(1, \u00b7)", "constant"} <= set(lines)
    assert len(lines) == 5


def test_arrays_are_inputs() -> None:
    drawing = tg.draw(nn.Linear(3, 2), np.ones((4, 3), np.float32))
    assert ("input: input", "[4, 3] float32") in [(box.title, box.shape) for box in drawing.description.boxes]


def test_several_results_are_named() -> None:
    drawing = tg.draw(lambda x: {"up": x + 1, "down": x - 1}, tg.rand(3))
    assert results(drawing) == {"up", "down"}


def test_several_tensors_and_a_graph() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = (x**3).sum()
    (first,) = tg.autograd.grad(loss, x, create_graph=True)
    drawing = tg.draw([loss, first])
    assert len(drawing.description.results) == 2

    @tg.jit
    def f(a: tg.Tensor) -> tg.Tensor:
        return (a * 2).exp().sum()

    graph = tg.draw(f.graph(tg.rand(3)))
    assert {"input 0", "exp"} <= set(titles(graph))


def test_a_tensor_without_a_record_says_why() -> None:
    drawing = tg.draw(tg.ones(2) * 3 + 1)
    (note,) = drawing.description.notes
    assert "no operand requires grad" in note
    assert tg.draw(tg.ones(2, requires_grad=True) * 3).description.notes == ()


def test_no_drawing_inside_of_a_compiled_function() -> None:
    @tg.jit
    def f(x: tg.Tensor) -> tg.Tensor:
        tg.draw(x)
        return x

    with pytest.raises(TraceError, match=r"\[draw\] got a drawing inside of a compiled function"):
        f(tg.rand(3))


def test_a_function_that_only_writes() -> None:
    w = tg.zeros(2)

    def run() -> None:
        w.add_(1)

    assert results(tg.draw(run)) == {"new w"}
    with pytest.raises(GraphError, match="returns no tensor"):
        tg.draw(lambda: None)
