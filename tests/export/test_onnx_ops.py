"""Every op as ONNX: each case of the table in every dtype, random cases, and what is refused, with its reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.export.runtime import DISTANCE, apart, compare, not_implemented, session
from tinygrad_nn import nn
from tinygrad_nn.errors import ExportError, TraceError
from tinygrad_nn.graph.graph import Arg, Case, Op
from tinygrad_nn.ops import TABLE, linalg
from tinygrad_nn.ops.rules import DTYPES, FLOAT64, INT32, INT64, same_dtype, same_shape
from tinygrad_nn.testing.samples import dtypes_of, operands

OPS = [op for op in TABLE.values() if op.kind != "source"]
ABSENT = ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2")
HERE = Path(__file__).name
DRAWS = 8  # random cases of an op
SQUARE = np.eye(3, dtype=np.float32) * 2


def all_dtypes(op: Op, case: Case) -> Iterator[list[Any]]:
    """The dtypes that the operands of a case may have."""
    for dtype, index in itertools.product(DTYPES, (INT32, INT64)):
        found = dtypes_of(op, case, dtype, index)
        if found and (index == INT64 or INT32 in found):
            yield found


def drawn(case: Case, dtypes: Sequence[Any], seed: int = 0) -> list[Any]:
    values = operands(case, np.random.default_rng(seed))
    return [
        np.asarray(np.floor(v * 4) if d.kind == "i" and v.dtype.kind == "f" else v).astype(d)
        for v, d in zip(values, dtypes, strict=True)
    ]


def check(op: Op, values: Sequence[Any], attrs: Any, path: Path) -> None:
    """The op as a file gives what it gives here, in onnxruntime and as a module. onnxruntime lacks what is ABSENT for
    float64.
    """
    tensors = [tg.tensor(one, dtype=one.dtype) for one in values]

    def f(first: Any, *others: Any) -> Any:
        return first.apply(op, *others, **attrs)

    file = tg.export.onnx(f, *tensors, path=path / "op.onnx")
    assert apart(tg.import_onnx(file)(*values).numpy(), f(*tensors).numpy()) <= DISTANCE
    if op.name in ABSENT and FLOAT64 in [one.dtype for one in values]:
        with pytest.raises(not_implemented()):
            session(file)
        return
    ready = session(file)
    (got,) = ready.run(None, {one.name: value for one, value in zip(ready.get_inputs(), values, strict=True)})
    assert apart(got, f(*tensors).numpy()) <= DISTANCE


def named(ops: Sequence[Op]) -> Any:
    return pytest.mark.parametrize("op", ops, ids=lambda op: op.name)


@named(OPS)
def test_every_op_in_every_dtype(op: Op, tmp_path: Path) -> None:
    for case in op.domain:
        for dtypes in all_dtypes(op, case):
            check(op, drawn(case, dtypes), case.attrs, tmp_path)


def longer(arg: Arg, shape: Any, rng: np.random.Generator) -> Arg:
    """An operand whose lengths are all known."""
    lengths = shape if arg.shape is None else arg.shape
    return replace(arg, shape=tuple(int(rng.integers(1, 4)) if n == -1 else int(n) for n in lengths))


@named([op for op in OPS if op.vary])
def test_random_cases(op: Op, tmp_path: Path) -> None:
    count = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        shape = tuple(int(n) for n in rng.choice([0, 1, 2, 3, 4, 5], size=rng.integers(0, 4)))
        case = op.vary(rng, shape) if op.vary else None
        if case is None or any(arg.low >= arg.high for arg in case.args):  # no index fits an axis without elements
            continue
        if op.kind == "reduce" and 0 in shape and op.name not in ("sum", "prod"):
            continue
        case = Case(tuple(longer(arg, shape, rng) for arg in case.args), case.attrs)
        dtypes = [*all_dtypes(op, case)]
        check(op, drawn(case, dtypes[seed % len(dtypes)], seed), case.attrs, tmp_path)
        count += 1
    assert count


def test_whole_numbers_to_any_power_and_shifts_by_any_count(tmp_path: Path) -> None:
    for dtype in (INT32, INT64):
        some = np.array([0, 1, -1, 2, -3, 7, 31, 32, 63, 64, 46341, -100000, 2**31 - 1, -(2**31)], dtype)
        pairs = [one.reshape(-1) for one in np.meshgrid(some, some)]
        for name in ("pow", "shift_left", "shift_right"):
            check(TABLE[name], pairs, {}, tmp_path)
        for name in ("remainder", "fmod", "floor_divide"):  # the least by -1 ends the process of onnxruntime
            x, y = (one[(pairs[1] != 0) & (pairs[1] != -1)] for one in pairs)
            check(TABLE[name], (x, y), {}, tmp_path)


def test_angles_in_every_direction(tmp_path: Path) -> None:
    some = np.array([0.0, 1, -1, 1e-30, -1e30, np.inf, -np.inf, np.nan], np.float32)
    check(TABLE["atan2"], [one.reshape(-1) for one in np.meshgrid(some, some)], {}, tmp_path)


def test_a_loop_that_reads_no_entries(tmp_path: Path) -> None:
    def f(x: Any) -> Any:
        last, every = tg.scan(lambda c, _: (c * 0.5 + x, c), x * 0, length=4)
        return last, every

    x = np.ones((2, 3), np.float32)
    ready = session(tg.export.onnx(f, x, path=tmp_path / "m.onnx"))
    for got, one in zip(ready.run(None, {"x": x}), f(tg.tensor(x)), strict=True):
        assert apart(got, one.numpy()) <= DISTANCE


FACTORS = [
    one for one in vars(linalg).values() if isinstance(one, Op) and one.composed is None and one.name not in TABLE
]
CALLS = {
    "inverse": tg.linalg.inv, "solve": lambda x: tg.linalg.solve(x, x), "pinv": tg.linalg.pinv, "det": tg.linalg.det,
    "logabsdet": tg.linalg.slogdet, "det_sign": tg.linalg.slogdet, "eigh": tg.linalg.eigh, "svd": tg.linalg.svd,
    "qr": tg.linalg.qr, "matrix_exp": tg.linalg.matrix_exp,
}  # fmt: skip


@named([op for op in FACTORS if op.name != "cofactors"])  # which the gradient of det alone computes
def test_factors_of_matrices_are_for_eager_code(op: Op, tmp_path: Path) -> None:
    def f(x: Any) -> Any:
        return CALLS[op.name](x)

    with pytest.raises(TraceError, match=rf"\[\w+\] got a traced matrix at {HERE}:\d+: "):
        tg.export.onnx(f, SQUARE, path=tmp_path / "m.onnx")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["cholesky", "solve_triangular"])
def test_factors_that_are_composed(name: str, tmp_path: Path) -> None:
    calls = {"cholesky": tg.linalg.cholesky, "solve_triangular": lambda x: tg.linalg.solve_triangular(x, x, upper=True)}
    x = np.array([[4, 1, 0], [1, 3, 1], [0, 1, 5]], np.float32)
    compare(tg.export.onnx(calls[name], x, path=tmp_path / "m.onnx"), calls[name], (x,))


SOFTCAP = Op("softcap", "elementwise", same_shape("softcap"), same_dtype("softcap", "f"), np.tanh)


class Head(nn.Module):
    """Its last line has an op that ONNX does not have."""

    def forward(self, x: Any) -> Any:
        return (x + 1).apply(SOFTCAP)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda x: x.apply(SOFTCAP), r"\(lambda x: x.apply\(SOFTCAP\),"),
        (nn.Sequential(nn.Linear(3, 2), Head()), r"return \(x \+ 1\).apply\(SOFTCAP\) in 1 Head;"),
        (lambda x: tg.scan(lambda c, y: (c.apply(SOFTCAP), y), x[0], x)[0], r"\(lambda x: tg.scan\(lambda c, y:"),
    ],
)
def test_an_op_without_a_form_is_named_with_its_line_and_module(f: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=rf"\[export.onnx\] got softcap of \[.*float32 at {HERE}:\d+: {words}"
    ) as caught:
        tg.export.onnx(f, SQUARE, path=tmp_path / "m.onnx")
    assert "hint: write that line with other operations" in str(caught.value)
    assert not [*tmp_path.iterdir()]
