"""The tutorials say what is true: their commands run, what they show is printed, their code runs from top to end."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F

from .loading import EXAMPLES, load

DOCS = EXAMPLES.parent / "docs" / "tutorials"
TUTORIALS = sorted(path.stem for path in DOCS.glob("*.md"))
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?%?")


def blocks(text: str, language: str = r"\w*") -> list[tuple[str, str]]:
    """(language, content) of the fenced blocks."""
    return re.findall(rf"^```({language})\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def check_shown(shown: str, printed: str) -> None:
    """Every line that is shown is printed, in this order: the words exactly, the numbers nearly, as other processors
    round in other places. Lines of seconds are compared by their words.
    """
    rest = iter(printed.splitlines())
    for line in shown.splitlines():
        if line.strip() not in ("", "..."):
            assert any(alike(line, other) for other in rest), f"not printed, or not here: {line}\n\n{printed}"


def alike(shown: str, printed: str) -> bool:
    words = [re.sub(r" +", " ", NUMBER.sub("#", line)) for line in (shown, printed)]
    if words[0] != words[1]:
        return False
    if shown.startswith(("time:", "largest difference")):
        return True
    expected, found = (np.array([float(n.strip("%")) for n in NUMBER.findall(line)]) for line in (shown, printed))
    return bool(np.all(np.abs(found - expected) <= 0.02 + 0.02 * np.abs(expected)))


@pytest.fixture
def folder(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the tutorials name."""
    names = {"titanic.csv": "titanic.csv", "iris.csv": "iris.csv", "creditcard.csv": "creditcard_3335.csv"}
    for name, file in names.items():
        (tmp_path / name).symlink_to(shared_data / file)
    days = data.synthetic.temperature(400)
    (tmp_path / "days.csv").write_text("degrees\n" + "".join(f"{value}\n" for value in days))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> None:
    program, path, *flags = shlex.split(command)
    assert program.endswith("python"), command
    assert path.startswith("examples/"), command
    load(Path(path).stem).main(flags)


@pytest.mark.parametrize("name", TUTORIALS)
def test_commands_run_and_print_what_is_shown(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands, printed, compared = 0, "", 0
    for language, content in blocks((DOCS / f"{name}.md").read_text(encoding="utf-8")):
        if language == "sh":
            for command in content.splitlines():
                run(command)
                commands, printed = commands + 1, capsys.readouterr().out
        elif language == "":
            check_shown(content, printed)
            compared += 1
    assert commands >= 2
    assert compared >= 1


def test_a_false_line_is_found() -> None:
    printed = "epoch  loss\n    1  0.50 ± 0.02\n    2  0.25 ± 0.01\n"
    check_shown("epoch  loss\n...\n    2  0.26 ± 0.01\n", printed)
    for wrong in ("    2  0.35 ± 0.01\n", "    2  0.25\n", "    2  0.25 ± 0.01\nepoch  loss\n", "epochs loss\n"):
        with pytest.raises(AssertionError, match="not printed"):
            check_shown(wrong, printed)


def names_of(name: str, folder: Path) -> dict[str, Any]:
    """What the code of a tutorial takes for granted."""
    known: dict[str, Any] = {"__name__": "__main__", "tg": tg, "nn": nn, "optim": optim, "F": F, "data": data}
    if name in ("iris", "seeds"):
        x, y = load("iris").read(str(folder / "iris.csv"))
        return known | {"x": x, "y": y, "np": np}
    if name == "fraud":
        parts = load("fraud").prepare(data.synthetic.payments(40), 0, scale_targets=False)
        x, y = np.stack(parts.test.x), np.stack(parts.test.y)
        return known | {"train": parts.train, "test_x": tg.tensor(x), "test_y": tg.tensor(y)}
    if name == "forecast":
        series = load("forecast").sine()
        lengths = [4, 2, 3]
        xs, ys = [tg.randn(n, 2) for n in lengths], [tg.randn(n, 1) for n in lengths]
        rnn, head = nn.RNN(2, 5, batch_first=True), nn.Linear(5, 1)
        return known | {"series": series, "cut": 960, "lengths": lengths, "xs": xs, "ys": ys, "rnn": rnn, "head": head}
    return known


@pytest.mark.parametrize("name", TUTORIALS)
def test_code_runs_from_top_to_end(name: str, folder: Path) -> None:
    pytest.importorskip("matplotlib")
    known = names_of(name, folder)
    for _, code in blocks((DOCS / f"{name}.md").read_text(encoding="utf-8"), "python"):
        if "h = None" in code:  # a long series in pieces: time comes first
            known |= {"rnn": nn.RNN(2, 5), "opt": optim.SGD(known["head"].parameters(), lr=0.1)}
            known |= {"x": tg.randn(120, 3, 2), "y": tg.randn(120, 3, 1)}
        exec(compile(code, f"{name}.md", "exec"), known)
    if name == "iris":
        assert known["history"]["test_accuracy"][-1] >= 0.9
        assert Path("iris.png").exists()
    if name == "seeds":
        assert known["gain"].mean() > 2 * known["gain"].std(ddof=1) / 10
        chance = known["chance"].numpy()
        assert np.mean(chance.argmax(1) == known["y"]) > 0.95
        doubtful = known["doubtful"].numpy()
        assert chance[doubtful].max(1).mean() < chance.max(1).mean()
    if name == "titanic":
        assert known["near"].item() < 1e-12 < 0.01 < known["far"].item()
    if name == "forecast":
        assert isinstance(known["Forecaster"](4)(tg.randn(2, 24, 1)), tg.Tensor)
        assert known["h"].grad_fn is None
