"""Layers against torch.nn given the same state_dict: outputs, input gradients, parameter gradients; reprs; first
values.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, GraphError, TraceError

RNG = np.random.default_rng(11)


def agree(mine: Any, theirs: Any, *arrays: Any) -> None:
    """Load our state into torch's module, run both in float64, compare everything."""
    torch = pytest.importorskip("torch")
    mine = mine.double()
    theirs = theirs.double()
    state = {key: torch.tensor(value.numpy()) for key, value in mine.state_dict().items()}
    theirs.load_state_dict(state)
    assert {k: tuple(v.shape) for k, v in theirs.state_dict().items()} == {
        k: v.shape for k, v in mine.state_dict().items()
    }
    xs = [tg.tensor(a).requires_grad_(a.dtype.kind == "f") for a in arrays]
    ts = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    outs, expected = leaves(mine(*xs)), leaves(theirs(*ts))
    loss = sum((out * (k + 1)).sin().sum() for k, out in enumerate(outs))
    other = sum((out * (k + 1)).sin().sum() for k, out in enumerate(expected))
    for a, b in zip(outs, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)
    loss.backward()  # type: ignore[union-attr]
    other.backward()
    for a, b in zip(xs, ts, strict=True):
        if b.grad is not None:
            assert a.grad is not None
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-10)
    gradients = {name: p.grad for name, p in mine.named_parameters()}
    for name, p in theirs.named_parameters():
        if p.grad is not None:
            np.testing.assert_allclose(gradients[name].numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)
    for name, buffer in theirs.named_buffers():
        np.testing.assert_allclose(mine.state_dict()[name].numpy(), buffer.numpy(), rtol=1e-10, err_msg=name)


def leaves(value: Any) -> list[Any]:
    """Tensors of nested tuples."""
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [value]


LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], list[Any]]] = [
    ("Linear", (4, 3), {}, [RNG.normal(size=(5, 4))]),
    ("Linear", (4, 3), {"bias": False}, [RNG.normal(size=(2, 5, 4))]),
    ("Bilinear", (3, 4, 2), {}, [RNG.normal(size=(5, 3)), RNG.normal(size=(5, 4))]),
    ("Embedding", (6, 3), {}, [np.array([[0, 5], [2, 2]])]),
    ("Embedding", (6, 3), {"padding_idx": 2}, [np.array([0, 2, 5])]),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [RNG.normal(size=(2, 4, 9))]),
    ("MaxPool1d", (3,), {"stride": 2}, [RNG.normal(size=(2, 4, 9))]),
    ("AvgPool1d", (3,), {"padding": 1}, [RNG.normal(size=(2, 4, 9))]),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": 1, "bias": False}, [RNG.normal(size=(2, 4, 7, 6))]),
    ("Conv3d", (2, 3, 2), {"padding": "valid", "dilation": 2}, [RNG.normal(size=(2, 2, 4, 4, 5))]),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1, "groups": 2}, [RNG.normal(size=(2, 4, 5))]),
    ("ConvTranspose2d", (4, 3, (3, 2)), {"stride": (2, 1), "padding": 1}, [RNG.normal(size=(2, 4, 5, 4))]),
    ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, [RNG.normal(size=(2, 4, 8, 7))]),
    ("AvgPool2d", ((3, 2),), {"padding": 1, "count_include_pad": False}, [RNG.normal(size=(2, 4, 8, 7))]),
    ("AdaptiveMaxPool1d", (3,), {}, [RNG.normal(size=(2, 4, 8))]),
    ("AdaptiveMaxPool2d", ((3, None),), {}, [RNG.normal(size=(2, 4, 8, 7))]),
    ("AdaptiveAvgPool1d", (3,), {}, [RNG.normal(size=(2, 4, 8))]),
    ("AdaptiveAvgPool2d", (1,), {}, [RNG.normal(size=(2, 4, 8, 7))]),
    ("Unfold", ((2, 3),), {"stride": 2, "padding": 1}, [RNG.normal(size=(2, 4, 8, 7))]),
    ("Fold", ((5, 4), 2), {"stride": (1, 2)}, [RNG.normal(size=(2, 12, 8))]),
    ("LayerNorm", (4,), {}, [RNG.normal(size=(5, 4))]),
    ("LayerNorm", ((3, 4),), {"bias": False}, [RNG.normal(size=(5, 3, 4))]),
    ("RMSNorm", (4,), {"eps": 1e-6}, [RNG.normal(size=(5, 4))]),
    ("BatchNorm1d", (4,), {}, [RNG.normal(size=(7, 4))]),
    ("BatchNorm1d", (4,), {"momentum": None, "affine": False}, [RNG.normal(size=(7, 4, 3))]),
    ("BatchNorm1d", (4,), {"track_running_stats": False}, [RNG.normal(size=(7, 4))]),
    ("PReLU", (4,), {}, [RNG.normal(size=(7, 4))]),
    ("Flatten", (), {}, [RNG.normal(size=(2, 3, 4))]),
    ("Unflatten", (1, (2, 3)), {}, [RNG.normal(size=(2, 6))]),
    ("Identity", (), {}, [RNG.normal(size=(2, 6))]),
    ("GELU", (), {}, [RNG.normal(size=(2, 6))]),
    ("Softmax", (), {"dim": 1}, [RNG.normal(size=(2, 6))]),
    ("GLU", (), {}, [RNG.normal(size=(2, 6))]),
    ("RNNCell", (4, 3), {}, [RNG.normal(size=(2, 4)), RNG.normal(size=(2, 3))]),
    ("GRUCell", (4, 3), {"bias": False}, [RNG.normal(size=(2, 4)), RNG.normal(size=(2, 3))]),
    ("LSTMCell", (4, 3), {}, [RNG.normal(size=(2, 4))]),
]


