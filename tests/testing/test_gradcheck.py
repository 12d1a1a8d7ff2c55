"""gradcheck as a product: it passes what is right, catches what is wrong by 1e-5, and says why it will not judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import tinygrad_nn as tg
from tinygrad_nn.errors import GradcheckError
from tinygrad_nn.tensor.core import bind, tracing
from tinygrad_nn.testing import gradcheck as check
from tinygrad_nn.testing import strategies
from tinygrad_nn.testing.gradcheck import Checked, watching
from tinygrad_nn.testing.numeric import slope


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


class Wrong(tg.Function):
    """x ** 3 with a derivative that is off by a factor."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * Wrong.factor * x * x * g


@pytest.mark.parametrize("mode", ["full", "fast"])
def test_right_gradients_pass_and_are_counted(mode: Any) -> None:
    report = check(lambda x, y: (x.sin() * y).sum(), (leaf(0.3, 0.7), leaf(1.0, 2.0)), mode=mode)
    assert report
    assert report.refused == 0
    assert report.worst < 1
    assert report.checked == (4 + 4 * 5 if mode == "full" else 2 * 2 + 2 * 3)


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize("error", [1e-5, -1e-5, 1.0, -2.0])
def test_a_factor_off_by_1e_5_is_caught(error: float, mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wrong, "factor", 1.0 + error)
    with pytest.raises(GradcheckError, match="differ from the numeric ones"):
        check(Wrong.apply, (leaf(0.4, 1.3),), mode=mode)


def test_the_message_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wrong, "factor", 2.0)
    with pytest.raises(GradcheckError) as caught:
        check(lambda x, y: Wrong.apply(y) + x, (leaf(1.0, 1.0), leaf(1.0, 2.0)))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("[gradcheck] got 2 of 8 entries of the Jacobian (order 1) that differ")
    assert "1[1]" in lines[2]
    assert float(lines[2].split()[2]) == pytest.approx(24.0)
    assert float(lines[2].split()[3]) == pytest.approx(12.0)


def test_a_wrong_second_derivative_is_caught() -> None:
    class Constant(Wrong):
        @staticmethod
        def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
            (x,) = ctx.saved_tensors
            return (3 * x * x).detach() * g

    assert check(Constant.apply, (leaf(0.5),), order=1)
    with pytest.raises(GradcheckError, match="order 2"):
        check(Constant.apply, (leaf(0.5),), order=2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: check(lambda x: x, (tg.ones(2),)), "no input that requires grad"),
        (
            lambda: check(lambda x: x, (tg.ones(2, requires_grad=True),)),
            "input 0 of dtype float32; expected float64; hint: float32 keeps",
        ),
        (lambda: check(lambda x: x * tg.rand(1, dtype=tg.float64), (leaf(1.0),)), "other bits when called again"),
        (lambda: check(lambda x: x, (leaf(1.0),), mode="quick"), "mode 'quick'"),  # type: ignore[arg-type]
        (lambda: check(lambda x: x.log(), (leaf(0.0),), domain=(0.0, np.inf)), "a point inside"),
    ],
)
def test_what_it_will_not_judge_is_said(call: Any, text: str) -> None:
    with pytest.raises(GradcheckError, match=text):
        call()


def test_the_domain_is_respected() -> None:
    seen: list[float] = []

    def spy(x: tg.Tensor) -> tg.Tensor:
        seen.append(float(x.detach().amin()))
        return x.log()

    for seed in range(4):  # at order 2 the cotangents have either sign
        check(spy, (leaf(1e-4),), domain=(0.0, np.inf), seed=seed)
    assert min(seen) > 0


def test_integer_inputs_are_passed_on() -> None:
    assert check(lambda x, k: x.index_select(0, k), (leaf(1.0, 2.0, 3.0), tg.tensor([2, 0])))


def test_numeric_slopes_know_their_error() -> None:
    for function, exact in ((np.sin, np.cos), (np.exp, np.exp), (lambda x: x**5, lambda x: 5 * x**4)):
        x = np.array([0.7])
        found = slope(function, x, np.ones(1), 6e-4, function(x))
        assert abs(found.value[0] - exact(x)[0]) <= 3 * found.error[0] + 1e-12
        assert found.error[0] < 1e-9


@given(strategies.broadcastable_pairs())
def test_products_of_any_shapes(pair: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    x, y = (tg.tensor(rng.normal(size=shape)).requires_grad_() for shape in pair)
    assert (x * y).shape == np.broadcast_shapes(*pair)
    check(lambda x, y: x * y.tanh(), (x, y), mode="fast")


@given(strategies.modules(in_features=3))
def test_whole_modules(model: tg.nn.Module) -> None:
    x = tg.tensor(np.random.default_rng(1).normal(size=(2, 3))).requires_grad_()
    check(lambda x: model(x), (x,), order=1, mode="fast")


@given(strategies.tensors())
def test_layouts(x: tg.Tensor) -> None:
    check(lambda x: (x * x).sum(), (x,), mode="fast")


def test_the_fixture(gradcheck: Any) -> None:
    assert gradcheck(lambda x: x * x, (leaf(1.0),))


def test_the_plugin_imports_nothing_heavy() -> None:
    source = (Path(tg.__file__).parent / "testing" / "plugin.py").read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert not any(name in line for line in imports for name in ("numpy", "hypothesis", "tinygrad_nn", " ."))


def test_who_looks_on_hears_of_each_order_and_can_run_it_again() -> None:
    class Counter:
        """A recorder that counts applications."""

        def __init__(self) -> None:
            self.ops: list[str] = []

        def lift(self, handle: Any) -> Any:
            return handle.node

        def assign(self, handle: Any, node: Any) -> None:
            handle._point_at(node)

        def bind(self, op: Any, nodes: Any, attrs: Any) -> Any:
            self.ops.append(op.name)
            return bind(op, nodes, attrs)

    seen: list[tuple[int, bool, list[str]]] = []

    def look(checked: Checked) -> None:
        counter = Counter()
        with tracing(counter):
            checked.replay()
        seen.append((checked.order, checked.compiled, counter.ops))

    model = tg.nn.Linear(2, 1).double()
    before = [p.node for p in model.parameters()]
    with watching(look):
        check(lambda x: model(x).sin(), (tg.ones(3, 2, dtype=tg.float64),))
        check(tg.jit(lambda x: model(x).sin()), (tg.ones(3, 2, dtype=tg.float64),), order=1)
        with pytest.raises(GradcheckError):
            check(lambda x: x.relu(), (leaf(0.0),))
    check(lambda x: x.sin(), (leaf(0.5),))
    assert [(order, compiled) for order, compiled, _ in seen] == [(1, False), (2, False), (1, True)]
    assert all({"sin", "cos", "matmul"} <= set(ops) for _, _, ops in seen)
    assert len(seen[1][2]) > len(seen[0][2]) == len(seen[2][2])
    assert [p.node for p in model.parameters()] == before
