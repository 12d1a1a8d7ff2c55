"""The one list of stages: who goes through it, what a broken value meets, and what an error says."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.compiler.works import small
from tinygrad_nn.compiler import driver
from tinygrad_nn.compiler.driver import STAGES, Compilation, Stage, build
from tinygrad_nn.compiler.job import Epochs, Job, Part
from tinygrad_nn.compiler.loopir.ir import Buffer
from tinygrad_nn.compiler.lower.fusion import Plan
from tinygrad_nn.compiler.passes import algebra
from tinygrad_nn.config import config
from tinygrad_nn.errors import GraphError, TinygradError, TraceError
from tinygrad_nn.graph.graph import Graph, Op
from tinygrad_nn.ops import TABLE

NAMES = [stage.name for stage in STAGES]
X = np.linspace(0.5, 2.0, 6)


def traced(function: Callable[..., Any] = lambda x: x.exp().sum() * 2.5) -> Job:
    """The job of a call."""
    job: Job = tg.jit(function).entry((tg.tensor(X),), {}).compiled.stages.made["merge"]
    return job


def run() -> Compilation:
    """The stages of a run with a short last batch, an evaluation and a permutation."""
    work = small()
    step = tg.jit(work.step)
    scores = lambda: {"size": work.model[0].weight.abs().sum()}  # noqa: E731
    tg.fit(step, work.data, 1, batch_size=8, evaluate=scores, progress=False)
    stages: Compilation = step.runs[0][1].stages
    return stages


def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stages that are passed from now on."""
    seen: list[str] = []

    def noted(stage: Stage) -> Stage:
        def make(value: Any, context: Any) -> Any:
            seen.append(stage.name)
            return stage.make(value, context)

        return replace(stage, make=make)

    monkeypatch.setattr(driver, "STAGES", tuple(map(noted, STAGES)))
    return seen


def test_a_call_a_run_and_an_explanation_pass_the_same_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = logged(monkeypatch)
    function = tg.jit(lambda x: x.exp().sum())
    function(tg.ones(3))
    assert seen == NAMES
    seen.clear()
    made = run()
    assert seen == NAMES
    assert len(made.job.parts) == 3
    assert made.job.parts[0].batches is not None
    assert (made.job.parts[0].batches.short, made.job.parts[0].batches.rounds) == (6, 3)
    seen.clear()
    tg.explain(function, tg.ones(3))
    assert seen[: len(NAMES)] == NAMES  # to know the lines that kernels come from
    last = NAMES[NAMES.index("schedule") + 1 :]
    assert seen[-len(last) :] == last  # its kernels, and a loop that has the machine's peak, one by one
    assert set(seen[len(NAMES) :]) == set(last)


def test_what_is_large_is_kept_only_if_it_is_what_was_asked_for() -> None:
    assert "expand" not in build(traced()).made
    assert list(build(traced(), last="expand").made) == NAMES[: NAMES.index("expand") + 1]


