"""Models side by side in the lanes of vectors: near the numbers of `fit`, and none disturbs another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.sweep.test_arenas import SETTINGS, X, Y, _generators, _held, recipe
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler.codegen.native import host
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.expand.expand import expand
from tinygrad_nn.compiler.expand.verify import verify
from tinygrad_nn.compiler.interp import Interpreter
from tinygrad_nn.compiler.run.lanes import InLanes, chosen, impossible, in_lanes, job_of, natural
from tinygrad_nn.compiler.run.many import Broken, Model, Varying, arenas
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.compiler.simulate import Machine
from tinygrad_nn.errors import IndexOutOfRange
from tinygrad_nn.random import order_generator, randperm
from tinygrad_nn.testing.agreement import WIDTHS

LANES = 4
NOT_COMPILED = "LBFGS"
ONLY_MATRICES = "Muon"
OPTIMIZERS = [
    name
    for name, one in vars(optim).items()
    if isinstance(one, type) and issubclass(one, optim.Optimizer) and name not in ("Optimizer", NOT_COMPILED)
]
rng = np.random.default_rng(0)


def shared_values(training: Training, varying: Varying) -> dict[int, Any]:
    return {k: one.handle.node.value for k, one in enumerate(training.state) if k not in varying.state}


def near(found: Any, wanted: Any, ulps: float) -> None:
    """Whether numbers are as near as that, in units of the last place of the largest of them."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted)
        return
    unit = float(np.spacing(np.max(np.abs(wanted), initial=0).astype(wanted.dtype)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ulps * unit, equal_nan=True)


@pytest.mark.parametrize("given", SETTINGS, ids=lambda given: "-".join(map(str, given.values())))
def test_lanes_are_near_arenas(given: Any) -> None:
    """One epoch: then the order of sums has not yet led them apart. The second group is not full. The bias before a
    BatchNorm has a gradient of 0 but for roundings, of which Adam would make whole steps.
    """
    given = {**given, "optimizer": "SGD"}
    data, dtype = (X.astype(given["dtype"]), Y), given["dtype"]
    one = recipe(given["optimizer"], given["dropout"], dtype)
    order = order_generator(0)
    permute = (lambda: randperm(23, generator=order)) if given["shuffle"] else None
    training = Training(one.step, [data], given["batch"], one.scores, given["shuffle"], permute, True)
    generators = [k for k, held in enumerate(training.state) if id(held.handle) in _generators(order)]
    varying = Varying.of(training, generators)
    models = []
    for seed in range(LANES + 2):
        tg.manual_seed(seed)
        order.set_state(order_generator(seed).get_state())
        fresh = recipe(given["optimizer"], given["dropout"], dtype)
        values = {id(p): q.detach().numpy() for p, q in zip(_held(one.model), _held(fresh.model), strict=True)}
        state = [values.get(id(h), h.node.value) for h in (training.state[k].handle for k in varying.state)]
        models.append(Model([np.array(value) for value in state]))
    shared = shared_values(training, varying)
    (arena,) = arenas(training, varying, shared, [data], 1)
    (beside,) = in_lanes(training, varying, shared, [data], 1, LANES)
    assert beside.lanes == LANES
    for group in (models[:LANES], models[LANES:]):
        for lane, model in enumerate(group):
            beside.bring(lane, model)
        assert beside.run(1, 1, [True]) == 1
        for lane, model in enumerate(group):
            arena.bring(0, model)
            arena.run(1, 1, [True])
            wanted, found = arena.take(0, 1), beside.take(lane, 1)
            near(found.history, wanted.history, 4 if dtype == "float64" else 4 * 2**29)
            np.testing.assert_array_equal(found.scores, wanted.scores)
            for value, exact in zip(found.state, wanted.state, strict=True):
                near(value, exact, 4)


def ready(columns: Any = ()) -> tuple[Training, Varying, list[Any], Any]:
    """A run of three classes, what its models begin with, and a runner for them."""
    one = recipe("SGD", 0.0, "float32")
    training = Training(one.step, [(X, Y)], 5, one.scores, False, None, True)
    varying = Varying.of(training, (), columns)
    begin = [np.array(training.state[k].handle.node.value) for k in varying.state]
    return (
        training,
        varying,
        begin,
        in_lanes(training, varying, shared_values(training, varying), [(X, Y)], 1, LANES)[0],
    )


def test_a_model_that_diverges_disturbs_no_other() -> None:
    _, _, begin, runner = ready()
    for lane in range(LANES):
        runner.bring(lane, Model(begin))
    runner.run(3, 1, [True] * 3)
    calm = [runner.take(lane, 3) for lane in range(LANES)]
    for lane in range(LANES):
        runner.bring(lane, Model([value * (np.nan if lane == 2 and value.dtype.kind == "f" else 1) for value in begin]))
    runner.run(3, 1, [True] * 3)
    for lane in range(LANES):
        taken = runner.take(lane, 3)
        if lane == 2:
            assert np.isnan(taken.history).all()
            continue
        np.testing.assert_array_equal(taken.history, calm[lane].history)
        for value, before in zip(taken.state, calm[lane].state, strict=True):
            np.testing.assert_array_equal(value, before)


def test_labels_that_differ_between_models_are_each_ones_own() -> None:
    training, varying, begin, runner = ready([(0, 1)])
    labels = [np.roll(Y, lane) for lane in range(LANES)]
    (arena,) = arenas(training, varying, shared_values(training, varying), [(X, Y)], 1)
    for lane in range(LANES):
        runner.bring(lane, Model(begin, [labels[lane]]))
    runner.run(1, 1, [True])
    for lane in range(LANES):
        arena.bring(0, Model(begin, [labels[lane]]))
        arena.run(1, 1, [True])
        for value, exact in zip(runner.take(lane, 1).state, arena.take(0, 1).state, strict=True):
            near(value, exact, 4)
    bad = labels[3].copy()
    bad[12] = 7
    runner.bring(3, Model(begin, [bad]))
    with pytest.raises(Broken) as found:
        runner.run(2, 1, [False, True])
    assert (found.value.lane, found.value.epoch, found.value.batch) == (3, 0, 2)
    assert isinstance(found.value.error, IndexOutOfRange)
    assert "label 7 in row 2" in str(found.value.error)


def test_a_stopped_run_counts_its_epochs_and_goes_on() -> None:
    *_, begin, runner = ready()
    runner.bring(0, Model(begin))
    runner.stop()
    assert runner.run(3, 1, [False] * 3) == 0
    runner.go_on()
    assert runner.run(3, 1, [False] * 3) == 3


def test_the_choice_counts_cycles_and_says_so() -> None:
    training, varying, *_ = ready()
    many = chosen(training, varying, 1000, 1000)
    assert many.lanes == natural(training, varying, host()) > 1
    assert 0 < many.share * 1.1 < 1
    assert f"{many.lanes} models in the float32 lanes of a vector take" in many.why
    for models, epochs, why in ((1, 1000, "there is but one"), (10, 1, "so short"), (50, 50, "so short")):
        few = chosen(training, varying, models, epochs)
        assert few.lanes == 1
        assert few.why.startswith("one model after the other: ")
        assert why in few.why
    assert chosen(training, varying, 1000, 1000, replace(host(), width=4)).lanes == 1


def test_a_model_that_fills_the_caches_is_trained_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 3))
    training = Training(stepping(model, optim.Adam(model.parameters())), [(X, Y)], 23, None, False, None, True)
    choice = chosen(training, Varying.of(training), 1000, 1000)
    assert choice.lanes == 1
    assert "more than the caches hold" in choice.why


