"""Train a small GPT on text, letter by letter, and let it write.

    python examples/char_gpt.py                          the documentation of this project
    python examples/char_gpt.py --text FILE              a text of your own, in UTF-8
    python examples/char_gpt.py --prompt "A tensor is"   how the text at the end begins

Two layers of four heads see the last 64 characters. The last tenth of the text is kept aside: the loss on it, in nats
per character, says how well the model reads what it does not know by heart. Before it writes a character, it looks at
the keys and values of those before, which it keeps (`Memory`), so each one costs a pass over a single position.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import DataError, message
from tinygrad_nn.support.files import read

sys.path.insert(0, str(Path(__file__).parent))
import common

WIDTH, HEADS, LAYERS = 64, 4, 2
CONTEXT = 64  # characters that are seen
BATCH = 16  # pieces of text in a step
HOME = Path(__file__).parents[1]


class Memory:
    """Keys and values of one layer at every position: what a position saw before stays as it is."""

    def __init__(self) -> None:
        self.keys, self.values = (tg.zeros(HEADS, CONTEXT, WIDTH // HEADS) for _ in range(2))

    def put(self, at: tg.Tensor, key: tg.Tensor, value: tg.Tensor) -> None:
        """Remember the key and the value (heads, 1, width) of a position."""
        here = (tg.arange(CONTEXT) == at).unsqueeze(1)
        self.keys.copy_(key.where(here, self.keys))
        self.values.copy_(value.where(here, self.values))


class Block(nn.Module):
    """Attention and a small net, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.together = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.net = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def heads(self, x: tg.Tensor) -> list[tg.Tensor]:
        """Query, key and value (..., heads, positions, width / heads) of (..., positions, width)."""
        parts = self.attention(self.norm1(x)).split(WIDTH, -1)
        return [part.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(-3, -2) for part in parts]

    def rest(self, x: tg.Tensor, mixed: tg.Tensor) -> tg.Tensor:
        """What comes after attention."""
        x = x + self.together(mixed.transpose(-3, -2).flatten(-2))
        return x + self.net(self.norm2(x))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """All positions at once; each sees itself and those before."""
        query, key, value = self.heads(x)
        return self.rest(x, F.scaled_dot_product_attention(query, key, value, is_causal=True))

    def step(self, x: tg.Tensor, at: tg.Tensor, memory: Memory) -> tg.Tensor:
        """One position (1, width), which sees what the memory has of those before."""
        query, key, value = self.heads(x)
        memory.put(at, key, value)
        known = tg.arange(CONTEXT) <= at
        return self.rest(x, F.scaled_dot_product_attention(query, memory.keys, memory.values, known))


class Gpt(nn.Module):
    """The next character, after each beginning: Radford et al., 2018."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        for table in (self.characters, self.places):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)

    def forward(self, text: tg.Tensor) -> tg.Tensor:
        """(batch, positions) of numbers of characters to (batch, positions, characters)."""
        x = self.characters(text) + self.places.weight[: text.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def step(self, character: tg.Tensor, at: tg.Tensor, memories: Sequence[Memory]) -> tg.Tensor:
        """The same for one character at one position, 0-d both, after those that the memories have: (characters)."""
        x = (self.characters(character) + self.places(at)).unsqueeze(0)
        for block, memory in zip(self.blocks, memories, strict=True):
            x = block.step(x, at, memory)
        return self.head(self.norm(x)).squeeze(0)


class Writer:
    """Goes on with a text, character by character."""

    def __init__(self, model: Gpt, alphabet: str, options: argparse.Namespace) -> None:
        self.alphabet = alphabet
        self.numbers = {character: k for k, character in enumerate(alphabet)}
        memories = [Memory() for _ in range(LAYERS)]

        @common.compiled(options)
        def step(character: tg.Tensor, at: tg.Tensor) -> tg.Tensor:
            with tg.no_grad():
                logits = model.step(character, at, memories)
                noise = -(-tg.rand_like(logits).log()).log()  # the largest of logits + this is a draw: Gumbel, 1954
                return (logits + options.temperature * noise).argmax()

        self.step = step

    def check(self, prompt: str) -> None:
        """Raise DataError for characters that the text has not."""
        unknown = "".join(sorted({*prompt} - {*self.numbers}))
        if unknown:
            raise DataError(message("--prompt", repr(unknown), "characters that the text has"))

    def write(self, prompt: str, length: int) -> str:
        """So many characters that follow the prompt. Raises DataError for characters that the text has not."""
        self.check(prompt)
        text = [self.numbers[c] for c in prompt] or [0]
        wanted, start = len(text) + length, max(0, len(text) - CONTEXT)
        seen = start  # the memories begin with the character at `start` and end before this one
        while len(text) < wanted:
            if seen - start == CONTEXT:  # they are full: half of what they hold is read again, from position 0 on
                start = seen = len(text) - CONTEXT // 2
            following = self.step(tg.tensor(text[seen]), tg.tensor(seen - start))
            seen += 1
            if seen == len(text):
                text.append(int(following))
        return "".join(self.alphabet[k] for k in text[wanted - length :])


@dataclass(frozen=True)
class Text:
    """The characters that there are, and those of the text as numbers: nine tenths to train, the end to judge."""

    alphabet: str
    train: np.ndarray
    test: np.ndarray


def prepare(paths: Sequence[Path]) -> Text:
    """The text of some files. Raises FileError and DataError for what is none, or too short."""
    parts = []
    for path in paths:
        content = read(path, "--text", "a file of text")
        try:
            parts.append(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            got = f"{path}, whose byte {error.start} is no UTF-8"
            hint = "save it as UTF-8, or convert it: iconv -f latin1 -t utf-8"
            raise DataError(message("--text", got, "text in UTF-8", hint)) from None
    text = "\n".join(parts)
    cut = min(len(text) * 9 // 10, len(text) - CONTEXT - 1)
    if cut <= CONTEXT:
        got = f"{', '.join(map(str, paths))} of {len(text)} characters"
        raise DataError(message("--text", got, f"at least {2 * CONTEXT + 2}, a piece to train and a piece to judge"))
    alphabet = "".join(sorted({*text}))
    places = {character: k for k, character in enumerate(alphabet)}
    numbers = np.array([places[character] for character in text])
    return Text(alphabet, numbers[:cut], numbers[cut:])


def pieces(part: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The characters (N, context) from each start on, and what follows each of them."""
    windows = np.lib.stride_tricks.sliding_window_view(part, CONTEXT + 1)[starts]
    return windows[:, :-1], windows[:, 1:]


