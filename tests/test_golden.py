"""Golden files: written on request, compared otherwise, and a difference is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import check_golden


def test_written_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "golden" / "text.txt"
    check_golden(path, "a\nb ≤ c", update=True)
    assert path.read_bytes() == "a\nb ≤ c\n".encode()
    check_golden(path, "a\nb ≤ c", update=False)
    check_golden(path, "other", update=True)
    check_golden(path, "other", update=False)


@pytest.mark.parametrize("text", ["a\nc", "a", "a\nb\n", "a\nb ", "a\n\nb", ""])
def test_a_difference_is_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a\nb\n")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)text.txt.*pytest --update-golden"):
        check_golden(path, text, update=False)
    assert path.read_text() == "a\nb\n"


def test_the_lines_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a\nb\n")
    with pytest.raises(pytest.fail.Exception, match=r"(?m)^-b\n\+c$"):
        check_golden(path, "a\nc", update=False)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="is missing: run pytest --update-golden"):
        check_golden(tmp_path / "text.txt", "a", update=False)
