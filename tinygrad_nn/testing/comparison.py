"""Derivatives compared: reverse mode beside differences, element by element or along random directions.

A `Block` holds both sides for one leaf; `judged` raises with a table of the worst entries where they differ, and
`refusal` says where the kinks are of what could not be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import GradcheckError, message
from ..support.bundle import bundle
from ..support.tables import html_table
from .identities import like_the_input
from .numeric import Slope, Vector, confirmed, settled_slope, slope, step_for
from .places import find_kink, find_rule
from .problem import Checkable, Leaf, Problem, StepProblem

__tracebackhide__ = True

REFUSE = 1e-6
TINY = 1e-290  # in place of a scale where all derivatives are 0
FULL = {1: 500, 2: 200}  # elements of leaves and outputs up to which "auto" compares whole Jacobians, by order
SHOWN = 6  # rows of a table
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Report:
    """What was checked: entries compared, entries refused, the largest difference relative to what is allowed, the
    names of inputs and parameters, and how each order was compared.

    >>> import tinygrad_nn as tg
    >>> report = tg.testing.gradcheck(lambda x: x.sin().sum(), (tg.ones(3, dtype=tg.float64, requires_grad=True),))
    >>> report.checked, report.worst < 1
    (15, True)
    """

    checked: int
    refused: int
    worst: float
    leaves: tuple[str, ...] = ()
    how: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return True

    def __add__(self, other: Report) -> Report:
        leaves = tuple(dict.fromkeys((*self.leaves, *other.leaves)))
        worst = max(self.worst, other.worst)
        return Report(self.checked + other.checked, self.refused + other.refused, worst, leaves, self.how + other.how)

    def __str__(self) -> str:
        refused = f", {self.refused} refused (not differentiable or too noisy here)" if self.refused else ""
        names = [f"input {name}" if name[0].isdigit() and name[-1].isdigit() else name for name in self.leaves]
        of = f" of {', '.join(names)}" if names else ""
        how = f" ({'; '.join(self.how)})" if self.how else ""
        return f"{self.checked} entries agree{of}, the worst at {self.worst:.2g} of the tolerance{refused}{how}"

    def _repr_html_(self) -> str:
        rows = [("entries that agree", f"{self.checked:,}"), ("worst, in parts of the tolerance", f"{self.worst:.2g}")]
        rows += [("refused: not differentiable or too noisy", f"{self.refused:,}")] if self.refused else []
        rows += [("of", ", ".join(self.leaves))] if self.leaves else []
        return html_table([("gradients", "agree"), *rows, *(("how", how) for how in self.how)])

    _repr_mimebundle_ = bundle


@dataclass(frozen=True)
class Settings:
    """How to compare."""

    eps: float | None
    atol: float
    rtol: float
    domain: Bounds
    mode: str
    seed: int
    refusals: float
    unused: tuple[str, ...]


@dataclass
class Found:
    """What one order gave: the report, the leaves (by id) that some derivative was seen of, and what was refused."""

    report: Report
    moved: set[int] = field(default_factory=set)
    refused: list[tuple[str, str, Vector]] = field(default_factory=list)  # output, input, the direction to go


def steps(problem: Checkable, x: Vector, settings: Settings) -> Vector:
    """The step of each element; the domain is that of the inputs."""
    free = (-np.inf, np.inf)
    bounds = [
        settings.domain if leaf.kind == "input" else free for leaf in problem.leaves for _ in range(leaf.handle.numel())
    ]
    found = np.array([step_for(value, settings.eps, *own) for value, own in zip(x, bounds, strict=True)])
    if (found <= 0).any():
        k = int(np.argmin(found))
        raise GradcheckError(
            message("gradcheck", f"the point {x[k]} for the domain {settings.domain}", "a point inside")
        )
    return found


@dataclass(frozen=True)
class Block:
    """Derivatives by one leaf, which have one scale: a row per output, a column per element; all arrays are (m, n)."""

    leaf: Leaf
    analytic: Any
    numeric: Any
    error: Any
    kink: Any
    scale: float
    directions: Sequence[Vector]  # of the columns
    columns: Sequence[str]

    def allowed(self, settings: Settings) -> Any:
        """How much analytic and numeric derivatives may differ: large values beside small slopes excuse nothing."""
        return settings.rtol * self.error + settings.atol * (_largest(self.analytic, self.numeric) or TINY)

    @property
    def difference(self) -> Any:
        """Between the two, without a sign."""
        return np.abs(self.analytic - self.numeric)

    @property
    def refused(self) -> Any:
        """Where the numeric derivative says nothing."""
        return self.kink | ~(self.error <= REFUSE * self.scale)

    def wrong(self, settings: Settings) -> Any:
        """Where they differ although it does."""
        return ~(self.difference <= self.allowed(settings)) & ~self.refused


def compared(problem: Checkable, settings: Settings, rng: np.random.Generator) -> Found:
    """One order: by elements where the size allows it or the caller says so, else along random directions."""
    if isinstance(problem, Problem):
        like_the_input(problem, rng)
    size = problem.start().size + sum(math.prod(shape) for shape in problem.shapes)
    full = settings.mode == "full" or (settings.mode == "auto" and size <= FULL[problem.order])
    if full:
        how, blocks, rows = "all elements", _full(problem, settings), _row_names(problem)
    else:
        how, rows = "two random directions for each leaf", ["v f"] * 2
        blocks = _fast(problem, settings, rng)
        if any(block.wrong(settings).any() for block in blocks):
            blocks = _elements(problem, settings, blocks)
    what = ", .grad after the step" if isinstance(problem, StepProblem) else ""
    return judged(problem, settings, blocks, rows, f"order {problem.order}{what}: {how}")


def _full(problem: Checkable, settings: Settings) -> list[Block]:
    """Whole Jacobians: one backward walk per output element, one numeric column per input element."""
    x = problem.start()
    here, step = problem.value(x), steps(problem, x, settings)
    analytic = _stacked(problem, problem.pull(x, list(np.eye(here.size))), here.size)
    blocks, begin = [], 0
    for leaf, own in zip(problem.leaves, analytic, strict=True):
        places = range(begin, begin + leaf.handle.numel())
        begin = places.stop
        units = [_unit(x.size, place) for place in places]
        scale = _scale(own, here)
        found = [
            _measured(problem, settings, x, unit, step[place], here, scale, own[:, k])
            for k, (place, unit) in enumerate(zip(places, units, strict=True))
        ]
        numeric, error, kink = (_columns(found, name, here.size) for name in ("value", "error", "kink"))
        labels = [leaf.element(k) for k in range(len(places))]
        blocks.append(Block(leaf, own, numeric, error, kink, _scale(own, numeric, here), units, labels))
    return blocks


def _fast(problem: Checkable, settings: Settings, rng: np.random.Generator) -> list[Block]:
    """For each leaf <v, J u> for two pairs of a random direction u in it and a random cotangent v."""
    x = problem.start()
    here, step = problem.value(x), steps(problem, x, settings)
    cotangents = list(rng.normal(size=(2, here.size)))
    analytic = _stacked(problem, problem.pull(x, cotangents), 2)
    blocks, begin = [], 0
    for leaf, own in zip(problem.leaves, analytic, strict=True):
        size = leaf.handle.numel()
        part = slice(begin, begin + size)
        begin = part.stop
        if not (size and here.size):
            continue
        for v, row in zip(cotangents, own, strict=True):
            u = np.zeros(x.size)
            u[part] = rng.choice((-1.0, 1.0), size) * rng.uniform(0.5, 1.0, size)
            blocks.append(_along(problem, settings, leaf, u, v, row @ u[part], float(step[part].min()), x, here))
    return blocks


def _elements(problem: Checkable, settings: Settings, blocks: Sequence[Block]) -> list[Block]:
    """The leaves along which something is wrong, element by element, until there is enough to show."""
    x = problem.start()
    here, step = problem.value(x), steps(problem, x, settings)
    (v,) = np.random.default_rng(settings.seed).normal(size=(1, here.size))
    analytic, begin, found = _stacked(problem, problem.pull(x, [v]), 1), 0, []
    bad = {id(block.leaf.handle) for block in blocks if block.wrong(settings).any()}
    for leaf, own in zip(problem.leaves, analytic, strict=True):
        for k in range(leaf.handle.numel()) if id(leaf.handle) in bad else ():
            place = begin + k
            block = _along(
                problem, settings, leaf, _unit(x.size, place), v, float(own[0, k]), float(step[place]), x, here
            )
            if block.wrong(settings).any():
                found.append(replace(block, columns=[leaf.element(k)]))
            if len(found) >= SHOWN:
                return found
        begin += leaf.handle.numel()
    return found or list(blocks)


def _along(
    problem: Checkable,
    settings: Settings,
    leaf: Leaf,
    u: Vector,
    v: Vector,
    analytic: float,
    step: float,
    x: Vector,
    here: Vector,
) -> Block:
    """<v, J u> of one direction and one cotangent: the slopes of all outputs along u, weighted."""
    size = float(np.abs(v) @ np.abs(here))
    weights = np.abs(v)

    def weighted(found: Slope) -> Slope:
        kink = (found.kink & (v != 0)).any()
        return Slope(np.array([v @ found.value]), np.array([weights @ found.error]), np.array([kink]))

    expected = np.array([analytic])
    found = _measured(
        problem, settings, x, u, step, here, _scale(expected, np.array(size)), expected, weighted, weights
    )
    scale = _scale(expected, found.value, np.array(size))
    numeric, error, kink = (part[None, :] for part in (found.value, found.error, found.kink))
    return Block(leaf, expected[None, :], numeric, error, kink, scale, [u], [f"{leaf.name} along u"])


def _measured(
    problem: Checkable,
    settings: Settings,
    x: Vector,
    u: Vector,
    step: float,
    here: Vector,
    scale: float,
    expected: Vector,
    weighted: Callable[[Slope], Slope] = lambda found: found,
    weights: Any = 1.0,
) -> Slope:
    """The numeric side along u, measured once more where it is not what was expected."""
    limit = REFUSE * scale / max(1.0, float(np.sum(weights)))
    first = weighted(settled_slope(problem.value, x, u, step, here, limit))
    return confirmed(
        first,
        lambda h: weighted(slope(problem.value, x, u, h, here)),
        step,
        expected,
        lambda found: settings.rtol * found.error + settings.atol * (_largest(expected, found.value) or TINY),
    )


def judged(problem: Checkable, settings: Settings, blocks: Sequence[Block], rows: Sequence[str], how: str) -> Found:
    """Raise where analytic and numeric derivatives differ; else count what agrees and what was refused."""
    wrong = [block.wrong(settings) for block in blocks]
    if any(part.any() for part in wrong):
        raise GradcheckError(_failure(problem, settings, blocks, wrong, rows))
    kept = [~block.refused for block in blocks]
    ratios = [
        (block.difference[keep] / block.allowed(settings)[keep]).max()
        for block, keep in zip(blocks, kept, strict=True)
        if keep.any()
    ]
    refused = [
        (rows[i], block.columns[j], block.directions[j]) for block in blocks for i, j in np.argwhere(block.refused)
    ]
    moved = {id(block.leaf.handle) for block in blocks if np.any(block.analytic) or np.any(block.numeric)}
    count = sum(int(keep.sum()) for keep in kept)
    return Found(Report(count, len(refused), float(max(ratios, default=0.0)), how=(how,)), moved, refused)


def _stacked(problem: Checkable, pulled: Sequence[Sequence[Any]], rows: int) -> list[Any]:
    """The rows of the Jacobian as one matrix per leaf."""
    return [
        np.array([np.ravel(row[k]) for row in pulled]).reshape(rows, leaf.handle.numel())
        for k, leaf in enumerate(problem.leaves)
    ]


def _columns(found: Sequence[Slope], name: str, rows: int) -> Any:
    return (
        np.array([getattr(column, name) for column in found])
        .reshape(len(found), rows)
        .T.astype(bool if name == "kink" else float)
    )


def _unit(size: int, place: int) -> Vector:
    unit = np.zeros(size)
    unit[place] = 1.0
    return unit


def _scale(*parts: Any) -> float:
    """The largest finite number, or 1 where there is none but 0."""
    return _largest(*parts) or 1.0


def _largest(*parts: Any) -> float:
    """The largest finite number, without its sign."""
    finite = [np.abs(part[np.isfinite(part)]) for part in parts]
    return max((float(part.max()) for part in finite if part.size), default=0.0)


def _row_names(problem: Checkable) -> list[str]:
    """The outputs: numbers, and of a gradient the elements it is taken by."""
    if problem.order == 1:
        return [str(k) for k in range(sum(math.prod(shape) for shape in problem.shapes))]
    return [leaf.element(k) for leaf in problem.leaves if leaf.kind != "cotangent" for k in range(leaf.handle.numel())]


def _failure(
    problem: Checkable, settings: Settings, blocks: Sequence[Block], wrong: Sequence[Any], rows: Sequence[str]
) -> str:
    """The worst entries as a table: where, analytic, numeric, difference, allowed."""
    count, total = sum(int(part.sum()) for part in wrong), sum(part.size for part in wrong)
    lines = []
    for block, part in zip(blocks, wrong, strict=True):
        allowed = block.allowed(settings)
        for i, j in np.argwhere(part):
            a, n, most = block.analytic[i, j], block.numeric[i, j], allowed[i, j]
            excess = np.nan_to_num(abs(a - n), nan=np.inf) / most
            lines.append(
                (-excess, (rows[i], block.columns[j], f"{a:.16g}", f"{n:.16g}", f"{a - n:.3g}", f"{most:.1g}"))
            )
    lines.sort(key=lambda line: line[0])
    head = ("output", "input", "analytic", "numeric", "difference", "allowed")
    got = f"{count} of {total} entries of the Jacobian (order {problem.order}) that differ from the numeric ones"
    if isinstance(problem, StepProblem):
        hint = ".grad after the step is compared with its loss: what clips, scales or adds up gradients changes them"
    elif any(np.isnan(block.analytic[part]).any() for block, part in zip(blocks, wrong, strict=True)):
        hint = "the gradient is NaN: tg.detect_anomaly() says where that begins"
    else:
        hint = "a factor, a sign or a term of the gradient is wrong"
    rule = find_rule(problem)
    text = [message("gradcheck", got, "agreement", hint), _table([head, *(cells for _, cells in lines[:SHOWN])])]
    return "\n".join(text + [f"the rule that is wrong: {rule}"] * (rule is not None))


def refusal(problem: Checkable, found: Found, what: str) -> str:
    """What was refused as a table: where, and the operation that has a kink there."""
    places: dict[bytes, str | None] = {}
    lines: list[Sequence[str]] = []
    for row, column, direction in found.refused[:SHOWN]:
        key = direction.tobytes()
        if key not in places:
            places[key] = find_kink(problem, problem.start(), direction)
        place = places[key]
        lines.append(
            (row, column, "too noisy: the values have too few digits" if place is None else f"kink in {place}")
        )
    hint = "move away from the kink; refusals=1 only counts them"
    text = message("gradcheck", what, "a point where the function is smooth", hint)
    return text + "\n" + _table([("output", "input", "why"), *lines])


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = len(widths) - 1 if rows[0][-1] == "why" else len(widths)  # the column that is read, not compared
    return "\n".join(
        "  ".join(
            cell.rjust(width) if k < text else cell for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
