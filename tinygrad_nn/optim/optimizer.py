"""What optimizers share: parameter groups, state, the step. An optimizer itself is one pure `update` in its own file.

`update(p, g, state, hyper)` returns the new parameter and the new state as Tensors and touches nothing, so a step
records like any other computation. The learning rate and step counters are Tensors too (`ParamGroup.live`): they are
never frozen into compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np

from ..errors import ConfigError, DTypeError, GraphError, ShapeError, message, printable
from ..graph.graph import DType
from ..ops.rules import FLOAT64
from ..support.bundle import bundle
from ..support.settings import is_number, mapping, number, shown, typed
from ..support.tables import html_table
from ..tensor import Tensor, enable_grad
from ..tensor.arrays import array_of
from ..tensor.core import constant, forbid_tracing, mode
from ..tensor.structure import Handle, Watched, WatchedList, begun, equate, note, replaced, same_object
from ..tensor.untaped import Untaped

Params = Iterable[Tensor] | Iterable[dict[str, Any]]
State = dict[str, Tensor]
Hook = Callable[..., Any]
Hooks = dict[int, Hook]
Live = tuple[str, DType, int | None]  # a hyperparameter, its dtype, and which of its numbers

RANGES: Final[Mapping[str, Mapping[str, Any]]] = {  # what torch allows, and finite
    "lr": {"least": 0},
    "momentum": {"least": 0},
    "dampening": {},
    "weight_decay": {"least": 0},
    "eps": {"least": 0},
    "alpha": {"least": 0},
    "rho": {"least": 0, "most": 1},
    "lr_decay": {"least": 0},
    "momentum_decay": {"least": 0},
    "initial_accumulator_value": {"least": 0},
    "lambd": {},
    "beta2_decay": {"most": 0},
    "d": {"least": 1},
    "t0": {},
}


class ParamGroup(MutableMapping[str, Any]):
    """Parameters that share hyperparameters, as a mapping like torch's: `group["lr"] *= 0.5`.

    Numbers read back as Python numbers; `live` gives the same number as a 0-d Tensor that follows later assignments.
    In a function that is traced, a number that varies is read as such a Tensor, and any other is part of the code.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> group = tg.optim.SGD([p], lr=0.1).param_groups[0]
    >>> group["lr"] = 0.05
    >>> group["lr"]
    0.05
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {key: _watched(key, value) for key, value in values.items()}
        self._live: dict[Live, Tensor] = {}
        self._varying = {"lr"}
        self._frozen: set[str] = set()  # what is part of compiled code
        self._chosen: set[str] = set()  # of which compiled code knows whether it is 0

    def __getitem__(self, key: str) -> Any:
        if mode.recorder is None:
            return self._values[key]
        guard = note(self, ReadGroup)
        return self._values[key] if guard is None else guard[key]

    def __setitem__(self, key: str, value: Any) -> None:
        change = getattr(mode.recorder, "change_setting", None)
        if change is not None:
            change(self, key, value)
            return
        forbid_tracing(type(self).__name__, f"a change of {key!r}", "set it outside of the function, between calls")
        plain, before = _plain(value), self._values.get(key)
        check_setting(type(self).__name__, key, plain, before)
        if key in self._frozen and key not in self._varying and _may_vary(plain) and not same_object(plain, before):
            self._vary(key)
        self._values[key] = _watched(key, plain)
        live = [(place, tensor) for place, tensor in self._live.items() if place[0] == key]
        for (_, dtype, part), tensor in live:
            tensor.assign(_number(plain if part is None else plain[part], dtype))
        if key in self._frozen or not live or (key in self._chosen and _is_zero(plain) != _is_zero(before)):
            replaced()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        replaced()

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        settings = sorted(self._values.items(), key=lambda setting: str(setting[0]))
        return "\n".join(printable(f"    {key}: {value}", keep="") for key, value in settings if key != "params")

    def vary(self, *names: str) -> None:
        """From here on compiled steps take these as numbers that change, as they always take the learning rate. A
        schedule says so of the momentum that it cycles, and the first change after a step was compiled of any number.
        Whether it is 0 stays part of the code. Raises ConfigError for what is no number (or several: betas).

        >>> import tinygrad_nn as tg
        >>> opt = tg.optim.SGD([tg.ones(2, requires_grad=True)], momentum=0.9)
        >>> opt.param_groups[0].vary("momentum", "weight_decay")
        """
        for name in names:
            if name not in self._values:
                known = ", ".join(sorted(key for key, value in self._values.items() if _may_vary(value)))
                raise ConfigError(message("vary", f"a hyperparameter {shown(name)}", f"some of {known}"))
            if not _may_vary(self._values[name]):
                raise ConfigError(message("vary", f"{name} {shown(self._values[name])}", "a number, or several"))
        for name in set(names) - self._varying:
            self._vary(name)
            replaced()

    def _vary(self, key: str) -> None:
        self._varying.add(key)
        self._frozen.discard(key)  # such code is made anew, see ReadGroup.holds

    def of_step(self, step: Tensor, make: Callable[[Tensor, ParamGroup], Any]) -> Any:
        """What is made of a counter of steps and the hyperparameters."""
        return make(step, self)

    def live(self, key: str, dtype: DType = FLOAT64, part: int | None = None) -> Tensor:
        """A hyperparameter as a 0-d Tensor; of several numbers (betas) one `part`."""
        changed = getattr(mode.recorder, "changed_setting", None)
        value = None if changed is None else changed(self, key)
        if value is not None:
            value = value if part is None else value[part]
            return value.cast(dtype) if isinstance(value, Tensor) else _number(value, dtype)
        tensor = self._live.get((key, dtype, part))
        if tensor is None:
            own = self._values[key] if part is None else self._values[key][part]
            made = begun(lambda: {key: _number(own, dtype)})
            tensor = self._live[key, dtype, part] = made[key]
        return tensor


