"""What a trace takes for a constant."""

from __future__ import annotations

import pytest

import tinygrad_nn as tg


@pytest.mark.parametrize("number", [0.1, 1e-5, 3.0, 1 / 3, -0.0, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_in_the_code_are_constants_whatever_ran_before(number: float, dtype: str) -> None:
    """A literal that eager code used before is kept, and must not become state of the compiled function."""
    x = tg.ones(3, dtype=dtype)
    before = (x * number).tolist()
    f = tg.jit(lambda x: x * number)
    assert f(x).tolist() == before
    assert len(f.graph(x).inputs) == 1


def test_a_view_of_a_constant_may_be_returned() -> None:
    view = tg.jit(lambda x: (x + 1, tg.ones(2, 3)[0], tg.ones(2, 3).cumsum(0)[1].T))
    for _ in range(2):
        _, row, last = view(tg.ones(2))
        assert (row.tolist(), last.tolist()) == ([1.0] * 3, [2.0] * 3)
