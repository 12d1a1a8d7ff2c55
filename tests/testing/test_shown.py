"""What a failed check looks like under pytest: one table, the user's line, and no frame of the package."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import GradcheckError, ShapeError
from tinygrad_nn.testing import gradcheck, gradcheck_step

FILE = """
import tinygrad_nn as tg
from tinygrad_nn.testing import gradcheck as check, gradcheck_step


class Cube(tg.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * x * g


w = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)


def step():
    w.grad = None
    loss = (w * w).sum()
    (loss * 2).backward()
    return loss


def test_plain():
    check(lambda: Cube.apply(w))


def test_assert():
    assert check(Cube.apply, (w,), order=1)


def test_fixture(gradcheck):
    assert gradcheck(lambda: Cube.apply(w).sum())


def test_step():
    assert gradcheck_step(step)


def test_kink():
    check(lambda x: (x - 1).relu(), (w,))


def test_own_error():
    check(lambda: w @ w.reshape(1, 2))
"""


@pytest.fixture(scope="module", params=["auto", "short", "long"])
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest prints of each failed test, by name."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "test_user.py").write_text(FILE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", f"--tb={request.param}"]
    done = subprocess.run([*command, "."], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    parts = re.split(r"^_{3,} test_(\w+) _{3,}$", done.stdout.partition("short test summary")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


LINES = {
    "plain": "check(lambda: Cube.apply(w))",
    "assert": "assert check(Cube.apply, (w,), order=1)",
    "fixture": "assert gradcheck(lambda: Cube.apply(w).sum())",
    "step": "assert gradcheck_step(step)",
    "kink": "check(lambda x: (x - 1).relu(), (w,))",
    "own_error": "check(lambda: w @ w.reshape(1, 2))",
}


@pytest.mark.parametrize("name", LINES)
def test_one_table_and_the_users_line(shown: dict[str, str], name: str) -> None:
    text = shown[name]
    package = str(Path(tg.__file__).parent)
    assert package not in text
    assert not re.search(r"tinygrad_nn/\w+", text)
    assert LINES[name] in text
    tables = re.findall(r"output +input", text)
    assert len(tables) == (name != "own_error")
    assert len(re.findall(r"\[(gradcheck|matmul)\] got", text)) == 1
    assert "another exception" not in text
    assert "direct cause" not in text


def test_the_table_has_the_numbers(shown: dict[str, str]) -> None:
    row = next(line for line in shown["plain"].splitlines() if "w[1]" in line)
    analytic, numeric = (float(cell) for cell in row.partition("w[1]")[2].split()[:2])
    assert analytic == pytest.approx(8)
    assert numeric == pytest.approx(12)
    assert "the rule that is wrong: Cube, at test_user.py:10: return x * x * x" in shown["plain"]
    assert re.search(r"kink in relu, at test_user\.py:\d+: check\(lambda x", shown["kink"])


def test_without_pytest_there_is_one_frame_of_the_package() -> None:
    w = tg.tensor([0.0, 2.0], dtype=tg.float64, requires_grad=True)
    for call in (
        lambda: gradcheck(lambda x: x.relu(), (w,)),
        lambda: gradcheck_step(lambda: w.relu().sum()),
        lambda: gradcheck(lambda: w @ w.reshape(1, 2)),
    ):
        with pytest.raises((GradcheckError, ShapeError)) as caught:
            call()
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert len([name for name in files if name.startswith(str(Path(tg.__file__).parent))]) == 1
