"""Register tiles and packing: what kernels compute with them, on vectors of any width, and where they are chosen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import Tensor
from tinygrad_nn import functional as F
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.driver import Compilation
from tinygrad_nn.compiler.loopir.ir import Assign, Kernel
from tinygrad_nn.compiler.schedule import packing, tiles
from tinygrad_nn.compiler.schedule.schedule import schedule
from tinygrad_nn.testing import agreement


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small kernels are tiled too, as if their code cost nothing and caches were tiny."""
    monkeypatch.setattr(tiles, "FROM", 1)
    monkeypatch.setattr(tiles, "CODE", 0.01)
    monkeypatch.setattr(tiles, "FIRST", 64)


def arrays(*shapes: tuple[int, ...], dtype: str = "float64") -> list[Any]:
    rng = np.random.default_rng(len(shapes))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def compiled(function: Callable[..., Any], values: list[Any]) -> Compilation:
    stages: Compilation = tg.jit(function).entry(tuple(map(tg.tensor, values)), {}).compiled.stages
    return stages


def folds(kernels: tuple[Kernel, ...]) -> list[Kernel]:
    return [one for one in kernels if one.jam or one.wide > 1]


def agree(function: Callable[..., Any], values: list[Any]) -> None:
    """NumPy, the interpreter, expanded code of every width and machine code give the same."""
    stages = compiled(function, values)
    assert folds(stages.schedule.program.kernels)
    assert not agreement.check(stages.graph, values).problems


SHAPES = ((1, 3, 40), (5, 2, 33), (7, 5, 19), (13, 4, 16), (26, 3, 9), (31, 14, 2), (17, 13, 50))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_with_anything_left_over(everywhere: None, shape: tuple[int, int, int], dtype: str) -> None:
    m, k, n = shape
    agree(lambda x, y: x @ y, arrays((m, k), (k, n), dtype=dtype))


@pytest.mark.parametrize("transposed", ["xy", "Xy", "xY", "XY"])
def test_products_of_transposed_matrices(everywhere: None, transposed: str) -> None:
    m, k, n = 11, 6, 21

    def product(x: Tensor, y: Tensor) -> Tensor:
        return (x.T if "X" in transposed else x) @ (y.T if "Y" in transposed else y)

    agree(product, arrays((k, m) if "X" in transposed else (m, k), (n, k) if "Y" in transposed else (k, n)))


EPILOGUES: dict[str, Callable[..., Any]] = {
    "bias and relu": lambda x, y, b, z: (x @ y + b).relu(),
    "mask": lambda x, y, b, z: (x @ y) * (z > 0),
    "residual": lambda x, y, b, z: z + (x @ y + b).tanh(),
    "of two products": lambda x, y, b, z: (x @ y + z[:, :7] @ y[:7] + b).sigmoid(),
    "masked operand": lambda x, y, b, z: x @ ((y > 0) * y + 1.0),
    "softmax": lambda x, y, b, z: (x @ y).softmax(1),
}


@pytest.mark.parametrize("name", EPILOGUES)
def test_what_is_done_with_a_product(everywhere: None, name: str) -> None:
    agree(EPILOGUES[name], arrays((14, 7), (7, 19), (19,), (14, 19)))


def test_batches_of_products(everywhere: None) -> None:
    agree(lambda x, y: x @ y, arrays((2, 3, 7, 5), (2, 1, 5, 18)))


def test_a_new_value_of_the_state_is_made_in_place(everywhere: None) -> None:
    w = tg.tensor(np.ones((13, 21)))

    def step(x: Tensor, g: Tensor) -> Tensor:
        w.copy_(w - 0.1 * (x.T @ g))
        return w.sum()

    x, g = arrays((6, 13), (6, 21))
    tg.jit(step)(tg.tensor(x), tg.tensor(g))
    np.testing.assert_allclose(w.numpy(), 1 - 0.1 * (x.T @ g), rtol=1e-12)


def tile_of(width: int, registers: int, *shapes: tuple[int, ...], dtype: str = "float32") -> Kernel:
    stages = compiled(lambda x, y: x @ y, arrays(*shapes, dtype=dtype))
    kernel, *_ = folds(schedule(stages.program, width, registers).program.kernels)
    return kernel


@pytest.mark.parametrize(("width", "registers"), [(64, 32), (32, 16), (16, 16), (16, 32)])
@pytest.mark.parametrize("size", [64, 100, 128, 257])
def test_accumulators_fill_the_registers_but_no_more(width: int, registers: int, size: int) -> None:
    kernel = tile_of(width, registers, (size, size), (size, size))
    (rows,) = kernel.jam.values()
    assert registers / 2 - 2 <= kernel.wide * rows <= registers - 3


def test_a_wide_vector_axis_is_left_for_few_rows() -> None:
    assert tile_of(64, 32, (4, 64), (64, 256)).wide == 4
    assert tile_of(64, 32, (256, 64), (64, 16)).wide == 1


