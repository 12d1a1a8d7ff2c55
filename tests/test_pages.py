"""The examples of documentation pages run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", [path.name for path in sorted(DOCS.rglob("*.md")) if ">>> " in path.read_text("utf-8")])
def test_examples_run(page: str) -> None:
    pytest.importorskip("polars")
    found = doctest.testfile(str(DOCS / page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_page_with_examples_is_found() -> None:
    assert "looking.md" in [path.name for path in DOCS.rglob("*.md")]
