"""Which lines of IR and assembly are which kernel's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.codegen.llvm.ranges import Ranges
from tinygrad_nn.compiler.driver import Compilation
from tinygrad_nn.compiler.schedule import sharing


def instructions(text: str) -> list[str]:
    """What a processor does."""
    return [line for line in text.split("\n") if re.match(r"\s+[a-z]", line)]


def compiled(model: Any, *shape: int) -> Compilation:
    x = tg.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    stages: Compilation = tg.jit(lambda x: model(x)).entry((x,), {}).compiled.stages
    return stages


def deep() -> nn.Module:
    """Equal layers."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(24, 24), nn.LayerNorm(24), nn.GELU()) for _ in range(4)))


CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "small": (lambda x: (x.exp().sum(1) * 2).log(), (5, 9)),
    "deep": (deep(), (16, 24)),
    "loop": (nn.LSTM(3, 4), (50, 2, 3)),
}


@pytest.fixture(params=CASES)
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Compilation:
    if request.param == "deep":  # equal kernels become functions
        monkeypatch.setattr(sharing, "SMALL", 0)
        monkeypatch.setattr(sharing, "PART", 1e9)
    model, shape = CASES[request.param]
    stages = compiled((lambda x: model(x)[0]) if request.param == "loop" else model, *shape)
    assert bool(stages.schedule.shared) is (request.param == "deep")
    return stages


def test_every_kernel_has_lines_of_both(made: Compilation) -> None:
    names = {kernel.name for kernel in made.schedule.program.kernels}
    for ranges in (made.llvm_ranges(), made.assembly_ranges()):
        assert set(ranges.kernels) == names
        lines = ranges.text.split("\n")
        for name, own in ranges.kernels.items():
            assert any(instructions("\n".join(lines[one.start : one.stop])) for one in own), name


def test_no_line_of_two_kernels_that_is_in_no_function(made: Compilation) -> None:
    for ranges in (made.llvm_ranges(), made.assembly_ranges()):
        owners = _owners(ranges)
        several = {line for line, names in owners.items() if len(names) > 1}
        calls = {kernel.name for shared in made.schedule.shared for kernel in shared.calls}
        assert all(owners[line] <= calls for line in several)
        assert bool(several) is bool(calls)


def _owners(ranges: Ranges) -> dict[int, set[str]]:
    owners: dict[int, set[str]] = {}
    for name, own in ranges.kernels.items():
        for line in (line for one in own for line in one):
            owners.setdefault(line, set()).add(name)
    return owners


def test_instructions_are_those_that_run(made: Compilation) -> None:
    plain = native.assembly(made.llvm, made.target)
    assert instructions(made.assembly_ranges().text) == instructions(plain)


def test_stores_of_a_kernel_are_in_its_lines() -> None:
    made = compiled(lambda x: (x @ x.T).softmax(1) @ x.sum(1), 4, 3)
    ranges = made.llvm_ranges()
    lines = ranges.text.split("\n")
    assert len(ranges.kernels) > 1
    inside = {line for own in ranges.kernels.values() for one in own for line in one}
    assert {k for k, line in enumerate(lines) if line.lstrip().startswith("store")} <= inside
    assert next(k for k, line in enumerate(lines) if line.startswith("  ret i32 0")) not in inside
