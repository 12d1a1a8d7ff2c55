"""The doctor page."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tinygrad_nn import cli
from tinygrad_nn.support.extras import EXTRAS, pip_line


def test_the_page_names_versions_extras_and_next_steps() -> None:
    done = subprocess.run([sys.executable, "-m", "tinygrad_nn"], capture_output=True, text=True, check=True)
    assert all(word in done.stdout for word in ("tinygrad_nn", "numpy", "cpu", "dot", *EXTRAS, "examples/titanic.py"))
    assert done.stderr == ""


def test_a_missing_extra_is_shown_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.util, "find_spec", lambda name: None)
    page = cli.doctor()
    assert all(pip_line(extra) in page for extra in EXTRAS)


def test_help_and_unknown_flags() -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    with pytest.raises(SystemExit) as stop:
        cli.main(["--nonsense"])
    assert stop.value.code == 2
