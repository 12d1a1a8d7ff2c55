"""The part "Time" against what `tg.explain` and the schedule say, and in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.page.models import stepping
from tinygrad_nn import nn, optim
from tinygrad_nn.page import document as documents
from tinygrad_nn.page import times
from tinygrad_nn.page.subject import Missing, Subject, subject

Browser = Callable[..., Any]


def training() -> Callable[..., Any]:
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return stepping(net, optim.SGD(net.parameters(), lr=0.01))


BATCH = (np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32), np.arange(32) % 3)


@pytest.fixture(scope="module")
def about() -> Subject:
    return subject(training(), BATCH, None, None)


@pytest.fixture(scope="module")
def made(about: Subject) -> Any:
    return times.part(about)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tg.report(training(), *BATCH, path=tmp_path_factory.mktemp("times") / "step.html").path
    assert found is not None
    return found


def shown_data(path: Path) -> Any:
    return documents.data_of(path.read_text(), "times")


def test_kernels_are_those_of_explain(made: Any) -> None:
    table = tg.explain(tg.jit(training()), *BATCH)
    rows = made["kernels"]["rows"]
    assert [row["name"] for row in rows] == [row.name for row in table.rows]
    for row, known in zip(rows, table.rows, strict=True):
        assert (row["flops"], row["bytes"], row["loops"]) == (known.flops, known.bytes, known.shape)
        assert row["ns"] > 0
        peak = made["kernels"]["peak"] * 8 / known.itemsize
        assert row["rate"] == pytest.approx(row["flops"] / (row["ns"] * 1e-9) / peak)


def test_no_two_buffers_lie_in_one_place_at_one_time(about: Subject, made: Any) -> None:
    memory = made["memory"]
    buffers = memory["buffers"]
    assert (
        memory["count"] == len(buffers) == sum(one.base is None for one in about.compilation.schedule.program.buffers)
    )
    assert max(at + size for *_, at, size, _, _, _, _ in buffers) <= memory["size"]
    for k, one in enumerate(buffers):
        for other in buffers[:k]:
            apart = one[4] >= other[4] + other[5] or other[4] >= one[4] + one[5] or "state" in (one[1], other[1])
            assert apart or one[6] > other[7] or other[6] > one[7], (one, other)
    held = {one[8] for one in buffers}
    assert {"x", "y", "0.weight", "2.bias", "gradient of 0.weight"} <= held
    assert {one[1] for one in buffers} == {"input", "temporary", "state", "result"}
    assert sum(one[1] == "state" for one in buffers) == 4, "the new values of four parameters"


def test_an_index_out_of_range_is_said(made: Any) -> None:
    wrong = times.part(subject(training(), (BATCH[0], BATCH[1] + 1), None, None))
    assert len(wrong["kernels"]["rows"]) < wrong["kernels"]["count"] == made["kernels"]["count"]  # type: ignore[index]


def test_a_step_that_cannot_be_compiled_has_no_times() -> None:
    model = nn.Linear(2, 1)

    def step(x: Any) -> Any:
        loss = model(x).sum()
        return loss * 2 if loss.item() > 0 else loss

    found = times.part(subject(step, (np.ones((3, 2), np.float32),), None, None))
    assert isinstance(found, Missing)
    assert "cannot be compiled" in found.reason


def test_many_kernels_are_not_timed(about: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "KERNELS", 3)
    found = times.part(about)
    assert "too many" in found["kernels"]["missing"]  # type: ignore[index]
    assert found["memory"]["buffers"]  # type: ignore[index]


# ---- in a browser ----------------------------------------------------------------------------------------------------


def test_the_table_has_what_python_measured(browser: Browser, path: Path) -> None:
    shown, data = browser(path, at="#times"), shown_data(path)
    panel = shown.locator("#panel-times")
    panel.get_by_text("As a table: kernels").click()
    rows = panel.get_by_role("table").first.locator("tbody tr")
    rows.first.wait_for()  # a table is made when it is opened
    cells = rows.all()
    assert len(cells) == data["kernels"]["count"]
    words = cells[1].locator("td").all_text_contents()
    row = data["kernels"]["rows"][1]
    assert words[0] == row["name"]
    assert float(words[4].replace(",", "")) == row["flops"]
    assert float(words[6]) == pytest.approx(row["ns"], 1e-3)
    widths = panel.locator(".fill:not(.rate)").evaluate_all("(bars) => bars.map((one) => parseFloat(one.style.width))")
    most = max(one["ns"] for one in data["kernels"]["rows"])
    expected = [100 * one["ns"] / most for one in data["kernels"]["rows"]]
    np.testing.assert_allclose(widths[: len(expected)], expected, 1e-3)


def test_keys_and_taps_read_kernels_and_buffers(browser: Browser, path: Path) -> None:
    shown, data = browser(path, at="#times"), shown_data(path)
    kernels = shown.get_by_role("listbox", name="Time of each kernel")
    kernels.get_by_role("option").first.focus()
    shown.keyboard.press("ArrowDown")
    name = data["kernels"]["rows"][1]["name"]
    assert name in kernels.locator("[aria-selected=true]").get_attribute("aria-label")
    assert name in shown.locator(".readout").first.text_content()
    assert float(shown.locator(".arena .now").get_attribute("width")) > 0
    assert shown.evaluate("page.selected") == {"kind": "node", "id": data["kernels"]["rows"][1]["nodes"][-1]}
    shown.keyboard.press("End")
    assert kernels.locator("[aria-selected=true]").count() == 1
    buffers = shown.get_by_role("listbox", name="Buffers in memory").get_by_role("option")
    assert buffers.count() == data["memory"]["count"]
    buffers.nth(0).click()
    said = shown.locator(".readout").nth(1).text_content()
    first = data["memory"]["buffers"][0]
    assert said.startswith(first[0])
    assert f"{first[2]}[{', '.join(map(str, first[3]))}]" in said
    buffers.nth(3).hover()
    assert shown.locator(".readout").nth(1).text_content().startswith(data["memory"]["buffers"][3][0])


def test_what_computes_a_node_is_marked(browser: Browser, path: Path) -> None:
    shown, data = browser(path, at="#times"), shown_data(path)
    row = data["kernels"]["rows"][2]
    shown.evaluate("(id) => page.select('node', id)", row["nodes"][0])
    marked = shown.locator(".bars .linked").evaluate_all("(all) => all.map((one) => one.textContent)")
    expected = [one["name"] for one in data["kernels"]["rows"] if row["nodes"][0] in one["nodes"]]
    assert row["name"] in expected
    assert [text.startswith(name) for text, name in zip(marked, expected, strict=True)] == [True] * len(expected)
    buffer = next(one for one in data["memory"]["buffers"] if one[9])
    shown.evaluate("(id) => page.select('node', id)", buffer[9][-1])
    assert any(buffer[0] in one.get_attribute("aria-label") for one in shown.locator(".arena .linked").all())
