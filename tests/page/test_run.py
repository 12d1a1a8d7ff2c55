"""The part "Run": what it says is what Python says, for runs of every kind, and it is read by pointer and keys."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.page import document as documents
from tinygrad_nn.page.curves import curves, extremes, scales, sweep
from tinygrad_nn.page.document import as_json
from tinygrad_nn.page.packing import packed
from tinygrad_nn.page.subject import Missing

Browser = Callable[..., Any]
ROWS = 60


class Case:
    """A model of two features, its step, its data, and the run of it."""

    def __init__(self, epochs: int = 40, snapshots: int | None = 10, hidden: int = 8) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((ROWS, 2)).astype(np.float32)
        self.y = ((self.x[:, 0] * self.x[:, 1] > 0) + 2 * (self.x[:, 0] > 1)).astype(np.int64)
        tg.manual_seed(1)
        self.model = model = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 4))
        model[0].bias.data[2] = -100.0  # a unit that is dead from the beginning
        optimizer = optim.SGD(model.parameters(), lr=0.2)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        def scores() -> Any:
            return {"accuracy": tg.metrics.accuracy(model(tg.tensor(self.x)), tg.tensor(self.y))}

        self.step = step
        own = {"evaluate": scores, "eval_every": 2, "snapshots": snapshots, "progress": False, "seed": 0}
        self.history = tg.fit(step, (self.x, self.y), epochs, batch_size=20, **own)

    @property
    def batch(self) -> tuple[Any, Any]:
        return self.x, self.y

    def at(self, epoch: int) -> nn.Sequential:
        """The model as it was after an epoch."""
        hidden = len(self.model[0].bias)
        found = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 4))
        found.load_state_dict({key: tg.tensor(self.history.snapshots[epoch][key]) for key in found.state_dict()})
        return found


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.fixture(scope="module")
def path(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("run") / "step.html"
    tg.report(case.step, *case.batch, history=case.history, path=target)
    return target


def data_of(page: str) -> Any:
    return documents.data_of(page, "run")


def unpacked(one: Any) -> Any:
    values = np.frombuffer(b64decode(one["data"]), f"<{one['kind']}").reshape(one["shape"]).astype(np.float64)
    if one["kind"] == "f4":
        return values
    return np.where(values == np.iinfo(one["kind"]).min, np.nan, values * one["step"])


@pytest.fixture(scope="module")
def data(path: Path) -> Any:
    return data_of(path.read_text())


# ---- what Python hands over ------------------------------------------------------------------------------------------


def test_curves_are_the_columns_of_the_history(case: Case, data: Any) -> None:
    loss, accuracy = data["curves"]["columns"]
    np.testing.assert_array_equal(unpacked(loss["values"]), case.history["loss"].astype(np.float32))
    assert loss["epochs"] is None
    np.testing.assert_array_equal(unpacked(accuracy["epochs"]), case.history.evaluated)
    assert tuple(loss["best"]) == case.history.best()["loss"]
    assert loss["scale"] != accuracy["scale"]


def test_states_are_the_snapshots(case: Case, data: Any) -> None:
    assert data["epochs"] == [0, 10, 20, 30, 40]
    for tensor in data["weights"]["tensors"]:
        for k, epoch in enumerate(data["epochs"]):
            value = case.history.snapshots[epoch][tensor["name"]]
            np.testing.assert_array_equal(unpacked(tensor["values"])[k].ravel(), value.ravel())


class Trainer:
    """Who holds a model and its optimizer."""

    def __init__(self, *layers: nn.Module) -> None:
        self.layers = list(layers)
        self.optimizer = optim.SGD([p for layer in layers for p in layer.parameters()], lr=0.1)

    def step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        for layer in self.layers:
            x = layer(x)
        loss = F.cross_entropy(x, y)
        loss.backward()
        self.optimizer.step()
        return loss


@pytest.mark.parametrize("how", ["of one model", "of several", "of tensors", "of an object that a function names"])
def test_snapshots_find_their_tensors(case: Case, how: str) -> None:
    tg.manual_seed(0)
    trainer = Trainer(nn.Linear(2, 4)) if how == "of one model" else Trainer(nn.Linear(2, 3), nn.Linear(3, 4))
    w = tg.randn(2, 4, requires_grad=True)

    def plain(x: Any, y: Any) -> Any:
        w.grad = None
        loss = F.cross_entropy(x @ w, y)
        loss.backward()
        w.data -= 0.1 * w.grad  # type: ignore[operator]
        return loss

    named = {"of tensors": plain, "of an object that a function names": lambda x, y: trainer.step(x, y)}
    step = named.get(how, trainer.step)
    history = tg.fit(step, case.batch, 4, batch_size=30, snapshots=2, progress=False, seed=0)
    own = data_of(tg.report(step, *case.batch, history=history, path=None).html)
    assert own["epochs"] == [0, 2, 4]
    assert len(own["weights"]["tensors"]) == {"of one model": 2, "of tensors": 1}.get(how, 4)
    last = {name: value for name, value in history.snapshots[2].items() if "optimizer" not in name}
    for tensor in own["weights"]["tensors"]:
        shown = unpacked(tensor["values"])[1].ravel()
        assert any(np.array_equal(shown, value.ravel()) for value in last.values()), tensor["name"]
        assert tensor["name"] != "a tensor"


def test_activations_are_those_of_the_model(case: Case, data: Any) -> None:
    hidden = data["activations"]["layers"][0]
    for k, epoch in enumerate(data["epochs"]):
        with tg.no_grad():
            expected = case.at(epoch)[:2](tg.tensor(case.x)).numpy()
        shown = unpacked(hidden["values"])[k]
        step = hidden["values"]["step"]
        np.testing.assert_allclose(
            shown, expected[: len(shown), : shown.shape[1]], atol=0.51 * step if step < 1 else 1e-6
        )


def test_gradient_norms_are_those_of_the_loss(case: Case, data: Any) -> None:
    assert data["gradients"]["names"] == ["0", "2"]
    for k, epoch in enumerate(data["epochs"]):
        model = case.at(epoch)
        F.cross_entropy(model(tg.tensor(case.x)), tg.tensor(case.y)).backward()
        expected = [np.sqrt(sum(float((p.grad**2).sum()) for p in model[j].parameters())) for j in (0, 2)]
        np.testing.assert_allclose(unpacked(data["gradients"]["norms"])[k], expected, 1e-4)


def test_gradients_are_found_where_the_step_clears_them(case: Case) -> None:
    model = case.model
    optimizer = optim.SGD(model.parameters(), lr=0.0)

    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    def norms(one: Any) -> Any:
        return unpacked(data_of(tg.report(one, *case.batch, path=None).html)["gradients"]["norms"])

    np.testing.assert_allclose(norms(step), norms(case.step), 1e-4)


def test_dead_units_are_zero_for_all_rows(case: Case, data: Any) -> None:
    (layer,) = data["dead"]["layers"]
    for k, epoch in enumerate(data["epochs"]):
        with tg.no_grad():
            zero = (case.at(epoch)[:2](tg.tensor(case.x)).numpy() == 0).all(0)
        assert layer["dead"][k] == np.flatnonzero(zero).tolist()
        assert 2 in layer["dead"][k]


def test_a_model_without_relu_has_no_dead_units() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4))
    page = tg.report(lambda x, y: F.cross_entropy(model(x), y), *Case(1).batch, path=None)
    assert "No layer makes zeros" in data_of(page.html)["dead"]["missing"]


def test_the_plane_shows_what_the_model_says_there(case: Case, data: Any) -> None:
    own = data["boundary"]
    side = own["side"]
    grid = np.meshgrid(*(np.linspace(own["low"][k], own["high"][k], side) for k in range(2)))
    points = np.stack([one.ravel() for one in grid], 1).astype(np.float32)
    for k, epoch in enumerate(data["epochs"]):
        with tg.no_grad():
            shares = case.at(epoch)(tg.tensor(points)).softmax(1).numpy()
        shown = unpacked(own["values"])[k]
        sure = np.sort(shares, 1)
        clear = sure[:, -1] - sure[:, -2] > 1e-4
        np.testing.assert_array_equal(np.floor(shown)[clear], shares.argmax(1)[clear])
        np.testing.assert_allclose((shown % 1)[clear], 0.9 * shares.max(1)[clear], atol=own["values"]["step"])
    np.testing.assert_array_equal(own["labels"], case.y)


def test_the_rows_with_the_largest_loss(case: Case, data: Any) -> None:
    own = data["worst"]
    with tg.no_grad():
        scores = case.model(tg.tensor(case.x))
        losses = F.cross_entropy(scores, tg.tensor(case.y), reduction="none").numpy()
        shares = scores.softmax(1).numpy()
    order = np.argsort(-losses, kind="stable")[:16]
    assert own["rows"] == order.tolist()
    np.testing.assert_allclose(own["losses"], losses[order], 1e-4)
    assert own["labels"] == case.y[order].tolist()
    assert own["judged"]["values"] == shares.argmax(1)[order].tolist()
    np.testing.assert_allclose(own["judged"]["sure"], shares.max(1)[order], 1e-4)
    assert own["share"] == pytest.approx(losses[order].sum() / losses.sum(), 1e-3)
    np.testing.assert_allclose([one["values"] for one in own["features"]], case.x[order].T)


def test_features_have_the_names_of_their_columns(case: Case) -> None:
    polars = pytest.importorskip("polars")
    x, y = case.batch
    frame = polars.DataFrame({"height": x[:, 0].astype(float), "width": x[:, 1].astype(float)})

    def names(step: Any, *batch: Any) -> Any:
        own = data_of(tg.report(step, *batch, path=None).html)
        return [one["name"] for one in own["worst"]["features"]]

    assert names(case.step, frame, polars.Series(y)) == ["height", "width"]
    assert names(case.step, x, y) == ["x 0", "x 1"]
    scaler = nn.preprocessing.StandardScaler.fit(x, ("long", "wide"))
    whole = nn.Sequential(scaler, case.model)
    assert names(lambda x, y: F.cross_entropy(whole(x), y), x, y) == ["long", "wide"]


# ---- curves of every kind --------------------------------------------------------------------------------------------


def made(columns: dict[str, Any]) -> tg.History:
    history = tg.History()
    history.log_epochs({name: list(values) for name, values in columns.items()})
    return history


def test_no_history_and_an_empty_one_are_said() -> None:
    for history, words in ((None, "No history"), (tg.History(), "empty")):
        found = curves(history)
        assert isinstance(found, Missing)
        assert words in found.reason


def test_long_curves_keep_their_extremes() -> None:
    rng = np.random.default_rng(0)
    values = np.exp(-np.arange(100_000) / 2e4) + 0.01 * rng.standard_normal(100_000)
    values[41_234], values[70_001] = 9.0, np.nan
    found = curves(made({"loss": values, "lr": np.full(100_000, 0.1)}))
    assert isinstance(found, dict)
    loss, rate = found["columns"]
    assert loss["values"]["shape"][0] + rate["values"]["shape"][0] <= 3000
    assert len(as_json(found)) < 60_000
    shown, epochs = unpacked(loss["values"]), unpacked(loss["epochs"])
    assert 9.0 in shown
    assert 70_002 in epochs[np.isnan(shown)]
    np.testing.assert_array_equal(shown, values.astype(np.float32)[epochs.astype(int) - 1])
    assert "100,000" in found["note"]


def test_extremes_are_the_places_that_matter() -> None:
    values = np.zeros(1000)
    values[[17, 500]] = 5.0, -3.0
    kept = extremes(values, 50)
    assert len(kept) <= 50
    assert {0, 17, 500, 999} <= set(kept.tolist())
    np.testing.assert_array_equal(extremes(values[:50], 50), np.arange(50))


def test_an_axis_for_each_scale() -> None:
    grouped = scales({
        "loss": np.ones(3), "test_loss": np.full(3, 2.0), "mse": np.full(3, 1e4), "accuracy": np.full(3, 0.5),
        "f1": np.full(3, 0.4), "lr": np.full(3, 1e-3), "nothing": np.full(3, np.nan),
    })  # fmt: skip
    assert grouped["loss"] == grouped["test_loss"] != grouped["mse"]
    assert grouped["accuracy"] == grouped["f1"] != grouped["loss"]
    assert grouped["lr"] != grouped["nothing"]


def test_packed_numbers() -> None:
    values = np.array([1.0, -2.0, np.nan, np.inf, 0.3])
    np.testing.assert_array_equal(unpacked(packed(values)), values.astype(np.float32))
    for kind, steps in (("i2", 32767), ("i1", 127)):
        shown = unpacked(packed(values, kind))
        np.testing.assert_allclose(shown[[0, 1, 4]], values[[0, 1, 4]], atol=1.01 / steps)
        assert np.isnan(shown[[2, 3]]).all()


def swept(seeds: int, **grid: Any) -> Any:
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(16, 1)
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    own = {"init": model.reset_parameters, "seeds": range(seeds), "progress": False, **grid}
    return step, (x, 2 * x), tg.sweep(step, (x, 2 * x), 12, batch_size=8, **own)


def test_sweeps_have_medians_and_quartiles() -> None:
    _, _, found = swept(9, grid={"lr": [0.05, 0.5, 1e9]})
    own = sweep(found)
    assert isinstance(own, dict)
    (column,) = own["columns"]
    bands = unpacked(column["bands"])
    for place, label in enumerate(("lr 0.05", "lr 0.5")):
        chosen = [k for k in range(len(found)) if found.settings(k)["lr"] == (0.05, 0.5)[place]]
        expected = np.percentile(found["loss"][chosen], (25, 50, 75), axis=0)
        np.testing.assert_allclose(bands[place], expected, 1e-5)
        assert own["settings"][place] == {"label": label, "models": 9}
    assert column["best"]["model"] == found.best("loss").model
    np.testing.assert_array_equal(unpacked(column["lines"])[3], found["loss"][3].astype(np.float32))


def test_one_model_and_thousands() -> None:
    _, _, one = swept(1)
    own = sweep(one)
    assert isinstance(own, dict)
    assert own["trained"] == len(own["models"]) == 1
    _, _, many = swept(3000)
    own = sweep(many)
    assert isinstance(own, dict)
    assert len(own["models"]) < 600
    assert len(as_json(own)) < 80_000
    numbers = [one["number"] for one in own["models"]]
    assert many.best("loss").model in numbers, "the best has a line"


# ---- in a browser ----------------------------------------------------------------------------------------------------


def opened(browser: Browser, path: Path, **settings: Any) -> Any:
    shown = browser(path, at="#run", **settings)
    shown.wait_for_selector(".panel-run .worst")
    return shown


def test_the_slider_shows_the_model_at_every_epoch(case: Case, browser: Browser, path: Path) -> None:
    shown = opened(browser, path)
    slider = shown.get_by_role("slider", name="Epoch", exact=True)
    assert shown.locator("#moment").text_content() == "Epoch 40"
    slider.focus()
    shown.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "epoch 30"
    weights = shown.get_by_role("region", name="Weights")
    weights.get_by_text("As a table: 0.weight, epoch 30").click()

    def row_of_three() -> list[float]:
        row = weights.get_by_role("table").first.locator("tbody tr").nth(3)
        row.wait_for()
        return [float(cell.replace("\u2212", "-")) for cell in row.locator("td").all_text_contents()[1:]]

    np.testing.assert_allclose(row_of_three(), case.history.snapshots[30]["0.weight"][3], 1e-3)
    slider.focus()
    shown.keyboard.press("Home")
    assert shown.locator("#moment").text_content() == "Before training"
    np.testing.assert_allclose(row_of_three(), case.history.snapshots[0]["0.weight"][3], 1e-3)


def test_cells_are_read_by_pointer_and_keys(case: Case, browser: Browser, path: Path) -> None:
    shown = opened(browser, path)
    weights = shown.get_by_role("region", name="Weights")
    picture = weights.get_by_role("img", name="0.weight")
    box = picture.bounding_box()
    assert box is not None
    picture.hover(position={"x": box["width"] * 0.75, "y": box["height"] * 2.5 / 8})
    value = case.history.snapshots[40]["0.weight"]

    def said() -> float:
        return float(weights.locator("output b").text_content().replace("\u2212", "-"))

    assert said() == pytest.approx(value[2, 1], 1e-3)
    picture.focus()
    shown.keyboard.press("ArrowDown")
    assert said() == pytest.approx(value[3, 1], 1e-3)
    assert "0.weight[3, 1]" in weights.locator("output").text_content()
    picture.click()
    chosen = shown.evaluate("page.selected")
    assert chosen["kind"] == "node"


def test_curves_are_smoothed_and_put_on_a_log_scale(case: Case, browser: Browser, path: Path) -> None:
    shown = opened(browser, path)
    plot = shown.locator(".curves .plot")
    plot.locator("canvas").wait_for()
    drawn = "(place) => place.plot.data.slice(1).map((row) => row.filter((value) => value !== undefined))"
    np.testing.assert_allclose(plot.evaluate(drawn)[0], case.history["loss"], 1e-6)
    slider = shown.get_by_role("slider", name="Smoothing")
    slider.fill("0.9")
    loss, total, expected = 0.0, 0.0, []
    for value in case.history["loss"]:
        loss, total = 0.9 * loss + 0.1 * value, 0.9 * total + 0.1
        expected.append(loss / total)
    np.testing.assert_allclose(plot.evaluate(drawn)[1], expected, 1e-5)
    shown.locator(".curves").get_by_role("button", name="Log scale").click()
    assert plot.evaluate("(place) => Object.values(place.plot.scales).filter((one) => one.distr === 3).length") == 2
    plot.focus()
    shown.keyboard.press("Home")
    assert shown.locator(".curves output.readout").text_content().startswith("epoch 1: loss")
    shown.locator(".curves").get_by_role("button", name="accuracy").click()
    assert plot.evaluate("(place) => place.plot.series.length") == 3


def test_a_section_that_fails_leaves_the_others(case: Case) -> None:
    x, y = case.batch
    own = data_of(tg.report(case.step, x, y + 1, history=case.history, path=None).html)
    assert "got label 4" in own["worst"]["missing"]
    assert own["curves"]["columns"]
    assert own["weights"]["tensors"]


def test_a_row_is_marked_everywhere(data: Any, browser: Browser, path: Path) -> None:
    shown = opened(browser, path)
    row = data["worst"]["rows"][0]
    shown.locator(".worst").get_by_role("button", name=str(row), exact=True).click()
    assert shown.locator(".boundary output").text_content().startswith(f"row {row}:")
    assert shown.locator(".worst tr.chosen").count() == 1
    plane = shown.locator("canvas.plane")
    plane.focus()
    shown.keyboard.press("Home")
    assert shown.locator(".boundary output").text_content().startswith("row 0:")


def test_playing_goes_through_the_epochs(browser: Browser, path: Path) -> None:
    shown = opened(browser, path)
    seen = "(place) => new MutationObserver(() => (place.seen = [...(place.seen || []), place.textContent]))"
    shown.locator("#moment").evaluate(f"(place) => ({seen})(place).observe(place, {{ childList: true }})")
    shown.get_by_role("button", name="Play").click()
    shown.locator("#moment", has_text="Epoch 40").wait_for()
    expected = ["Before training", "Epoch 10", "Epoch 20", "Epoch 30", "Epoch 40"]
    assert shown.locator("#moment").evaluate("(place) => place.seen") == expected
    shown.get_by_role("button", name="Play").wait_for()


def test_a_sweep_is_read_model_by_model(browser: Browser, tmp_path: Path) -> None:
    step, batch, found = swept(5, grid={"lr": [0.05, 0.5]})
    shown = opened(browser, tg.report(step, *batch, sweep=found, path=tmp_path / "sweep.html").path)
    card = shown.get_by_role("region", name="Sweep")
    best = found.best("loss")
    assert f"model {best.model} with" in card.text_content()
    plot = card.locator(".plot")
    plot.locator("canvas").wait_for()
    plot.focus()
    shown.keyboard.press("ArrowDown")
    assert card.locator("output").text_content().startswith("model 0")
    shown.keyboard.press("ArrowUp")
    assert card.locator("output").text_content().startswith("model 9")
    shown.keyboard.press("End")
    assert "median" in card.locator("output").text_content()
    card.get_by_text("As a table").click()
    card.locator("tbody tr").first.wait_for()
    cells = card.locator("tbody tr").first.locator("td").all_text_contents()
    assert cells[:2] == ["lr 0.05", "5"]
    own = [k for k in range(10) if found.settings(k)["lr"] == 0.05]
    assert float(cells[3]) == pytest.approx(np.median(found["loss"][own, -1]), 1e-3)


@pytest.mark.parametrize("history", [
    pytest.param(tg.History(), id="empty"),
    pytest.param(made({"loss": [np.nan] * 5}), id="nan"),
    pytest.param(made({"loss": [0.5]}), id="one epoch"),
    pytest.param(made({"loss": [0.0, -1.0, np.inf], "lr": [0.1, 0.01, 0.001]}), id="no logarithm"),
    pytest.param(made({f"</script><b>{k}": [float(k), 1e300] for k in range(9)}), id="many"),
])  # fmt: skip
def test_odd_histories_are_shown(case: Case, browser: Browser, tmp_path: Path, history: tg.History) -> None:
    shown = opened(browser, tg.report(case.step, *case.batch, history=history, path=tmp_path / "odd.html").path)
    card = shown.get_by_role("region", name="Curves")
    if history.epochs:
        assert card.locator(".series button").count() == len(history)
        card.get_by_role("button", name="Log scale").click()
        card.get_by_text("As a table").click()
        card.locator("tbody tr").first.wait_for()
        assert card.locator("tbody tr").count() == history.epochs
    else:
        assert "nothing was trained" in shown.get_by_role("region", name="What is not shown").text_content()
    assert shown.locator("#moment").count() == 0
    assert "as it is now" in shown.locator("#panel-run").text_content()


def test_names_are_text(case: Case, browser: Browser, tmp_path: Path) -> None:
    nasty = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "'); alert(1); ('", "\u202egnp.exe"]
    model = nn.ModuleDict({name.replace(".", "_"): nn.Linear(2, 2) for name in nasty})
    model["x" * 100_000] = nn.Sequential(nn.ReLU(), nn.Linear(2, 4))

    def step(x: Any, y: Any) -> Any:
        for layer in model.values():
            x = layer(x)
        loss = F.cross_entropy(x, y)
        loss.backward()
        return {nasty[0]: loss}

    history = made({name: [1.0, 0.5] for name in nasty})
    page = tg.report(step, *case.batch, history=history, path=tmp_path / "nasty.html")
    assert len(page.html) < 300_000
    shown = opened(browser, page.path)
    text = shown.locator("#panel-run").text_content()
    assert all(name in text for name in nasty[:3])
    assert shown.locator("#panel-run img[src]").count() == 0
    shown.get_by_role("tab", name="Time").click()
    shown.get_by_role("listbox", name="Buffers in memory").wait_for()


def test_a_model_that_is_not_a_number(case: Case, browser: Browser, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].bias.data[0] = np.nan
    step = lambda x, y: F.cross_entropy(model(x), y)  # noqa: E731
    page = tg.report(step, *case.batch, path=tmp_path / "nan.html")
    own = data_of(page.html)["worst"]
    assert own["bad"] == own["count"] == ROWS
    assert own["losses"] == ["NaN"] * 16
    assert own["judged"]["values"] == ["NaN"] * 16
    shown = opened(browser, page.path)
    assert "60 rows are not finite" in shown.locator(".worst").text_content()
    assert shown.locator(".worst .mistaken").count() == 0


def test_one_row_that_is_not_a_number(case: Case) -> None:
    x = case.x.copy()
    x[7, 1] = np.inf
    own = data_of(tg.report(case.step, x, case.y, path=None).html)["worst"]
    assert (own["bad"], own["rows"][0]) == (1, 7)
    assert all(isinstance(one, float) for one in own["losses"][1:])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_run_can_be_read_by_everybody(
    browser: Browser, violations: Callable[[Any], list[str]], path: Path, scheme: str
) -> None:
    shown = opened(browser, path, color_scheme=scheme)
    assert violations(shown) == []
    shown.set_viewport_size({"width": 390, "height": 800})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(shown) == []
