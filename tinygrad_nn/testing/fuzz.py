"""`python -m tinygrad_nn.testing.fuzz --programs N --seed S`: random programs through every executor.

Prints how many ran, how many were wrong or undecided, and for each wrong one the smallest part that still is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compiler.passes.rebuild import rebuild
from ..executor import run
from ..graph.graph import NO_ATTRS, Array, Graph, Node, Op
from ..ops import TABLE
from ..ops.source import INPUT
from .agreement import Outcome, check
from .builder import OPS
from .programs import generate

SMALL = 3000  # elements computed by a program that is interpreted, too


@dataclass(slots=True)
class Summary:
    """What a run of the fuzzer found."""

    programs: int = 0
    interpreted: int = 0
    refused: int = 0
    mismatches: list[str] = field(default_factory=list)
    undecided: int = 0
    elements: int = 0
    undecided_elements: int = 0

    def __str__(self) -> str:
        share = 100 * self.undecided_elements / max(1, self.elements)
        return (
            f"{self.programs} programs ({self.interpreted} interpreted, "
            f"{self.refused} with a wrong index or a divisor of 0), "
            f"{len(self.mismatches)} mismatches, {self.undecided} with undecided elements "
            f"({share:.2f} % of {self.elements} elements)"
        )


def judge(graph: Graph, values: Sequence[Any], interpreted: bool = True, native: bool = True) -> Outcome:
    """`check`, an exception being a problem, too."""
    try:
        return check(graph, values, interpreted, native)
    except Exception as error:
        return Outcome((f"{type(error).__name__}: {str(error)[:500]}",))


def fuzz(
    programs: int,
    seed: int,
    first: int = 0,
    report: Callable[[str], Any] = lambda text: None,
    favourite: Op | None = None,
) -> Summary:
    """Run random programs number `first`, `first + 1`, ..., half of whose ops are the favourite, if there is one."""
    summary = Summary()
    for number in range(first, first + programs):
        graph, values = generate((seed, number), favourite)
        work = sum(int(np.prod(node.shape)) for node in graph.nodes)
        interpreted = work <= SMALL
        outcome = judge(graph, values, interpreted)
        summary.programs += 1
        summary.interpreted += interpreted
        summary.refused += not outcome.total and not outcome.problems
        summary.elements += outcome.total
        summary.undecided_elements += outcome.undecided
        summary.undecided += outcome.undecided > 0
        if outcome.problems:
            text = f"--seed {seed} --first {number} --programs 1\n{smallest(graph, values, interpreted)}"
            summary.mismatches.append(text)
            report(text + "\n")
        if (number + 1 - first) % 500 == 0:
            report(f"{summary}\n")
    return summary


def smallest(graph: Graph, values: Sequence[Any], interpreted: bool) -> str:
    """The smallest part of a graph that still is wrong, as text: the graph, the values, what is wrong."""
    graph, values = minimise(graph, values, lambda g, v: bool(judge(g, v, interpreted).problems))
    lines = [str(graph)]
    for k, value in enumerate(values):
        shown = np.array2string(value, threshold=100, separator=", ", floatmode="unique").replace("\n", "")
        lines.append(f"input {k}: {value.dtype}{list(value.shape)} {shown}")
    return "\n".join([*lines, *(f"  {problem}" for problem in judge(graph, values, interpreted).problems)])


def minimise(
    graph: Graph, values: Sequence[Array], fails: Callable[[Graph, Sequence[Array]], bool]
) -> tuple[Graph, list[Array]]:
    """Drop results and turn nodes into inputs as long as it still fails."""
    now = list(values)
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate, given in (*_fewer_results(graph, now), *_cuts(graph, now)):
            if fails(candidate, given):
                graph, now, shrunk = candidate, given, True
                break
    return graph, now


def _fewer_results(graph: Graph, values: list[Array]) -> list[tuple[Graph, list[Array]]]:
    """The graph with each one of its results only, then without each one."""
    found = []
    count = len(graph.outputs) + len(graph.updates)
    if count > 1:
        for wanted in (True, False):
            for k in range(count):
                outputs = [node for j, node in enumerate(graph.outputs) if (j == k) is wanted]
                updates = [one for j, one in enumerate(graph.updates, len(graph.outputs)) if (j == k) is wanted]
                found.append(_needed(Graph.of(outputs, graph.inputs, updates), values))
    return found


def _needed(graph: Graph, values: list[Array]) -> tuple[Graph, list[Array]]:
    """Without the inputs that nothing depends on."""
    used = {x for node in graph.nodes if node not in graph.inputs for x in node.inputs}
    used |= {*graph.outputs, *(node for pair in graph.updates for node in pair)}
    kept = [k for k, node in enumerate(graph.inputs) if node in used]
    return Graph.of(graph.outputs, [graph.inputs[k] for k in kept], graph.updates), [values[k] for k in kept]


def _cuts(graph: Graph, values: list[Array]) -> list[tuple[Graph, list[Array]]]:
    """The graph with each one of its nodes as an input, those with much before them first."""
    inner = [node for node in graph.nodes if node not in graph.inputs]
    try:
        known, _ = run(Graph.of(inner, graph.inputs), values)
    except Exception:  # of an index out of range: nothing is known
        return []
    pairs = [(node, value) for node, value in zip(inner, known, strict=True) if node.op.kind != "source"]
    return [_cut(graph, values, node, np.array(value)) for node, value in reversed(pairs) if node not in graph.outputs]


def _cut(graph: Graph, values: list[Array], node: Node, value: Array) -> tuple[Graph, list[Array]]:
    symbol = Node(INPUT, (), NO_ATTRS, node.shape, node.dtype, None)
    rebuilt = rebuild(graph, lambda one, operands: symbol if one is node else None)
    whole = Graph.of(rebuilt.outputs, [*rebuilt.inputs, symbol], rebuilt.updates)
    return _needed(whole, [*values, value])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where there is a mismatch."""
    parser = argparse.ArgumentParser(prog="python -m tinygrad_nn.testing.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--op", choices=[op.name for op in OPS], metavar="NAME", help="programs that use it often")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TGNN_CACHE", "0")
    summary = fuzz(options.programs, options.seed, options.first, sys.stdout.write, TABLE.get(options.op))
    sys.stdout.write(f"{summary}\n")
    return 1 if summary.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
