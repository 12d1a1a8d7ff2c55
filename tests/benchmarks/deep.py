"""`python -m tests.benchmarks.deep`: how long the first step of a deep model takes to compile, stage by stage.

The model is a GPT over characters: width 64, 4 heads, 32 tokens, batches of 8, cross-entropy, AdamW. What grows with
the number of layers beyond what differs between them is what the compiler does twice. Another model of the same
architecture is recognised: its first call is a trace and a step.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Final

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import Tensor, nn, optim

WIDTH: Final = 64
HEADS: Final = 4
TOKENS: Final = 32
BATCH: Final = 8
CHARACTERS: Final = 65


class Block(nn.Module):
    """Attention and a small net, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.Linear(WIDTH, 3 * WIDTH)
        self.together = nn.Linear(WIDTH, WIDTH)
        self.net = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.register_buffer("future", tg.tensor(np.triu(np.ones((TOKENS, TOKENS), bool), 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        batch, tokens, width = x.shape
        heads = [
            part.reshape(batch, tokens, HEADS, width // HEADS).permute(0, 2, 1, 3)
            for part in self.attention(self.before(x)).split(width, 2)
        ]
        query, key, value = heads
        scores = query @ key.permute(0, 1, 3, 2) / (width // HEADS) ** 0.5
        weights = scores.masked_fill(self.future, -1e9).softmax(3)
        mixed = (weights @ value).permute(0, 2, 1, 3).reshape(batch, tokens, width)
        x = x + self.together(mixed)
        return x + self.net(self.between(x))


class Gpt(nn.Module):
    """The next character, of each prefix."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(CHARACTERS, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
        self.last, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens) of integers to (batch, tokens, characters)."""
        return self.head(self.last(self.blocks(self.characters(tokens) + self.places.weight)))


def training_step(layers: int, dtype: str = "float32") -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor]:
    """A jitted step that was not called yet, and a batch for it."""
    tg.manual_seed(0)
    tg.set_default_dtype(dtype)
    model = Gpt(layers)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()

    @tg.jit
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x).reshape(-1, CHARACTERS), y.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss

    text = np.random.default_rng(0).integers(0, CHARACTERS, (2, BATCH, TOKENS))
    return step, tg.tensor(text[0]), tg.tensor(text[1])


def main() -> None:
    """Print the seconds of the first call and of its stages, and of a step afterwards."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.deep", description=__doc__)
    parser.add_argument("--layers", type=int, nargs="*", default=[2, 12])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    os.environ["TGNN_CACHE"] = "0"
    tg.jit(lambda x: x + 1)(tg.ones(2))  # what loads late is loaded
    for layers in options.layers:
        step, x, y = training_step(layers, options.dtype)
        begin = time.perf_counter()
        first = float(step(x, y))
        cold = time.perf_counter() - begin
        rounds = []
        for _ in range(options.steps):
            begin = time.perf_counter()
            last = float(step(x, y))
            rounds.append(time.perf_counter() - begin)
        best = 1e3 * min(rounds, default=float("nan"))
        print(f"{layers} layers: first call {cold:.2f} s, then {best:.2f} ms a step; loss {first:.6f} to {last:.6f}")
        stages = step.entry((x, y), {}).compiled.stages.seconds
        rest = cold - sum(stages.values()) - best / 1e3
        parts = [f"{name} {1e3 * seconds:.0f}" for name, seconds in stages.items() if seconds > 5e-4]
        print(f"  ms: trace {1e3 * rest:.0f}, {', '.join(parts)}")
        again, x, y = training_step(layers, options.dtype)
        begin = time.perf_counter()
        again(x, y)
        print(f"  first call of another model of this architecture: {1e3 * (time.perf_counter() - begin):.1f} ms")


if __name__ == "__main__":
    main()
