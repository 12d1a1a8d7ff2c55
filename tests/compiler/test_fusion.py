"""What is stored and what is computed where it is read, and that an update of a parameter is one pass over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.optim.test_optimizers import CONFIGS, IDS
from tinygrad_nn import executor, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.compiler import interp
from tinygrad_nn.compiler.loopir.ir import Kernel, expressions
from tinygrad_nn.compiler.lower.fusion import FAR, LOAD, STORE, Choice, Plan, plan
from tinygrad_nn.compiler.lower.lower import lower
from tinygrad_nn.compiler.schedule.schedule import schedule
from tinygrad_nn.config import config
from tinygrad_nn.graph.graph import Graph
from tinygrad_nn.graph.scalar import walk
from tinygrad_nn.ops.elementwise import WHERE
from tinygrad_nn.ops.movement import PAD


def planned(function: Callable[..., Any], *args: Any) -> tuple[Graph, Plan]:
    """The graph of a call, and its plan."""
    stages = tg.jit(function).entry(args, {}).compiled.stages
    return stages.graph, stages.plan


def mask_of_step(inputs: int) -> tuple[bool, str]:
    """Whether the masked gradient of a hidden layer behind so many inputs is stored, and what is said of it."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(inputs, 24), nn.ReLU(), nn.Linear(24, 3))
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    graph, made = planned(step, tg.randn(30, inputs), tg.tensor(np.arange(30) % 3))
    (mask,) = [node for node in graph.nodes if node.op is WHERE and node.shape == (30, 24)]
    return mask in made.stored, made.stored.get(mask, str(made.choices[mask]))


def test_a_mask_that_many_read_is_stored() -> None:
    assert mask_of_step(200) == (True, "read 201 times, 28 operations instead of 153")
    assert mask_of_step(16)[0]


def test_in_place_of_a_product_a_store_costs_nothing() -> None:
    x, w, b = tg.ones(30, 4), tg.ones(4, 8), tg.ones(8)
    _, made = planned(lambda x, w, b: ((x @ w + b) * 2, (x @ w + b) - 1, (x @ w + b) * 3), x, w, b)
    (chosen,) = made.choices.values()
    assert (chosen.store, chosen.is_stored) == (-LOAD, True)  # and the product is not loaded
    _, made = planned(lambda x, b: ((x + b) * 2, (x + b) - 1, (x + b) * 3), tg.ones(30, 8), b)
    (chosen,) = made.choices.values()
    assert (chosen.store, chosen.is_stored) == (STORE, False)


def test_in_place_of_a_product_is_stored_what_is_too_large_for_the_cache() -> None:
    args = map(tg.zeros, ((4096, 8), (8, 64), (64,)))
    _, made = planned(lambda x, w, b: ((x @ w + b).relu(), (x @ w + b) * 2), *args)
    (chosen,) = [choice for node, choice in made.choices.items() if node.op.name == "add"]
    assert chosen.far == FAR
    assert chosen.is_stored


def test_a_row_that_is_broadcast_is_not_loaded_from_far() -> None:
    function = lambda x, w, b: [((x @ w) * b).exp(), ((x @ w) * b).tanh()]  # noqa: E731
    _, made = planned(function, tg.ones(4096, 8), tg.ones(8, 64), tg.ones(64))
    (chosen,) = [choice for node, choice in made.choices.items() if node.op.name == "mul"]
    assert FAR < chosen.loads <= FAR + 2 * LOAD


def test_what_is_one_operand_twice_is_read_once() -> None:
    _, made = planned(lambda x: ((x * 3 - 1) * (x * 3 - 1)).sum(), tg.ones(40))
    assert not made.choices
    _, made = planned(lambda x: (x.exp() * 2, x.exp() + 1), tg.ones(40))
    (chosen,) = made.choices.values()
    assert chosen.reads == 2
    assert chosen.is_stored


def test_a_division_is_not_repeated_and_a_row_is_divided_once() -> None:
    _, made = planned(lambda x, y: ((x / y) * 2, (x / y) + 1, (x / y) - 1), tg.ones(40), tg.ones(40))
    assert [choice.is_stored for choice in made.choices.values()] == [True]
    scaled = lambda x, y: (x * (1 / y).unsqueeze(1)).relu()  # noqa: E731
    _, made = planned(lambda x, y: (scaled(x, y) * 2, scaled(x, y) + 1), tg.ones(8, 64), tg.ones(8))
    (chosen,) = [choice for node, choice in made.choices.items() if node.shape == (8, 64) and node.op.name == "relu"]
    assert chosen.operations < 4


def test_what_a_choice_costs() -> None:
    choice = Choice(reads=3, evaluated=2, operations=5, loads=1, far=0, store=STORE)
    assert (choice.again, choice.stored, choice.is_stored) == (12, 13, False)
    assert Choice(3, 2, 5, 1, 0, store=0).is_stored
    assert not Choice(3, 2, 20, 1, 8, store=STORE + 16).is_stored


def test_values_do_not_depend_on_the_choice() -> None:
    def function(x: tg.Tensor, y: tg.Tensor) -> tuple[tg.Tensor, ...]:
        z = (x * 2 + 1).exp()
        return z.sum(0), z.relu() @ y, (y * 3 - 1).relu() + (y * 3 - 1)

    args = [np.random.default_rng(0).normal(size=shape) for shape in ((7, 5), (5, 5))]
    graph, made = planned(function, *(tg.tensor(x, dtype="float64") for x in args))
    wanted, _ = executor.run(graph, args)
    assert made.choices
    for turned in [(), *((node,) for node in made.choices), tuple(made.choices)]:
        other = plan(graph, blas=False, turned=turned)
        differing = {node for node in made.choices if (node in other.stored) != (node in made.stored)}
        assert differing <= set(turned)
        found, _ = interp.run(lower(graph, other), args)
        for x, y in zip(found, wanted, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-13)


