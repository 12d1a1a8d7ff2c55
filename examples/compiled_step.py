"""A training step as the compiler sees it: the graph, the loops, what runs in the machine, and where its time goes.

    python examples/compiled_step.py [graph | loops | llvm | asm | table ...]

Without names: graph, loops and table. docs/compile.md explains what is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim

sys.path.insert(0, str(Path(__file__).parent))
import common


def build() -> Any:
    """A step of logistic regression with momentum."""
    tg.manual_seed(0)
    model = nn.Linear(3, 1)
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def main(argv: Sequence[str] | None = None) -> None:
    """Compile for a batch of 16 and print the stages that are asked for."""
    p = common.words(__doc__)
    p.add_argument("stage", nargs="*", default=["graph", "loops", "table"])
    wanted, step = p.parse_args(argv).stage, build()
    x = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    y = (x.sum(1, keepdims=True) > 0).astype(np.float32)
    stages = {"graph": step.graph, "loops": step.program, "llvm": step.llvm, "asm": step.asm}
    stages["table"] = lambda x, y: tg.explain(step, x, y)
    unknown = [name for name in wanted if name not in stages]
    if unknown:
        sys.exit(f"error: no stage {unknown[0]!r}; there are {', '.join(stages)}")
    for name in wanted:
        print(f"---- {name}\n{stages[name](x, y)}\n")
    print(f"loss of the first five steps: {[round(step(x, y).item(), 4) for _ in range(5)]}")


if __name__ == "__main__":
    common.start(main)
