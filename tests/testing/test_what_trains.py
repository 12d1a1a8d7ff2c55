"""gradcheck reaches what trains: parameters, where they are, by name, eager and compiled; all is put back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler import driver, recall
from tinygrad_nn.errors import GradcheckError, GraphError, ShapeError
from tinygrad_nn.graph.graph import Graph, Node, Op
from tinygrad_nn.ops import TABLE
from tinygrad_nn.testing import gradcheck, gradcheck_step


def numbers(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).normal(size=shape))


class TimesSeven(tg.Function):
    """x @ w whose gradient by w is too large by a factor."""

    factor = 7.0

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g @ w.transpose(0, 1), TimesSeven.factor * (x.transpose(0, 1) @ g)


class Spoiled(nn.Module):
    """A right layer, and one whose weight gradient is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.right = nn.Linear(3, 2, dtype=tg.float64)
        self.wrong = nn.Parameter(numbers(2, 2, seed=1))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return TimesSeven.apply(self.right(x).tanh(), self.wrong)


def net() -> nn.Sequential:
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def held(*tensors: Any) -> list[Any]:
    """What must be the same afterwards: the very node, the gradient, whether one is wanted."""
    return [(t.node, t.node.slot, t.grad, t.requires_grad, t.node.slot and t.node.slot.owner) for t in tensors]


@contextmanager
def nothing_changes(*tensors: Any) -> Iterator[None]:
    before, bits = held(*tensors), tg.random.default_generator.get_state().tolist()
    values = [t.detach().numpy().copy() for t in tensors]
    yield
    for was, now in zip(before, held(*tensors), strict=True):
        assert all(a is b or a == b for a, b in zip(was, now, strict=True) if not isinstance(a, tg.Tensor))
        assert was[2] is now[2]
    assert all((t.detach().numpy() == value).all() for t, value in zip(tensors, values, strict=True))
    assert tg.random.default_generator.get_state().tolist() == bits


WAYS: dict[str, Callable[[nn.Module, tg.Tensor], Any]] = {
    "module": lambda m, x: gradcheck(m, (x,)),
    "one tensor": lambda m, x: gradcheck(m, x),
    "method": lambda m, x: gradcheck(m.forward, (x,)),
    "torch's idiom": lambda m, x: gradcheck(lambda *p: m(x), tuple(m.parameters())),
    "closure": lambda m, x: gradcheck(lambda: m(x)),
    "closure of a closure": lambda m, x: gradcheck((lambda f: lambda y: f(y).sum())(lambda y: m(y)), (x,)),
    "partial": lambda m, x: gradcheck(functools.partial(m, x)),
    "named": lambda m, x: gradcheck(lambda: m(x), parameters=m),
    "by name": lambda m, x: gradcheck(lambda: m(x), parameters=dict(m.named_parameters())),
    "jit": lambda m, x: gradcheck(tg.jit(lambda y: m(y)), (x,)),
    "jit of a module": lambda m, x: gradcheck(tg.jit(m), (x,)),
    "directions": lambda m, x: gradcheck(m, (x,), mode="fast"),
}


@pytest.mark.parametrize("way", WAYS)
def test_parameters_are_checked_however_they_are_reached(way: str) -> None:
    model, x = net(), numbers(5, 3)
    with nothing_changes(x, *model.parameters()):
        report = WAYS[way](model, x)
    found = [name.removeprefix("m.") for name in report.leaves]
    assert found == ["0.weight", "0.bias", "2.weight", "2.bias"]


@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("jit")])
def test_a_weight_gradient_seven_times_too_large_is_found_and_named(way: str) -> None:
    model, x = Spoiled(), numbers(4, 3)
    with nothing_changes(x, *model.parameters()), pytest.raises(GradcheckError) as caught:
        WAYS[way](model, x)
    head, _, *rows = str(caught.value).splitlines()
    assert "entries of the Jacobian (order 1) that differ from the numeric ones" in head
    assert all("wrong[" in row for row in rows[:-1])
    for row in rows[:-1]:
        analytic, numeric = (float(cell) for cell in row.partition("]")[2].split()[:2])
        assert analytic / numeric == pytest.approx(7)
    assert "the rule that is wrong: TimesSeven by operand 1, at test_what_trains.py" in rows[-1]


