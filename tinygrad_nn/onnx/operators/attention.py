"""Operators of sequences: attention, with its masks and caches, linear attention, rotary positions."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, Final

import numpy as np

from ...ops.rules import BOOL
from ...tensor import Tensor
from ...tensor.creation import arange
from ...tensor.joining import cat, stack
from ..elements import OWN
from ..model import Graph
from .elementwise import element_of
from .form import Call, Fixed, Value, bad, given
from .shaping import padded


def heads(x: Tensor, count: int | None) -> Tensor:
    """(batch, heads, steps, size), also of what has the heads side by side."""
    if x.ndim == 4:
        return x
    if not count or x.ndim != 3 or x.shape[2] % count:
        raise bad(f"shape {x.shape} with {count} heads", "four axes, or three and a number of heads")
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2)


def shared(x: Tensor, count: int) -> Tensor:
    """Heads of keys and values for so many heads of queries."""
    return x if x.shape[1] == count else x.repeat_interleave(count // x.shape[1], 1)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    filled: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> tuple[Tensor, ...]:
    """Vaswani et al. 2017; the keys and values with those of the past; and the scores. A row that may look at nothing
    gives zeros.
    """
    flat = q.ndim == 3
    q, k, v = heads(q, q_num_heads), heads(k, kv_num_heads), heads(v, kv_num_heads)
    if past_key is not None and past_value is not None:
        k, v = cat([past_key, k], 2), cat([past_value, v], 2)
    steps, whole, count = q.shape[2], k.shape[2], q.shape[1]
    offset: Any = 0 if past_key is None else past_key.shape[2]
    if filled is not None and past_key is None:
        offset = (filled.long() - steps).reshape(-1, 1, 1, 1)
    ahead = arange(whole) - arange(steps).unsqueeze(1) - offset  # how far a key lies after its query
    limits = [ahead <= 0] if is_causal else []
    limits += [ahead >= -left_window_size] if left_window_size >= 0 else []
    limits += [ahead <= right_window_size] if right_window_size >= 0 else []
    limits += [] if filled is None else [arange(whole) < filled.long().reshape(-1, 1, 1, 1)]
    least = given(np.array(-np.inf, q.dtype))
    bias: Tensor | None = None
    if mask is not None:
        short = whole - mask.shape[-1]
        if mask.dtype == BOOL:
            mask = padded(mask, {mask.ndim - 1: (0, short)}, "constant", False) if short > 0 else mask
            limits.append(mask)
        else:
            bias = padded(mask, {mask.ndim - 1: (0, short)}, "constant", -np.inf) if short > 0 else mask
    for open_to in limits:
        bias = (q.new_zeros(()) if bias is None else bias).where(open_to, least)
    factor = q.new_tensor(sqrt(1 / sqrt(q.shape[3]) if scale is None else scale))
    scores = (q * factor) @ (shared(k, count) * factor).transpose(2, 3)
    shown = scores
    if softcap:
        scores = shown = softcap * (scores / softcap).tanh()
    if bias is not None:
        scores = scores + bias
    shown = scores if qk_matmul_output_mode == 2 else shown
    weights = scores.to(element_of(softmax_precision).dtype) if softmax_precision else scores
    if bias is None:
        weights = weights.softmax(-1)
    else:
        dead = (bias.broadcast_to(scores.shape) == least).all(-1, keepdim=True)
        weights = weights.where(~dead, weights.new_zeros(())).softmax(-1)
        weights = weights.where(~dead, weights.new_zeros(()))
    weights = weights.to(q.dtype)
    shown = weights if qk_matmul_output_mode == 3 else shown
    y = weights @ shared(v, count)
    return (y.transpose(1, 2).flatten(2) if flat else y), k, v, shown


def flex_attention(
    call: Call,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    prob_mod: Graph | None = None,
    scale: float | None = None,
    score_mod: Graph | None = None,
    softmax_precision: int | None = None,
) -> Tensor:
    """Attention whose scores, and probabilities, go through a graph each."""
    factor = q.new_tensor(sqrt(1 / sqrt(q.shape[3]) if scale is None else scale))
    scores = (q * factor) @ (shared(k, q.shape[1]) * factor).transpose(2, 3)
    scores = scores.to(element_of(softmax_precision).dtype) if softmax_precision else scores
    if score_mod is not None:
        scores = call.run(score_mod, Value(scores, OWN[scores.dtype]))[0].tensor
    weights = scores.softmax(-1)
    if prob_mod is not None:
        weights = call.run(prob_mod, Value(weights, OWN[weights.dtype]))[0].tensor
    return (weights @ shared(v, q.shape[1]).to(weights.dtype)).to(q.dtype)


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: Tensor | None = None,
    decay: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> tuple[Tensor, Tensor]:
    """Katharopoulos et al. 2020: a state that each key writes its value to, and each query reads; gated it fades, by
    the delta rule (Schlag et al. 2021) only what is new is written.
    """
    gated, delta = "gated" in update_rule, "delta" in update_rule
    if gated != (decay is not None) or delta != (beta is not None):
        raise bad(f"update_rule {update_rule}", "decay where it is gated, beta where it is delta, and else none")
    q, k, v = heads(q, q_num_heads), heads(k, kv_num_heads), heads(v, kv_num_heads)
    size = q.shape[3]
    factor = scale or 1 / sqrt(size)
    fade = None if decay is None else heads(decay, kv_num_heads).exp().unsqueeze(-1)
    strength = None if beta is None else heads(beta, beta.shape[-1])
    state = q.new_zeros((q.shape[0], kv_num_heads, size, v.shape[3])) if state is None else state
    rows = []
    for t in range(q.shape[2]):
        key, value = k[:, :, t].unsqueeze(-1), v[:, :, t]
        if fade is not None:
            state = state * fade[:, :, t]
        if strength is not None:
            value = strength[:, :, t] * (value - (state * key).sum(2))
        state = state + key * value.unsqueeze(2)
        rows.append(factor * (q[:, :, t].unsqueeze(-1) * shared(state, q_num_heads)).sum(2))
    return stack(rows, 1).flatten(2), state


def rotary(
    x: Tensor,
    cos: Fixed,
    sin: Fixed,
    position: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Su et al. 2021: pairs of channels turned by an angle that grows with the position."""
    whole = heads(x, num_heads)  # batch, heads, steps, size
    size = rotary_embedding_dim or whole.shape[3]
    turned, rest = whole[..., :size], whole[..., size:]
    if position is not None:
        shape = (*position.shape, size // 2)
        index = position.long().reshape(-1)
        cos, sin = (one.index_select(0, index).reshape(shape) for one in (cos, sin))
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
    else:
        a, b = turned.chunk(2, -1)
    parts = [cos * a - sin * b, sin * a + cos * b]
    found = stack(parts, -1).reshape(turned.shape) if interleaved else cat(parts, -1)
    found = cat([found, rest], -1) if rest.shape[-1] else found
    return found.transpose(1, 2).flatten(2) if x.ndim == 3 else found


OPERATORS: Final[Mapping[str, Any]] = {
    "Attention": attention,
    "LinearAttention": linear_attention,
    "RotaryEmbedding": rotary,
    "ai.onnx.preview.FlexAttention": flex_attention,
}
