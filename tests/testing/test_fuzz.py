"""The fuzzer: what it runs is right, and what is broken on purpose it finds and makes small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler.codegen.llvm.operations import OPERATIONS
from tinygrad_nn.compiler.expand import kernel
from tinygrad_nn.compiler.loopir.ir import Assign
from tinygrad_nn.compiler.lower import lower
from tinygrad_nn.graph.graph import NO_ATTRS, Graph, Node
from tinygrad_nn.ops import TABLE
from tinygrad_nn.ops.source import INPUT
from tinygrad_nn.testing import agreement
from tinygrad_nn.testing.fuzz import fuzz, judge, main, minimise
from tinygrad_nn.testing.programs import generate

PROGRAMS = 60
ADD, SUB, REAL = OPERATIONS["add"], OPERATIONS["sub"], kernel.Expansion.real


def test_random_programs_agree() -> None:
    lines: list[str] = []
    summary = fuzz(PROGRAMS, 11, report=lines.append)
    assert not summary.mismatches, "\n".join(summary.mismatches)
    assert summary.programs == PROGRAMS
    assert summary.interpreted > PROGRAMS // 10
    assert summary.undecided_elements < 0.05 * summary.elements


def test_a_seed_is_a_program() -> None:
    first, values = generate((5, 7))
    again, same = generate((5, 7))
    assert str(first) == str(again)
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(values, same, strict=True))
    assert str(first) != str(generate((5, 8))[0])


def test_programs_hold_all_kinds_of_ops_gradients_and_state() -> None:
    names: set[str] = set()
    updates = 0
    for number in range(500):
        graph, values = generate((12, number))
        graph.verify()
        assert len(values) == len(graph.inputs)
        names |= {node.op.name for node in graph.nodes}
        updates += len(graph.updates)
    # Of composites a trace holds what they are composed of.
    missing = {op.name for op in TABLE.values() if op.kind not in ("source", "composite")} - names
    assert len(missing) < 6, missing
    assert updates > 20


BREAKAGES: dict[str, Any] = {
    "sub has its operands swapped": lambda patch: patch.setitem(OPERATIONS, "sub", lambda t, v, a: SUB(t, v, a[::-1])),
    "neg does nothing": lambda patch: patch.setitem(OPERATIONS, "neg", lambda t, v, a: a[0]),
    "the last lane is dropped": lambda patch: patch.setattr(kernel.Expansion, "real", _one_too_far),
    "lanes beyond the end are folded": lambda patch: patch.setitem(kernel._EXPAND, Assign, _unmasked),
    "guards are dropped": lambda patch: patch.setattr(kernel.Expansion, "guard", lambda self, site, env: None),
    "state is not copied": lambda patch: patch.setattr(lower, "_kept", lambda b, buffer, state: buffer),
}


def _one_too_far(self: Any, var: Any, base: Any, env: Any) -> Any:
    return REAL(self, var, base + 1 if isinstance(base, int) else self.b.add(base, self.b.whole(1)), env)


def _floats_subtracted(t: Any, v: Any, a: Any) -> Any:
    """Indices stay what they are."""
    return (SUB if v.dtype.kind == "f" else ADD)(t, v, a)


def _unmasked(self: Any, one: Any, env: Any) -> None:
    env.registers[one.register] = self.b.splat(self.value(one.value, env), self.lanes)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_is_broken_on_purpose_is_found(breakage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these may write outside of the arena."""
    BREAKAGES[breakage](monkeypatch)
    for number in range(600):
        graph, values = generate((13, number))
        if judge(graph, values, interpreted=False).problems:
            return
    pytest.fail(f"{breakage}: 600 programs found nothing")


def test_a_mismatch_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, "neg", lambda t, v, a: a[0])

    def node(op: Any, *operands: Node) -> Node:
        return Node(op, operands, NO_ATTRS, (9,), np.dtype(np.float32), None)

    x = node(INPUT)
    y = node(TABLE["mul"], node(TABLE["add"], x, x), x)
    graph = Graph.of([node(TABLE["add"], node(TABLE["neg"], y), x), node(TABLE["sub"], y, x)], [x])
    values = [np.linspace(-1, 1, 9).astype(np.float32)]
    small, given = minimise(graph, values, lambda g, v: bool(judge(g, v).problems))
    names = [one.op.name for one in small.nodes if one.op.kind != "source"]
    assert "neg" in names
    assert len(names) <= 2, names
    assert len(given) == len(small.inputs) <= 2


def test_an_exception_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, values = generate((5, 7))
    monkeypatch.setattr(agreement, "Compiled", lambda graph: 1 / 0)
    assert "ZeroDivisionError" in judge(graph, values).problems[0]


def test_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["--programs", "5", "--seed", "2"]) == 0
    assert "5 programs" in capsys.readouterr().out
    monkeypatch.setitem(OPERATIONS, "add", _floats_subtracted)
    assert main(["--programs", "30", "--seed", "2"]) == 1
    out = capsys.readouterr().out
    assert "--seed 2 --first" in out
    assert "machine code: result 0" in out


def test_the_plugin_does_not_load_the_fuzzer() -> None:
    assert "fuzz" not in (Path(tg.__file__).parent / "testing" / "plugin.py").read_text()
