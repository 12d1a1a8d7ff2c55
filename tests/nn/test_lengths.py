"""Padded batches with lengths against torch's packed sequences; truncated backpropagation; compiled; wrong lengths."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import loops, nn, optim
from tinygrad_nn.errors import DTypeError, ShapeError, TinygradError
from tinygrad_nn.nn.utils.rnn import length_mask, masked_mean, pad_sequence, unpad_sequence

RNG = np.random.default_rng(7)
KINDS = ("RNN", "GRU", "LSTM")
LENGTHS = [3, 6, 1, 4]  # unordered, one that fills the batch and one of a single step


def flat(value: Any) -> list[Any]:
    """Tensors of nested tuples."""
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, tuple) else [value]


def pair(name: str, size: tuple[int, int] = (3, 4), **options: Any) -> tuple[Any, Any, Any]:
    """(torch, our layer, torch's) with the same weights in float64."""
    torch = pytest.importorskip("torch")
    mine, theirs = getattr(nn, name)(*size, **options).double(), getattr(torch.nn, name)(*size, **options).double()
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in mine.state_dict().items()})
    return torch, mine, theirs


def states(name: str, library: Any, arrays: list[Any]) -> Any:
    made = tuple(library.tensor(a).requires_grad_() for a in arrays)
    return made if name == "LSTM" else made[0]


def compare_gradients(mine: Any, theirs: Any) -> None:
    gradients = dict(mine.named_parameters())
    for name, p in theirs.named_parameters():
        np.testing.assert_allclose(gradients[name].grad.numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-11, err_msg=name)


PACKED = list(itertools.product(KINDS, (1, 2), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize(("name", "layers", "bidirectional", "batch_first", "initial"), PACKED)
def test_lengths_equal_packed_sequences(
    name: str, layers: int, bidirectional: bool, batch_first: bool, initial: bool
) -> None:
    torch, mine, theirs = pair(name, num_layers=layers, bidirectional=bidirectional, batch_first=batch_first)
    x = RNG.normal(size=(4, 6, 3) if batch_first else (6, 4, 3))
    xs, ts = tg.tensor(x).requires_grad_(), torch.tensor(x, requires_grad=True)
    arrays = [RNG.normal(size=(layers * (1 + bidirectional), 4, 4)) for _ in range(2)]
    ours, others = (states(name, tg, arrays), states(name, torch, arrays)) if initial else (None, None)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        ts, torch.tensor(LENGTHS), batch_first=batch_first, enforce_sorted=False
    )
    packed, last = theirs(packed, others)
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=batch_first)
    found, expected = flat(mine(xs, ours, lengths=LENGTHS)), flat((padded, last))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)
    outside = ~length_mask(LENGTHS, 6, batch_first).numpy()
    assert np.all(found[0].detach().numpy()[outside] == 0)
    sum((out * (k + 1)).sin().sum() for k, out in enumerate(found)).backward()  # type: ignore[union-attr]
    sum((out * (k + 1)).sin().sum() for k, out in enumerate(expected)).backward()
    np.testing.assert_allclose(xs.grad.numpy(), ts.grad.numpy(), rtol=1e-8, atol=1e-11)  # type: ignore[union-attr]
    compare_gradients(mine, theirs)
    if initial:
        for a, b in zip(flat(ours), flat(others), strict=True):
            if b.grad is not None:
                np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("name", "layers", "bidirectional"), list(itertools.product(KINDS, (1, 2), (False, True))))
def test_unbatched_with_an_initial_state(name: str, layers: int, bidirectional: bool) -> None:
    torch, mine, theirs = pair(name, num_layers=layers, bidirectional=bidirectional, dropout=0.0)
    x, arrays = RNG.normal(size=(5, 3)), [RNG.normal(size=(layers * (1 + bidirectional), 4)) for _ in range(2)]
    found = flat(mine(tg.tensor(x), states(name, tg, arrays)))
    expected = flat(theirs(torch.tensor(x), states(name, torch, arrays)))
    for a, b in zip(found, expected, strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_each_sequence_gives_what_it_gives_alone(name: str) -> None:
    rnn = getattr(nn, name)(3, 4, num_layers=2, bidirectional=True).double()
    alone = [tg.tensor(RNG.normal(size=(n, 3))) for n in LENGTHS]
    outputs, last = rnn(pad_sequence(alone, padding_value=float("nan")), lengths=tg.tensor(LENGTHS))
    for k, (x, out) in enumerate(zip(alone, unpad_sequence(outputs, LENGTHS), strict=True)):
        expected, state = rnn(x)
        np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-10)
        for a, b in zip(flat(last), flat(state), strict=True):
            np.testing.assert_allclose(a.detach().numpy()[:, k], b.detach().numpy(), rtol=1e-10)


