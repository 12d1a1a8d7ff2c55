"""Train here: the run of a step as WebAssembly, and what the page needs to change it and to compare it with Python's.

What is trained is the last native run of the step, with its data, if there was one; else the batch of the report, in
the batches that the history tells. It begins with the state before the first epoch, where that run or
`history.snapshots` has it, else with the state as it is now.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..compiler.job import Job
from ..compiler.run.jit import Jitted
from ..compiler.run.traces import training_job
from ..compiler.run.training import Training
from ..compiler.trace import forget
from ..errors import ConfigError, ExportError, message
from ..export.model import argument_names, as_argument, names_of
from ..export.wasm import Made, called, linked, run_names, run_of, text
from ..fitting import trained_dtype
from ..fitting.reach import Reached
from ..graph.graph import Array
from ..history import History
from ..nn import Module
from ..nn.preprocessing import Fitted
from ..optim import Optimizer
from ..random import Generator, fork_rng, manual_seed, order_generator, randperm
from .document import asset, packed
from .subject import Missing, Subject, short

MOST: Final = 2**17  # letters of code and data that a page may have, packed
PLAIN: Final = 3 * MOST  # bytes of data and state from which nobody tries: it takes seconds to compile
SEEDS: Final = 10  # first weights, drawn by the layers,
ROOM: Final = 2**16  # in so many bytes at most
EPOCHS: Final = 2000  # of Python's history that the page compares with
GRID: Final = 48  # places along each side of a picture of decisions
Arrays = dict[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run as it was traced, on these columns, with the generator of its order and its evaluation; `training` is what
    ran it, if it was run.
    """

    job: Job
    columns: Sequence[Array]
    evaluate: Any
    order: Generator | None
    training: Training | None = None


def part(about: Subject) -> Mapping[str, Any] | Missing:
    """The module of the run, what its arrays are, first weights by seed, and Python's losses.

    Raises ExportError and TraceError for what cannot be trained in a page.
    """
    if isinstance(about.traced, Missing):
        return about.traced
    if not about.graph.updates:
        return Missing("What the report is about trains nothing. That of a step is here: tg.report(step, *batch).")
    found = last_run(about.function) or batch_run(about)
    function = about.function.function if isinstance(about.function, Jitted) else about.function
    known = run_names(function, found.evaluate, found.order)
    first = began(about, known, found.training) or first_state(about, function, known, found.order)
    held = [*found.columns, *(np.asarray(one.node.value) for one in found.job.handles)]
    check_size(sum(array.nbytes for array in held), PLAIN, "of data and state")
    made = run_of(found.job, found.columns, known, found.order, first)
    texts = module(made)
    check_size(len(texts["wasm"]["deflate"]), MOST, "of code, data and state, packed,")
    history = about.history
    state = {name: at.dtype for name, at in made.state.items()}
    shuffled = found.job.epochs is not None and found.job.epochs.shuffle
    same = bool(first) and (not shuffled or not first.keys().isdisjoint(("order.key", "random.key")))
    return {
        "worker": asset("worker.js"),
        **texts,
        "columns": [short(name) for name in argument_names(function, len(found.columns))],
        "classes": classes(found.columns),
        "features": features(about, found.columns[0]),
        "shapes": [column.shape for column in found.columns],
        "dtype": next((one.name for one in state.values() if one.kind == "f"), ""),
        "batch": max(one.batches.rows for one in found.job.steps if one.batches is not None),
        "shuffled": shuffled,
        "epochs": history.epochs if history is not None and history.epochs else 1000,
        "losses": list(made.history),
        "scores": list(made.scores),
        "begins": "first" if first else "now",
        "python": {name: floats(history[name][:EPOCHS]) for name in made.history} if same and history else {},
        "seeds": seeds(function, state.keys()),
        "decisions": decisions(about, found.columns),
    }


def module(made: Made) -> dict[str, Any]:
    """The WebAssembly and the script that goes with it, as texts."""
    code = base64.b64encode(zlib.compress(linked(made), 9)).decode()
    return {"wasm": {"deflate": code}, "script": packed(text(made, None))}


def check_size(size: int, most: int, what: str) -> None:
    """Raise ExportError for what is too large for a page."""
    if size > most:
        got, hint = f"{size / 1e3:,.0f} kB {what} to train in the page", "tg.export.wasm writes files of any size"
        raise ExportError(message("report", got, f"at most {most / 1e3:,.0f} kB", hint))


def floats(numbers: Any) -> str:
    """The bytes of float64 numbers as a text."""
    return base64.b64encode(np.asarray(numbers, "<f8").tobytes()).decode()


# ---- which run ------------------------------------------------------------------------------------------------------


def last_run(function: Any) -> Run | None:
    """The last native run of a step, where it had all its data in memory."""
    kept = function.runs if isinstance(function, Jitted) else ()
    for key, training, order in kept:
        if isinstance(training, Training) and training.job.epochs is not None and not training.job.epochs.in_pieces:
            if len(training.job.epochs.sets) != 1:
                raise ExportError(message("report", "a run on sequences of several lengths", "one of one length"))
            rows = training.job.epochs.samples
            return Run(training.job, [np.array(view[:rows]) for view in training.memory.room], key[3], order, training)
    return None


