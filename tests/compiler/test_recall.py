"""What was compiled before is recognised by its description: equal ones are, others are not, and nobody can tell the
difference but by the time it takes.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.compiler.test_ragged import pooled, recurrent
from tests.compiler.works import Work, small
from tests.compiler.works import classifier as classifier_run
from tests.nn.test_against_torch import leaves
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.compiler import blas, driver, recall
from tinygrad_nn.compiler.codegen import cache
from tinygrad_nn.compiler.description import described
from tinygrad_nn.compiler.image import read, written
from tinygrad_nn.compiler.job import Epochs, Job, Part
from tinygrad_nn.compiler.run.jit import Entry, Jitted
from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.config import config
from tinygrad_nn.errors import GraphError, IndexOutOfRange
from tinygrad_nn.graph.graph import Graph, Node
from tinygrad_nn.ops import TABLE
from tinygrad_nn.ops.source import INPUT

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As users have it, without TGNN_VERIFY, and with a cache of its own."""
    path = tmp_path / "cache"
    monkeypatch.setenv("TGNN_CACHE", str(path))
    monkeypatch.setenv("TGNN_VERIFY", "0")
    config.cache_clear()
    yield path
    monkeypatch.undo()
    config.cache_clear()


def entry(function: Callable[..., Any], *args: Any) -> Entry:
    """What a new jitted function is compiled to."""
    jitted = function if isinstance(function, Jitted) else tg.jit(function)
    return jitted.entry(args, {})


def is_known(function: Callable[..., Any], *args: Any) -> bool:
    return entry(function, *args).compiled.stages.recognised


def training(work: Work, **options: Any) -> Training:
    """The run of a work, of one epoch."""
    step = tg.jit(work.step)
    tg.fit(step, work.data, 1, evaluate=work.scores, progress=False, **{"batch_size": 8, "seed": 3, **options})
    run: Training = step.runs[0][1]
    return run


# ---- equal ones ---------------------------------------------------------------------------------------------------

X, Y = np.random.default_rng(0).normal(size=(12, 4)), np.arange(12) % 3


@dataclass
class Made:
    """A step that is ready to be called, and the tensors that it changes."""

    step: Callable[..., Any]
    args: tuple[Any, ...]
    state: list[Any]


def classifier(seed: int, make: Callable[[Any], Any], *more: nn.Module) -> Made:
    tg.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), *more, nn.Linear(8, 3)).double()
    opt = make(model.parameters())

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return Made(step, (X, Y), [*model.parameters(), *model.buffers()])


def loop(seed: int) -> Made:
    tg.manual_seed(seed)
    cell = nn.LSTM(4, 5, batch_first=True).double()
    opt = optim.Adam(cell.parameters())

    def step(x: Any) -> Any:
        opt.zero_grad()
        out, (h, _) = cell(x)
        loss = (out * out).mean() + h.sum()
        loss.backward()
        opt.step()
        return {"loss": loss, "last": h}

    return Made(step, (np.stack([X] * 3),), list(cell.parameters()))


def writing(seed: int) -> Made:
    tg.manual_seed(seed)
    count, total, table = tg.zeros(3), tg.randn(3), nn.Embedding(7, 3)

    def step(y: Any) -> Any:
        count.add_(1)
        total[1:].mul_(0.5)
        return table(y) + tg.rand(3) * total + count

    return Made(step, (Y,), [count, total, *table.parameters()])


WORKS: dict[str, Callable[[int], Made]] = {
    "SGD": lambda seed: classifier(seed, lambda p: optim.SGD(p, lr=0.1 + seed)),
    "momentum": lambda seed: classifier(seed, lambda p: optim.SGD(p, lr=0.1, momentum=0.9)),
    "Adam": lambda seed: classifier(seed, lambda p: optim.Adam(p, lr=0.01 + seed)),
    "dropout": lambda seed: classifier(seed, lambda p: optim.SGD(p, lr=0.1), nn.Dropout(0.5)),
    "BatchNorm": lambda seed: classifier(seed, lambda p: optim.SGD(p, lr=0.1), nn.BatchNorm1d(8)),
    "LSTM": loop,
    "writes": writing,
}


