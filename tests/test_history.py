"""History: columns, rows, files, pictures, metadata."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import printable
from tinygrad_nn.history import History, run_metadata


def example() -> History:
    history = History(run_metadata(42, epochs=3))
    for k in range(3):
        history.log_epoch({"loss": 1.0 / (k + 1)})
        if k != 1:
            history.log_evaluation({"test_acc": 0.5 + k / 10})
    return history


def test_columns_and_rows() -> None:
    history = example()
    assert list(history) == ["loss", "test_acc"]
    assert history["test_acc"].tolist() == [0.5, 0.7]
    assert history.evaluated == [1, 3]
    assert history.last() == {"loss": 1 / 3, "test_acc": 0.7}
    assert "3 epochs" in repr(history)
    with pytest.raises(KeyError, match="one of 'loss', 'test_acc'"):
        history["accuracy"]


def test_metadata_tells_where_it_came_from() -> None:
    metadata = example().metadata
    assert metadata["seed"] == 42
    assert {"python", "numpy", "cpu", "command", "started", "epochs"} <= set(metadata)


def test_csv_and_frame(tmp_path: Path) -> None:
    history = example()
    history.to_csv(tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,test_acc"
    assert lines[2] == "2,0.5,"
    assert len(lines) == 4
    pytest.importorskip("polars")
    assert history.to_frame()["test_acc"].to_list() == [0.5, None, 0.7]


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = example().plot(path=tmp_path / "run.png")
    assert (tmp_path / "run.png").stat().st_size > 5_000
    assert len(figure.axes) == 2
    with pytest.raises(KeyError):
        example().plot("nothing")


def test_html_is_escaped() -> None:
    history = History()
    history.log_epoch({"<b>loss</b>": 1.0})
    assert "<b>" not in history._repr_html_()
    assert "&lt;b&gt;loss" in history._repr_html_()


@pytest.mark.parametrize("name", ["a\rb", "a\r\nb", "\ud800", "\x1b[31m", "\0", "a,\"b\""], ids=ascii)
def test_any_name_can_be_written_and_read(tmp_path: Path, name: str) -> None:
    history = tg.History()
    history.log_epoch({name: 1.0})
    history.to_csv(tmp_path / "h.csv")
    columns = tg.data.read_csv(tmp_path / "h.csv").columns
    assert columns == history.to_frame().columns == ["epoch", printable(name)]
