"""Models of random layers: results near those of Python, and the same bits however much a compiler optimises."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from . import random_models as own

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no program `gcc` (apt install gcc)")
SEEDS = range(1000, 1008)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[own.Exported]:
    return own.exported(SEEDS, tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("machine", ["", "-march=native"])
def test_results_are_those_of_python_and_the_same_bits_at_every_level(
    models: list[own.Exported], machine: str, tmp_path: Path
) -> None:
    flags = machine.split()
    plain = own.library(models, tmp_path / "plain.so", "-O0", *flags)
    fast = own.library(models, tmp_path / "fast.so", "-O3", *flags, dialect="gnu99")
    for one in models:
        other = (one.x + np.random.default_rng(0).normal(size=one.x.shape) / 4).astype(one.x.dtype)
        for x in (one.x, other):
            found = own.results(one, fast, x)
            assert own.distance(one, found, x) <= one.bound, one.model
            np.testing.assert_array_equal(found, own.results(one, plain, x), err_msg=f"{one.model}")
        assert fast[f"{one.name}_selftest"]() <= one.bound