def test_every_stage_is_timed() -> None:
    made = run()
    assert list(made.seconds) == NAMES
    assert list(made.made) == [stage.name for stage in STAGES if stage.kept]
    times = made.timings
    assert times.lower + times.generate + times.machine == pytest.approx(sum(made.seconds.values()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", [TraceError, KeyError, GraphError])
def test_an_error_names_its_stage_and_stays_what_it_is(
    name: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(value: Any, context: Any) -> Any:
        raise error("what went wrong")

    at = NAMES.index(name)
    monkeypatch.setattr(driver, "STAGES", (*STAGES[:at], replace(STAGES[at], make=broken), *STAGES[at + 1 :]))
    with pytest.raises(error, match="what went wrong") as caught:
        tg.jit(lambda x: x.exp())(tg.ones(3))
    assert caught.value.__notes__ == [f"in the stage {name}"]


def test_an_error_in_a_pass_names_it_and_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    def slip(graph: Graph) -> Graph:
        raise ZeroDivisionError

    monkeypatch.setattr(driver, "rewrite", lambda graph: algebra.rewrite(graph, (algebra.PASSES[0], slip)))
    with pytest.raises(ZeroDivisionError) as caught:
        tg.jit(lambda x: x.exp())(tg.ones(3))
    assert caught.value.__notes__ == ["in the pass slip", "in the stage rewrite"]


def test_an_op_without_a_compiled_form_is_an_error_of_the_user() -> None:
    shy = replace(TABLE["exp"], name="shy", emit=None)
    with pytest.raises(TraceError, match=r"\[compile\] got the op shy") as caught:
        build(Job((Part(other_op(traced().parts[0].graph, "exp", shy)),)))
    assert caught.value.__notes__ == ["in the stage plan"]


def other_op(graph: Graph, name: str, op: Op) -> Graph:
    """The graph with another op in the place of one."""
    new: dict[Any, Any] = {}
    for node in graph.nodes:
        changed = type(node)(op, node.inputs, node.attrs, node.shape, node.dtype, None)
        new[node] = changed if node.op.name == name else node
        if node.inputs and node.op.name != name:
            operands = tuple(new[x] for x in node.inputs)
            new[node] = type(node)(node.op, operands, node.attrs, node.shape, node.dtype, None)
    return Graph.of([new[node] for node in graph.outputs], graph.inputs)


def without_an_output(planned: Any) -> Any:
    first, *rest = planned.plans
    output = planned.job.parts[0].graph.outputs[0]
    stored = {node: why for node, why in first.stored.items() if node is not output}
    return replace(planned, plans=(Plan(stored, first.row_major), *rest))


def with_a_stranger(planned: Any) -> Any:
    first, *rest = planned.plans
    return replace(planned, plans=(Plan({**first.stored, tg.ones(3).node: "input"}, first.row_major), *rest))


def one_place_for_two(planned: Any) -> Any:
    first, second = [b for b in planned.program.buffers if b.role != "temporary"][:2]
    return replace(planned, offsets={**planned.offsets, second: planned.offsets[first]})


def moved(by: int) -> Callable[[Any], Any]:
    def broken(planned: Any) -> Any:
        last = max(planned.program.buffers, key=planned.offsets.__getitem__)
        return replace(planned, offsets={**planned.offsets, last: planned.offsets[last] + by})

    return broken


def without_buffers(value: Any) -> Any:
    program = getattr(value, "program", value)
    empty = replace(program, buffers=())
    return empty if program is value else replace(value, program=empty)


def without_its_first_step(code: Any) -> Any:
    first, *others = code.body
    return replace(code, body=(replace(first, body=first.body[1:]), *others))


def other_control(value: Any) -> Any:
    return replace(value, control=replace(value.control, history=Buffer("history", (1, 1), X.dtype, "input")))


BROKEN: list[tuple[str, Callable[[Any], Any], str, bool]] = [
    ("merge", lambda job: replace(job, parts=(*job.parts, *job.parts)), "the steps first", False),
    ("rewrite", lambda job: replace(job, parts=job.parts[:1]), "1 parts, 1 of them steps; expected 3", True),
    ("rewrite", lambda job: replace(job, parts=job.parts[::-1]), "the steps first", True),
    ("merge", lambda job: replace(job, epochs=Epochs((), False, False, False)), "0 of them steps", False),
    ("plan", without_an_output, "a plan", False),
    ("plan", with_a_stranger, "a plan with the strangers", True),
    ("lower", lambda value: replace(value, programs=(without_buffers(value.programs[0]),)), "does not have", False),
    ("assemble", without_buffers, "does not have", True),
    ("assemble", other_control, "history, no inputs of the program", True),
    ("lanes", without_buffers, "does not have", True),
    ("legalize", without_buffers, "does not have", False),
    ("rows", without_buffers, "does not have", False),
    ("schedule", one_place_for_two, "bytes are in use", True),
    ("schedule", moved(64), "bytes are in use", True),
    ("schedule", moved(8), "bytes are in use", True),
    ("expand", without_its_first_step, "not known here", False),
    ("print", lambda text: text.replace("ret i32 0", "ret i64 0"), "IR that LLVM refuses", False),
    ("emit", lambda made: replace(made, code=b"nonsense"), "object code that begins with b'nons'", False),
    ("load", lambda code: replace(code, address=0), "no function", False),
]


@pytest.mark.parametrize(("name", "spoil", "said", "in_run"), BROKEN)
def test_what_a_stage_makes_wrong_is_found_after_it(
    name: str, spoil: Callable[[Any], Any], said: str, in_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config().verify
    at = NAMES.index(name)
    stage = replace(STAGES[at], make=lambda value, context: spoil(STAGES[at].make(value, context)))
    monkeypatch.setattr(driver, "STAGES", (*STAGES[:at], stage, *STAGES[at + 1 :]))
    with pytest.raises(TinygradError, match=said) as caught:
        run() if in_run else tg.jit(lambda x: x.exp().sum())(tg.ones(3))
    assert caught.value.__notes__[-1] == f"in the stage {name}"


def test_the_page_lists_the_stages_and_files_that_exist() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = text.partition("| stage | file | what it makes |\n")[2].splitlines()[1:]
    rows = [line.split("|")[1:3] for line in itertools.takewhile(lambda line: line.startswith("|"), lines)]
    assert [name.strip() for name, _ in rows] == ["(trace)", *NAMES]
    for _, files in rows:
        assert all((root / "tinygrad_nn" / "compiler" / path).exists() for path in files.split("`")[1::2])


def test_no_stage_is_without_a_check() -> None:
    assert {name for name, *_ in BROKEN} == set(NAMES)


def test_a_number_that_depends_on_the_size_of_the_batch() -> None:
    """Two graphs that are one, but for a number that Python knows: the last batch is a step of its own."""

    def history(compiled: bool) -> Any:
        work = small()

        def step(x: tg.Tensor, y: tg.Tensor) -> dict[str, Any]:
            return {"loss": work.step(x, y), "rows": x.shape[0]}

        function = tg.jit(step) if compiled else step
        return tg.fit(function, work.data, 2, batch_size=8, shuffle=False, progress=False)

    native, eager = history(True), history(False)
    np.testing.assert_allclose(native["rows"], eager["rows"])
    np.testing.assert_allclose(native["loss"], eager["loss"])
    assert native["rows"][0] == pytest.approx((8 * 8 + 8 * 8 + 6 * 6) / 22)


@pytest.mark.parametrize(
    ("debug", "heads"),
    [
        (1, ["compiled: ", "milliseconds: "]),
        (2, ["-- graph", "compiled: ", "milliseconds: "]),
        (
            5,
            [
                *("-- graph", "-- why a node has a buffer", "-- rows", "-- loops", "-- steps"),
                *("compiled: ", "-- LLVM", "milliseconds: "),
            ],
        ),
    ],
)
def test_what_is_printed(debug: int, heads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    job = traced()
    flags = replace(config(), debug=debug)
    monkeypatch.setattr(driver, "config", lambda: flags)
    monkeypatch.setattr(driver, "say", said.append)
    build(job)
    assert [next(head for head in heads if text.startswith(head)) for text in said] == heads
    assert "kernels" in said[heads.index("compiled: ")]
    assert all(name in said[-1] for name in NAMES)