def train(model: Gpt, writer: Writer, text: Text, options: argparse.Namespace) -> None:
    """AdamW on pieces from anywhere in the text. Ten times on the way the losses are printed, and a sample."""
    optimizer = optim.AdamW(model.parameters(), lr=options.lr)
    rate = optim.lr_scheduler.OneCycleLR(optimizer, options.lr, options.steps + 1, pct_start=0.1)
    rng = np.random.default_rng(options.seed)
    judged = pieces(text.test, np.linspace(0, len(text.test) - CONTEXT - 1, 4 * BATCH).astype(int))

    def loss_of(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    @common.compiled(options)
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss

    @common.compiled(options)
    def score(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            return loss_of(x, y)

    print(f"{'step':>6}{'loss':>8}{'test':>8}   writes")
    losses: list[float] = []
    for number in range(options.steps + 1):
        if number % max(1, options.steps // 10) == 0 or number == options.steps:
            mean = f"{np.mean(losses):8.3f}" if losses else " " * 8
            sample = " ".join(writer.write("", 2 * CONTEXT).split())[:80]
            print(f"{number:6d}{mean}{score(*judged).item():8.3f}   {sample}", flush=True)
            losses = []
        if number < options.steps:
            losses.append(step(*pieces(text.train, rng.integers(0, len(text.train) - CONTEXT, BATCH))).item())
            rate.step()


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = common.words(__doc__)
    p.add_argument("--text", type=Path, metavar="FILE", help="what to learn (default: the documentation)")
    p.add_argument("--steps", type=common.whole(0), default=1500, help="of training (default: 1500)")
    p.add_argument("--lr", type=common.amount, default=4e-3, help="the highest learning rate (default: 0.004)")
    p.add_argument("--seed", type=common.whole(0), default=42, help="of weights, pieces and samples (default: 42)")
    p.add_argument("--prompt", default="", help="how the text at the end begins")
    p.add_argument("--length", type=common.whole(0), default=600, help="of the text at the end (default: 600)")
    p.add_argument("--temperature", type=common.amount, default=0.8, help="0 draws the likeliest (default: 0.8)")
    p.add_argument("--jit", action=argparse.BooleanOptionalAction, default=True, help="compile it all (default: yes)")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train with samples on the way, then write."""
    options = parse(argv)
    documentation = [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]
    text = prepare(documentation if options.text is None else [options.text])
    tg.manual_seed(options.seed)
    model = Gpt(len(text.alphabet))
    writer = Writer(model, text.alphabet, options)
    writer.check(options.prompt)
    begin = time.perf_counter()
    train(model, writer, text, options)
    trained = time.perf_counter()
    print(f"\n{options.prompt}{writer.write(options.prompt, options.length)}\n")
    written = time.perf_counter() - trained
    print(f"time: {options.steps} steps in {trained - begin:.1f} s; {options.length} characters in {written:.3f} s")


if __name__ == "__main__":
    common.start(main)
