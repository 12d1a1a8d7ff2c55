"""The page as a whole: it opens from disk without a network or a word on the console, and text stays text."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from base64 import b64decode
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import decompress

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.page.models import stepping
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import ConfigError, FileError, GraphError, TraceError
from tinygrad_nn.page import document as documents
from tinygrad_nn.page.report import PARTS
from tinygrad_nn.page.subject import subject

Browser = Callable[..., Any]
reports = sys.modules[tg.report.__module__]


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def training() -> tuple[nn.Module, Any, Callable[..., Any]]:
    net = model()
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    return net, optimizer, stepping(net, optimizer)


# ---- what is written -------------------------------------------------------------------------------------------------


def test_a_page_asks_for_nothing_and_shows_its_parts(browser: Browser, tmp_path: Path) -> None:
    page = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html")
    assert page.path == tmp_path / "net.html"
    assert page.path.read_text() == page.html
    shown = browser(page.path)
    assert shown.title() == "Sequential"
    assert shown.get_by_role("tab").all_text_contents() == [piece.title for piece in PARTS]
    assert shown.get_by_role("heading", level=1).text_content() == "Sequential"
    assert "parameters 67" in shown.locator(".facts").text_content()


def test_equal_input_gives_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    unmeasured = tuple(piece for piece in PARTS if piece.name != "times")
    monkeypatch.setattr(import_module("tinygrad_nn.page.report"), "PARTS", unmeasured)
    net, x = model(), tg.ones(2, 4)
    assert tg.report(net, x, path=None).html == tg.report(net, x, path=None).html


def test_a_report_changes_nothing() -> None:
    net, optimizer, step = training()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    page = tg.report(step, tg.ones(2, 4), tg.tensor([0, 1]), path=None)
    assert page.path is None
    assert page.missing.keys() <= {"run", "train", "time"}
    assert not optimizer.state
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(np.array_equal(before[name], value.numpy()) for name, value in net.state_dict().items())


def test_modes_are_as_they_were() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))

    def evaluated(x: Any) -> Any:
        net.eval()
        return net(x)

    tg.report(evaluated, tg.ones(2, 4), path=None)
    assert net.training
    assert net[0].training


def test_a_notebook_has_the_page_in_a_frame_of_its_own(browser: Browser, tmp_path: Path) -> None:
    page = tg.report(model(), tg.ones(2, 4), path=None)
    bundle = page._repr_mimebundle_()
    assert bundle["text/html"].startswith('<iframe sandbox="allow-scripts" ')
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><title>a notebook</title>{bundle['text/html']}", encoding="utf-8")
    shown = browser(outer, ready=False)
    inner = shown.frame_locator("iframe")
    inner.locator("html[data-ready]").wait_for(state="attached")
    assert inner.get_by_role("heading", level=1).text_content() == "Sequential"


def test_the_wheel_has_what_pages_are_made_of(tmp_path: Path) -> None:
    assets = Path(documents.__file__).parent / "assets"
    names = {str(path.relative_to(assets)) for path in assets.rglob("*") if path.is_file()}
    assert {"page.css", "page.js", "vendor/dagre.min.js", "vendor/dagre.LICENSE.txt"} <= names
    assert {f"{piece.name}.js" for piece in PARTS} <= names
    assert all((assets / name).stat().st_size < 60_000 for name in names)
    assert all("</script" not in documents.asset(name).lower() for name in names if name.endswith(".js"))
    build = pytest.importorskip("hatchling.builders.wheel")
    root = assets.parents[2]
    wheel = next(build.WheelBuilder(str(root)).build(directory=str(tmp_path)))
    packed = {name.partition("page/assets/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    assert names <= packed


# ---- the shell -------------------------------------------------------------------------------------------------------


def test_tabs_are_reached_by_keys_and_by_links(browser: Browser, tmp_path: Path) -> None:
    path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html").path
    last = PARTS[-1]
    shown = browser(path, at=f"#{last.name}")
    tab = shown.get_by_role("tab", name=last.title)
    assert tab.get_attribute("aria-selected") == "true"
    tab.focus()
    shown.keyboard.press("ArrowRight")
    assert shown.get_by_role("tab", selected=True).text_content() == PARTS[0].title
    assert shown.evaluate("document.activeElement.textContent") == PARTS[0].title
    assert shown.evaluate("location.hash") == f"#{PARTS[0].name}"
    shown.keyboard.press("End")
    assert shown.get_by_role("tab", selected=True).text_content() == last.title
    assert shown.get_by_role("tabpanel").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_that_of_the_system_until_it_is_changed(browser: Browser, tmp_path: Path, scheme: str) -> None:
    path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html").path
    shown = browser(path, color_scheme=scheme)
    assert shown.locator("html").get_attribute("data-theme") == scheme
    ground = shown.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    shown.locator("#theme").click()
    assert shown.locator("html").get_attribute("data-theme") != scheme
    assert shown.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != ground


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_part_can_be_read_by_everybody(
    browser: Browser, violations: Callable[[Any], list[str]], tmp_path: Path, scheme: str
) -> None:
    _, _, step = training()
    path = tg.report(step, tg.ones(2, 4), tg.tensor([0, 1]), path=tmp_path / "net.html").path
    shown = browser(path, color_scheme=scheme)
    for piece in PARTS:
        shown.get_by_role("tab", name=piece.title).click()
        shown.locator(f"#panel-{piece.name}[data-mounted=yes]").wait_for()
        shown.set_viewport_size({"width": 1280, "height": 800})
        assert violations(shown) == []
        if piece.name == "graph":
            shown.locator(".box", has_text="relu").first.click()
            shown.locator(".panel-graph .table summary").click()
            assert violations(shown) == []
        for width in (1280, 390):
            shown.set_viewport_size({"width": width, "height": 800})
            wide = shown.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{piece.name} is wider than the window"


def test_print_has_every_part(browser: Browser, tmp_path: Path) -> None:
    path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html").path
    shown = browser(path, color_scheme="dark")
    shown.emulate_media(media="print", color_scheme="dark")
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.locator(".panel:visible").count() == len(PARTS)
    assert shown.locator("[role=tablist]").is_hidden()
    assert shown.locator("html").get_attribute("data-theme") == "light"
    shown.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.locator("html").get_attribute("data-theme") == "dark"


def test_a_table_is_made_when_it_is_opened_and_goes_on(browser: Browser, tmp_path: Path) -> None:
    path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html").path
    shown = browser(path)
    shown.evaluate(
        """document.querySelector("main").prepend(
          page.table("numbers", ["name", {name: "x", number: true}],
            [...Array(1200).keys()].map((k) => [`n${k}`, k / 3])))"""
    )
    table = shown.locator("main > .table")
    assert table.locator("tr").count() == 0
    table.locator("summary").click()
    table.get_by_role("button").wait_for()
    assert table.locator("tbody tr").count() == 500
    table.get_by_role("button", name="700 more").click()
    table.get_by_role("button", name="200 more").click()
    assert table.locator("tbody tr").count() == 1200
    assert table.get_by_role("button").count() == 0
    assert table.locator("tbody tr").nth(1).text_content() == "n10.3333"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"), ("1234567", "1,234,567"), ("-5", "−5"), ("0.1 + 0.2", "0.3"), ("1e-9", "1e−9"),
        ("123456.78", "123500"), ("2.5e20", "2.5e20"), ("'NaN'", "NaN"), ("'-Infinity'", "−∞"), ("'Infinity'", "∞"),
        ("NaN", "NaN"), ("null", "–"), ("-0.00012345", "−1.234e−4"),
    ],
)  # fmt: skip
def test_numbers_are_short(chromium: Any, value: str, text: str) -> None:
    context = chromium.new_context()
    shown = context.new_page()
    shown.set_content('<script type="application/json" id="data">{}</script>')
    shown.add_script_tag(content=documents.asset("page.js"))
    assert shown.evaluate(f"page.number({value})") == text
    context.close()


# ---- text of users ---------------------------------------------------------------------------------------------------

NASTY = [
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "'); alert(1); ('",
    '"><svg onload=alert(1)>', "${alert(1)}", "{{alert(1)}}", "<!--", "]]>", "&lt;b&gt;&amp;", "\\u003cb>",
    "\u2028alert(1)\u2029", "\u202egnp.exe", "\u2066a\u2069", "\x00\x07\x1b[31m", "\ud800", "é漢🎉", "x" * 100_000, "",
    " ", "constructor", "__proto__", "toString", "%s%n", "a\nb\tc", "--></style><style>*{display:none}",
]  # fmt: skip


def test_the_name_of_a_function_is_text(browser: Browser, tmp_path: Path) -> None:
    shown, path = None, tmp_path / "page.html"
    for name in NASTY:

        def function(x: Any) -> Any:
            return x

        function.__name__ = name
        told = subject(function, (tg.ones(2),), None, None).name
        text = documents.document({"name": told, "facts": [[name, name]]}, {"x": {"title": name, "missing": name}})
        markup = text.replace(documents.as_json(name), "")
        assert name.isalpha() or len(name) < 10 or name not in markup
        path.write_text(text, encoding="ascii" if text.isascii() else "utf-8")
        shown = browser(path) if shown is None else shown
        shown.goto(path.as_uri())
        shown.wait_for_selector("html[data-ready]", state="attached")
        heading = shown.get_by_role("heading", level=1).text_content()
        if name.isprintable() and len(name) < 200:
            assert heading == name
        assert len(heading) < 250
        assert shown.locator("main script, main style, main img").count() == 0
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", shown.locator("body").text_content())


def test_json_cannot_end_a_script() -> None:
    text = documents.as_json({"<": "</script>&\u2028", "x": [float("nan"), np.float32("inf"), np.arange(3), -np.inf]})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"<": "</script>&\u2028", "x": ["NaN", "Infinity", [0, 1, 2], "-Infinity"]}


def test_what_leads_out_of_the_page_is_refused(browser: Browser, tmp_path: Path) -> None:
    path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html").path
    shown = browser(path)
    for attributes in ("{href: 'javascript:alert(1)'}", "{src: 'http://a'}", "{onclick: 'alert(1)'}", "{srcdoc: 'a'}"):
        refused = shown.evaluate(f"(() => {{ try {{ page.html('a', {attributes}); }} catch {{ return true; }} }})()")
        assert refused is True, attributes


def test_a_network_is_out_of_reach_even_for_scripts(chromium: Any, tmp_path: Path) -> None:
    path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html").path
    context = chromium.new_context()
    shown = context.new_page()
    shown.goto(path.as_uri())
    asked = "fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.message)"
    blocked: list[str] = []
    shown.on("console", lambda one: blocked.append(one.text))
    assert shown.evaluate(asked) == "Failed to fetch"
    assert any("Content Security Policy" in one for one in blocked)
    context.close()


def test_long_texts_come_packed(browser: Browser, tmp_path: Path) -> None:
    text = "; a comment, with <b> and é\n" * 1000
    packed = documents.packed(text)
    assert isinstance(packed, dict)
    assert decompress(b64decode(packed["deflate"])).decode() == text
    path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "net.html").path
    assert browser(path).evaluate("(packed) => page.inflate(packed)", packed) == text
    assert documents.packed("short") == "short"


# ---- what cannot be shown --------------------------------------------------------------------------------------------


def test_a_step_that_cannot_be_compiled_is_shown_as_it_ran(browser: Browser, tmp_path: Path) -> None:
    def step(x: Any) -> Any:
        return x * 2 if float(x.sum()) > 0 else x

    with pytest.raises(TraceError):
        tg.jit(step)(tg.ones(2))
    page = tg.report(step, tg.ones(2), path=tmp_path / "step.html")
    assert "graph" not in page.missing
    assert browser(page.path).get_by_role("heading", level=1).text_content() == "step"


def test_a_part_that_is_missing_says_why(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    parts = {"one": {"title": "One", "missing": "There is <b>none</b>."}}
    path.write_text(documents.document({"name": "f", "facts": []}, parts), encoding="utf-8")
    assert browser(path).locator(".missing p").text_content() == "There is <b>none</b>."


def test_a_part_that_fails_says_so(chromium: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the place of the part, and on the console."""
    real = documents.packed_asset
    for script, told in (
        ('page.part("graph", {mount() { throw new Error("<i>mine</i>"); }});', "Its script failed: <i>mine</i>"),
        ("let from a far = future;", "this browser may be too old"),
    ):
        monkeypatch.setattr(
            documents, "packed_asset", lambda name, script=script: script if name == "graph.js" else real(name)
        )
        path = tg.report(model(), tg.ones(2, 4), path=tmp_path / "page.html").path
        context = chromium.new_context()
        shown = context.new_page()
        shown.goto(path.as_uri())
        shown.locator(".missing p", has_text=told).wait_for()
        context.close()


