"""Examples print the same, compiled and not; the example that shows the compiler shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .loading import load

RUNS = [
    ("titanic", ["--epochs", "100"], "titanic.csv"),
    ("titanic", ["--epochs", "5", "--batch-size", "50", "--hidden", "4"], "titanic.csv"),
    ("titanic", ["--epochs", "20", "--l1", "0.001", "--l2", "0.01", "--interactions"], "titanic.csv"),
    ("iris", ["--epochs", "100"], "iris.csv"),
    ("fraud", ["--epochs", "3"], "creditcard_3335.csv"),
    ("fraud", ["--model", "small", "--epochs", "12"], ""),
    ("fraud", ["--model", "temperature", "--epochs", "2"], ""),
    ("titanic", ["--epochs", "20", "--kfold", "3"], "titanic.csv"),
    ("forecast", ["--epochs", "1", "--window", "6", "--horizon", "2"], ""),
]


@pytest.mark.parametrize(("name", "flags", "file"), RUNS, ids=lambda v: v if isinstance(v, str) else " ".join(v))
def test_the_same_text_both_ways(
    name: str, flags: list[str], file: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(request.getfixturevalue("shared_data") / file)] if file else []
    texts = []
    for switch in ("--jit", "--no-jit"):
        load(name).main([*data, *flags, "--runs", "2", switch])
        lines = capsys.readouterr().out.splitlines()
        texts.append([line for line in lines if not line.startswith(("time:", "largest difference between the two"))])
    assert texts[0] == texts[1]
    assert len(texts[0]) > 5


def test_the_stages_of_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    example = load("compiled_step")
    example.main([])
    text = capsys.readouterr().out
    for part in ("---- graph", "update", "---- loops", "kernel", "---- table", "of peak", "loss of the first five"):
        assert part in text
    example.main(["llvm", "asm"])
    text = capsys.readouterr().out
    assert "define" in text
    assert "ret" in text
    with pytest.raises(SystemExit, match="no stage 'wat'"):
        example.main(["wat"])


def test_it_is_short() -> None:
    source = Path(load("compiled_step").__file__ or "").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
