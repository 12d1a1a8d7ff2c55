"""A function with a gradient of its own, checked: softcap(x) = cap * tanh(x / cap).

python examples/custom_op.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinygrad_nn as tg

sys.path.insert(0, str(Path(__file__).parent))
import common


class Softcap(tg.Function):
    """Limits x smoothly to (-cap, cap)."""

    @staticmethod
    def forward(ctx: Any, x: tg.Tensor, cap: float) -> tg.Tensor:
        """cap * tanh(x / cap)."""
        out = (x / cap).tanh() * cap
        ctx.save_for_backward(out)
        ctx.cap = cap
        return out

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tuple[tg.Tensor, None]:
        """1 - (out / cap)**2, through the saved output."""
        (out,) = ctx.saved_tensors
        return g * (1 - (out / ctx.cap) ** 2), None


class Forgetful(Softcap):
    """The same with a mistake: the chain rule's factor is off by one part in 100,000."""

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tuple[tg.Tensor, None]:
        """Wrong on purpose."""
        right, _ = Softcap.backward(ctx, g)
        return right * 1.00001, None


def main(argv: Sequence[str] | None = None) -> None:
    """Check both."""
    common.words(__doc__).parse_args(argv)
    x = tg.tensor([-3.0, 0.5, 2.0], dtype=tg.float64, requires_grad=True)
    print("softcap:", Softcap.apply(x, 2.0))
    print("right:  ", tg.testing.gradcheck(lambda x: Softcap.apply(x, 2.0), (x,)))
    try:
        tg.testing.gradcheck(lambda x: Forgetful.apply(x, 2.0), (x,))
    except tg.errors.GradcheckError as error:
        print("wrong:  ", error)


if __name__ == "__main__":
    common.start(main)
