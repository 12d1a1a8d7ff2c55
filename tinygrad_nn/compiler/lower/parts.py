"""The graphs of a job, planned and lowered together: what several of them reach has one buffer, and one layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

from ...errors import GraphError, message
from ...graph.graph import Graph, Node
from ..job import Job, Part
from ..loopir.ir import Buffer
from ..loopir.program import Fault, Program
from .fusion import Plan, plan
from .lower import lower

LARGE: Final = 2**14  # elements of an argument from which NumPy takes longer to change their order than our loops


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A job with a plan for each of its parts."""

    job: Job
    plans: tuple[Plan, ...]

    def verify(self) -> Planned:
        """Check that plans speak of their graphs, and that what a graph leaves is stored. Raises GraphError."""
        for part, one in zip(self.job.parts, self.plans, strict=True):
            known = set(part.graph.nodes)
            strangers = [node for node in (*one.stored, *one.row_major) if node not in known]
            left = [*part.graph.outputs, *(new for _, new in part.graph.updates)]
            missing = [node for node in left if node not in one.stored]
            if strangers or missing:
                got = f"a plan with the strangers {strangers} and without {missing}"
                raise GraphError(message("plan", got, "nodes of the graph, all that it leaves among them"))
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A job with the program of each part. Their faults are numbered one after the other."""

    job: Job
    programs: tuple[Program, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Of all parts."""
        return tuple(fault for program in self.programs for fault in program.faults)

    @property
    def state(self) -> list[tuple[Any, Buffer]]:
        """The tensors that parts reach from outside, each with its one buffer."""
        owners: dict[int, tuple[Any, Buffer]] = {}
        for part, program in zip(self.job.parts, self.programs, strict=True):
            owners |= captured(part, program)
        return list(owners.values())

    def arguments(self, k: int) -> tuple[Buffer, ...]:
        """The inputs of a part that are not from outside."""
        inputs = self.programs[k].inputs
        return inputs[: len(inputs) - len(self.job.parts[k].captures)]

    def verify(self) -> Lowered:
        """Check every program, on the buffers of all. Raises GraphError."""
        buffers = tuple(dict.fromkeys(buffer for program in self.programs for buffer in program.buffers))
        for program in self.programs:
            replace(program, buffers=buffers).verify()
        return self


def captured(part: Part, program: Program) -> dict[int, tuple[Any, Buffer]]:
    """The tensors that a part reaches from outside, by identity, with their buffers."""
    inputs = program.inputs[len(program.inputs) - len(part.captures) :]
    return {id(one.handle): (one.handle, buffer) for one, buffer in zip(part.captures, inputs, strict=True)}


def plan_parts(job: Job, blas: int, plain: bool = False) -> Planned:
    """A plan for each part. What one part needs row-major is so in all of them; where it has to be `plain`, all that
    comes from outside and goes there.
    """
    plans = [plan(part.graph, blas) for part in job.parts]
    if plain:
        plans = [
            replace(one, row_major=one.row_major | {*part.graph.inputs, *part.graph.outputs, *_values(part.graph)})
            for part, one in zip(job.parts, plans, strict=True)
        ]
    if job.epochs is None:  # arguments are copied in at every call: large ones as they lie
        large = {node for node in job.parts[0].graph.inputs[: job.arguments] if prod(node.shape) >= LARGE}
        return Planned(job, (replace(plans[0], row_major=plans[0].row_major | large),))
    handles: set[int] = set()
    for part, one in zip(job.parts, plans, strict=True):
        handles |= {id(capture.handle) for capture in part.captures if capture.node in one.row_major}
    together = []
    for part, one in zip(job.parts, plans, strict=True):
        shared = {capture.node for capture in part.captures if id(capture.handle) in handles}
        together.append(replace(one, row_major=one.row_major | shared))
    return Planned(job, tuple(together))


def _values(graph: Graph) -> tuple[Node, ...]:
    """The new values of the state."""
    return tuple(new for _, new in graph.updates)


def lower_parts(planned: Planned) -> Lowered:
    """Part by part; a tensor that an earlier one reached has its buffer already."""
    owners: dict[int, tuple[Any, Buffer]] = {}
    programs: list[Program] = []
    faults = 0
    for k, (part, one) in enumerate(zip(planned.job.parts, planned.plans, strict=True)):
        known: dict[Node, Buffer] = {
            capture.node: owners[id(capture.handle)][1] for capture in part.captures if id(capture.handle) in owners
        }
        program = lower(part.graph, one, known, "" if k == 0 else f"p{k}", faults)
        faults += len(program.faults)
        owners |= captured(part, program)
        programs.append(program)
    return Lowered(planned.job, tuple(programs))
