"""The ops of docs/adding_an_op.md, put into a copy of the package as the page says: with nothing else changed they are
fuzzed, checked to second order, compiled and compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding_an_op.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"in `(tinygrad_nn/ops/\w+\.py)`.*?```python\n(.*?)```", re.DOTALL | re.IGNORECASE)
DEFINED = re.compile(r'^([A-Z0-9_]+) = \w+\(\n    "(\w+)"', re.MULTILINE)
OPS = {
    name: (file, variable, block)
    for file, block in BLOCK.findall(PAGE)
    for variable, name in DEFINED.findall(block)
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for name in ("tinygrad_nn", "tests/ops", "tests/compiler/test_ops.py", "tests/conftest.py", "pyproject.toml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    for file, variable, block in OPS.values():
        put(folder / file, variable, block)
    return folder


def put(path: Path, variable: str, block: str) -> None:
    """The block before the file's OPS, and its name in it."""
    before, _, after = path.read_text(encoding="utf-8").rpartition("\nOPS = (")
    path.write_text(f"{before}\n{block}\nOPS = ({variable}, {after}", encoding="utf-8")


def run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "TGNN_VERIFY": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return f"{done.returncode} {done.stdout[-3000:]} {done.stderr[-2000:]}"


def test_the_page_shows_ops_of_several_kinds() -> None:
    assert {name: Path(file).stem for name, (file, *_) in OPS.items()} == {
        "softcap": "transcendental",
        "sum_of_squares": "reduce",
        "norm2": "elementwise",
        "flip": "movement",
    }


def test_they_pass_the_tests_that_are_there(copy: Path) -> None:
    found = run(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/ops", "tests/compiler", "-k", " or ".join(OPS))
    assert found.startswith("0 "), found
    assert int(re.findall(r"(\d+) passed", found)[0]) > 80


@pytest.mark.parametrize("op", OPS)
def test_random_programs_with_them_agree(copy: Path, op: str) -> None:
    found = run(copy, "tinygrad_nn.testing.fuzz", "--op", op, "--programs", "24")
    assert found.startswith("0 24 programs"), found


WRONG = {
    "its scalar form": ("libm.tanh(x / cap) * cap", "libm.tanh(x / cap) * (cap + 1e-4)", "fuzz"),
    "its gradient": ("(out / cap) ** 2", "(out / cap) ** 2 * 1.00001", "pytest"),
    "its error": ("    error=ulps(6),", "", "fuzz"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_one_is_found(copy: Path, what: str) -> None:
    right, wrong, judge = WRONG[what]
    path = copy / OPS["softcap"][0]
    before = path.read_text(encoding="utf-8")
    assert right in before
    path.write_text(before.replace(right, wrong), encoding="utf-8")
    commands = {
        "fuzz": ("tinygrad_nn.testing.fuzz", "--op", "softcap", "--programs", "24"),
        "pytest": ("pytest", "-q", "-p", "no:cacheprovider", "tests/ops", "-k", "second_order and softcap"),
    }
    try:
        found = run(copy, *commands[judge])
    finally:
        path.write_text(before, encoding="utf-8")
    assert found.startswith("1 "), found
    assert ("mismatches" if judge == "fuzz" else "GradcheckError") in found
