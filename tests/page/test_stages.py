"""The stages of a page: texts that are those of the compiler, and lines that know the nodes they compute."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_nn as tg
from tests.page.models import forecast, iris, titanic
from tinygrad_nn import nn
from tinygrad_nn.adjoint import SCAN
from tinygrad_nn.page import stages
from tinygrad_nn.page.document import data_of
from tinygrad_nn.page.subject import subject

Browser = Callable[..., Any]


def stages_of(function: Any, *batch: Any) -> dict[str, dict[str, Any]]:
    """The stages of a page by their titles; each with its lines, and for each of them the nodes that it computes."""
    data = data_of(tg.report(function, *batch, path=None).html, "stages")
    found = {}
    for stage in data["stages"]:
        lines = stage["text"].split("\n")
        nodes: list[set[int]] = [set() for _ in lines]
        line = group = 0
        for between, count, step in zip(*[iter(stage["marks"])] * 3, strict=True):
            group += step
            for k in range(line + between, min(line + between + count, len(lines))):
                nodes[k] = set(data["groups"][group])
            line += between + count
        found[stage["title"]] = {**stage, "lines": lines, "nodes": nodes}
    return found


def test_texts_are_those_of_the_compiler() -> None:
    step, batch = iris()
    found = stages_of(step, *batch)
    jitted = tg.jit(step)
    assert found["LLVM IR"]["text"] == jitted.llvm(*batch).rstrip("\n")
    assert found["Loops"]["text"] == str(jitted.entry(batch, {}).compiled.stages.program)
    titles = list(found)
    assert titles[:2] == ["Your code", "As traced"]
    assert titles[-4:] == ["Loops", "Schedule", "LLVM IR", "Assembly"]
    assert len(found["Assembly"]["lines"]) > 100


def test_each_rewrite_that_changed_something_is_a_stage() -> None:
    step, batch = iris()
    found = stages_of(step, *batch)
    rewrites = [title for title in found if title.startswith("After ")]
    assert "After drop identities" in rewrites
    texts = [found[title]["text"].partition("\n%7")[2] for title in ("As traced", *rewrites)]
    assert len(set(texts)) == len(texts)
    assert all(found[title]["about"] for title in found)


def test_what_nothing_rewrites_has_no_such_stage() -> None:
    found = stages_of(lambda x: x.exp(), tg.ones(3))
    assert not [title for title in found if title.startswith("After ")]


def test_every_stage_knows_its_nodes() -> None:
    step, batch = titanic()
    about = subject(step, batch, None, None)
    found = stages_of(step, *batch)
    relu = next(about.ids[node] for node in about.graph.nodes if node.op.name == "relu")
    for title, stage in found.items():
        if stage["left"]:
            continue
        marked = [line for line, nodes in zip(stage["lines"], stage["nodes"], strict=True) if relu in nodes]
        assert marked, title
        if title.startswith("After "):  # rewritten nodes know which ones they were
            rows = zip(stage["lines"], stage["nodes"], strict=True)
            made = [nodes for line, nodes in rows if " = " in line and not re.search(r" = (constant|input)\b", line)]
            assert len(made) > 50
            assert all(made), title
        elif title == "As traced":
            assert len(marked) == 1
            assert " = relu(" in marked[0]
        elif title in ("Loops", "Schedule"):
            assert "relu" in marked[0]
            assert marked[0].lstrip().startswith("kernel ")


def test_the_users_line_leads_to_code() -> None:
    def step(x: Any) -> Any:
        first = x.exp()
        return (first * 2).sum()

    found = stages_of(step, tg.ones(50))
    code = found["Your code"]
    assert [line.split("  ")[1] for line in code["lines"]] == ["first = x.exp()", "return (first * 2).sum()"]
    assert not code["nodes"][0] & code["nodes"][1]
    for title in ("As traced", "Loops", "Schedule", "LLVM IR", "Assembly"):
        assert any(nodes & code["nodes"][0] for nodes in found[title]["nodes"]), title


def test_the_step_of_a_loop_has_lines_of_its_own() -> None:
    step, batch = forecast()
    about = subject(step, batch, None, None)
    found = stages_of(step, *batch)["As traced"]
    scan = next(node for node in about.graph.nodes if node.op is SCAN)
    inside = {about.ids[node] for node in scan.attrs["body"].nodes}
    own = [k for k, nodes in enumerate(found["nodes"]) if nodes & inside]
    assert len(own) >= len(inside)
    assert all(found["lines"][k].startswith("    %") for k in own)
    assert found["lines"][own[0] - 1].endswith("body={")


def test_inputs_have_names() -> None:
    model = nn.Linear(2, 1)
    found = stages_of(lambda batch: model(batch), tg.ones(3, 2))["As traced"]["lines"]
    assert [line.partition("  # ")[2] for line in found[:3]] == ["batch", "weight", "bias"]


def test_names_that_steer_are_shown() -> None:
    found = stages_of(lambda batch: sum(batch.values()), {"a\nb\x1b[31m": tg.ones(2), "c": tg.ones(2)})["As traced"]
    assert "\x1b" not in found["text"]
    assert found["lines"][0].endswith("  # a\\nb\\x1b[31m")


def test_what_is_too_long_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "SIZE", 2000)
    step, batch = iris()
    found = stages_of(step, *batch)["LLVM IR"]
    assert 1800 < len(found["text"]) <= 2000
    assert len(found["lines"]) + found["left"] == len(tg.jit(step).llvm(*batch).rstrip("\n").splitlines())


# ---- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Any:
    """The stages of a training step."""
    step, batch = iris()
    shown = browser(tg.report(step, *batch, path=tmp_path / "page.html").path, at="#stages")
    shown.locator("#panel-stages[data-mounted=yes]").wait_for()
    return shown


def panes(shown: Any) -> tuple[Any, Any]:
    return shown.locator(".pane").nth(0), shown.locator(".pane").nth(1)


def test_a_line_marks_its_lines_in_every_stage(opened: Any) -> None:
    left, right = panes(opened)
    relu = left.locator(".line", has_text="relu(")
    relu.hover()
    assert "relu" in right.locator(".line.marked").first.inner_text()
    assert left.locator(".line.marked").count() == 1
    strips = opened.locator(".overview button").evaluate_all("all => all.map(one => one.querySelectorAll('u').length)")
    assert all(strips)
    right.locator(".line.marked").first.hover()
    assert left.locator(".line.marked").count() > 1  # a kernel computes several nodes


def test_a_line_that_is_chosen_is_found_in_the_graph(opened: Any) -> None:
    left, right = panes(opened)
    left.locator(".line", has_text="relu(").click()
    assert left.locator(".line.chosen").count() == 1
    assert right.locator(".line.chosen").count() > 1
    opened.get_by_role("tab", name="Graph").click()
    opened.locator(".box.chosen").wait_for()
    assert opened.locator(".inspect h2").text_content() == "relu"
    opened.locator(".box", has_text="exp").first.click()
    opened.get_by_role("tab", name="Stages").click()
    assert " = exp(" in left.locator(".line.chosen").inner_text()


def test_stages_are_chosen_and_searched(opened: Any) -> None:
    _, right = panes(opened)
    right.get_by_role("combobox").select_option(label="Assembly")
    assert "ret" not in right.locator(".line").first.inner_text()
    find = right.get_by_role("searchbox")
    find.fill("ret")
    right.locator(".line.current.found").wait_for()
    assert "ret" in right.locator(".line.current").inner_text()
    opened.locator(".overview button", has_text="LLVM IR").click()
    assert right.get_by_role("combobox").evaluate("one => one.selectedOptions[0].textContent") == "LLVM IR"
    assert opened.locator(".pane .line").count() < 200  # of more than a thousand
    right.get_by_role("region", name="LLVM IR").focus()
    for _ in range(3):
        opened.keyboard.press("ArrowDown")
    assert right.locator(".line.current").get_attribute("data-line") == "2"
    right.get_by_role("region", name="LLVM IR").evaluate("one => one.scrollTo(0, 1e9)")
    right.locator(".line", has_text="attributes").first.wait_for()


def test_a_text_can_be_saved(opened: Any) -> None:
    left, _ = panes(opened)
    with opened.expect_download() as waiting:
        left.get_by_role("button", name="Save").click()
    assert waiting.value.suggested_filename == "traced.txt"
    assert " = relu(" in Path(waiting.value.path()).read_text()
