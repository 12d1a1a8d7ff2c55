"""What the reference says of every public name: what it is for, an example that runs, shapes, errors; and that what is
derived from code (shapes of examples, errors) is what the code does.

What is missing today is counted in WITHOUT_SHAPES, which may only fall.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn import errors
from tinygrad_nn import functional as F

sys.path.append(str(Path(__file__).parents[1] / "docs" / "_ext"))
from names import Name, everything, members, public
from raised import raised
from shapes import SEEN, shapes

SHAPE = re.compile(r"shape|\((\w+|\.\.\.)?, |\(\w+,\)")
WITHOUT_SHAPES = 64  # of what computes with tensors: neither text nor example shows one; may only fall
ALL = {full: name for full, name in everything().items() if not full.endswith("__")}


def failed(name: Name) -> bool:
    return inspect.isclass(name.value) and issubclass(name.value, Exception)


def test_doors_are_there() -> None:
    assert len(ALL) > 900
    assert {"tinygrad_nn.fit", "tinygrad_nn.nn.Linear", "tinygrad_nn.functional.mse_loss"} <= ALL.keys()
    assert "tinygrad_nn.nn.utils.rnn.padded" not in ALL  # what files take from each other


def test_each_says_in_its_first_line_what_it_is_for() -> None:
    silent = [full for full, name in ALL.items() if not re.match(r"\S.*", name.doc.partition("\n\n")[0])]
    assert silent == []


def test_each_has_an_example() -> None:
    assert [full for full, name in ALL.items() if not name.examples and not failed(name)] == []


def test_methods_say_what_they_are_for() -> None:
    silent = [
        f"{full}.{inner}"
        for full, name in ALL.items()
        if inspect.isclass(name.value) and name.door not in ("", "sklearn")
        for inner, value in vars(name.value).items()
        if inner[0] != "_" and inspect.isfunction(value) and not inspect.getdoc(getattr(name.value, inner))
    ]
    assert silent == []
    assert members(tg.nn.Linear).keys() >= {"forward", "reset_parameters"}


def test_functions_of_tensors_show_shapes() -> None:
    seen = [name for name in ALL.values() if name.home.startswith(SEEN)]
    shown = {name.full for name in seen if shapes(name) is not None}
    without = [name.full for name in seen if name.full not in shown and not SHAPE.search(name.doc)]
    assert len(shown) > 600
    assert len(without) <= WITHOUT_SHAPES, without


def test_shapes_are_those_of_the_call() -> None:
    def product(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        """Of matrices.

        >>> import tinygrad_nn as tg
        >>> product(tg.ones(2, 3), y=tg.ones(3, 5)).shape
        (2, 5)
        """
        return x @ y

    product.__module__ = "tinygrad_nn.functional.loss"
    F.loss.product = product
    try:
        assert shapes(Name("functional", "product", product)) == "x (2, 3), y (3, 5) → (2, 5)"
    finally:
        del F.loss.product


@pytest.mark.parametrize(
    ("function", "call", "error"),
    [
        (F.mse_loss, lambda: F.mse_loss(tg.ones(2), tg.ones(3)), errors.ShapeError),
        (F.mse_loss, lambda: F.mse_loss(tg.ones(2), tg.ones(2), reduction="none of these"), errors.ConfigError),
        (tg.nn.Linear, lambda: tg.nn.Linear(-1, 2), errors.ConfigError),
        (tg.nn.Dropout, lambda: tg.nn.Dropout(2.0), errors.ConfigError),
        (tg.reshape, lambda: tg.reshape(tg.ones(4), (3,)), errors.ShapeError),
    ],
)
def test_errors_are_those_that_are_raised(function: Any, call: Any, error: type[errors.TinygradError]) -> None:
    found = raised(function)
    with pytest.raises(error) as caught:
        call()
    assert error.__name__ in found
    words = {word for text in found[error.__name__] for word in re.findall(r"[a-z]+", text)}
    assert words & set(re.findall(r"[a-z]+", str(caught.value)))


@pytest.mark.parametrize("module", ["raised", "shapes", "pictures"])
def test_examples_of_the_extensions_run(module: str) -> None:
    if module == "pictures":
        pytest.importorskip("sphinx")
    assert doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS).failed == 0


def test_names_of_a_door_are_those_that_it_lists() -> None:
    assert {name.name for name in public("export")} >= {"c", "object", "onnx", "wasm"}
    assert {name.name for name in public("metrics")} >= {"accuracy", "RocCurve"}  # of its own, and taken from elsewhere
    assert not {"np", "Any", "cast", "Callable"} & {name.name for name in public("linalg")}
