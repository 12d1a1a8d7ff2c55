"""States that somebody has changed: every value of a state_dict in turn left out, doubled, or put in a wrong kind.

What is loaded is taken over whole or not at all, and what is refused is named in our own words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, optim
from tinygrad_nn.errors import TinygradError
from tinygrad_nn.optim import lr_scheduler

WRONG: dict[str, Any] = {
    "none": None, "text": "abc", "bytes": b"a", "object": object(), "nan": math.nan, "huge": 10**400, "complex": 1j,
    "list": [[1, 2], [3]], "dict": {"a": 1}, "array": np.array(["a"]), "dates": np.zeros(2, "M8[D]"),
    "other shape": np.ones((5, 7)), "function": len,
}  # fmt: skip


def stepped(optimizer: optim.Optimizer) -> optim.Optimizer:
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = tg.ones(*p.shape)
    optimizer.step()
    return optimizer


def parameters() -> list[tg.Tensor]:
    return [tg.ones(3, requires_grad=True), tg.ones(2, 2, requires_grad=True)]


def schedule(name: str, *args: Any) -> Any:
    made = getattr(lr_scheduler, name)(optim.SGD(parameters(), lr=0.1), *args)
    made.step(*((1.0,) if name == "ReduceLROnPlateau" else ()))
    return made


def history() -> tg.History:
    made = tg.History()
    made.log_epoch({"loss": 1.0})
    made.log_evaluation({"acc": 0.5})
    return made


OWNERS: dict[str, Callable[[], Any]] = {
    **{
        name: lambda name=name: stepped(getattr(optim, name)(parameters()))
        for name in ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD")
    },
    "Adam with amsgrad": lambda: stepped(optim.Adam(parameters(), amsgrad=True)),
    "SGD with momentum": lambda: stepped(optim.SGD(parameters(), lr=0.1, momentum=0.9)),
    "StepLR": lambda: schedule("StepLR", 2),
    "MultiStepLR": lambda: schedule("MultiStepLR", [1, 3]),
    "CosineAnnealingLR": lambda: schedule("CosineAnnealingLR", 5),
    "OneCycleLR": lambda: schedule("OneCycleLR", 0.1, 10),
    "ReduceLROnPlateau": lambda: schedule("ReduceLROnPlateau"),
    "Generator": lambda: tg.Generator(3),
    "EarlyStopping": lambda: callbacks.EarlyStopping(parameters()),
    "History": history,
}  # fmt: skip


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values in nested dicts and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, part in parts:
        yield (*before, key)
        yield from paths(part, (*before, key))


def changed(value: Any, path: tuple[Any, ...], new: Any, how: str) -> Any:
    """A copy with one value replaced, left out, or given to another name as well."""
    parts = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    key, *rest = path
    if rest:
        parts[key] = changed(parts[key], tuple(rest), new, how)
    elif how == "left out":
        del parts[key]
    else:
        parts[key] = new
    return parts if isinstance(value, dict) else type(value)(parts.values())


def frozen(value: Any) -> Any:
    """A state as something that can be compared."""
    if isinstance(value, tg.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: frozen(part) for key, part in value.items()}
    return [frozen(part) for part in value] if isinstance(value, (list, tuple)) else repr(value)


def use(owner: Any) -> None:
    """What comes after a load: it must work with whatever was taken over."""
    if isinstance(owner, optim.Optimizer):
        stepped(owner)
    elif hasattr(owner, "get_last_lr"):
        owner.step(*((1.0,) if isinstance(owner, lr_scheduler.ReduceLROnPlateau) else ()))
    elif isinstance(owner, tg.History):
        assert len(owner.rows()) == owner.epochs
    elif isinstance(owner, tg.Generator):
        tg.rand(3, generator=owner)


@pytest.mark.parametrize("name", OWNERS)
def test_a_changed_state_is_taken_over_whole_or_not_at_all(name: str) -> None:
    own = OWNERS[name]
    for path in paths(own().state_dict()):
        for kind, wrong in {**WRONG, "left out": None}.items():
            owner = own()
            before = frozen(owner.state_dict())
            state = changed(own().state_dict(), path, wrong, kind)
            refused = ""
            try:
                owner.load_state_dict(state)
                use(owner)
            except TinygradError as error:
                refused = str(error)
            if refused:
                assert refused.startswith("["), (path, kind)
                assert frozen(owner.state_dict()) == before, (path, kind)


@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.parametrize("wrong", [None, 3, "abc", [], {}, {"a": 1}, [("a", 1)]], ids=repr)
def test_what_is_no_state_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(TinygradError, match=r"^\["):
        OWNERS[name]().load_state_dict(wrong)


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (optim.Adam, "amsgrad", True),
        (optim.RMSprop, "centered", True),
        (optim.RMSprop, "momentum", 0.5),
        (optim.SGD, "momentum", 0.5),
    ],
)
def test_a_setting_without_its_state_is_refused(make: Any, key: str, value: Any) -> None:
    optimizer = stepped(make(parameters()))
    state = optimizer.state_dict()
    state["param_groups"][0][key] = value
    with pytest.raises(TinygradError, match=r"state of parameter 0 without"):
        optimizer.load_state_dict(state)


def test_an_early_stopping_that_never_began_has_a_state() -> None:
    fresh = callbacks.EarlyStopping()
    fresh.load_state_dict(fresh.state_dict())
    assert fresh.state_dict() == {"best": math.inf, "best_epoch": 0, "kept": []}
