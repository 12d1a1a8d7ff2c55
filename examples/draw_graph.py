"""What a training step records: printed as a tree, and drawn.

python examples/draw_graph.py [folder]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn

sys.path.insert(0, str(Path(__file__).parent))
import common


def main(argv: Sequence[str] | None = None) -> None:
    """Draw a small model, its loss with gradient norms, a whole training step, and an LSTM as the loop it is."""
    p = common.words(__doc__)
    p.add_argument("folder", type=Path, nargs="?", default=Path("."), help="for the pictures (default: here)")
    folder = p.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x, y = tg.randn(5, 4), tg.tensor([0, 1, 2, 0, 1])
    print(tg.draw(model, x))
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    opt = tg.optim.SGD(model.parameters(), lr=0.1)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    drawings = {
        "model": tg.draw(model, x),
        "loss": tg.draw(lambda x: F.cross_entropy(model(x), y), x, grads=True),
        "step": tg.draw(step, x, y),
        "lstm": tg.draw(nn.LSTM(3, 5, batch_first=True), tg.randn(1, 10, 3)),
    }
    for name, drawing in drawings.items():
        print("wrote", drawing.render(folder / f"graph_{name}.svg"))


if __name__ == "__main__":
    common.start(main)
