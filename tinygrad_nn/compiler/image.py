"""What a run needs to know of a compiled job beside its machine code: where everything lies, what is there at the
beginning, and what the numbers of its faults mean.

There is nothing in it of the one who asked for the compilation: a tensor from outside is its number among the `handles`
of a job, a trace its number among the `traces`. So any job with the same description can be run with it, and it can be
written to a file, as JSON: lists, numbers and strings, of which nothing is ever executed.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from ..graph.graph import Array, DType, Length, is_fixed
from ..ops.lookup import Called
from ..ops.rules import DTYPES
from .blas import gemm_address
from .job import Batches, Job
from .loopir.ir import Gemm
from .loopir.program import Crew, Fault
from .lower.training_loop import TrainingProgram
from .schedule.arena import Arena, Strided
from .schedule.schedule import Schedule


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a training run has besides.

    control  the fields of `Control` by name, those that the run has
    sources  the columns of each set of data
    state    of each tensor that the traces reach, in the order of `Job.handles`, where it is and whether it changes
    parts    of each part the number of its trace, and the batches that it is for if it is a step
    """

    control: tuple[tuple[str, Strided], ...]
    sources: tuple[tuple[Strided, ...], ...]
    state: tuple[tuple[int, Strided, bool], ...]
    parts: tuple[tuple[int, Batches | None], ...]
    capacity: int
    evaluating: tuple[int, int]  # the codes of the faults of the evaluation: from the first up to the second
    apart: tuple[int, ...]  # the codes of those whose numbers each of many models has for itself
    kept: tuple[Strided, ...]  # the values that are kept of what changes, in the order of `state`

    @property
    def steps(self) -> tuple[Batches, ...]:
        """The batches of each step."""
        return tuple(batches for _, batches in self.parts if batches is not None)

    @property
    def rounds(self) -> int:
        """Batches of an epoch."""
        return sum(one.rounds for one in self.steps)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """The arena of a program: its `size`, and what is where.

    constants  what is there from the beginning: an array, or the dtype whose gemm has its address there
    faults   what each code means, and where the numbers are that were wrong
    nodes, kernels  how many there are, for who asks how large it is
    threads  how many may run it; if these are several, each has to be given its number
    """

    size: int
    constants: tuple[tuple[Strided, Array | DType], ...]
    inputs: tuple[Strided, ...]
    outputs: tuple[Strided, ...]
    updates: tuple[Strided, ...]
    faults: tuple[tuple[Fault, Strided | None], ...]
    nodes: int
    kernels: int
    run: Run | None
    threads: int

    def arena(self) -> Arena:
        """New memory. Raises MissingExtra where a BLAS is needed that is no longer there."""
        return Arena(
            self.size,
            ((at, gemm_address(one) if isinstance(one, np.dtype) else one) for at, one in self.constants),
        )


def image_of(job: Job, merged: Job, assembled: Any, planned: Schedule) -> Image:
    """The image of a job, from what the stages made of it."""
    program = planned.program
    gemms = {
        one.function: one.target.dtype
        for kernel in program.kernels
        for one, _ in kernel.statements
        if isinstance(one, Gemm)
    }
    constants = tuple((planned.at(one), gemms.get(one, one.value)) for one in planned.constants)
    faults = tuple(
        (replace(fault, buffer=None), None if fault.buffer is None else planned.at(fault.buffer))
        for fault in program.faults
    )
    return Image(
        planned.size,
        constants,
        tuple(map(planned.at, program.inputs)),
        tuple(map(planned.at, program.outputs)),
        tuple(planned.at(old) for old, _ in program.updates),
        faults,
        merged.nodes,
        len(program.kernels),
        _run(job, merged, assembled, planned) if isinstance(assembled, TrainingProgram) else None,
        next((one.var.extent for one in program.regions if isinstance(one, Crew)), 1),
    )


def _run(job: Job, merged: Job, training: TrainingProgram, planned: Schedule) -> Run:
    control = [(one.name, getattr(training.control, one.name)) for one in fields(training.control)]
    numbers = {id(handle): k for k, handle in enumerate(job.handles)}
    traces = {id(part.traced): k for k, part in enumerate(job.traces)}
    return Run(
        tuple((name, planned.at(buffer)) for name, buffer in control if buffer is not None),
        tuple(tuple(map(planned.at, columns)) for columns in training.sources),
        tuple((numbers[id(handle)], planned.at(buffer), changes) for handle, buffer, changes in training.state),
        tuple((traces[id(part.traced)], part.batches) for part in merged.parts),
        training.capacity,
        (training.evaluating.start, training.evaluating.stop),
        tuple(code for code, fault in enumerate(training.program.faults, 1) if fault.buffer in training.apart),
        tuple(map(planned.at, training.kept)),
    )


# ---- as text ------------------------------------------------------------------------------------------------------

_TYPES: Final[Mapping[str, type]] = {one.__name__: one for one in (Image, Run, Strided, Batches, Fault, Called)}
_FIELDS: Final = {kind: tuple(one.name for one in fields(kind)) for kind in _TYPES.values()}
_DTYPES: Final[Mapping[str, DType]] = {dtype.name: dtype for dtype in DTYPES}


def written(image: Image) -> str:
    """An image as JSON. What is no number, string or list is an object with one field, the name of its type."""
    return json.dumps(image, default=_plain, separators=(",", ":"))


def read(text: str) -> Image:
    """What was written. Raises ValueError for anything else."""
    try:
        image = _made(json.loads(text))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no image: {error}") from error
    if not isinstance(image, Image):
        raise ValueError("no image")
    return image


def _plain(value: Any) -> Any:
    """What JSON does not know: a dtype, an array, one of our types."""
    kind = type(value)
    if kind in _FIELDS:
        content = [getattr(value, name) for name in _FIELDS[kind]]
        if kind is Strided and not is_fixed(value.shape):  # a dynamic length would be written as the int that it is
            content[1] = [{"Length": [int(n), n.tail]} if isinstance(n, Length) else n for n in value.shape]
        return {kind.__name__: content}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    array = np.asarray(value)
    return {"array": [array.dtype.name, array.shape, b64encode(array.tobytes()).decode()]}


def _made(value: Any) -> Any:
    if isinstance(value, list):
        return tuple([_made(one) for one in value])
    if not isinstance(value, dict):
        return value
    ((name, content),) = value.items()
    return _OTHERS[name](content) if name in _OTHERS else _TYPES[name](*map(_made, content))


def _array(content: Any) -> Array:
    dtype, shape, elements = content
    return np.frombuffer(b64decode(elements), _DTYPES[dtype]).reshape(shape)


_OTHERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "Length": lambda content: Length(*content),
    "dtype": _DTYPES.__getitem__,
    "array": _array,
}
