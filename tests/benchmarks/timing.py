"""Interleaved timing: contestants take turns, so that a machine that drifts slows them alike. Figures are medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved(
    contestants: Mapping[str, Callable[[], object]], repeat: int, rounds: int = 25
) -> dict[str, list[float]]:
    """Seconds per call of each contestant, one sample per round, after a warm-up."""
    for call in contestants.values():
        for _ in range(repeat):
            call()
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            samples[name].append((time.perf_counter() - start) / repeat)
    return samples


def ratio(samples: Mapping[str, list[float]], name: str, reference: str) -> float:
    """Median over rounds of one contestant's time over another's."""
    return statistics.median(a / b for a, b in zip(samples[name], samples[reference], strict=True))


def median(samples: Mapping[str, list[float]], name: str) -> float:
    """Median seconds."""
    return statistics.median(samples[name])