class PlainGroup(dict[str, Any]):
    """The same group, seen by an update that is run on values without a tape: what it is in this step."""

    __slots__ = ("_group", "_made", "_untaped")

    def __init__(self, group: ParamGroup) -> None:
        super().__init__(group._values)
        self._group = group
        self._untaped: dict[Live, Untaped] = {}
        self._made: dict[tuple[float, DType], Any] = {}

    def live(self, key: str, dtype: DType = FLOAT64, part: int | None = None) -> Any:
        """A hyperparameter as a 0-d untaped value."""
        found = self._untaped.get((key, dtype, part))
        if found is None:
            found = self._untaped[key, dtype, part] = Untaped.handle(self._group.live(key, dtype, part).node)
        return found

    def of_step(self, step: Any, make: Callable[[Any, Any], Any]) -> Any:
        """As for a ParamGroup; parameters that are at the same step share it."""
        key = step.value.item(), step.value.dtype
        if key not in self._made:
            self._made[key] = make(step, self)
        return self._made[key]


def outdate(optimizer: Optimizer) -> None:
    """A function that is traced steps a schedule of an optimizer when a call is over: from here on it cannot know the
    learning rates, and what else varies.
    """
    for group in optimizer.param_groups:
        for key in group._varying:
            mode.recorder.outdate(group, key)  # type: ignore[union-attr]


def check_setting(owner: str, key: str, value: Any, before: Any = None) -> None:
    """Raise ConfigError for a hyperparameter that cannot be; `before` is what it was."""
    if key == "params":
        if not isinstance(value, (list, tuple)) or not all(isinstance(p, Tensor) for p in value):
            raise ConfigError(message(owner, f"params {shown(value)}", "a list of parameters"))
    elif key == "betas":
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise ConfigError(message(owner, f"betas {shown(value)}", "two numbers"))
        for beta in value:
            number(owner, "beta", beta, least=0, below=1)
    elif key == "eps" and owner in ("Adafactor", "ParamGroup") and not is_number(value):
        for eps in _pair(owner, key, value):
            number(owner, key, 0.0 if eps is None else eps, least=0)
    elif key == "etas":
        below, above = _pair(owner, key, value)
        number(owner, "the first of etas", below, above=0, below=1)
        number(owner, "the second of etas", above, above=1)
    elif key == "step_sizes":
        for size in _pair(owner, key, value):
            number(owner, "a step size", size, above=0)
    elif key == "lr" and before is not None:
        number(owner, key, value)  # a schedule may round to just below 0
    elif key in RANGES:
        number(owner, key, value, **RANGES[key])
    elif isinstance(before, bool) and not isinstance(value, bool):
        raise ConfigError(message(owner, f"{key} {shown(value)}", "True or False"))
    elif is_number(value):
        number(owner, key, value, least=0)