def test_the_listing_has_both_sides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TGNN_DEBUG", "4")
    config.cache_clear()
    tg.jit(lambda x: (x.exp() * 2, x.exp() + 1, (x * 3) - 1, (x * 3) + x))(tg.ones(40))
    said = capsys.readouterr().err
    monkeypatch.undo()
    config.cache_clear()
    assert "exp: read 2 times, " in said
    assert "computed where it is read: " in said
    assert " mul: read 2 times, " in said


def test_explain_says_what_is_stored_and_why() -> None:
    values = tg.explain(tg.jit(lambda x: (x.exp() * 2, x.exp() + 1, (x * 3) - 1, (x * 3) + x)), tg.ones(40)).values
    assert [(one.op, one.shape, one.stored) for one in values] == [("exp", (40,), True), ("mul", (40,), False)]
    assert all(one.why.startswith("read 2 times, ") for one in values)
    table = tg.explain(tg.jit(lambda x: [one.sum() for one in (x * 3).sum(1, keepdim=True) / x]), tg.ones(3, 4))
    assert "read 4 times" in str(table)
    assert "<td>stored</td>" in table._repr_html_()
    assert not tg.explain(tg.jit(lambda x: x + 1), tg.ones(3)).values


def test_explain_looks_into_scans(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def step(h: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h = ((h + x).exp() * 2).log() + (h + x).exp()
        return h, h

    function = tg.jit(lambda x: tg.scan(step, tg.zeros(8), x))
    found = tg.explain(function, tg.ones(90, 8)).values
    assert [(one.op, one.stored) for one in found if one.why.startswith("read 2 times")] == [("exp", True)]
    monkeypatch.setenv("TGNN_DEBUG", "4")
    config.cache_clear()
    tg.jit(lambda x: tg.scan(step, tg.ones(8), x))(tg.ones(90, 8))
    monkeypatch.undo()
    config.cache_clear()
    assert " exp: read 2 times, " in next(line for line in capsys.readouterr().err.splitlines() if "exp: read" in line)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x, w: F.conv1d(x, w, padding=2), ((3, 4, 20), (5, 4, 3))),
        (lambda x, w: w @ x._placed((3, 5, 23), ((0, 1, 3), (0, 1, 5), (1, 1, 20))), ((3, 5, 20), (3, 4, 5))),
    ],
    ids=["conv", "matmul"],
)
def test_what_products_read_is_moved_once(function: Callable[..., Any], shapes: tuple[tuple[int, ...], ...]) -> None:
    graph, made = planned(function, *(tg.ones(*shape) for shape in shapes))
    assert [made.stored.get(node) for node in graph.nodes if node.op is PAD] == ["moved once for all products"]


def operations(kernel: Kernel, name: str) -> int:
    """How many there are in a kernel."""
    found = {part for one, _ in kernel.statements for root in expressions(one) for part in walk(root)}
    return sum(part.op == name for part in found)


@pytest.mark.parametrize("shape", [(33, 20), (70,)], ids=["matrix", "vector"])
@pytest.mark.parametrize(("name", "options"), CONFIGS, ids=IDS)
def test_an_update_is_one_pass_with_one_root_and_one_division(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    p = tg.ones(*shape).requires_grad_()
    opt = getattr(optim, name)([p], **options)

    def step(g: tg.Tensor) -> None:
        p.grad = g
        opt.step()

    program = tg.jit(step).entry((tg.ones(*shape),), {}).compiled.stages.schedule.program
    own = [k for k in program.kernels if any(a.buffer.shape == shape for a, _, _ in k.accesses)]
    (update,) = [kernel for kernel in own if kernel.name.partition("_")[0] != "copy"]
    assert operations(update, "sqrt") <= 1
    assert operations(update, "div") <= 1


def kernels(function: Callable[..., Any], *args: Any) -> list[str]:
    """The names of the scheduled kernels of a call."""
    return [kernel.name for kernel in tg.jit(function).entry(args, {}).compiled.stages.schedule.program.kernels]


def test_a_kernel_waits_for_the_one_that_reads_it_unless_another_does() -> None:
    def apart(x: tg.Tensor, y: tg.Tensor) -> tuple[tg.Tensor, ...]:
        made = x.exp()
        return made, y.sum(), made.floor()

    def between(x: tg.Tensor, y: tg.Tensor) -> tuple[tg.Tensor, ...]:
        made = x.exp()
        return made, made @ y, made.floor()

    x, y = tg.ones(6, 5), tg.ones(5, 3)
    assert any("exp_floor" in name for name in kernels(apart, x, y))
    assert not any("exp_floor" in name for name in kernels(between, x, y))


def test_equal_nests_that_meet_elsewhere_are_not_fused() -> None:
    x = tg.ones(6, 6)
    assert any("exp_floor" in name for name in kernels(lambda x: (x.exp(), x.exp().floor()), x))
    assert not any("exp_floor" in name for name in kernels(lambda x: (x.exp(), x.exp().T.floor()), x))
    assert not any("exp_floor" in name for name in kernels(lambda x: (x.exp(), x.exp().flip(0).floor()), x))


def test_schedules_of_both_kinds_verify() -> None:
    graph, made = planned(lambda x: (x.exp(), x.exp().floor(), x.cos()), tg.ones(6, 7))
    for width in (4, 16, 64):
        schedule(lower(graph, made), width).verify()
