"""A module as a function of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConfigError, message
from ...tensor import Tensor
from ..module import Module


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """What a module computes with these tensors, by path, in place of its own."""
    dicts = parameter_and_buffer_dicts
    given = dict(dicts) if isinstance(dicts, Mapping) else {key: one for part in dicts for key, one in part.items()}
    modules, places = dict(module.named_modules()), []
    for path, one in given.items():
        parent, _, name = path.rpartition(".")
        own = vars(modules[parent]) if parent in modules else {}
        if not isinstance(own.get(name), Tensor):
            raise ConfigError(message("functional_call", f"the name {path!r}", "the path of a parameter or buffer"))
        places.append((own, name, one))
    before = [(own, name, own[name]) for own, name, _ in places]
    try:
        for own, name, one in places:
            own[name] = one
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for own, name, one in before:
            own[name] = one