def _pair(owner: str, key: str, value: Any) -> Any:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ConfigError(message(owner, f"{key} {shown(value)}", "two numbers"))
    return value


def without_effect(owner: str, *, differentiable: Any = False, **named: Any) -> None:
    """Check what PyTorch asks about the way in which it computes a step: True, False and None change nothing here, but
    `differentiable=True` would, and is refused.
    """
    for name, value in {**named, "differentiable": differentiable}.items():
        if value is not None and not isinstance(value, (bool, np.bool_)):
            raise ConfigError(message(owner, f"{name} {shown(value)}", "True, False or None"))
    if named.get("foreach") and named.get("fused"):
        raise ConfigError(message(owner, "foreach and fused", "one of the two"))
    if differentiable:
        hint = "compute the new parameters with operators, and differentiate these"
        raise ConfigError(message(owner, "differentiable=True", "False", hint))


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """A tensor of one element as a Python number, anything else as it is."""
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value


def _watched(key: str, value: Any) -> Any:
    """The list of parameters says when it grows or shrinks."""
    return WatchedList(value) if key == "params" and isinstance(value, list) else value


def _number(value: float, dtype: DType) -> Tensor:
    return Tensor.handle(constant(np.asarray(value, dtype)))


def _may_vary(value: Any) -> bool:
    """Whether it is a number, or several."""
    parts = value if isinstance(value, (list, tuple)) else (value,)
    return bool(parts) and all(is_number(part) and not isinstance(part, (bool, np.bool_)) for part in parts)


def _is_zero(value: Any) -> tuple[bool, ...]:
    """Whether a number is 0; each of several."""
    return tuple(not part for part in (value if isinstance(value, (list, tuple)) else (value,)))


class ReadGroup(ParamGroup):
    """The same group, seen by a function that is traced, and what that knows of it: the numbers that it read, unless
    they vary; of those that vary what was asked in Python, which most often is whether they are 0.
    """

    def __init__(self, group: ParamGroup) -> None:
        self._group, self._values, self._live = group, group._values, group._live
        self.read: set[str] = set()
        self.asked: dict[str, Callable[[Any], Any]] = {}
        self.found = self._now()

    def __getitem__(self, key: str) -> Any:
        recorder: Any = mode.recorder
        if not hasattr(recorder, "changed_setting"):  # while state begins
            return self._values[key]
        changed = recorder.changed_setting(self._group, key)
        if changed is not None:
            return recorder.number(changed) if isinstance(changed, Tensor) else changed
        value = self._values[key]
        if key in self._group._varying and _may_vary(value):
            if not isinstance(value, (list, tuple)):
                return recorder.setting(self.live(key), value, partial(self._ask, key))
            parts = [self.live(key, part=k) for k in range(len(value))]
            return tuple(recorder.setting(*pair, partial(self._ask, key)) for pair in zip(parts, value, strict=True))
        self.read.add(key)
        self._group._frozen.add(key)
        return value

    def _ask(self, key: str, whether_zero: bool) -> None:
        if not whether_zero:
            self.asked[key] = _comparable
            self._group._frozen.add(key)
        elif key not in self.asked:
            self.asked[key] = _is_zero
            self._group._chosen.add(key)

    def live(self, key: str, dtype: DType = FLOAT64, part: int | None = None) -> Tensor:
        """A hyperparameter as a 0-d Tensor."""
        return self._group.live(key, dtype, part)

    def settle(self) -> None:
        """Compare from now on."""
        self.found = self._now()

    def holds(self) -> bool:
        """Whether what is part of the code is the same."""
        return self.read.isdisjoint(self._group._varying) and same_object(self._now(), self.found)

    def forget(self) -> None:
        """A group makes no state."""

    def _now(self) -> tuple[Any, ...]:
        values = self._values
        read = [_comparable(values[key]) if key in values else None for key in sorted(self.read)]
        asked = [ask(values[key]) if key in values else None for key, ask in sorted(self.asked.items())]
        return tuple(values["params"]), *read, *asked


