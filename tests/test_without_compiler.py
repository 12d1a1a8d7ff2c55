"""Without llvmlite, or with TGNN_JIT=0, everything runs eagerly after one warning.

Each test is a program of its own, since what a process can compile is found out once. `.ci/run` runs this file again
where llvmlite is really not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "llvmlite":
            raise ModuleNotFoundError("No module named 'llvmlite'", name="llvmlite")
sys.meta_path.insert(0, Hide())
"""
HIDDEN = HIDE if find_spec("llvmlite") else ""  # what is not there need not be hidden

PROGRAM = """
import sys, warnings
import numpy as np
import tinygrad_nn as tg
from tinygrad_nn import functional as F, nn, optim, callbacks

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    tg.manual_seed(0)
    model = nn.Linear(3, 1).double()
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)

    @tg.jit
    def step(x, y):
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    x = np.random.default_rng(0).normal(size=(10, 3))
    y = x.sum(1, keepdims=True)
    scores = lambda: {"mean": model(tg.tensor(x)).mean()}
    history = tg.fit(step, (x, y), 5, batch_size=4, seed=1, evaluate=scores, progress=False,
                     callbacks=[callbacks.LogLines()])
    step(tg.tensor(x), tg.tensor(y))
    assert model.weight.grad is not None
    f = tg.jit(lambda a, b=2: {"sum": a * b})
    assert f(tg.ones(2), b=3)["sum"].tolist() == [3, 3]
    assert tg.jit(tg.grad(lambda a: (a * a).sum()))(tg.ones(2)).tolist() == [2, 2]
    assert tg.jit(lambda a: a if a.sum() > 0 else -a)(-tg.ones(2)).tolist() == [1, 1]  # it is eager code
print(repr(history["loss"].tolist()), "compile" in history.metadata, step.traces)
for one in seen:
    print(one.category.__name__, one.filename == "<string>", str(one.message))
print("llvmlite" in sys.modules)
"""


def run(code: str, **flags: str) -> list[str]:
    """The lines a program prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **flags}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("hidden", [False, True], ids=["TGNN_JIT=0", "no llvmlite"])
def test_everything_runs_eagerly_after_one_warning(hidden: bool) -> None:
    lines = run(HIDDEN + PROGRAM) if hidden else run(PROGRAM, TGNN_JIT="0")
    assert lines[0].endswith("False 0")
    expected = (
        "compiled functions run eagerly: [llvmlite.binding] got no module named 'llvmlite'; expected it to be "
        "installed; hint: pip install tinygrad_nn"
        if hidden
        else "TGNN_JIT=0: compiled functions run eagerly"
    )
    assert lines[1:] == [f"RuntimeWarning True {expected}", "False"]


def test_what_there_is_nothing_to_show_of_says_why() -> None:
    code = (
        "import tinygrad_nn as tg\n"
        "for show in (tg.jit(lambda x: x).llvm, lambda x: tg.explain(lambda x: x, x)):\n"
        "    try:\n        show(tg.ones(2))\n    except tg.errors.MissingExtra as error:\n        print(error)\n"
    )
    lines = run(HIDDEN + code)
    assert len(lines) == 2
    assert all("llvmlite" in line and "pip install" in line for line in lines)


def test_a_report_has_what_needs_no_compiler() -> None:
    code = (
        "import tinygrad_nn as tg\n"
        "page = tg.report(tg.nn.Linear(3, 2), tg.ones(2, 3), path=None)\n"
        "print('graph' in page.missing, page.missing['stages'])\n"
    )
    (line,) = run(HIDDEN + code)
    assert line.startswith("False It cannot be compiled: [llvmlite.binding] got no module named 'llvmlite'")


def test_an_example() -> None:
    code = (
        "import runpy, sys, warnings\nwarnings.simplefilter('error')\n"
        "warnings.filterwarnings('ignore', 'compiled functions run eagerly', RuntimeWarning)\n"
        "sys.argv = ['fraud.py', '--model', 'small', '--epochs', '2']\n"
        "runpy.run_path('examples/fraud.py', run_name='__main__')\n"
    )
    assert any("accuracy" in line for line in run(HIDDEN + code))
