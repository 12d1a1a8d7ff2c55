"""A module as a function of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConfigError, message
from ...support.settings import shown
from ...tensor import Tensor
from ...tensor.joining import stack
from ..module import Module


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What a module computes with these tensors, by path, in place of its own; with `tie_weights` by all paths of a
    tensor that has several, with `strict` only if all tensors are given.

    >>> import tinygrad_nn as tg
    >>> layer = tg.nn.Linear(2, 1)
    >>> functional_call(layer, {"weight": tg.ones(1, 2), "bias": tg.zeros(1)}, tg.tensor([3.0, 4.0]))
    tensor([7.])
    """
    dicts = parameter_and_buffer_dicts
    given = dict(dicts) if isinstance(dicts, Mapping) else {key: one for part in dicts for key, one in part.items()}
    modules = dict(module.named_modules(remove_duplicate=False))
    if tie_weights or strict:
        own_state = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
        same = {id(own_state[path]): one for path, one in given.items() if path in own_state}
        tied = {path: same[id(own)] for path, own in own_state.items() if id(own) in same}
        given = {**tied, **given} if tie_weights else given
        absent = [path for path in own_state if path not in given] if strict else []
        if absent:
            raise ConfigError(message("functional_call", f"no tensor for {', '.join(absent)}", "one for each path"))
    places = []
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


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of equal modules, each a stack of theirs, for `vmap` of `functional_call`.

    >>> import tinygrad_nn as tg
    >>> parameters, buffers = stack_module_state([tg.nn.Linear(2, 1), tg.nn.Linear(2, 1)])
    >>> parameters["weight"].shape
    (2, 1, 2)
    """
    if not isinstance(models, (list, tuple)) or not models or not all(isinstance(one, Module) for one in models):
        raise ConfigError(message("stack_module_state", shown(models), "a list of modules"))
    found: list[dict[str, Tensor]] = []
    for kind in ("named_parameters", "named_buffers"):
        states = [dict(getattr(one, kind)()) for one in models]
        if any(list(state) != list(states[0]) for state in states):
            raise ConfigError(message("stack_module_state", "modules with tensors of other names", "equal modules"))
        found.append({key: stack([state[key].detach() for state in states]) for key in states[0]})
    parameters, buffers = found
    return {key: one.requires_grad_() for key, one in parameters.items()}, buffers
