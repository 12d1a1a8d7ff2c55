"""The simulation of docs/scaling.md: what must hold whatever the costs are."""

from __future__ import annotations

import pytest

from tests.benchmarks.scaling import Costs, simulate

COSTS = Costs(0.004, 0.05, 0.01, 0.0035, 3e-6, 1e-3, 2e-6, 0.0085)
FREE = Costs(0.004, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_work_alone_is_shared_out() -> None:
    for workers in (1, 2, 8):
        run = simulate(FREE, 20_000, workers)
        assert run.seconds >= 80 / workers - 1e-9
        assert run.seconds == pytest.approx(80 / workers, rel=0.1)
        assert run.training == pytest.approx(80 / workers / run.seconds)
    assert simulate(FREE, 20_000, 2, speed=0.5).seconds == pytest.approx(80, rel=0.1)


def test_costs_are_added_and_shares_are_those_of_all_time() -> None:
    run = simulate(COSTS, 20_000, 4)
    assert run.seconds > 20
    assert run.training + run.starting + run.around + run.waiting == pytest.approx(1)
    assert 0 < run.driver < 0.5


def test_one_driver_is_what_breaks_first() -> None:
    many = simulate(COSTS, 200_000, 3200)
    assert many.driver > 0.5
    assert many.waiting > 0.5
    assert many.seconds >= 200_000 * (2e-6 + 3e-6 + 0.0085e-3)
    small, right = (simulate(COSTS, 200_000, 3200, least=least, handed=0.0) for least in (0.1, 2.0))
    assert small.seconds > 1.5 * right.seconds
    assert simulate(COSTS, 200_000, 3200).seconds < 1.3 * right.seconds


def test_who_dies_costs_time_and_no_model() -> None:
    long = Costs(0.4, 0.05, 0.01, 0.0035, 3e-6, 1e-3, 2e-6, 0.0085)
    sound, dying = (simulate(long, 5000, 8, lifetime=life) for life in (1e9, 10.0))
    assert dying.tasks == sound.tasks
    assert dying.seconds > 1.02 * sound.seconds
