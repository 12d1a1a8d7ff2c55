"""Names, arguments and defaults are PyTorch's, but for what `reasons.py` lists."""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_nn as tg
from tests.pytorch import names, reasons


def test_every_difference_has_a_reason_or_is_to_come() -> None:
    pending = set(names.PENDING.read_text(encoding="utf-8").splitlines())
    assert [str(one) for one, why in names.differences() if not why and str(one) not in pending] == []


def test_the_page_is_that_of_the_code() -> None:
    """If this fails: python -m tests.pytorch.names --write."""
    assert names.PAGE.read_text(encoding="utf-8") == names.page()


def test_many_names_are_compared() -> None:
    found = {area: names.public(area) for area in names.AREAS if not area.startswith(("torch.utils", "torch.dist"))}
    assert len(found["torch"]) > 400
    assert len(found["torch.nn"]) > 150
    assert min(map(len, found.values())) > 2
    counted = [name for name, value in found["torch"].items() if names.forms(value, name, "torch")]
    assert len(counted) > 400


def test_what_differs_on_purpose_does_differ() -> None:
    tables = [(area, text.split()) for area, table in reasons.DIFFERENT.items() for text in table.values()]
    found = {str(one).partition(":")[0] for one, _ in names.differences()}
    assert [f"{area}.{name}" for area, listed in tables for name in listed if f"{area}.{name}" not in found] == []


def test_functions_of_methods_take_input_by_its_name() -> None:
    x = tg.tensor([1.0, -2.0])
    for name in ("abs", "sum", "clamp", "softmax", "sort", "quantile"):
        more = {"clamp": {"min": 0}, "softmax": {"dim": 0}, "quantile": {"q": 0.5}}.get(name, {})
        assert str(getattr(tg, name)(input=x, **more)) == str(getattr(tg, name)(x, **more))


# ---- shown able to find something ------------------------------------------------------------------------------------


def like(input: Any, dim: int, keepdim: bool = False) -> None: ...
def other_name(x: Any, dim: int, keepdim: bool = False) -> None: ...
def other_default(input: Any, dim: int, keepdim: bool = True) -> None: ...
def no_default(input: Any, dim: int, keepdim: bool) -> None: ...
def shorter(input: Any, dim: int) -> None: ...
def other_order(input: Any, keepdim: bool = False, dim: int = 0) -> None: ...
def longer(input: Any, dim: int, keepdim: bool = False, more: int = 3) -> None: ...


@pytest.mark.parametrize(
    ("mine", "expected"),
    [
        (like, []),
        (longer, []),
        (other_name, ["(input): is missing", "(x): is asked for here alone"]),
        (other_default, ["(keepdim): is True unless it is given, in PyTorch False"]),
        (no_default, ["(keepdim): has the default False in PyTorch, none here"]),
        (shorter, ["(keepdim): is missing"]),
        (other_order, [": takes input, dim, keepdim in another order"]),
    ],
)
def test_a_difference_is_found(mine: Any, expected: list[str]) -> None:
    found = [str(one).removeprefix("torch.f") for one in names._arguments("torch", "f", like, mine)]
    assert found == expected


def test_forms_of_documentation() -> None:
    def f() -> None:
        """
        f(input, *, out=None) -> Tensor

        More.

        .. function:: f(input, dim, keepdim=False, *, mode='ab') -> (Tensor, Tensor)
        """

    first, second = names._documented(f, "f")
    assert list(first) == ["input", "out"]
    assert list(second) == ["input", "dim", "keepdim", "mode"]
    assert (second["keepdim"].default, second["mode"].default) == (False, "ab")
    assert second["mode"].kind is second["mode"].KEYWORD_ONLY
