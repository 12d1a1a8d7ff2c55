"""Native fit on sequences of different lengths against the eager loop, which takes the same batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.compiler.pressing import press_ctrl_c
from tests.compiler.works import Work, equal
from tinygrad_nn import callbacks, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.compiler.expand.expand import expand
from tinygrad_nn.compiler.expand.verify import verify
from tinygrad_nn.compiler.interp import Interpreter
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.compiler.simulate import Machine
from tinygrad_nn.data import Batches, gather
from tinygrad_nn.errors import DataError, IndexOutOfRange, TraceError
from tinygrad_nn.testing.agreement import WIDTHS

LENGTHS = [3, 5, 3, 4, 1, 5, 4, 3, 5, 4, 4, 3, 4, 3, 4, 4]  # five of 3, three of 5, seven of 4, one of 1


def sequences(lengths: list[int], seed: int = 0) -> tuple[list[Any], list[Any]]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(n, 2)) for n in lengths], [generator.normal(size=(n, 1)) for n in lengths]


def recurrent(
    make: Callable[[Any], Any] = lambda parameters: optim.SGD(parameters, lr=0.05, momentum=0.5), dropout: float = 0.0
) -> Work:
    tg.manual_seed(5)
    rnn, out = nn.RNN(2, 3, batch_first=True), nn.Linear(3, 1)
    model = nn.ModuleList([rnn, nn.Dropout(dropout), out]).double()
    opt = make(model.parameters())

    def step(x: tg.Tensor, y: tg.Tensor, *weights: tg.Tensor) -> dict[str, tg.Tensor]:
        opt.zero_grad()
        errors = (out(model[1](rnn(x)[0])) - y) ** 2
        loss = (errors.mean((1, 2)) * weights[0]).mean() if weights else errors.mean()
        loss.backward()
        opt.step()
        return {"loss": loss, "largest": errors.max()}

    return Work(model, opt, sequences(LENGTHS), step, None)


def pooled() -> Work:
    """A model of which one graph serves whole and short batches."""
    tg.manual_seed(5)
    model = nn.Linear(2, 1).double()
    opt = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = ((model(x.tanh().mean(1)) - y.mean(1)) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return Work(model, opt, sequences(LENGTHS), step, None)


def summed_up() -> Work:
    """A step that calculates along the samples: its graph depends on their number."""
    work = pooled()
    step = work.step
    work.step = lambda x, y: {"loss": step(x, y), "sums": x.sum((1, 2)).cumsum(0).mean()}
    return work


def ready(work: Work, batch: int, shuffle: bool = True) -> tuple[Batches, Training]:
    """A run as fit makes it, before it is told of an order."""
    plan = Batches(work.data, batch)
    sets = [[gather(column, members) for column in work.data] for members in plan.sets]
    return plan, Training(tg.jit(work.step), sets, plan.size, work.scores, shuffle)


def both(make: Callable[[], Work], epochs: int, **options: Any) -> tuple[Any, Any]:
    """The histories of a native and an eager run, whose states and histories are equal."""
    histories, works = [], []
    for compiled in (True, False):
        work = make()
        histories.append(work.fit(compiled, epochs, **options))
        works.append(work)
    equal(*works)
    native, eager = histories
    assert "compile" in native.metadata
    assert "compile" not in eager.metadata
    assert (native.epochs, native.evaluated, native.stopped) == (eager.epochs, eager.evaluated, eager.stopped)
    assert list(native) == list(eager)
    for column in eager:
        np.testing.assert_allclose(native[column], eager[column], rtol=1e-9)
    return native, eager


@pytest.mark.parametrize("batch", [None, 1, 2, 3, 4, 7])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("make", [recurrent, pooled, summed_up])
def test_every_rest_of_a_batch(make: Callable[[], Work], batch: int | None, shuffle: bool) -> None:
    both(make, 5, batch_size=batch, shuffle=shuffle)


def test_a_second_fit_takes_its_own_data_in_order() -> None:
    """Of as many samples of each length, but in another order."""
    found = []
    for jit in (tg.jit, lambda function: function):
        w = tg.tensor([1.0], dtype=tg.float64, requires_grad=True)
        opt = optim.SGD([w], lr=0.01)

        def step(x: Any, w: Any = w, opt: Any = opt) -> Any:
            opt.zero_grad()
            loss = ((w * x).sum() - 1) ** 2
            loss.backward()
            opt.step()
            return loss

        compiled = jit(step)
        losses = [
            tg.fit(
                compiled,
                [np.full((length, 1), 0.1 * (k + 1)) for k, length in enumerate(lengths)],
                2,
                batch_size=1,
                shuffle=False,
                progress=False,
            )["loss"]
            for lengths in ([2, 3, 2, 3, 3], [3, 3, 2, 2, 3], [2, 3, 2, 3, 3])
        ]
        found.append(np.concatenate(losses))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_short_batches_are_of_both_kinds() -> None:
    """Of 1, 5, 7 and 3 samples, by 4: served by the graph of the whole batch, or by one of their own."""
    _, one = ready(pooled(), 4)
    assert one.cases.tolist() == [[0, 0], [1, 0], [1, 1], [2, 0], [2, 1], [3, 0]]
    _, two = ready(recurrent(), 4)
    assert two.cases.tolist() == one.cases.tolist()
    _, three = ready(summed_up(), 4)
    assert not three.cases[:, 1].any()


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: optim.Adam(parameters, lr=0.01, amsgrad=True),
        lambda parameters: optim.SGD(parameters, lr=0.05),
        lambda parameters: optim.RMSprop(parameters, lr=0.01),
    ],
    ids=["Adam", "SGD", "RMSprop"],
)
def test_the_state_of_optimizers_is_one_for_all_lengths(make: Callable[[Any], Any]) -> None:
    both(lambda: recurrent(make), 6, batch_size=2)


def test_random_numbers_are_those_of_eager_batches() -> None:
    """Dropout and the order come from one generator, which goes on from batch to batch and from length to length."""
    after = []
    for compiled in (True, False):
        work = recurrent(dropout=0.4)
        tg.manual_seed(8)
        history = work.fit(compiled, 6, batch_size=2, seed=None)
        after.append((work, history["loss"], tg.random.default_generator.get_state().tolist()))
    equal(after[0][0], after[1][0])
    np.testing.assert_allclose(after[0][1], after[1][1], rtol=1e-9)
    assert after[0][2] == after[1][2]


def test_more_than_one_column_decides() -> None:
    """Samples of equal x and other y are other shapes; a column of arrays goes along."""

    def make() -> Work:
        work = recurrent()
        (p,) = list(work.model.parameters())[:1]
        x = [np.ones((n, 2)) * n for n in (1, 2, 2, 1, 2)]
        y = [np.ones((n, 1)) * n for n in (3, 3, 1, 3, 3)]

        def step(a: tg.Tensor, b: tg.Tensor, c: tg.Tensor) -> tg.Tensor:
            work.opt.zero_grad()
            loss = (a.mean() * p.sum() - b.mean() + c.mean()) ** 2
            loss.backward()
            work.opt.step()
            return loss

        work.data, work.step = (x, y, np.arange(5.0)), step
        return work

    both(make, 3, batch_size=2, shuffle=False)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_each_length_is_traced_once(batch: int) -> None:
    """And Python sees no batch afterwards, nor in a second fit of the same shapes."""
    work = recurrent(lambda parameters: optim.SGD(parameters, lr=0.01))
    shapes: Counter[Any] = Counter()
    inner = work.step

    def counted(x: tg.Tensor, y: tg.Tensor) -> Any:
        shapes[x.shape] += 1
        return inner(x, y)

    work.fit(False, 1)  # makes the state of the optimizer, which would bring a second trace
    counts = Counter(LENGTHS)
    wanted = {(rows, n, 2): 1 for n, count in counts.items() for rows in (min(batch, count), count % batch) if rows}
    step = tg.jit(counted)
    for data in (work.data, sequences(LENGTHS[::-1], 3)):
        tg.fit(step, data, 20, batch_size=batch, progress=False)
        assert shapes == wanted
    tg.fit(step, sequences([2, 3]), 1, batch_size=1, progress=False)
    assert shapes.total() == len(wanted) + 2


def test_a_step_whose_short_batch_has_another_graph() -> None:
    def make() -> Work:
        work = recurrent()
        inner = work.step

        def step(x: tg.Tensor, y: tg.Tensor) -> Any:
            returned = inner(x, y)
            for row in range(x.shape[0]):
                work.model[2].bias.assign(work.model[2].bias.detach() + x[row].mean() * 0.01)
            return returned

        work.step = step
        return work

    both(make, 4, batch_size=2)


def test_other_data_in_a_second_fit() -> None:
    works = []
    for compiled in (True, False):
        work = recurrent()
        step = tg.jit(work.step) if compiled else work.step
        for seed, lengths in enumerate([LENGTHS, LENGTHS[3:] + LENGTHS[:3], LENGTHS[:9], [4] * 6]):
            tg.fit(step, sequences(lengths, seed), 3, batch_size=2, seed=seed, progress=False)
        works.append(work)
    equal(*works)


@pytest.mark.parametrize("reads", [False, True], ids=["native", "by Python"])
def test_evaluation(reads: bool) -> None:
    def make() -> Work:
        work = recurrent()
        held = tg.tensor(sequences([4, 4, 4], 9)[0]).double()

        def scores() -> dict[str, Any]:
            score = work.model[0](held)[0].abs().mean()
            return {"score": score.item() if reads else score}

        work.scores = scores
        return work

    native, _ = both(make, 7, batch_size=2, eval_every=3)
    assert native.evaluated == [3, 6, 7]


def test_weights() -> None:
    weights = np.arange(1.0, 1 + len(LENGTHS))
    found, _ = both(recurrent, 3, batch_size=2, sample_weight=weights, shuffle=False)
    plain, _ = both(recurrent, 3, batch_size=2, shuffle=False)
    assert found["loss"][0] > plain["loss"][0]


def test_callbacks() -> None:
    """They change the rate and stop the run; nothing but the clock tells the two runs apart."""

    def fit(compiled: bool) -> tuple[Work, Any, Any]:
        work = recurrent(lambda parameters: optim.SGD(parameters, lr=0.4, momentum=0.5))
        heard: list[Any] = []
        stopping = callbacks.EarlyStopping(work.model, patience=3)
        schedule = callbacks.Schedule(optim.lr_scheduler.ExponentialLR(work.opt, 0.9))
        history = work.fit(
            compiled, 100, batch_size=3, callbacks=[schedule, stopping, lambda run, logs: heard.append(logs["loss"])]
        )
        return work, history, heard

    (native, found, own), (eager, wanted, other) = fit(True), fit(False)
    assert found.stopped is not None
    assert (found.epochs, found.stopped) == (wanted.epochs, wanted.stopped)
    assert found.epochs < 100
    np.testing.assert_allclose(own, other, rtol=1e-7)
    equal(native, eager, 1e-7)


def test_a_callback_changes_no_bit() -> None:
    weights = []
    for options in ({}, {"callbacks": [lambda run, logs: None]}, {"callbacks": [callbacks.LogLines()]}):
        work = recurrent()
        work.fit(True, 12, batch_size=2, **options)  # type: ignore[arg-type]
        weights.append([p.tolist() for p in work.model.parameters()])
    assert weights[0] == weights[1] == weights[2]


def test_ctrl_c_leaves_whole_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    work = recurrent()
    press_ctrl_c(monkeypatch, after=1)
    history = work.fit(True, 10**8, batch_size=3)
    assert history.stopped is not None
    assert "interrupted" in history.stopped
    assert 0 < history.epochs < 10**8
    assert all(np.isfinite(p.detach().numpy()).all() for p in work.model.parameters())
    assert work.fit(True, 2, batch_size=3).epochs == 2


def labels(bad: int) -> Work:
    """A classifier of sequences with labels, one of which is wrong."""
    tg.manual_seed(2)
    model = nn.Linear(2, 4).double()
    opt = optim.SGD(model.parameters(), lr=0.05)

    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x).mean(1), y)
        loss.backward()
        opt.step()
        return loss

    x, _ = sequences([2, 3, 2, 3, 2, 2, 2])
    y = np.arange(len(x)) % 4
    y[bad] = 7
    return Work(model, opt, (x, y), step, None)


@pytest.mark.parametrize(("bad", "batch"), [(0, 0), (4, 0), (1, 1), (3, 1), (6, 2)])
def test_a_label_out_of_range_names_its_place(bad: int, batch: int) -> None:
    native, eager = labels(bad), labels(bad)
    where = rf"label 7 in row {bad} \(epoch 1, batch {batch}\)"
    with pytest.raises(IndexOutOfRange, match=where):
        native.fit(True, 3, batch_size=3, shuffle=False)
    with pytest.raises(IndexOutOfRange, match=where):
        eager.fit(False, 3, batch_size=3, shuffle=False)
    equal(native, eager)


def test_what_the_step_returns_has_the_same_names() -> None:
    step = tg.jit(lambda x: {f"sum{x.shape[1]}": x.sum()})
    with pytest.raises(TraceError, match=r"\['sum1'\] from step, and \['sum2'\] for a batch of another shape"):
        tg.fit(step, [[[1.0], [2.0]], [[3.0]]], batch_size=1, progress=False)


def test_a_batch_of_more_than_all() -> None:
    with pytest.raises(DataError, match="batch_size=3 for 2 samples"):
        tg.fit(tg.jit(lambda x: x.sum()), [[[1.0], [2.0]], [[3.0]]], batch_size=3, progress=False)


@pytest.mark.parametrize("make", [recurrent, pooled])
def test_the_program_means_what_it_does(make: Callable[[], Work]) -> None:
    """The machine code of a run against the interpreter, and against expanded code for vectors of each width."""
    states = []
    for lanes in (None, 0, *WIDTHS):
        work = make()
        work.scores = lambda work=work: {"size": next(iter(work.model.parameters())).abs().sum()}  # type: ignore[misc]
        plan, training = ready(work, 4)
        planned = training.stages.schedule
        planned.program.verify()
        orders = [np.random.default_rng(k).permutation(len(LENGTHS)) for k in range(2)]
        training.arrange(map(plan.table, orders))
        if lanes is None:
            assert training.run(2, 1, [False, True], 0.0, lambda: False) == 2
        else:
            for one in training.state:
                one.upload()
            training.memory.prepare(2, [False, True])
            if lanes:
                assert Machine(verify(expand(planned, lanes)), training.arena).run() == 0
            else:
                program = planned.program
                Interpreter(program, {one: training.view(planned.at(one)) for one in program.buffers}).run()
        states.append(
            [np.array(one.view) for one in training.state] + [training.history[:2].copy(), training.scores[1:2].copy()]
        )
    wanted, *others = states
    for found in others:
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)
