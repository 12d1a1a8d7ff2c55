"""The thermostat on a microcontroller: it learns another house than Python's, in an emulator."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "embedded"
TOOLS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
MISSING = [name for name in TOOLS if shutil.which(name) is None]


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "thermostat.py"))


@pytest.mark.skipif(bool(MISSING), reason=f"no programs {MISSING} (apt install gcc-arm-none-eabi qemu-system-arm)")
def test_it_learns_the_house_on_the_device(
    example: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example["main"](["--out", str(tmp_path), "--run"])
    told = capsys.readouterr().out
    size = re.search(r"([\d,]+) bytes of code", told)
    assert size is not None
    assert int(size[1].replace(",", "")) < 6000
    off = [float(one) for one in re.findall(r"off by ([\d.]+)", told)]
    cold = [float(one) for one in re.findall(r"cold by ([\d.]+)", told)]
    assert len(off) == len(cold) == 4
    assert off[-1] < off[0] / 3
    assert cold[-1] < cold[0] / 2


def test_without_the_tools_it_says_what_to_install(
    example: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match=r"\[--run\] got no program arm-none-eabi-gcc; .* apt install"):
        example["run"](tmp_path / "thermostat.c")


def test_what_is_exported_is_as_large_as_main_expects(example: dict[str, Any]) -> None:
    defined = re.search(r"#define WINDOW (\d+)", (FOLDER / "main.c").read_text())
    assert defined is not None
    assert int(defined[1]) == example["WINDOW"]


def test_its_help_is_that_of_the_readme() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "thermostat.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "--run" in done.stdout
    assert "--out" in done.stdout
