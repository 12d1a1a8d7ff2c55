"""Where the time of a call goes: what each kernel takes, how close that is to the peak of this machine, who lies where
in memory and when, and how long each stage of the compiler took.

Kernels are timed as `tg.explain` times them, on the batch of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..compiler.driver import Compilation
from ..compiler.image import image_of
from ..compiler.run.explain import Row, explain_stages
from ..compiler.schedule.memory import Uses
from ..graph.graph import Node
from ..graph.places import Places
from .subject import Missing, Subject, short

KERNELS: Final = 400  # of a function whose kernels are timed: each is compiled by itself
BUFFERS: Final = 1500  # that are drawn, the largest of them


def part(subject: Subject) -> Mapping[str, Any] | Missing:
    """Kernels, buffers and stages."""
    made = subject.compilation
    if isinstance(made, Missing):
        return made
    return {
        "kernels": _kernels(subject, made),
        "memory": _memory(subject, made),
        "stages": [[name, seconds] for name, seconds in made.seconds.items()],
        "cached": made.object.cached,
        "target": {"processor": made.target.cpu, "width": made.target.width},
    }


def _kernels(subject: Subject, made: Compilation) -> dict[str, Any]:
    """A row per kernel, and the peak in operations per second of float64."""
    count = len(made.schedule.program.kernels)
    if count > KERNELS:
        return {"missing": f"{count:,} kernels are too many to be timed for a page; up to {KERNELS} are."}
    image = image_of(made.made["merge"], made.made["merge"], made.made["assemble"], made.schedule)
    arena = image.arena()
    for at, node in zip(image.inputs, subject.graph.inputs, strict=True):
        arena.view(at)[...] = subject.values[node]
    explained = explain_stages(made, arena)
    rows = [
        {**_row(row, explained.peak), "nodes": _ids(subject, kernel.origins)}
        for row, kernel in zip(explained.rows, made.schedule.program.kernels, strict=False)
    ]
    return {"rows": rows, "peak": explained.peak, "count": count}


def _ids(subject: Subject, nodes: Iterable[Node]) -> list[int]:
    """The numbers on the page of the nodes as traced that some nodes compute."""
    places = subject.graph.places or Places()
    return sorted({subject.ids[one] for node in nodes for one in places.origins(node) if one in subject.ids})


def _row(row: Row, peak: float) -> dict[str, Any]:
    rate = row.flops / row.seconds / (peak * 8 / row.itemsize) if row.seconds else 0.0
    return {
        "name": row.name,
        "times": row.times,
        "sources": row.sources,
        "loops": row.shape,
        "vector": row.vector,
        "flops": row.flops,
        "bytes": row.bytes,
        "ns": 1e9 * row.seconds,
        "rate": rate,
    }


def _memory(subject: Subject, made: Compilation) -> dict[str, Any]:
    """The buffers that have memory of their own: from which byte, how many, from which kernel to which, and what each
    holds: an input or a result by its name, any other by the op that makes it.
    """
    planned = made.schedule
    program, uses = planned.program, Uses(planned.program)
    last = len(program.kernels) - 1
    state = {planned.offsets[old] for old, new in program.updates if old is not new}
    nodes = {one.node: one for one in made.decisions if one.stored and not one.body}
    called = {one: subject.leaves[node][1] for one, node in zip(program.inputs, subject.graph.inputs, strict=True)}
    for buffer, node in zip(program.outputs, subject.graph.outputs, strict=True):
        called.setdefault(buffer, ", ".join(subject.results.get(node, ())))
    found: list[tuple[Any, ...]] = []
    for buffer in program.buffers:
        if buffer.base is not None:
            continue
        size = planned.layouts[buffer].size * buffer.dtype.itemsize
        lives = buffer.role != "temporary" or buffer not in uses.first
        begin, end = (0, last) if lives else (uses.first[buffer], min(last, uses.last[buffer]))
        number = buffer.name[1:]
        decided = nodes.get(int(number)) if number.isdecimal() else None
        role: str = "result" if buffer in program.outputs else buffer.role
        role = "state" if role == "temporary" and planned.offsets[buffer] in state else role
        op, ids = ("", []) if decided is None else (decided.op, _ids(subject, [made.graph.nodes[decided.node]]))
        place = (planned.offsets[buffer], size, begin, end)
        held = short(called.get(buffer) or op)
        found.append((buffer.name, role, buffer.dtype.name, buffer.shape, *place, held, ids))
    found.sort(key=lambda one: (-one[5], one[4]))
    kept = sorted(found[:BUFFERS], key=lambda one: one[4])
    return {
        "size": planned.size,
        "kernels": [kernel.name for kernel in program.kernels],
        "buffers": kept,
        "count": len(found),
        "whole": sum(one[5] for one in found),
    }