def bits(made: Made, steps: int = 3) -> list[Any]:
    """All that a step leaves, several times."""
    step = tg.jit(made.step)
    found: list[Any] = []
    for _ in range(steps):
        result = step(*made.args)
        parts = result.values() if isinstance(result, dict) else [result]
        gradients = [one.grad for one in made.state if one.grad is not None]
        found += [one.detach().numpy().tobytes() for one in (*parts, *made.state, *gradients)]
    return found


@pytest.mark.parametrize("name", WORKS)
def test_another_instance_is_recognised_and_gives_the_bits_of_a_fresh_compilation(name: str) -> None:
    make = WORKS[name]
    wanted = bits(make(7))
    recall.forget()
    cache_folder = config().cache
    assert cache_folder is not None
    for path in (cache_folder / cache.own_folder()).glob("*.image"):
        path.unlink()
    first, second = make(5), make(7)
    assert not is_known(first.step, *first.args)
    assert is_known(second.step, *second.args)
    assert bits(make(7)) == wanted
    assert bits(make(8)) != wanted
    recall.forget()  # and from the disk
    assert is_known(make(9).step, *make(9).args)
    assert bits(make(7)) == wanted


@pytest.mark.parametrize("make", [small, recurrent, pooled])
def test_another_run_is_recognised_and_gives_the_bits_of_a_fresh_one(make: Callable[[], Work]) -> None:
    def run() -> tuple[Any, ...]:
        work = make()
        if work.scores is None:
            work.scores = lambda: {"size": next(iter(work.model.parameters())).abs().sum()}
        step = tg.jit(work.step)
        history = tg.fit(step, work.data, 3, batch_size=8, seed=3, evaluate=work.scores, progress=False)
        columns = {name: history[name].tobytes() for name in history}
        state = [one.detach().numpy().tobytes() for one in work.model.parameters()]
        return step.runs[0][1].stages.recognised, columns, state

    known, *wanted = run()
    assert not known
    known, *found = run()
    assert known
    assert found == wanted
    recall.forget()
    known, *found = run()
    assert known
    assert found == wanted


def test_a_cell_of_a_notebook_that_is_run_again_is_recognised() -> None:
    cell = """
model = nn.Linear(4, 2)
opt = optim.Adam(model.parameters())

@tg.jit
def step(x):
    opt.zero_grad()
    loss = (model(x) ** 2).mean()
    loss.backward()
    opt.step()
    return loss

step(tg.tensor(X, dtype="float32"))
"""
    names: dict[str, Any] = {"tg": tg, "nn": nn, "optim": optim, "X": X}
    found = []
    for _ in range(3):
        exec(cell, names)
        found.append(names["step"].last.compiled.stages.recognised)
    assert found == [False, True, True]


def test_gradients_hooks_and_results_are_those_of_the_new_one() -> None:
    seen: list[Any] = []
    made = WORKS["SGD"](1)
    tg.jit(made.step)(*made.args)
    other = WORKS["SGD"](2)
    step = tg.jit(other.step)
    step(*other.args)
    assert step.last is not None
    assert step.last.compiled.stages.recognised
    assert all(one.grad is not None for one in other.state)
    before = [one.grad.numpy().copy() for one in made.state]
    step(*other.args)
    assert all((one.grad.numpy() == old).all() for one, old in zip(made.state, before, strict=True))
    other.state[0].register_hook(lambda g: seen.append(g.shape))
    step(*other.args)
    assert seen == [(8, 4)]


# ---- others -------------------------------------------------------------------------------------------------------


def twin() -> tuple[Any, Any]:
    """Two tensors of one shape."""
    return tg.tensor([1.0, 2.0, 3.0]).double(), tg.tensor([5.0, 7.0, 11.0]).double()


def assigned(target: int) -> Callable[[Any], Any]:
    pair = twin()

    def f(x: Any) -> Any:
        total = pair[0] * x + pair[1]
        pair[target].assign(total)
        return total.sum()

    return f


def multiplied(first: int, second: int) -> Callable[[Any], Any]:
    pair = twin()
    return lambda x: pair[first] * x - pair[second]


def leaf(needs: bool) -> Callable[[Any], Any]:
    w = tg.tensor(THREE, requires_grad=needs)
    return lambda x: (w * x).sum()


def frozen(values: list[float]) -> Callable[[Any], Any]:
    array = np.array(values)
    return lambda x: x + array


def dropped(p: float) -> Callable[[Any], Any]:
    return lambda x: F.dropout(x, p, training=True)