@pytest.mark.parametrize(("name", "args", "options", "arrays"), LAYERS, ids=lambda v: v if isinstance(v, str) else "")
def test_layers(name: str, args: tuple[Any, ...], options: dict[str, Any], arrays: list[Any]) -> None:
    torch = pytest.importorskip("torch")
    agree(getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options), *arrays)


RECURRENT = list(itertools.product(("RNN", "GRU", "LSTM"), (1, 2), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize(("name", "layers", "bidirectional", "batch_first", "bias"), RECURRENT)
def test_recurrent_layers(name: str, layers: int, bidirectional: bool, batch_first: bool, bias: bool) -> None:
    torch = pytest.importorskip("torch")
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    mine, theirs = getattr(nn, name)(3, 4, **options), getattr(torch.nn, name)(3, 4, **options)
    agree(mine, theirs, RNG.normal(size=(5, 2, 3)))
    agree(mine, theirs, RNG.normal(size=(5, 3)))


@pytest.mark.parametrize("steps", [3, 40])  # written out, and a loop
@pytest.mark.parametrize(
    ("name", "layers", "bidirectional"), list(itertools.product(("RNN", "GRU", "LSTM"), (1, 2), (False, True)))
)
def test_recurrent_layers_compiled(name: str, layers: int, bidirectional: bool, steps: int) -> None:
    torch = pytest.importorskip("torch")
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": True}
    mine, theirs = (getattr(library, name)(3, 4, **options).double() for library in (nn, torch.nn))
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in mine.state_dict().items()})
    array = RNG.normal(size=(2, steps, 3))

    def both(x: Any) -> Any:
        outs = leaves(mine(x))
        loss = sum((out * (k + 1)).sin().sum() for k, out in enumerate(outs))
        return outs, tg.autograd.grad(loss, [x, *mine.parameters()])

    x, other = tg.tensor(array).requires_grad_(), torch.tensor(array, requires_grad=True)
    outs, gradients = tg.jit(both)(x)
    expected = leaves(theirs(other))
    loss = sum((out * (k + 1)).sin().sum() for k, out in enumerate(expected))
    wanted = torch.autograd.grad(loss, [other, *theirs.parameters()])
    for a, b in zip([*outs, *gradients], [*expected, *wanted], strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_initial_states(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = getattr(nn, name)(3, 4, num_layers=2).double(), getattr(torch.nn, name)(3, 4, num_layers=2).double()
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in mine.state_dict().items()})
    x, states = RNG.normal(size=(5, 2, 3)), [RNG.normal(size=(2, 2, 4)) for _ in range(2)]
    ours = tuple(map(tg.tensor, states)) if name == "LSTM" else tg.tensor(states[0])
    others = tuple(map(torch.tensor, states)) if name == "LSTM" else torch.tensor(states[0])
    for a, b in zip(leaves(mine(tg.tensor(x), ours)), leaves(theirs(torch.tensor(x), others)), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10)


