"""JAX: the step under jit; whole epochs as a scan over epochs, a hundred at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..workloads import ADAM, CNN, GPT
from . import Run, Sample, Setting, Table, passes, repeated

jax.config.update("jax_enable_x64", True)
CHUNK = 100


def forward(weights: Sequence[Any], x: Any, activation: Callable[[Any], Any] = jax.nn.relu) -> Any:
    """The layers, an activation between them."""
    for k in range(0, len(weights), 2):
        x = (activation(x) if k else x) @ weights[k].T + weights[k + 1]
    return x


def cross_entropy(weights: Sequence[Any], x: Any, y: Any) -> Any:
    """Mean loss of labels."""
    return -jnp.take_along_axis(jax.nn.log_softmax(forward(weights, x)), y[:, None], 1).mean()


def squares(weights: Sequence[Any], x: Any, y: Any) -> Any:
    """Mean squared error."""
    return ((forward(weights, x) - y) ** 2).mean()


def descend(loss: Callable[..., Any], rate: float) -> Callable[..., Any]:
    """A step of gradient descent: weights and a batch to weights and the loss."""

    def step(weights: Any, x: Any, y: Any) -> tuple[Any, Any]:
        value, gradients = jax.value_and_grad(loss)(weights, x, y)
        return [w - rate * g for w, g in zip(weights, gradients, strict=True)], value

    return step


def scanned(setting: Setting, epoch: Callable[[Any], tuple[Any, Any]]) -> Run:
    """Epochs: weights to the same and what the history holds."""
    first = [jnp.asarray(w) for w in setting.weights()]
    chunk = jax.jit(lambda weights: jax.lax.scan(lambda w, _: epoch(w), weights, None, length=CHUNK))

    def run(iterations: int) -> Sample:
        if iterations % CHUNK:
            raise ValueError(f"{iterations} epochs are not whole hundreds")
        weights: Any = first
        history: list[Any] = []
        start = time.perf_counter()
        for _ in range(iterations // CHUNK):
            weights, values = chunk(weights)
            history.append(np.stack(values, axis=1))
        return Sample(time.perf_counter() - start, history[-1][-1].tolist())

    return run


def iris(setting: Setting) -> Run:
    """Epochs: three batches of 32 as an inner scan, and the last of 24."""
    x, y, test_x, test_y = (jnp.asarray(setting.arrays[name]) for name in ("x", "y", "test_x", "test_y"))
    full, step = (x[:96].reshape(3, 32, 4), y[:96].reshape(3, 32)), descend(cross_entropy, 0.01)

    def accuracy(weights: Any, x: Any, y: Any) -> Any:
        return (forward(weights, x).argmax(1) == y).mean()

    def epoch(weights: Any) -> tuple[Any, Any]:
        weights, losses = jax.lax.scan(lambda w, batch: step(w, *batch), weights, full)
        weights, last = step(weights, x[96:], y[96:])
        loss = (32 * losses.sum() + 24 * last) / 120
        return weights, (loss, accuracy(weights, x, y), accuracy(weights, test_x, test_y))

    return scanned(setting, epoch)


def titanic(setting: Setting) -> Run:
    """Epochs."""
    x, y = (jnp.asarray(setting.arrays[name]) for name in ("x", "y"))

    def loss(w: Any) -> tuple[Any, Any]:
        z = x @ w.T
        return (jnp.logaddexp(0, z) - y * z).mean(), jnp.abs(jax.nn.sigmoid(z) - y).mean()

    def epoch(weights: Any) -> tuple[Any, Any]:
        gradient, mae = jax.grad(loss, has_aux=True)(weights[0])
        return [weights[0] - 0.1 * gradient], (mae,)

    return scanned(setting, epoch)


def calls(setting: Setting, step: Any, batches: Sequence[tuple[Any, Any]], extra: Callable[[], Any] = list) -> Run:
    """Steps from NumPy arrays, a batch after the other; `extra` is more state, which the step hands on."""
    compiled = jax.jit(step, donate_argnums=0)
    state: Any = None
    count = 0

    def reset() -> None:
        nonlocal state, count
        weights = [jnp.array(w) for w in setting.weights()]
        more = extra()
        state, count = (weights, more) if more else weights, 0

    def call() -> Any:
        nonlocal state, count
        x, y = batches[count % len(batches)]
        count += 1
        state, loss = compiled(state, x, y)
        return loss

    return repeated(call, lambda loss: [float(loss)], reset)


def step(setting: Setting) -> Run:
    """Calls."""
    return calls(setting, descend(cross_entropy, 0.01), [(setting.arrays["x"], setting.arrays["y"])])


def inference(setting: Setting) -> Run:
    """Calls."""
    x, weights = setting.arrays["x"], [jnp.asarray(w) for w in setting.weights()]
    predict = jax.jit(lambda weights, x: forward(weights, x).argmax(1))
    return repeated(lambda: predict(weights, x), lambda found: [float(k) for k in found], lambda: None)


def trained(
    setting: Setting, loss: Callable[..., Any], batches: Sequence[tuple[Any, Any]], decay: float = 0.0
) -> Run:
    """Calls of steps with Adam, or AdamW."""

    def moments() -> Any:
        zeros = [(jnp.zeros(w.shape, w.dtype), jnp.zeros(w.shape, w.dtype)) for w in setting.weights()]
        return zeros, jnp.zeros((), jnp.float32)

    def adam(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        weights, (before, count) = state
        value, gradients = jax.value_and_grad(loss)(weights, x, y)
        count = count + 1
        new, after = [], []
        for w, g, (m, v) in zip(weights, gradients, before, strict=True):
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            root = jnp.sqrt(v / (1 - 0.999**count)) + 1e-8
            new.append((1 - 1e-3 * decay) * w - 1e-3 * (m / (1 - 0.9**count)) / root)
            after.append((m, v))
        return (new, (after, count)), value

    return calls(setting, adam, batches, moments)


def classifier(setting: Setting) -> Run:
    """Calls, over eight batches in turn."""
    return trained(setting, cross_entropy, list(zip(setting.arrays["x"], setting.arrays["y"], strict=True)))


def full_batch(setting: Setting) -> Run:
    """Epochs of one step."""

    def loss(weights: Any, x: Any, y: Any) -> Any:
        return ((forward(weights, x, jnp.tanh) - y) ** 2).mean()

    return trained(setting, loss, [(setting.arrays["x"], setting.arrays["y"])])


def mlp_64(setting: Setting) -> Run:
    """Calls."""
    return calls(setting, descend(squares, 0.01), [(setting.arrays["x"], setting.arrays["y"])])


def recurrent(slope: Callable[[Any], Any]) -> Callable[..., Any]:
    """The sum of squares of an RNN on a sequence; the second bias is that which stays 0."""

    def loss(weights: Any, x: Any, y: Any) -> Any:
        wx, wh, b, _, wo, bo = weights

        def step(h: Any, z: Any) -> tuple[Any, Any]:
            h = slope(z + wh @ h)
            return h, h

        _, h = jax.lax.scan(step, jnp.zeros(len(wh)), x @ wx.T + b)
        return ((h @ wo.T + bo - y) ** 2).sum()

    return loss


def fraud_small(setting: Setting) -> Run:
    """Epochs, as a scan over sequences in one over epochs."""
    sequences = (jnp.asarray(setting.arrays["x"]), jnp.asarray(setting.arrays["y"]))
    step = descend(recurrent(jax.nn.relu), 1e-6)

    def epoch(weights: Any) -> tuple[Any, Any]:
        weights, losses = jax.lax.scan(lambda w, batch: step(w, *batch), weights, sequences)
        return weights, (losses.mean(),)

    return scanned(setting, epoch)


def fraud_kaggle(setting: Setting) -> Run:
    """Sequences, as a scan over those of a pass."""
    step = descend(recurrent(jnp.tanh), 1e-3)

    def epoch(weights: Any, x: Any, y: Any) -> tuple[Any, Any]:
        weights, losses = jax.lax.scan(lambda w, batch: step(w, *batch), weights, (x, y))
        return weights, losses.mean()

    return over(setting, epoch)


def over(setting: Setting, epoch: Callable[..., tuple[Any, Any]]) -> Run:
    """Passes: weights and the data of a pass to weights and the loss."""
    columns = [jnp.asarray(setting.arrays[name]) for name in ("x", "y")]
    compiled = jax.jit(epoch)

    def run(iterations: int) -> Sample:
        rows, epochs = passes(iterations, len(columns[0]))
        weights: Any = [jnp.asarray(w) for w in setting.weights()]
        data = [column[:rows] for column in columns]
        history = []
        start = time.perf_counter()
        for _ in range(epochs):
            weights, loss = compiled(weights, *data)
            history.append(float(loss))
        return Sample(time.perf_counter() - start, history[-1:])

    return run


def together(loss: Callable[..., Any], reduce: Callable[[Any], Any]) -> Callable[..., Any]:
    """The loss of several sequences."""
    return lambda weights, x, y: reduce(jax.vmap(loss, (None, 0, 0))(weights, x, y))


def fraud_small_batch(setting: Setting) -> Run:
    """Epochs of one step."""
    x, y = (jnp.asarray(setting.arrays[name]) for name in ("x", "y"))
    step = descend(together(recurrent(jax.nn.relu), jnp.sum), 1e-6)

    def epoch(weights: Any) -> tuple[Any, Any]:
        weights, loss = step(weights, x, y)
        return weights, (loss,)

    return scanned(setting, epoch)


def fraud_kaggle_64(setting: Setting) -> Run:
    """Sequences, as a scan over the whole batches of a pass, and the rest."""
    step = descend(together(recurrent(jnp.tanh), lambda sums: sums.mean() / 10), 0.01)

    def epoch(weights: Any, x: Any, y: Any) -> tuple[Any, Any]:
        whole = len(x) // 64 * 64
        full = tuple(column[:whole].reshape(-1, 64, *column.shape[1:]) for column in (x, y))
        weights, losses = jax.lax.scan(lambda w, batch: step(w, *batch), weights, full)
        total = 64 * losses.sum()
        if whole < len(x):
            weights, last = step(weights, x[whole:], y[whole:])
            total += (len(x) - whole) * last
        return weights, total / len(x)

    return over(setting, epoch)


def lstm_layer(weights: Sequence[Any], x: Any) -> Any:
    """(T, N, F) to (T, N, H)."""
    w_ih, w_hh, b_ih, b_hh = weights
    zeros = jnp.zeros((x.shape[1], w_hh.shape[1]), x.dtype)

    def step(state: Any, z: Any) -> tuple[Any, Any]:
        h, c = state
        i, f, g, o = jnp.split(z + h @ w_hh.T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return jax.lax.scan(step, (zeros, zeros), x @ w_ih.T + b_ih + b_hh)[1]


def gru_layer(weights: Sequence[Any], x: Any) -> Any:
    """(T, N, F) to (T, N, H)."""
    w_ih, w_hh, b_ih, b_hh = weights

    def step(h: Any, z: Any) -> tuple[Any, Any]:
        r, u, n = jnp.split(z, 3, axis=1)
        hr, hu, hn = jnp.split(h @ w_hh.T + b_hh, 3, axis=1)
        n = jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn)
        u = jax.nn.sigmoid(u + hu)
        h = (1 - u) * n + u * h
        return h, h

    return jax.lax.scan(step, jnp.zeros((x.shape[1], w_hh.shape[1]), x.dtype), x @ w_ih.T + b_ih)[1]


def both_ways(weights: Sequence[Any], x: Any) -> Any:
    """A layer forward in time, and one backward."""
    return jnp.concatenate([lstm_layer(weights[:4], x), lstm_layer(weights[4:], x[::-1])[::-1]], axis=2)


def sequences(*layers: Callable[[Sequence[Any], Any], Any]) -> Callable[[Setting], Run]:
    """Calls of a net of recurrent layers and a linear one."""

    def loss(weights: Sequence[Any], x: Any, y: Any) -> Any:
        *recurrent, w_out, b_out = weights
        h, each = x.swapaxes(0, 1), len(recurrent) // len(layers)
        for k, layer in enumerate(layers):
            h = layer(recurrent[k * each : (k + 1) * each], h)
        return ((h.swapaxes(0, 1) @ w_out.T + b_out - y) ** 2).mean()

    return lambda setting: calls(setting, descend(loss, 0.01), [(setting.arrays["x"], setting.arrays["y"])])


def cnn(sizes: tuple[Any, ...], setting: Setting) -> Run:
    """Calls, over two batches in turn."""
    _, _, channels, _, padding, pooled, _ = sizes
    count = len(channels) - 1

    def loss(weights: Sequence[Any], x: Any, y: Any) -> Any:
        for k in range(count):
            w, b = weights[2 * k : 2 * k + 2]
            x = jax.lax.conv_general_dilated(x, w, (1, 1), [(padding, padding)] * 2) + b[:, None, None]
            x = jax.nn.relu(x)
            if k + 1 in pooled:
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return cross_entropy(weights[2 * count :], x.reshape(len(x), -1), y)

    return trained(setting, loss, list(zip(setting.arrays["x"], setting.arrays["y"], strict=True)))


def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    """Over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * weight + bias


