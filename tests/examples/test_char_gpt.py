"""The char-GPT example: it learns, its memory changes nothing, it writes beyond its context, and says what is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import DataError

from .loading import load

gpt = load("char_gpt")
RHYME = "tic tac toe "  # what follows a t is to be found further back


def options(*flags: str) -> argparse.Namespace:
    found: argparse.Namespace = gpt.parse(list(flags))
    return found


@pytest.mark.parametrize("jit", [True, False], ids=["compiled", "eager"])
def test_one_position_after_another_gives_what_all_at_once_give(jit: bool) -> None:
    tg.manual_seed(0)
    model, memories = gpt.Gpt(11), [gpt.Memory() for _ in range(gpt.LAYERS)]
    with tg.no_grad():
        for table in (model.characters, model.places):
            table.weight.copy_(tg.randn_like(table.weight))

    def one(character: tg.Tensor, at: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            return model.step(character, at, memories)

    step: Any = tg.jit(one) if jit else one
    for text in np.random.default_rng(0).integers(0, 11, (2, gpt.CONTEXT if jit else 9)):  # the second finds the first
        whole = model(tg.tensor(text[None])).detach().numpy()[0]
        for at, character in enumerate(text):
            np.testing.assert_allclose(step(tg.tensor(character), tg.tensor(at)).numpy(), whole[at], atol=1e-4)


def test_it_learns_a_rhyme_and_writes_on_beyond_its_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rhyme.txt"
    path.write_text(RHYME * 80)
    flags = ["--steps", "120", "--temperature", "0", "--prompt", "tac toe ", "--length", "150"]
    gpt.main(["--text", str(path), *flags])
    text = capsys.readouterr().out
    assert "\n\ntac toe " + (RHYME * 13)[:150] + "\n\n" in text
    rows = [line.split() for line in text.splitlines()[1:] if line[:6].strip().isdigit()]
    assert [int(row[0]) for row in rows] == list(range(0, 121, 12))
    assert float(rows[0][1]) > 1.5  # the logarithm of the number of characters, nearly
    assert float(rows[-1][2]) < 0.1
    assert "time: 120 steps in" in text


def test_same_seed_same_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rhyme.txt"
    path.write_text(RHYME * 80)
    texts = []
    for seed in "778":
        gpt.main(["--text", str(path), "--steps", "2", "--length", "40", "--seed", seed])
        texts.append(capsys.readouterr().out.split("time:")[0])
    assert texts[0] == texts[1] != texts[2]


def test_the_end_of_the_text_is_not_trained_on() -> None:
    text = gpt.prepare([Path(gpt.HOME / "README.md")])
    whole = (gpt.HOME / "README.md").read_text(encoding="utf-8")
    both = np.concatenate([text.train, text.test])
    assert "".join(text.alphabet[k] for k in both) == whole
    assert len(text.test) == -(-len(whole) // 10)
    x, y = gpt.pieces(text.train, np.array([5, 0]))
    assert (x[:, 1:] == y[:, :-1]).all()
    assert (x[0] == text.train[5 : 5 + gpt.CONTEXT]).all()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, r"\[--text\] got no file .*absent.txt; expected a file of text"),
        (b"", r"\[--text\] got .*absent.txt of 0 characters; expected at least 130"),
        (b"too short" * 14, r"of 126 characters; expected at least 130"),
        (b"caf\xe9 au lait " * 20, r"absent.txt, whose byte 3 is no UTF-8; expected text in UTF-8; hint: save it as"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "absent.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=expected):
        gpt.main(["--text", str(path)])


def test_the_shortest_text_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "short.txt"
    path.write_text("ab" * 65)
    gpt.main(["--text", str(path), "--steps", "1", "--length", "3"])
    assert "1 steps" in capsys.readouterr().out


def test_other_things_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\[--text\] .*"):
        gpt.main(["--text", str(tmp_path)])
    with pytest.raises(DataError, match=r"\[--prompt\] got '☃'; expected characters that the text has"):
        gpt.main(["--prompt", "a ☃"])
    writer = gpt.Writer(gpt.Gpt(7), "".join(sorted({*RHYME})), options("--no-jit"))
    assert len(writer.write("", 70)) == 70
    with pytest.raises(DataError, match=r"'\?'; expected characters"):
        writer.write("tic?", 3)
    for flags in (["--steps", "-1"], ["--temperature", "hot"], ["--length", "1.5"]):
        with pytest.raises(SystemExit):
            gpt.parse(flags)