def test_relu_rnn_and_dropout_between_layers() -> None:
    torch = pytest.importorskip("torch")
    agree(nn.RNN(3, 4, nonlinearity="relu"), torch.nn.RNN(3, 4, nonlinearity="relu"), RNG.normal(size=(5, 2, 3)))
    rnn = nn.RNN(3, 4, num_layers=2, dropout=0.5)
    x = tg.ones(5, 2, 3)
    tg.manual_seed(0)
    assert rnn(x)[0].tolist() != rnn(x)[0].tolist()
    rnn.eval()
    assert rnn(x)[0].tolist() == rnn(x)[0].tolist()


LOSSES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("MSELoss", {}, [RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))]),
    ("L1Loss", {"reduction": "sum"}, [RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))]),
    ("SmoothL1Loss", {"beta": 0.5}, [RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))]),
    ("HuberLoss", {"delta": 0.5}, [RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))]),
    ("BCELoss", {}, [RNG.uniform(0.1, 0.9, (4, 3)), RNG.uniform(0.1, 0.9, (4, 3))]),
    ("BCEWithLogitsLoss", {}, [RNG.normal(size=(4, 3)), RNG.uniform(size=(4, 3))]),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, [RNG.normal(size=(4, 3)), np.array([0, 2, 1, 1])]),
    ("NLLLoss", {}, [RNG.normal(size=(4, 3)), np.array([0, 2, 1, 1])]),
    ("KLDivLoss", {"reduction": "batchmean"}, [RNG.normal(size=(4, 3)), RNG.uniform(0.1, 1, (4, 3))]),
    ("MultiMarginLoss", {}, [RNG.normal(size=(4, 3)), np.array([0, 2, 1, 1])]),
    ("TripletMarginLoss", {"swap": True}, [RNG.normal(size=(4, 3)) for _ in range(3)]),
    ("CosineSimilarity", {}, [RNG.normal(size=(4, 3)) for _ in range(2)]),
    ("PairwiseDistance", {}, [RNG.normal(size=(4, 3)) for _ in range(2)]),
]


@pytest.mark.parametrize(("name", "options", "arrays"), LOSSES, ids=lambda v: v if isinstance(v, str) else "")
def test_losses(name: str, options: dict[str, Any], arrays: list[Any]) -> None:
    torch = pytest.importorskip("torch")
    agree(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), *arrays)


def test_reprs_are_torchs() -> None:
    torch = pytest.importorskip("torch")

    def build(library: Any) -> Any:
        return library.Sequential(
            library.Linear(4, 8),
            library.ReLU(),
            library.Sequential(library.LayerNorm(8), library.Dropout(0.1), library.Conv1d(1, 2, 3, padding=1)),
            library.LSTM(8, 3, num_layers=2, batch_first=True),
            library.Embedding(5, 2, padding_idx=0),
            library.BatchNorm1d(3),
            library.LeakyReLU(0.2),
            library.MaxPool1d(2),
        )

    newer = "affine=True, bias=True"  # torch 2.13 also shows the bias of normalisation layers
    assert repr(build(nn)) == repr(build(torch.nn)).replace(newer, "affine=True")


