"""Train here: what a browser trains is what Python trains, whatever was changed in the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim

Browser = Callable[..., Any]
NAMES = ("length", "width, cm")
RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 3, 50)
ROWS = np.round(RNG.normal(LABELS[:, None] * (1.5, -1.0), 0.7), 3)


class Run:
    """A run of two features, raw as they are: the model scales them. Python's and the page's begin alike."""

    def __init__(self, lr: float = 0.1, dtype: Any = tg.float64, optimizer: Any = optim.Adam, x: Any = ROWS) -> None:
        tg.manual_seed(7)
        net = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 3))
        self.model = nn.Sequential(nn.StandardScaler().fit(ROWS, names=NAMES), net).to(dtype)
        opt = optimizer(net.parameters(), lr=lr)
        model = self.model

        @tg.jit
        def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            return loss

        self.step, self.x = step, x

    def fit(self, y: Any = LABELS, **settings: Any) -> Any:
        scored, truth = tg.tensor(self.x.astype(self.model[1][0].weight.dtype)), tg.tensor(y)
        model = self.model
        given = {"epochs": 60, "batch_size": 16, "seed": 3, "snapshots": 60, "progress": False, **settings}

        def scores() -> dict[str, tg.Tensor]:
            return {"hits": (model(scored).argmax(-1) == truth).double().mean()}

        return tg.fit(self.step, (self.x, y), evaluate=scores, **given)


def reported(folder: Path, **settings: Any) -> tuple[Path, Any]:
    run = Run(**settings)
    history = run.fit()
    page = tg.report(run.step, ROWS[:16], LABELS[:16], history=history, path=folder / "train.html")
    assert "train" not in page.missing
    assert page.path is not None
    return page.path, history


def ready(page: Any) -> None:
    page.wait_for_selector("#panel-train[data-state=ready]")


def trained(page: Any) -> list[float]:
    """Click on Train, and the last numbers."""
    page.locator("#train-go").click()
    ready(page)
    last: list[float] = json.loads(page.locator("#panel-train").get_attribute("data-last"))
    return last


def last_of(history: Any) -> list[float]:
    return [history["loss"][-1], history["hits"][-1]]


def said(page: Any) -> str:
    return str(page.locator("#panel-train [role=status]").text_content())


def wrong(page: Any) -> str:
    return str(page.locator("#panel-train [role=alert]").text_content())


def opened(browser: Browser, path: Path, **settings: Any) -> Any:
    page = browser(path, "#train", **settings)
    ready(page)
    return page


# ---- the same numbers ------------------------------------------------------------------------------------------------


def test_the_page_trains_as_python_did(browser: Browser, tmp_path: Path) -> None:
    path, history = reported(tmp_path)
    page = opened(browser, path)
    assert "50 rows in batches of 16, float64" in said(page)
    np.testing.assert_allclose(trained(page), last_of(history), rtol=1e-12)
    assert "to Python's 60 epochs" in said(page)
    assert float(said(page).split("60 epochs ")[-1].rstrip(".").replace("−", "-")) < 1e-12
    page.locator("#train-reset").click()
    np.testing.assert_allclose(trained(page), last_of(history), rtol=1e-12)
    on = trained(page)  # sixty more
    assert "Epoch 120" in said(page)
    assert on[0] < history["loss"][-1]
    page.get_by_text("As a table: losses and scores").click()
    page.locator("#panel-train .table tbody tr").nth(119).wait_for()
    assert page.locator("#panel-train .table tbody tr").count() == 120


def test_the_state_before_the_first_epoch_is_known_without_snapshots(browser: Browser, tmp_path: Path) -> None:
    """Of the second of two runs, after which the first one's history is no longer that of the step."""
    run = Run()
    earlier = run.fit(snapshots=None)
    history = run.fit(snapshots=None, epochs=30)
    page = opened(browser, tg.report(run.step, ROWS[:16], LABELS[:16], history=history, path=tmp_path / "m.html").path)
    np.testing.assert_allclose(trained(page), last_of(history), rtol=1e-12)
    other = opened(browser, tg.report(run.step, ROWS[:16], LABELS[:16], history=earlier, path=tmp_path / "n.html").path)
    assert "as they are now" in other.locator("#panel-train").inner_text()


def test_float32_is_near(browser: Browser, tmp_path: Path) -> None:
    path, history = reported(tmp_path, dtype=tg.float32, optimizer=optim.SGD)
    page = opened(browser, path)
    assert "In float32 its losses differ from Python's in the last digits" in page.locator("#panel-train").inner_text()
    np.testing.assert_allclose(trained(page), last_of(history), rtol=1e-4)