def gpt(sizes: tuple[int, ...], setting: Setting) -> Run:
    """Calls, over four batches in turn."""
    layers, width, heads, tokens, batch = sizes

    def block(x: Any, weights: Sequence[Any]) -> Any:
        before, b_before, attention, b_attention, together, b_together, between, b_between, up, b_up, down, b_down = (
            weights
        )
        each = layer_norm(x, before, b_before) @ attention.T + b_attention
        query, key, value = (
            part.reshape(batch, tokens, heads, width // heads) for part in jnp.split(each, 3, axis=2)
        )
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        x = x + mixed.reshape(batch, tokens, width) @ together.T + b_together
        inner = jax.nn.gelu(layer_norm(x, between, b_between) @ up.T + b_up, approximate=False)
        return x + inner @ down.T + b_down

    def loss(weights: Sequence[Any], x: Any, y: Any) -> Any:
        characters, places, *inside = weights
        h = characters[x] + places
        for k in range(layers):
            h = block(h, inside[12 * k : 12 * k + 12])
        last, b_last, head, b_head = inside[12 * layers :]
        z = (layer_norm(h, last, b_last) @ head.T + b_head).reshape(len(y), -1)
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()

    return trained(setting, loss, list(zip(setting.arrays["x"], setting.arrays["y"], strict=True)), decay=0.01)


WORKLOADS: Table = {
    "iris": iris,
    "titanic": titanic,
    "step": step,
    "inference": inference,
    **dict.fromkeys(ADAM, classifier),
    "full-batch": full_batch,
    "mlp-64": mlp_64,
    "fraud-small": fraud_small,
    "fraud-small-batch": fraud_small_batch,
    "fraud-kaggle": fraud_kaggle,
    "fraud-kaggle-64": fraud_kaggle_64,
    "lstm": sequences(lstm_layer),
    "gru": sequences(gru_layer),
    "bilstm": sequences(both_ways, both_ways),
    **{name: partial(cnn, sizes) for name, sizes in CNN.items()},
    **{name: partial(gpt, sizes) for name, sizes in GPT.items()},
}
