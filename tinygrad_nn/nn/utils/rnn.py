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
from typing import Any

from ...errors import DTypeError, ShapeError, message
from ...support.settings import typed
from ...tensor import Tensor
from ...tensor.creation import as_tensor
from ...tensor.door import taken, takes_data
from ...tensor.joining import as_list


@typed
def pad_sequence(sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0) -> Tensor:
    """Sequences (T_i, ...) as (max T, N, ...), or (N, max T, ...) with `batch_first`."""
    sequences = [taken("pad_sequence", s) for s in as_list("pad_sequence", sequences)]
    if not sequences:
        raise ShapeError(message("pad_sequence", "no sequences", "at least one"))
    if any(s.ndim == 0 for s in sequences):
        raise ShapeError(message("pad_sequence", "a number in place of a sequence", "tensors (T, ...)"))
    longest = max(s.shape[0] for s in sequences)
    rows = []
    for s in sequences:
        tail = s.new_full((longest - s.shape[0], *s.shape[1:]), padding_value)
        rows.append(s.cat_with(tail, dim=0).unsqueeze(0 if batch_first else 1))
    first, *rest = rows
    return first.cat_with(*rest, dim=0 if batch_first else 1)


@takes_data
def unpad_sequence(padded: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch: the inverse of pad_sequence. Reads the lengths.

    >>> import tinygrad_nn as tg
    >>> [s.shape for s in unpad_sequence(tg.zeros(5, 2, 3), [5, 2])]
    [(5, 3), (2, 3)]
    """
    if padded.ndim < 2:
        raise ShapeError(message("unpad_sequence", f"shape {padded.shape}", "(T, N, ...)"))
    steps, count = (padded.shape[1], padded.shape[0]) if batch_first else padded.shape[:2]
    listed = _lengths("unpad_sequence", lengths, steps).tolist()
    if len(listed) != count:
        raise ShapeError(message("unpad_sequence", f"{len(listed)} lengths for a batch of {count}", "one per sequence"))
    rows = padded.unbind(0 if batch_first else 1)
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
