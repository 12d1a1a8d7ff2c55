"""`{live} iris`: the report on a model that was trained while the site was built, in a frame.

The three models of the tutorials, small enough for that: seconds for all of them. A tutorial shows the code that its
readers need; here stands the same in short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from shown import frame
from sklearn.datasets import load_iris
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.page import Report

Loss = Callable[[tg.Tensor, tg.Tensor], tg.Tensor]


def trained(net: nn.Module, loss_of: Loss, x: Any, y: Any, lr: float, epochs: int, batch_size: int | None) -> Report:
    """A run of SGD, and the report on its step."""
    opt = optim.SGD(net.parameters(), lr=lr)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        opt.step()
        return loss

    history = tg.fit(step, (x, y), epochs, batch_size, seed=0, progress=False, snapshots=epochs // 20)
    first = slice(0, batch_size)
    return tg.report(step, x[first], y[first], history=history, path=None)


def iris() -> Report:
    """150 flowers, 4-8-3."""
    x, y = load_iris(return_X_y=True)
    tg.manual_seed(42)
    scaled = data.StandardScaler.fit(x).transform(x).astype(np.float32)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return trained(net, F.cross_entropy, scaled, y, 0.05, 300, 32)


def titanic() -> Report:
    """Generated passengers, a logistic regression."""
    table = data.synthetic.titanic()
    x = np.column_stack(
        [
            np.asarray(table["Pclass"]) / 3,
            np.asarray(table["Sex"] == "female"),
            np.asarray(table["Age"].fill_null(30.0)) / 80,
            np.asarray(table["SibSp"]) / 8,
            np.asarray(table["Parch"]) / 6,
            np.log1p(np.asarray(table["Fare"].fill_null(30.0))) / 6,
        ]
    ).astype(np.float32)
    y = np.asarray(table["Survived"], np.float32)[:, None]
    tg.manual_seed(0)
    return trained(nn.Linear(6, 1), F.binary_cross_entropy_with_logits, x, y, 0.5, 300, None)


class Recurrent(nn.Module):
    """3-5-1: a state of five numbers over the payments of a card."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(3, 5, nonlinearity="relu", batch_first=True)
        self.out = nn.Linear(5, 1)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """(cards, steps, 3) to (cards, steps, 1)."""
        states, _ = self.rnn(x)
        found: tg.Tensor = self.out(states)
        return found


def fraud() -> Report:
    """Fifteen generated cards, a recurrent net."""
    cards = data.synthetic.fraud()
    x, y = np.stack(cards.x).astype(np.float32), np.stack(cards.y).astype(np.float32)
    tg.manual_seed(0)
    return trained(Recurrent(), F.mse_loss, x / x.max((0, 1)), y, 0.05, 300, None)


MODELS: Final = {"iris": iris, "titanic": titanic, "fraud": fraud}


class Live(SphinxDirective):
    """`{live} iris`, with `:height:` in pixels and the part that it begins with, `:at:`."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"height": directives.nonnegative_int, "at": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The frame."""
        self.env.note_reread()
        name = self.arguments[0]
        if name not in MODELS:
            raise self.error(f"no model {name}; there are {', '.join(MODELS)}")
        at, height = self.options.get("at", ""), self.options.get("height", 720)
        return [frame(self, MODELS[name](), f"The {name} model: a report", height, at)]


def setup(app: Sphinx) -> dict[str, bool]:
    """For Sphinx."""
    app.add_directive("live", Live)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
