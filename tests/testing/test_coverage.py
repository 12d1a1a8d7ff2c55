"""`pytest --gradient-coverage`: which lines of a small project count as checked, how, and what fails the run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn.graph import reverse as autodiff
from tinygrad_nn.tensor import core, operators
from tinygrad_nn.testing.coverage import Recorder

pytest_plugins = ["pytester"]
Run = Callable[..., Any]

HEAD = """
import pytest
import tinygrad_nn as tg
from tinygrad_nn import nn, optim, functional as F
from tinygrad_nn.testing import gradcheck
from model import *

def leaf(*shape, value=0.5):
    return tg.full(shape, value, dtype=tg.float64).requires_grad_()
"""
MODEL = "import tinygrad_nn as tg\nfrom tinygrad_nn import nn, optim, functional as F\n"


class Table:
    """The printed table: a row by the code of its line."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.text = result.stdout.str()
        self.rows: dict[str, list[str]] = {}
        for line in self.text.splitlines():
            if re.match(r"  +\d+  (order \d|never)  ", line):
                *cells, code = re.split(r"  +", line.strip())
                self.rows[code] = cells[1:]

    def checked(self, code: str) -> list[str]:
        """What is said of a line: ["order 2", "eager", "array", "mul"], or ["never", "array", "mul"]."""
        return self.rows[code]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "250")

    def once(model: str, tests: str, *options: str, files: dict[str, str] | None = None) -> Table:
        pytester.makepyfile(model=MODEL + model, test_it=HEAD + tests, **(files or {}))
        given = options or ("--gradient-coverage",)
        return Table(pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *given))

    return once


def test_checked_lines_and_lines_that_only_ran(run: Run) -> None:
    table = run(
        """
def f(x):
    y = x * x
    return y.sin()

def g(x):
    return x.exp()

def plain(x):
    return x.cos()

def silent(x):
    with tg.no_grad():
        return x.tan()

def excluded(x):
    return x.tanh()  # pragma: no gradient

def whole(x):
    return x + (x > 0).sum()

def prepared():
    model = nn.Linear(2, 2).double()
    x = tg.randn(2, 2, dtype=tg.float64)
    slope = tg.hessian(g)(tg.ones(()))
    return tg.metrics.mae(x, x), tg.vjp(lambda x: x, x)
""",
        """
def test_f(gradcheck):
    gradcheck(f, (leaf(3),))

def test_g():
    g(leaf(3)).sum().backward()
    plain(tg.ones(3)), silent(leaf(3)), excluded(leaf(3)), whole(tg.arange(3)), prepared()
""",
    )
    assert table.checked("y = x * x") == ["order 2", "eager", "array", "mul"]
    assert table.checked("return y.sin()") == ["order 2", "eager", "array", "sin"]
    assert table.checked("return x.exp()") == ["never", "array, scalar", "exp"]
    assert table.checked("return x.cos()") == ["never", "array", "cos"]
    assert len(table.rows) == 4
    assert "model.py: 2 of 4 lines checked, 50 %" in table.text
    assert "gradient coverage: 2 of 4 lines, 50 % (to order 2: 50 %, compiled: 0 %)" in table.text
    assert table.result.ret == 0


def test_orders(run: Run) -> None:
    table = run(
        F_AND_G + "def h(x):\n    y = x.tanh()\n    z = y + 1.0\n    return z.sum()\n",
        """
def test_all():
    gradcheck(f, (leaf(2),), order=1)
    gradcheck(g, (leaf(2),))
    gradcheck(tg.grad(h), (leaf(2),), order=1)

def test_the_fixture(gradcheck):
    gradcheck(f, (leaf(2),))
""",
        "--gradient-coverage",
        "--gradcheck-order=1",
    )
    assert table.checked("return x.sin()")[0] == "order 1"
    assert table.checked("return x.cos()")[0] == "order 2"
    assert table.checked("y = x.tanh()")[0] == "order 2"  # the gradient of a gradient
    assert table.checked("z = y + 1.0")[0] == "never"  # which is the same whatever x is


