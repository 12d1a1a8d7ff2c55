"""Sequences of different lengths as one padded batch: padding, lengths, and means over what is not padding.

    x, y = pad_sequence(xs), pad_sequence(ys)
    outputs, last = rnn(x, lengths=lengths)
    loss = masked_mean((head(outputs) - y) ** 2, length_mask(lengths, len(x)))

Long sequences are trained in pieces by truncated backpropagation through time: the state goes over to the next piece
with its value and without its graph.

    h = None
    for piece, target in zip(x.split(50), y.split(50)):
        outputs, h = rnn(piece, h)
        opt.zero_grad()
        F.mse_loss(head(outputs), target).backward()
        opt.step()
        h = h.detach()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import DTypeError, ShapeError, message
from ...support.settings import choice, shown, typed
from ...tensor import Tensor
from ...tensor.creation import as_tensor, tensor
from ...tensor.door import taken, takes_data
from ...tensor.joining import as_list


@typed
def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (T_i, ...) as (max T, N, ...), or (N, max T, ...) with `batch_first`; padding goes behind them, or in
    front with `padding_side="left"`.

    >>> import tinygrad_nn as tg
    >>> pad_sequence([tg.tensor([1.0, 2.0, 3.0]), tg.tensor([4.0])], batch_first=True)
    tensor([[1., 2., 3.],
            [4., 0., 0.]])
    """
    choice("pad_sequence", "padding_side", padding_side, ("right", "left"))
    sequences = [taken("pad_sequence", s) for s in as_list("pad_sequence", sequences)]
    if not sequences:
        raise ShapeError(message("pad_sequence", "no sequences", "at least one"))
    if any(s.ndim == 0 for s in sequences):
        raise ShapeError(message("pad_sequence", "a number in place of a sequence", "tensors (T, ...)"))
    longest = max(s.shape[0] for s in sequences)
    rows = []
    for s in sequences:
        tail = s.new_full((longest - s.shape[0], *s.shape[1:]), padding_value)
        row = s.cat_with(tail, dim=0) if padding_side == "right" else tail.cat_with(s, dim=0)
        rows.append(row.unsqueeze(0 if batch_first else 1))
    first, *rest = rows
    return first.cat_with(*rest, dim=0 if batch_first else 1)