@pytest.mark.parametrize("mode", ["full", "fast"])
def test_a_weight_gradient_wrong_by_1e_5_is_found(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimesSeven, "factor", 1.0)
    assert gradcheck(Spoiled(), numbers(4, 3), order=1, mode=mode)
    monkeypatch.setattr(TimesSeven, "factor", 1.0 + 1e-5)
    with pytest.raises(GradcheckError, match=r"wrong\[\d, \d\]"):
        gradcheck(Spoiled(), numbers(4, 3), order=1, mode=mode)


def test_compiled_gradients_are_compared_with_compiled_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient rule that is wrong only while it is compiled is found only in compiled code."""
    model, x = net(), numbers(5, 3)
    real, compiled = driver.rewrite, []

    def spoiled(graph: Graph) -> Graph:
        compiled.append(graph)
        return real(graph)

    monkeypatch.setattr(driver, "rewrite", spoiled)
    assert gradcheck(lambda: model(x), order=1)
    assert not compiled
    assert gradcheck(tg.jit(lambda: model(x)), order=1)
    assert [len(graph.outputs) for graph in compiled] == [1, 4]  # the function, and its gradient
    faulty = dataclasses.replace(TABLE["mul"], emit=lambda a, b: a * b * 1.00001)
    recall.forget()  # what it compiled before
    monkeypatch.setattr(driver, "rewrite", lambda graph: real(_with(graph, faulty)))
    with pytest.raises(GradcheckError, match="differ from the numeric ones"):
        gradcheck(tg.jit(lambda: model(x)), order=1)
    assert gradcheck(lambda: model(x), order=1)


def _with(graph: Graph, op: Op) -> Graph:
    """The graph with another op in the place of the one of the same name."""
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node in graph.inputs or not node.inputs:
            new[node] = node
        else:
            operands = tuple(new[operand] for operand in node.inputs)
            used = op if node.op.name == op.name else node.op
            new[node] = Node(used, operands, node.attrs, node.shape, node.dtype, None, node.needs_grad)
    return Graph.of([new[node] for node in graph.outputs], graph.inputs)


class Compiled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2, dtype=tg.float64)

    @tg.jit
    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.linear(x).tanh()

    @tg.jit
    def energy(self, x: tg.Tensor) -> tg.Tensor:
        return (self.linear(x) ** 2).sum()


def test_compiled_methods_are_compiled_as_a_whole() -> None:
    model, x = Compiled(), numbers(4, 3).requires_grad_()
    for function in (model, model.energy, model.forward):
        report = gradcheck(function, (x,))
        assert [name.removeprefix("linear.") for name in report.leaves] == ["0", "weight", "bias"]
    with pytest.raises(GradcheckError, match=r"calls a compiled one, through which no gradient .*\(tg.jit"):
        gradcheck(lambda: model(x.detach()) * 2)
    with pytest.raises(GraphError, match="that is to be differentiated again"):
        gradcheck(lambda x: model(x) * 2, (x,))
    assert gradcheck(tg.jit(lambda x: model(x) * 2), (x,))


def test_inputs_and_parameters_both() -> None:
    x = numbers(5, 3).requires_grad_()
    assert gradcheck(net(), (x,), order=1).leaves == ("0", "0.weight", "0.bias", "2.weight", "2.bias")
    assert gradcheck(net(), (x,), order=1, parameters=()).leaves == ("0",)


def test_names_of_what_a_function_reaches() -> None:
    scale = tg.tensor(2.0, dtype=tg.float64, requires_grad=True)
    pair = {"a": numbers(2).requires_grad_(), "b": [numbers(2).requires_grad_()]}

    class Holder:
        def __init__(self) -> None:
            self.model = net()

        def loss(self, x: tg.Tensor) -> tg.Tensor:
            return self.model(x).sum() * scale

    assert gradcheck(lambda: scale * pair["a"] * pair["b"][0], order=1).leaves == ("scale", "pair['a']", "pair['b'][0]")
    found = gradcheck(Holder().loss, (numbers(5, 3),), order=1, mode="fast").leaves
    assert found == ("model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias", "scale")


def test_equal_names_and_large_data_are_no_obstacle() -> None:
    rows = [float(k) for k in range(200_000)]
    models = [net(), net()]
    x = numbers(5, 3)

    def loss() -> tg.Tensor:
        return models[0](x).sum() * rows[3] + models[1](x).sum()

    assert gradcheck(loss, order=1).leaves[:5:4] == ("models[0].0.weight", "models[1].0.weight")
    zero, one = numbers(2).requires_grad_(), numbers(2).requires_grad_()
    with pytest.raises(GradcheckError, match="parameter 0, on which no output depends"):
        gradcheck(lambda a: a * 2, (one,), parameters={"0": zero})
    assert gradcheck(lambda *p: models[0](x), models[0].parameters(), order=1).checked == 260


def test_what_was_computed_before_is_a_constant_and_the_report_says_so() -> None:
    w, x = numbers(3).requires_grad_(), numbers(3, seed=1).requires_grad_()
    h = w * 2
    assert "not checked: a leaf [3] that was used before the function was called" in str(gradcheck(lambda: h * x))
    assert "not checked" not in str(gradcheck(lambda: w * x))
    with pytest.raises(GradcheckError, match="no input that requires grad"):
        gradcheck(lambda: h * 2)


def test_frozen_parameters_and_integer_buffers_are_left_alone_and_buffers_with_gradients_are_not() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 2, dtype=tg.float64)
            self.register_buffer("shift", numbers(2))
            self.register_buffer("order", np.array([1, 0]))
            self.shift.requires_grad_()
            self.a.weight.requires_grad_(False)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return (self.a(x) * self.shift).index_select(1, self.order)

    assert gradcheck(Model(), (numbers(4, 3),)).leaves == ("a.bias", "shift")


@pytest.mark.parametrize("how", ["register_buffer", "Buffer"])
def test_a_buffer_made_of_a_leaf_that_requires_grad_is_checked(how: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shift = numbers(2).requires_grad_()
            if how == "Buffer":
                self.shift = nn.Buffer(shift)
            else:
                self.register_buffer("shift", shift)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return x * (self.shift * 1.1 - self.shift.detach() * 0.1)

    model = Model().float().double()
    assert not list(model.parameters())
    with pytest.raises(GradcheckError, match=r"shift\[0\] "):
        gradcheck(model, (numbers(4, 2),))


@pytest.mark.parametrize("decorate", [lambda f: f, tg.jit], ids=["eager", "jit"])
def test_views_as_inputs(decorate: Any) -> None:
    layer = nn.Linear(3, 2, dtype=tg.float64)
    row, column = layer.weight[0], layer.weight.T
    shared = row.detach().requires_grad_()
    alone = numbers(6).view(2, 3).requires_grad_()
    wrong = decorate(lambda r: ((r * 1.1 - r.detach() * 0.1) ** 3).sum())
    for x in (row, column, shared, alone, layer.weight * 2):
        report = gradcheck(decorate(lambda r: (r**3).sum()), (x,))
        assert (len(report.leaves), "not checked" in str(report)) == (1, False)
        with pytest.raises(GradcheckError, match=rf"{x.numel()} of {x.numel()} entries"):
            gradcheck(wrong, (x,))
    report = gradcheck(decorate(lambda r: (r * r * layer.weight[1]).sum()), (row,))
    assert report.leaves[1:] == ("layer.weight",)
    assert gradcheck(decorate(lambda r, c, w: (r * c[:, 1] * w[0]).sum()), (row, column, layer.weight))
    assert gradcheck(decorate(lambda: (row * row).sum())).leaves == ("row._base",)
    assert gradcheck(decorate(lambda: (row * layer.bias[0]).sum())).leaves == ("layer.weight", "layer.bias")
    assert row.tolist() == layer.weight[0].tolist()
    row.sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize(("constant", "slope", "factor"), [(100, 1e-3, 1 + 1e-5), (1e4, 1, 1 + 1e-5), (1e6, 1e-3, 0)])
def test_large_values_beside_small_slopes_excuse_nothing(
    constant: float, slope: float, factor: float, mode: Any
) -> None:
    w = numbers(2).requires_grad_()

    def loss(factor: float) -> tg.Tensor:
        return (w * factor + w.detach() * (1 - factor)).sin().sum() * slope + constant

    assert gradcheck(lambda: loss(1.0), mode=mode)
    with pytest.raises(GradcheckError, match="differ"):
        gradcheck(lambda: loss(factor), mode=mode)


def test_a_model_that_is_an_argument_has_named_parameters() -> None:
    def scaled(model: nn.Module, x: tg.Tensor) -> tg.Tensor:
        return model(x) * 2  # type: ignore[no-any-return]

    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    with nothing_changes(*model.parameters(), *model.buffers()):
        leaves = gradcheck(scaled, (model, numbers(4, 3)), order=1).leaves
    assert leaves == ("0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias")


def test_tied_weights_are_one_leaf() -> None:
    first = nn.Linear(3, 3, dtype=tg.float64)
    assert gradcheck(nn.Sequential(first, nn.Tanh(), first), (numbers(2, 3),)).leaves == ("0.weight", "0.bias")
    x = numbers(2, 3).requires_grad_()
    assert gradcheck(lambda a, b: a * b, (x, x)).leaves == ("0",)


def test_structures_in_and_out() -> None:
    lstm = nn.LSTM(2, 2, dtype=tg.float64)
    h, c = numbers(1, 3, 2, seed=1).requires_grad_(), numbers(1, 3, 2, seed=2).requires_grad_()
    report = gradcheck(lstm, (numbers(4, 3, 2), (h, c)), order=1)
    assert report.leaves[:2] == ("1.0", "1.1")
    assert len(report.leaves) == 6
    assert gradcheck(lambda x: {"a": x * x, "b": [x.sin(), x.argsort()]}, (h,), order=1)


def test_a_graph_recorded_before_can_still_be_walked() -> None:
    model, x = net(), numbers(5, 3)
    loss = model(x).sum()
    model[0].weight.grad = tg.ones(4, 3, dtype=tg.float64)
    gradcheck(model, (x,), mode="fast")
    loss.backward()
    fresh = net()
    fresh(x).sum().backward()
    np.testing.assert_array_equal(model[2].weight.grad.numpy(), fresh[2].weight.grad.numpy())
    np.testing.assert_array_equal(model[0].weight.grad.numpy(), fresh[0].weight.grad.numpy() + 1)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_that_writes_its_leaves_does_not_spoil_a_graph_recorded_before(compiled: bool) -> None:
    model, _, step = trainer(lambda p: optim.SGD(p, lr=0.1))
    model.eval()
    loss = (model(numbers(6, 3)) ** 2).sum()
    gradcheck_step(tg.jit(step) if compiled else step, (numbers(6, 3), numbers(6, 1, seed=1)), model, mode="fast")
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_all_is_put_back_when_the_function_fails() -> None:
    model, x, calls = net(), numbers(5, 3), []

    def fails(*p: tg.Tensor) -> tg.Tensor:
        calls.append(p)
        return model(x if len(calls) < 9 else x.reshape(3, 5))

    with nothing_changes(*model.parameters()), pytest.raises(ShapeError):
        gradcheck(fails, tuple(model.parameters()))


def test_hooks_belong_to_the_gradient_that_trains() -> None:
    w = numbers(2).requires_grad_()
    remove = w.register_hook(lambda g: g * 2)
    with pytest.raises(GradcheckError, match=r"w\[0\]"):
        gradcheck(lambda: (w * w).sum(), order=1)
    remove()
    assert gradcheck(lambda: (w * w).sum(), order=1)


# ---- modes
# -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("compiled", [False, True])
def test_batch_norm_keeps_its_statistics(training: bool, compiled: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double().train(training)
    x = numbers(6, 3)
    before = {key: value.tolist() for key, value in model.state_dict().items()}
    assert gradcheck(tg.jit(lambda: model(x)) if compiled else model, () if compiled else (x,), mode="fast")
    assert {key: value.tolist() for key, value in model.state_dict().items()} == before


def test_dropout_is_not_deterministic_and_the_generator_stands_where_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).double()
    with nothing_changes(*model.parameters()), pytest.raises(GradcheckError, match=r"other bits .* model.eval\(\)"):
        gradcheck(model, (numbers(4, 3),))
    assert gradcheck(model.eval(), (numbers(4, 3),))


def test_a_float32_model_is_an_error_that_says_what_to_do() -> None:
    model, x = nn.Linear(3, 2), numbers(4, 3)
    for call in (lambda: gradcheck(model, (x,)), lambda: gradcheck(lambda: model(x.float()).sum())):
        with pytest.raises(GradcheckError, match=r"parameter (model\.)?weight of dtype float32; .*model\.double\(\)"):
            call()


# ---- nothing was checked
# ----------------------------------------------------------------------------------------------------------------


def test_a_leaf_on_which_nothing_depends_is_an_error_unless_named() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2, dtype=tg.float64), nn.Linear(3, 2, dtype=tg.float64)

        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return self.used(x)

    x = numbers(4, 3)
    with pytest.raises(
        GradcheckError, match=r"parameter idle.weight and parameter idle.bias, on .* nothing was checked"
    ):
        gradcheck(Model(), (x,))
    assert gradcheck(Model(), (x,), unused=("idle.*",), order=1)
    assert gradcheck(Model(), (x,), unused=("idle.weight", "idle.bias"), order=1)
    with pytest.raises(GradcheckError, match=r"unused='idel.\*'; expected a name among used.weight"):
        gradcheck(Model(), (x,), unused=("idel.*",))
    leaf = numbers(2).requires_grad_()
    with pytest.raises(GradcheckError, match=r"input 1, on which no output depends"):
        gradcheck(lambda a, b: a * 2, (leaf, numbers(2, seed=1).requires_grad_()))
    assert gradcheck(lambda a, b: a * 2, (leaf, numbers(2, seed=1).requires_grad_()), unused="1")


def test_a_detached_input_is_seen_by_its_differences() -> None:
    with pytest.raises(GradcheckError, match="differ from the numeric ones"):
        gradcheck(lambda x, y: x.detach() * y, (numbers(2).requires_grad_(), numbers(2, seed=1).requires_grad_()))


def test_a_derivative_that_is_0_here_is_a_derivative() -> None:
    x = numbers(3).requires_grad_()
    assert gradcheck(lambda x: x * 0.0, (x,))
    assert gradcheck(lambda x: (x - 100.0).relu(), (x,))
    assert gradcheck(lambda x: x.floor(), (x,))
    dead = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    with tg.no_grad():
        dead[0].bias.fill_(-100.0)
    assert gradcheck(dead, (numbers(4, 3),))


WRONG_INPUT: dict[str, tuple[Callable[[], Any], str]] = {
    "no function": (lambda: gradcheck(3, ()), "int as the function"),  # type: ignore[arg-type]
    "nothing to check": (lambda: gradcheck(lambda x: x, (3.0,)), "no input that requires grad"),
    "None": (lambda: gradcheck(lambda x: None, (numbers(2).requires_grad_(),)), "a function that returned NoneType"),
    "a number": (lambda: gradcheck(lambda x: 3, (numbers(2).requires_grad_(),)), "a function that returned int"),
    "an empty list": (lambda: gradcheck(lambda x: [], (numbers(2).requires_grad_(),)), "that returned nothing"),
    "integers": (
        lambda: gradcheck(lambda x: x.argsort(), (numbers(2).requires_grad_(),)),
        "a function that returned a tensor of int64; expected tensors of floats",
    ),
    "float32 out": (
        lambda: gradcheck(lambda x: x.float(), (numbers(2).requires_grad_(),)),
        "an output of dtype float32",
    ),
    "nan": (
        lambda: gradcheck(lambda x: x.log(), ((numbers(2) - 9).requires_grad_(),)),
        "nan in element 0 of the outputs",
    ),
    "inf": (lambda: gradcheck(lambda x: x / 0, (numbers(2).requires_grad_(),)), "inf in element 0 of the outputs"),
    "parameters": (lambda: gradcheck(lambda: 3, parameters=[3]), "int as parameter 0; expected a module, tensors"),
    "order": (lambda: gradcheck(lambda x: x, (numbers(2).requires_grad_(),), order=3), "order 3"),
    "refusals": (lambda: gradcheck(lambda x: x, (numbers(2).requires_grad_(),), refusals=2), "refusals 2; expected a"),
    "no gradient": (lambda: gradcheck_step(lambda: numbers(1).sum()), "a step that leaves no gradient"),
    "no loss": (lambda: gradcheck_step(lambda: None), "a step that returned NoneType"),
    "a vector": (
        lambda: gradcheck_step(lambda: numbers(2)),
        r"a step that returned shape \(2,\); expected a loss of one",
    ),
    "which loss": (lambda: gradcheck_step(lambda: {"a": 1.0, "b": 2.0}), "'a', 'b'; expected a loss; hint: name"),
}


@pytest.mark.parametrize("case", WRONG_INPUT)
def test_wrong_input(case: str) -> None:
    call, text = WRONG_INPUT[case]
    with pytest.raises(GradcheckError, match=rf"^\[gradcheck\] got .*{text}"):
        call()


# ---- training steps
# -----------------------------------------------------------------------------------------------------------------


def trainer(make: Callable[[Any], optim.Optimizer], **faults: Any) -> tuple[nn.Module, optim.Optimizer, Any]:
    """A model with dropout and batch norm, its optimizer and a step; `faults` spoil it."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 1)).double()
    opt = make(model.parameters())

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        if not faults.get("accumulates"):
            opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        (loss * faults.get("factor", 1.0)).backward()
        if "clip" in faults:
            nn.utils.clip_grad_norm_(model.parameters(), faults["clip"])
        opt.step()
        return loss

    return model, opt, step