@pytest.mark.parametrize(
    "name", ["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "trunc_normal_"]
)
def test_first_values_have_torchs_spread(name: str) -> None:
    torch = pytest.importorskip("torch")
    tg.manual_seed(1)
    torch.manual_seed(1)
    mine = getattr(nn.init, name)(tg.zeros(200, 100)).numpy()
    theirs = getattr(torch.nn.init, name)(torch.zeros(200, 100)).numpy()
    assert abs(mine.mean()) < 4 * theirs.std() / np.sqrt(mine.size)
    np.testing.assert_allclose(mine.std(), theirs.std(), rtol=0.03)
    np.testing.assert_allclose(np.abs(mine).max(), np.abs(theirs).max(), rtol=0.25)


def test_orthogonal_rows() -> None:
    w = nn.init.orthogonal_(tg.zeros(3, 5, dtype=tg.float64)).numpy()
    np.testing.assert_allclose(w @ w.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("build", "gates"),
    [
        (lambda: nn.RNN(2, 4, num_layers=2, bidirectional=True), 1),
        (lambda: nn.GRU(2, 4, bidirectional=True), 3),
        (lambda: nn.LSTM(2, 4, num_layers=2), 4),
        (lambda: nn.GRUCell(2, 4), 3),
        (lambda: nn.Sequential(nn.LSTM(2, 4), nn.Linear(4, 1)), 4),
    ],
)
def test_recurrent_weights_are_orthogonal_gate_by_gate(build: Any, gates: int) -> None:
    model = build().double()
    before = model.state_dict()
    generator = tg.Generator(5)
    assert nn.init.recurrent_orthogonal_(model, gain=2.0, generator=generator) is model
    blocks = []
    for name, weight in model.state_dict().items():
        if "weight_hh" in name:
            parts = np.split(weight.numpy(), gates)
            assert all(part.shape == (4, 4) for part in parts)
            blocks += parts
        else:
            assert weight.tolist() == before[name].tolist()
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, 4 * np.eye(4), atol=1e-12)
    assert len({block.tobytes() for block in blocks}) == len(blocks)
    nn.init.recurrent_orthogonal_(model, gain=2.0, generator=tg.Generator(5))
    again = [w.numpy() for name, w in model.state_dict().items() if "weight_hh" in name]
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(blocks))


def test_no_recurrent_weights_to_initialise() -> None:
    with pytest.raises(ConfigError, match=r"\[recurrent_orthogonal_\] got Linear without recurrent weights"):
        nn.init.recurrent_orthogonal_(nn.Linear(3, 3))


def clipped(limit: Any) -> tuple[list[float], list[float]]:
    """Parameters after three steps, eager and compiled."""
    results = []
    for wrap in (lambda step: step, tg.jit):
        tg.manual_seed(1)
        rnn = nn.LSTM(3, 4)
        opt = tg.optim.SGD(rnn.parameters(), lr=1.0)

        def step(x: tg.Tensor, rnn: Any = rnn, opt: Any = opt) -> tg.Tensor:
            opt.zero_grad()
            (rnn(x)[0] * 50).sum().backward()
            total = limit(rnn.parameters())
            opt.step()
            return x.sum() if total is None else total

        call = wrap(step)
        x = tg.full((5, 2, 3), 0.3)
        norms = [call(x).item() for _ in range(3)]
        results.append([*norms, *np.concatenate([p.detach().numpy().ravel() for p in rnn.parameters()]).tolist()])
    return results[0], results[1]


@pytest.mark.parametrize(
    "limit",
    [
        lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.5),
        lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.5, float("inf")),
        lambda parameters: nn.utils.clip_grad_value_(parameters, 0.01),
    ],
)
def test_clipping_compiles_without_reading_values(limit: Any) -> None:
    eager, compiled = clipped(limit)
    np.testing.assert_allclose(compiled, eager, rtol=2e-4, atol=1e-6)


