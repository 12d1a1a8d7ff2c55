"""The documentation as a site: it builds without warnings, has every public name, no link that leads nowhere, nothing
from a network; on a phone no page is wider than the screen, and the search answers from disk.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs" / "_ext"))
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as the command of docs/contributing.md builds it."""
    for module in ("sphinx", "myst_parser", "furo"):
        if find_spec(module) is None:
            pytest.skip(f'no {module} (pip install "tinygrad_nn[docs]")')
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(folder)]
    environment = {**os.environ, "TGNN_VERIFY": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


class Links(HTMLParser):
    """What a page links to or loads, and the places in it that links may name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        where = found.get("href") or found.get("src")
        if where is not None:
            (self.links if tag == "a" else self.loaded).append(where)


def pages(site: Path) -> Iterator[Path]:
    """All pages; what an example wrote lies in a folder of its own."""
    return (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts and "live" not in path.parts)


def test_every_public_name_has_an_entry(site: Path) -> None:
    from names import everything
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    entries = {name for kind in inventory.values() for name in kind}
    assert sorted(everything().keys() - entries) == []


def test_no_link_leads_nowhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    parsed = {path: Links(path) for path in pages(site)}
    assert len(parsed) > 40
    broken = []
    for path, links in parsed.items():
        for where in links.loaded:
            assert not re.match(r"(https?:)?//", where), f"{path.name} loads {where}"
        for where in [*links.links, *links.loaded]:
            if re.match(r"(https?|mailto|data|javascript):", where):
                continue
            file, _, place = where.partition("#")
            target = (path.parent / unquote(file.partition("?")[0])).resolve() if file else path
            known = parsed.get(target)
            if not target.exists() or (place and known is not None and unquote(place) not in known.ids):
                broken.append(f"{path.relative_to(site)}: {where}")
    assert broken == []


def opened(chromium: Any, heard: list[str], **settings: Any) -> Any:
    """A page in a context that hears of every request that leaves the disk, and of every message."""
    page = chromium.new_context(**settings).new_page()
    page.on("console", lambda one: heard.append(f"console: {one.text}"))
    page.on("pageerror", lambda one: heard.append(f"error: {one}"))
    page.on("request", lambda one: None if one.url.startswith(("file:", "data:", "blob:")) else heard.append(one.url))
    return page


def test_on_a_phone_no_page_is_wider_than_the_screen(site: Path, chromium: Any) -> None:
    heard: list[str] = []
    page = opened(chromium, heard, viewport=PHONE)
    wide = {}
    for path in pages(site):
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[path.relative_to(site).as_posix()] = width
    page.context.close()
    assert wide == {}
    assert heard == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nobody_is_kept_out(site: Path, chromium: Any, violations: Callable[[Any], list[str]], colours: str) -> None:
    page = opened(chromium, [], viewport=DESK, color_scheme=colours)  # axe-core itself writes to the console
    for name in ("index", "numbers", "reference/export"):
        page.goto((site / f"{name}.html").as_uri())
        assert violations(page) == [], name
    page.context.close()


def test_a_tutorial_trains_its_model_in_a_frame(site: Path, chromium: Any) -> None:
    """What the tutorial on Iris says one sees in *Train here*."""
    heard: list[str] = []
    page = opened(chromium, heard, viewport=DESK)
    page.goto((site / "tutorials" / "iris.html").as_uri())
    page.locator("iframe.live").scroll_into_view_if_needed()
    frame = page.frame_locator("iframe.live")
    assert page.locator("iframe.live").get_attribute("sandbox") == "allow-scripts"

    frame.locator("#panel-train[data-state=ready]").wait_for()

    def end(rate: str, words: str = "") -> float:
        frame.get_by_label("learning rate").fill(rate)
        frame.get_by_role("button", name="Start again").click()
        frame.get_by_role("button", name="Train", exact=True).click()
        said = frame.get_by_text(re.compile(f"^Epoch 300: loss.*{words}")).text_content()
        return float(re.search(r"loss ([\d.]+)", said)[1])  # type: ignore[index]

    usual = end("0.05", "difference to Python")
    assert usual < 0.1
    assert end("5") > 2 * usual
    assert end("0.0005") > 0.7
    page.context.close()
    assert heard == []


def test_the_search_answers_from_disk(site: Path, chromium: Any) -> None:
    heard: list[str] = []
    page = opened(chromium, heard, viewport=DESK)
    page.goto((site / "index.html").as_uri())
    page.fill("input.sidebar-search", "cross_entropy")
    page.press("input.sidebar-search", "Enter")
    page.wait_for_selector("#search-results li a:has-text('cross_entropy')")
    page.context.close()
    assert heard == []


def test_iris_is_trained_in_the_browser_as_in_python(site: Path, chromium: Any) -> None:
    """The loss that the page comes to is that of its own code, run here."""
    text = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    code = re.search(r"```\{shown\}\n(?::[^\n]*\n)*(.*?)\ntg\.report", text, re.DOTALL)
    assert code is not None
    known: dict[str, Any] = {"__name__": "__main__"}
    exec(code[1], known)
    heard: list[str] = []
    page = opened(chromium, heard, viewport=DESK)
    page.goto((site / "browser.html").as_uri())
    page.locator("iframe").scroll_into_view_if_needed()
    frame = page.frame_locator("iframe")
    frame.locator("#panel-train[data-state=ready]").wait_for()
    frame.locator("#train-go").click()
    frame.get_by_text("1,000 epochs in").wait_for()
    loss, accuracy = json.loads(frame.locator("#panel-train").get_attribute("data-last"))
    page.context.close()
    assert abs(loss / known["history"]["loss"][-1] - 1) < 1e-12
    assert accuracy == known["history"]["accuracy"][-1]
    assert heard == []