class Built:
    """How an optimizer was when a step was traced: its groups, and the tensors of its state."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.known = {p: set(own) for p, own in optimizer.state.items()}
        self.groups = [note(group, ReadGroup) or group for group in optimizer.param_groups]
        self.found = self._now()

    def settle(self) -> None:
        """Compare from now on."""
        self.found = self._now()

    def holds(self) -> bool:
        """Whether groups and state are the same; hyperparameters are the groups' business."""
        return same_object(self._now(), self.found)

    def forget(self) -> None:
        """Take the state away that was made since then."""
        for p, own in list(self.optimizer.state.items()):
            if p not in self.known:
                del self.optimizer.state[p]
            for field in set(own) - self.known.get(p, set(own)):
                del own[field]

    def _now(self) -> tuple[Any, ...]:
        found: list[Any] = list(self.optimizer.param_groups)
        for group in self.optimizer.param_groups:
            for p in group._values["params"]:
                state = self.optimizer.state.get(p)
                found.append(() if state is None else tuple(item for pair in state.items() for item in pair))
        return tuple(found)


def _comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class States(Watched[Tensor, Any]):
    """The state of each parameter; that of a new one is an empty dict."""

    __slots__ = ()

    def __missing__(self, p: Tensor) -> Any:
        self[p] = {}
        return self[p]