@takes_data
def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded batch: the inverse of pad_sequence. Reads the lengths.

    >>> import tinygrad_nn as tg
    >>> [s.shape for s in unpad_sequence(tg.zeros(5, 2, 3), [5, 2])]
    [(5, 3), (2, 3)]
    """
    if padded_sequences.ndim < 2:
        raise ShapeError(message("unpad_sequence", f"shape {padded_sequences.shape}", "(T, N, ...)"))
    steps, count = (padded_sequences.shape[1], padded_sequences.shape[0]) if batch_first else padded_sequences.shape[:2]
    listed = _lengths("unpad_sequence", lengths, steps).tolist()
    if len(listed) != count:
        raise ShapeError(message("unpad_sequence", f"{len(listed)} lengths for a batch of {count}", "one per sequence"))
    rows = padded_sequences.unbind(0 if batch_first else 1)
    return [row.narrow(0, 0, length) for row, length in zip(rows, listed, strict=True)]


@typed
def length_mask(
    lengths: Tensor | Sequence[int], steps: int, batch_first: bool = False, op: str = "length_mask"
) -> Tensor:
    """Which steps of a padded batch are data: bool (steps, N), or (N, steps) with `batch_first`.

    Raises DTypeError for lengths that are not integers, ShapeError for another shape than (N,) and for lengths outside
    of 1..steps. Lengths that are traced are not read: one beyond `steps` counts as `steps`, one below 1 as 0.

    >>> length_mask([1, 3], 3, batch_first=True).tolist()
    [[True, False, False], [True, True, True]]
    """
    ends = _lengths(op, lengths, steps)
    places = ends.new_arange(steps)
    return places < ends.unsqueeze(1) if batch_first else places.unsqueeze(1) < ends


class PackedSequence(NamedTuple):
    """The elements of sequences of several lengths without padding, step by step: `batch_sizes` of them at each step.
    The sequences are in the order of `sorted_indices`, the longest first; `unsorted_indices` leads back.

    >>> import tinygrad_nn as tg
    >>> pack_sequence([tg.tensor([1.0, 2.0, 3.0]), tg.tensor([4.0])]).batch_sizes
    tensor([2, 1, 1])
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    @property
    def is_cuda(self) -> bool:
        """False: there is one device, the CPU."""
        return False

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with its data in another dtype."""
        return self._replace(data=self.data.to(*args, **kwargs))

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self._replace(data=self.data.float())

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self._replace(data=self.data.double())

    def cpu(self) -> PackedSequence:
        """The same."""
        return self

    def like(self, batch: Tensor, batch_first: bool) -> PackedSequence:
        """Another padded batch of the same lengths, packed in the same way."""
        return self._replace(data=_taken(batch, self.batch_sizes.tolist(), batch_first))


def _taken(batch: Tensor, sizes: list[int], batch_first: bool) -> Tensor:
    """The elements of a sorted, padded batch that are no padding, step by step."""
    count = batch.shape[0 if batch_first else 1]
    steps = batch.shape[1 if batch_first else 0]
    rows = batch.reshape((steps * count, *batch.shape[2:]))
    step = np.repeat(np.arange(len(sizes)), sizes)
    row = np.concatenate([np.arange(size) for size in sizes])
    return rows.index_select(0, tensor(row * steps + step if batch_first else step * count + row))


def padded(packed: PackedSequence, batch_first: bool) -> tuple[Tensor, list[int]]:
    """A packed batch with zeros for padding, in the order it has, and its lengths."""
    sizes = np.array(packed.batch_sizes.tolist())
    lengths = (np.arange(sizes[0])[:, None] < sizes).sum(1)
    begins = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    row = np.arange(sizes[0])
    live, places = row < sizes[:, None], begins[:, None] + row
    if batch_first:
        live, places = live.T, places.T
    rows = packed.data.index_select(0, tensor(np.where(live, places, 0).reshape(-1)))
    rows = rows.reshape((*live.shape, *packed.data.shape[1:]))
    mask = tensor(live.reshape((*live.shape, *(1,) * (packed.data.ndim - 1))))
    return rows.where(mask, 0), lengths.tolist()


@takes_data
@typed
def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch (T, N, ...), or (N, T, ...) with `batch_first`, without its padding. Reads the lengths, which have
    to fall unless `enforce_sorted` is False.

    >>> import tinygrad_nn as tg
    >>> packed = pack_padded_sequence(tg.tensor([[1, 2], [3, 0]]), [2, 1], batch_first=True)
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([1, 3, 2], [2, 1])
    """
    name = "pack_padded_sequence"
    if input.ndim < 2:
        raise ShapeError(message(name, f"shape {input.shape}", "(T, N, ...)"))
    steps, count = input.shape[:2][::-1] if batch_first else input.shape[:2]
    listed = np.array(_lengths(name, lengths, steps).tolist(), np.int64)
    if len(listed) != count:
        raise ShapeError(message(name, f"{len(listed)} lengths for a batch of {count}", "one per sequence"))
    order = back = None
    if enforce_sorted and (np.diff(listed) > 0).any():
        hint = "pass enforce_sorted=False"
        raise ShapeError(message(name, f"lengths {shown(listed.tolist())}", "lengths that fall", hint))
    if not enforce_sorted:
        by_length = np.argsort(-listed, kind="stable")
        order, back = tensor(by_length), tensor(np.argsort(by_length, kind="stable"))
        input, listed = input.index_select(0 if batch_first else 1, order), listed[by_length]
    sizes = (listed[:, None] > np.arange(listed[0])).sum(0)
    return PackedSequence(_taken(input, sizes.tolist(), batch_first), tensor(sizes), order, back)