def test_shapes(run: Run) -> None:
    table = run(
        """
def scalar(x, y):
    return x * y

def wide(x, y):
    return x / y

def nothing(x):
    return x.exp()

def some(x):
    return x.sin() * 2.0
""",
        """
def test_shapes():
    gradcheck(scalar, (leaf(), leaf()))
    gradcheck(wide, (leaf(2, 3), leaf(3)))
    gradcheck(nothing, (leaf(0), ))
    gradcheck(some, (leaf(4), ))
    some(leaf()), some(leaf(2, 0))
""",
    )
    assert table.checked("return x * y") == ["order 2", "eager", "scalar", "mul"]
    assert table.checked("return x / y") == ["order 2", "eager", "broadcast", "div"]
    assert table.checked("return x.sin() * 2.0") == ["order 2", "eager", "array (scalar, empty)", "mul, sin"]
    assert table.checked("return x.exp()") == ["order 2", "eager", "empty", "exp"]


def test_a_line_without_a_gradient_to_check_is_not_checked(run: Run) -> None:
    table = run(
        """
def f(x):
    aside = x.exp()
    held = tg.ones(2, dtype=tg.float64).cos()
    return x.sin() * held

def wrong(x):
    return Wrong.apply(x) * 2.0

class Wrong(tg.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 3.0

    @staticmethod
    def backward(ctx, g):
        return g * 3.1
""",
        """
def test_f():
    gradcheck(f, (leaf(2),))

def test_wrong():
    with pytest.raises(tg.errors.GradcheckError):
        gradcheck(wrong, (leaf(2),))
""",
    )
    assert table.checked("aside = x.exp()")[0] == "never"
    assert table.checked("held = tg.ones(2, dtype=tg.float64).cos()")[0] == "never"
    assert table.checked("return x.sin() * held")[:2] == ["order 2", "eager"]
    assert table.checked("return Wrong.apply(x) * 2.0")[0] == "never"
    assert table.checked("return g * 3.1")[0] == "never"


def test_gradients_of_the_users_own(run: Run) -> None:
    table = run(
        """
class Cube(tg.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3.0 * x * x * g

class Twice(tg.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2.0

    @staticmethod
    def backward(ctx, g):
        return g + g

def f(x):
    return Cube.apply(x).sum()

def h(x):
    return tg.checkpoint(inner, x)

def inner(x):
    return x.sin().exp()
""",
        """
def test_cube():
    gradcheck(f, (leaf(2),))
    gradcheck(h, (leaf(2),))

def test_twice():
    Twice.apply(leaf(2)).sum().backward()
""",
    )
    assert table.checked("return Cube.apply(x).sum()") == ["order 2", "eager", "array", "Cube, sum"]
    assert table.checked("return 3.0 * x * x * g") == ["order 2", "eager", "array", "mul"]
    assert table.checked("return g + g") == ["never", "array", "add"]
    assert table.checked("return x.sin().exp()") == ["order 2", "eager", "array", "exp, sin"]
    assert not any("x * x * x" in code for code in table.rows)  # a forward is not differentiated


def test_modules_loops_and_watched_code(run: Run) -> None:
    table = run(
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, 2)
        self.out = nn.Linear(2, 1)

    def forward(self, x):
        states, _ = self.rnn(x)
        return self.out(states)

class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, 2)

    def forward(self, x):
        return self.rnn(x)[0]

def smooth(x):
    def step(c, v):
        new = 0.5 * c + v.sin()
        other = v.exp()
        return new, other
    total, others = tg.scan(step, tg.zeros((), dtype=tg.float64), x)
    return total

def watched(x):
    with tg.detect_anomaly():
        return x.tanh()
""",
        """
def test_net():
    Idle().double()(leaf(2, 1, 1)).sum().backward()
    gradcheck(Net().double(), (leaf(2, 1, 1),))
    gradcheck(smooth, (leaf(4),))
    gradcheck(watched, (leaf(4),))
