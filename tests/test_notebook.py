"""What notebooks show: bundles of HTML and text that IPython takes, hostile names as text, and curves that grow."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn, optim
from tinygrad_nn.support import notebook

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m"
X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)


def learner(jitted: bool, name: str = "loss") -> Callable[..., Any]:
    tg.manual_seed(0)
    model = nn.Linear(3, 1)
    opt = optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor) -> dict[str, tg.Tensor]:
        opt.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        opt.step()
        return {name: loss, "accuracy": loss.detach(), "rate": loss.detach()}

    return tg.jit(step) if jitted else step


def history(name: str = "loss") -> tg.History:
    return tg.fit(learner(False, name), X, epochs=3, batch_size=8, seed=0, progress=False, snapshots=1)


def called() -> Any:
    step = tg.jit(lambda x: (x * x).sum())
    step(tg.tensor(X))
    return step


def swept() -> Any:
    return tg.sweep(learner(True), X, 2, seeds=range(2), progress=False)


SHOWN: dict[str, Callable[[], Any]] = {
    "tensor": lambda: tg.tensor(X, requires_grad=True),
    "scalar": lambda: tg.tensor(1.5),
    "not finite": lambda: tg.tensor([1.0, float("nan"), float("inf")]),
    "module": lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU()),
    "summary": lambda: nn.Linear(3, 4).summary(),
    "optimizer": lambda: optim.Adam(nn.Linear(3, 4).parameters()),
    "history": history,
    "snapshots": lambda: history().snapshots,
    "snapshot": lambda: history().snapshots[1],
    "replay": lambda: tg.replay(history(), epoch=2),
    "jitted": called,
    "explanation": lambda: tg.explain(lambda x: (x * x).sum(), tg.tensor(X)),
    "gradcheck": lambda: tg.testing.gradcheck(lambda x: x * x, tg.ones(3, dtype=tg.float64, requires_grad=True)),
    "sweep": swept,
    "curve": lambda: tg.metrics.roc_curve([0.1, 0.9], [0, 1]),
    "drawing": lambda: tg.draw(lambda x: x * x, tg.ones(2)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_ipython_gets_html_and_text(name: str) -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    shown = SHOWN[name]()
    data, _ = formatters.DisplayFormatter().format(shown)
    assert data["text/plain"] == repr(shown)
    page = data.get("text/html") or data["image/svg+xml"]
    assert len(page) < 20_000
    if "text/html" in data:  # every element is closed, so nothing of the notebook is inside of it
        text = page.replace("&nbsp;", " ").replace("<br>", "<br/>").replace("allowfullscreen", "")
        ElementTree.fromstring(f"<div>{text}</div>")


def test_numbers_of_a_tensor() -> None:
    page = tg.tensor([1.0, 2.0, float("nan"), 6.0])._repr_html_()
    assert "<small>4, float32, from 1 to 6, mean 3, 1 not finite</small>" in page
    assert tg.tensor([float("nan")] * 2)._repr_html_().endswith("<small>2, float32, 2 not finite</small>")
    assert tg.tensor(2)._repr_html_().endswith("<small>scalar, int64</small>")
    assert tg.zeros(0, 3)._repr_html_().endswith("<small>0 x 3, float32</small>")


@pytest.mark.parametrize("name", ["history", "live"])
def test_names_of_users_are_text(name: str) -> None:
    made = history(HOSTILE)
    page = made._repr_html_() if name == "history" else made.picture()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;" in page
    assert not {"\u202e", "\x1b"} & set(page)


def test_curves() -> None:
    made = tg.History()
    made.log_epochs({"loss": [3.0, 2.0, float("nan"), 1.0], "test_acc": [0.1, 0.2, 0.3, 0.4], "lr": [0.1] * 4})
    page = made.picture()
    assert page.count("<svg") == 3  # each on a scale of its own
    assert page.count("<polyline") == 4  # a NaN is a gap
    assert ">3</text>" in page
    assert ">1</text>" in page
    assert page.count(">0.1</text>") == 2  # of a level line there is one number
    assert tg.History().picture() == ""
    bad = tg.History()
    bad.log_epochs({"loss": [float("nan")] * 3})
    assert bad.picture() == ""
    long = tg.History()
    values = np.exp(-np.arange(100_000) / 1e4)
    values[50_000] = 5.0
    long.log_epochs({"loss": values.tolist()})
    page = long.picture()
    assert len(page) < 5000
    assert ">5</text>" in page  # the peak is there


class Cell:
    """A notebook, as far as fit sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: list[str] = []
        shell = SimpleNamespace(kernel=self)
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=self.display))

    def display(self, shown: Any, display_id: bool) -> Cell:
        assert display_id
        self.update(shown)
        return self

    def update(self, shown: Any) -> None:
        bundle = shown._repr_mimebundle_()
        assert bundle["text/plain"].startswith("Fit: epoch ")
        self.pages.append(bundle["text/html"])


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "native"])
def test_the_curve_grows_in_the_cell(jitted: bool, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    cell = Cell(monkeypatch)
    monkeypatch.setattr(notebook, "_EVERY", 0.0)
    made = tg.fit(learner(jitted), X, epochs=7, batch_size=8, seed=0)
    assert cell.pages
    assert "epoch 7 of 7" in cell.pages[-1]
    assert cell.pages[-1].count("<svg") == 3
    assert "<progress" not in cell.pages[-1]
    if not jitted:
        assert len(cell.pages) == 8  # after every epoch, and at the end
        assert '<progress max="100" value="43"' in cell.pages[2]
    assert "it/s" not in capfd.readouterr().err  # no bar of text beside it
    silent = Cell(monkeypatch)
    other = tg.fit(learner(jitted), X, epochs=7, batch_size=8, seed=0, progress=False)
    assert not silent.pages
    assert other["loss"].tobytes() == made["loss"].tobytes()


def test_it_does_not_grow_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch)
    monkeypatch.setattr(notebook, "_EVERY", 3600.0)
    tg.fit(learner(False), X, epochs=50, batch_size=8, seed=0)
    assert len(cell.pages) == 1


def test_a_run_that_fails_leaves_its_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch)

    def stop(run: Any, logs: Any) -> None:
        if run.epoch == 3:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        tg.fit(learner(False), X, epochs=5, batch_size=8, seed=0, callbacks=[stop])
    assert "epoch 3 of 5" in cell.pages[-1]


def test_a_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [
        "import tinygrad_nn as tg\nw = tg.zeros(3, requires_grad=True)\nx = tg.ones(24, 3)\n"
        "def step(x):\n    w.grad = None\n    loss = (x - w).square().mean()\n    loss.backward()\n"
        "    w.data -= 0.1 * w.grad\n    return loss\n"
        "history = tg.fit(step, x, epochs=20, batch_size=8, seed=0, snapshots=5)",
        "history",
        "tg.replay(history, epoch=7, batch=1)",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    nbclient.NotebookClient(made, timeout=120, kernel_name="python3").execute()
    shown = [[one.data for one in cell.outputs if "data" in one] for cell in made.cells]
    assert "Fit: epoch 20 of 20" in shown[0][0]["text/plain"]
    assert "<svg" in shown[0][0]["text/html"]
    assert "<svg" in shown[1][0]["text/html"]
    assert "History: 20 epochs" in shown[1][0]["text/plain"]
    assert "Replay before batch 1 of epoch 7" in shown[2][0]["text/html"]
