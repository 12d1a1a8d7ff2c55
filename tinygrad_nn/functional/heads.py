"""Attention by several heads, each over its part of the features: Vaswani et al., NeurIPS 2017."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import ConfigError, DTypeError, ShapeError, message
from ..support.settings import integer, typed
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.door import taken, takes_data
from .attention import scaled_dot_product_attention
from .dropout import dropout
from .layers import linear
from .padding import pad


def projected(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor | Sequence[Tensor], bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Queries, keys and values of all heads, by one weight or three; those of one tensor by one product."""
    if isinstance(weights, Tensor):
        if key is query and value is query:
            return linear(query, weights, bias).chunk(3, -1)
        weights = weights.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))


def attended(
    name: str, q: Tensor, k: Tensor, v: Tensor, heads: int, bias_k: Tensor | None, bias_v: Tensor | None,
    add_zero_attn: bool, dropped: float, key_padding_mask: Tensor | None, need_weights: bool,
    attn_mask: Tensor | None, average_attn_weights: bool, is_causal: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """What the heads find, (L, N, E), one beside another, and the weights, of queries, keys and values (L or S, N, E).

    Masks are True where attention is forbidden, or floats that are added to the scores.
    """
    steps, count, width = q.shape
    if k.shape[:2] != v.shape[:2] or k.shape[1] != count:
        got = f"shapes {q.shape}, {k.shape} and {v.shape}"
        raise ShapeError(message(name, got, "one number of sequences, and a value for each key"))
    plain = is_causal and key_padding_mask is None and not need_weights
    masks = () if plain else (
        _mask_of_pairs(name, attn_mask, q, k, heads), _mask_of_keys(name, key_padding_mask, q, k)
    )  # fmt: skip
    given = [mask for mask in masks if mask is not None]
    mask = given[0] + given[1] if len(given) == 2 else given[0] if given else None
    more: list[tuple[Tensor, Tensor]] = []
    if bias_k is not None and bias_v is not None:
        more.append((bias_k, bias_v))
    if add_zero_attn:
        more.append((k.new_zeros(1, 1, 1), v.new_zeros(1, 1, 1)))
    for own_k, own_v in more:
        k = k.cat_with(own_k.expand_to((1, count, width)), dim=0)
        v = v.cat_with(own_v.expand_to((1, count, width)), dim=0)
        check_floats(name, q, k, v)
        mask = mask if mask is None else pad(mask, (0, 1))
    each = width // heads
    q, k, v = (x.reshape(-1, count, heads, each).permute(1, 2, 0, 3) for x in (q, k, v))
    weights = None
    if need_weights:
        scores = (q * math.sqrt(1 / each)).matmul(k.mT)
        weights = dropout((scores if mask is None else scores + mask).softmax(-1), dropped)
        out = weights.matmul(v)
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        out = scaled_dot_product_attention(q, k, v, mask, dropped, plain)
    return out.permute(2, 0, 1, 3).reshape(steps, count, width), weights


def _added(name: str, mask: Tensor | None, x: Tensor) -> Tensor | None:
    """A mask as what is added to scores."""
    if mask is None:
        return None
    mask = taken(name, mask)
    if mask.dtype.kind == "b":
        return x.new_zeros(mask.shape).masked_fill(mask, -math.inf)
    if mask.dtype.kind != "f":
        raise DTypeError(message(name, f"a mask of dtype {mask.dtype.name}", "bool, or floats"))
    return mask.to(x.dtype)


def _mask_of_pairs(name: str, mask: Tensor | None, q: Tensor, k: Tensor, heads: int) -> Tensor | None:
    """(L, S), or (N, heads, L, S)."""
    added = _added(name, mask, q)
    steps, count, keys = q.shape[0], q.shape[1], k.shape[0]
    if added is None or added.shape == (steps, keys):
        return added
    if added.shape not in ((count * heads, steps, keys), (1, steps, keys)):
        expected = f"{(steps, keys)}, or {(count * heads, steps, keys)}"
        raise ShapeError(message(name, f"an attn_mask of shape {added.shape}", expected))
    return added.reshape(-1, heads if added.shape[0] > 1 else 1, steps, keys)


def _mask_of_keys(name: str, mask: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """(N, 1, 1, S)."""
    added = _added(name, mask, q)
    if added is None:
        return None
    count, keys = q.shape[1], k.shape[0]
    if added.shape != (count, keys) and not (count == 1 and added.shape == (keys,)):
        raise ShapeError(message(name, f"a key_padding_mask of shape {added.shape}", f"{(count, keys)}"))
    return added.reshape(count, 1, 1, keys)


@takes_data
@typed
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`nn.MultiheadAttention` with weights that are given: (L, N, E) and the weights of attention, or None.

    Without N the result has none either. `static_k` and `static_v` (N * heads, S, E / heads) stand for what keys and
    values would be projected to.

    >>> import tinygrad_nn as tg
    >>> x = tg.randn(5, 2, 4)
    >>> w = tg.randn(12, 4)
    >>> out, weights = multi_head_attention_forward(x, x, x, 4, 2, w, None, None, None, False, 0.0, tg.eye(4), None)
    >>> out.shape, weights.shape
    ((5, 2, 4), (2, 5, 5))
    """
    name = "multi_head_attention_forward"
    single = query.ndim == 2
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        got = f"shapes {query.shape}, {key.shape} and {value.shape}"
        raise ShapeError(message(name, got, "three axes each, or two each (unbatched)"))
    width, heads = query.shape[-1], integer(name, "num_heads", num_heads, least=1)
    if width != embed_dim_to_check or width % heads:
        got = f"{width} features, embed_dim_to_check {embed_dim_to_check} and num_heads {heads}"
        raise ShapeError(message(name, got, "that many features, which the heads divide"))
    if is_causal and attn_mask is None:
        raise ConfigError(message(name, "is_causal=True without attn_mask", "the causal mask as well"))
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else ()
    weights = in_proj_weight if not separate else [one for one in separate if one is not None]
    if weights is None or (separate and len(weights) < 3):
        raise ConfigError(message(name, "no weights", "in_proj_weight, or three with use_separate_proj_weight=True"))
    check_floats(
        name, query, key, value, *((weights,) if isinstance(weights, Tensor) else weights), in_proj_bias,
        static_k, static_v, out_proj_weight, out_proj_bias,
    )  # fmt: skip
    q, k, v = projected(query, key, value, weights, in_proj_bias)
    q, k, v = (x.unsqueeze(1) for x in (q, k, v)) if single else (q, k, v)
    k, v = (
        own if static is None else static.reshape((-1, heads, *static.shape[1:])).permute(2, 0, 1, 3).flatten(2)
        for own, static in ((k, static_k), (v, static_v))
    )
    out, found = attended(
        name, q, k, v, heads, bias_k, bias_v, add_zero_attn, dropout_p if training else 0.0, key_padding_mask,
        need_weights, attn_mask, average_attn_weights, is_causal,
    )  # fmt: skip
    out = linear(out, out_proj_weight, out_proj_bias)
    return (out.squeeze(1), found if found is None else found.squeeze(0)) if single else (out, found)
