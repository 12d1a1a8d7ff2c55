"""What is exported: the trace of a function, with names for what it takes, returns, reads and changes.

Invariants
- The inputs of the graph are the arguments, then `reached`, in order.
- A function that is exported only computes: it changes tensors or nothing, reads no values, and returns tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler.codegen.c.printer import identifier
from ..compiler.driver import Compilation, build
from ..compiler.image import Image, image_of
from ..compiler.job import Job, Part
from ..compiler.loopir.ir import Buffer
from ..compiler.run.jit import Jitted, describe
from ..compiler.run.traces import training_job, without_gradients
from ..compiler.target import Target
from ..compiler.trace import Traced, trace
from ..errors import ExportError, FileError, GraphError, message
from ..executor import run
from ..fitting import trained_dtype
from ..fitting.reach import Reached as Reaches
from ..graph.graph import Array, DType, Graph, Shape
from ..graph.scalar import DTYPES
from ..nn import Module
from ..optim import Optimizer
from ..placed import placed
from ..random import Generator, default_generator
from ..support.arrays import is_masked
from ..support.files import as_path
from ..support.settings import is_number, shown
from ..tensor import Tensor, no_grad
from ..tensor.core import Core
from ..viz import record as seen


@dataclass(frozen=True, slots=True)
class Reached:
    """A tensor that a function reaches from outside: its name, itself, and whether the function changes it."""

    name: str
    handle: Core
    changes: bool

    @property
    def value(self) -> Array:
        """What it holds now."""
        return np.asarray(self.handle.node.value)


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """A function as a graph. `arguments` and `results` are the names of what it takes and returns; `example` is what it
    was traced with, `place` the file and line of its Python, where it has one. Of a step with an `epoch` around it the
    graph is that of a whole batch.
    """

    graph: Graph
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    reached: tuple[Reached, ...]
    example: tuple[Array, ...]
    place: str = ""
    epoch: Epoch | None = None

    @property
    def state(self) -> tuple[Reached, ...]:
        """What it changes."""
        return tuple(one for one in self.reached if one.changes)

    @property
    def job(self) -> Job:
        """What the driver is asked for: an epoch, or one call, all of whose inputs are arguments."""
        return self.epoch.job if self.epoch is not None else Job((Part(self.graph),), len(self.graph.inputs))

    @property
    def takes(self) -> list[tuple[str, DType, Shape]]:
        """The arguments: names, dtypes and shapes."""
        return [(name, x.dtype, x.shape) for name, x in zip(self.arguments, self.example, strict=True)]

    @property
    def gives(self) -> list[tuple[str, DType, Shape]]:
        """The results: names, dtypes and shapes."""
        if self.epoch is not None:
            return [(name, self.epoch.means.dtype, self.epoch.means.shape) for name in self.results]
        return [(name, x.dtype, x.shape) for name, x in zip(self.results, self.graph.outputs, strict=True)]

    def buffers(self, made: Compilation) -> tuple[list[Buffer], list[Buffer], list[Buffer]]:
        """Where arguments, results, and what is reached, are in a program."""
        if self.epoch is None:
            inputs, count = made.schedule.program.inputs, len(self.arguments)
            return [*inputs[:count]], [*made.schedule.program.outputs], [*inputs[count:]]
        run = made.training
        own = {id(handle): buffer for handle, buffer, _ in run.state}
        order = [] if run.control.order is None else [run.control.order]
        return [*run.sources[0], *order], [run.control.history], [own[id(one.handle)] for one in self.reached]

    def call(self, case: Sequence[Array], values: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """What NumPy makes of arguments and of values for what is reached: the results, and values for the state."""
        if self.epoch is not None:
            return self.epoch.call(case, values)
        outputs, updates = run(self.graph, [*case, *values])
        return [*map(np.asarray, outputs)], [*map(np.asarray, updates)]

    def memory(self, image: Image) -> bytes:
        """The arena of its program as it is at the beginning, with what the function reaches."""
        arena = image.arena()
        for at, one in zip(image.inputs[len(self.arguments) :], self.reached, strict=True):
            arena.view(at)[...] = one.value
        return arena.memory.tobytes()[: image.size]


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """Every batch of some data once, in the order of the samples that a call is given, or as they are.

    `means` is like what a call leaves: the mean of each number that the step returns.
    """

    job: Job
    means: Array
    shuffle: bool

    @property
    def rounds(self) -> int:
        """How many batches there are."""
        return sum(part.batches.rounds for part in self.job.traces if part.batches is not None)

    def call(self, case: Sequence[Array], values: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """An epoch by NumPy, batch by batch."""
        *columns, order = case if self.shuffle else (*case, np.arange(len(case[0])))
        numbers = {id(handle): k for k, handle in enumerate(self.job.handles)}
        state, changed, total, start = list(values), set[int](), np.zeros_like(self.means), 0
        for part in self.job.traces:
            if part.batches is None or part.traced is None:
                continue
            places = [numbers[id(one.handle)] for one in part.captures]
            for _ in range(part.batches.rounds):
                rows = order[start : start + part.batches.rows]
                start += len(rows)
                outputs, updates = run(part.graph, [*(one[rows] for one in columns), *(state[k] for k in places)])
                for k, new in zip(part.traced.updated, updates, strict=True):
                    state[places[k]] = np.asarray(new)
                    changed.add(places[k])
                found = [outputs[one] if isinstance(one, int) else one for one in part.results]
                total += np.array([float(np.reshape(one, ())) for one in found], total.dtype) * len(rows)
        return [total / total.dtype.type(start)], [state[k] for k in sorted(changed)]


def compiled(op: str, job: Job, target: Target, last: str) -> tuple[Compilation, Image]:
    """The stages of a job up to the `last` one, and where everything lies. Raises ExportError where LLVM fails."""
    try:
        made = build(job, target, last=last)
    except GraphError as error:
        raise refused_by_llvm(op, target, error) from error
    return made, image_of(job, made.made["merge"], made.made["assemble"], made.made["schedule"])


def refused_by_llvm(op: str, target: Target, error: GraphError) -> ExportError:
    """What is said where LLVM has no code for a program: for some machines it ends in an assertion."""
    hint = "write C with tg.export.c, which compilers for every machine read"
    return ExportError(message(op, f"a program for {target.triple}: {error}", "one that LLVM has code for", hint))


def target_of(op: str, path: Any, usual: str) -> Path:
    """The file to write: the path, or one of the `usual` name in that folder."""
    target = as_path(op, path)
    if str(path) == "":
        raise FileError(message(op, "an empty path", "a file, or a folder"))
    try:
        return target / usual if target.is_dir() else target
    except (OSError, ValueError):  # writing says what is wrong with it
        return target


def prefix_of(op: str, name: Any) -> str:
    """What functions of C are called by. Raises ExportError for what is no text."""
    if not isinstance(name, str):
        raise ExportError(message(op, f"name={shown(name)}", "a text"))
    return identifier(name)


def whole(op: str, name: str, value: Any, low: int, high: int) -> int:
    """A setting that is a whole number. Raises ExportError."""
    if not is_number(value) or not low <= value <= high or value != int(value):
        raise ExportError(message(op, f"{name}={shown(value)}", f"a whole number from {low:,} to {high:,}"))
    return int(value)


def flag(op: str, name: str, value: Any) -> bool:
    """A setting that is true or not. Raises ExportError."""
    if not isinstance(value, bool | np.bool_):
        raise ExportError(message(op, f"{name}={shown(value)}", "True or False"))
    return bool(value)


def numbered(wish: str, taken: set[str]) -> str:
    """A name that is not taken yet, which it is from now on: the one wished for, or with a number behind it."""
    name, number = wish, 1
    while name in taken:
        number += 1
        name = f"{wish}_{number}"
    taken.add(name)
    return name


def c_names(prefix: str, names: Sequence[str]) -> list[str]:
    """The names as identifiers of C, for parameters of functions `PREFIX_...`, of whose names they are none."""
    taken, own = {"s", "code", "k"}, f"{prefix}_".lower()
    words = [f"w{one}" if one.lower().startswith(own) else one for one in map(identifier, names)]
    return [numbered(one, taken) for one in words]


def unique(names: Sequence[str]) -> list[str]:
    """The names, numbered where they repeat."""
    taken: set[str] = set()
    return [numbered(name, taken) for name in names]


def exported(op: str, function: Any, example: Sequence[Any]) -> Exported:
    """The trace of a module, a function or a jitted step, called with an `example`.

    Raises ExportError for what cannot live outside of Python, TraceError for what cannot be traced.
    """
    if not callable(function):
        raise ExportError(
            message(op, shown(function), "a module, a function or a step, then an example of its arguments")
        )
    own = function.function if isinstance(function, Jitted) else function
    check_call(op, own, example)
    dtype = trained_dtype(own)
    signature, arrays, leaves, is_array = describe(tuple(as_argument(op, one, dtype) for one in example), {})
    if not all(is_array):
        got = f"an argument {shown(next(leaf for leaf, one in zip(leaves, is_array, strict=True) if not one))}"
        raise ExportError(message(op, got, "arrays or tensors", "bind other arguments: lambda x: f(x, 3)"))
    with placed():
        traced = traced_for(op, function, own, signature.tree, leaves, is_array)
    check(op, traced)
    names = state_names(own)
    reached = tuple(
        Reached(names.get(id(capture.handle), f"c{k}"), capture.handle, k in traced.updated)
        for k, capture in enumerate(traced.captures)
    )
    if not isinstance(function, Jitted):
        check_infers(op, own, [one.handle for one in reached if one.changes], lines_of(traced))
    arguments = tuple(argument_names(own, len(arrays)))
    results = tuple(f"{name}" for name in result_names(traced))
    given = tuple(np.asarray(one) for one in arrays)
    return Exported(without_gradients(traced), arguments, results, reached, given, place_of(own))


def epoch_of(op: str, step: Any, data: Sequence[Any], batch_size: Any, shuffle: bool) -> Exported:
    """A jitted step with an epoch of these columns of data around it. Raises ExportError, TraceError as `exported`."""
    if not isinstance(step, Jitted):
        raise ExportError(message(op, f"{shown(step)} with data", "a step: step = tg.jit(step)"))
    dtype = trained_dtype(step.function)
    columns = tuple(np.asarray(as_argument(op, one, dtype)) for one in data)
    if len({one.shape[:1] for one in columns} - {()}) != 1:
        raise ExportError(message(op, f"columns of shapes {[one.shape for one in columns]}", "as many rows in each"))
    rows = len(columns[0]) if columns else 0
    size = whole(op, "batch_size", batch_size, 1, rows)
    first = exported(op, step, tuple(one[:size] for one in columns))
    with placed():
        job = training_job(step, [columns], size, None, shuffle, None)
    if job.epochs is not None:
        job = replace(job, epochs=replace(job.epochs, alone=True))
    (part,), names = job.parts, state_names(step.function)
    changed = {id(one.captures[k].handle) for one in job.traces if one.traced for k in one.traced.updated}
    reached = tuple(Reached(names.get(id(one), f"c{k}"), one, id(one) in changed) for k, one in enumerate(job.handles))
    dtypes = [part.graph.outputs[one].dtype for one in part.results if isinstance(one, int)]
    means = np.zeros(len(part.results), np.result_type(np.float32, *dtypes))
    return replace(
        first,
        graph=part.graph,
        arguments=(*first.arguments, *(("order",) if shuffle else ())),
        results=(first.results[0] if len(means) == 1 else "means",),
        reached=reached,
        example=(*columns, *((np.arange(len(columns[0]), dtype=np.int32),) if shuffle else ())),
        epoch=Epoch(job, means, shuffle),
    )


def as_argument(op: str, value: Any, dtype: DType) -> Any:
    """What is given as an example: tensors keep their dtype, fractional numbers of all else take that of the model.
    Raises ExportError for what is no array of numbers.
    """
    if isinstance(value, Tensor):
        return value
    if is_masked(value):
        got, hint = "a masked array as an example", "its mask would be lost: x.filled(0)"
        raise ExportError(message(op, got, "an array", hint))
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        raise ExportError(message(op, "an example whose rows differ in length", "an array")) from None
    if array.dtype.kind == "f":
        return array.astype(dtype)
    if array.dtype not in DTYPES:
        got, hint = f"an example of dtype {array.dtype}", "convert it: x.astype(np.int64)"
        raise ExportError(message(op, got, "bool, int32, int64 or floats", hint))
    return array


def traced_for(op: str, function: Any, own: Any, tree: Any, leaves: Sequence[Any], is_array: Sequence[bool]) -> Traced:
    """A step is traced as it is, all else without gradients."""
    if isinstance(function, Jitted):
        return trace(own, tree, leaves, is_array)
    with no_grad():
        return trace(own, tree, leaves, is_array)


def check(op: str, traced: Traced) -> None:
    """Raise ExportError for what a file cannot do."""
    if traced.written:
        raise ExportError(message(op, "a function that writes its arguments", "one that returns new values"))
    if traced.actions or traced.modes:
        got = "a function that changes Python state, as a schedule or a mode"
        raise ExportError(message(op, got, "one that changes tensors alone", "do that between calls"))
    if any(kind != "output" for kind, _ in traced.results) or not traced.results:
        raise ExportError(message(op, "a function that returns no tensor, or other values too", "tensors alone"))


def lines_of(traced: Traced) -> list[str]:
    """The lines that change tensors."""
    places = traced.graph.places
    found = (None if places is None else places.place(new) for _, new in traced.graph.updates)
    return list(dict.fromkeys(f"{one.where}: {one.text}".removesuffix(": ") for one in found if one is not None))


def check_infers(op: str, function: Any, changed: Sequence[Core], lines: Sequence[str] = ()) -> None:
    """Raise ExportError for a model, or a function, that changes tensors, with the `lines` that do."""
    if changed:
        names = state_names(function)
        named = ", ".join(names.get(id(one), "a tensor") for one in changed[:3])
        who = f"a {type(function).__name__} in training mode" if isinstance(function, Module) else "a function"
        hint = "call model.eval() first; what trains is a step: @tg.jit"
        at = f", at {lines[0]}" if lines else ""
        raise ExportError(message(op, f"{who}, which changes state ({named}){at}", "a model that infers", hint))


def names_of(function: Any) -> Mapping[int, str]:
    """The names of tensors that a function reaches, by identity: those of its modules and of its variables."""
    reached = replace(seen.Reached.of({"": function}), optimizers=())
    return {key: name for key, (_, _, name) in reached.named().items() if name}


def state_names(function: Any, *others: Any) -> dict[int, str]:
    """Besides, the names of settings and state of optimizers (`lr`, `0.weight.momentum`), of streams of random numbers,
    and of all other tensors that a function, or one of the `others`, reaches: those of their variables.
    """
    found = dict(names_of(function))
    reached = [Reaches({"": one}, {}) for one in (function, *others) if one is not None]
    owners = {path: value for one in reached for path, value in one.objects.items()}
    streams = {"random": default_generator} | {k: one for k, one in owners.items() if isinstance(one, Generator)}
    optimizers = {id(one): (k, one) for k, one in owners.items() if isinstance(one, Optimizer)}
    for path, optimizer in optimizers.values():
        alone = len(optimizers) == 1
        for number, group in enumerate(optimizer.param_groups):
            prefix = ("" if alone else f"{path}.") + ("" if len(optimizer.param_groups) == 1 else f"{number}.")
            for (key, _, part), tensor in group._live.items():
                found.setdefault(id(tensor), f"{prefix}{key}" + ("" if part is None else f".{part}"))
        for parameter, state in optimizer.state.items():
            for key, tensor in state.items():
                found.setdefault(id(tensor), f"{found.get(id(parameter), path)}.{key}")
    for path, generator in streams.items():
        found |= {id(generator.key): f"{path}.key", id(generator.counter): f"{path}.counter"}
    for one in reached:
        for path, tensor in (*one.leaves.items(), *((path, value) for path, (value, _) in one.values.items())):
            found.setdefault(id(tensor), path)
    return found


def place_of(function: Any) -> str:
    """Where a function, or the class of a module, is written, as `iris.py:84`; "" where there is no Python of it."""
    own = type(function).forward if isinstance(function, Module) else function
    code = getattr(own, "__code__", None)
    ours = str(getattr(own, "__module__", "")).startswith(f"{__package__.split('.')[0]}.")
    return "" if code is None or ours else f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def signature_of(function: Any) -> inspect.Signature | None:
    """How a function, or a module's forward, is called; None where Python does not know."""
    called: Callable[..., Any] = function.forward if isinstance(function, Module) else function
    try:
        return inspect.signature(called)
    except (TypeError, ValueError):
        return None


def check_call(op: str, function: Any, example: Sequence[Any]) -> None:
    """Raise ExportError for an example that is no call of the function."""
    known = signature_of(function)
    try:
        if known is not None:
            known.bind(*example)
    except TypeError as error:
        got = f"an example of {len(example)} arguments ({error})"
        raise ExportError(message(op, got, "those of a call, behind what is exported")) from None


def argument_names(function: Any, count: int) -> list[str]:
    """Names for so many arguments: those of the signature, as far as it has some."""
    known = signature_of(function)
    parameters = [one for one in known.parameters.values() if one.kind < one.KEYWORD_ONLY] if known else []
    plain = [one.name for one in parameters if one.kind is not one.VAR_POSITIONAL]
    if len(plain) == count:
        return plain
    return ["x"] if count == 1 else [f"x{k}" for k in range(count)]


def result_names(traced: Traced) -> list[str]:
    """Names for what is returned: the keys of a dict, or numbers."""
    count = len(traced.results)
    tree = traced.tree
    names = getattr(tree, "names", ()) or ()
    if len(names) == count and all(isinstance(name, str) for name in names):
        return [str(name) for name in names]
    return ["out"] if count == 1 else [f"out{k}" for k in range(count)]