class Optimizer:
    """Base of the optimizers: `params` are tensors or groups (dicts with "params" and their own hyperparameters), of
    which `defaults`, a dict or keywords, has those that a group does not name.

    `untaped` is set where `update` uses nothing but the methods and operators of what it is given; unless somebody
    records, it is then run on values without a tape, which costs half. A subclass with another `update` has to say so
    again.

    >>> import tinygrad_nn as tg
    >>> p = tg.tensor([1.0], requires_grad=True)
    >>> opt = tg.optim.SGD([p], lr=0.1)
    >>> isinstance(opt, tg.optim.Optimizer), opt.param_groups[0]["lr"]
    (True, 0.1)
    """

    defaults: ClassVar[dict[str, Any]]
    untaped: ClassVar[bool] = False
    state: dict[Tensor, State]

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, States(value) if name == "state" else value)
        replaced()

    def __init_subclass__(cls) -> None:
        if "update" in vars(cls) and "untaped" not in vars(cls):
            cls.untaped = False

    def __init__(
        self,
        params: Params,
        defaults: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if defaults is not None and not isinstance(defaults, Mapping):
            raise ConfigError(message(type(self).__name__, f"defaults {shown(defaults)}", "a dict of hyperparameters"))
        self.defaults = {**(defaults or {}), **more}  # type: ignore[misc]
        self._hooks: dict[str, Hooks] = {}
        self.param_groups: list[ParamGroup] = WatchedList()
        self.state = {}
        if isinstance(params, Tensor):
            raise ConfigError(
                message(type(self).__name__, "a single tensor", "an iterable of parameters", "pass [tensor]")
            )
        listed = _listed(type(self).__name__, lambda: f"a {type(params).__name__}", params)
        if not listed:
            raise ConfigError(message(type(self).__name__, "no parameters", hint="pass model.parameters()"))
        groups = listed if isinstance(listed[0], Mapping) else [{"params": listed}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters, or pairs of a name and a parameter, with hyperparameters of their own. A tensor met before
        (tied weights) is taken once per group. A group of another optimizer is shared with it.
        """
        name, group = type(self).__name__, param_group
        if not isinstance(group, Mapping) or "params" not in group:
            got = f"a group that is {shown(group)}"
            raise ConfigError(message(name, got, "a dict with 'params', the parameters of the group"))
        given = group["params"]
        own = [given] if isinstance(given, Tensor) else _listed(name, lambda: f"params {shown(given)}", given)
        names = [one[0] for one in own if isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str)]
        if names:
            if len(names) != len(own):
                raise ConfigError(message(name, "parameters with names and without", "names for all or for none"))
            own = [p for _, p in own]
        if self.param_groups and bool(names) != ("param_names" in self.param_groups[0]):
            raise ConfigError(message(name, "groups with names and without", "names for all or for none"))
        params = list({id(p): p for p in own}.values())
        known = {p for other in self.param_groups for p in other["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise ConfigError(message(name, f"a parameter of type {type(p).__name__}", "tensors"))
            if not p.is_leaf:
                raise ConfigError(
                    message(name, "a parameter computed from others", "leaves", "use detach().requires_grad_()")
                )
            if p in known:
                raise ConfigError(message(name, "a parameter that is in another group", "each parameter in one group"))
        values = {**self.defaults, **{key: value for key, value in group.items() if key != "params"}}
        values = {key: _plain(value) for key, value in values.items()} | {"params": params}
        self.check(values)
        if names:
            values["param_names"] = names
        if isinstance(group, ParamGroup):
            for key, value in values.items():
                group.setdefault(key, value)
        self.param_groups.append(group if isinstance(group, ParamGroup) else ParamGroup(values))
        replaced()

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ConfigError for hyperparameters outside of `RANGES`; others that are numbers must not be negative."""
        for key, value in values.items():
            usual = self.defaults.get(key)
            check_setting(type(self).__name__, key, value, usual if isinstance(usual, bool) else None)

    @typed
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or set them to zeros)."""
        for group in self.param_groups if mode.recorder is None else self._watched_groups():
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.new_zeros(p.shape)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient. A closure is called first, with gradients on, and its loss
        returned.
        """
        if not self._hooks:
            return self._stepped(closure)
        args: Any = (closure,)
        kwargs: dict[str, Any] = {}
        for hook in self._hooked("step before"):
            changed = hook(self, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        loss = self._stepped(*args, **kwargs)
        for hook in self._hooked("step after"):
            hook(self, args, kwargs)
        return loss

    def _stepped(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        loss = None
        if closure is not None:
            if not callable(closure):
                raise ConfigError(message(type(self).__name__, f"closure {shown(closure)}", "a function"))
            with enable_grad():
                loss = closure()
        before, mode.grad = mode.grad, False
        try:
            seen = self._watched_groups() if mode.recorder is not None else self.param_groups
            for group in seen:
                if self.untaped and mode.recorder is None:
                    mode.quiet_region(self._update_group, group, self._update_untaped, PlainGroup(group))
                else:
                    self._update_group(group, self._update_one, group)
        finally:
            mode.grad = before
        return loss

    def _watched_groups(self) -> Sequence[ParamGroup]:
        """The groups for a function that is recorded: they notice what is read, if somebody wants to know."""
        guard = note(self, Built)
        return self.param_groups if guard is None else guard.groups

    def _update_group(self, group: ParamGroup, update: Callable[..., None], seen: ParamGroup) -> None:
        maximize = group.get("maximize", False)
        if mode.recorder is not None:
            self._equate_counters(group)
        for p in group["params"]:
            g = p.grad
            if g is not None:
                state = self.state.get(p)
                if state is None:
                    state = self.state[p] = begun(partial(self.initial_state, p, group))
                try:
                    update(p, -g if maximize else g, state, seen)
                except KeyError:  # a hyperparameter that needs more state was set meanwhile: momentum, amsgrad
                    if not self._completed(p, group, state):
                        raise
                    update(p, -g if maximize else g, state, seen)

    def _equate_counters(self, group: ParamGroup) -> None:
        """The numbers that this step counts for every parameter, where there are several."""
        counters: dict[str, list[Tensor]] = {}
        for p in group["params"]:
            if p.shape and p.grad is not None:
                if p not in self.state:
                    self.state[p] = begun(partial(self.initial_state, p, group))
                for field, value in self.state[p].items():
                    if not value.shape:
                        counters.setdefault(field, []).append(value)
        for values in counters.values():
            equate(values)

    def _as_state(self, value: Any, usual: Tensor | None) -> Any:
        """A loaded value in the dtype of such state; a number of an optimizer whose `step` is one's own as it is."""
        if type(self).update is Optimizer.update and is_number(value):
            return value
        array = array_of(type(self).__name__, value)
        if array.dtype.kind == "b":
            raise DTypeError(message(type(self).__name__, "state of dtype bool", "numbers"))
        return Tensor.handle(constant(np.array(array, array.dtype if usual is None else usual.dtype)))

    def _completed(self, p: Tensor, group: ParamGroup, state: State) -> bool:
        """Whether state was missing, which then begins now; a counter of steps is past the first one."""
        missing = {field: value for field, value in self.initial_state(p, group).items() if field not in state}
        if state and "step" in missing:
            missing["step"] = missing["step"] + 1
        state.update(missing)
        return bool(missing)

    def _update_one(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        new, changed = self.update(p, g, state, group)
        if not p.shape:
            new, changed = _typed(new, p), {key: _typed(value, state[key]) for key, value in changed.items()}
        p.assign(new)
        for key, value in changed.items():
            state[key].assign(value)

    def _update_untaped(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> None:
        handle: Callable[[Any], Any] = Untaped.handle
        before = {key: handle(value.node) for key, value in state.items()} if state else state
        node = p.node
        new, changed = self.update(handle(node), handle(g.node), before, group)
        if not node.shape:
            new, changed = _typed(new, p), {key: _typed(value, state[key]) for key, value in changed.items()}
        p.assign(new)
        for key, value in changed.items():
            state[key].assign(value)

    def initial_state(self, p: Tensor, group: ParamGroup) -> State:
        """The state before the first step."""
        return {}

    def update(self, p: Tensor, g: Tensor, state: State, group: ParamGroup) -> tuple[Tensor, State]:
        """The new parameter and what changes of its state: a pure function of Tensors."""
        raise GraphError(
            message(type(self).__name__, "no update rule", "a subclass that defines update(p, g, state, group)")
        )

    # ---- hooks ----------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Hook) -> Handle:
        """Call `hook(optimizer, args, kwargs)` before each step; a pair that it returns are the arguments instead."""
        return self._register("step before", hook)

    def register_step_post_hook(self, hook: Hook) -> Handle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._register("step after", hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._register("state before", hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call `hook(optimizer, state_dict)` after it; what it returns, if not None, is the state."""
        return self._register("state after", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`, which loads what it returns, if not None."""
        return self._register("load before", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call `hook(optimizer)` after `load_state_dict`."""
        return self._register("load after", hook, prepend)

    def _register(self, place: str, hook: Hook, prepend: bool = False) -> Handle:
        if not callable(hook):
            raise ConfigError(message(type(self).__name__, f"hook {shown(hook)}", "a function"))
        if not isinstance(prepend, (bool, np.bool_)):
            raise ConfigError(message(type(self).__name__, f"prepend {shown(prepend)}", "True or False"))
        hooks = self._hooks.setdefault(place, {})
        key = min(hooks, default=0) - 1 if prepend else max(hooks, default=0) + 1
        hooks[key] = hook
        replaced()

        def take() -> None:
            hooks.pop(key, None)
            replaced()

        return Handle(take)

    def _hooked(self, place: str) -> list[Hook]:
        hooks = self._hooks.get(place)
        return [hooks[key] for key in sorted(hooks)] if hooks else []

    # ---- state ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State and hyperparameters with parameters numbered, as torch's: {"state": ..., "param_groups": ...}."""
        for hook in self._hooked("state before"):
            hook(self)
        found = self._state_dict()
        for hook in self._hooked("state after"):
            changed = hook(self, found)
            found = found if changed is None else changed
        return found

    def _state_dict(self) -> dict[str, Any]:
        number = {p: k for k, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**group, "params": [number[p] for p in group["params"]]} for group in self.param_groups]
        state = {number[p]: {key: _copied(value) for key, value in own.items()} for p, own in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state_dict: all of it or, on error, nothing. Raises ShapeError where groups or shapes differ.

        State that is there already keeps its tensors and gets other values, so a compiled step goes on with them.
        """
        for hook in self._hooked("load before"):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        self._load_state_dict(state_dict)
        for hook in self._hooked("load after"):
            hook(self)

    def _load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        name = type(self).__name__
        state_dict = mapping(name, state_dict, "state", "param_groups")
        groups = state_dict["param_groups"]
        states: Mapping[Any, Any] = mapping(name, state_dict["state"])
        if not isinstance(groups, (list, tuple)) or not all(_numbered(mapping(name, g, "params")) for g in groups):
            raise ConfigError(message(name, f"param_groups {shown(groups)}", "what state_dict() gives"))
        sizes = [len(group["params"]) for group in groups], [len(group["params"]) for group in self.param_groups]
        if sizes[0] != sizes[1]:
            raise ShapeError(message(name, f"a state with groups of {sizes[0]} parameters", f"groups of {sizes[1]}"))
        params: dict[int, tuple[Tensor, ParamGroup]] = {}
        for loaded, own in zip(groups, self.param_groups, strict=True):
            merged = {**own, **{key: _plain(value) for key, value in loaded.items() if key != "params"}}
            self.check(merged)
            pairs = zip(loaded["params"], own["params"], strict=True)
            params.update((key, (p, ParamGroup(merged))) for key, p in pairs)
        if len(params) != sum(sizes[0]):
            raise ConfigError(message(name, "two parameters of one number", "what state_dict() gives"))
        fresh: dict[Tensor, Any] = {}
        for key, values in states.items():
            if type(key) is not int or key not in params:
                raise ConfigError(message(name, f"state of a parameter {shown(key)}", f"one of {shown(list(params))}"))
            p, group = params[key]
            given = {field: value for field, value in mapping(name, values).items() if value is not None}
            usual = self.initial_state(p, group)
            fresh[p] = {field: self._as_state(value, usual.get(field)) for field, value in given.items()}
            missing = sorted(set(usual) - set(fresh[p]))
            if missing:
                raise ConfigError(message(name, f"state of parameter {key} without {missing[0]!r}", "its whole state"))
            for field, value in fresh[p].items():
                if is_number(value):  # of an optimizer of one's own
                    continue
                if value.shape != usual[field].shape if field in usual else value.shape not in ((), p.shape):
                    got = f"{field} of shape {value.shape} for parameter {key} of shape {p.shape}"
                    raise ShapeError(message(name, got, "equal shapes"))
                if field in ("step", "mu_product") and not 0 <= float(value) < np.inf:
                    got = f"{field} {value.item()} of parameter {key}"
                    raise ConfigError(message(name, got, "a number of at least 0"))
        for p, group in params.values():
            if p in self.state and p not in fresh:
                fresh[p] = self.initial_state(p, group)
        self.state = {p: _kept(self.state.get(p, {}), values) for p, values in fresh.items()}
        for loaded, own in zip(groups, self.param_groups, strict=True):
            for key, value in loaded.items():
                if key != "params":
                    own[key] = value

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for group in self.param_groups for name in group if name != "params"))
        rows = [(type(self).__name__, "parameters", *names)]
        for k, group in enumerate(self.param_groups):
            params = group["params"]
            sizes = f"{sum(p.numel() for p in params):,} in {len(params)} tensors"
            rows.append((f"group {k}", sizes, *map(_shown, map(group.get, names))))
        return html_table(rows)

    _repr_mimebundle_ = bundle

    def __repr__(self) -> str:
        groups = "\n".join(f"Parameter Group {k}\n{group!r}" for k, group in enumerate(self.param_groups))
        return printable(f"{type(self).__name__} (\n{groups}\n)")


def _listed(owner: str, got: Callable[[], str], given: Any) -> list[Any]:
    """What was given, as a list; `got` has the words for what is none: those of many tensors take long."""
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping, range)):
        raise ConfigError(message(owner, got(), "an iterable of parameters", "pass model.parameters()"))
    try:
        return list(given)
    except TypeError:  # of a 0-d array
        raise ConfigError(message(owner, got(), "an iterable of parameters", "pass model.parameters()")) from None


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _numbered(group: Mapping[str, Any]) -> bool:
    return isinstance(group["params"], (list, tuple)) and all(type(key) is int for key in group["params"])


def _kept(before: State, values: State) -> State:
    """The values, in the tensors that hold such state already where there are any."""
    return {
        field: before[field].assign(value)
        if isinstance(before.get(field), Tensor)
        and isinstance(value, Tensor)
        and (before[field].shape, before[field].dtype) == (value.shape, value.dtype)
        else value
        for field, value in values.items()
    }


def _typed(value: Tensor, own: Tensor) -> Tensor:
    """A 0-d result in the dtype of what it replaces: among 0-d values the float64 of rates and counters wins."""
    return value if value.dtype == own.dtype else value.to(own.dtype)


def zeros_like(p: Tensor) -> Tensor:
    """State of a parameter's shape and dtype, 0."""
    return p.detach().new_zeros(p.shape)


def counter() -> Tensor:
    """A step counter at 0: float64, since 1 - beta ** step loses half of float32's digits."""
    return _number(0.0, FLOAT64)


def decayed(p: Tensor, g: Tensor, group: ParamGroup) -> Tensor:
    """The gradient with L2 regularisation: g + weight_decay * p."""
    return g + group["weight_decay"] * p if group["weight_decay"] else g