""",
    )
    assert table.checked("states, _ = self.rnn(x)")[0] == "order 2"
    assert "matmul" in table.checked("states, _ = self.rnn(x)")[-1]
    assert table.checked("return self.out(states)")[0] == "order 2"
    assert table.checked("return self.rnn(x)[0]")[0] == "never"  # another layer of the same kind was checked
    assert table.checked("new = 0.5 * c + v.sin()") == ["order 2", "eager", "scalar", "add, mul, sin"]
    assert table.checked("other = v.exp()")[0] == "never"  # it runs beside what is checked
    assert table.checked("return x.tanh()")[0] == "order 2"


def test_compiled_code(run: Run) -> None:
    table = run(
        """
@tg.jit
def f(x):
    return x.sin()

@tg.jit
def ran(x):
    return x.cos()

def trainer(wrap):
    model = nn.Linear(2, 1).double()
    opt = optim.SGD(model.parameters(), lr=0.1)
    def step(x, y):
        opt.zero_grad()
        out = wrap(model(x))
        loss = ((out - y) ** 2).mean()
        loss.backward()
        opt.step()
        return loss
    return model, step

def hot(x):
    return x.tanh()

def cold(x):
    return x.sigmoid()
""",
        """
from tinygrad_nn.testing import gradcheck_step
x, y = tg.ones(3, 2, dtype=tg.float64), tg.zeros(3, 1, dtype=tg.float64)
model, step = trainer(hot)
step = tg.jit(step)

def test_f():
    gradcheck(f, (leaf(2),))
    ran(tg.ones(2))

def test_it_trains():
    step(x, y)

def test_step():  # which is compiled by now
    gradcheck_step(step, (x, y), model)

def test_eager_step():
    eager, step = trainer(cold)
    gradcheck_step(step, (x, y), eager)
    gradcheck(cold, (leaf(2),))
    gradcheck(tg.jit(cold), (leaf(2),), order=1)
