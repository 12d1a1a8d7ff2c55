"""Recurrent layers: RNN, LSTM, GRU, and their cells, with torch's weights and options.

The input contribution of all steps is one matrix product outside of the loop; only what depends on the state before
is inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, get_args

from .. import functional as F
from ..adjoint import Label
from ..errors import ConfigError, DTypeError, ShapeError, message
from ..loops import run_scan
from ..support.memory import check_fits
from ..support.settings import Device, choice, flags, integer, number, shown
from ..tensor import Tensor
from ..tensor.contract import check_floats
from ..tensor.creation import zeros
from ..tensor.door import taken
from . import init
from .module import Module, drawn
from .parameter import Parameter
from .utils.rnn import PackedSequence, length_mask, padded

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, Tensor, State], State]


def _rnn(activation: Callable[[Tensor], Tensor]) -> Cell:
    def cell(x: Tensor, h: Tensor, state: State) -> State:
        return (activation(x + h),)

    return cell


def _lstm(x: Tensor, h: Tensor, state: State) -> State:
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; gates in the order i, f, g, o."""
    i, f, g, o = (x + h).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(x: Tensor, h: Tensor, state: State) -> State:
    """Cho et al., EMNLP 2014, in cuDNN's form: the reset gate acts on the state's product; gates in the order r, z,
    n.
    """
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, -1), h.chunk(3, -1)
    z = (xz + hz).sigmoid()
    n = (xn + (xr + hr).sigmoid() * hn).tanh()
    return (n + z * (state[0] - n),)


CELLS: dict[str, tuple[Cell, int, int]] = {  # how a step computes, gates, tensors of state
    "tanh": (_rnn(Tensor.tanh), 1, 1),
    "relu": (_rnn(Tensor.relu), 1, 1),
    "sigmoid": (_rnn(Tensor.sigmoid), 1, 1),
    "lstm": (_lstm, 4, 2),
    "gru": (_gru, 3, 1),
}
LABELS = {  # what pictures say
    "lstm": Label(
        "LSTM",
        ("h", "c", "W_ih x", "live"),
        ("output", "c"),
        ("input gate i", "forget gate f", "candidate g", "output gate o"),
    ),
    "gru": Label("GRU", ("h", "W_ih x", "live"), ("output",), ("reset gate r", "update gate z", "candidate n")),
}
RNN_LABEL = Label("RNN", ("h", "W_ih x", "live"), ("output",))
ADDING = frozenset(("tanh", "relu", "sigmoid", "lstm"))  # the state's product is only added: so is its bias

Nonlinearity = Literal["tanh", "relu", "sigmoid"]


