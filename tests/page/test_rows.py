"""What the graph of a step says of the rows of its batch: losses and predictions against PyTorch, and layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tests.page import models
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.page.predictions import Judge, judge_of
from tinygrad_nn.page.rows import Rows, rows_of
from tinygrad_nn.page.subject import Missing, subject

T = torch.nn.functional
N = 12


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here needs machine code."""
    monkeypatch.setattr("tinygrad_nn.page.subject.COMPILED", 0)


def data(kind: str, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, 4)).astype(np.float32)
    labels = {
        "class": rng.integers(0, 3, N),
        "binary": rng.integers(0, 2, N).astype(np.float32),
        "value": rng.standard_normal(N).astype(np.float32),
    }
    return x, labels[kind]


def stepping(net: nn.Module, loss_of: Callable[..., Any], optimizer: Any = optim.SGD) -> Callable[..., Any]:
    return models.stepping(net, optimizer(net.parameters(), lr=0.01), loss_of)


def rows(step: Callable[..., Any], *batch: Any) -> Rows:
    found = rows_of(subject(step, batch, None, None))
    assert isinstance(found, Rows), found
    return found


def net(outputs: int) -> nn.Sequential:
    tg.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs))


def after(model: nn.Module, x: Any) -> Any:
    with tg.no_grad():
        return torch.tensor(model(tg.tensor(x)).numpy())


WEIGHT = [0.5, 1.0, 3.0]
LOSSES = {
    "cross entropy": (3, "class", F.cross_entropy, T.cross_entropy, {}),
    "smoothed": (3, "class", F.cross_entropy, T.cross_entropy, {"label_smoothing": 0.2}),
    "logits": (1, "binary", lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], y),
               lambda z, y, **k: T.binary_cross_entropy_with_logits(z[:, 0], y, **k), {}),
    "squares": (1, "value", lambda z, y: F.mse_loss(z[:, 0], y), lambda z, y, **k: T.mse_loss(z[:, 0], y, **k), {}),
    "huber": (1, "value", lambda z, y: F.huber_loss(z[:, 0], y), lambda z, y, **k: T.huber_loss(z[:, 0], y, **k), {}),
    "negative likelihood": (3, "class", lambda z, y: F.nll_loss(z.log_softmax(1), y),
                            lambda z, y, **k: T.nll_loss(z.log_softmax(1), y, **k), {}),
    "margin": (3, "class", F.multi_margin_loss, T.multi_margin_loss, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_each_row_is_that_of_torch(name: str) -> None:
    outputs, kind, ours, theirs, settings = LOSSES[name]
    x, y = data(kind)
    model = net(outputs)
    found = rows(stepping(model, lambda z, y: ours(z, y, **settings)), x, y)
    losses, rest, exact = found.losses({})
    expected = theirs(after(model, x), torch.tensor(y), reduction="none", **settings).numpy()
    np.testing.assert_allclose(losses + rest, expected, 1e-4, 1e-5)
    assert exact


def test_weighted_means_penalties_and_losses_in_two_steps() -> None:
    x, y = data("class")
    model = net(3)
    weight = tg.tensor(WEIGHT)

    def loss_of(z: Any, y: Any) -> Any:
        return F.cross_entropy(z, y, weight=weight) + 0.01 * sum((p * p).sum() for p in model.parameters())

    losses, rest, exact = rows(stepping(model, loss_of), x, y).losses({})
    own = T.cross_entropy(after(model, x), torch.tensor(y), torch.tensor(WEIGHT), reduction="none").numpy()
    np.testing.assert_allclose(losses, N * own / np.array(WEIGHT)[y].sum(), 1e-4)
    penalty = sum(float((p.detach() ** 2).sum()) for p in model.parameters())
    assert exact
    assert rest == pytest.approx(0.01 * penalty, 1e-3)
    per_column = stepping(net(2), lambda z, y: ((z - y) ** 2).mean(0).sum())
    target = np.stack([y, y], 1).astype(np.float32)
    found, rest, exact = rows(per_column, x, target).losses({})
    expected = ((after(net(2), x).numpy() - target) ** 2).sum(1)
    np.testing.assert_allclose(found, expected, 1e-4)
    assert exact


def test_a_loss_that_is_no_sum_is_given_to_first_order() -> None:
    x, y = data("value")
    model = net(1)
    losses, _, exact = rows(stepping(model, lambda z, y: F.mse_loss(z[:, 0], y).sqrt()), x, y).losses({})
    squares = (after(model, x)[:, 0].numpy() - y) ** 2
    assert not exact
    np.testing.assert_allclose(losses, squares / (2 * np.sqrt(squares.mean())), 1e-4)


def test_the_loss_is_the_result_that_is_called_so() -> None:
    x, y = data("class")
    model = net(3)
    expected = rows(stepping(model, F.cross_entropy), x, y).losses({})[0]

    def step(x: Any, y: Any) -> Any:
        scores = model(x)
        return {"mae": scores.abs().mean(), "train_loss": F.cross_entropy(scores, y)}

    np.testing.assert_allclose(rows(step, x, y).losses({})[0], expected, 1e-6)


def test_a_hidden_axis_as_long_as_the_batch_is_none_of_rows() -> None:
    x, y = data("value")
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, N), nn.Tanh(), nn.Linear(N, 1))

    def loss_of(z: Any, y: Any) -> Any:
        return ((z[:, 0] - y) ** 2).mean() + (model[0].bias ** 2).sum()

    found = rows(stepping(model, loss_of), x, y)
    losses, rest, _ = found.losses({})
    np.testing.assert_allclose(losses, (after(model, x)[:, 0].numpy() - y) ** 2, 1e-4)
    assert rest == pytest.approx(float((model[0].bias.detach() ** 2).sum()), 1e-4)


