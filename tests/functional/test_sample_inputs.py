"""PyTorch's own samples of every operation: values, dtypes, gradients, and what is a view.

Some samples of each; `python -m tests.functional.samples` runs all of them.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.functional.samples import chosen, full_name, ours, run, sharing

HERE: Final = [pytest.param(op, id=full_name(op)) for op in chosen(()) if ours(op) is not None]
OTHER_SLOPES: Final = ("cholesky_inverse", "cholesky_solve")  # in elements that are not read, where PyTorch's is not 0


def test_all_are_here() -> None:
    assert len(HERE) > 500


@pytest.mark.parametrize("op", HERE)
def test_samples(op: Any) -> None:
    outcome = run(op, most=4)
    assert outcome is None or [told for _, told in outcome.failures if op.name not in OTHER_SLOPES] == []


@pytest.mark.parametrize("op", HERE)
def test_what_pytorch_copies_is_a_copy_and_its_views_are_views(op: Any) -> None:
    outcome = sharing(op, most=2)
    copied = op.name == "unfold"  # windows that overlap are a copy here, which `Tensor.unfold` says
    assert outcome is None or [told for _, told in outcome.failures if not (copied and "reach []" in told)] == []