def test_a_norm_cannot_be_judged_while_tracing() -> None:
    with pytest.raises(TraceError, match=r"clip_grad_norm_.*error_if_nonfinite"):
        clipped(lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.5, error_if_nonfinite=True))
    p = tg.zeros(2, requires_grad=True)
    p.grad = tg.tensor([float("inf"), 0.0])
    with pytest.raises(GraphError, match=r"\[clip_grad_norm_\] got a norm of inf"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.tolist() == [float("inf"), 0.0]


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_clipping_equals_torch(norm: float) -> None:
    torch = pytest.importorskip("torch")
    grads = [RNG.normal(size=(3, 2)), RNG.normal(size=4)]
    mine = [tg.zeros(g.shape, dtype=tg.float64, requires_grad=True) for g in grads]
    theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in grads]
    for p, q, g in zip(mine, theirs, grads, strict=True):
        p.grad, q.grad = tg.tensor(g), torch.tensor(g)
    total = nn.utils.clip_grad_norm_(mine, 0.7, norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.7, norm)
    np.testing.assert_allclose(total.item(), expected.item(), rtol=1e-12)
    nn.utils.clip_grad_value_(mine, 0.2)
    torch.nn.utils.clip_grad_value_(theirs, 0.2)
    for p, q in zip(mine, theirs, strict=True):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10)


def test_sigmoid_rnn() -> None:
    """Torch has no such layer: its matrix products by hand, and its own gradients of them."""
    torch = pytest.importorskip("torch")
    rnn = nn.RNN(3, 4, num_layers=2, nonlinearity="sigmoid", bidirectional=True, batch_first=True).double()
    array = RNG.normal(size=(2, 14, 3))  # longer than what is written out
    weights = {key: torch.tensor(value.numpy(), requires_grad=True) for key, value in rnn.state_dict().items()}

    def by_hand(x: Any) -> Any:
        for layer in range(2):
            directions = []
            for end in ("", "_reverse"):
                w_ih, w_hh, b_ih, b_hh = (
                    weights[f"{name}_l{layer}{end}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                h, outputs = torch.zeros(2, 4, dtype=torch.float64), []
                for t in range(14) if not end else reversed(range(14)):
                    h = torch.sigmoid(x[:, t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh)
                    outputs.append(h)
                directions.append(torch.stack(outputs[::-1] if end else outputs, 1))
            x = torch.cat(directions, -1)
        return x

    x, other = tg.tensor(array).requires_grad_(), torch.tensor(array, requires_grad=True)
    expected = by_hand(other)
    wanted = torch.autograd.grad(expected.sin().sum(), [other, *weights.values()])

    def both(x: Any) -> Any:
        out, _ = rnn(x)
        return [out, *tg.autograd.grad(out.sin().sum(), [x, *rnn.parameters()])]

    for run in (both, tg.jit(both)):
        for a, b in zip(run(x), [expected, *wanted], strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-8, atol=1e-10)


def test_sigmoid_cell_is_a_step_of_the_layer() -> None:
    rnn, cell = nn.RNN(3, 4, nonlinearity="sigmoid"), nn.RNNCell(3, 4, nonlinearity="sigmoid")
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in rnn.state_dict().items()})
    x = tg.tensor(RNG.normal(size=(5, 2, 3)).astype(np.float32))

    def unrolled(x: Any) -> Any:
        h, outputs = None, []
        for t in range(5):
            h = cell(x[t], h)
            outputs.append(h)
        return tg.stack(outputs)

    for run in (unrolled, tg.jit(unrolled)):
        np.testing.assert_allclose(run(x).detach().numpy(), rnn(x)[0].detach().numpy(), rtol=1e-6)
    h = cell(tg.zeros(2, 3))
    assert bool(((h > 0) & (h < 1)).all())
    assert repr(rnn) == "RNN(3, 4, nonlinearity='sigmoid')"
    assert "nonlinearity=sigmoid" in repr(cell)
