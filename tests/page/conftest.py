"""A real browser for the pages that `tg.report` writes: Chromium, started once, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VIOLATIONS = """async (rules) => {
  const found = await axe.run(document, {runOnly: {type: "tag", values: rules}});
  return found.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).slice(0, 3)}`);
}"""
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser of this run."""
    if CHROMIUM is None:
        pytest.skip("no program `chromium` (apt install chromium)")
    if find_spec("playwright") is None:
        pytest.skip('no playwright (pip install "tinygrad_nn[test]")')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Callable[..., Any]]:
    """`browser(path)` opens a page from disk and gives playwright's page when it is ready. Further arguments are those
    of a context: `viewport`, `color_scheme`. At the end of the test no page may have asked for anything but its own
    file, written to the console, or raised an error.
    """
    contexts: list[Any] = []
    heard: list[str] = []

    def opened(path: Path, at: str = "", ready: bool = True, **settings: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings})
        contexts.append(context)
        url = path.resolve().as_uri()

        def answered(route: Any) -> None:
            if route.request.url.partition("#")[0] == url:
                route.continue_()
            else:
                heard.append(f"request: {route.request.url[:200]}")
                route.abort()

        context.route(lambda asked: not asked.startswith(("blob:", "data:")), answered)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda one: heard.append(f"console: {one.text}"))
        page.on("pageerror", lambda one: heard.append(f"error: {one}"))
        page.on("dialog", lambda one: (heard.append(f"dialog: {one.message}"), one.dismiss()))
        page.goto(url + at)
        if ready:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert heard == []


def axe_violations(page: Any) -> list[str]:
    """What axe-core finds against levels A and AA in what a page shows now."""
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip('no axe-playwright-python (pip install "tinygrad_nn[test]")')
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    return list(page.evaluate(VIOLATIONS, LEVELS))


@pytest.fixture
def violations() -> Callable[[Any], list[str]]:
    """`violations(page)`: what axe-core finds against levels A and AA."""
    return axe_violations