def test_another_learning_rate_first_weights_and_row(browser: Browser, tmp_path: Path) -> None:
    path, _ = reported(tmp_path)
    page = opened(browser, path)
    page.locator("#train-lr").fill("0.02")
    page.locator("#train-lr").press("Tab")
    found = trained(page)
    other = Run(0.02)
    np.testing.assert_allclose(found, last_of(other.fit()), rtol=1e-12)

    page.locator("#train-seed").select_option("seed 4")
    page.locator("#train-row").fill("9")
    page.locator("#train-row").press("Tab")
    assert page.get_by_label("width, cm").input_value() == str(ROWS[8, 1])
    page.get_by_label("width, cm").fill("2.5")
    page.get_by_label("width, cm").press("Tab")
    assert said(page) == "Row 9 is changed."
    x = ROWS.copy()
    x[8, 1] = 2.5
    changed = Run(0.02, x=x)
    tg.manual_seed(4)
    changed.model.reset_parameters()
    np.testing.assert_allclose(trained(page), last_of(changed.fit()), rtol=1e-12)


def test_noise_is_added_and_taken_away(browser: Browser, tmp_path: Path) -> None:
    path, history = reported(tmp_path)
    page = opened(browser, path)
    page.locator("#train-noise").fill("0.5")
    page.locator("#train-noise").press("Tab")
    assert abs(trained(page)[0] / history["loss"][-1] - 1) > 1e-3
    page.locator("#train-noise").fill("0")
    page.locator("#train-noise").press("Tab")
    page.locator("#train-reset").click()
    np.testing.assert_allclose(trained(page), last_of(history), rtol=1e-12)


# ---- rows of one's own -----------------------------------------------------------------------------------------------

TABLE = RNG.normal(size=(20, 2)).round(4)
KINDS = RNG.integers(0, 3, 20)


def table(names: str = '"width, cm";Length ;note;y', **changes: str) -> str:
    rows = [f'"{b}";{a};"a ""b"" {k}";{"abc"[y]}' for k, ((a, b), y) in enumerate(zip(TABLE, KINDS, strict=True))]
    return "\n".join([names, *rows])


def test_a_file_of_ones_own_is_trained_on(browser: Browser, tmp_path: Path) -> None:
    """Columns in another order, names of classes, fewer rows; it is dropped on the page."""
    path, history = reported(tmp_path)
    page = opened(browser, path)
    drop = """([name, text]) => {
      const data = new DataTransfer();
      data.items.add(new File([text], name, {type: "text/csv"}));
      document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
    }"""
    page.evaluate(drop, ["<b>my.csv", table()])
    words = "20 rows; the run takes 50, so the first ones come again; classes 0 a, 1 b, 2 c."
    page.get_by_text(f"<b>my.csv: {words}").wait_for()
    places = np.arange(50) % 20
    own = Run(x=TABLE[places])
    np.testing.assert_allclose(trained(page), last_of(own.fit(KINDS[places])), rtol=1e-12)
    page.locator("#train-back").click()
    np.testing.assert_allclose(trained(page), last_of(history), rtol=1e-12)


WRONG = {
    "": "The file has no rows below its first line",
    "length,y\n1,2": "The file has no column width, cm; it has length, y.",
    'length,"width, cm",y\n1,2,0\n3,x,1': "Line 3, column width, cm: x is no number.",
    'length,"width, cm",y\n1,,0': "Line 2, column width, cm: nothing is no number.",
    'length,"width, cm",y\n1,2': "Line 2: 2 cells where the first line has 3.",
    'length,"width, cm",y\n1,2,3': "Line 2, column y: 3 is no class from 0 to 2.",
    'length,"width, cm",y\n1,2,a\n1,2,b\n1,2,c\n1,2,d': "4 classes (a, b, c, d…) where the model has 3.",
    'length,"width, cm",y\n1,2,a\n1,2,1': "Column y: numbers and names of classes.",
    'length,"width, cm",y\n1,2,"a': "Line 2: a quotation mark that is not closed.",
}


def test_wrong_files_and_numbers_are_said_in_words(browser: Browser, tmp_path: Path) -> None:
    path, history = reported(tmp_path)
    page = opened(browser, path)
    for text, words in WRONG.items():
        page.locator("#train-file").set_input_files({"name": "x.csv", "mimeType": "text/csv", "buffer": text.encode()})
        page.locator("#panel-train [role=alert]", has_text=words).wait_for()
        page.locator("#train-file").set_input_files([])
    fields = (("lr", "-1", "Learning rate: -1"), ("noise", "-2", "Noise: -2"), ("epochs", "0", "Epochs: 0"))
    for name, value, words in fields:
        page.locator(f"#train-{name}").fill(value)
        page.locator(f"#train-{name}").press("Tab")
        if name == "epochs":
            page.locator("#train-go").click()
        assert words in wrong(page)
    page.locator("#train-row").fill("2")
    page.locator("#train-row").press("Tab")
    page.get_by_label("y", exact=True).fill("7")
    page.get_by_label("y", exact=True).press("Tab")
    page.locator("#train-epochs").fill("60")
    page.locator("#train-go").click()
    page.locator("#panel-train [role=alert]", has_text="[cross_entropy] got label 7").wait_for()
    page.get_by_label("y", exact=True).fill(str(LABELS[1]))
    page.get_by_label("y", exact=True).press("Tab")
    page.locator("#train-lr").fill("0.1")
    page.locator("#train-lr").press("Tab")
    page.locator("#train-reset").click()
    np.testing.assert_allclose(trained(page), last_of(history), rtol=1e-12)


