"""The page on checking gradients, run as it stands."""

from __future__ import annotations

import doctest
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_says_what_happens() -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(DOCS / "gradcheck.md"), module_relative=False, optionflags=flags)
    assert tried > 15
    assert failed == 0