def everything(model: nn.Module, opt: optim.Optimizer) -> Any:
    state = opt.state_dict()["state"]
    numbers_of = {k: {name: value.tolist() for name, value in own.items()} for k, own in state.items()}
    weights = {key: value.tolist() for key, value in model.state_dict().items()}
    return weights, numbers_of, tg.random.default_generator.get_state().tolist(), [p.grad for p in model.parameters()]


def test_a_compiled_step_without_state_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real, compiled = driver.rewrite, []

    def noted(graph: Any, *args: Any) -> Any:
        compiled.append(graph)
        return real(graph, *args)

    monkeypatch.setattr(driver, "rewrite", noted)
    model, opt, step = trainer(lambda p: optim.Adam(p, lr=0.1))
    gradcheck_step(tg.jit(step), (numbers(6, 3), numbers(6, 1, seed=1)), model)
    assert len(compiled) == 1
    assert not opt.state


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_a_step_leaves_the_gradients_of_its_loss(name: str, compiled: bool) -> None:
    model, opt, step = trainer(lambda p: getattr(optim, name)(p, lr=0.1))
    x, y = numbers(6, 3), numbers(6, 1, seed=1)
    before = everything(model, opt)
    report = gradcheck_step(tg.jit(step) if compiled else step, (x, y), model)
    assert everything(model, opt) == before
    assert report.leaves == tuple(name for name, _ in model.named_parameters())
    assert report.checked == sum(p.numel() for p in model.parameters())
    assert report.refused == 0


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("faults", [{"factor": 1 + 1e-5}, {"clip": 1e-3}], ids=str)
def test_a_step_with_other_gradients_fails(faults: Any, compiled: bool) -> None:
    model, opt, step = trainer(lambda p: optim.SGD(p, lr=0.1), **faults)
    before = everything(model, opt)
    with pytest.raises(GradcheckError, match=r"\.grad after the step is compared with its loss[^$]*4\.weight"):
        gradcheck_step(tg.jit(step) if compiled else step, (numbers(6, 3), numbers(6, 1, seed=1)), model)
    assert everything(model, opt) == before


