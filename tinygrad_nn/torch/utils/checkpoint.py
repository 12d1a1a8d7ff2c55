"""`torch.utils.checkpoint`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ... import recompute

_SETTINGS: Final = ("preserve_rng_state", "determinism_check", "debug", "context_fn", "early_stop")


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None, **kwargs: Any) -> Any:
    """`function(*args)`, without keeping what lies between for the backward pass."""
    given = {name: value for name, value in kwargs.items() if name not in _SETTINGS}
    return recompute.checkpoint(partial(function, **given), *args)
