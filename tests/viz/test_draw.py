"""Drawings: what they show, names that must be escaped, graphs too large to draw, machines without Graphviz."""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import GraphError, MissingExtra

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="no program `dot` (apt install graphviz)")
NASTY = [
    "a&lt;b&amp;",
    "\\N",
    'say "hi"',
    "back\\slash",
    "two\nlines",
    "<b>bold</b>",
    "<html>",
    "\x00\x07",
    "é漢",
    "x" * 500,
    "\\",
    "a|{b}",
]


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_a_module_shows_its_parameters_by_path() -> None:
    text = str(tg.draw(model(), tg.ones(2, 4)))
    assert text.splitlines()[0] == "add  [2, 3] float32  in Sequential.2: Linear"
    assert all(name in text for name in ("0.weight", "0.bias", "2.weight", "2.bias", "input  [2, 4]"))
    source = tg.draw(model(), tg.ones(2, 4)).source
    assert source.count("subgraph") == 4
    assert source.count("broadcast") == 0
    assert tg.draw(model(), tg.ones(2, 4), every_op=True).source.count("broadcast") == 2


def test_a_function_groups_by_the_modules_it_calls() -> None:
    net = model()
    drawing = tg.draw(lambda x: net(x).sum(), tg.ones(2, 4))
    assert "2: Linear" in drawing.source
    assert "0.weight" in drawing.source


def test_values_and_gradients() -> None:
    x = tg.tensor([3.0, 4.0], requires_grad=True)
    loss = (x * x).sum()
    assert "no gradient yet" in str(tg.draw(loss, grads=True))
    assert "|grad|" not in str(tg.draw(loss, grads=True))
    loss.backward()
    assert "|grad| 10" in str(tg.draw(loss, grads=True))
    assert "[3. 4.]" in str(tg.draw(loss, values=True))
    assert "25" in str(tg.draw(loss, values=True))


def test_shared_nodes_are_written_once() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    y = x.exp()
    assert str(tg.draw(y * y)).count("(above)") == 1


def test_modules_fold_at_a_depth() -> None:
    drawing = tg.draw(model(), tg.ones(2, 4), depth=2)
    assert "2 operations, 2 parameters" in drawing.source
    rnn = tg.draw(nn.RNN(3, 5), tg.ones(50, 1, 3), depth=1)
    assert len(rnn.description.boxes) <= 6


def test_drawing_changes_nothing() -> None:
    net, x = model(), tg.ones(2, 4)
    before = net(x).tolist()
    tg.draw(net, x)
    assert net(x).tolist() == before
    assert net[0].weight.grad is None


def test_100_000_equal_operations_are_one_box() -> None:
    y = x = tg.tensor(1.0, requires_grad=True)
    for _ in range(100_000):
        y = y * 1.0
    drawing = tg.draw(y)
    assert len(drawing.description.boxes) == 3
    assert "mul(\u00b7, 1)  x 99999" in str(drawing)
    assert len(drawing.source) < 10_000
    assert x.requires_grad


class Named(nn.Module):
    """A module with children under any names."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        for name in names:
            vars(self)[name] = nn.Linear(2, 2)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        for child in self.children():
            x = child(x)
        return x


def texts(svg: str) -> set[str]:
    """What is written in a picture."""
    return {"".join(text.itertext()) for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


@needs_dot
def test_nasty_names_render(tmp_path: Path) -> None:
    drawing = tg.draw(Named(NASTY), tg.ones(1, 2))
    svg = drawing.render(tmp_path / "nasty.svg").read_text()
    shown = texts(svg)
    for name in NASTY:  # as they are, but for what cannot be seen and what is too long
        assert f"{repr(name)[1:-1] if not name.isprintable() else name}: Linear" in shown or len(name) > 80
    assert any(text.startswith("xxx") and text.endswith("...") for text in shown)
    assert drawing.source.count("\n") == str(drawing.graphviz).count("\n")  # no name began a line
    assert "\t" not in drawing.source


@needs_dot
@settings(max_examples=60)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=70).filter(lambda n: "." not in n))
def test_any_name_is_shown_as_it_is(name: str) -> None:
    svg = tg.draw(Named([name]), tg.ones(1, 2)).picture("svg").decode()
    wanted = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name) + ": Linear"
    assert wanted.replace(" ", "\xa0") in {text.replace(" ", "\xa0") for text in texts(svg)} or len(wanted) > 80


@needs_dot
@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_pictures_are_rendered(tmp_path: Path, kind: str) -> None:
    path = tg.draw(model(), tg.ones(2, 4)).render(tmp_path / "graph", format=kind)
    assert path.name == f"graph.{kind}"
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[kind]
    assert path.read_bytes().startswith(start)


@needs_dot
def test_a_notebook_gets_svg() -> None:
    bundle = tg.draw(model(), tg.ones(2, 4))._repr_mimebundle_()
    assert "<svg" in bundle["image/svg+xml"]


def test_without_any_renderer_there_is_text_and_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    def missing(module: str, extra: str = "") -> Any:
        if module == "pygraphviz":
            raise MissingExtra("[pygraphviz] got no module")
        return __import__(module)

    monkeypatch.setattr(sys.modules["tinygrad_nn.viz.draw"], "require", missing)
    drawing = tg.draw(model(), tg.ones(2, 4))
    with pytest.raises(MissingExtra, match="apt install graphviz"):
        drawing.render(tmp_path / "x.svg")
    bundle = drawing._repr_mimebundle_()
    assert "apt install graphviz" in bundle["text/plain"]
    assert "0.weight" in bundle["text/plain"]
    assert drawing.save(tmp_path / "x.dot").read_text() == drawing.source


def test_without_dot_pygraphviz_renders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pygraphviz")
    graphviz = pytest.importorskip("graphviz")

    def absent(*args: Any, **kwargs: Any) -> None:
        raise graphviz.ExecutableNotFound(["dot"])

    monkeypatch.setattr(graphviz.Digraph, "pipe", absent)
    assert tg.draw(model(), tg.ones(2, 4)).picture("svg").lstrip().startswith(b"<?xml")


def test_without_the_graphviz_package_there_is_text_and_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawing = tg.draw(model(), tg.ones(2, 4))
    monkeypatch.setitem(sys.modules, "graphviz", None)
    for call in (lambda: drawing.source, lambda: drawing.graphviz, lambda: drawing.render(tmp_path / "x.svg")):
        with pytest.raises(MissingExtra, match=r"\[graphviz\] got no module named 'graphviz'.*pip install tinygrad_nn"):
            call()
    assert "0.weight" in str(drawing)
    assert "pip install tinygrad_nn" in drawing._repr_mimebundle_()["text/plain"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tg.draw(3), r"\[draw\] got a int; expected a tensor, a module or a function"),
        (lambda: tg.draw(model()), "a module without an input"),
        (lambda: tg.draw(lambda x: 3.0, tg.ones(1)), "returns no tensor"),
        (lambda: tg.draw(tg.ones(1)).render("x", format="gif"), "format 'gif'"),
        (lambda: tg.draw([]), "got a list; expected a tensor"),
        (lambda: tg.draw([tg.ones(1), 3]), "got a list; expected a tensor"),
        (lambda: tg.draw(tg.ones(1), tg.ones(1)), r"hint: tg.draw\(loss, model\)"),
    ],
)
def test_misuse_is_named(call: Any, text: str) -> None:
    with pytest.raises(GraphError, match=text):
        call()