def test_a_step_begins_without_gradients_and_finds_its_parameters() -> None:
    model, _, step = trainer(lambda p: optim.SGD(p, lr=0.1), accumulates=True)
    x, y = numbers(6, 3), numbers(6, 1, seed=1)
    step(x, y)
    left = [p.grad.numpy().copy() for p in model.parameters()]
    report = gradcheck_step(step, (x, y))
    assert report.leaves == tuple(f"model.{name}" for name, _ in model.named_parameters())
    assert all((p.grad.numpy() == g).all() for p, g in zip(model.parameters(), left, strict=True))


def test_training_goes_on_with_the_bits_of_a_run_that_was_never_checked() -> None:
    x, y = numbers(6, 3), numbers(6, 1, seed=1)
    finals = []
    for checks in (False, True):
        model, opt, step = trainer(lambda p: optim.Adam(p, lr=0.1))
        compiled = tg.jit(step)
        for k in range(4):
            if checks and k == 2:
                gradcheck_step(compiled, (x, y), model)
                gradcheck(lambda model=model: model.eval()(x), mode="fast")
                model.train()
            compiled(x, y)
        finals.append(everything(model, opt)[:3])
    assert finals[0] == finals[1]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_function_that_calls_backward_is_a_step(compiled: bool) -> None:
    model, opt, step = trainer(lambda p: optim.Adam(p, lr=0.1))
    before = everything(model, opt)
    report = gradcheck(tg.jit(step) if compiled else step, (numbers(6, 3), numbers(6, 1, seed=1)))
    assert everything(model, opt) == before
    assert report.leaves == tuple(f"model.{name}" for name, _ in model.named_parameters())
    assert report.how == ("order 1, .grad after the step: all elements",)
    _, _, wrong = trainer(lambda p: optim.SGD(p, lr=0.1), factor=2.0)
    with pytest.raises(GradcheckError, match=r"\.grad after the step is compared"):
        gradcheck(tg.jit(wrong) if compiled else wrong, (numbers(6, 3), numbers(6, 1, seed=1)))


def test_tensors_without_a_variable_have_names_too() -> None:
    w = numbers(2).requires_grad_()
    assert gradcheck(functools.partial(lambda a: a * 2, w), order=1).leaves == ("0",)
    assert str(gradcheck(numbers(2).requires_grad_().sin, order=1)).startswith("4 entries agree of self")


def test_the_loss_among_several_results() -> None:
    w = numbers(3).requires_grad_()

    def step() -> dict[str, tg.Tensor]:
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        return {"twice": loss * 2, "own": loss}

    assert gradcheck_step(step, loss="own").checked == 3
    with pytest.raises(GradcheckError, match="differ"):
        gradcheck_step(step, loss="twice")
    with pytest.raises(GradcheckError, match="'twice', 'own'"):
        gradcheck_step(step, loss="lost")


def test_a_gradient_that_is_nan_blames_no_rule_that_was_given_nan() -> None:
    w, x = numbers(2).requires_grad_(), tg.tensor([0.0, 1.0], dtype=tg.float64)
    with pytest.raises(GradcheckError, match=r"gradient is NaN(.|\n)* w\[0\]") as caught:
        gradcheck(lambda: (w * x).square().sqrt().sum())
    assert "rule that is wrong" not in str(caught.value)
