"""What tg.scan refuses, and that nothing has changed then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DTypeError, ShapeError, TraceError

ONE = tg.tensor(1.0)
ROW = tg.tensor([1.0, 2.0])
COUNTER = tg.zeros(2)
PARAMETER = tg.ones(2, requires_grad=True)


def left_gradient(c: Any, x: Any) -> Any:
    (PARAMETER * x).sum().backward()
    return c, None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: tg.scan(lambda c, x: c, ONE, ROW), ShapeError, r"returned tensor\[\]; expected a pair \(carry, y\)"),
        (lambda: tg.scan(lambda c, x: (c, x, x), ONE, ROW), ShapeError, "expected a pair"),
        (lambda: tg.scan(lambda c, x: ((c, c), x), ONE, ROW), ShapeError, r"another structure.*\(tensor\[\], "),
        (lambda: tg.scan(lambda c, x: ({"b": x}, x), {"a": ONE}, ROW), ShapeError, "another structure"),
        (lambda: tg.scan(lambda c, x: (c.unsqueeze(0), x), ONE, ROW), ShapeError, r"shape \(1,\) .* hint"),
        (lambda: tg.scan(lambda c, x: (c.double(), x), ONE, ROW), DTypeError, "float64 after .* float32, .* hint"),
        (lambda: tg.scan(lambda c, x: (c + 1, x), tg.tensor(0), ROW), DTypeError, "int64 and ys of float32; .* hint"),
        (lambda: tg.scan(lambda c, x: (c, x > 0), ONE, ROW), DTypeError, "ys of bool; expected one float dtype"),
        (lambda: tg.scan(lambda c, x: (c, x.double()), ONE, ROW), DTypeError, "float32 and ys of float64"),
        (lambda: tg.scan(lambda c, x: (c, None), ONE, (ROW, tg.ones(3))), ShapeError, "lengths 2 and 3; .* hint"),
        (lambda: tg.scan(lambda c, x: (c, None), ONE, ROW, length=3), ShapeError, "length 3 and xs of length 2"),
        (lambda: tg.scan(lambda c, x: (c, None), ONE, ONE), ShapeError, "0-d tensor in xs"),
        (lambda: tg.scan(lambda c, x: (c, None), ONE), ShapeError, "no xs and no length; .* hint"),
        (lambda: tg.scan(lambda c, x: (c, None), ONE, length=-1), ShapeError, "length -1"),
        (
            lambda: tg.scan(lambda c, x: (c * c.item(), None), ONE, ROW),
            TraceError,
            "reads .* at .*test_scan_errors.py.* hint",
        ),
        (lambda: tg.scan(lambda c, x: (c if x > 0 else -c, None), ONE, ROW), TraceError, "reads a value .* hint"),
        (
            lambda: tg.scan(lambda c, x: (c + COUNTER.add_(1), None), COUNTER, length=2),
            TraceError,
            "a write .* hint",
        ),
        (lambda: tg.scan(lambda c, x: (c + tg.rand(2), None), COUNTER, length=2), TraceError, "random numbers"),
        (lambda: tg.scan(lambda c, x: (c, "y"), ONE, ROW), DTypeError, "str in y; .* hint"),
        (lambda: tg.scan(lambda c, x: (c, (x, None)), ONE, ROW), DTypeError, "NoneType in y; .* hint"),
        (lambda: tg.scan(lambda c, x: (c, x), None, ROW), DTypeError, "NoneType in init; .* hint"),
        (lambda: tg.scan(lambda c, x: (c, None), ONE, (ROW, object())), DTypeError, "object in xs; .* hint"),
        (lambda: tg.scan(left_gradient, ONE, ROW), TraceError, r"a backward\(\) .* hint"),
    ],
)
def test_refused(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    before = tg.default_generator.get_state().tolist()
    with pytest.raises(error, match=r"^\[scan\] got .*" + text):
        call()
    assert COUNTER.tolist() == [0.0, 0.0]
    assert tg.default_generator.get_state().tolist() == before
    assert tg.scan(lambda c, x: (c + x, c), ONE, ROW)[0].item() == 4.0


def test_a_symbol_that_was_kept_is_refused_later() -> None:
    kept: list[Any] = []
    tg.scan(lambda c, x: (kept.append(x) or c, None), ONE, ROW)
    with pytest.raises(TraceError, match="left over"):
        kept[0] + 1
    with pytest.raises(TraceError, match="left over"):
        tg.scan(lambda c, x: (c + kept[0], None), ONE, ROW)


def test_tensors_of_the_step_may_be_written() -> None:
    def step(c: Any, x: Any) -> Any:
        row = tg.zeros(2)
        row += x
        row *= c
        return c + 1, row

    assert tg.scan(step, ONE, ROW)[1].tolist() == [[1.0, 1.0], [4.0, 4.0]]
