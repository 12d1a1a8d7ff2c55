"""Models that PyTorch and this project share to the letter: each is given the `nn` and the functions of either."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..workloads import CHARACTERS


def convolutional(nn: Any, sizes: tuple[Any, ...]) -> Any:
    """Convolutions with ReLU and pooling, and linear layers behind them."""
    _, _, channels, kernel, padding, pooled, widths = sizes
    layers: list[Any] = []
    for k, (before, after) in enumerate(pairwise(channels), 1):
        layers += [nn.Conv2d(before, after, kernel, padding=padding), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] * (k in pooled)
    layers.append(nn.Flatten())
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def gpt(nn: Any, F: Any, layers: int, width: int, heads: int, tokens: int, batch: int) -> Any:
    """The next character, of each prefix: (batch, tokens) to (batch * tokens, characters)."""

    class Block(nn.Module):  # type: ignore[misc]
        """Attention and a small net, each added to what came in."""

        def __init__(self) -> None:
            super().__init__()
            self.before, self.attention = nn.LayerNorm(width), nn.Linear(width, 3 * width)
            self.together, self.between = nn.Linear(width, width), nn.LayerNorm(width)
            self.net = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            query, key, value = (
                part.reshape(batch, tokens, heads, width // heads).permute(0, 2, 1, 3)
                for part in self.attention(self.before(x)).split(width, 2)
            )
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.together(mixed.permute(0, 2, 1, 3).reshape(batch, tokens, width))
            return x + self.net(self.between(x))

    class Gpt(nn.Module):  # type: ignore[misc]
        """Embeddings, blocks, and a linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.characters, self.places = nn.Embedding(CHARACTERS, width), nn.Embedding(tokens, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.last, self.head = nn.LayerNorm(width), nn.Linear(width, CHARACTERS)

        def forward(self, tokens: Any) -> Any:
            x = self.blocks(self.characters(tokens) + self.places.weight)
            return self.head(self.last(x)).reshape(-1, CHARACTERS)

    return Gpt()
