"""Derivatives of any order: Newton's method on the Rosenbrock function, with exact Hessians.

python examples/second_derivative.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import tinygrad_nn as tg

sys.path.insert(0, str(Path(__file__).parent))
import common


def rosenbrock(x: tg.Tensor) -> tg.Tensor:
    """A banana-shaped valley with its minimum 0 at (1, 1)."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def newton(start: list[float], steps: int = 20) -> list[tuple[np.ndarray, float]]:
    """Points and values of x <- x - H^-1 g."""
    x = tg.tensor(start, dtype=tg.float64)
    path = []
    for _ in range(steps):
        value, g = tg.value_and_grad(rosenbrock)(x)
        path.append((x.numpy(), value.item()))
        if value.item() < 1e-20:
            break
        x = x - tg.tensor(np.linalg.solve(tg.hessian(rosenbrock)(x).numpy(), g.numpy()))
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Print the way down, and the derivatives of sine at 0."""
    common.words(__doc__).parse_args(argv)
    for k, (point, value) in enumerate(newton([-1.2, 1.0])):
        print(f"{k:2d}  x = ({point[0]: .6f}, {point[1]: .6f})  f = {value:.3e}")
    function = tg.Tensor.sin
    for order in range(5):
        print(f"derivative {order} of sin at 0: {function(tg.tensor(0.0)).item():+.1f}")
        function = tg.grad(function)


if __name__ == "__main__":
    common.start(main)
