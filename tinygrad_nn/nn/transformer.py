"""Attention with heads and the layers of transformers: Vaswani et al., NeurIPS 2017, with torch's weights and masks.

A mask is bool, True where attention is forbidden, or floats that are added to the scores. It is (L, S), or (N * heads,
L, S); one of keys is (N, S). Unbatched input has no N.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

from .. import functional as F
from ..errors import ConfigError, ShapeError, message
from ..functional.heads import attended, projected
from ..support.settings import Device, choice, flags, integer, number
from ..tensor import Tensor
from ..tensor.creation import full, zeros
from ..tensor.door import taken
from . import init
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module, drawn
from .normalization import LayerNorm
from .parameter import Parameter

Activation = str | Callable[[Tensor], Tensor]


class MultiheadAttention(Module):
    """Attention by several heads, each over its part of the features: (L, N, E), (S, N, kdim) and (S, N, vdim) to
    (L, N, E), or with N first (`batch_first`), or without N. Returns it with the weights (N, L, S), the mean over the
    heads, or with None without `need_weights`, which is faster.

    >>> import tinygrad_nn as tg
    >>> x = tg.ones(5, 2, 8)
    >>> out, weights = tg.nn.MultiheadAttention(8, 2)(x, x, x)
    >>> out.shape, weights.shape
    ((5, 2, 8), (2, 5, 5))
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter
    k_proj_weight: Parameter
    v_proj_weight: Parameter
    bias_k: Parameter | None
    bias_v: Parameter | None
    _whole = True

    @flags
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = "MultiheadAttention"
        self.embed_dim = width = integer(name, "embed_dim", embed_dim, least=1)
        self.num_heads = integer(name, "num_heads", num_heads, least=1)
        if width % self.num_heads:
            got = f"embed_dim {width} and num_heads {num_heads}"
            raise ConfigError(message(name, got, "features that the heads divide"))
        self.head_dim = width // self.num_heads
        self.kdim = width if kdim is None else integer(name, "kdim", kdim, least=1)
        self.vdim = width if vdim is None else integer(name, "vdim", vdim, least=1)
        self.dropout = number(name, "dropout", dropout, least=0, most=1)
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        same = self.kdim == self.vdim == width
        shapes = {
            "in_proj_weight": (3 * width, width) if same else None,
            "q_proj_weight": None if same else (width, width),
            "k_proj_weight": None if same else (width, self.kdim),
            "v_proj_weight": None if same else (width, self.vdim),
        }
        for key, shape in shapes.items():
            setattr(self, key, None if shape is None else Parameter(zeros(shape, dtype=dtype)))
        self.in_proj_bias = Parameter(zeros(3 * width, dtype=dtype)) if bias else None
        for key in ("bias_k", "bias_v"):
            setattr(self, key, Parameter(zeros(1, 1, width, dtype=dtype)) if add_bias_kv else None)
        self._draw()
        self.out_proj = Linear(width, width, bias=bias, dtype=dtype)
        self._clear()

    def _draw(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def _clear(self) -> None:
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

    @drawn
    def reset_parameters(self) -> None:
        """First values: matrices that project are xavier_uniform, biases of keys and values xavier_normal, others 0."""
        self._draw()
        self.out_proj.reset_parameters()
        self._clear()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result and the weights. `is_causal` says that `attn_mask`, which has to be there, is the causal one."""
        name = "MultiheadAttention"
        alone = key is query and value is query
        query = taken(name, query, self.out_proj.weight)
        key, value = (query, query) if alone else (taken(name, x, self.out_proj.weight) for x in (key, value))
        single = query.ndim == 2
        if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
            got = f"shapes {query.shape}, {key.shape} and {value.shape}"
            raise ShapeError(message(name, got, "three axes each, or two each (unbatched)"))
        if is_causal and attn_mask is None:
            raise ConfigError(message(name, "is_causal=True without attn_mask", "the causal mask as well"))
        q, k, v = self._projected(query, key, value)
        if single:
            q, k, v = (x.unsqueeze(1) for x in (q, k, v))
        elif self.batch_first:
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        out, weights = attended(
            name, q, k, v, self.num_heads, self.bias_k, self.bias_v, self.add_zero_attn,
            self.dropout if self.training else 0.0, key_padding_mask, need_weights, attn_mask, average_attn_weights,
            is_causal,
        )  # fmt: skip
        weights = weights.squeeze(0) if weights is not None and single else weights
        out = self.out_proj(out)
        return (out.squeeze(1) if single else out.transpose(0, 1) if self.batch_first else out), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values of all heads; those of one tensor by one product."""
        weights = (
            (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            if self.in_proj_weight is None
            else self.in_proj_weight
        )
        return projected(query, key, value, weights, self.in_proj_bias)


def _activation(owner: str, activation: Activation) -> Callable[[Tensor], Tensor]:
    if callable(activation):
        return activation
    return F.relu if choice(owner, "activation", activation, ("relu", "gelu")) == "relu" else F.gelu


class _Layer(Module):
    """What the layers of encoders and decoders share: attentions, then two linear layers at each place. Each of these
    parts has a norm and a dropout of its number.
    """

    attentions: ClassVar[tuple[str, ...]]

    @flags
    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        for name in self.attentions:
            heads = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)
            setattr(self, name, heads)
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, dtype=dtype)
        self.norm_first = norm_first
        numbers = range(1, len(self.attentions) + 2)
        for k in numbers:
            setattr(self, f"norm{k}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for k in numbers:
            setattr(self, f"dropout{k}", Dropout(dropout))
        self.activation = _activation(type(self).__name__, activation)

    def _attended(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        out, _ = self.self_attn(x, x, x, padding, False, mask, is_causal=is_causal)
        return self.dropout1(out)  # type: ignore[no-any-return]

    def _fed(self, x: Tensor, dropout: Module) -> Tensor:
        return dropout(self.linear2(self.dropout(self.activation(self.linear1(x)))))  # type: ignore[no-any-return]


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then two linear layers at each place; each with what it got added to it.

    (S, N, E), or (N, S, E) with `batch_first`, or (S, E), the same shape. `norm_first` normalises in front of a part
    and not behind it.

    >>> import tinygrad_nn as tg
    >>> tg.nn.TransformerEncoderLayer(8, 2, 16)(tg.ones(5, 3, 8)).shape
    (5, 3, 8)
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The same shape."""
        x = taken("TransformerEncoderLayer", src, self.linear1.weight)
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._attended(self.norm1(x), *masks)
            return x + self._fed(self.norm2(x), self.dropout2)
        x = self.norm1(x + self._attended(x, *masks))
        return self.norm2(x + self._fed(x, self.dropout2))  # type: ignore[no-any-return]


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself and then to another one (`memory`), then two linear layers at each place.

    >>> import tinygrad_nn as tg
    >>> tg.nn.TransformerDecoderLayer(8, 2, 16)(tg.ones(5, 3, 8), tg.ones(7, 3, 8)).shape
    (5, 3, 8)
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The shape of `tgt`."""
        x = taken("TransformerDecoderLayer", tgt, self.linear1.weight)
        memory = taken("TransformerDecoderLayer", memory, self.linear1.weight)
        own = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = x + self._attended(self.norm1(x), *own)
            x = x + self._looked_up(self.norm2(x), memory, *other)
            return x + self._fed(self.norm3(x), self.dropout3)
        x = self.norm1(x + self._attended(x, *own))
        x = self.norm2(x + self._looked_up(x, memory, *other))
        return self.norm3(x + self._fed(x, self.dropout3))  # type: ignore[no-any-return]

    def _looked_up(
        self, x: Tensor, memory: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool
    ) -> Tensor:
        out, _ = self.multihead_attn(x, memory, memory, padding, False, mask, is_causal=is_causal)
        return self.dropout2(out)  # type: ignore[no-any-return]


def _reset_copies(layers: ModuleList, norm: Module | None) -> None:
    """Draw the first of some layers again, of which the others are copies, and what comes behind them."""
    for k, layer in enumerate(layers):
        if k == 0:
            layer.reset_parameters()
        else:
            layer.load_state_dict(layers[0].state_dict())
    if norm is not None:
        norm.reset_parameters()


@drawn
def _draw_matrices(part: Module) -> None:
    """The matrices of one module, by xavier_uniform."""
    for parameter in part.parameters(recurse=False):
        if parameter.ndim > 1:
            init.xavier_uniform_(parameter)


class TransformerEncoder(Module):
    """`num_layers` copies of an encoder layer one after another, and `norm` behind them. `enable_nested_tensor` and
    `mask_check` change nothing here: places that are padding are computed like all others.

    >>> import tinygrad_nn as tg
    >>> encoder = tg.nn.TransformerEncoder(tg.nn.TransformerEncoderLayer(8, 2, 16), 2)
    >>> encoder(tg.ones(5, 3, 8)).shape
    (5, 3, 8)
    """

    _whole = True

    @flags
    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.num_layers = integer("TransformerEncoder", "num_layers", num_layers, least=0)
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.norm = norm

    def reset_parameters(self) -> None:
        """Layers are copies of one that is drawn again."""
        _reset_copies(self.layers, self.norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The same shape."""
        x = src
        for layer in self.layers:
            x = layer(x, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """`num_layers` copies of a decoder layer one after another, and `norm` behind them.

    >>> import tinygrad_nn as tg
    >>> decoder = tg.nn.TransformerDecoder(tg.nn.TransformerDecoderLayer(8, 2, 16), 2)
    >>> decoder(tg.ones(5, 3, 8), tg.ones(7, 3, 8)).shape
    (5, 3, 8)
    """

    _whole = True

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.num_layers = integer("TransformerDecoder", "num_layers", num_layers, least=0)
        self.layers = ModuleList([copy.deepcopy(decoder_layer) for _ in range(num_layers)])
        self.norm = norm

    def reset_parameters(self) -> None:
        """Layers are copies of one that is drawn again."""
        _reset_copies(self.layers, self.norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The shape of `tgt`."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of one sequence and a decoder of another one that looks at it. Matrices are xavier_uniform at first.

    >>> import tinygrad_nn as tg
    >>> model = tg.nn.Transformer(8, 2, 1, 1, 16)
    >>> model(tg.ones(5, 2, 8), tg.ones(3, 2, 8)).shape
    (3, 2, 8)
    """

    _whole = True

    @flags
    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)
        if custom_encoder is None:
            layer = TransformerEncoderLayer(*settings, dtype=dtype)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm)
        if custom_decoder is None:
            other = TransformerDecoderLayer(*settings, dtype=dtype)
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            custom_decoder = TransformerDecoder(other, num_decoder_layers, norm)
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self._draw()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def _draw(self) -> None:
        for part in self.modules():
            _draw_matrices(part)

    def reset_parameters(self) -> None:
        """First values: matrices are xavier_uniform, the others those of their layers."""
        self.encoder.reset_parameters()
        self.decoder.reset_parameters()
        self._draw()

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The shape of `tgt`. Raises ShapeError for sequences of another number or width."""
        source, target = taken("Transformer", src), taken("Transformer", tgt)
        batch = 0 if self.batch_first else 1
        if source.ndim != target.ndim or (source.ndim == 3 and source.shape[batch] != target.shape[batch]):
            got = f"shapes {source.shape} and {target.shape}"
            raise ShapeError(message("Transformer", got, "sequences of one number"))
        if source.shape[-1] != self.d_model or target.shape[-1] != self.d_model:
            got = f"shapes {source.shape} and {target.shape}"
            raise ShapeError(message("Transformer", got, f"{self.d_model} features"))
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(  # type: ignore[no-any-return]
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Device = None, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz): -inf above the diagonal, else 0."""
        return full((sz, sz), -math.inf, dtype=dtype).triu(1)