def test_a_sum_over_pictures_has_its_lanes_along_them() -> None:
    """The gradient of few and small filters: lanes along a filter would be nearly empty."""

    def gradient(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        return tg.grad(lambda w: (F.conv2d(x, w) ** 2).sum())(w)

    stages = compiled(gradient, arrays((8, 1, 28, 28), (6, 1, 5, 5), dtype="float32"))
    *_, kernel = folds(stages.schedule.program.kernels)
    assert kernel.vector is not None
    assert kernel.vector.extent == 24
    assert len(kernel.jam) == 2


def test_a_small_product_is_not_tiled() -> None:
    stages = compiled(lambda x, y: x @ y, arrays((8, 8), (8, 8)))
    (kernel,) = stages.program.kernels
    planned = schedule(stages.program, 64, 32)
    (shaped,) = planned.program.kernels
    inner = {buffer: layout.inner for buffer, layout in planned.layouts.items()}
    assert tiles.tile(replace(kernel, vector=shaped.vector), 64, 32, inner) is None


def test_a_large_operand_is_taken_panel_by_panel() -> None:
    large, small = tile_of(64, 32, (64, 128), (128, 256)), tile_of(64, 32, (64, 64), (64, 64))
    assert [one.body[0].var is one.vector for one in (large, small)] == [True, False]  # type: ignore[union-attr]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["plain", "bias and relu", "mask"])
def test_accumulators_stay_in_registers(op: str, dtype: str) -> None:
    if not native.host().triple.startswith("x86_64"):
        pytest.skip("reads x86 assembly")
    function = EPILOGUES.get(op, lambda x, y, b, z: x @ y)
    stages = compiled(function, arrays((96, 80), (80, 128), (128,), (96, 128), dtype=dtype))
    loops = re.findall(r"(\.LBB\S+):\n((?:\t.*\n)+?)\tj\w+\t\1\n", stages.assembly())
    multiplying = [body for _, body in loops if re.search("vfmadd|mulp", body)]
    assert multiplying
    assert not any("(%rsp" in body for body in multiplying)


# ---- packing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def packs(everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rows share is packed, be it small."""
    monkeypatch.setattr(packing, "FROM", 1)
    monkeypatch.setattr(packing, "ROWS", 2)
    monkeypatch.setattr(packing, "COLUMNS", 1)


def is_packed(function: Callable[..., Any], values: list[Any]) -> bool:
    return any(kernel.name.endswith("_rest") for kernel in compiled(function, values).schedule.program.kernels)


@pytest.mark.parametrize(("columns", "dtype"), [(67, "float32"), (75, "float64")])
@pytest.mark.parametrize("transposed", ["xy", "Xy", "xY", "XY"])
def test_packed_products(packs: None, transposed: str, columns: int, dtype: str) -> None:
    m, k, n = 13, 14, columns

    def product(x: Tensor, y: Tensor) -> Tensor:
        return (x.T if "X" in transposed else x) @ (y.T if "Y" in transposed else y)

    values = arrays((k, m) if "X" in transposed else (m, k), (n, k) if "Y" in transposed else (k, n), dtype=dtype)
    assert is_packed(product, values)
    agree(product, values)


@pytest.mark.parametrize("name", EPILOGUES)
def test_what_is_done_with_a_packed_product(packs: None, name: str) -> None:
    values = arrays((14, 7), (7, 75), (75,), (14, 75))
    assert is_packed(EPILOGUES[name], values)
    agree(EPILOGUES[name], values)


def test_what_all_rows_share_is_computed_once(packs: None) -> None:
    program = compiled(lambda x, y: x @ ((y > 0) * y), arrays((14, 14), (14, 66))).schedule.program
    changes = [one.value for kernel in program.kernels for one, _ in kernel.statements if isinstance(one, Assign)]
    assert changes
    assert all(value.op == "fma" and all(arg.op == "param" for arg in value.args) for value in changes)


@pytest.mark.parametrize("columns", [64, 67])
def test_a_new_value_of_the_state_is_written_once(packs: None, columns: int) -> None:
    w = tg.tensor(np.ones((13, columns)))

    def step(x: Tensor, g: Tensor) -> Tensor:
        w.copy_(w - 0.1 * (x.T @ g))
        return x.sum()

    x, g = arrays((6, 13), (6, columns))
    jitted = tg.jit(step)
    for turn in (1, 2):
        jitted(tg.tensor(x), tg.tensor(g))
        np.testing.assert_allclose(w.numpy(), 1 - 0.1 * turn * (x.T @ g), rtol=1e-12)
    names = [
        kernel.name
        for kernel in jitted.entry((tg.tensor(x), tg.tensor(g)), {}).compiled.stages.schedule.program.kernels
    ]
    assert not any("copy" in name for name in names)  # the new one lies where the old one did


def test_rows_in_blocks_over_packed_panels(packs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BLOCK", 65 * 2 * 8)
    values = arrays((195, 2), (2, 96))

    def product(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y).relu()

    for width in (16, 32, 64):
        first, second = schedule(compiled(product, values).program, width).program.kernels
        assert first.name.endswith("_pack")
        assert [var.extent for _, around in second.statements for var in around].count(3)  # blocks of 65 rows
    agree(product, values)


def test_a_small_product_is_not_packed() -> None:
    program = compiled(lambda x, y: x @ y, arrays((100, 100), (100, 100))).schedule.program
    assert len(program.kernels) == 1
    assert len(program.buffers) == 3


@pytest.mark.parametrize("rows", [26, 31, 35])
def test_the_rows_of_a_short_last_batch_overlap(everywhere: None, rows: int) -> None:
    """13 rows a batch and one, five or nine more: the last tile repeats some rows of the one before."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 14)), rng.normal(size=(rows, 18))

    def trained(compiled: bool) -> Any:
        tg.manual_seed(0)
        w = tg.tensor(np.full((14, 18), 0.1, np.float32))

        def step(x: Tensor, y: Tensor) -> Tensor:
            error = (x @ w).tanh() - y
            w.copy_(w - 0.01 * (x.T @ error))
            return (error * error).mean()

        tg.fit(tg.jit(step) if compiled else step, (x, y), 2, batch_size=13, progress=False, seed=0)
        return w.numpy()

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-4, atol=1e-6)
