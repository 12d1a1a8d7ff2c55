"""Many models side by side: a training run in which each lane of the vectors is a model of its own.

    for i: for j:  h[i, j] = x[i, :] @ w[:, j]    ->    for i: for lane: for j:  h[i, j, lane] = x[i, :] @ w[:, j, lane]

A buffer that depends on what differs between the models gets a last axis with an element for each of them. A kernel
that touches one is put in a loop over the models, which is its vector loop. All else stays as it is, and is done once
for all models. Loops, registers, checks, indices from data mean in each lane what they meant before, and nothing in a
kernel decides how often a loop runs, so no kind of op needs a rule; and each model has the same operations in the same
order as if it were alone, however many lie beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..job import Lanes
from ..loopir.ir import Buffer, Kernel, Loop, Statement, Var, affine
from ..loopir.program import Program, Span, spans, with_spans
from ..loopir.substitute import Substitution
from .training_loop import Control, TrainingProgram


def with_lanes(value: Program | TrainingProgram) -> Program | TrainingProgram:
    """The program of a run with its models in lanes; any other one as it is."""
    if not isinstance(value, TrainingProgram) or value.job.lanes is None:
        return value
    program, wider = in_lanes(value.program, roots(value, value.job.lanes), value.job.lanes.count)

    def new(buffer: Any) -> Any:
        return wider.get(buffer, buffer)

    return replace(
        value,
        program=program,
        control=Control(*(new(getattr(value.control, one.name)) for one in fields(Control))),
        state=tuple((handle, new(buffer), changes) for handle, buffer, changes in value.state),
        sources=tuple(tuple(map(new, columns)) for columns in value.sources),
        apart=frozenset(wider.values()),
    )


def in_lanes(program: Program, begun: Iterable[Buffer], count: int) -> tuple[Program, Mapping[Buffer, Buffer]]:
    """A program for so many models that differ in the buffers `begun`, and what stands for each that has lanes now."""
    own = varying(program, begun)
    wider: dict[Buffer, Buffer] = {}
    for buffer in program.buffers:
        if (buffer.base or buffer) in own:
            base = None if buffer.base is None else wider[buffer.base]
            value = None if buffer.value is None else np.asarray(buffer.value)[..., None]  # what a state becomes
            wider[buffer] = replace(buffer, shape=(*buffer.shape, count), value=value, base=base)

    def new(*buffers: Any) -> tuple[Any, ...]:
        return tuple(wider.get(buffer, buffer) for buffer in buffers)

    made = Program(
        tuple(_for_each(kernel, wider, count) for kernel in program.kernels),
        new(*program.buffers),
        new(*program.inputs),
        new(*program.outputs),
        tuple((old, made) for old, made in (new(*pair) for pair in program.updates)),
        tuple(replace(fault, buffer=new(fault.buffer)[0]) for fault in program.faults),
        with_spans(program.regions, {one: _moved(one, new) for one, _ in spans(program.regions)}),
    )
    return made, wider


def _moved(span: Span, new: Callable[..., tuple[Any, ...]]) -> Span:
    return replace(span, updates=tuple((old, made) for old, made in (new(*pair) for pair in span.updates)))


def roots(training: TrainingProgram, lanes: Lanes) -> Iterator[Buffer]:
    """The buffers in which models differ from the beginning, and those of their results."""
    handles, control = set(map(id, lanes.handles)), training.control
    yield from (buffer for handle, buffer, _ in training.state if id(handle) in handles)
    for columns, own in zip(training.sources, lanes.columns, strict=bool(lanes.columns)):
        yield from (buffer for buffer, differs in zip(columns, own, strict=True) if differs)
    yield from (control.history, control.sound, control.scores)
    if lanes.order and control.order is not None:
        yield control.order


def varying(program: Program, begun: Iterable[Buffer]) -> set[Buffer]:
    """The buffers in which models differ, other shapes of one not counted: what is made from one of them is another,
    and so is what takes its place.
    """
    found = {buffer.base or buffer for buffer in begun}
    touched = []
    for kernel in program.kernels:
        sides: tuple[set[Buffer], set[Buffer]] = set(), set()
        for access, writes, _ in kernel.accesses:
            sides[writes].add(access.buffer.base or access.buffer)
        touched.append((sides[0] | sides[1], sides[1]))
    touched += [(both, both) for span, _ in spans(program.regions) for both in map(set, span.updates)]
    before = -1
    while len(found) != before:
        before = len(found)
        for all_of_it, made in touched:
            if not found.isdisjoint(all_of_it):
                found |= made
    return found


def _for_each(kernel: Kernel, wider: Mapping[Buffer, Buffer], count: int) -> Kernel:
    """A kernel for every model, where models differ in what it touches."""
    if not any(access.buffer in wider for access, _, _ in kernel.accesses):
        return kernel
    lane = Var("lane", count)
    change = Substitution(buffers=wider, appended=dict.fromkeys(wider, affine(lane)))
    return replace(kernel, body=_around(tuple(map(change.statement, kernel.body)), lane), vector=lane)


def _around(body: tuple[Statement, ...], lane: Var) -> tuple[Statement, ...]:
    """The loop over the models: inside of the outermost loop, if all is in one, so that kernels over the same rows may
    become one.
    """
    if len(body) == 1 and isinstance(body[0], Loop):
        return (Loop(body[0].var, (Loop(lane, body[0].body),)),)
    return (Loop(lane, body),)
