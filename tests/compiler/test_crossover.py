"""From which size on products are left to a BLAS: what is measured and kept, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.loopir.ir import Gemm
from tinygrad_nn.compiler.run import crossover
from tinygrad_nn.compiler.target import NEVER, TARGETS, Target
from tinygrad_nn.config import config
from tinygrad_nn.graph.graph import Graph

pytest.importorskip("scipy")
REAL = crossover.__dict__["crossover"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Target]]:
    """A folder in which nothing is known yet, and a stopwatch that says 512 cubed; for what it was asked."""
    found: list[Target] = []

    def stopwatch(target: Target) -> int:
        found.append(target)
        return 512**3

    tmp_path.chmod(0o700)
    monkeypatch.setenv("TGNN_CACHE", str(tmp_path))
    monkeypatch.setattr(crossover, "crossover", stopwatch)
    config.cache_clear()
    crossover.measured.cache_clear()
    yield found
    monkeypatch.undo()
    config.cache_clear()
    crossover.measured.cache_clear()


@cache
def product(size: int) -> Graph:
    x = tg.ones(size, size)
    graph: Graph = tg.jit(lambda x: x @ x).entry((x,), {}).compiled.stages.graph
    return graph


def test_it_is_measured_once_and_known_to_the_next_process(asked: list[Target]) -> None:
    assert crossover.machine([product(320)]) == replace(native.host(), blas_from=512**3)
    assert crossover.machine([product(8), product(320)]).blas_from == 512**3
    assert asked == [native.host()]
    crossover.measured.cache_clear()  # as a new process
    assert crossover.machine([product(320)]).blas_from == 512**3
    assert len(asked) == 1


def test_another_target_is_another_machine(asked: list[Target]) -> None:
    older = replace(native.host(), cpu="older")
    assert crossover.measured(older).blas_from == crossover.measured(native.host()).blas_from
    assert asked == [older, native.host()]


def test_small_products_ask_for_nothing(asked: list[Target]) -> None:
    assert crossover.machine([product(8)]) == native.host()
    assert not asked


@pytest.mark.parametrize("missing", ["cache", "blas"])
def test_it_is_never_needed(asked: list[Target], missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing == "blas":
        monkeypatch.setattr(crossover, "has_blas", lambda: False)
    else:
        monkeypatch.setenv("TGNN_CACHE", "0")
        config.cache_clear()
    assert crossover.machine([product(320)]) == replace(native.host(), blas=False)
    assert not asked


@pytest.mark.parametrize(
    ("faster", "wanted"),
    [((320, 512, 896), 320**3), ((512, 896), 512**3), ((320, 896), 896**3), ((320, 512), NEVER), ((), NEVER)],
)
def test_it_begins_where_a_blas_is_faster_from_then_on(
    faster: tuple[int, ...], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossover, "_is_faster", lambda size, dtype, target: size in faster)
    assert REAL(native.host()) == wanted


def test_it_must_be_faster_in_both_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossover, "_is_faster", lambda size, dtype, target: dtype == "float32")
    assert REAL(native.host()) == NEVER


def test_a_product_is_timed_both_ways() -> None:
    """Whatever the answer: there is one."""
    assert crossover._is_faster(320, crossover.FLOAT32, native.host()) in (True, False)


def test_a_target_says_which_products_are_left_to_a_blas() -> None:
    job = Job((Part(product(320)),))

    def calls(target: Target) -> bool:
        program = build(job, target, last="rows").program
        return any(isinstance(one, Gemm) for kernel in program.kernels for one in kernel.body)

    here = native.host()
    assert [calls(replace(here, blas_from=size)) for size in (0, 320**3, 320**3 + 1, NEVER)] == [
        True,
        True,
        False,
        False,
    ]
    assert not calls(replace(here, blas=False))
    assert not any(calls(replace(target, blas_from=1)) for target in TARGETS.values())
