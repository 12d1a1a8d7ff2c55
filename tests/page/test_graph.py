"""The graph of a page: what its boxes, frames and figures say, and that it can be folded, searched and walked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.page.models import MODELS, forecast, iris, labels
from tests.page.test_page import NASTY
from tinygrad_nn import executor, nn
from tinygrad_nn.graph.graph import NO_ATTRS, Graph, Node
from tinygrad_nn.ops.source import INPUT
from tinygrad_nn.ops.table import TABLE
from tinygrad_nn.page import graph as graphs
from tinygrad_nn.page import subject as subjects
from tinygrad_nn.page.derivatives import Derivatives, derivatives
from tinygrad_nn.page.document import data_of
from tinygrad_nn.page.formulas import formulas
from tinygrad_nn.page.numbers import BINS, figures
from tinygrad_nn.page.subject import subject
from tinygrad_nn.tensor.core import tracing
from tinygrad_nn.tensor.symbolic import Symbolic

Browser = Callable[..., Any]


def boxes_of(data: Any, view: int = 0) -> list[dict[str, Any]]:
    """The boxes of a view, with names for what is in a row."""
    names = ("id", "role", "title", "shape", "details", "frame", "column", "times", "count")
    found = [dict(zip(names, row, strict=True)) for row in data["views"][view]["boxes"]]
    for box in found:
        box |= {key: data["texts"][box[key]] for key in ("title", "details")}
        known = data["facts"].get(str(box["id"]), data["facts"].get(box["id"]))
        box |= {"facts": known, "around": []}
        at = box["frame"]
        while at >= 0:
            label, at, _, _ = data["views"][view]["frames"][at]
            box["around"].insert(0, data["texts"][label])
    return found


def graph_of(function: Any, *batch: Any) -> Any:
    return data_of(tg.report(function, *batch, path=None).html, "graph")


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_modules_are_frames_and_columns_are_roles() -> None:
    step, batch = iris()
    data = graph_of(step, *batch)
    found = boxes_of(data)
    assert [data["columns"][k] for k in sorted({box["column"] for box in found})] == [
        "forward",
        "gradient",
        "optimizer",
    ]
    first = next(box for box in found if box["title"] == "0.weight")
    assert (first["role"], first["around"], first["column"]) == ("parameter", ["Sequential", "0: Linear"], 0)
    made = next(box for box in found if box["details"] == "→ gradient of 0.weight")
    assert (made["around"], made["column"]) == (["Sequential", "0: Linear"], 1)
    new = next(box for box in found if box["details"] == "→ new 0.weight")
    assert (new["around"], new["column"]) == (["0.weight"], 2)
    line = data["texts"][made["facts"][4]]
    assert re.fullmatch(r"models\.py:\d+", line)
    assert data["texts"][made["facts"][5]] == "loss = loss_of(model(x), y)"


def test_containers_that_compute_nothing_are_no_frames() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

        def forward(self, x: Any) -> Any:
            for part in self.parts:
                x = part(x).tanh()
            return x

    found = boxes_of(graph_of(Net(), tg.ones(1, 2)))
    around = {tuple(box["around"]) for box in found if box["column"] == 0}
    assert around == {("Net",), ("Net", "0: Linear"), ("Net", "1: Linear")}


def test_a_loop_is_drawn_once_with_its_edge() -> None:
    step, batch = forecast()
    data = graph_of(step, *batch)
    view = data["views"][0]
    labels = [data["texts"][row[0]] for row in view["frames"] if row[2]]
    assert labels == ["RNN, 14 steps", "gradient of RNN, 14 steps, backwards in time"]
    back = [arrow for arrow in view["arrows"] if arrow[3]]
    assert [arrow[2] for arrow in back] == ["t-1", "t+1"]
    inside = [box for box in boxes_of(data) if box["around"][-1:] == ["RNN, 14 steps"]]
    assert {box["column"] for box in inside} == {0}
    assert all(box["facts"][10] for box in inside)  # its values over all steps


def test_values_and_gradients_are_those_of_a_run() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    x = tg.tensor(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    found = boxes_of(graph_of(lambda x: (model(x) ** 2).mean(), x))
    hidden = model[1](model[0](x))
    hidden.retain_grad()
    loss = (model[2](hidden) ** 2).mean()
    loss.backward()
    tanh = next(box for box in found if box["title"] == "tanh")
    weight = next(box for box in found if box["title"] == "0.weight")
    for box, value, slope in ((tanh, hidden, hidden.grad), (weight, model[0].weight, model[0].weight.grad)):
        for told, real in ((box["facts"][10], value.detach().numpy()), (box["facts"][11], slope.numpy())):
            assert told[:4] == pytest.approx([real.min(), real.max(), real.mean(), real.std()], rel=2e-3, abs=1e-6)
            assert told[4] == real.size
    for parameter in model.parameters():
        parameter.grad = None


def test_a_function_without_parameters_is_differentiated_by_its_inputs() -> None:
    data = graph_of(lambda x, k: x.exp() * k, tg.ones(2), tg.tensor([1, 2]))
    found = boxes_of(data)
    assert [box["title"] for box in found if "gradient of x" in box["details"]] == ["mul"]
    assert not any("gradient of k" in box["details"] for box in found)


def test_what_has_no_gradient_says_so() -> None:
    data = graph_of(lambda k: k * 2, tg.tensor([1, 2]))
    assert any("Nothing of it depends on a parameter" in note for note in data["notes"])
    data = graph_of(lambda x: x * 2, tg.ones(2))
    assert any("Second derivative: zero" in note for note in data["notes"])


def test_the_second_derivative_is_the_hessian_times_the_gradient() -> None:
    def function(x: Any) -> Any:
        return (x.exp() * x.flip(0).sin()).sum()

    x = tg.tensor([0.3, -0.4, 1.2], dtype=tg.float64)
    about = subject(function, (x,), None, None)
    found = derivatives(about, 100, 100)
    assert isinstance(found, Derivatives)
    (made,) = found.second.values()
    (leaf,) = found.second
    values, _ = executor.run(Graph.of([made], [leaf]), [x.numpy()])
    hessian, gradient = tg.hessian(function)(x), tg.grad(function)(x)
    assert values[0] == pytest.approx((hessian @ gradient).numpy(), rel=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0, 2.0, -4.0], [np.nan], [np.nan, np.inf, -np.inf, 3.0], [], [0.0] * 9, [1e308, -1e308, 1e308],
        [5e-324, -5e-324], [True, False, True], [7, -(2**62), 2**62], [np.inf], [3.0], np.arange(1000.0),
    ],
    ids=range(12),
)  # fmt: skip
def test_figures_are_those_of_numpy(values: Any) -> None:
    array = np.asarray(values)
    low, high, mean, deviation, size, zeros, missing, infinite, bins = figures(array)
    finite = array.astype(float)[np.isfinite(array.astype(float))]
    assert size == array.size
    assert zeros == np.sum(array == 0)
    assert (missing, infinite) == (np.isnan(array.astype(float)).sum(), np.isinf(array.astype(float)).sum())
    if not finite.size:
        assert (low, high, mean, deviation, bins) == (None, None, None, None, "")
        return
    scale = np.abs(finite).max() or 1.0
    expected = [finite.min() / scale, finite.max() / scale, (finite / scale).mean(), (finite / scale).std()]
    told = [one / scale for one in (low, high, mean, deviation)]
    assert told == pytest.approx(expected, rel=1e-3, abs=1e-3 if scale < 1e-300 else 1e-12)
    if low < high and 1e-300 < scale < 1e300:
        counts, _ = np.histogram(finite, BINS)
        assert [letter != "0" for letter in bins] == [count > 0 for count in counts]
        assert bins[int(counts.argmax())] == "f"
    assert bins == "" or "f" in bins


def test_nan_everywhere_is_shown(browser: Browser, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Softmax(-1))
    page = tg.report(lambda x: model(x).log(), tg.full((4, 3), float("nan")), path=tmp_path / "page.html")
    shown = browser(page.path)
    shown.locator("[data-mounted=yes]").wait_for()
    assert shown.locator(".box.nan").count() > 5
    assert "NaN in " in shown.locator(".inspect").inner_text()


# ---- formulas --------------------------------------------------------------------------------------------------------


def symbol(shape: Any, dtype: str, needs: bool = False) -> Node:
    return Node(INPUT, (), NO_ATTRS, shape, np.dtype(dtype), None, needs)


def applied(op: Any, case: Any) -> Node | None:
    """An op on symbols, as a case of its test domain says."""
    kinds = {"float": "float64", "int": "int64", "bool": "bool"}
    operands = tuple(
        symbol(arg.shape if arg.shape is not None else (4,), kinds[arg.dtype], arg.dtype == "float")
        for arg in case.args
    )
    shape = op.shape(*(one.shape for one in operands), **case.attrs)
    dtype = op.dtype(*(one.dtype for one in operands), **case.attrs)
    return Node(op, operands, case.attrs, shape, dtype, None, True)


WORDS = "exp log sin cos tan sinh cosh tanh sign where trunc floor ceil expm1 log1p exp2 log2 log10"
NUMPY = {name: getattr(np, name) for name in WORDS.split()} | {"max": np.maximum, "min": np.minimum}
SIGNS = (
    ("|x|", "abs(x)"),
    ("∧", "&"),
    ("∨", "|"),
    ("¬", "~"),
    ("^", "**"),
    ("√", "root**"),
    ("·", "*"),
    ("≤", "<="),
    ("≠", "!="),
    (" = ", " == "),
)


class Root:
    """`√x` as `root ** x`."""

    def __pow__(self, x: Any) -> Any:
        return np.sqrt(x)


def evaluated(text: str, names: dict[str, Any]) -> Any:
    """A formula in NumPy."""
    for sign, python in SIGNS:
        text = text.replace(sign, python)
    return eval(text, {"__builtins__": {}, "abs": abs, "root": Root(), **NUMPY}, names)


@pytest.mark.parametrize("name", [name for name, op in TABLE.items() if op.kind == "elementwise" and op.domain])
def test_formulas_are_the_rules(name: str) -> None:
    """What can be read as NumPy, and read so, is what the op and its rules compute."""
    op = TABLE[name]
    case = op.domain[0]
    node = applied(op, case)
    value, slopes = formulas(node)
    names = ("x", "y", "z")
    rng = np.random.default_rng(5)
    lows = [(arg.low, arg.high, arg.dtype) for arg in case.args]
    drawn = {
        own: rng.integers(int(low), int(high) + 1, 4) > 0 if kind == "bool"
        else rng.integers(int(low), int(high) + 1, 4) if kind == "int" else rng.uniform(low, high, 4)
        for own, (low, high, kind) in zip(names, lows, strict=False)
    }  # fmt: skip
    operands = [drawn[own] for own in names[: len(lows)]]
    with np.errstate(all="ignore"):
        out = op.numpy(*operands, **case.attrs)
        if re.fullmatch(r"\w+\([xyz, ]+\)", value) is None:
            assert evaluated(value, drawn) == pytest.approx(out, rel=1e-12)
        given = {**drawn, "g": rng.uniform(-1, 1, 4), "out": out}
        for k, slope in enumerate(slopes):
            words = set(re.findall(r"[a-z_]\w+", slope)) - {"out"}
            if slope and words <= set(NUMPY) and not set("∧∨¬") & set(slope):  # which bind otherwise in Python
                tensors = [tg.tensor(one) for one in (given["g"], out, *operands)]
                rule = op.vjp[k](*tensors, **case.attrs)
                assert evaluated(slope, given) == pytest.approx(rule.numpy(), rel=1e-5), slope


@pytest.mark.parametrize("name", [name for name, op in TABLE.items() if op.domain and op.kind != "random"])
def test_every_op_has_a_formula(name: str) -> None:
    node = applied(TABLE[name], TABLE[name].domain[0])
    value, slopes = formulas(node)
    assert 0 < len(value) < 320
    assert len(slopes) in (0, 1, len(node.inputs))
    assert all(len(slope) < 320 for slope in slopes)


def test_known_formulas() -> None:
    found = {name: formulas(applied(TABLE[name], TABLE[name].domain[0])) for name in ("mul", "tanh", "matmul", "div")}
    assert found == {
        "mul": ("x · y", ("g · y", "g · x")),
        "tanh": ("tanh(x)", ("g · (1 - out · out)",)),
        "matmul": ("x @ y", ("g @ yᵀ", "xᵀ @ g")),
        "div": ("x / y", ("g / y", "-g · out / y")),
    }


def test_brackets_are_where_they_are_needed() -> None:
    from tinygrad_nn.page.formulas import text

    x, y = symbol((2,), "float64"), symbol((2,), "float64")
    with tracing(Symbolic()):
        a, b = tg.Tensor.handle(x), tg.Tensor.handle(y)
        for made, told in (
            ((a + b) * a, "(x + y) · x"),
            (a - (a - b), "x - (x - y)"),
            ((a - a) - b, "x - x - y"),
            (a / (a * b), "x / (x · y)"),
            (a * b / a, "x · y / x"),
            (-(a + b), "-(x + y)"),
            (-a * b, "-x · y"),
            ((-a) ** b, "(-x) ^ y"),
            (a ** (a + b), "x ^ (x + y)"),
            (((a < b) | (b < a)) & (a <= b), "(x < y ∨ y < x) ∧ x ≤ y"),
            ((a + b).exp(), "exp(x + y)"),
            ((a * b).sqrt() + a, "√(x · y) + x"),
            ((a + b).relu() * 2.0, "max(x + y, 0) · 2"),
        ):
            assert text(made.node, {x: "x", y: "y"}) == told


# ---- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Any:
    """The page of a training step, its graph drawn."""
    step, batch = iris()
    shown = browser(tg.report(step, *batch, path=tmp_path / "page.html").path)
    shown.locator("#panel-graph[data-mounted=yes]").wait_for()
    return shown


def titles(shown: Any) -> list[str]:
    """What stands in the boxes, in their first line."""
    return list(shown.locator(".box").evaluate_all("all => all.map(one => one.querySelector('text').textContent)"))


def test_a_click_tells_what_is_known(opened: Any) -> None:
    opened.locator(".box", has_text="relu").first.click()
    told = opened.locator(".inspect").inner_text()
    assert "out = max(x, 0)" in told
    assert "g_x = where(out ≤ 0, 0, g)" in told
    assert "32 × 8" in told
    assert "1 ReLU" in told
    assert "loss = loss_of(model(x), y)" in told
    assert opened.locator(".histogram").count() == 2
    assert re.fullmatch(r"#graph/node/\d+", opened.evaluate("location.hash"))
    opened.locator(".inspect .pick", has_text="x: add").click()
    assert "out = x + y" in opened.locator(".inspect").inner_text()


def test_frames_fold_and_unfold(opened: Any) -> None:
    assert "relu" in titles(opened)
    opened.locator(".frame .title", has_text="Sequential").first.click()
    assert "relu" not in titles(opened)
    folded = opened.locator(".box.folded", has_text="Sequential")
    assert "operations" in folded.first.text_content()
    assert "0.weight [8, 4] float32" in opened.locator(".inspect").inner_text()
    folded.first.dblclick()
    assert "relu" in titles(opened)
    opened.get_by_role("button", name="Fold all").click()
    assert "relu" not in titles(opened)
    opened.get_by_role("button", name="Unfold").first.click()
    assert "relu" in titles(opened)


def test_columns_stand_side_by_side(opened: Any) -> None:
    assert opened.locator(".heading").all_text_contents() == ["Forward", "Gradient"]
    left = opened.locator(".box", has_text="relu").first.bounding_box()
    right = opened.locator(".box", has_text="gradient of 0.weight").first.bounding_box()
    assert left["x"] + left["width"] < right["x"]
    opened.get_by_role("button", name="Optimizer", exact=True).click()
    assert opened.locator(".heading").all_text_contents() == ["Forward", "Gradient", "Optimizer"]
    assert opened.locator(".box.folded", has_text="0.weight").count() == 1
    opened.get_by_role("button", name="Second derivative").click()
    assert "Second derivative" in opened.locator(".heading").all_text_contents()
    assert opened.locator(".box", has_text="second derivative of 0.weight").count() == 1


def test_the_graph_can_be_walked_by_keys(opened: Any) -> None:
    opened.locator(".box", has_text="relu").first.click()
    opened.keyboard.press("ArrowUp")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert opened.evaluate(focused).startswith("add, [32, 8]")
    opened.keyboard.press("Backspace")
    assert opened.evaluate(focused) == "0: Linear, folded"
    opened.keyboard.press("Enter")
    assert opened.locator(".box", has_text="0.weight").count() >= 1
    assert opened.locator(".box[tabindex='0']").count() == 1


def test_search_finds_what_is_folded(opened: Any) -> None:
    opened.get_by_role("button", name="Fold all").click()
    search = opened.get_by_role("searchbox", name="Search the graph")
    search.fill("RELU")
    assert opened.get_by_role("status").text_content().endswith(" found")
    search.press("Enter")
    assert "relu" in titles(opened)
    assert opened.locator(".inspect h2").text_content() == "relu"
    search.fill("nothing like it")
    assert opened.get_by_role("status").text_content() == "0 found"
    assert opened.locator(".box:not(.off)").count() == 0


def test_there_is_a_table_behind_the_picture(opened: Any) -> None:
    table = opened.locator("#panel-graph .table")
    table.locator("summary").click()
    rows = table.locator("tbody tr")
    rows.nth(0).wait_for()
    relu = table.locator("tr", has=opened.get_by_role("button", name="relu", exact=True))
    assert relu.locator("td").nth(3).text_content() == "1 ReLU"
    relu.locator("button").click()
    assert opened.locator(".inspect h2").text_content() == "relu"


def test_it_moves_and_zooms(opened: Any) -> None:
    place = "document.querySelector('.canvas svg > g').getAttribute('transform')"
    before = opened.evaluate(place)
    opened.get_by_role("button", name="Larger").click()
    larger = opened.evaluate(place)
    assert larger != before
    box = opened.locator(".canvas").bounding_box()
    opened.mouse.move(box["x"] + 60, box["y"] + 500)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 160, box["y"] + 450)
    opened.mouse.up()
    assert opened.evaluate(place) != larger
    opened.get_by_role("button", name="Fit the graph").click()
    visible = opened.locator(".box").evaluate_all(
        """all => {
          const frame = document.querySelector('.canvas').getBoundingClientRect();
          return all.every(one => {
            const own = one.getBoundingClientRect();
            return own.left >= frame.left && own.right <= frame.right && own.bottom <= frame.bottom;
          });
        }"""
    )
    assert visible


def test_five_hundred_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    names = [f"{nasty}{k}" for k in range(500 // len(NASTY) + 1) for nasty in NASTY][:500]
    kind = type("<img src=x onerror=alert(1)>", (nn.Linear,), {})
    model = nn.Sequential(kind(2, 2))

    def function(batch: Any) -> Any:
        return model(tg.stack([x * 2 for x in batch.values()])).sum()

    page = tg.report(function, {name: tg.ones(2) for name in names}, path=tmp_path / "page.html")
    assert len(page.html) < 350_000
    data = data_of(page.html, "graph")
    told = [box["title"] for box in boxes_of(data)]
    assert any("onerror" in text for text in data["texts"])
    shown = browser(page.path)
    shown.locator("#panel-graph[data-mounted=yes]").wait_for()
    shown.locator(".panel-graph .table summary").click()
    for key in ("End", "Home"):
        shown.keyboard.press(key)
    shown.get_by_role("searchbox", name="Search the graph").fill("alert")
    shown.get_by_role("searchbox", name="Search the graph").press("Enter")
    assert shown.locator("main img, main script, main style, svg svg").count() == 0
    assert len(told) > 1
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown.locator("body").inner_text())


def test_a_very_large_graph_says_what_is_folded(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(graphs, "NEAR", 400)
    monkeypatch.setattr(subjects, "COMPILED", 500)
    rng = np.random.default_rng(0)

    def function(x: Any) -> Any:
        made = [x, x + 1]
        for k in range(1500):
            other = made[int(rng.integers(max(0, len(made) - 50), len(made)))]
            made.append(made[-1] * other if k % 2 else made[-1] - other)
        return made[-1]

    page = tg.report(function, tg.ones(3) * 0.5, path=tmp_path / "page.html")
    assert page.missing["stages"] == "A graph of 1,503 nodes is not compiled for a page; up to 500 are."
    notes = " ".join([*data_of(page.html, "graph")["notes"], *data_of(page.html, "graph")["views"][0]["notes"]])
    assert "Of 1,503 nodes the 400 nearest to the results are drawn." in notes
    assert "folded: " in notes
    assert "The gradient of 1,503 nodes is left out" in notes
    shown = browser(page.path)
    shown.locator("#panel-graph[data-mounted=yes]").wait_for()
    assert 0 < shown.locator(".box").count() <= graphs.FLAT
    shown.get_by_role("tab", name="Stages").click()
    assert "is not compiled for a page" in shown.locator("#panel-stages .missing").inner_text()


def test_depth_is_no_recursion() -> None:
    def function(x: Any) -> Any:
        for _ in range(6_000):
            x = (x * 1.0001).sin()
        return x

    page = tg.report(function, tg.ones(2), path=None)
    assert "stages" in page.missing
    assert len(page.html) < 250_000


def test_a_step_that_cannot_be_compiled_has_a_graph(browser: Browser, tmp_path: Path) -> None:
    model = nn.Linear(2, 1)

    def step(x: Any) -> Any:
        loss = model(x).sum()
        return loss * 2 if float(loss.detach()) > -1e9 else loss

    page = tg.report(step, tg.ones(3, 2), path=tmp_path / "page.html")
    assert page.missing["stages"].startswith("It cannot be compiled: [")
    found = boxes_of(data_of(page.html, "graph"))
    assert "weight" in [box["title"] for box in found]
    shown = browser(page.path)
    shown.get_by_role("tab", name="Stages").click()
    assert "It cannot be compiled" in shown.locator("#panel-stages .missing").inner_text()


def test_what_a_function_says_of_symbols_keeps_nobody_from_the_graph() -> None:
    def function(x: Any) -> Any:
        try:
            size = float(x.sum())
        except Exception:
            raise ValueError("<b>no number</b>") from None
        return x * size

    page = tg.report(function, tg.ones(3), path=None)
    assert page.missing["stages"] == "It cannot be compiled: [report] got ValueError: <b>no number</b>"
    assert [box["title"] for box in boxes_of(data_of(page.html, "graph"))][-1].startswith("mul")


def test_several_results_are_differentiated_together_and_in_order() -> None:
    model = nn.Linear(2, 2)

    def heads(x: Any) -> Any:
        y = model(x)
        return [(y * k).sin() for k in range(1, 20)]

    first, second = (tg.report(heads, tg.ones(3, 2), path=None).html for _ in range(2))
    assert data_of(first, "graph") == data_of(second, "graph")
    seeds = [box for box in boxes_of(data_of(first, "graph")) if box["title"].startswith("gradient of the result")]
    assert sum(box["times"] for box in seeds) == 19


@pytest.mark.parametrize("name", MODELS)
def test_pages_of_models_are_small_and_complete(browser: Browser, tmp_path: Path, name: str) -> None:
    step, batch = MODELS[name]()
    page = tg.report(step, *batch, path=tmp_path / "page.html")
    assert not {"graph", "stages"} & set(page.missing)
    assert len(page.html) < (1_000_000 if name == "gpt" else 250_000)
    shown = browser(page.path)
    shown.locator("#panel-graph[data-mounted=yes]").wait_for()
    assert shown.locator(".box").count() > 10
    shown.get_by_role("tab", name="Stages").click()
    shown.locator("#panel-stages .pane").nth(1).wait_for()


def test_a_jitted_step_is_that_of_the_function() -> None:
    step, batch = iris()
    assert graph_of(tg.jit(step), *batch) == graph_of(step, *batch)


def test_a_batch_that_breaks_the_function_is_shown_to_where_it_breaks() -> None:
    data = graph_of(lambda x, k: x[k].exp(), tg.ones(3), tg.tensor([7]))
    assert any("values are known up to an error: " in note for note in data["notes"])
    assert labels(3, 2).shape == (2,)