""",
    )
    assert table.checked("return x.sin()") == ["order 2", "compiled", "array", "sin"]
    assert table.checked("return x.cos()") == ["never", "array", "cos"]
    assert table.checked("return x.tanh()") == ["order 1", "compiled", "array", "tanh"]
    assert table.checked("return x.sigmoid()") == ["order 2", "eager, compiled to 1", "array", "sigmoid"]
    assert table.checked("loss = ((out - y) ** 2).mean()")[:2] == ["order 1", "eager, compiled"]
    assert not any("backward" in code or "opt" in code for code in table.rows)


def test_without_a_compiler_all_checks_are_eager(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tinygrad_nn.compiler.run.jit"], "usable", lambda: False)
    table = run(F_AND_G, "def test_f():\n    gradcheck(tg.jit(f), (leaf(2),))\n")
    assert table.checked("return x.sin()") == ["order 2", "eager", "array", "sin"]


F_AND_G = "def f(x):\n    return x.sin()\ndef g(x):\n    return x.cos()\n"
TEST_F = "def test_f():\n    gradcheck(f, (leaf(2),))\n    g(leaf(2))\n"


@pytest.mark.parametrize(("least", "status"), [("50", 0), ("50.1", 1), ("0", 0), ("100", 1)])
def test_a_threshold_fails_the_run(run: Run, least: str, status: int) -> None:
    table = run(F_AND_G, TEST_F, f"--gradient-coverage-fail-under={least}")
    assert table.result.ret == status
    assert "model.py: 1 of 2 lines checked, 50 %" in table.text
    assert (f"FAIL the gradient coverage is under {least} %" in table.text) == bool(status)


def test_a_threshold_fails_where_nothing_is_measured(run: Run) -> None:
    table = run("", "def test_nothing():\n    pass\n", "--gradient-coverage-fail-under=50")
    assert "no operation on floats ran at a line of" in table.text
    assert "FAIL no line was measured" in table.text
    assert table.result.ret == 1
    empty = run("", "", "--gradient-coverage")
    assert empty.result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_project_of_tests_alone_is_measured_by_them(run: Run) -> None:
    table = run("", "def test_f():\n    gradcheck(lambda x: x.sin(), (leaf(2),))\n    leaf(2).cos()\n")
    assert "these are the lines of the tests" in table.text
    assert table.checked("gradcheck(lambda x: x.sin(), (leaf(2),))")[0] == "order 2"
    assert table.checked("leaf(2).cos()")[0] == "never"


def test_sources_can_be_named(run: Run) -> None:
    other = {"extra": "def h(x):\n    return x.tanh()\n"}
    tests = "from extra import h\n" + TEST_F + "    gradcheck(h, (leaf(2),))\n    F.silu(leaf(2))\n"
    assert len(run(F_AND_G, tests, files=other).rows) == 3
    assert list(run(F_AND_G, tests, "--gradient-coverage-source=extra.py", files=other).rows) == ["return x.tanh()"]
    package = str(core.__file__).replace("tensor/core.py", "functional")
    table = run(
        F_AND_G, tests, f"--gradient-coverage-source={package}", "--gradient-coverage-source=model.py", files=other
    )
    assert table.checked("result = input * input.sigmoid()") == ["never", "array", "mul, sigmoid"]
    assert table.checked("return x.sin()")[0] == "order 2"


def test_workers_are_united(run: Run, pytester: pytest.Pytester) -> None:
    tests = "".join(f"def test_{k}():\n    gradcheck({name}, (leaf(2),))\n" for k, name in enumerate("fgfg"))
    alone = run(F_AND_G, tests)
    both = Table(pytester.runpytest_subprocess("--gradient-coverage", "-n2", "-p", "no:cacheprovider"))
    assert both.result.ret == 0
    assert both.rows == alone.rows
    assert len(both.rows) == 2


def test_tests_that_fail_still_have_their_table(run: Run) -> None:
    table = run(F_AND_G, TEST_F + "    assert False\n", "--gradient-coverage-fail-under=90")
    assert table.result.ret == 1
    assert table.checked("return x.sin()")[0] == "order 2"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gradient-coverage-source=nowhere"], "got nowhere, which is not there; expected a file or a folder"),
        (["--gradient-coverage-fail-under=101"], "got 101; expected a percentage, from 0 to 100"),
        (["--gradient-coverage-fail-under=-1"], "got -1; expected a percentage, from 0 to 100"),
        (["--gradient-coverage-fail-under=nan"], "got nan; expected a percentage, from 0 to 100"),
        (["--gradient-mutation=0"], "[--gradient-mutation] got 0; expected how many changes to try, 1 or more"),
        (["--gradient-mutation=-3"], "[--gradient-mutation] got -3; expected"),
        (["--gradient-mutation=2", "--gradient-mutation-fail-under=200"], "got 200; expected a percentage"),
        (["--gradient-mutation-fail-under=50"], "got no --gradient-mutation; expected how many changes"),
    ],
)
def test_bad_options(run: Run, options: list[str], words: str) -> None:
    table = run(F_AND_G, TEST_F, *options)
    assert table.result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in table.result.stderr.str()
    assert "Traceback" not in table.result.stderr.str()


def test_recorders_within_each_other_and_modules_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    late = ModuleType("tinygrad_nn.late")
    before, inner, outer = core.bind, Recorder(lambda name: True), Recorder(lambda name: name == __file__)
    with outer.watching():
        with inner.watching():
            tg.ones(2).sin()
        vars(late)["bind"] = core.bind
        monkeypatch.setitem(sys.modules, late.__name__, late)
        tg.ones(2).cos()
    tg.ones(2).tan()
    assert {use.op for use in outer.found.ran} == {"sin", "cos"}
    assert {use.op for use in inner.found.ran} == {"sin"}
    assert vars(late)["bind"] is before is core.bind


def test_everything_is_put_back(run: Run) -> None:
    before = (core.bind, operators.bind, autodiff._walk)
    run(F_AND_G, TEST_F)
    run(F_AND_G, TEST_F, "--gradient-coverage-fail-under=101")
    assert (core.bind, operators.bind, autodiff._walk) == before
    assert "in brackets" not in run(F_AND_G, TEST_F, "--collect-only", "--gradient-coverage").text
