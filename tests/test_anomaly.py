"""detect_anomaly names the op and the line that first made a NaN or an infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import GraphError


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def log_then_backward(x: tg.Tensor) -> None:
    with tg.detect_anomaly():
        bad = x.log()
        (bad * 2 + 1).sum().backward()


def sqrt_then_backward(x: tg.Tensor) -> None:
    with tg.detect_anomaly():
        root = x.sqrt()
        root.sum().backward()


def untaken_branch(x: tg.Tensor) -> None:
    with tg.detect_anomaly():
        x.log().where(x > 0, 0.0).sum().backward()


def test_a_value_is_reported_at_its_origin() -> None:
    text = r"\[log\] got NaN from finite operands, made at test_anomaly.py:\d+: bad = x.log\(\)"
    with pytest.raises(GraphError, match=text):
        log_then_backward(leaf(-1.0, 2.0))


def test_at_the_end_of_the_block_without_backward() -> None:
    with pytest.raises(GraphError, match=r"\[div\] got inf .*; hint: the divisor reached 0"), tg.detect_anomaly():
        tg.ones(2) / 0.0


def test_a_gradient_is_reported_with_the_forward_line() -> None:
    text = r"\[sqrt backward\] got inf in the gradient of operand 0, of the forward call at test_anomaly.py:\d+: root"
    with pytest.raises(GraphError, match=text):
        sqrt_then_backward(leaf(0.0, 1.0))


def test_the_branch_where_did_not_take_is_recognised() -> None:
    text = r"\[log backward\] got NaN .*0 \* inf behind a branch .*where\(ok, log\(where\(ok, x, 1\)\), other\)"
    with pytest.raises(GraphError, match=text):
        untaken_branch(leaf(0.0, 1.0))


def test_the_safe_form_passes() -> None:
    x = leaf(0.0, 1.0)
    with tg.detect_anomaly():
        positive = x > 0
        x.where(positive, 1.0).log().where(positive, 0.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0]


def test_infinities_that_become_finite_again_are_no_error() -> None:
    with tg.detect_anomaly():
        scores = leaf(1.0, 2.0, 3.0)
        hidden = scores.masked_fill(tg.tensor([False, False, True]), float("-inf"))
        p = (hidden - hidden.detach().amax()).exp()
        (p / p.sum())[0].backward()
    assert scores.grad is not None
    assert np.isfinite(scores.grad.numpy()).all()


def test_everything_is_as_before_afterwards() -> None:
    with pytest.raises(GraphError), tg.detect_anomaly():
        leaf(-1.0).log()
    x = leaf(-1.0)
    x.log().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-1.0]


def log_after_a_failed_backward(x: tg.Tensor) -> None:
    def refuse(g: tg.Tensor) -> None:
        raise KeyError

    x.register_hook(refuse)
    with tg.detect_anomaly():
        with pytest.raises(KeyError):
            (x * x).sum().backward()
        x.log()


def test_values_are_still_checked_after_a_walk_that_failed() -> None:
    with pytest.raises(GraphError, match=r"\[log\] got NaN"):
        log_after_a_failed_backward(leaf(-1.0))


def test_results_are_the_same_inside() -> None:
    def run() -> list[float]:
        x = leaf(0.3, 0.7)
        (x.sin() * x.exp()).sum().backward()
        assert x.grad is not None
        return x.grad.tolist()

    with tg.detect_anomaly():
        inside = run()
    assert inside == run()


def recurrent(kind: str, inner: float, outer: float, **options: Any) -> Any:
    """A layer whose weights on the state are all `inner`, on the input all `outer`, without biases."""
    layer = getattr(tg.nn, kind)(2, 3, bias=False, **options)
    values = {k: np.full(v.shape, inner if "hh" in k else outer) for k, v in layer.state_dict().items()}
    layer.load_state_dict(values)
    return layer


@pytest.mark.parametrize(("which", "step"), [("", 4), ("_reverse", 2)])
def test_a_value_inside_a_recurrent_layer_names_the_time_step(which: str, step: int) -> None:
    rnn = recurrent("RNN", 0.0, 1.0, nonlinearity="relu", bidirectional=True)
    rnn.load_state_dict({f"weight_hh_l0{which}": np.full((3, 3), 3e38)}, strict=False)
    x = np.zeros((7, 1, 2), np.float32)
    x[3] = 1.0  # the state is 0 until here, so the next product is the first one to overflow
    text = rf"\[matmul\] got inf from finite operands, made at time step {step} of l0{which}, test_anomaly.py:\d+: rnn"
    with pytest.raises(GraphError, match=text), tg.detect_anomaly():
        rnn(tg.tensor(x))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_gradient_inside_a_recurrent_layer_names_the_time_step(kind: str) -> None:
    rnn = recurrent(kind, 1e20, 0.0)  # the state is 0, its gradient grows by this factor per step back
    with pytest.raises(GraphError, match=r"backward\] got .* of the forward call at time step [123] of l0, "):
        backward_of_the_last_step(rnn)


def backward_of_the_last_step(rnn: Any) -> None:
    x = tg.zeros(5, 1, 2)
    with tg.detect_anomaly():
        rnn(x)[0][-1].sum().backward()


def test_after_the_loop_no_time_step_is_named() -> None:
    rnn = recurrent("GRU", 0.0, 0.0)
    with pytest.raises(GraphError, match=r"made at test_anomaly.py:\d+"), tg.detect_anomaly():
        rnn(tg.zeros(5, 1, 2))[0] / 0.0