@typed
def pad_packed_sequence(
    sequence: Any, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """A packed batch with padding, (T, N, ...) or (N, T, ...), and its lengths (N,), in the order it had at first.

    >>> import tinygrad_nn as tg
    >>> packed = pack_sequence([tg.tensor([1.0, 2.0, 3.0]), tg.tensor([4.0])])
    >>> pad_packed_sequence(packed, batch_first=True)
    (tensor([[1., 2., 3.],
            [4., 0., 0.]]), tensor([3, 1]))
    """
    if not isinstance(sequence, PackedSequence):
        got = f"a {type(sequence).__name__}"
        raise DTypeError(message("pad_packed_sequence", got, "what pack_padded_sequence returns"))
    batch, listed = padded(sequence, batch_first)
    lengths, axis = tensor(listed), 1 if batch_first else 0
    steps = batch.shape[axis]
    if total_length is not None and total_length < steps:
        got = f"total_length {total_length} for sequences of {steps} steps"
        raise ShapeError(message("pad_packed_sequence", got, "as many steps at least"))
    more = (total_length or steps) - steps
    tail = batch.new_zeros((*batch.shape[:axis], more, *batch.shape[axis + 1 :]))
    batch = batch.cat_with(tail, dim=axis) if more else batch
    if padding_value:
        mask = length_mask(lengths, steps + more, batch_first)
        batch = batch.where(mask.reshape((*mask.shape, *(1,) * (batch.ndim - 2))), padding_value)
    if sequence.unsorted_indices is not None:
        batch = batch.index_select(1 - axis, sequence.unsorted_indices)
        lengths = lengths.index_select(0, sequence.unsorted_indices)
    return batch, lengths


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (T_i, ...) as a packed batch.

    >>> import tinygrad_nn as tg
    >>> pack_sequence([tg.tensor([1.0, 2.0, 3.0]), tg.tensor([4.0])]).data
    tensor([1., 4., 2., 3.])
    """
    listed = [taken("pack_sequence", s) for s in as_list("pack_sequence", sequences)]
    return pack_padded_sequence(pad_sequence(listed), [s.shape[0] for s in listed], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch: the inverse of pack_sequence.

    >>> import tinygrad_nn as tg
    >>> unpack_sequence(pack_sequence([tg.tensor([1.0, 2.0, 3.0]), tg.tensor([4.0])]))
    [tensor([1., 2., 3.]), tensor([4.])]
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one; None of None.

    >>> import tinygrad_nn as tg
    >>> invert_permutation(tg.tensor([2, 0, 1])).tolist()
    [1, 2, 0]
    """
    if permutation is None:
        return None
    order = taken("invert_permutation", permutation)
    if order.ndim != 1 or order.dtype.kind != "i":
        got = f"shape {order.shape}:{order.dtype.name}"
        raise ShapeError(message("invert_permutation", got, "integers along one axis"))
    return order.argsort()


@takes_data
def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where `mask` holds; the mask's axes are the first axes of the values. 0 / 0 is NaN.

    >>> import tinygrad_nn as tg
    >>> masked_mean(tg.tensor([[1.0, 3.0], [50.0, 5.0]]), length_mask([1, 2], 2)).item()
    3.0
    """
    if mask.dtype.kind != "b":
        raise DTypeError(message("masked_mean", f"a mask of dtype {mask.dtype.name}", "bool"))
    if mask.shape != values.shape[: mask.ndim]:
        got = f"a mask of shape {mask.shape} for values {values.shape}"
        hint = "length_mask(..., batch_first=True) gives (N, steps)"
        raise ShapeError(message("masked_mean", got, "the first axes of the values", hint))
    full = mask.reshape((*mask.shape, *(1,) * (values.ndim - mask.ndim))).expand_to(values.shape)
    return values.where(full, 0).sum() / full.to(values.dtype).sum()


def _lengths(op: str, lengths: Any, steps: int) -> Tensor:
    """Lengths (N,) as an integer tensor, each in 1..steps as far as that can be known."""
    ends = as_tensor(lengths)
    if ends.dtype.kind != "i":
        raise DTypeError(message(op, f"lengths of dtype {ends.dtype.name}", "integers"))
    if ends.ndim != 1:
        raise ShapeError(message(op, f"lengths of shape {ends.shape}", "(batch,)"))
    if not ends.is_traced:
        for row, length in enumerate(ends.tolist()):
            if not 1 <= length <= steps:
                got = f"length {length} of sequence {row} in a batch of {steps} steps"
                raise ShapeError(message(op, got, f"1 <= length <= {steps}", "leave empty sequences out"))
    return ends
