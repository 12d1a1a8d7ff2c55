"""How near two executors of one graph must be, element by element, from what the ops of the graph may differ in.

Each op says how far its result may be off (`Op.error`): not at all, a few ULP, or n u sum|terms| of a sum, whose order
is free. How far that carries through the rest of the graph is measured: the graph is run several times with
such errors put in at random. Where no run differs from the undisturbed one, the same bits are demanded; where a run
differs in kind (NaN, a whole number, a great part of the value) the element is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from ..compiler import interp
from ..compiler.driver import build
from ..compiler.expand.expand import expand
from ..compiler.expand.verify import verify
from ..compiler.job import Job, Part
from ..compiler.loopir.program import Program
from ..compiler.passes.unrolling import unroll
from ..compiler.run.runtime import Compiled
from ..compiler.schedule.schedule import schedule
from ..compiler.simulate import simulate
from ..compiler.target import Target
from ..errors import DivisionByZero, IndexOutOfRange
from ..executor import eval_node, run
from ..graph.graph import Array, Graph, Node
from ..ops.contract import inner_length
from ..ops.elementwise import ADD
from ..ops.rules import roundoff

Executor = Callable[[Sequence[Any]], tuple[list[Array], list[Array]]]
WIDTHS: Final = (1, 2, 4, 8, 16)  # lanes of the vectors that expanded code is checked with
ANYWHERE: Final = Target("", "", "", 8 * max(WIDTHS), True)  # no machine's code is made
SAMPLES: Final = 8  # runs with errors
EVERY: Final = 10**6  # nodes of a loop that is written out
REFUSED: Final = (IndexOutOfRange, DivisionByZero)  # what an executor may find wrong in the data
FACTOR: Final = 3.0  # between the largest deviation of these and what is allowed
LOOSE: Final = 1e-3  # an element allowed more than this part of its value says nothing

SNAPPED: Final = 0.5  # in samples with this part, elementary results beside a whole number are it
_SIGNS: Final = (0.0, 1.0, SNAPPED)  # the part of open zeros that is negative, sample by sample


@dataclass(frozen=True, slots=True)
class Expected:
    """What a result must be: its value, how far off it may be, and where nothing can be said."""

    value: Array
    allowed: Array
    undecided: Array
    open_zero: Array


@dataclass(frozen=True, slots=True)
class Verdict:
    """Number of elements that are wrong, with the first of them, and that are undecided."""

    bad: int
    undecided: int
    total: int
    first: str = ""


def expected(graph: Graph, values: Sequence[Any], seed: int = 0) -> list[Expected]:
    """What outputs and updates of a graph must be for an executor to agree with NumPy's."""
    outputs, updates = run(graph, values)
    rng = np.random.default_rng(seed)
    written = unroll(graph, EVERY, EVERY)  # so that errors are put in at every step of a loop
    samples = [noisy(written, values, rng, _SIGNS[k % 3]) for k in range(SAMPLES)]
    return [
        _expected(np.asarray(value), [np.asarray(sample[k]) for sample in samples])
        for k, value in enumerate([*outputs, *updates])
    ]