def looped(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        return tg.scan(lambda c, a: (function(c, a), c), x, tg.stack([x] * 30))[1]

    return f


THREE = np.array([1.5, -2.0, 0.25])
SQUARE = np.arange(9.0).reshape(3, 3)
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "op": (lambda x: x.exp(), lambda x: x.sin()),
    "operands": (lambda x: x - x.exp(), lambda x: x.exp() - x),
    "attribute": (lambda x: x.cumsum(0), lambda x: x.flip(0).cumsum(0).flip(0)),
    "axis": (lambda x: x.reshape(1, 3).sum(0), lambda x: x.reshape(1, 3).sum(1)),
    "keepdims": (lambda x: x.sum(0), lambda x: x.sum(0, keepdim=True)),
    "number": (lambda x: x * 2.0, lambda x: x * 2.0000000000000004),
    "zero": (lambda x: x * 0.0, lambda x: x * -0.0),
    "kind of number": (lambda x: x**2, lambda x: x**2.5),
    "constant": (frozen([1, 2, 3]), frozen([1, 2, 4])),
    "long constant": (
        lambda x: x.sum() + np.arange(100.0),
        lambda x: x.sum() + np.r_[np.arange(99.0), 98.5],
    ),
    "dtype": (lambda x: x.float(), lambda x: x.double()),
    "one tensor or two": (multiplied(0, 0), multiplied(0, 1)),
    "order of captures": (assigned(0), assigned(1)),
    "requires_grad": (leaf(True), leaf(False)),
    "results": (lambda x: (x, x + 1), lambda x: (x + 1, x)),
    "how often": (lambda x: (x + 1, x + 2), lambda x: (x + 1, x + 1)),
    "probability": (dropped(0.5), dropped(0.25)),
    "step of a loop": (looped(lambda c, a: c * a), looped(lambda c, a: c + a)),
    "constant in a loop": (looped(lambda c, a: c * 0.5 + a), looped(lambda c, a: c * 0.25 + a)),
    "shared value": (lambda x: x.exp() * x.exp(), lambda x: (lambda e: e * e)(x.exp())),
}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("what", PAIRS)
def test_what_differs_in_one_thing_is_not_taken_for_equal(what: str, swapped: bool) -> None:
    x = tg.tensor(THREE)
    first, second = PAIRS[what][:: -1 if swapped else 1]
    assert not is_known(first, x)
    assert not is_known(second, x)
    tg.manual_seed(1)
    wanted = second(x)
    tg.manual_seed(1)
    if not what.startswith("order"):  # the function above has written
        found = tg.jit(second)(x)
        for a, b in zip(leaves(found), leaves(wanted), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)


def test_the_target_of_a_write_is_the_right_one() -> None:
    for target in (0, 1, 0):
        pair = twin()

        def f(x: Any, pair: Any = pair, target: int = target) -> Any:
            total = pair[0] * x + pair[1]
            pair[target].assign(total)
            return total.sum()

        before = [one.numpy().copy() for one in pair]
        tg.jit(f)(tg.tensor(THREE))
        total = before[0] * THREE + before[1]
        np.testing.assert_array_equal(pair[target].numpy(), total)
        np.testing.assert_array_equal(pair[1 - target].numpy(), before[1 - target])


@pytest.mark.parametrize("other", [np.zeros(4), np.zeros((3, 1)), np.zeros(3, np.float32), np.zeros(3, np.int64)])
def test_arguments_of_another_shape_or_dtype_are_another_program(other: Any) -> None:
    function = lambda x: x * 2  # noqa: E731
    assert not is_known(function, tg.tensor(THREE))
    assert not is_known(function, tg.tensor(other))
    assert is_known(function, tg.tensor(THREE + 1))


OPTIONS: dict[str, dict[str, Any]] = {
    "batches": {"batch_size": 6},
    "a short last batch": {"batch_size": 9},
    "one batch": {"batch_size": None},
    "order": {"shuffle": False},
}


@pytest.mark.parametrize("what", OPTIONS)
def test_a_run_with_another_option_is_another_program(what: str) -> None:
    work, same, other = small(), small(), small()
    training(work)
    assert training(same).stages.recognised
    assert not training(other, **OPTIONS[what]).stages.recognised


