"""Packed sequences against PyTorch's: packing and padding, recurrent layers on them, projections."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import ConfigError, DTypeError, ShapeError
from tinygrad_nn.nn.utils import rnn as ours

RNG = np.random.default_rng(3)
FALLING, MIXED = [5, 3, 3, 1], [3, 5, 1, 3]


def same(mine: Any, theirs: Any) -> None:
    if theirs is None or isinstance(theirs, (tuple, list)):
        assert (mine is None) == (theirs is None)
        for one, other in zip(mine or (), theirs or (), strict=True):
            same(one, other)
    else:
        assert (str(mine.dtype), mine.shape) == (str(theirs.dtype).removeprefix("torch."), tuple(theirs.shape))
        np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [FALLING, MIXED])
def test_packing(batch_first: bool, lengths: list[int]) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.utils.rnn
    array = RNG.normal(size=(4, 5, 2) if batch_first else (5, 4, 2))
    settings = {"batch_first": batch_first, "enforce_sorted": lengths is FALLING}
    packed = ours.pack_padded_sequence(tg.tensor(array), tg.tensor(lengths), **settings)
    expected = theirs.pack_padded_sequence(torch.tensor(array), torch.tensor(lengths), **settings)
    same(tuple(packed), tuple(expected))
    for options in ({}, {"batch_first": True, "padding_value": -1.5}, {"total_length": 7}):
        same(ours.pad_packed_sequence(packed, **options), theirs.pad_packed_sequence(expected, **options))
    same(ours.unpack_sequence(packed), theirs.unpack_sequence(expected))
    arrays = [RNG.normal(size=(n, 2)) for n in lengths]
    sequences, others = [tg.tensor(a) for a in arrays], [torch.tensor(a) for a in arrays]
    enforced = lengths is FALLING
    same(tuple(ours.pack_sequence(sequences, enforced)), tuple(theirs.pack_sequence(others, enforced)))
    left = ours.pad_sequence(sequences, True, 2.0, "left")
    same(left, theirs.pad_sequence(others, True, 2.0, "left"))


@pytest.mark.parametrize(
    ("name", "lengths", "batch_first"), list(itertools.product(("RNN", "GRU", "LSTM"), (FALLING, MIXED), (False, True)))
)
def test_layers_on_packed_sequences(name: str, lengths: list[int], batch_first: bool) -> None:
    torch = pytest.importorskip("torch")
    options = {"num_layers": 2, "bidirectional": True, "batch_first": batch_first}
    options |= {"proj_size": 3} if name == "LSTM" else {}
    mine, theirs = (getattr(library, name)(2, 4, **options).double() for library in (nn, torch.nn))
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in mine.state_dict().items()})
    array = RNG.normal(size=(4, 5, 2) if batch_first else (5, 4, 2))
    states = [RNG.normal(size=(4, 4, n)) for n in ((3, 4) if name == "LSTM" else (4,))]
    settings = {"batch_first": batch_first, "enforce_sorted": lengths is FALLING}

    def run(library: Any, layer: Any, x: Any, given: Any) -> Any:
        packed = library.pack_padded_sequence(x, lengths, **settings)
        out, last = layer(packed, given if name == "LSTM" else given[0])
        padded, _ = library.pad_packed_sequence(out, batch_first=True)
        return [padded, *(last if name == "LSTM" else [last])]

    def loss(outs: Any) -> Any:
        return sum((out * (k + 1)).sin().sum() for k, out in enumerate(outs))

    x, other = tg.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    given, asked = [tg.tensor(a) for a in states], tuple(torch.tensor(a) for a in states)
    outs, expected = run(ours, mine, x, given), run(torch.nn.utils.rnn, theirs, other, asked)
    same(outs, expected)
    wanted = torch.autograd.grad(loss(expected), [other, *theirs.parameters()])
    same(tg.autograd.grad(loss(outs), [x, *mine.parameters()]), wanted)
    if lengths is MIXED and not batch_first:
        compiled = tg.jit(lambda x: tg.autograd.grad(loss(run(ours, mine, x, given)), [x, *mine.parameters()]))
        same(list(compiled(x)), list(wanted))


def test_what_recurrent_layers_have_beside() -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = nn.LSTM(2, 4, 2, proj_size=3), torch.nn.LSTM(2, 4, 2, proj_size=3)
    assert repr(mine) == repr(theirs)
    assert mine.flatten_parameters() is None
    shapes, expected = ([[tuple(p.shape) for p in row] for row in one.all_weights] for one in (mine, theirs))
    assert shapes == expected
    assert isinstance(mine, nn.RNNBase)
    before = mine.weight_hr_l0.tolist()
    mine.reset_parameters()
    assert mine.weight_hr_l0.tolist() != before


def test_misuse() -> None:
    x = tg.zeros(5, 3, 2)
    with pytest.raises(ShapeError, match=r"\[pack_padded_sequence\] got lengths \[2, 5, 1\]; .*enforce_sorted=False"):
        ours.pack_padded_sequence(x, [2, 5, 1])
    with pytest.raises(ShapeError, match=r"\[pack_padded_sequence\] got 2 lengths for a batch of 3"):
        ours.pack_padded_sequence(x, [5, 1])
    with pytest.raises(ShapeError, match=r"\[pack_padded_sequence\] got length 6 of sequence 0"):
        ours.pack_padded_sequence(x, [6, 1, 1])
    with pytest.raises(DTypeError, match=r"\[pad_packed_sequence\] got a Tensor"):
        ours.pad_packed_sequence(x)
    packed = ours.pack_padded_sequence(x, [5, 2, 1])
    with pytest.raises(ShapeError, match=r"\[pad_packed_sequence\] got total_length 3 for sequences of 5 steps"):
        ours.pad_packed_sequence(packed, total_length=3)
    with pytest.raises(ConfigError, match=r"\[GRU\] got proj_size 1; .*only LSTM"):
        nn.GRU(2, 3, proj_size=1)
    with pytest.raises(ConfigError, match=r"\[LSTM\] got proj_size 3"):
        nn.LSTM(2, 3, proj_size=3)