def _expected(value: Array, samples: list[Array]) -> Expected:
    undecided = np.zeros(value.shape, np.bool_)
    open_zero = np.zeros(value.shape, np.bool_)
    allowed = np.zeros(value.shape, np.float64)
    with np.errstate(all="ignore"):
        for sample in samples:
            if value.dtype.kind != "f":
                undecided |= sample != value
                continue
            finite = np.isfinite(value) & np.isfinite(sample)
            undecided |= ~finite & ~((value == sample) | (np.isnan(value) & np.isnan(sample)))
            open_zero |= (value == 0) & (sample == 0) & (np.signbit(value) != np.signbit(sample))
            distance = np.abs(value.astype(np.float64) - sample.astype(np.float64))
            allowed = np.maximum(allowed, np.where(finite, distance, 0) * FACTOR)
        if value.dtype.kind != "f" and 2 * sum(bool((sample != value).any()) for sample in samples) >= len(samples):
            undecided[...] = True  # which of many such results an executor meets, a few samples do not tell
        if value.dtype.kind == "f":
            scale = np.max(np.abs(value), initial=0.0, where=np.isfinite(value))
            undecided |= allowed > LOOSE * float(scale)
    return Expected(value, allowed, undecided, open_zero)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is wrong with a graph, in words; the number of results and of elements compared, and of undecided ones."""

    problems: tuple[str, ...]
    total: int = 0
    undecided: int = 0


def check(graph: Graph, values: Sequence[Any], interpreted: bool = True, native: bool = True) -> Outcome:
    """Run a graph with NumPy, as machine code (twice: a run may leave nothing behind), and `interpreted`: in the
    interpreter, and as expanded code for vectors of each of `WIDTHS`. Where it is not `native`, LLVM has no part in it.
    """
    try:
        executors = _executors(graph, interpreted, native)
    except DivisionByZero:  # by a 0 that stands in the code
        return Outcome(()) if _refusal(graph, values) else Outcome(("compilation: an error where there is none",))
    error = _refusal(graph, values)
    if error is not None:
        return Outcome(tuple(_fails_alike(executors, values, error)))
    try:
        wanted = expected(graph, values)
    except REFUSED:  # of errors as small as an executor may make
        return Outcome(())
    found = {who: _joined(call(values)) for who, call in executors.items()}
    first, reference = next(iter(found.items()))
    problems: list[str] = []
    undecided = sum(int(one.undecided.sum()) for one in wanted)
    for who, results in found.items():
        for k, (result, one) in enumerate(zip(results, wanted, strict=True)):
            verdict = compare(result, one)
            if verdict.bad:
                problems.append(f"{who}: result {k}: {verdict.bad} of {verdict.total} wrong: {verdict.first}")
    free = any(
        node.op.error is not None and node.dtype.kind == "f" and node.op.kind != "elementwise"
        for node in unroll(graph, EVERY, EVERY).nodes
    )
    if not free:  # nothing is summed: whatever else the expressions do, all executors do the same
        for who, results in found.items():
            for k, (result, other) in enumerate(zip(results, reference, strict=True)):
                if not same_bits(result, other):
                    problems.append(f"{who}: result {k} has other bits than {first}")
    return Outcome(tuple(problems), sum(one.value.size for one in wanted), undecided)


def _executors(graph: Graph, interpreted: bool, native: bool) -> dict[str, Executor]:
    """By name, what runs a graph."""
    found: dict[str, Executor] = {}
    if native:
        compiled = Compiled(graph)
        program = compiled.stages.program
        found |= {"machine code": compiled.run, "machine code, second run": compiled.run}
    else:
        program = build(Job((Part(graph),)), ANYWHERE, last="rows").program
    if interpreted:
        found["interpreter"] = partial(interp.run, program)
        found |= {f"{lanes} lanes": partial(in_lanes, program, lanes) for lanes in WIDTHS}
    return found


def in_lanes(program: Program, lanes: int, values: Sequence[Any]) -> tuple[list[Array], list[Array]]:
    """Run a program as expanded code for vectors of so many lanes."""
    return simulate(verify(expand(schedule(program, 8 * lanes), lanes)), values)


def _refusal(graph: Graph, values: Sequence[Any]) -> Exception | None:
    """What NumPy's executor finds wrong."""
    try:
        run(graph, values)
    except REFUSED as error:
        return error
    return None


def _fails_alike(executors: Mapping[str, Executor], values: Sequence[Any], error: Exception) -> list[str]:
    """Each executor must refuse what NumPy's refused."""
    problems = []
    for who, call in executors.items():
        try:
            call(values)
        except type(error):
            continue
        problems.append(f"{who}: no error where there is one: {error}")
    return problems


def _joined(results: tuple[list[Array], list[Array]]) -> list[Array]:
    return [*results[0], *results[1]]


def same_bits(x: Array, y: Array) -> bool:
    """Whether two arrays are the same, signs of zeros included; NaN is NaN."""
    if x.dtype.kind != "f":
        return bool(np.array_equal(x, y))
    return bool(np.array_equal(x, y, equal_nan=True) and np.array_equal(np.signbit(x[x == 0]), np.signbit(y[y == 0])))


