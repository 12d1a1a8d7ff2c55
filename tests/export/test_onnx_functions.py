"""What is composed of ops, as ONNX: functions of tensors, and PyTorch's own samples of its modules, in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.export.runtime import DISTANCE, apart, session
from tests.nn.test_torch_samples import MODULES, Inputs, samples
from tests.tensor.composed_cases import CASES, Case
from tinygrad_nn import nn

BY_NAME = {
    name: [one for one in cases if one.compiles]
    for file, functions in CASES.items()
    for name, cases in functions.items()
    if file != "factoring" and name not in ("gammainc", "gammaincc", "igammac")
}  # factors of matrices are for eager code; the others are long, and as igamma
LOOSE = {"log_ndtr": 1e-4, "erfcx": 1e-4}  # e ** (x * x) beside its rounding error
VARYING = ("CTCLoss",)  # the lengths of its targets are values


def flat(value: Any) -> list[tg.Tensor]:
    """The tensors in nested arguments or results."""
    if isinstance(value, tuple | list):
        return [one for part in value for one in flat(part)]
    return [value] if isinstance(value, tg.Tensor) else []


def filled(value: Any, tensors: Iterator[Any]) -> Any:
    """Nested arguments with other tensors in them."""
    if isinstance(value, tuple | list):
        return type(value)([filled(part, tensors) for part in value])
    return next(tensors) if isinstance(value, tg.Tensor) else value


def single(tensor: tg.Tensor) -> tg.Tensor:
    return tensor.detach().float() if tensor.dtype.kind == "f" else tensor.detach()


def check(call: Callable[..., Any], given: Sequence[Any], path: Path, distance: float = DISTANCE) -> None:
    """A call whose tensors are inputs of the file."""
    tensors = [single(one) for one in flat(given)]

    def f(*tensors: Any) -> Any:
        found = flat(call(*filled(tuple(given), iter(tensors))))
        return tuple(found) if len(found) > 1 else found[0]

    with tg.no_grad():
        expected = flat([f(*tensors)])
    ready = session(tg.export.onnx(f, *tensors, path=path / "m.onnx"))
    got = ready.run(None, {one.name: x.numpy() for one, x in zip(ready.get_inputs(), tensors, strict=True)})
    for one, other in zip(got, expected, strict=True):
        assert apart(one, other.numpy()) <= distance


@pytest.mark.parametrize("name", [name for name, cases in BY_NAME.items() if cases])
def test_functions(name: str, tmp_path: Path) -> None:
    one: Case = BY_NAME[name][0]
    given = [tg.tensor(x) if isinstance(x, np.ndarray) else x for x in one.operands]
    check(lambda *given: one.call(tg, *given), given, tmp_path, LOOSE.get(name, DISTANCE))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in MODULES if name not in VARYING])
def test_modules(name: str, tmp_path: Path) -> None:
    sample, inputs = samples(name, False)[-1], Inputs()
    made, given = sample.constructor_input, sample.forward_input
    model = getattr(nn, name)(*inputs(made.args), **inputs(made.kwargs)).float().eval()
    args, kwargs = inputs(given.args), inputs(given.kwargs)
    if name.startswith("Lazy"):
        model(*map(single, args))
    check(
        lambda *all_: model(*all_[: len(args)], **dict(zip(kwargs, all_[len(args) :], strict=True))),
        (*args, *kwargs.values()),
        tmp_path,
    )