def test_a_run_with_other_data_or_another_evaluation_is_another_program() -> None:
    assert not training(small()).stages.recognised
    longer, scored = small(), small()
    longer.data = tuple(np.concatenate([column, column]) for column in longer.data)
    assert not training(longer).stages.recognised
    scored.scores = lambda: {"size": scored.model[0].weight.abs().sum()}  # type: ignore[index]
    assert not training(scored).stages.recognised
    other = small()
    other.scores = lambda: {"size": other.model[0].weight.sum()}  # type: ignore[index]
    assert not training(other).stages.recognised
    again = small()
    again.scores = lambda: {"sum of weights": again.model[0].weight.sum()}  # type: ignore[index]
    run = training(again)
    assert run.stages.recognised
    assert run.score_names == ("sum of weights",)


def test_tensors_that_step_and_evaluation_share_are_not_taken_for_two() -> None:
    def run(shared: bool) -> tuple[bool, float]:
        weight, other = tg.tensor([2.0]), tg.tensor([2.0])
        scored = weight if shared else other

        @tg.jit
        def step(x: Any) -> Any:
            weight.assign(weight + x.mean())
            return weight.sum()

        history = tg.fit(step, ([[1.0], [3.0]],), 1, evaluate=lambda: {"s": scored.sum()}, progress=False)
        return step.runs[0][1].stages.recognised, history["s"][-1]

    assert run(True) == (False, 4.0)
    assert run(False) == (False, 2.0)
    assert run(True) == (True, 4.0)
    assert run(False) == (True, 2.0)


def test_what_is_foreign_is_not_described() -> None:
    graph = entry(lambda x: x.exp().sum(0), tg.tensor(THREE)).traced.graph
    assert described(Job((Part(graph),))) is not None
    for what in ("op", "attribute"):
        new: dict[Any, Any] = {}
        for node in graph.nodes:
            op = replace(TABLE["exp"]) if what == "op" and node.op.name == "exp" else node.op
            attrs = {**node.attrs, "more": object()} if what == "attribute" and node.op.name == "sum" else node.attrs
            operands = tuple(new[x] for x in node.inputs)
            new[node] = type(node)(op, operands, attrs, node.shape, node.dtype, node.value)
        other = type(graph).of([new[x] for x in graph.outputs], [new[x] for x in graph.inputs])
        assert described(Job((Part(other),))) is None


def test_every_op_of_the_table_is_described_with_its_attributes() -> None:
    seen = set()
    for op in TABLE.values():
        for case in op.domain:
            for attrs in (case.attrs, dict.fromkeys(case.attrs)):
                nodes = tuple(Node(INPUT, (), {}, (2,), np.dtype("float64"), None) for _ in case.args)
                node = Node(op, nodes, attrs, (2,), np.dtype("float64"), None)
                words = described(Job((Part(Graph.of([node], nodes)),)))
                assert words is not None, (op, attrs)
                seen.add((op.name, words))
    assert len(seen) > len(TABLE)


def test_epochs_and_numbers_of_results_are_described() -> None:
    graph = entry(lambda x: x.exp(), tg.tensor(THREE)).traced.graph
    part = Part(graph, None, (0, 1.0))
    jobs = [
        Job((part,)),
        Job((part,), 1),
        Job((replace(part, results=(0, 2.0)),)),
        Job((replace(part, results=(0, -0.0)),)),
    ]
    jobs += [Job((replace(part, results=(0, 0.0)),)), Job((part, part))]
    sets = (((3,), np.dtype("float64")),)
    jobs += [
        Job((part,), 0, Epochs((sets,), *flags))
        for flags in ((True, False, False), (False, True, False), (False, False, True))
    ]
    assert len({described(job) for job in jobs}) == len(jobs)


# ---- whose errors, whose graphs -----------------------------------------------------------------------------------


def test_errors_name_the_new_data_and_the_function_that_was_called() -> None:
    def looking(function: Callable[..., Any]) -> Callable[..., Any]:
        table = tg.tensor(np.eye(3))
        return tg.jit(lambda y: function(table, y))

    first = looking(lambda table, y: F.cross_entropy(table, y))
    first(np.array([0, 1, 2]))
    second = looking(lambda table, y: F.cross_entropy(table, y))
    with pytest.raises(IndexOutOfRange, match=r"\[cross_entropy\] got .* 9 in row 1"):
        second(np.array([0, 9, 2]))
    other = looking(lambda table, y: F.nll_loss(table, y))
    with pytest.raises(IndexOutOfRange, match=r"\[nll_loss\] got .* 9 in row 2"):
        other(np.array([0, 1, 9]))