def scan_cell(
    kind: str,
    inputs: Tensor,
    state: State,
    weight: Tensor,
    bias: Tensor | None,
    layer: str,
    live: Tensor | None = None,
    projection: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Run a cell over time: inputs (T, N, gates * H) to outputs (T, N, H) and the last state.

    A layer whose name ends in "_reverse" runs from the last step to the first. `live` (T, N, 1) says which rows run at
    a step; the others keep their state. `projection` makes the state that is passed on smaller.
    """
    cell = CELLS[kind][0]
    parts = {"weight": weight, "bias": bias, "projection": projection}
    given = {name: one for name, one in parts.items() if one is not None}

    def step(state: State, entry: Sequence[Tensor], *tensors: Tensor) -> tuple[State, Tensor]:
        own = dict(zip(given, tensors, strict=True))
        x, *mask = entry
        new = cell(x, F.linear(state[0], own["weight"], own.get("bias")), state)
        if "projection" in own:
            new = (F.linear(new[0], own["projection"]), *new[1:])
        if mask:
            new = tuple(after.where(mask[0], before) for after, before in zip(new, state, strict=True))
        return new, new[0]

    entries = (inputs,) if live is None else (inputs, live)
    state = tuple(h.to(inputs.dtype) for h in state)
    reverse = layer.endswith("_reverse")
    label = LABELS.get(kind, RNN_LABEL)
    key = kind if projection is None else f"{kind} projected"
    tensors = tuple(given.values())
    last, outputs = run_scan(step, state, entries, reverse=reverse, name=layer, given=tensors, key=key, label=label)
    return outputs, last


OBJECTS: Final = 4096  # bytes that the parameters of a layer take in Python, about


class _Recurrent(Module):
    """What RNN, LSTM and GRU share: weights, layers, directions, batch order.

    >>> import tinygrad_nn as tg
    >>> isinstance(tg.nn.GRU(3, 5), tg.nn.RNNBase)
    True
    """

    kind: str

    @flags
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = input_size = integer(name, "input_size", input_size, least=1)
        self.hidden_size = hidden_size = integer(name, "hidden_size", hidden_size, least=1)
        self.num_layers = num_layers = integer(name, "num_layers", num_layers, least=1)
        self.dropout = number(name, "dropout", dropout, least=0, most=1)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.proj_size = integer(name, "proj_size", proj_size, least=0, most=hidden_size - 1)
        if proj_size and self.kind != "lstm":
            raise ConfigError(message(name, f"proj_size {proj_size}", "0", "only LSTM has projections"))
        gates, passed = CELLS[self.kind][1] * hidden_size, proj_size or hidden_size
        one = 4 * gates * hidden_size + OBJECTS
        check_fits(name, f"num_layers={num_layers}", one * num_layers * (2 if bidirectional else 1))
        for layer, suffix in self._directions():
            width = input_size if layer == 0 else passed * (2 if bidirectional else 1)
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, width), "weight_hh": (gates, passed)}
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for key, shape in shapes.items():
                setattr(self, f"{key}_{suffix}", Parameter(zeros(shape, dtype=dtype)))
        self.reset_parameters()

    @drawn
    def reset_parameters(self) -> None:
        """First values: uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weights in self.all_weights:
            for one in weights:
                init.uniform_(one, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: the parameters need no one block of memory here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        keys = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        found = ([getattr(self, f"{key}_{end}", None) for key in keys] for _, end in self._directions())
        return [[one for one in row if one is not None] for row in found]

    def _directions(self) -> list[tuple[int, str]]:
        ends = ("", "_reverse") if self.bidirectional else ("",)
        return [(layer, f"l{layer}{end}") for layer in range(self.num_layers) for end in ends]

    def _outputs(self, x: Tensor, initial: Any, lengths: Any) -> tuple[Tensor, State]:
        """Outputs and last states, batch axis in place; `initial` and the result are (layers * directions, N, H)
        each.
        """
        name = type(self).__name__
        x = taken(name, x, self.weight_ih_l0)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            expected = f"(batch, time, {self.input_size})" if self.batch_first else f"(time, batch, {self.input_size})"
            raise ShapeError(message(name, f"shape {x.shape}", f"{expected}, or (time, {self.input_size}) unbatched"))
        single = x.ndim == 2
        if single:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        live = None
        if lengths is not None:
            if single:
                got = "lengths for unbatched input"
                raise ShapeError(message(name, got, "a batch", "cut the sequence: x[:length]"))
            live = length_mask(lengths, x.shape[0], op=name)
            if live.shape[1] != x.shape[1]:
                got = f"{live.shape[1]} lengths for a batch of {x.shape[1]}"
                raise ShapeError(message(name, got, "one length per sequence"))
            live = live.unsqueeze(2)
            x = x.where(live, 0)  # whatever the padding holds, NaN too
        states = self._states(x, initial, single)
        last: list[State] = []
        outputs: list[Tensor] = []
        source = x
        for k, (layer, suffix) in enumerate(self._directions()):
            if not suffix.endswith("_reverse"):
                source = x if layer == 0 else self._between(outputs)
                outputs = []
            w_ih, w_hh = getattr(self, f"weight_ih_{suffix}"), getattr(self, f"weight_hh_{suffix}")
            b_ih, b_hh = (getattr(self, f"bias_{which}_{suffix}", None) for which in ("ih", "hh"))
            if b_ih is not None and b_hh is not None and self.kind in ADDING:
                b_ih, b_hh = b_ih + b_hh, None
            state = tuple(h.select(0, k) for h in states)
            projection = getattr(self, f"weight_hr_{suffix}", None)
            inputs = F.linear(source, w_ih, b_ih)
            out, state = scan_cell(self.kind, inputs, state, w_hh, b_hh, suffix, live, projection)
            outputs.append(out)
            last.append(state)
        result = _joined(outputs, -1)
        if live is not None:
            result = result.where(live, 0)
        finals = tuple(_joined([h.unsqueeze(0) for h in hs], 0) for hs in zip(*last, strict=True))
        if single:
            return result.squeeze(1), tuple(h.squeeze(1) for h in finals)
        return (result.transpose(0, 1) if self.batch_first else result), finals

    def _states(self, x: Tensor, initial: Any, single: bool) -> list[Tensor]:
        """The first states, each (layers * directions, N, H): zeros, or those given, checked."""
        name, count = type(self).__name__, CELLS[self.kind][2]
        lead = (len(self._directions()), x.shape[1])
        wanted = [(*lead, self.proj_size or self.hidden_size), (*lead, self.hidden_size)][:count]
        if initial is None:
            return [x.new_zeros(shape) for shape in wanted]
        if count > 1 and (not isinstance(initial, (tuple, list)) or len(initial) != count):
            got = f"an initial state that is {type(initial).__name__}"
            raise ShapeError(message(name, got, "a pair of tensors (h, c)"))
        if count == 1 and isinstance(initial[0], tuple):
            raise ShapeError(message(name, "an initial state that is a tuple", "a tensor"))
        initial = [taken(name, h, self.weight_ih_l0) for h in initial]
        check_floats(name, x, *initial)
        states = [h.unsqueeze(1) if single and h.ndim == 2 else h for h in initial]
        if any(h.shape != shape for h, shape in zip(states, wanted, strict=True)):
            shapes = " and ".join(str(h.shape) for h in initial)
            expected = dict.fromkeys((shape[0], shape[2]) if single else shape for shape in wanted)
            got = f"an initial state of shape {shapes}"
            raise ShapeError(message(name, got, " and ".join(map(str, expected))))
        return states

    def _either(self, x: Tensor | PackedSequence, initial: Any, lengths: Any) -> tuple[Any, State]:
        """Outputs and last states of a batch, be it packed or not."""
        return self._packed(x, initial) if isinstance(x, PackedSequence) else self._outputs(x, initial, lengths)

    def _packed(self, packed: PackedSequence, initial: Any) -> tuple[PackedSequence, State]:
        """The same for a packed batch, whose sequences stand in the order of their lengths."""
        order, back = packed.sorted_indices, packed.unsorted_indices
        if initial is not None and order is not None:
            name = type(self).__name__
            initial = [taken(name, h, self.weight_ih_l0).index_select(1, order) for h in initial]
        x, lengths = padded(packed, self.batch_first)
        outputs, finals = self._outputs(x, initial, lengths)
        if back is not None:
            finals = tuple(h.index_select(1, back) for h in finals)
        return packed.like(outputs, self.batch_first), finals

    def _between(self, outputs: list[Tensor]) -> Tensor:
        """What the next layer reads."""
        return F.dropout(_joined(outputs, -1), self.dropout, self.training)

    def extra_repr(self) -> str:
        """As torch's: sizes, and what is not the default."""
        text = f"{self.input_size}, {self.hidden_size}"
        if self.kind == "sigmoid":  # torch, which has no such layer, leaves relu unsaid
            text += ", nonlinearity='sigmoid'"
        text += f", proj_size={self.proj_size}" if self.proj_size else ""
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        changed = {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}
        return ", ".join([text, *(f"{name}={value}" for name, value in changed.items())])


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    first, *rest = parts
    return first.cat_with(*rest, dim=dim) if rest else first


class _Plain(_Recurrent):
    """One whose state is a single tensor."""

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, Tensor]:
        """Outputs of the last layer at every step, packed as the input is, and the last state of every layer and
        direction.
        """
        initial = None if hx is None else (hx,)
        outputs, (h,) = self._either(input, initial, lengths)
        return outputs, h


class RNN(_Plain):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu, or sigmoid (which torch lacks): Elman, Cognitive Science 1990.

    forward(x, h0, lengths) returns (outputs, last state); x is (time, batch, input), (batch, time, input) with
    `batch_first`, or unbatched. `lengths` (batch,) are the steps of each sequence in a padded batch, in any order: what
    is beyond them is not read, outputs are 0 there, the last state is the one at each own end, and a reverse direction
    begins there. That is what torch does between pack_padded_sequence and pad_packed_sequence(total_length=time).

    >>> import tinygrad_nn as tg
    >>> outputs, last = tg.nn.RNN(3, 5, batch_first=True)(tg.ones(2, 7, 3))
    >>> outputs.shape, last.shape
    ((2, 7, 5), (1, 2, 5))
    """

    @flags
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        self.kind = self.nonlinearity = choice("RNN", "nonlinearity", nonlinearity, get_args(Nonlinearity))
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype=dtype)


class GRU(_Plain):
    """Gated recurrent unit; settings and shapes as RNN.

    >>> import tinygrad_nn as tg
    >>> outputs, last = tg.nn.GRU(3, 5)(tg.ones(10, 2, 3))
    >>> outputs.shape, last.shape
    ((10, 2, 5), (1, 2, 5))
    """

    kind = "gru"


class LSTM(_Recurrent):
    """Long short-term memory; settings and shapes as RNN, the state is a pair (h, c). With `proj_size` h is that small:
    Sak, Senior and Beaufays, Interspeech 2014.

    >>> import tinygrad_nn as tg
    >>> outputs, (h, c) = tg.nn.LSTM(3, 5, num_layers=2)(tg.ones(10, 2, 3))
    >>> outputs.shape, h.shape, c.shape
    ((10, 2, 5), (2, 2, 5), (2, 2, 5))
    """

    kind = "lstm"

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Sequence[Tensor] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Outputs of the last layer at every step, packed as the input is, and the last (h, c)."""
        outputs, (h, c) = self._either(input, hx, lengths)
        return outputs, (h, c)


class _Cell(Module):
    """What the three cells share: one step, weights without a layer number.

    >>> import tinygrad_nn as tg
    >>> isinstance(tg.nn.GRUCell(3, 5), tg.nn.RNNCellBase)
    True
    """

    kind: str

    @flags
    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Device = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size = integer(type(self).__name__, "input_size", input_size, least=0)
        self.hidden_size = hidden_size = integer(type(self).__name__, "hidden_size", hidden_size, least=0)
        self.bias = bias
        gates = CELLS[self.kind][1] * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, input_size), "weight_hh": (gates, hidden_size)}
        if bias:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            shape = shapes.get(name)
            setattr(self, name, None if shape is None else Parameter(zeros(shape, dtype=dtype)))
        self.reset_parameters()

    @drawn
    def reset_parameters(self) -> None:
        """First values: uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0.0
        for one in (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh):
            if one is not None:
                init.uniform_(one, -bound, bound)

    def _step(self, x: Tensor, state: State | None) -> State:
        name = type(self).__name__
        x = taken(name, x, self.weight_ih)
        count = CELLS[self.kind][2]
        if state is not None:
            if not isinstance(state, (tuple, list)) or len(state) != count:
                raise DTypeError(message(name, f"the state {shown(state)}", f"{count} tensors"))
            state = tuple(taken(name, h, self.weight_ih) for h in state)
            check_floats(name, x, *state)
        if x.shape[-1:] != (self.input_size,):
            raise ShapeError(message(name, f"shape {x.shape}", f"(..., {self.input_size})"))
        cell = CELLS[self.kind][0]
        before = state or tuple(x.new_zeros((*x.shape[:-1], self.hidden_size)) for _ in range(count))
        inputs = F.linear(x, self.weight_ih, self.bias_ih)
        return cell(inputs, F.linear(before[0], self.weight_hh, self.bias_hh), before)

    def extra_repr(self) -> str:
        """As torch's."""
        changed = f", nonlinearity={self.kind}" if self.kind in ("relu", "sigmoid") else ""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False") + changed


