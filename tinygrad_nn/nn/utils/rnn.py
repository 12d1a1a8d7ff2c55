"""Sequences of different lengths as one padded batch."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ShapeError, message
from ...tensor import Tensor


def pad_sequence(sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0) -> Tensor:
    """Sequences (T_i, ...) as (max T, N, ...), or (N, max T, ...) with `batch_first`."""
    if not sequences:
        raise ShapeError(message("pad_sequence", "no sequences", "at least one"))
    longest = max(s.shape[0] for s in sequences)
    rows = []
    for s in sequences:
        tail = s.new_full((longest - s.shape[0], *s.shape[1:]), padding_value)
        rows.append(s.cat_with(tail, dim=0).unsqueeze(0 if batch_first else 1))
    first, *rest = rows
    return first.cat_with(*rest, dim=0 if batch_first else 1)