def test_samples_of_several_lengths_lie_in_lanes_if_their_order_is_one() -> None:
    model = nn.Linear(3, 3)
    opt = optim.SGD(model.parameters(), lr=0.1)

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    sets = [tuple(rng.normal(size=(2, 6, n, 3)).astype(np.float32)) for n in (2, 4)]
    training = Training(step, sets, 3, None, True, None, True)
    assert "several lengths" in chosen(training, Varying.of(training), 1000, 1000).why
    steady = Training(step, sets, 3, None, False, None, True)
    assert impossible(steady) is None

    def arrange(first: int, epochs: int) -> Any:
        if epochs:  # in order: one epoch is as the other
            yield np.array([[3, 4, 5], [0, 1, 2], [0, 1, 2], [3, 4, 5]]), np.array([1, 2, 0, 3])

    varying = Varying.of(steady)
    begin = [np.asarray(steady.state[k].handle.node.value) for k in varying.state]
    shared = shared_values(steady, varying)
    (arena,), (beside,) = arenas(steady, varying, shared, sets, 1), in_lanes(steady, varying, shared, sets, 1, LANES)
    models = [Model([one * (k + 1) for one in begin], (), arrange) for k in range(LANES)]
    for lane, one in enumerate(models):
        beside.bring(lane, one)
    assert beside.run(2, 1, [False, False]) == 2
    for lane, one in enumerate(models):
        arena.bring(0, one)
        arena.run(2, 1, [False, False])
        for found, exact in zip(beside.take(lane, 2).state, arena.take(0, 2).state, strict=True):
            near(found, exact, 8)


class Sequences(nn.Module):
    """The last step of a recurrent layer, judged."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.layer = kind(3, 5, batch_first=True, **options)
        self.out = nn.Linear(10 if "bidirectional" in options else 5, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(x)[0][:, -1])


class Words(nn.Module):
    """Tokens that attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(7, 8), nn.LayerNorm(8)
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        h = self.norm(self.embedding(x))
        return self.out((h + self.attention(h, h, h)[0]).mean(1))