def test_what_is_shown_is_that_of_the_new_one_and_as_that_of_a_fresh_one(capsys: pytest.CaptureFixture[str]) -> None:
    def make() -> Any:
        model = nn.Linear(4, 3).double()
        return tg.jit(lambda x: model(x).relu().sum())

    fresh, known = make(), make()
    texts = [(str(f.graph(X)), str(f.program(X)), f.llvm(X), f.asm(X)) for f in (fresh, known)]
    assert texts[0] == texts[1]
    stages = known.entry((X,), {}).compiled.stages
    assert stages.recognised
    assert stages.graph.inputs[1] is known.entry((X,), {}).traced.captures[0].node
    assert list(stages.made) == list(fresh.entry((X,), {}).compiled.stages.made)
    before = known(X).item()
    rows = [tg.explain(f, X).rows for f in (fresh, known)]
    assert [row.name for row in rows[0]] == [row.name for row in rows[1]]
    assert known(X).item() == before
    assert "(cached)" in repr(known)


def test_a_run_that_was_recognised_has_its_stages_when_somebody_looks() -> None:
    first, second = training(small()), training(small())
    assert second.stages.recognised
    assert second.stages.llvm == first.stages.llvm
    assert [id(handle) for handle, *_ in second.stages.training.state] == [id(one.handle) for one in second.state]


def test_flags_that_look_at_stages_pass_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    function = lambda x: x.exp() * 3  # noqa: E731
    assert not is_known(function, X)
    for flags, recognised, words in (
        ({}, True, ""),
        ({"TGNN_DEBUG": "1"}, True, "compiled before: "),
        ({"TGNN_DEBUG": "2"}, False, "-- graph"),
        ({"TGNN_VERIFY": "1"}, False, ""),
    ):
        with monkeypatch.context() as patch:
            for name, value in flags.items():
                patch.setenv(name, value)
            config.cache_clear()
            capsys.readouterr()
            assert is_known(function, X) is recognised
            assert words in capsys.readouterr().err
        config.cache_clear()


def test_with_verify_another_program_for_the_same_description_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGNN_VERIFY", "1")
    config.cache_clear()
    function = lambda x: x.exp() * 3  # noqa: E731
    entry(function, X)
    entry(function, X)
    images = driver.image_of
    with pytest.MonkeyPatch.context() as patch:  # which forgets nothing
        patch.setattr(driver, "image_of", lambda *parts: replace(images(*parts), size=4096))
        with pytest.raises(GraphError, match="two programs for one description"):
            entry(function, X)


# ---- what is kept -------------------------------------------------------------------------------------------------


def test_nothing_of_the_first_one_is_kept() -> None:
    made = WORKS["Adam"](1)
    step = tg.jit(made.step)
    step(*made.args)
    gone = [weakref.ref(one) for one in (*made.state, made.step, step)]
    del made, step
    gc.collect()
    assert [one() for one in gone] == [None] * len(gone)
    assert is_known(WORKS["Adam"](2).step, X, Y)


def test_a_constant_is_kept_as_it_was() -> None:
    array = np.arange(100.0)
    first = tg.jit(lambda x: x.sum() + array)
    wanted = first(X).numpy()
    old = array.copy()
    array[...] = -1
    assert not is_known(lambda x: x.sum() + array, X)
    second = tg.jit(lambda x: x.sum() + old)
    np.testing.assert_array_equal(second(X).numpy(), wanted)
    assert second.last is not None
    assert second.last.compiled.stages.recognised


def test_the_number_that_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "KEPT", 3)
    monkeypatch.setenv("TGNN_CACHE", "off")
    config.cache_clear()
    for n in range(1, 6):
        assert not is_known(lambda x: x.exp(), np.zeros(n))
        assert is_known(lambda x: x.exp(), np.zeros(1)) is (n <= 5)
    assert not is_known(lambda x: x.exp(), np.zeros(2))
    assert len(recall._known) == 3