# ---- the page --------------------------------------------------------------------------------------------------------


def test_a_run_is_stopped_and_goes_on(browser: Browser, tmp_path: Path) -> None:
    path, _ = reported(tmp_path)
    page = opened(browser, path)
    page.locator("#train-epochs").fill("1000000")
    page.locator("#train-go").focus()
    page.keyboard.press("Enter")
    page.locator("#train-go", has_text="Stop").wait_for()
    page.wait_for_selector("#panel-train[data-last]")
    page.keyboard.press("Enter")
    page.get_by_text("Stopped at epoch").wait_for()
    page.locator("#train-reset").click()
    page.locator("#train-epochs").fill("5")
    assert "Epoch 5:" in (trained(page), said(page))[1]


def test_points_are_dragged_and_decisions_shown(browser: Browser, tmp_path: Path) -> None:
    path, _ = reported(tmp_path)
    page = opened(browser, path)
    trained(page)
    colours = """() => {
      const canvas = document.querySelector(".decisions canvas");
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const found = new Map();
      for (let k = 0; k < data.length; k += 4) {
        const one = data.slice(k, k + 3).join();
        found.set(one, (found.get(one) || 0) + 1);
      }
      return [...found.values()].filter((count) => count > 1500).length;
    }"""
    assert page.evaluate(colours) == 3  # the regions of three classes
    canvas = page.locator(".decisions canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    low, span = ROWS.min(0), np.ptp(ROWS, axis=0) * 1.2
    at = (ROWS[0] - (low - span / 12)) / span
    page.mouse.move(box["x"] + at[0] * box["width"], box["y"] + (1 - at[1]) * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.25 * box["height"], steps=3)
    page.mouse.up()
    row = int(page.locator("#train-row").input_value()) - 1
    moved = [float(page.get_by_label(name).input_value()) for name in NAMES]
    np.testing.assert_allclose(moved, low - span / 12 + span * (0.5, 0.75), rtol=0.05, atol=0.05)
    page.locator("#train-reset").click()
    x = ROWS.copy()
    x[row] = moved
    np.testing.assert_allclose(trained(page), last_of(Run(x=x).fit()), rtol=1e-12)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_everybody_can_use_it(
    browser: Browser, violations: Callable[[Any], list[str]], scheme: str, width: int, tmp_path: Path
) -> None:
    path, _ = reported(tmp_path)
    page = opened(browser, path, color_scheme=scheme, viewport={"width": width, "height": 844}, reduced_motion="reduce")
    trained(page)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#theme").click()
    assert violations(page) == []


def test_it_trains_in_the_frame_of_a_notebook(browser: Browser, tmp_path: Path) -> None:
    run = Run()
    history = run.fit()
    page = tg.report(run.step, ROWS, LABELS, history=history, path=None)
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><title>x</title>{page._repr_mimebundle_()['text/html']}", encoding="utf-8")
    frame = browser(outer, ready=False).frame_locator("iframe")
    frame.get_by_role("tab", name="Train here").click()
    frame.locator("#panel-train[data-state=ready]").wait_for()
    frame.locator("#train-go").click()
    frame.get_by_text("60 epochs in").wait_for()
    found = json.loads(frame.locator("#panel-train").get_attribute("data-last"))
    np.testing.assert_allclose(found, last_of(history), rtol=1e-12)


# ---- what is trained, and what cannot be -----------------------------------------------------------------------------


def test_without_a_run_the_batch_is_trained_on(browser: Browser, tmp_path: Path) -> None:
    """As it is now, all rows at once; what the report traces leaves nothing behind."""
    run = Run()
    before = {name: value.numpy().copy() for name, value in run.model.state_dict().items()}
    path = tg.report(run.step, ROWS, LABELS, path=tmp_path / "now.html").path
    assert all(np.array_equal(before[name], value.numpy()) for name, value in run.model.state_dict().items())
    page = opened(browser, path)
    page.locator("#train-epochs").fill("20")
    found = trained(page)
    history = run.fit(epochs=20, batch_size=None, shuffle=False)
    np.testing.assert_allclose(found, history["loss"][-1], rtol=1e-12)


def test_what_cannot_be_trained_says_why() -> None:
    model = nn.Linear(2, 3)
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def reads(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        loss = step(x, y)
        return loss if float(loss) > 0 else -loss

    cases: list[tuple[Any, Any, str]] = [
        (model, (ROWS,), "trains nothing"),
        (reads, (ROWS, LABELS), "cannot be compiled"),
        (lambda x, y: {"loss": step(x, y), "all": model(x)}, (ROWS, LABELS), "a 0-d tensor"),
    ]
    for function, batch, words in cases:
        typed = [one.astype(np.float32) if one.dtype.kind == "f" else one for one in batch]
        page = tg.report(function, *map(tg.tensor, typed), path=None)
        assert words in page.missing["train"], page.missing
    large = tg.report(step, tg.zeros(60_000, 2), tg.zeros(60_000, dtype=tg.int64), path=None)
    assert "960 kB of data and state" in large.missing["train"]