class Sorted(nn.Module):
    """What is sorted, gathered and summed up along an axis, in another order for each model."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(3, 6), nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        h = self.inner(x)
        return self.out(h.sort(1)[0].cumsum(1) + h.gather(1, h.argsort(1)).cummax(1)[0])


FLOATS, LONG = rng.normal(size=(9, 7, 3)), rng.normal(size=(5, 40, 3))
PICTURES, WORDS = rng.normal(size=(9, 1, 8, 8)), rng.integers(0, 7, (10, 6))
LAYERS: dict[str, tuple[Any, Any]] = {
    "RNN": (lambda: Sequences(nn.RNN), FLOATS),
    "GRU": (lambda: Sequences(nn.GRU), FLOATS),
    "LSTM of both directions": (lambda: Sequences(nn.LSTM, bidirectional=True), FLOATS),
    "LSTM of 40 steps": (lambda: Sequences(nn.LSTM), LONG),
    "pictures": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)
        ),
        PICTURES,
    ),
    "attention": (Words, WORDS),
    "sorts": (Sorted, X),
}


def stepping(model: nn.Module, opt: Any) -> Any:
    """A step of a classifier."""

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def side_by_side(model: nn.Module, opt: Any, x: Any, ulps: float) -> None:
    """An epoch of models with other numbers each, in lanes and one after the other."""
    data, draw = (x, Y[: len(x)]), np.random.default_rng(1)
    training = Training(stepping(model, opt), [data], 4, None, False, None, True)
    varying = Varying.of(training)
    begin = [np.asarray(training.state[k].handle.node.value) for k in varying.state]
    models = [
        Model([one * draw.uniform(0.8, 1.2, one.shape) if one.dtype.kind == "f" else one for one in begin])
        for _ in range(LANES)
    ]
    shared = shared_values(training, varying)
    (arena,), (beside,) = (
        arenas(training, varying, shared, [data], 1),
        in_lanes(training, varying, shared, [data], 1, LANES),
    )
    for lane, one in enumerate(models):
        beside.bring(lane, one)
    beside.run(1, 1, [False])
    for lane, one in enumerate(models):
        arena.bring(0, one)
        arena.run(1, 1, [False])
        wanted, found = arena.take(0, 1), beside.take(lane, 1)
        near(found.history, wanted.history, ulps)
        for value, exact in zip(found.state, wanted.state, strict=True):
            near(value, exact, ulps)


@pytest.mark.parametrize("kind", ["shuffled, a short batch, evaluated", "a loop over steps"])
def test_a_run_in_lanes_means_what_it_does(kind: str) -> None:
    """The machine code against the interpreter, and against expanded code for vectors of each width."""
    tg.manual_seed(0)
    order, shuffled = order_generator(0), kind.startswith("shuffled")
    one = recipe("SGD", 0.3, "float64")
    data, step = (X[:8].astype("float64"), Y[:8]), one.step
    if not shuffled:
        model = Sequences(nn.RNN).to("float64")
        data, step = (LONG[:3, :25], Y[:3]), stepping(model, optim.SGD(model.parameters(), lr=0.05))
    permute = (lambda: randperm(8, generator=order)) if shuffled else None
    training = Training(step, [data], 5 if shuffled else 2, one.scores if shuffled else None, shuffled, permute, True)
    varying = Varying.of(
        training, [k for k, held in enumerate(training.state) if id(held.handle) in _generators(order)]
    )
    shared, draw = shared_values(training, varying), np.random.default_rng(2)
    begin = [np.array(training.state[k].handle.node.value) for k in varying.state]
    models = [
        Model(
            [value * draw.uniform(0.8, 1.2, value.shape) if value.dtype.kind == "f" else value + k for value in begin]
        )
        for k in range(3)
    ]
    made = build(job_of(training, varying, 3), host())
    found = []
    for lanes in (None, 0, *WIDTHS):
        runner = InLanes(made, training, varying, shared, [data], 3)
        for lane, model in enumerate(models):
            runner.bring(lane, model)
        memory, planned = runner.memory, made.schedule
        if lanes is None:
            assert runner.run(1, 1, [True]) == 1
        elif lanes:
            memory.prepare(1, [True])
            assert Machine(verify(expand(planned, lanes)), memory.arena).run() == 0
        else:
            memory.prepare(1, [True])
            Interpreter(planned.program, {at: memory.view(planned.at(at)) for at in planned.program.buffers}).run()
        taken = [runner.take(lane, 1) for lane in range(3)]
        found.append([part for one in taken for part in (*one.state, one.history)])
    wanted, *others = found
    assert not np.array_equal(wanted[0], wanted[len(wanted) // 3])  # models differ
    for results in others:
        for value, exact in zip(results, wanted, strict=True):
            np.testing.assert_allclose(value, exact, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_kernel(name: str) -> None:
    make, x = LAYERS[name]
    tg.manual_seed(0)
    model = make().to("float64")
    side_by_side(model, optim.SGD(model.parameters(), lr=0.05), x.astype("float64") if x.dtype.kind == "f" else x, 8)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str) -> None:
    """What divides by the root of small squares enlarges what it is given."""
    tg.manual_seed(0)
    bias = name != ONLY_MATRICES
    model = nn.Sequential(nn.Linear(3, 6, bias), nn.Tanh(), nn.Linear(6, 3, bias)).to("float64")
    side_by_side(model, getattr(optim, name)(model.parameters(), lr=0.01), X.astype("float64"), 64)
