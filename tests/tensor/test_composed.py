"""Functions composed of others: against PyTorch, to the second order, compiled, in place, loaded when they are used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.tensor.composed_cases import CASES, PLACED, Case, case
from tests.tensor.parity import FLOATS, check, flatten, torch, values
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.tensor import ALIASES, FUNCTIONS, IN_PLACE, METHODS, composed

BY_NAME = {name: cases for file in CASES.values() for name, cases in file.items()}
ALL = [pytest.param(one, id=f"{name} {k}") for name, cases in BY_NAME.items() for k, one in enumerate(cases)]
SMOOTH = [one for one in ALL if one.values[0].smooth]  # type: ignore[attr-defined]
COMPILED = [one for one in ALL if one.values[0].compiles]  # type: ignore[attr-defined]
FILES = Path(composed.__file__ or "").parent


ELSEWHERE = ("drawing", "older")  # files with tests of their own
RESHAPED = [f"{name}_" for name in ("squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze")]  # test_older.py
CALLED_OTHERWISE = {"polygamma_", *RESHAPED}  # test_gamma.py
OF_CASES = [name for name, file in METHODS.items() if file not in ELSEWHERE]


def test_every_function_has_a_case() -> None:
    named = {name: file for name, file in (METHODS | FUNCTIONS).items() if file not in ELSEWHERE}
    assert {name: file for file, cases in CASES.items() for name in cases} == named


def arrays(one: Case, dtype: Any) -> list[Any]:
    given = [np.asarray(x) if isinstance(x, np.ndarray) else x for x in one.operands]
    return [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in given]


def tensors(one: Case, requires_grad: bool = False) -> list[Any]:
    return [
        tg.tensor(x, requires_grad=requires_grad and x.dtype.kind == "f") if isinstance(x, np.ndarray) else x
        for x in arrays(one, np.float64)
    ]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("one", ALL)
def test_values_and_gradients(one: Case, dtype: Any) -> None:
    check(one.call, *arrays(one, dtype), grad=one.grad, ulps=one.ulps, grad_ulps=8 * one.ulps)


@pytest.mark.parametrize("one", SMOOTH)
def test_gradients_to_the_second_order(one: Case) -> None:
    given = tensors(one, requires_grad=True)
    leaves = [x for x in given if isinstance(x, tg.Tensor) and x.requires_grad]

    def call(*inner: Any) -> Any:
        own = iter(inner)
        found = flatten(one.call(tg, *[next(own) if any(x is leaf for leaf in leaves) else x for x in given]))
        return tuple(out for out in found if out.requires_grad)

    assert tg.testing.gradcheck(call, leaves, mode="fast")


@pytest.mark.parametrize("one", COMPILED)
def test_compiled_as_eager(one: Case) -> None:
    given = tensors(one)
    inner = [x for x in given if isinstance(x, tg.Tensor)]

    def call(*inner: Any) -> Any:
        own = iter(inner)
        return one.call(tg, *[next(own) if isinstance(x, tg.Tensor) else x for x in given])

    try:
        expected = one.call(tg, *given)
    except TinygradError as error:
        with pytest.raises(type(error)):
            tg.jit(call)(*inner)
        return
    for found, wanted in zip(flatten(tg.jit(call)(*inner)), flatten(expected), strict=True):
        assert found.dtype == wanted.dtype
        near = 1e-6 if found.dtype == tg.float32 else 1e-13
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=near, atol=near)


@pytest.mark.parametrize("name", OF_CASES)
def test_methods_are_the_functions(name: str) -> None:
    one = BY_NAME[name][0]
    x = tensors(one)[0]
    method = getattr(x, name)
    assert method.__func__ is getattr(tg.Tensor, name)
    assert name not in FUNCTIONS or method.__func__ is getattr(tg, name).__wrapped__


def called(name: str) -> Case:
    """A call of a method of the layers, with as many operands as it needs."""
    bits = name.startswith("bitwise")
    x, y = (
        (np.array([[5, 3, 6]]), np.array([2, 1, 3])) if bits else (values(1, 3, low=0.2, high=0.8), values(3, low=0.2))
    )
    parameters = inspect.signature(getattr(tg.Tensor, name)).parameters.values()
    required = [one.name for one in parameters if one.default is one.empty]
    named = {"min": 0.5} if name == "clip" else {}
    return case(name, x, *[0 if one == "dim" else y for one in required[1:]], **named)


WRITTEN = {name for name in IN_PLACE if METHODS.get(name[:-1]) not in ELSEWHERE} - CALLED_OTHERWISE


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_in_place(name: str) -> None:
    one = (BY_NAME.get(name[:-1]) or PLACED.get(name[:-1]) or (called(name[:-1]),))[0]
    x, *operands = tensors(one)
    wanted = one.call(tg, x, *operands)
    found = one.call(Written(), x, *operands)
    assert found is x
    np.testing.assert_array_equal(x.numpy(), wanted.numpy())
    leaf = tg.tensor(x.numpy().astype(np.float64), requires_grad=True)
    if x.dtype.kind != "f":  # what integers alone have is not for leaves
        return
    with pytest.raises(tg.errors.GraphError, match=rf"\[{name}\] got a leaf that requires grad"):
        one.call(Written(), leaf, *operands)


class Written:
    """A library whose functions write to their first argument."""

    def __getattr__(self, name: str) -> Any:
        return lambda x, *args, **more: getattr(x, f"{name}_")(*args, **more)


def test_type_checkers_know_the_same_names() -> None:
    """The declarations in `composed/__init__.py` are the tables of `tensor/__init__.py`, and so are the files."""
    found = {}
    for node in ast.walk(ast.parse((FILES / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found[ast.unparse(target)] = ast.unparse(node.value)
    own = {name: f"{file}.{name}" for name, file in METHODS.items() if file != "drawing"}
    own |= {name: f"{METHODS[name[:-1]]}.{name[:-1]}" for name in IN_PLACE if name[:-1] in METHODS}
    others = {name: getattr(tg.Tensor, name[:-1]).__name__ for name in IN_PLACE if name[:-1] not in METHODS}
    own |= {name: f"Contracted.{called}" for name, called in (others | ALIASES).items()}
    assert found == own
    for path in FILES.glob("[a-z]*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = {one.name for one in tree.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")}
        named = {name for name, file in (METHODS | FUNCTIONS).items() if file == path.stem}
        assert public == named or (path.stem in ELSEWHERE and public > named)
    page = Path(tg.__file__).read_text(encoding="utf-8")
    assert all(f"from .tensor.composed.{file} import" in page for file in CASES)


@pytest.mark.parametrize("name", ALIASES)
def test_second_names(name: str) -> None:
    assert getattr(tg, name) is getattr(tg, ALIASES[name])
    assert getattr(tg.Tensor, name) is getattr(tg.Tensor, ALIASES[name])
    assert hasattr(torch, name)
    assert hasattr(torch.Tensor, name)


def test_files_are_loaded_at_the_first_use() -> None:
    code = (
        "import sys, tinygrad_nn as tg; loaded = lambda: [m for m in sys.modules if 'composed' in m]; "
        "assert not loaded(), loaded(); x = tg.tensor([1.0]); x.exp(); assert not loaded(), loaded(); "
        "x.sinc(); assert 'tinygrad_nn.tensor.composed.special' in loaded(); "
        "assert 'tinygrad_nn.tensor.composed.statistics' not in loaded(); "
        "assert type(vars(tg.Tensor)['sinc']).__name__ == 'function'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
