"""What the driver is asked to compile: one graph for a call, several with a loop around them for a training run.

Invariants, checked by `Job.verify`
- A call is one part; a run has the steps first, each with the batches it is for, then the evaluation, then the
  permutation, if it has them. All steps return as many numbers.
- The inputs of a part are its arguments, then what its trace reached from outside.
- What differs between the lanes of a run is among its tensors and its data.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import GraphError, message
from ..graph.graph import DType, Graph, Shape
from ..tensor.core import Core
from .trace import Capture, Traced

Results = tuple[int | float, ...]  # of each value returned: the number of the output, or the value itself


@dataclass(frozen=True, slots=True)
class Batches:
    """The batches that a step is for: of which set of data, with how many samples, and how many there are.

    `short` are the samples of the last one, where the step serves a shorter one too.
    """

    data: int
    rows: int
    rounds: int
    short: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A graph, and the trace it is from, with what that returned.

    `last` is the same function on a short last batch, with lengths of its own: the two may become one part.
    """

    graph: Graph
    traced: Traced | None = None
    results: Results = ()
    batches: Batches | None = None
    last: Part | None = None

    @property
    def captures(self) -> tuple[Capture, ...]:
        """What the trace reached from outside: the inputs behind the arguments."""
        return () if self.traced is None else self.traced.captures


@dataclass(frozen=True, slots=True)
class Epochs:
    """What stands around the parts of a run: shape and dtype of each column of each set of data, and what is done.

    Of an epoch `in_pieces` the sets hold only some of the samples at a time: Python says how many batches there are of
    them, and which is short; the sums of the epoch go on from piece to piece, and it divides them. There is room for
    the state after so many epochs of a call, which Python chooses (`kept`). One `alone` is for who calls without
    Python: nothing is around its batches but the order they are given in and the means they leave.
    """

    sets: tuple[tuple[tuple[Shape, DType], ...], ...]
    shuffle: bool
    evaluated: bool
    permuted: bool  # whether the order of samples is the last part's result
    in_pieces: bool = False
    kept: int = 0
    alone: bool = False

    @property
    def samples(self) -> int:
        """How many there are in all sets."""
        return sum(columns[0][0][0] for columns in self.sets)


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """So many models that a run trains side by side, and what each has for itself: tensors from outside, columns of
    the sets of data, the order of the samples. What follows from these each has for itself too.
    """

    count: int
    handles: tuple[Core, ...]
    columns: tuple[tuple[bool, ...], ...] = ()
    order: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Graphs to compile. A call copies so many `arguments` in; a run has epochs, and may have many models in lanes."""

    parts: tuple[Part, ...]
    arguments: int = 0
    epochs: Epochs | None = None
    lanes: Lanes | None = None

    @property
    def steps(self) -> tuple[Part, ...]:
        """The parts of a run that train."""
        return tuple(part for part in self.parts if part.batches is not None)

    @property
    def traces(self) -> tuple[Part, ...]:
        """Every part, and behind it that for its short last batch, before the two are merged."""
        return tuple(one for part in self.parts for one in (part, part.last) if one is not None)

    @property
    def handles(self) -> tuple[Core, ...]:
        """The tensors that parts reach from outside, each once, in the order of their first appearance."""
        found = {id(one.handle): one.handle for part in self.traces for one in part.captures}
        return tuple(found.values())

    @property
    def nodes(self) -> int:
        """Of all graphs together."""
        return sum(len(part.graph.nodes) for part in self.parts)

    def verify(self) -> Job:
        """Check the invariants and return the job. Raises GraphError."""
        steps, others = self.steps, 0
        if self.epochs is not None:
            others = int(self.epochs.evaluated) + int(self.epochs.permuted)
        count = len(steps) + others if self.epochs is not None else 1
        ordered = steps == self.parts[: len(steps)]
        if len(self.parts) != count or not ordered or bool(steps) != (self.epochs is not None):
            got = f"{len(self.parts)} parts, {len(steps)} of them steps"
            raise GraphError(message("job", got, f"{count}, the steps first"))
        if self.lanes is not None:
            known = set(map(id, self.handles))
            if self.epochs is None or self.lanes.count < 1 or not known.issuperset(map(id, self.lanes.handles)):
                raise GraphError(message("job", f"{self.lanes.count} lanes", "a run, and tensors that it reaches"))
        if len({len(step.results) for step in steps}) > 1:
            raise GraphError(message("job", f"steps that return {[len(step.results) for step in steps]} numbers"))
        for part in self.parts:
            part.graph.verify()
            if len(part.captures) > len(part.graph.inputs):
                raise GraphError(message("job", f"{len(part.captures)} captures and {len(part.graph.inputs)} inputs"))
        return self
