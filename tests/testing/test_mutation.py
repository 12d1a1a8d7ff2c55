"""Gradient rules made wrong on purpose: every walk uses the changed rule, and the user hears what no test noticed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import GradcheckError
from tinygrad_nn.testing import gradcheck
from tinygrad_nn.testing.coverage import Recorder
from tinygrad_nn.testing.found import Found, RuleUse
from tinygrad_nn.testing.mutants import chosen, possible
from tinygrad_nn.testing.mutation import CHANGES, Mutation, Rule, applied

pytest_plugins = ["pytester"]
FACTOR = "factor 1 + 1e-5"


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


class Product(tg.Function):
    @staticmethod
    def forward(ctx: Any, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        x, y = ctx.saved_tensors
        return g * y, g * x


def slope(function: Callable[..., tg.Tensor], *at: tg.Tensor) -> list[float]:
    """The gradient by the first argument."""
    (found,) = tg.autograd.grad(function(*at).sum(), at[:1])
    values: list[float] = found.tolist()
    return values


X, Y = leaf(2.0, 3.0), leaf(5.0, 7.0)


def looped(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    total, _ = tg.scan(lambda c, v: (c + v * 3.0, None), tg.zeros((), dtype=tg.float64), x)
    return total * y


@pytest.mark.parametrize(
    ("rule", "change", "function", "wanted"),
    [
        (Rule("mul", False, 0), "sign", lambda x, y: x * y, [-5.0, -7.0]),
        (Rule("mul", False, 0), FACTOR, lambda x, y: x * y, [5.0 * (1 + 1e-5), 7.0 * (1 + 1e-5)]),
        (Rule("mul", False, 0), "dropped", lambda x, y: x * y + x, [1.0, 1.0]),
        (Rule("mul", False, 0), "operands swapped", lambda x, y: x * y, [2.0, 3.0]),
        (Rule("mul", False, 1), "sign", lambda x, y: x * y, [5.0, 7.0]),
        (Rule("sub", False, 0), "operands swapped", lambda x, y: x - y, [-1.0, -1.0]),
        (Rule("where", False, 1), "operands swapped", lambda x, y: tg.where(x > 2.5, x, y), [1.0, 0.0]),
        (Rule("log", False, 0), "operands swapped", lambda x, y: x.log(), [1 / np.log(2.0), 1 / np.log(3.0)]),
        (Rule("neg", False, 0), "operands swapped", lambda x, y: -x, [-1.0, -1.0]),
        (Rule("Product", True, 0), "sign", Product.apply, [-5.0, -7.0]),
        (Rule("Product", True, 0), "operands swapped", Product.apply, [2.0, 3.0]),
        (Rule("Product", True, 1), "sign", Product.apply, [5.0, 7.0]),
        (Rule("Product", False, 0), "sign", Product.apply, [5.0, 7.0]),
        (Rule("scan", False, 1), "sign", looped, [-36.0, -36.0]),
    ],
)
def test_a_changed_rule(rule: Rule, change: str, function: Any, wanted: list[float]) -> None:
    with applied(Mutation(rule, change)):
        assert slope(function, X, Y) == pytest.approx(wanted, rel=1e-12)
    right = slope(function, X, Y)
    with applied(Mutation(Rule("nothing", False, 0), change)):
        assert slope(function, X, Y) == right


def test_every_walk_uses_the_changed_rule() -> None:
    rule, own = Rule("sin", False, 0), leaf(2.0, 3.0)
    with applied(Mutation(rule, "sign")):
        cube = tg.jit(tg.grad(lambda x: (x.sin() * 2.0).sum()))
        assert cube(X.detach()).tolist() == pytest.approx(list(-2 * np.cos([2.0, 3.0])))
        (first,) = tg.autograd.grad(X.sin().sum(), X, create_graph=True)
        (second,) = tg.autograd.grad(first.sum(), X)
        assert second.tolist() == pytest.approx(list(np.sin([2.0, 3.0])))
        looped, _ = tg.scan(lambda c, v: (c + v.sin(), None), tg.zeros((), dtype=tg.float64), own)
        looped.backward()
        assert own.grad.tolist() == pytest.approx(list(-np.cos([2.0, 3.0])))
        with pytest.raises(GradcheckError):
            gradcheck(lambda x: x.sin(), (X,))
    assert gradcheck(lambda x: x.sin(), (X,))


@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"operands swapped"}))
def test_gradcheck_notices(change: str) -> None:
    with applied(Mutation(Rule("Product", True, 1), change)), pytest.raises(GradcheckError):
        gradcheck(Product.apply, (X, Y))


# ---- which changes there are ----------------------------------------------------------------------------------------


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder(lambda name: name == __file__)
    with recorder.watching():
        yield recorder


def changes(recorder: Recorder, name: str, operand: int = 0) -> set[str]:
    return next(u.changes for rule, u in recorder.found.rules.items() if (rule.op, rule.operand) == (name, operand))


def test_a_change_that_changes_nothing_is_none(recorder: Recorder) -> None:
    plain = {"sign", FACTOR, "dropped"}
    (X + Y).sum().backward()
    assert changes(recorder, "add") == plain  # the rules of both operands are the same
    (X * X * 1.0).sum().backward()
    assert changes(recorder, "mul") == plain | {"operands swapped"}  # by the number
    X.floor().sum().backward()
    assert changes(recorder, "floor") == set()  # a zero has no sign to lose
    X.relu().sum().backward()
    (X - Y).sum().backward()
    assert changes(recorder, "sub") == plain | {"operands swapped"}
    assert changes(recorder, "relu") == plain  # x > 0 where out > 0
    (X * tg.tensor(2.0, dtype=tg.float64, requires_grad=True)).sum().backward()
    assert changes(recorder, "broadcast") == plain
    assert len(recorder.found.rules[Rule("broadcast", False, 0)].places) == 1
    Product.apply(X, Y).sum().backward()
    assert changes(recorder, "Product") == plain | {"operands swapped"}
    assert [str(m) for m in possible(recorder.found.rules) if m.rule.op == "floor"] == []


def test_compiled_code_uses_rules_whenever_it_is_called(recorder: Recorder) -> None:
    step = tg.jit(tg.grad(lambda x: x.cos().sum()))
    recorder.test = "first"
    step(tg.ones(2))
    recorder.test = "second"
    step(tg.ones(2))
    assert recorder.found.rules[Rule("cos", False, 0)].tests == {"first", "second"}
    assert changes(recorder, "cos") == {"sign", FACTOR, "dropped"}


def test_code_that_computes_nothing_is_compiled_too(recorder: Recorder) -> None:
    assert tg.jit(lambda: 3.0)() == 3.0
    assert recorder.found.rules == {}


def test_fit_uses_the_rules_of_its_step(recorder: Recorder) -> None:
    model = tg.nn.Linear(2, 1)
    opt = tg.optim.SGD(model.parameters(), lr=0.1)

    @tg.jit
    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss: tg.Tensor = model(x).tan().sum()
        loss.backward()
        opt.step()
        return loss

    for name in ("first", "second"):
        recorder.test = name
        tg.fit(step, (np.ones((4, 2), np.float32),), 1, batch_size=2, seed=0, progress=False)
    assert recorder.found.rules[Rule("tan", False, 0)].tests == {"first", "second"}


def test_a_layer_that_is_recorded_once_uses_its_rules_every_time(recorder: Recorder) -> None:
    for name in ("first", "second"):
        recorder.test = name
        tg.nn.GRU(2, 2)(tg.ones(3, 1, 2))[0].sum().backward()
    for op in ("scan", "tanh", "sigmoid"):
        uses = [use for rule, use in recorder.found.rules.items() if rule.op == op]
        assert any(use.tests == {"first", "second"} for use in uses)


def test_some_are_chosen_the_users_own_first() -> None:
    plain = {"sign", FACTOR, "dropped"}
    rules = {Rule(name, False, 0): RuleUse(changes=plain) for name in ("mul", "sin", "cos", "exp")}
    rules |= {Rule("Cube", True, 0): RuleUse(changes={"sign", FACTOR})}
    first = chosen(rules, 6, seed=0)
    assert first == chosen(rules, 6, seed=0)
    assert [m.rule.op for m in first[:2]] == ["Cube", "Cube"]
    assert {m.rule.op for m in first[2:]} == {"mul", "sin", "cos", "exp"}  # each once before any twice
    assert any(chosen(rules, 6, seed) != first for seed in range(1, 5))
    assert sorted(chosen(rules, 100, seed=3)) == sorted(possible(rules))
    assert len(possible(rules)) == 14


def test_what_was_found_can_be_sent(recorder: Recorder) -> None:
    recorder.test = "a test"
    (X * Y.sin()).sum().backward()
    found = recorder.found
    again = Found.unpacked(found.packed())
    assert (again.ran, again.checked) == (found.ran, found.checked)
    united = Found.unpacked(found.packed())
    united.add(again)
    for rule, use in found.rules.items():
        for other in (again.rules[rule], united.rules[rule]):
            assert (other.tests, other.places, other.changes) == (use.tests, use.places, use.changes)


# ---- whole runs -----------------------------------------------------------------------------------------------------

FUNCTIONS = """
import tinygrad_nn as tg