def batch_run(about: Subject) -> Run:
    """A run on the batch of the report, as the history tells: in batches, in the order of its seed."""
    function = about.function if isinstance(about.function, Jitted) else Jitted(about.function)
    dtype = trained_dtype(function)
    columns = [np.asarray(as_argument("report", one, dtype)) for one in about.batch]
    if not columns or not all(column.ndim for column in columns) or len({len(column) for column in columns}) != 1:
        got = f"a batch of shapes {[column.shape for column in columns]}"
        raise ExportError(message("report", got, "arrays with a row for each sample"))
    rows, told = len(columns[0]), {} if about.history is None else about.history.metadata
    told = told if told.get("samples") == rows else {}
    order = None if told.get("seed") is None else order_generator(told["seed"])
    job = training_job(
        function, [columns], told.get("batch_size") or rows, None, bool(told.get("shuffle")),
        lambda: randperm(rows, generator=order),
    )  # fmt: skip
    for one in job.traces:
        if one.traced is not None:
            forget(one.traced.beginning)
            for part, training in one.traced.found_modes:
                part.training = training
    return Run(job, columns, None, order)


# ---- what it begins with --------------------------------------------------------------------------------------------


def began(about: Subject, known: Mapping[int, str], training: Training | None) -> Arrays:
    """What the last run began with, where that is the run of the history; nothing where it was not kept."""
    history = about.history
    if training is None or not training.began or history is None or not history.epochs:
        return {}
    last = history[training.names[0]][-1] if training.names[0] in history else np.nan
    if not np.any(training.history[:, 0] == last):
        return {}
    pairs = zip(training.handles, training.began, strict=True)
    found = {known[id(handle)]: value for handle, value in pairs if id(handle) in known}
    return with_order(found, history)


def with_order(found: Arrays, history: History) -> Arrays:
    """With the generator of the order, which is a new one for each seed."""
    if history.metadata.get("seed") is not None:
        fresh = order_generator(history.metadata["seed"])
        found |= {"order.key": fresh.key.numpy(), "order.counter": fresh.counter.numpy()}
    return found


def first_state(about: Subject, function: Any, known: Mapping[int, str], order: Generator | None) -> Arrays:
    """The state before the first epoch, by the names of the run; nothing where the history has no snapshot of it."""
    history = about.history
    if history is None or 0 not in history.snapshots:
        return {}
    snapshot = history.snapshots[0]
    found = {name: np.asarray(snapshot[name]) for name in names_of(function).values() if name in snapshot}
    for path, optimizer in Reached({"": function}, {}).objects.items():
        if isinstance(optimizer, Optimizer):
            held = snapshot.objects.get(path, {}).get("state", {})
            pairs = [(p, group) for group in optimizer.param_groups for p in group["params"]]
            for number, (p, group) in enumerate(pairs):
                begins = {**optimizer.initial_state(p, group), **held.get(number, {})}
                for field, tensor in optimizer.state.get(p, {}).items():
                    value = begins[field]
                    found[known[id(tensor)]] = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    return found if order is None else with_order(found, history)


def seeds(function: Any, state: Any) -> list[Mapping[str, Any]]:
    """What the layers draw after `manual_seed(0)`, `manual_seed(1)` and so on, as `reset_parameters` does."""
    modules = [one for _, one in Reached({"": function}, {}).modules.items()]
    inner = {id(part) for one in modules for part in one.modules() if part is not one}
    roots = [one for one in modules if id(one) not in inner and any(True for _ in one.parameters())]
    known, found = names_of(function), list[Mapping[str, Any]]()
    size = sum(8 * p.numel() for one in roots for p in one.parameters())
    try:
        for seed in range(min(SEEDS, ROOM // max(size, 1))):
            drawn: dict[str, Any] = {}
            with fork_rng():
                manual_seed(seed)
                for root in roots:
                    copy = deepcopy(root)
                    copy.reset_parameters()
                    pairs = zip(root.parameters(), copy.parameters(), strict=True)
                    drawn |= {known[id(old)]: new.detach().numpy() for old, new in pairs if known.get(id(old)) in state}
            found.append({name: floats(one) for name, one in drawn.items()})
    except ConfigError:  # a part that does not draw its own
        return []
    return found


# ---- what it is about -----------------------------------------------------------------------------------------------


def classes(columns: Sequence[Array]) -> int:
    """How many classes the last column tells apart; 0 where it holds amounts."""
    last = columns[-1]
    return int(last.max()) + 1 if last.dtype.kind == "i" and last.ndim == 1 and last.size and last.min() >= 0 else 0


def features(about: Subject, x: Array) -> list[str]:
    """The names of the columns of a table: those that a preprocessing module was fitted with, or numbers."""
    if x.ndim != 2:
        return []
    parts = [part for _, root in about.modules for part in root.modules() if isinstance(part, Fitted)]
    named = (names for one in parts if len(names := getattr(one, "names", None) or ()) == x.shape[1])
    return [short(name, 60) for name in next(named, None) or [f"x{k}" for k in range(x.shape[1])]]


def decisions(about: Subject, columns: Sequence[Array]) -> Mapping[str, Any] | None:
    """The model alone, for a grid of places, where it is one module that maps tables of two columns."""
    models = [one for _, one in about.modules]
    if columns[0].ndim != 2 or columns[0].shape[1] != 2 or len(models) != 1 or columns[0].dtype.kind != "f":
        return None
    grid = np.zeros((GRID * GRID, 2), columns[0].dtype)
    model: Module = deepcopy(models[0]).eval()
    made = called(model, (grid,))
    (out,) = made.results.values()
    if len(out.shape) not in (1, 2) or out.shape[0] != len(grid):
        return None
    return {**module(made), "grid": GRID, "outputs": 1 if len(out.shape) == 1 else out.shape[1]}