def test_sequences_have_one_loss_for_each_row() -> None:
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 6, 3)).astype(np.float32), rng.integers(0, 4, (5, 6))
    lstm, head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 4)
    both = nn.ModuleList([lstm, head])
    own = optim.Adam(both.parameters())

    def step(x: Any, y: Any) -> Any:
        own.zero_grad()
        loss = F.cross_entropy(head(lstm(x)[0]).reshape(-1, 4), y.reshape(-1))
        loss.backward()
        own.step()
        return loss

    losses, _, exact = rows(step, x, y).losses({})
    with tg.no_grad():
        scores = torch.tensor(head(lstm(tg.tensor(x))[0]).numpy())
    expected = T.cross_entropy(scores.reshape(-1, 4), torch.tensor(y).reshape(-1), reduction="none").reshape(5, 6)
    np.testing.assert_allclose(losses, expected.mean(1).numpy(), 1e-4)
    assert exact
    assert isinstance(judge_of(rows(step, x, y), {}), Missing)
    assert not own.state, "to look changes nothing"


def test_rows_that_stand_behind_time() -> None:
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 6, 3)).astype(np.float32), rng.integers(0, 4, (5, 6))
    net, head = nn.RNN(3, 4), nn.Linear(4, 4)

    def step(x: Any, y: Any) -> Any:
        scores = head(net(x.transpose(0, 1))[0])
        return F.cross_entropy(scores.reshape(-1, 4), y.transpose(0, 1).reshape(-1))

    found = rows(step, x, y)
    with tg.no_grad():
        hidden = net(tg.tensor(x).transpose(0, 1))[0]
        scores = torch.tensor(head(hidden).numpy())
    expected = T.cross_entropy(scores.reshape(-1, 4), torch.tensor(y.T.copy()).reshape(-1), reduction="none")
    np.testing.assert_allclose(found.losses({})[0], expected.reshape(6, 5).mean(0).numpy(), 1e-4)


@pytest.mark.parametrize(("name", "kind", "scores"), [
    ("cross entropy", "class", True), ("logits", "probability", True), ("squares", "value", False),
    ("negative likelihood", "class", True),
])  # fmt: skip
def test_what_is_predicted(name: str, kind: str, scores: bool) -> None:
    outputs, labels, ours, _, settings = LOSSES[name]
    x, y = data(labels)
    model = net(outputs)
    found = rows(stepping(model, lambda z, y: ours(z, y, **settings)), x, y)
    judge = judge_of(found, {})
    assert isinstance(judge, Judge)
    assert (judge.kind, judge.scores) == (kind, scores)
    values, sure = judge.read(found.values([judge.prediction], {})[0].reshape(N, -1))
    raw = after(model, x)
    expected = {"class": raw.argmax(1), "probability": raw[:, 0].sigmoid(), "value": raw[:, 0]}[kind].numpy()
    np.testing.assert_allclose(values, expected, 1e-5)
    if kind == "class":
        np.testing.assert_allclose(sure, raw.softmax(1).max(1)[0].numpy(), 1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_without_modules_may_be_turned_around(sign: int) -> None:
    x, y = data("class")
    w = tg.tensor(np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32), requires_grad=True)

    def step(x: Any, y: Any) -> Any:
        scores = x @ w
        return F.cross_entropy(scores, y) if sign > 0 else F.nll_loss(scores.log_softmax(1), y)  # which turns them

    found = rows(step, x, y)
    judge = judge_of(found, {})
    assert isinstance(judge, Judge)
    values, _ = judge.read(found.values([judge.prediction], {})[0])
    np.testing.assert_array_equal(values, (x @ w.detach().numpy()).argmax(1))
    assert judge.sign == sign
    assert [one.parameters for one in found.layers] == [("w",)]


def test_probabilities_are_read_as_such() -> None:
    x, y = data("binary")
    model = nn.Sequential(net(1), nn.Sigmoid())
    judge = judge_of(rows(stepping(model, lambda p, y: F.binary_cross_entropy(p[:, 0], y)), x, y), {})
    assert isinstance(judge, Judge)
    assert (judge.kind, judge.scores) == ("probability", False)


def test_layers_begin_where_parameters_come_in() -> None:
    x, y = data("class")
    found = rows(stepping(net(3), F.cross_entropy), x, y)
    assert [one.parameters for one in found.layers] == [("0.weight", "0.bias"), ("2.weight", "2.bias")]
    assert [one.node.op.name for one in found.layers][:1] == ["relu"]
    assert all(one.node in found.ids for one in found.layers)


def test_evaluation_is_what_is_looked_at() -> None:
    x, y = data("class")
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    found = rows(stepping(model, F.cross_entropy, optim.Adam), x, y)
    losses, _, _ = found.losses({})
    assert model.training
    assert model[3].training
    model.eval()
    expected = T.cross_entropy(after(model, x), torch.tensor(y), reduction="none").numpy()
    np.testing.assert_allclose(losses, expected, 1e-4)
    assert not found.ids, "its nodes are not those of the page"


def test_what_cannot_be_told_is_said() -> None:
    x, y = data("class")
    model = net(3)

    def branching(x: Any, y: Any) -> Any:
        return F.cross_entropy(model(x) * 2 if len(x) % 2 else model(x), y)

    def said(step: Callable[..., Any], *batch: Any) -> str:
        found = rows_of(subject(step, batch, None, None))
        assert isinstance(found, Missing)
        return found.reason

    assert "another number of rows" in said(branching, x, y)
    assert "no array" in said(lambda: (model[0].weight ** 2).sum())
    assert "for each row" in said(lambda x, y: (model(x[1:]).sum(1) ** 2).mean(), x, y)