class Loose(tg.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g
"""
TESTS = """
import pytest
import tinygrad_nn as tg
from functions import Loose

x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)

def test_loose():
    (g,) = tg.autograd.grad(Loose.apply(x).sum(), x)
    assert g.tolist() == pytest.approx([2.0, 4.0], rel=1e-2)

def test_another():
    assert (x + 1).tolist() == [2.0, 3.0]
"""


IN_A_FIXTURE = """
import pytest
import tinygrad_nn as tg
from functions import Loose

@pytest.fixture(scope="module")
def slope():
    x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    Loose.apply(x).sum().backward()
    return x.grad.tolist()

def test_first(slope):
    assert len(slope) == 2

def test_second(slope):  # which alone looks, at what was made before the first
    assert slope == pytest.approx([2.0, 4.0], rel=1e-9)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("COLUMNS", "200")

    def once(tests: str, *options: str) -> Any:
        pytester.makepyfile(functions=FUNCTIONS, test_it=tests)
        return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *options)

    return once


def test_what_the_tests_notice_and_what_not(run: Callable[..., Any]) -> None:
    result = run(TESTS, "--gradient-mutation=3", "--gradient-mutation-fail-under=90")
    text = result.stdout.str()
    survived = [line for line in text.splitlines() if line.startswith("SURVIVED")]
    assert survived == [
        "SURVIVED  Loose.backward, gradient 0: factor 1 + 1e-5  "
        "used at test_it.py:8: (g,) = tg.autograd.grad(Loose.apply(x).sum(), x), by 1 test"
    ]
    assert "gradient mutation: 2 of 3 changes noticed, 66.6 %" in text
    assert "FAIL the share of changes noticed is under 90 %" in text
    assert result.ret == 1
    assert re.search(r"gradient mutation, 3 of \d+ changes: [.S]{3}\n", text)