def test_what_is_in_the_padding_does_no_harm() -> None:
    rnn, x = nn.GRU(3, 4, batch_first=True), RNG.normal(size=(4, 6, 3)).astype(np.float32)
    spoilt = np.where(length_mask(LENGTHS, 6, batch_first=True).numpy()[..., None], x, np.nan)
    gradients = []
    for data in (x, spoilt):
        rnn.zero_grad()
        outputs, last = rnn(tg.tensor(data), lengths=LENGTHS)
        (outputs.sum() + last.sum()).backward()
        gradients.append([p.grad.tolist() for p in rnn.parameters()])
    assert gradients[0] == gradients[1]


def test_a_masked_loss_is_the_mean_over_what_is_there() -> None:
    values = tg.tensor(RNG.normal(size=(6, 4, 2))).requires_grad_()
    loss = masked_mean(values, length_mask(LENGTHS, 6))
    own = values.detach().numpy()
    parts = [own[:n, k] for k, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(loss.item(), np.concatenate(parts).mean(), rtol=1e-12)
    loss.backward()
    assert values.grad is not None
    counts = (values.grad.numpy() != 0).sum(axis=(0, 2))
    assert counts.tolist() == [2 * n for n in LENGTHS]
    first = masked_mean(values.transpose(0, 1), length_mask(LENGTHS, 6, batch_first=True))
    np.testing.assert_allclose(first.item(), loss.item(), rtol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_truncated_backpropagation_equals_torch(name: str) -> None:
    torch, mine, theirs = pair(name)
    x, y = RNG.normal(size=(11, 2, 3)), RNG.normal(size=(11, 2, 4))
    whole, _ = mine(tg.tensor(x))
    opt, other = optim.SGD(mine.parameters(), lr=0.0), torch.optim.SGD(theirs.parameters(), lr=0.0)
    ours: Any = None
    others: Any = None
    pieces = zip(tg.tensor(x).split(4), tg.tensor(y).split(4), strict=True)
    torchs = zip(torch.tensor(x).split(4), torch.tensor(y).split(4), strict=True)
    outputs = []
    for (a, b), (c, d) in zip(pieces, torchs, strict=True):
        opt.zero_grad()
        out, ours = mine(a, ours)
        F.mse_loss(out, b).backward()
        opt.step()
        ours = tuple(h.detach() for h in ours) if name == "LSTM" else ours.detach()
        other.zero_grad()
        expected, others = theirs(c, others)
        torch.nn.functional.mse_loss(expected, d).backward()
        other.step()
        others = tuple(h.detach() for h in others) if name == "LSTM" else others.detach()
        compare_gradients(mine, theirs)
        outputs.append(out.detach().numpy())
    np.testing.assert_allclose(np.concatenate(outputs), whole.detach().numpy(), rtol=1e-12)  # the state went over


@pytest.mark.parametrize("name", KINDS)
def test_a_training_step_with_lengths_and_clipping_compiles(name: str) -> None:
    x, y = RNG.normal(size=(6, 4, 3)).astype(np.float32), RNG.normal(size=(6, 4, 1)).astype(np.float32)

    def run(compiled: bool) -> list[float]:
        tg.manual_seed(3)
        rnn, head = getattr(nn, name)(3, 4), nn.Linear(4, 1)
        parameters = [*rnn.parameters(), *head.parameters()]
        opt = optim.SGD(parameters, lr=0.5)

        def step(x: tg.Tensor, y: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
            opt.zero_grad()
            outputs, _ = rnn(x, lengths=lengths)
            loss = masked_mean((head(outputs) - y) ** 2, length_mask(lengths, 6))
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 0.1)
            opt.step()
            return loss

        call = tg.jit(step) if compiled else step
        batches = [tg.tensor(LENGTHS), tg.tensor([1, 2, 6, 6]), tg.tensor(LENGTHS)]
        return [call(tg.tensor(x), tg.tensor(y), lengths).item() for lengths in batches]

    np.testing.assert_allclose(run(True), run(False), rtol=2e-5)


def test_padding_and_its_inverse() -> None:
    for batch_first in (False, True):
        alone = [tg.tensor(RNG.normal(size=(n, 2))) for n in LENGTHS]
        back = unpad_sequence(pad_sequence(alone, batch_first), LENGTHS, batch_first)
        assert [s.tolist() for s in back] == [s.tolist() for s in alone]


WRONG: list[tuple[Any, type[TinygradError], str]] = [
    (
        lambda: nn.RNN(3, 4)(tg.zeros(5, 2, 3), lengths=[5, 6]),
        ShapeError,
        r"\[RNN\] got length 6 of sequence 1 in a batch of 5 steps; expected 1 <= length <= 5",
    ),
    (lambda: nn.GRU(3, 4)(tg.zeros(5, 2, 3), lengths=[0, 5]), ShapeError, r"\[GRU\] got length 0 of sequence 0"),
    (lambda: nn.LSTM(3, 4)(tg.zeros(5, 2, 3), lengths=[5]), ShapeError, "got 1 lengths for a batch of 2"),
    (lambda: nn.RNN(3, 4)(tg.zeros(5, 2, 3), lengths=[[5, 5]]), ShapeError, r"lengths of shape \(1, 2\)"),
    (lambda: nn.RNN(3, 4)(tg.zeros(5, 2, 3), lengths=[5.0, 5.0]), DTypeError, "lengths of dtype float"),
    (lambda: nn.RNN(3, 4)(tg.zeros(5, 3), lengths=[5]), ShapeError, r"lengths for unbatched input.*x\[:length\]"),
    (lambda: nn.RNN(3, 4)(tg.zeros(5, 3), tg.zeros(1, 2, 4)), ShapeError, r"shape \(1, 2, 4\); expected \(1, 4\)"),
    (lambda: nn.LSTM(3, 4)(tg.zeros(5, 2, 3), tg.zeros(1, 2, 4)), ShapeError, r"expected a pair of tensors \(h, c\)"),
    (lambda: nn.LSTM(3, 4)(tg.zeros(5, 2, 3), (tg.zeros(1, 2, 4),)), ShapeError, "a pair of tensors"),
    (
        lambda: nn.LSTM(3, 4)(tg.zeros(5, 2, 3), (tg.zeros(1, 2, 4), tg.zeros(1, 2, 5))),
        ShapeError,
        r"shape \(1, 2, 4\) and \(1, 2, 5\); expected \(1, 2, 4\)",
    ),
    (
        lambda: nn.GRU(3, 4)(tg.zeros(5, 2, 3), (tg.zeros(1, 2, 4), tg.zeros(1, 2, 4))),
        ShapeError,
        r"\[GRU\] got an initial state that is a tuple; expected a tensor",
    ),
    (lambda: length_mask([3, 9], 4), ShapeError, r"\[length_mask\] got length 9 of sequence 1"),
    (lambda: unpad_sequence(tg.zeros(5, 2, 3), [5]), ShapeError, "1 lengths for a batch of 2"),
    (lambda: masked_mean(tg.zeros(5, 2), tg.zeros(5, 2)), DTypeError, "a mask of dtype float32; expected bool"),
    (
        lambda: masked_mean(tg.zeros(2, 5, 1), length_mask([5, 5], 5)),
        ShapeError,
        r"\(5, 2\) for values \(2, 5, 1\).*batch_first=True",
    ),
    (lambda: pad_sequence([]), ShapeError, r"\[pad_sequence\] got no sequences"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_misuse_is_named(call: Any, error: type[TinygradError], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_cell_is_recorded_once_for_each_kind_of_operands() -> None:
    loops._recordings.clear()
    layer, x = nn.GRU(3, 4, num_layers=2), tg.tensor(RNG.normal(size=(5, 2, 3)), dtype=tg.float32)
    first = layer(x)[0]
    count = len(loops._recordings)
    with tg.no_grad():
        for p in layer.parameters():
            p.mul_(0.5)
    assert not np.allclose(layer(x)[0].detach().numpy(), first.detach().numpy())
    assert len(loops._recordings) == count == 1
    layer.double()(x.double())
    layer(x.double(), lengths=[5, 2])
    assert len(loops._recordings) == 3