def test_the_memory_that_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGNN_CACHE", "off")
    config.cache_clear()
    entry(lambda x: x.exp(), np.zeros(1))
    (known,) = recall._known.values()
    monkeypatch.setattr(recall, "ROOM", 9 * known.size)
    for n in range(2, 30):
        entry(lambda x: x.exp(), np.zeros(n))
        assert sum(one.size for one in recall._known.values()) <= recall.ROOM
    assert len(recall._known) > 3
    large = np.arange(1.0 * recall.ROOM)
    assert not is_known(lambda x: x.sum() + large, X)
    assert not is_known(lambda x: x.sum() + large, X)


def test_threads_compile_one_architecture_at_once() -> None:
    wanted = bits(WORKS["Adam"](3))
    recall.forget()
    made = [WORKS["Adam"](3) for _ in range(6)]
    found: list[Any] = []
    threads = [threading.Thread(target=lambda one=one: found.append(bits(one))) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * len(made)


def test_two_functions_of_one_program_run_at_once() -> None:
    """Code is shared, memory is not."""
    functions = [WORKS["SGD"](3) for _ in range(2)]
    wanted = [bits(WORKS["SGD"](3), 200)] * 2
    found: list[Any] = [None, None]

    def run(k: int) -> None:
        found[k] = bits(functions[k], 200)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted


# ---- on disk ------------------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys
import numpy as np
import tinygrad_nn as tg
from tests.compiler.test_ragged import pooled, recurrent
from tests.compiler.test_recall import WORKS, bits, training
from tests.compiler.works import small
from tinygrad_nn.compiler.image import written

found = {}
for name, make in WORKS.items():
    made = make(7)
    stages = tg.jit(made.step).entry(made.args, {}).compiled.stages
    found[name] = [stages.recognised, written(stages.image), [one.hex() for one in bits(made)]]
for work in (small, recurrent, pooled):
    stages = training(work()).stages
    found[work.__name__] = [stages.recognised, written(stages.image), stages.llvm]
print(json.dumps(found))
"""


def other_process(seed: str, **flags: str) -> Any:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), **flags}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_new_process_recognises_what_another_one_compiled() -> None:
    """Whatever the hashes of strings and the addresses of objects: one description, one program, one image."""
    first, second, fresh = other_process("1"), other_process("2"), other_process("3", TGNN_CACHE="off")
    assert not any(known for known, *_ in (*first.values(), *fresh.values()))
    assert all(known for known, *_ in second.values())
    assert [rest for _, *rest in first.values()] == [rest for _, *rest in second.values()]
    assert [rest for _, *rest in first.values()] == [rest for _, *rest in fresh.values()]


def entries(folder: Path, kind: str = "image") -> list[Path]:
    return sorted((folder / cache.own_folder()).glob(f"*.{kind}"))


def multiply(x: Any) -> Any:
    return x * 3 + 1


@pytest.mark.parametrize("damage", ["empty", "short", "a bit", "unsigned", "link", "open", "another's"])
def test_an_entry_that_is_not_ours_is_made_again(damage: str, folder: Path) -> None:
    entry(multiply, X)
    entry(lambda x: x.exp(), X)
    recall.forget()
    entry(multiply, X)
    for path in entries(folder):
        content = path.read_bytes()
        if damage == "empty":
            path.write_bytes(b"")
        elif damage == "short":
            path.write_bytes(content[:-1])
        elif damage == "a bit":
            path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
        elif damage == "unsigned":
            path.write_bytes(bytes(32) + content[32:])
        elif damage == "link":
            path.symlink_to(path.rename(path.with_suffix(".moved")))
        elif damage == "open":
            path.chmod(0o622)
    if damage == "another's":
        first, second = entries(folder)
        first.rename(first.with_suffix(".moved"))
        second.rename(first)
        first.with_suffix(".moved").rename(second)
    recall.forget()
    assert not is_known(multiply, X)
    np.testing.assert_array_equal(tg.jit(multiply)(X).numpy(), X * 3 + 1)


SPOILT = [
    b"",
    b"\n",
    b"{key}",
    b"{key}\n",
    b"{key}\n[]",
    b"{key}\n{}",
    b"{key}\n\xff\xfe",
    b'{key}\n{"Image":[]}',
    b'{key}\n{"Image":1,"Run":2}',
    b'{key}\n{"eval":["1+1"]}',
    b'{key}\n{"array":["object",[1],""]}',
    b'{key}\n{"array":["float64",[3],"AA"]}',
    b"{key}\n" + b"[" * 100_000,
    b"none\n{image}",
]


@pytest.mark.parametrize("content", SPOILT)
def test_an_entry_that_is_ours_and_means_nothing_is_made_again(content: bytes, folder: Path) -> None:
    """What another version of the package may have left under this name, though it should not."""
    entry(multiply, X)
    (path,) = entries(folder)
    first, _, image = path.read_bytes()[cache.SIGNATURE :].partition(b"\n")
    cache.save(path.stem, content.replace(b"{key}", first).replace(b"{image}", image), "image")
    recall.forget()
    assert not is_known(multiply, X)
    assert is_known(multiply, X)
    recall.forget()
    assert is_known(multiply, X)  # it has been mended


def test_without_its_object_code_an_entry_is_nothing(folder: Path) -> None:
    entry(multiply, X)
    for path in entries(folder, "o"):
        path.unlink()
    recall.forget()
    assert not is_known(multiply, X)


def test_object_code_under_the_name_of_an_image_is_refused(folder: Path) -> None:
    """Each kind is signed for itself."""
    entry(multiply, X)
    (image,), (code,) = entries(folder), entries(folder, "o")
    assert cache.load(code.stem) is not None
    code.rename(code.with_suffix(".image"))
    assert cache.load(code.stem, "image") is None
    assert cache.load(image.stem, "image") is not None


@pytest.mark.parametrize("change", ["content", "time", "another file", "numpy"])
def test_another_state_of_the_package_is_another_name(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    source = package / "inner" / "file.py"
    source.write_text("x = 1\n")
    os.utime(source, (1000, 1000))
    monkeypatch.setattr(recall, "_PACKAGE", package)

    def name() -> str | None:
        recall._state.cache_clear()
        return recall.entry_of("key")

    before = name()
    assert before == name()
    if change == "content":
        source.write_text("x = 10\n")
        os.utime(source, (1000, 1000))
    elif change == "time":
        os.utime(source, (1000, 1001))
    elif change == "another file":
        (package / "more.py").write_text("")
        os.utime(package / "more.py", (1000, 1000))
    else:
        monkeypatch.setattr(np, "__version__", "0.0")
    after = name()
    monkeypatch.undo()
    recall._state.cache_clear()
    assert None not in (before, after)
    assert after != before


def test_while_the_package_is_changed_nothing_is_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded is not what lies there, and nobody knows which of them an entry would be of."""
    package = tmp_path / "package"
    monkeypatch.setattr(recall, "_PACKAGE", package)
    for change in (
        lambda: None,
        lambda: package.write_bytes(b"an archive"),
        lambda: (package.unlink(), package.mkdir()),
        lambda: (package / "file.py").write_text("x = 1\n"),
    ):
        change()
        recall._state.cache_clear()
        assert recall._state() is None
        assert recall.entry_of("key") is None
    monkeypatch.undo()
    recall._state.cache_clear()


def test_an_image_is_read_as_it_was_written() -> None:
    runs = [training(make()).stages for make in (small, recurrent, pooled)]
    for stages in [*runs, entry(lambda x: (x.cumsum(0), x @ x.T + np.arange(12.0), x.exp()), X).compiled.stages]:
        text = written(stages.image)
        assert written(read(text)) == text
    image = training(classifier_run()).stages.image
    for one in (image, read(written(image))):
        assert next([repr(n) for n in at.shape] for _, at in one.faults if at is not None) == ["8|6"]


def test_the_address_of_a_blas_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(blas, "FROM", 1)
    x = np.random.default_rng(0).normal(size=(16, 16))
    function = lambda x: x @ x  # noqa: E731
    assert not is_known(function, x)
    (path,) = entries(folder)
    assert str(blas.gemm_address(np.dtype("float64"))).encode() not in path.read_bytes()
    recall.forget()
    found = tg.jit(function)
    np.testing.assert_allclose(found(x).numpy(), x @ x)
    assert found.last is not None
    assert found.last.compiled.stages.recognised


def test_without_the_blas_that_it_needs_a_program_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(16, 16))
    function = lambda x: x @ x  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(blas, "FROM", 1)
        assert not is_known(function, x)
    recall.forget()

    def gone(dtype: Any) -> int:
        raise tg.errors.MissingExtra("no scipy", name="scipy")

    monkeypatch.setattr(recall, "gemm_address", gone)
    assert not is_known(function, x)
    np.testing.assert_allclose(tg.jit(function)(x).numpy(), x @ x)
