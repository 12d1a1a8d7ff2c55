"""What is drawn as one box, and that whatever is drawn is small enough for Graphviz."""

from __future__ import annotations

import math
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError
from tinygrad_nn.viz import Drawing
from tinygrad_nn.viz.folding import COST, cost

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="no program `dot` (apt install graphviz)")


class Loop(nn.Module):
    """A cell in a Python loop, and a layer that reads every state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(3, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        h, out = tg.zeros(len(x), 5), []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            out.append(self.head(h))
        return tg.stack(out, 1)


def attend(q: tg.Tensor, k: tg.Tensor, v: tg.Tensor) -> tg.Tensor:
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


class Block(nn.Module):
    """Attention of twelve heads, each a module."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.ModuleList([nn.Linear(24, 2) for _ in range(3)]) for _ in range(12)])
        self.norm = nn.LayerNorm(24)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.norm(x + tg.cat([attend(*(part(x) for part in head)) for head in self.heads], -1))


class Dense(nn.Module):
    """Every layer reads all before it."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3 * (k + 1), 3) for k in range(count)])

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        known = [x]
        for layer in self.layers:
            known.append(layer(tg.cat(known, -1)).relu())
        return known[-1]


def lines(drawing: Drawing) -> set[str]:
    """The first lines of the boxes."""
    return {box.lines[0] for box in drawing.description.boxes}


def chain(x: tg.Tensor) -> tg.Tensor:
    for k in range(1000):
        x = (x.sin, x.exp, x.tanh)[k % 3]()
    return x


def trained(steps: int, **settings: Any) -> Drawing:
    model = Loop()

    def run(x: tg.Tensor) -> tg.Tensor:
        loss = ((model(x) - 1.0) ** 2).mean()
        loss.backward()
        return loss

    return tg.draw(run, tg.rand(2, steps, 3), **settings)


def heads_of_tensors(x: tg.Tensor) -> Drawing:
    weights = [[[tg.rand(24, 2, requires_grad=True) for _ in range(3)] for _ in range(12)] for _ in range(6)]

    def run(x: tg.Tensor) -> tg.Tensor:
        for heads in weights:
            x = x + tg.cat([attend(*(x @ w for w in head)) for head in heads], -1)
        return x

    return tg.draw(run, x)


def at_random(count: int) -> Callable[[tg.Tensor], tg.Tensor]:
    def run(x: tg.Tensor) -> tg.Tensor:
        rng, made = random.Random(count), [x]
        for _ in range(count):
            a, b = rng.choice(made), made[-1] if rng.random() < 0.5 else rng.choice(made)
            made.append(rng.choice((a + b, a * b, a - b)))
        return tg.stack(made).sum()

    return run


LARGE: dict[str, Callable[[], Drawing]] = {
    "40 calls": lambda: tg.draw(Loop(), tg.rand(2, 40, 3)),
    "40 calls, unrolled": lambda: tg.draw(Loop(), tg.rand(2, 40, 3), unroll=True),
    "40 calls, from the tensor": lambda: tg.draw(Loop()(tg.rand(2, 40, 3)).sum()),
    "40 calls and their gradient": lambda: trained(40),
    "a chain": lambda: tg.draw(chain, tg.rand(3)),
    "500 inputs": lambda: tg.draw(lambda *xs: tg.stack([x * 2 for x in xs]).sum(), *[tg.rand(3) for _ in range(500)]),
    "a sum of 500 inputs": lambda: tg.draw(lambda *xs: sum(xs, tg.zeros(3)), *[tg.rand(3) for _ in range(500)]),
    "12 heads in 6 layers": lambda: tg.draw(nn.Sequential(*[Block() for _ in range(6)]), tg.rand(2, 5, 24)),
    "heads of tensors": lambda: heads_of_tensors(tg.rand(2, 5, 24)),
    "200 layers": lambda: tg.draw(nn.Sequential(*[nn.Linear(3, 3) for _ in range(200)]), tg.rand(2, 3)),
    "dense 15": lambda: tg.draw(Dense(15), tg.rand(2, 3)),
    "dense 60": lambda: tg.draw(Dense(60), tg.rand(2, 3)),
    "19 steps of an LSTM": lambda: tg.draw(nn.LSTM(3, 4), tg.rand(19, 2, 3), unroll=True),
    "random 150": lambda: tg.draw(at_random(150), tg.rand(3)),
    "random 3000": lambda: tg.draw(at_random(3000), tg.rand(3)),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_drawn_is_small_enough(name: str) -> None:
    drawing = LARGE[name]()
    whole = drawing.description
    assert len(whole.boxes) <= 400
    assert cost(whole) <= COST
    assert drawing.source.count("->") <= 2 * len(whole.arrows)
    assert "nslimit" in drawing.source
    keys = {box.key for box in whole.boxes}
    assert all(arrow.tail in keys and arrow.head in keys for arrow in whole.arrows)
    assert whole.results
    assert keys.issuperset(whole.results)
    assert str(LARGE[name]()).count("\n") == str(drawing).count("\n")  # the same every time


@needs_dot
@pytest.mark.parametrize("name", ["40 calls and their gradient", "dense 15", "random 150", "heads of tensors"])
def test_what_is_drawn_can_be_laid_out(name: str) -> None:
    run = subprocess.run(["dot", "-Tsvg"], input=LARGE[name]().source.encode(), capture_output=True, check=True)
    assert b"<svg" in run.stdout
    assert run.stderr == b""


def test_calls_of_a_module_are_one_box() -> None:
    drawing = tg.draw(Loop(), tg.rand(2, 40, 3))
    assert lines(drawing) == {"x: input", "slice  x 40", "cell: RNNCell  x 40", "head: Linear  x 40", "cat axis 1"}
    cell = next(box for box in drawing.description.boxes if box.title.startswith("cell"))
    expected = ("6 operations each", "weight_ih [5, 3]", "weight_hh [5, 5]", "bias_ih [5]", "bias_hh [5]")
    assert set(cell.lines[1:-1]) == set(expected)
    again = [a for a in drawing.description.arrows if a.tail == a.head]
    assert [(a.tail, a.label) for a in again] == [(cell.key, "next call")]  # a call of the head reads no other one
    assert drawing.description.notes == ()


@pytest.mark.parametrize("steps", [2, 3])
def test_few_calls_are_one_box_too_unless_unrolled(steps: int) -> None:
    x = tg.rand(2, steps, 3)
    assert f"cell: RNNCell  x {steps}" in lines(tg.draw(Loop(), x))
    unrolled = tg.draw(Loop(), x, unroll=True)
    frames = {frame.text for box in unrolled.description.boxes for frame in box.group}
    assert {f"cell: RNNCell, call {k + 1}" for k in range(steps)} <= frames
    assert [box.title for box in unrolled.description.boxes].count("tanh") == steps


def test_one_call_is_no_repetition() -> None:
    drawing = tg.draw(Loop(), tg.rand(2, 1, 3))
    assert not any("x 1" in line or "call" in line for line in lines(drawing))


def test_a_module_without_weights_may_be_used_again() -> None:
    relu = nn.ReLU()
    drawing = tg.draw(nn.Sequential(nn.Linear(3, 3), relu, nn.Linear(3, 3), relu), tg.rand(2, 3))
    assert [box.title for box in drawing.description.boxes].count("relu") == 2


def test_a_shared_encoder_is_one_box_without_a_loop() -> None:
    encoder = nn.Linear(3, 4)
    drawing = tg.draw(lambda a, b: (encoder(a) - encoder(b)).sum(), tg.rand(2, 3), tg.rand(2, 3))
    assert "Linear  x 2" in lines(drawing)
    assert not any(arrow.tail == arrow.head for arrow in drawing.description.arrows)


def test_the_weights_of_an_outer_call_are_inside_of_it() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return self.inner(self.inner(x))

    drawing = tg.draw(Twice(), tg.rand(2, 3))
    assert lines(drawing) == {"x: input", "inner: Sequential  x 2"}


def test_gates_stay_apart() -> None:
    drawing = tg.draw(nn.LSTM(3, 5), tg.rand(4, 2, 3))
    assert [box.title for box in drawing.description.boxes].count("sigmoid") == 3


def test_equal_terms_of_a_sum_are_one_box() -> None:
    drawing = tg.draw(lambda *xs: sum((x * 2 for x in xs), tg.zeros(3)), *[tg.rand(3) for _ in range(20)])
    assert {"xs 0: input", "xs 19: input"}.isdisjoint(lines(drawing))
    assert "xs 0: input \u2026 xs 19: input  x 20" in lines(drawing)
    assert "mul(\u00b7, 2)  x 20" in lines(drawing)


def test_a_folded_drawing_says_so() -> None:
    drawing = tg.draw(chain, tg.rand(3))
    (note,) = drawing.description.notes
    found = re.fullmatch(r"folded: (\d+) of 1,001 nodes are in \d boxes", note)
    assert found
    assert note in drawing.source
    assert note in str(drawing)
    assert sum(box.count for box in drawing.description.boxes) == 1001


def test_folding_counts_every_node() -> None:
    for name in ("12 heads in 6 layers", "200 layers", "heads of tensors"):
        whole = LARGE[name]().description
        (note,) = whole.notes
        assert f"of {sum(box.count for box in whole.boxes):,} nodes" in note


def test_heads_are_folded_within_their_layer() -> None:
    drawing = LARGE["12 heads in 6 layers"]()
    groups = {frame.text for box in drawing.description.boxes for frame in box.group}
    assert {f"{k}: Block" for k in range(6)} <= groups
    assert "norm: LayerNorm" in lines(drawing)


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 30])
@pytest.mark.parametrize("name", ["lstm", "loop", "random"])
def test_limit_is_kept(limit: int, name: str) -> None:
    draws: dict[str, Callable[[], Drawing]] = {
        "lstm": lambda: tg.draw(nn.LSTM(3, 4, 2), tg.rand(5, 2, 3), limit=limit),
        "loop": lambda: trained(5, limit=limit),
        "random": lambda: tg.draw(at_random(60), tg.rand(3), limit=limit),
    }
    drawing = draws[name]()
    assert 1 <= len(drawing.description.boxes) <= limit
    assert drawing.description.notes


def test_a_part_says_what_is_left_out() -> None:
    drawing = tg.draw(
        lambda *xs: tg.stack([f(xs[0]) for f in (tg.Tensor.sin, tg.Tensor.cos, tg.Tensor.exp)]).sum(),
        tg.rand(3),
        limit=2,
    )
    assert drawing.description.notes == ("4 of 6 nodes are left out",)


def test_depth_folds_modules_and_loops() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 5))
    assert lines(tg.draw(model, tg.rand(6, 2, 3), depth=2)) >= {"0: Linear", "1: LSTM"}
    assert lines(tg.draw(model, tg.rand(6, 2, 3), depth=3)) >= {"LSTM, 6 steps", "0.weight"}
    assert len(tg.draw(model, tg.rand(6, 2, 3), depth=1).description.boxes) == 2


def test_every_op_shows_what_is_passed_over() -> None:
    drawing = tg.draw(lambda x: (x.reshape(3, 2) * 2 + 1).sum(), tg.rand(2, 3), every_op=True)
    assert {"reshape", "2", "1"} <= lines(drawing)
    assert "reshape" not in lines(tg.draw(lambda x: (x.reshape(3, 2) * 2 + 1).sum(), tg.rand(2, 3)))


@pytest.mark.parametrize("limit", [0, -1, 2.5, "many", True, None])
def test_a_wrong_limit_is_named(limit: Any) -> None:
    with pytest.raises(ConfigError, match=r"\[draw\] got limit .*; expected a number of boxes, 1 or more"):
        tg.draw(tg.ones(1), limit=limit)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"depth": -1}, r"got depth -1; expected None or a number"),
        ({"depth": 1.5}, r"got depth 1\.5"),
        ({"unroll": 3}, r"got unroll 3; expected True or False"),
        ({"values": "yes"}, r"got values 'yes'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        tg.draw(tg.ones(1), **settings)


def test_cost_grows_with_what_arrows_pass() -> None:
    short = tg.draw(lambda x: F.relu(x).exp().sum(), tg.rand(3)).description
    skipping = tg.draw(lambda x: (F.relu(x).exp().sin() + x).sum(), tg.rand(3)).description
    assert cost(short) == 4 + 3
    assert cost(skipping) == 6 + 5 + 4


class Tower(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(layers)])

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        for layer in self.layers:
            x = layer(x).relu() + x
        return x


def test_a_tall_model_is_more_than_one_box() -> None:
    """Folding its modules would leave one box for all; what looks alike as one shows what a layer does."""
    titles = {(box.title, box.times) for box in tg.draw(Tower(200), tg.rand(2, 3)).description.boxes}
    assert {("relu", 199), ("layers.0.weight \u2026 layers.199.weight", 200)} <= titles
    notes = tg.draw(Tower(200), tg.rand(2, 3)).description.notes
    assert notes[0].endswith("nodes are in 6 boxes")