def test_a_browser_that_cannot_read_the_page_leaves_no_blank(chromium: Any, tmp_path: Path) -> None:
    html = tg.report(model(), tg.ones(2, 4), path=None).html
    path = tmp_path / "page.html"
    old = html.replace(documents.asset("start.js"), "let from a far = future;")
    unable = html.replace("new DecompressionStream", "new Absent")
    assert len({html, old, unable}) == 3
    for text, scripts in ((old, True), (unable, True), (html, False)):
        path.write_text(text, encoding="utf-8")
        context = chromium.new_context(java_script_enabled=scripts)
        shown = context.new_page()
        shown.goto(path.as_uri())
        if scripts:
            shown.locator("body > p").wait_for()
        assert "needs a browser of 2023 or later, with JavaScript" in shown.locator("body").inner_text()
        context.close()


def test_a_page_that_is_too_large_says_less_and_then_leaves_parts_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, step = training()
    batch = (tg.ones(2, 4), tg.tensor([0, 1]))
    whole = tg.report(step, *batch, path=None)
    assert "train" not in whole.missing
    full = next(one for one in documents.data_of(whole.html, "stages")["stages"] if one["title"] == "LLVM IR")
    assert full["left"] == 0
    monkeypatch.setattr(reports, "SMALL", len(whole.html) - 4000)
    cut = tg.report(step, *batch, path=None)
    assert len(cut.html) <= reports.SMALL
    assert "train" not in cut.missing
    less = next(one for one in documents.data_of(cut.html, "stages")["stages"] if one["title"] == "LLVM IR")
    assert less["left"] > 0
    assert len(less["text"].splitlines()) + less["left"] == len(full["text"].splitlines())
    monkeypatch.setattr(reports, "SMALL", len(whole.html) - 26_000)
    spared = tg.report(step, *batch, path=None)
    assert len(spared.html) <= reports.SMALL
    assert spared.missing["train"].startswith("With the run's program and data the page would be too large.")


