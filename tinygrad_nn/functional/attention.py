"""Attention: rows of values, averaged by how well their keys fit a query."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..ops.rules import FLOAT32
from ..random import Generator
from ..support.settings import number, typed
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.core import Core, broadcast_shape, constant
from ..tensor.door import takes_data
from .dropout import dropout

_NAME: Final = "scaled_dot_product_attention"


@takes_data
@typed
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """softmax(query @ key.T * scale + mask) @ value: (..., L, E), (..., S, E) and (..., S, V) to (..., L, V).

    `attn_mask` broadcasts to (..., L, S): bool, True where a key takes part, or floats that are added to the scores.
    A query without any key gets zeros. `is_causal` lets query i see keys 0 to i. `scale` is 1 / sqrt(E) by default.
    Weights are dropped with probability `dropout_p`, also outside of training. With `enable_gqa` the heads (axis -3)
    of key and value each stand for several, consecutive ones of the query. Vaswani et al., NeurIPS 2017; the division
    by the sum of each row comes last, as in Dao et al., NeurIPS 2022.

    Raises ShapeError, DTypeError, and ConfigError for a mask beside `is_causal`.

    >>> import tinygrad_nn as tg
    >>> query, key, value = tg.zeros(2, 4), tg.ones(2, 4), tg.tensor([[1.0], [3.0]])
    >>> scaled_dot_product_attention(query, key, value, is_causal=True).tolist()
    [[1.0], [2.0]]
    """
    number(_NAME, "dropout_p", dropout_p, least=0, most=1)
    if attn_mask is not None and is_causal:
        hint = "leave one of them out, or put the triangle into the mask"
        raise ConfigError(message(_NAME, "an attn_mask and is_causal=True", "one of them", hint))
    _check_dtypes(query, key, value)
    if enable_gqa:
        key, value = _repeated("key", key, query), _repeated("value", value, query)
    shape = _scores_shape(query, key, value)
    width = query.shape[-1]
    factor = (1 / math.sqrt(width) if width else 1.0) if scale is None else number(_NAME, "scale", scale)
    scores = (query * factor)._product(_NAME, key, True)
    if is_causal:
        future = np.triu(np.ones(shape[-2:], bool), 1)
        scores = scores.masked_fill(Tensor.handle(constant(future)), -math.inf)
    elif attn_mask is not None:
        scores = _masked(scores.expand_to(shape), attn_mask)
    if not shape[-1]:  # a sum over no keys
        return scores._product(_NAME, value)
    top = Core.detach(scores).amax(-1, keepdim=True)  # the result does not depend on it, so no gradient need flow
    if attn_mask is not None:
        top = top.masked_fill(top.eq(-math.inf), 0.0)
    powers = (scores - top).exp()
    total = powers.sum(-1, keepdim=True)
    if attn_mask is not None:
        total = total.masked_fill(total.eq(0), 1.0)
    return dropout(powers, dropout_p, generator=generator)._product(_NAME, value) / total


def _check_dtypes(query: Tensor, key: Tensor, value: Tensor) -> None:
    check_floats(_NAME, query, key, value)
    kinds = [x.node.dtype for x in (query, key, value)]
    if any(kind.kind != "f" for kind in kinds):
        got = f"dtypes {', '.join(kind.name for kind in kinds)}"
        raise DTypeError(message(_NAME, got, "one float dtype for query, key and value", "use .float() or .double()"))


def _repeated(what: str, x: Tensor, query: Tensor) -> Tensor:
    """Each head as often as queries have heads for it."""
    if min(x.ndim, query.ndim) < 3 or not x.shape[-3] or query.shape[-3] % x.shape[-3]:
        got = f"a query of shape {query.shape} and a {what} of shape {x.shape} with enable_gqa=True"
        raise ShapeError(message(_NAME, got, f"heads on axis -3, those of the query a multiple of the {what}'s"))
    heads, rest = query.shape[-3], x.shape[-2:]
    each = x.unsqueeze(-3).expand_to((*x.shape[:-2], heads // x.shape[-3], *rest))
    return each.reshape((*x.shape[:-3], heads, *rest))


def _scores_shape(query: Tensor, key: Tensor, value: Tensor) -> tuple[int, ...]:
    """The shape (..., L, S) of all scores."""
    q, k, v = query.shape, key.shape, value.shape
    if min(len(q), len(k), len(v)) < 2 or q[-1] != k[-1] or k[-2] != v[-2]:
        got, expected = f"shapes {q}, {k} and {v}", "(..., L, E), (..., S, E) and (..., S, V)"
        raise ShapeError(message(_NAME, got, expected, "query, key and value, their leading axes broadcast"))
    lead = broadcast_shape(_NAME, q[:-2], k[:-2], v[:-2])
    return (*lead, q[-2], k[-2])


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """The scores, -inf where a mask forbids them."""
    kind = mask.node.dtype
    if kind.kind != "b" and kind not in (FLOAT32, scores.node.dtype):
        if kind.kind == "f":
            check_floats(_NAME, scores, mask)
        got, expected = f"an attn_mask of dtype {kind.name}", f"bool, float32 or {scores.dtype.name}"
        raise DTypeError(message(_NAME, got, expected, "mask.bool() takes what is not 0"))
    shape, own = scores.shape, mask.shape
    if len(own) > len(shape) or any(n not in (1, m) for n, m in zip(own[::-1], shape[::-1], strict=False)):
        got = f"an attn_mask of shape {mask.shape} for scores of shape {shape}"
        raise ShapeError(message(_NAME, got, "one that broadcasts to the scores"))
    if kind.kind == "b":
        return scores.where(mask, -math.inf)
    return scores + mask.to(scores.dtype)