class RNNCell(_Cell):
    """One step of RNN: (batch, input) and the state to the next state.

    >>> import tinygrad_nn as tg
    >>> cell = tg.nn.RNNCell(3, 5, nonlinearity="sigmoid")
    >>> h = cell(tg.zeros(2, 3))
    >>> cell(tg.ones(2, 3), h).shape
    (2, 5)
    """

    @flags
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        device: Device = None,
        dtype: Any = None,
    ) -> None:
        self.kind = self.nonlinearity = choice("RNNCell", "nonlinearity", nonlinearity, get_args(Nonlinearity))
        super().__init__(input_size, hidden_size, bias, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        return self._step(input, None if hx is None else (hx,))[0]


class GRUCell(_Cell):
    """One step of GRU.

    >>> import tinygrad_nn as tg
    >>> tg.nn.GRUCell(3, 5)(tg.ones(2, 3)).shape
    (2, 5)
    """

    kind = "gru"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        return self._step(input, None if hx is None else (hx,))[0]


class LSTMCell(_Cell):
    """One step of LSTM.

    >>> import tinygrad_nn as tg
    >>> h, c = tg.nn.LSTMCell(3, 5)(tg.ones(2, 3))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    kind = "lstm"

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (h, c)."""
        h, c = self._step(input, hx)
        return h, c


RNNBase, RNNCellBase = _Recurrent, _Cell
