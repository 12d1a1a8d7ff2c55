"""Drawings of loops: a frame with the step drawn once, what goes in and out by name, and the gradient of it."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.viz import Drawing
from tinygrad_nn.viz.description import Arrow, Box

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="no program `dot` (apt install graphviz)")


def titles(drawing: Drawing, frame: str = "") -> list[str]:
    """What stands in the boxes whose innermost frame is called so, or in all."""
    boxes = drawing.description.boxes
    return [box.title for box in boxes if not frame or (box.group and box.group[-1].text == frame)]


def frames(drawing: Drawing) -> set[str]:
    """The frames of loops."""
    return {f.text for box in drawing.description.boxes for f in box.group if f.kind == "loop"}


def backs(drawing: Drawing) -> list[tuple[str, str, str]]:
    """The arrows that close loops: from, to, text."""
    title = {box.key: box.title for box in drawing.description.boxes}
    return [(title[a.tail], title[a.head], a.label) for a in drawing.description.arrows if a.back]


def arrows_to(drawing: Drawing, title: str) -> list[tuple[str, str]]:
    """What the box of this title reads, and what the arrows say."""
    boxes = {box.key: box for box in drawing.description.boxes}
    return [
        (boxes[a.tail].title, a.label)
        for a in drawing.description.arrows
        if boxes[a.head].title == title and not a.back
    ]


def test_an_rnn_is_a_frame_with_its_step_drawn_once() -> None:
    drawing = tg.draw(nn.RNN(3, 5), tg.ones(10, 2, 3))
    assert frames(drawing) == {"RNN, 10 steps"}
    assert sorted(titles(drawing, "RNN, 10 steps")) == ["W_ih x[t]", "add", "h", "matmul", "tanh"]
    assert backs(drawing) == [("tanh", "h", "t-1")]
    assert arrows_to(drawing, "h") == [("0", "h_0")]
    named = {"input: input", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "output, every t", "h_n"}
    assert named <= set(titles(drawing))
    matmul = next(box for box in drawing.description.boxes if box.title == "matmul" and len(box.group) == 2)
    read = {a.tail: a.label for a in drawing.description.arrows if a.head == matmul.key}
    names = {box.key: box.title for box in drawing.description.boxes}
    assert {names[key]: label for key, label in read.items()} == {"h": "", "weight_hh_l0": "T"}


def test_the_dot_text_has_the_frame_and_the_loop_edge() -> None:
    source = tg.draw(nn.RNN(3, 5), tg.ones(10, 2, 3)).source
    assert re.search(r'subgraph cluster_\d+ \{\n\s*label="RNN, 10 steps"', source)
    assert source.count('label=" t-1 "') == 1
    assert "scan" not in source
    assert "column" not in source


def test_an_lstm_has_two_states() -> None:
    drawing = tg.draw(nn.LSTM(3, 5), tg.ones(10, 2, 3))
    assert sorted(backs(drawing)) == [("add", "c", "t-1"), ("mul", "h", "t-1")]
    assert arrows_to(drawing, "c") == [("0", "c_0")]
    assert {"output, every t", "h_n", "c_n"} <= set(titles(drawing))
    assert titles(drawing, "LSTM, 10 steps").count("sigmoid") == 3


def test_given_states_are_named() -> None:
    drawing = tg.draw(nn.LSTM(3, 5), tg.ones(10, 2, 3), (tg.rand(1, 2, 5), tg.rand(1, 2, 5)))
    assert arrows_to(drawing, "h") == [("hx 0: input", "h_0")]
    assert arrows_to(drawing, "c") == [("hx 1: input", "c_0")]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: nn.GRU(3, 5), {"GRU, 10 steps"}),
        (lambda: nn.RNN(3, 5, 2), {"RNN, 10 steps, layer 0", "RNN, 10 steps, layer 1"}),
        (lambda: nn.RNN(3, 5, bidirectional=True), {"RNN, 10 steps", "RNN, 10 steps, backwards in time"}),
        (
            lambda: nn.LSTM(3, 5, 2, bidirectional=True),
            {
                "LSTM, 10 steps, layer 0",
                "LSTM, 10 steps, layer 1",
                "LSTM, 10 steps, layer 0, backwards in time",
                "LSTM, 10 steps, layer 1, backwards in time",
            },
        ),
    ],
)
def test_each_layer_and_direction_is_a_frame(make: Callable[[], nn.Module], expected: set[str]) -> None:
    drawing = tg.draw(make(), tg.ones(10, 1, 3))
    assert frames(drawing) == expected
    labels = [label for _, _, label in backs(drawing)]
    assert ("t+1" in labels) == any("backwards" in name for name in expected)


@pytest.mark.parametrize("module", [nn.RNN(3, 5), nn.LSTM(3, 5, 2), nn.GRU(3, 5, bidirectional=True)])
def test_no_flat_length_is_a_shape(module: nn.Module) -> None:
    def step(x: tg.Tensor) -> tg.Tensor:
        loss = (module(x)[0] ** 2).sum()
        loss.backward()
        return loss

    known = {len(p.shape) for p in module.parameters()}
    assert known == {1, 2}
    for drawing in (tg.draw(module, tg.ones(10, 2, 3)), tg.draw(step, tg.ones(10, 2, 3))):
        flat = [box for box in drawing.description.boxes if re.match(r"\[\d+\]", box.shape)]
        lengths = {p.shape for p in module.parameters()}
        assert all(tuple(map(int, re.findall(r"\d+", box.shape.partition("]")[0]))) in lengths for box in flat)


def test_the_gradient_is_a_frame_too() -> None:
    model = nn.RNN(3, 5)

    def step(x: tg.Tensor) -> tg.Tensor:
        loss = (model(x)[0] ** 2).mean()
        loss.backward()
        return loss

    drawing = tg.draw(step, tg.ones(10, 2, 3))
    assert frames(drawing) == {"RNN, 10 steps", "gradient of RNN, 10 steps, backwards in time"}
    assert ("matmul", "grad of h", "t+1") in backs(drawing)
    assert "grad of output[t]" in titles(drawing)
    left = ["grad of W_ih x, every t", "h before, every t", "output, every t"]  # each once, though asked for twice
    assert sorted(t for t in titles(drawing) if "every" in t) == left
    assert ("0", "grad of h_n") in arrows_to(drawing, "grad of h")
    results = {line for box in drawing.description.boxes for line in box.details}
    assert results == {f"\u2192 gradient of {name}" for name, _ in model.named_parameters()}


def test_the_second_derivative_has_a_gradient_of_the_gradient() -> None:
    model = nn.GRU(3, 4)

    def first(x: tg.Tensor) -> Any:
        return tg.grad(lambda x: (model(x)[0] ** 2).sum())(x)

    drawing = tg.draw(lambda x: tg.grad(lambda x: (first(x) ** 2).sum())(x), tg.rand(6, 2, 3))
    assert "gradient of gradient of GRU, 6 steps" in frames(drawing)


def test_a_tensor_shows_its_loops_and_the_names_of_a_model() -> None:
    model = nn.LSTM(3, 5)
    loss = model(tg.ones(10, 2, 3))[0].sum()
    assert frames(tg.draw(loss)) == {"LSTM, 10 steps"}
    assert "weight_hh_l0" not in titles(tg.draw(loss))
    assert {"weight_hh_l0", "bias_ih_l0"} <= set(titles(tg.draw(loss, model)))


def test_a_users_loop_has_the_names_of_its_code() -> None:
    w = tg.tensor(0.5, requires_grad=True)

    def step(total: tg.Tensor, entry: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        new = (w * total + entry).tanh()
        return new, new * 2

    drawing = tg.draw(lambda xs: tg.scan(step, tg.tensor(0.0), xs), tg.rand(7))
    assert frames(drawing) == {"scan, 7 steps"}
    assert {"total", "entry[t]", "tanh"} <= set(titles(drawing, "scan, 7 steps"))
    assert {"w", "y, every t", "total_n"} <= set(titles(drawing))
    assert backs(drawing) == [("tanh", "total", "t-1")]


def test_states_in_a_dict_have_their_keys() -> None:
    def step(state: dict[str, tg.Tensor], push: tg.Tensor) -> tuple[dict[str, tg.Tensor], None]:
        return {"place": state["place"] + state["speed"], "speed": state["speed"] * 0.9 + push}, None

    start = {"place": tg.zeros(2), "speed": tg.ones(2)}
    drawing = tg.draw(lambda xs: tg.scan(step, start, xs)[0]["place"], tg.rand(7, 2))
    assert {head for _, head, _ in backs(drawing)} == {"place", "speed"}


def test_states_that_change_places() -> None:
    def swap(state: tuple[tg.Tensor, tg.Tensor], _: None) -> tuple[tuple[tg.Tensor, tg.Tensor], None]:
        a, b = state
        return (b, a + b), None

    drawing = tg.draw(lambda: tg.scan(swap, (tg.tensor(0.0), tg.tensor(1.0)), length=9)[0][0])
    assert sorted(backs(drawing)) == [("add", "state 1", "t-1"), ("state 1", "state 0", "t-1")]


def test_a_state_that_nobody_reads_is_left_out() -> None:
    def step(state: dict[str, tg.Tensor], x: tg.Tensor) -> tuple[dict[str, tg.Tensor], None]:
        return {"kept": state["kept"] + x, "other": state["other"].exp()}, None

    start = {"kept": tg.zeros(()), "other": tg.zeros(())}
    drawing = tg.draw(lambda xs: tg.scan(step, start, xs)[0]["kept"], tg.rand(7))
    assert "other" not in titles(drawing)
    assert "exp" not in titles(drawing)


def test_loops_in_loops() -> None:
    w = tg.tensor(0.5, requires_grad=True)

    def row(h: tg.Tensor, entries: tg.Tensor) -> tuple[tg.Tensor, None]:
        return tg.scan(lambda c, x: ((w * c + x).tanh(), None), h, entries)[0], None

    def run(xs: tg.Tensor) -> tg.Tensor:
        loss = tg.scan(row, tg.tensor(0.0), xs)[0]
        loss.backward()
        return loss

    drawing = tg.draw(run, tg.rand(4, 3))
    assert {"scan, 4 steps", "scan, 3 steps", "gradient of scan, 3 steps, backwards in time"} <= frames(drawing)
    inner = next(box for box in drawing.description.boxes if box.title == "tanh")
    assert [frame.text for frame in inner.group] == ["scan, 4 steps", "scan, 3 steps"]
    assert {"\u2192 gradient of w"} <= {line for box in drawing.description.boxes for line in box.details}
    values = [box for box in drawing.description.boxes if "values of scan" in box.title]
    assert values
    assert all(box.shape == "" for box in values)  # several outputs, one after the other


def test_a_module_in_the_step_names_its_weights() -> None:
    cell = nn.GRUCell(3, 4)

    class Net(nn.Module):
        def forward(self, x: tg.Tensor) -> Any:
            return tg.scan(lambda h, x: (cell(x, h), None), tg.zeros(2, 4), x)[0]

    drawing = tg.draw(Net(), tg.rand(7, 2, 3))
    assert {"weight_ih", "weight_hh", "bias_ih", "bias_hh"} <= set(titles(drawing))
    assert frames(drawing) == {"scan, 7 steps"}


def test_no_steps_and_one_step() -> None:
    assert frames(tg.draw(nn.RNN(3, 5), tg.ones(1, 2, 3))) == {"RNN, 1 step"}
    drawing = tg.draw(lambda xs: tg.scan(lambda c, x: (c + x, c), tg.zeros(2), xs), tg.zeros(0, 2))
    assert frames(drawing) == {"scan, 0 steps"}
    unrolled = tg.draw(lambda xs: tg.scan(lambda c, x: (c + x, c), tg.zeros(2), xs), tg.zeros(0, 2), unroll=True)
    assert frames(unrolled) == {"scan, 0 steps"}
    nothing = tg.draw(lambda xs: tg.scan(lambda c, x: ((), x * 2), (), xs)[1], tg.rand(4, 2))
    assert frames(nothing) == {"scan, 4 steps"}
    assert backs(nothing) == []


def test_gradients_are_those_of_the_weights() -> None:
    model = nn.RNN(3, 5)
    drawing = tg.draw(model, tg.ones(10, 2, 3), grads=True)
    assert [box.title for box in drawing.description.boxes if "no gradient yet" in box.details] == [
        box.title for box in drawing.description.boxes if box.role == "parameter"
    ]
    model(tg.ones(10, 2, 3))[0].sum().backward()
    drawing = tg.draw(model, tg.ones(10, 2, 3), grads=True)
    assert all("|grad|" in box.details[0] for box in drawing.description.boxes if box.role == "parameter")


# ---- unrolled


def test_unrolled_has_a_frame_for_each_step() -> None:
    drawing = tg.draw(nn.RNN(3, 5), tg.ones(4, 2, 3), unroll=True)
    assert frames(drawing) == {"RNN, 4 steps, unrolled", "step 0", "step 1", "step 2", "step 3"}
    assert titles(drawing).count("tanh") == 4
    assert backs(drawing) == []
    boxes: dict[int, Box] = {box.key: box for box in drawing.description.boxes}
    flows: list[Arrow] = [a for a in drawing.description.arrows if boxes[a.tail].title == "tanh"]
    into = [boxes[a.head].group[-1].text for a in flows if boxes[a.head].title == "matmul"]
    assert into == ["step 1", "step 2", "step 3"]
    assert [t for t in titles(drawing) if t.startswith("W_ih")] == [f"W_ih x[{t}]" for t in range(4)]


def test_unrolled_loops_in_loops_and_gradients() -> None:
    def row(h: tg.Tensor, entries: tg.Tensor) -> tuple[tg.Tensor, None]:
        return tg.scan(lambda c, x: ((c + x).tanh(), None), h, entries)[0], None

    def run(xs: tg.Tensor) -> Any:
        return tg.grad(lambda xs: tg.scan(row, tg.tensor(0.0), xs)[0])(xs)

    drawing = tg.draw(run, tg.rand(2, 3), unroll=True)
    assert titles(drawing).count("tanh") == 6
    assert backs(drawing) == []
    assert {"scan, 3 steps, unrolled", "gradient of scan, 2 steps, backwards in time, unrolled"} <= frames(drawing)


def test_unrolled_backwards_begins_at_the_end() -> None:
    drawing = tg.draw(
        lambda xs: tg.scan(lambda c, x: (c * x, None), tg.ones(()), xs, reverse=True)[0], tg.rand(3), unroll=True
    )
    first = next(a.head for a in drawing.description.arrows if a.label == "c_0")
    assert next(box.group[-1].text for box in drawing.description.boxes if box.key == first) == "step 2"


def test_unrolled_is_refused_where_there_is_no_room() -> None:
    drawing = tg.draw(nn.RNN(3, 5), tg.ones(1000, 2, 3), unroll=True)
    assert frames(drawing) == {"RNN, 1000 steps"}
    (note,) = drawing.description.notes
    assert note == "RNN, 1000 steps: not unrolled, its 6,000 boxes are more than limit=400"
    assert note in drawing.source


def test_the_page_on_drawings_shows_what_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "drawings.md").read_text(encoding="utf-8")
    assert f"```text\n{tg.draw(nn.RNN(3, 5), tg.ones(10, 2, 3))}\n```" in page


@needs_dot
def test_a_picture_of_a_loop_shows_its_texts() -> None:
    svg = tg.draw(nn.LSTM(3, 5), tg.ones(10, 2, 3)).picture("svg").decode()
    shown = {"".join(text.itertext()).strip() for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"LSTM, 10 steps", "t-1", "c_n", "h_0", "weight_hh_l0"} <= shown


@pytest.mark.parametrize(
    ("module", "gates"),
    [
        (nn.LSTM(3, 5), {"input gate i", "forget gate f", "candidate g", "output gate o"}),
        (nn.GRU(3, 5), {"reset gate r", "update gate z", "candidate n"}),
        (nn.LSTM(3, 5, proj_size=2), {"input gate i", "forget gate f", "candidate g", "output gate o"}),
    ],
)
def test_gates_have_their_names(module: nn.Module, gates: set[str]) -> None:
    found = titles(tg.draw(module, tg.ones(10, 2, 3)), f"{type(module).__name__}, 10 steps")
    assert gates <= set(found)
    assert not any(title.startswith("slice") for title in found)


def test_what_is_no_gate_is_a_slice() -> None:
    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h = h + x[:, :2]
        return h, h

    found = titles(tg.draw(lambda x: tg.scan(step, tg.zeros(2, 2), x)[1], tg.ones(4, 2, 4)), "scan, 4 steps")
    assert "slice [:, 0:2]" in found
