"""What an example is made of: fractional numbers are data, in the dtype of the model's parameters, as in `tg.fit`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import DTypeError

NUMBERS = [[1.5, -2.0], [0.25, 3.0], [1.0, 2.0]]
EXAMPLES: dict[str, Callable[[], Any]] = {
    "list": lambda: NUMBERS,
    "float64": lambda: np.array(NUMBERS),
    "float32": lambda: np.array(NUMBERS, np.float32),
    "float16": lambda: np.array(NUMBERS, np.float16),
}
FILES = {"c": "m.c", "object": "m.o", "wasm": "m.wasm"}


def arrays(target: Path) -> dict[str, dict[str, Any]]:
    """What lies in the memory of a WebAssembly module, by name."""
    layout = re.search(r"^const layout = (.*);$", target.with_suffix(".js").read_text(), re.MULTILINE)
    assert layout is not None
    found: dict[str, dict[str, Any]] = json.loads(layout[1])["arrays"]
    return found


def input_dtype(target: Path) -> str:
    """The dtype of the first input, as the text beside a file tells it."""
    if target.suffix == ".wasm":
        return str(next(iter(arrays(target).values()))["dtype"])
    found = re.search(r"model_run\(const (\w+) \*", target.with_suffix(".h").read_text())
    assert found is not None
    return {"float": "float32", "double": "float64", "int64_t": "int64"}[found[1]]


def scaled() -> nn.Module:
    return nn.Sequential(nn.StandardScaler().fit(np.array(NUMBERS)), nn.Linear(2, 1))


def frozen() -> nn.Module:
    model = nn.Linear(2, 1).double()
    model.requires_grad_(False)
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "float32": (lambda: nn.Linear(2, 1), "float32"),
    "float64": (lambda: nn.Linear(2, 1).double(), "float64"),
    "with a scaler": (scaled, "float32"),
    "frozen": (frozen, "float64"),
    "without parameters": (nn.Tanh, "float32"),
}


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", FILES)
def test_fractional_numbers_take_the_dtype_of_the_model(kind: str, model: str, example: str, tmp_path: Path) -> None:
    made, dtype = MODELS[model]
    target = tmp_path / FILES[kind]
    options: dict[str, Any] = {"target": "cortex-m4"} if kind == "object" else {}
    getattr(tg.export, kind)(made(), EXAMPLES[example](), path=target, **options)
    assert input_dtype(target) == dtype


def step_of(model: nn.Module) -> Any:
    opt = optim.SGD(model.parameters(), lr=0.1)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return step


def test_a_step_and_the_columns_of_a_run_are_data_too(tmp_path: Path) -> None:
    model, x, y = nn.Linear(2, 1), np.array(NUMBERS), [[1.0], [2.0], [3.0]]
    step = step_of(model)
    tg.export.c(model, x, path=tmp_path / "m.c", train=(step, x, y))
    assert "double" not in (tmp_path / "m.h").read_text()
    tg.export.wasm(step, x, y, path=tmp_path / "m.wasm", data=(x, y))
    found = arrays(tmp_path / "m.wasm")
    assert [found[name]["dtype"] for name in ("data0", "data1", "weight")] == ["float32"] * 3


def test_whole_numbers_stay(tmp_path: Path) -> None:
    tg.export.c(nn.Embedding(5, 2), [[1, 2], [3, 4]], path=tmp_path / "m.c")
    assert input_dtype(tmp_path / "m.c") == "int64"


def test_tensors_keep_their_dtype(tmp_path: Path) -> None:
    tg.export.c(nn.Tanh(), tg.tensor(np.array(NUMBERS)), path=tmp_path / "m.c")
    assert input_dtype(tmp_path / "m.c") == "float64"
    with pytest.raises(DTypeError, match=r"\[linear\] got dtypes float64 and float32"):
        tg.export.c(nn.Linear(2, 1), tg.tensor(np.array(NUMBERS)), path=tmp_path / "n.c")
    assert not (tmp_path / "n.c").exists()