def test_it_runs_beside_workers_and_passes_the_threshold(run: Callable[..., Any], pytester: pytest.Pytester) -> None:
    run(IN_A_FIXTURE, "--collect-only")
    result = pytester.runpytest_subprocess("-n2", "--gradient-mutation=1", "--gradient-mutation-fail-under=100")
    assert result.ret == 0
    assert "gradient mutation: 1 of 1 changes noticed, 100 %" in result.stdout.str()


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        (TESTS + "\ndef test_wrong():\n    assert False\n", "not started, because the tests fail as they are"),
        ("", "not started, because no test ran"),
        ("def test_nothing():\n    pass\n", "the tests use no gradient rule, so there is nothing to change"),
    ],
)
def test_where_there_is_nothing_to_try(run: Callable[..., Any], tests: str, words: str) -> None:
    result = run(tests, "--gradient-mutation=3")
    assert words in result.stdout.str()
    assert "SURVIVED" not in result.stdout.str()
    assert result.ret != 0


def test_tests_that_fail_when_run_again_are_not_judged(run: Callable[..., Any]) -> None:
    once = TESTS.replace("def test_loose():", "def test_loose():\n    open('there', 'x').close()")
    result = run(once, "--gradient-mutation=3")
    text = result.stdout.str()
    assert "not started, because the tests fail when they are run a second time" in text
    assert "FileExistsError" in text
    assert result.ret == 1
