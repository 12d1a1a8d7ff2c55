"""The small examples: one idea each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from .loading import load


def test_newton_finds_the_minimum(capsys: pytest.CaptureFixture[str]) -> None:
    module = load("second_derivative")
    path = module.newton([-1.2, 1.0])
    np.testing.assert_allclose(path[-1][0], [1.0, 1.0], atol=1e-9)
    assert len(path) < 10
    module.main([])
    assert "derivative 3 of sin at 0: -1.0" in capsys.readouterr().out


def test_the_custom_op_is_right_and_the_spoiled_one_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    load("custom_op").main([])
    text = capsys.readouterr().out
    assert "entries agree" in text
    assert "wrong:   [gradcheck] got" in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="no program `dot` (apt install graphviz)")
def test_graphs_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("draw_graph").main([str(tmp_path)])
    assert "0.weight" in capsys.readouterr().out
    names = ["graph_loss.svg", "graph_lstm.svg", "graph_model.svg", "graph_step.svg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert "LSTM, 10 steps" in (tmp_path / "graph_lstm.svg").read_text(encoding="utf-8")