def compare(found: Array, wanted: Expected) -> Verdict:
    """Hold a result against what it must be."""
    value = wanted.value
    if (found.shape, found.dtype) != (value.shape, value.dtype):
        got = f"{found.shape}:{found.dtype} in place of {value.shape}:{value.dtype}"
        return Verdict(max(1, value.size), 0, value.size, got)
    with np.errstate(all="ignore"):
        if value.dtype.kind == "f":
            near = np.abs(found.astype(np.float64) - value.astype(np.float64)) <= wanted.allowed
            signs = (np.signbit(found) == np.signbit(value)) | (value != 0) | (found != 0) | wanted.open_zero
            good = (((found == value) | near) & signs) | (np.isnan(found) & np.isnan(value))
        else:
            good = found == value
    bad = ~good & ~wanted.undecided
    first = ""
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        first = f"{found[place]!r} in place of {value[place]!r} at {list(place)}, allowed {wanted.allowed[place]:.2g}"
    return Verdict(int(bad.sum()), int(wanted.undecided.sum()), value.size, first)


def noisy(graph: Graph, values: Sequence[Any], rng: np.random.Generator, minus: float) -> list[Array]:
    """Outputs and updates with each op's result off by what its class allows; that part of open zeros is negative."""
    env: dict[Node, Any] = dict(zip(graph.inputs, map(np.asarray, values), strict=True))
    uncertain: set[Node] = set()
    for node in graph.nodes:
        if node in env:
            continue
        if node.op.kind == "source":
            env[node] = node.value
            continue
        operands = [env[x] for x in node.inputs]
        value = np.asarray(eval_node(node, operands))
        if value.dtype.kind == "f" and value.size:
            with np.errstate(all="ignore"):
                value = disturbed(node, value, operands, rng, minus)
                moves = not uncertain.isdisjoint(node.inputs) and minus != SNAPPED
                if moves and node.op.kind in ("elementwise", "control"):
                    value = rounded_anew(node, value, operands, rng)
        if _error(node) is not None or not uncertain.isdisjoint(node.inputs):
            uncertain.add(node)
        env[node] = value
    return [*(env[node] for node in graph.outputs), *(env[new] for _, new in graph.updates)]


def disturbed(node: Node, value: Array, operands: Sequence[Array], rng: np.random.Generator, minus: float) -> Array:
    """The value of a float node with a random error of the size its op allows."""
    error_of = _error(node)
    if error_of is not None:
        size = np.asarray(error_of(value, *operands, **node.attrs), np.float64)
        error = rng.choice((-1.0, 1.0), value.shape) * rng.uniform(0.5, 1.0, value.shape) * size
        moved = (value + error).astype(value.dtype)
        whole = np.rint(value)  # a discontinuity at a whole number (pow of -1) is met by no random error
        snapped = (np.abs(whole - value) <= size) & (minus == SNAPPED)
        value = np.where(snapped, whole, np.where(np.isfinite(moved) & (size > 0), moved, value)).astype(value.dtype)
    if node.op.limit < math.inf and minus == SNAPPED:
        value = np.where(np.abs(operands[0]) >= node.op.limit, np.nan, value).astype(value.dtype)
    if node.op.open_zero:
        zeros = np.where(rng.random(value.shape) < minus, -0.0, 0.0).astype(value.dtype)
        value = np.where(value == 0, zeros, value)
    return value


def _error(node: Node) -> Callable[..., Any] | None:
    """How large an error may be; what is added to a product belongs to its sum, whose order is free."""
    inner = max((inner_length(x) for x in node.inputs if x.op.kind == "contract"), default=0)
    if node.op is ADD and inner:
        return lambda out, x, y: (inner + 1) * roundoff(out) * (np.abs(x) + np.abs(y))
    return node.op.error


def rounded_anew(node: Node, value: Array, operands: Sequence[Array], rng: np.random.Generator) -> Array:
    """Some elements moved to a neighbour: operands that are uncertain may round the other way, at each step."""
    toward = rng.choice((-np.inf, np.inf), value.shape).astype(value.dtype)
    moves = (rng.random(value.shape) < 0.5) & np.isfinite(value) & (value != 0)
    if node.op.kind == "control":
        length = value.shape[node.attrs["axis"]]
        size = np.abs(eval_node(node, [np.abs(x) for x in operands])) * roundoff(value) * length
        return np.where(moves, value + np.sign(toward) * size, value).astype(value.dtype)
    return np.where(moves, np.nextafter(value, toward), value)
