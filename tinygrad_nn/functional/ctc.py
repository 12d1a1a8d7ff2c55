"""Connectionist temporal classification: the loss of labels whose places in a longer sequence nobody knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..support.settings import integer
from ..tensor import Tensor
from ..tensor.creation import as_tensor, tensor
from ..tensor.door import takes_data

_NAME: Final = "ctc_loss"


def _lengths(what: str, lengths: Any, count: int, most: int) -> tuple[Tensor, Any]:
    """Lengths (N,) as a tensor, and as an array where they are known."""
    found = as_tensor(lengths)
    if found.dtype.kind != "i" or found.numel() != count:
        got = f"{what} of shape {found.shape} and dtype {found.dtype.name}"
        raise ShapeError(message(_NAME, got, f"{count} integers"))
    found = found.reshape(-1).long()
    known = None if found.is_traced else np.array(found.tolist(), np.int64)
    if known is not None and ((known < 0) | (known > most)).any():
        raise ShapeError(message(_NAME, f"{what} {known.tolist()}", f"numbers from 0 to {most}"))
    return found, known


def _labels(targets: Tensor, lengths: Any, count: int) -> Tensor:
    """Labels (N, S), S the longest target, from (N, S') or from all of them in a row."""
    if lengths is None:
        if targets.ndim != 2 or targets.shape[0] != count:
            expected = f"({count}, S) where lengths are traced"
            raise ShapeError(message(_NAME, f"targets of shape {targets.shape}", expected))
        return targets
    longest = int(lengths.max(initial=0))
    if targets.ndim == 2 and targets.shape[0] == count and targets.shape[1] >= longest:
        return targets.narrow(1, 0, longest)
    if targets.ndim != 1 or targets.shape[0] != lengths.sum():
        expected = f"({count}, {longest} or more), or ({lengths.sum()},)"
        raise ShapeError(message(_NAME, f"targets of shape {targets.shape}", expected))
    begins = np.cumsum(lengths) - lengths
    places = np.minimum(begins[:, None] + np.arange(longest), max(targets.shape[0] - 1, 0))
    return targets.index_select(0, tensor(places.reshape(-1))).reshape(places.shape)


def _log_sum(*terms: Tensor) -> Tensor:
    """log of the sum of e^x, with slopes of 0 where all are -inf."""
    top = terms[0].detach()
    for term in terms[1:]:
        top = top.maximum(term.detach())
    top = top.masked_fill(top == -math.inf, 0)
    total = (terms[0] - top).exp()
    for term in terms[1:]:
        total = total + (term - top).exp()
    none = total == 0
    return (total.masked_fill(none, 1).log() + top).masked_fill(none, -math.inf)


@takes_data
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of the targets by all ways to spread them over the input: Graves et al., ICML 2006.

    `log_probs` (T, N, C) or (T, C) are log_softmax of scores; targets (N, S), or all in a row, are classes other than
    `blank`. The mean is one of losses over their target lengths. As in PyTorch the gradient is the one that belongs to
    the scores, which log_softmax lets through. Lengths may be traced beside targets (N, S). A target that does not fit
    costs inf, with `zero_infinity` 0. Raises ShapeError, DTypeError and ConfigError.

    >>> import tinygrad_nn as tg
    >>> log_probs = tg.zeros(5, 2, 4).log_softmax(2)
    >>> round(ctc_loss(log_probs, tg.tensor([[1, 2], [3, 3]]), tg.tensor([5, 5]), tg.tensor([2, 2])).item(), 4)
    1.8999
    """
    single = log_probs.ndim == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
        targets = targets.unsqueeze(0) if targets.ndim == 1 else targets
    if log_probs.ndim != 3 or not log_probs.shape[0]:
        raise ShapeError(message(_NAME, f"log_probs of shape {log_probs.shape}", "(T, N, C) or (T, C)"))
    if targets.dtype.kind != "i":
        raise DTypeError(message(_NAME, f"targets of dtype {targets.dtype.name}", "integers"))
    steps, count, classes = log_probs.shape
    if not 0 <= integer(_NAME, "blank", blank) < classes:
        raise ConfigError(message(_NAME, f"blank {blank}", f"one of {classes} classes"))
    ends, known = _lengths("input_lengths", input_lengths, count, steps)
    sizes, listed = _lengths("target_lengths", target_lengths, count, 2**31)
    labels = _labels(targets, listed, count).long()
    longest = labels.shape[1]
    labels = labels.where(labels.new_arange(longest) < sizes.unsqueeze(1), blank)
    width = 2 * longest + 1
    pairs = labels.new_full((count, longest), blank).unsqueeze(2).cat_with(labels.unsqueeze(2), dim=2)
    path = pairs.reshape((count, 2 * longest)).cat_with(labels.new_full((count, 1), blank), dim=1)
    scores = log_probs.gather(2, path.unsqueeze(0).expand_to((steps, count, width)))
    place = labels.new_arange(width)
    edge = log_probs.new_full((count, 2), -math.inf)
    jumps = (path != labels.new_full((count, min(2, width)), blank).cat_with(path, dim=1).narrow(1, 0, width)) & (
        place % 2 == 1
    )
    alpha = scores.select(0, 0).where(place < 2, -math.inf)
    for t in range(1, steps if known is None else int(known.max(initial=0))):
        before = edge.cat_with(alpha, dim=1)
        skipped = before.narrow(1, 0, width).where(jumps, -math.inf)
        new = _log_sum(alpha, before.narrow(1, 1, width), skipped) + scores.select(0, t)
        alpha = new if known is not None and (known > t).all() else new.where((ends > t).unsqueeze(1), alpha)
    behind = (2 * sizes).unsqueeze(1)
    last, other = alpha.gather(1, behind), alpha.gather(1, (behind - 1).clamp(min=0))
    losses = -_log_sum(last, other.where(behind > 0, -math.inf)).squeeze(1)
    whole = log_probs.exp().sum(2).where(ends.new_arange(steps).unsqueeze(1) < ends, 0).sum(0)
    losses = losses + (whole - whole.detach())  # nothing, but for the gradient
    if zero_infinity:
        losses = losses.masked_fill(losses.detach() == math.inf, 0)
    if reduction == "mean":
        return (losses / sizes.clamp(min=1).to(losses.dtype)).mean()
    if reduction == "sum":
        return losses.sum()
    if reduction != "none":
        raise ConfigError(message(_NAME, f"reduction {reduction!r}", "'mean', 'sum' or 'none'"))
    return losses.squeeze(0) if single else losses
