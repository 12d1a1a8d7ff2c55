"""RNN, LSTM, GRU: what the input gives is one product outside of the loop, the loop is a scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ... import functional as F
from ...loops import scan
from ...tensor import Tensor
from ...tensor.creation import arange
from ...tensor.joining import stack
from .elementwise import softplus
from .form import Call, bad

State = tuple[Tensor, ...]
Function = Callable[[Tensor], Tensor]

# Each is made of its alpha and beta; with what these are where the file does not say.
FUNCTIONS: Final[Mapping[str, tuple[Callable[[float, float], Function], tuple[float, ...]]]] = {
    "affine": (lambda a, b: lambda x: a * x + b, (1.0, 0.0)),
    "relu": (lambda a, b: Tensor.relu, ()),
    "leakyrelu": (lambda a, b: lambda x: F.leaky_relu(x, a), (0.01,)),
    "thresholdedrelu": (lambda a, b: lambda x: x.where(x > a, x.new_zeros(())), (1.0,)),
    "tanh": (lambda a, b: Tensor.tanh, ()),
    "scaledtanh": (lambda a, b: lambda x: a * (b * x).tanh(), (1.0, 1.0)),
    "sigmoid": (lambda a, b: Tensor.sigmoid, ()),
    "hardsigmoid": (lambda a, b: lambda x: (a * x + b).clamp(0, 1), (0.2, 0.5)),
    "elu": (lambda a, b: lambda x: F.elu(x, a), (1.0,)),
    "softsign": (lambda a, b: F.softsign, ()),
    "softplus": (lambda a, b: softplus, ()),
}


def functions(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], clip: float | None
) -> list[Function]:
    """Activations by their names. Each takes the next alpha and beta of the lists where it has such a number."""
    found, left, right = [], list(alphas), list(betas)
    for name in names:
        make, usual = FUNCTIONS.get(name.lower(), (None, ()))
        if make is None:
            raise bad(f"activation {name}", f"one of {', '.join(FUNCTIONS)}")
        numbers = [*usual, 0.0, 0.0][:2]
        for place, rest in enumerate((left, right)[: len(usual)]):
            numbers[place] = rest.pop(0) if rest else numbers[place]
        found.append(make(*numbers))
    return found if not clip else [_clipped(one, clip) for one in found]


def _clipped(function: Function, clip: float) -> Function:
    return lambda x: function(x.clamp(-clip, clip))


def rnn_cell(x: Tensor, state: State, r: Tensor, rb: Tensor, f: Sequence[Function], peep: Any, **_: Any) -> State:
    """h = f(Wx + Rh)."""
    return (f[0](x + state[0] @ r.T + rb),)


def gru_cell(
    x: Tensor, state: State, r: Tensor, rb: Tensor, f: Sequence[Function], peep: Any, before: bool = False, **_: Any
) -> State:
    """Gates z, r, h. The reset gate acts on the state (Cho et al. 2014), or `before` on its product."""
    h, size = state[0], state[0].shape[-1]
    gates = f[0](x[:, : 2 * size] + h @ r[: 2 * size].T + rb[: 2 * size])
    z, reset = gates[:, :size], gates[:, size:]
    own, own_bias = r[2 * size :], rb[2 * size :]
    inner = reset * (h @ own.T + own_bias) if before else (reset * h) @ own.T + own_bias
    new = f[1](x[:, 2 * size :] + inner)
    return ((1 - z) * new + z * h,)


def lstm_cell(
    x: Tensor, state: State, r: Tensor, rb: Tensor, f: Sequence[Function], peep: Any, coupled: bool = False, **_: Any
) -> State:
    """Gates i, o, f, c, with peepholes (Gers and Schmidhuber 2000); coupled, the forget gate is 1 - i."""
    h, c = state
    i, o, forget, new = (x + h @ r.T + rb).chunk(4, -1)
    if peep is not None:
        pi, po, pf = peep.chunk(3, -1)
        i, forget = i + pi * c, forget + pf * c
    i = f[0](i)
    forget = 1 - i if coupled else f[0](forget)
    c = forget * c + i * f[1](new)
    o = f[0](o if peep is None else o + po * c)
    return o * f[2](c), c


def recurrent(cell: Callable[..., State], gates: int, usual: tuple[str, ...], states: int) -> Callable[..., Any]:
    """An operator that runs a cell over time, in one direction or both."""

    def operator(
        call: Call,
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lengths: Tensor | None = None,
        h: Tensor | None = None,
        c: Tensor | None = None,
        peep: Tensor | None = None,
        *,
        activation_alpha: Any = (),
        activation_beta: Any = (),
        activations: Any = None,
        clip: float | None = None,
        direction: str = "forward",
        hidden_size: int | None = None,
        input_forget: int = 0,
        layout: int = 0,
        linear_before_reset: int = 0,
        output_sequence: int = 0,
    ) -> Any:
        x = x.transpose(0, 1) if layout else x
        steps, batch, _ = x.shape
        count, size = w.shape[0], r.shape[-1]
        if count != 1 + (direction == "bidirectional") or w.shape[1] != gates * size or r.shape[1] != gates * size:
            raise bad(f"W of shape {w.shape} and R of shape {r.shape}", f"{gates} gates for each direction")
        acts = functions(activations or usual * count, activation_alpha, activation_beta, clip)
        if len(acts) != len(usual) * count:
            raise bad(f"{len(acts)} activations", f"{len(usual) * count}")
        live = None if lengths is None else (arange(steps).unsqueeze(1) < lengths.long()).unsqueeze(-1)
        every, last = [], []
        for k in range(count):
            bias = b[k] if b is not None else x.new_zeros((2 * gates * size,))
            begin = [h, c][:states]
            state = tuple(
                x.new_zeros((batch, size)) if one is None else (one[:, k] if layout else one[k]) for one in begin
            )
            inputs = x @ w[k].T + bias[: gates * size]
            own = acts[k * len(usual) : (k + 1) * len(usual)]
            outputs, state = _run(
                cell,
                inputs,
                state,
                live,
                direction == "reverse" or k == 1,
                (r[k], bias[gates * size :], own, None if peep is None else peep[k]),
                {"before": bool(linear_before_reset), "coupled": bool(input_forget)},
            )
            every.append(outputs)
            last.append(state)
        y = stack(every, 2 if layout else 1) if not layout else stack([one.transpose(0, 1) for one in every], 2)
        ends = [stack([one[k] for one in last], 1 if layout else 0) for k in range(states)]
        return (y, *ends)

    return operator


def _run(
    cell: Callable[..., State],
    inputs: Tensor,
    state: State,
    live: Tensor | None,
    reverse: bool,
    weights: Any,
    options: Any,
) -> tuple[Tensor, State]:
    """One direction. A row whose sequence is over keeps its state, and gives zeros."""

    def step(state: State, entry: Any) -> tuple[State, Tensor]:
        x, *mask = entry
        new = cell(x, state, *weights, **options)
        if not mask:
            return new, new[0]
        kept = tuple(after.where(mask[0], before) for after, before in zip(new, state, strict=True))
        return kept, new[0].where(mask[0], new[0].new_zeros(()))

    last, outputs = scan(step, state, (inputs,) if live is None else (inputs, live), reverse=reverse)
    return outputs, last


OPERATORS: Final[Mapping[str, Any]] = {
    "GRU": recurrent(gru_cell, 3, ("Sigmoid", "Tanh"), 1),
    "LSTM": recurrent(lstm_cell, 4, ("Sigmoid", "Tanh", "Tanh"), 2),
    "RNN": recurrent(rnn_cell, 1, ("Tanh",), 1),
}
