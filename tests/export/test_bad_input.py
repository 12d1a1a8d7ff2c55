"""What cannot be exported, for every form and every parameter that its signature has: an error, and no file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.export.cases import stepping
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import ExportError, FileError, TinygradError, TraceError

X, Y = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])
FORMS = {"c": "m.c", "object": "m.o", "wasm": "m.wasm", "onnx": "m.onnx"}
ALWAYS: Mapping[str, Mapping[str, Any]] = {"object": {"target": "cortex-m4"}}


def step() -> Any:
    """One that trains."""
    net = nn.Linear(3, 2)
    return stepping(net, optim.SGD(net.parameters(), lr=0.1))


class Opaque(nn.Module):
    """It leaves for NumPy and comes back."""

    def forward(self, x: Any) -> Any:
        return tg.tensor(x.numpy() * 2)


def reads(x: Any) -> Any:
    return x if x.sum() > 0 else -x


def changes(x: Any, seen: list[int] = []) -> Any:  # noqa: B006
    return x.add_(1)


FUNCTIONS: dict[str, Any] = {
    "a number": 3, "None": None, "a text": "x", "a class": nn.Linear, "NumPy in between": Opaque(), "a read": reads,
    "an argument that is written": changes, "no result": lambda x: None, "a number as result": lambda x: 3,
    "an array as result": lambda x: np.ones(3), "a generator": lambda x: (row for row in x), "print": print,
    "a ufunc": np.exp, "training": nn.BatchNorm1d(3), "dropout": nn.Dropout(0.5), "random": lambda x: x + tg.rand(3),
    "another module": nn.Linear(5, 1), "an opaque factor": lambda x: tg.linalg.inv(x[:3]),
}  # fmt: skip
EXAMPLES: dict[str, tuple[Any, ...]] = {
    "nothing": (), "too many": (X, X), "None": (None,), "a text": ("x",), "objects": (np.array([None]),),
    "complex": (X + 1j,), "ragged": ([[1.0], [2.0, 3.0]],), "a dict": ({"x": X},),
    "dates": (np.array(["2020"], "M8[D]"),), "other shapes": (np.ones((4, 5)),),
    "a mask": (np.ma.masked_array(X, X > 0),), "a generator": (iter(X),),
}  # fmt: skip
PATHS: dict[str, Callable[[Path], Any]] = {
    "a number": lambda here: 3, "None": lambda here: None, "bytes": lambda here: b"m.c", "nothing": lambda here: "",
    "NUL": lambda here: here / "m\0.c", "no folder": lambda here: here / "none" / "m.c",
    "too long": lambda here: here / ("m" * 300),
    "a device": lambda here: "/dev/null", "below a file": lambda here: Path(__file__) / "m.c",
}  # fmt: skip
WRONG: dict[str, tuple[Any, ...]] = {
    "name": (3, None, b"x", ["x"]),
    "train": (3, (), "x", (nn.Linear(3, 2),), (lambda x, y: x, X, Y), (nn.ReLU(), X), X),
    "batch_size": (-1, 0, 1.5, "x", True, 10**9, float("nan")),
    "shuffle": ("x", None, 3),
    "golden": (-1, 1.5, "x", None, True, 10**30, float("nan")),
    "fold": ("x", None, 3),
    "target": ("avr", "", 3, None, ["host"], "HOST", "../host"),
    "data": (3, (), "x", (X,), (X, Y[:2]), ((), ()), (X, ["a"] * 4), {"x": X}),
    "evaluate": (3, "x", lambda: 3),
    "seed": ("x", 1.5, [1]),
    "batch": (-1, 0.5, "x", True, [0], 5, float("nan")),
}
NEEDS: dict[tuple[str, str], Callable[[], tuple[Any, tuple[Any, ...], dict[str, Any]]]] = {  # calls that read it
    ("c", "batch_size"): lambda: (nn.Linear(3, 2), (X,), {"train": (step(), X, Y)}),
    ("c", "shuffle"): lambda: (nn.Linear(3, 2), (X,), {"train": (step(), X, Y), "batch_size": 2}),
    ("wasm", "data"): lambda: (step(), (X, Y), {}),
    ("wasm", "evaluate"): lambda: (step(), (X, Y), {"data": (X, Y)}),
    ("wasm", "shuffle"): lambda: (step(), (X, Y), {"data": (X, Y)}),
    ("wasm", "seed"): lambda: (step(), (X, Y), {"data": (X, Y), "shuffle": True}),
}


def refused(form: str, here: Path, f: Any, *example: Any, path: Any = FORMS, **options: Any) -> TinygradError:
    """The error of a call that leaves nothing behind."""
    target = here / FORMS[form] if path is FORMS else path
    with pytest.raises(TinygradError) as caught:
        getattr(tg.export, form)(f, *example, path=target, **{**ALWAYS.get(form, {}), **options})
    assert not [*here.iterdir()]
    assert str(caught.value).startswith("[")
    return caught.value


@pytest.mark.parametrize("what", FUNCTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_functions(form: str, what: str, tmp_path: Path) -> None:
    error = refused(form, tmp_path, FUNCTIONS[what], X)
    if isinstance(error, TraceError) and what not in ("print", "a ufunc", "an argument that is written"):
        assert f"at {Path(__file__).name}:" in str(error)


@pytest.mark.parametrize("what", EXAMPLES)
@pytest.mark.parametrize("form", FORMS)
def test_examples(form: str, what: str, tmp_path: Path) -> None:
    refused(form, tmp_path, nn.Linear(3, 2), *EXAMPLES[what])


@pytest.mark.parametrize("what", PATHS)
@pytest.mark.parametrize("form", FORMS)
def test_paths(form: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.listdir("/dev")
    error = refused(form, tmp_path, nn.Linear(3, 2), X, path=PATHS[what](tmp_path))
    assert isinstance(error, FileError | ExportError)
    assert len(os.listdir("/dev")) == len(before)


def settings() -> list[Any]:
    """Each parameter of each form."""
    return [
        pytest.param(form, name, id=f"{form} {name}")
        for form in FORMS
        for name, one in inspect.signature(getattr(tg.export, form)).parameters.items()
        if name != "path" and one.kind is one.KEYWORD_ONLY
    ]


def test_every_form_is_here() -> None:
    assert sorted(FORMS) == sorted(tg.export.__all__)


@pytest.mark.parametrize(("form", "name"), settings())
def test_settings(form: str, name: str, tmp_path: Path) -> None:
    for value in WRONG[name]:
        f, example, others = NEEDS.get((form, name), lambda: (nn.Linear(3, 2), (X,), {}))()
        refused(form, tmp_path, f, *example, **{**others, name: value})


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a??x", "a\udcffb"])
def test_a_file_that_c_cannot_include(name: str, tmp_path: Path) -> None:
    assert isinstance(refused("c", tmp_path, nn.Linear(3, 2), X, path=tmp_path / f"{name}.c"), ExportError)


NAMES = ('a"b*/', "int", "class", "x" * 10**5, "../x", "", "??/", "\n#error", "\u00e9", "%s")


@pytest.mark.parametrize(
    ("form", "name"), [*(("c", name) for name in NAMES), *(("object", name) for name in NAMES[:5])]
)
def test_names_become_identifiers(form: str, name: str, tmp_path: Path) -> None:
    target = tmp_path / FORMS[form]
    tg.export.c(nn.ReLU(), X, path=target, name=name) if form == "c" else tg.export.object(
        nn.ReLU(), X, path=target, name=name, target="cortex-m4"
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["m.h", target.name])
    (line,) = (line for line in target.with_suffix(".h").read_text().splitlines() if "_run(" in line)
    function = line.removeprefix("int ").partition("_run(")[0]
    assert function.isidentifier()
    assert len(function) <= 42