def test_data_can_be_read_from_a_page() -> None:
    page = tg.report(model(), tg.ones(2, 4), path=None)
    assert documents.data_of(page.html, "graph")["views"][0]["title"] == "With its gradient"


@pytest.mark.parametrize("function", [3, None, "net", [1], np.ones(2)])
def test_what_is_no_function_is_refused(function: Any) -> None:
    with pytest.raises(GraphError, match=r"^\[report\] got .*expected a module, a function or a step"):
        tg.report(function, tg.ones(2), path=None)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(GraphError, match=r"\[report\] got a module without an input; .*tg.report\(model, x\)"):
        tg.report(model(), path=None)
    with pytest.raises(GraphError, match=r"\[report\] got a function that returns no tensor"):
        tg.report(lambda x: 3, tg.ones(2), path=None)
    with pytest.raises(ConfigError, match=r"\[report\] got history \[1\]; expected a History or None"):
        tg.report(model(), tg.ones(2, 4), history=[1], path=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"\[report\] got sweep 'x'; expected a Sweep or None"):
        tg.report(model(), tg.ones(2, 4), sweep="x", path=None)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match=r"\[report\]"):
        tg.jit(lambda x: tg.report(model(), x, path=None))(tg.ones(2, 4))


def test_what_the_function_raises_is_the_users(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tg.report(function, tg.ones(2), path=tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [3, b"x", object()])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(FileError, match=r"^\[report\] got a .* as the path"):
        tg.report(model(), tg.ones(2, 4), path=path)


def test_where_nothing_can_be_written_the_old_page_stays(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"\[report\] got .*which cannot be written"):
        tg.report(model(), tg.ones(2, 4), path=tmp_path)
    with pytest.raises(FileError, match=r"\[report\] got .*which cannot be written"):
        tg.report(model(), tg.ones(2, 4), path=tmp_path / "absent" / "page.html")
    with pytest.raises(FileError, match=r"\[report\] got /proc/page.html, which cannot be written"):
        tg.report(model(), tg.ones(2, 4), path="/proc/page.html")
