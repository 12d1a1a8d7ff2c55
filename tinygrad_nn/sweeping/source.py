"""What every model of a sweep is made from: the step, what it reaches, and how a model begins.

A sweep is given the step that `tg.fit` takes, or a function that builds it. Models are states of the same tensors: one
begins when its settings are put into the optimizers, these begin anew, the generator has its seed, and `init` has run.
All that is taken back at the end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ..compiler.run.jit import Jitted, jit, usable
from ..errors import ConfigError, TinygradError, message
from ..fitting.reach import Reached, tensors_in
from ..fitting.trouble import Journal
from ..nn import Module
from ..optim import Optimizer
from ..optim.optimizer import check_setting
from ..random import default_generator, manual_seed
from ..support.settings import is_number, shown
from ..tensor import Tensor
from .request import DATA, Settings, nearest

BUILT = (
    "a step, (step, evaluate), or a dict with 'step' and what else tg.fit takes: 'evaluate', 'callbacks'; and 'init'"
)
COMPARED: Final = 3  # models for which what compiled code draws is compared


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a builder returned."""

    returned: Any
    step: Callable[..., Any]
    evaluate: Callable[..., Any] | None = None
    init: Callable[[], Any] | None = None
    callbacks: Sequence[Any] = ()


def parts_of(returned: Any) -> Parts:
    """The parts of what a builder returned."""
    if isinstance(returned, Mapping) and callable(returned.get("step")):
        given = {name: returned[name] for name in ("step", "evaluate", "init", "callbacks") if name in returned}
        return Parts(returned, **given)
    if isinstance(returned, tuple) and len(returned) == 2 and all(map(callable, returned)):
        return Parts(returned, *returned)
    if callable(returned) and not isinstance(returned, (type, Module)):
        return Parts(returned, returned)
    raise ConfigError(message("sweep", f"a builder that returns a {type(returned).__name__}", BUILT))


def takes(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The arguments of a function; None where nobody can say."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def builder_arguments(function: Any, names: Sequence[str]) -> list[str] | None:
    """The arguments of a builder; None for a step. A builder takes nothing but settings: what the grid names, and what
    has a default.
    """
    if isinstance(function, (Jitted, Module)):
        return None
    taken = takes(function)
    if taken is None or any(one.kind is one.VAR_POSITIONAL for one in taken):
        return None
    named = [one for one in taken if one.kind is not one.VAR_KEYWORD]
    if any(one.default is one.empty and one.name not in names for one in named):
        return None
    return [one.name for one in named if one.kind is not one.POSITIONAL_ONLY]


class Source:
    """A step, as built for some arguments, and all that it reaches."""

    def __init__(self, parts: Parts, build: Callable[[], Any] | None) -> None:
        self.parts, self.build = parts, build
        self.step, self.init = parts.step, parts.init
        self.roots = {"": parts.step, "evaluate": parts.evaluate}
        self.roots |= {f"callbacks.{k}": one for k, one in enumerate(parts.callbacks)}
        self.reached = Reached(self.roots, {})
        found = self.reached.objects
        self.optimizers = {name: one for name, one in found.items() if isinstance(one, Optimizer)}
        self.applied: Settings = {}
        self.quick = compiled_init(parts.init)
        self.compared = 0

    # ---- settings of optimizers ---------------------------------------------------------------------------------

    def known(self) -> list[str]:
        """The names of all settings of the optimizers."""
        groups = [group for one in self.optimizers.values() for group in one.param_groups]
        return sorted({key for group in groups for key in group if key not in ("params", "param_names")})

    def groups(self, name: str) -> list[tuple[Optimizer, Any, str]]:
        """The groups that have a setting, and its name there: of all optimizers, or of one as in `opt.lr`."""
        owner, _, key = name.rpartition(".")
        chosen = [one for path, one in self.optimizers.items() if not owner or path == owner]
        return [(one, group, key) for one in chosen for group in one.param_groups if key in group and key != "params"]

    def check(self, points: Sequence[Settings], arguments: Sequence[str], is_built: bool) -> None:
        """Raise ConfigError for a name that nothing has, and for a value that it cannot have."""
        for name in points[0]:
            if name in arguments or name in DATA:
                continue
            found = self.groups(name)
            if not found:
                known = [*arguments, *self.known(), *DATA]
                hint = nearest(name, known)
                if not hint and not is_built and name.isidentifier():
                    hint = f"what builds the model goes in a function: def build({name}): ... return step"
                raise ConfigError(message("sweep", f"the setting {name!r}", f"one of {', '.join(known)}", hint))
            for point in points:
                for optimizer, group, key in found:
                    try:
                        usual = None if key == "lr" else group[key]  # a schedule may round to just below 0, nobody else
                        check_setting(type(optimizer).__name__, key, point[name], usual)
                    except TinygradError as error:
                        got = f"the setting {name}={shown(point[name])}"
                        raise ConfigError(message("sweep", got, str(error).partition("expected ")[2])) from None
                    _check_kind(name, point[name], group[key])

    def vary(self, names: Sequence[str]) -> None:
        """From here on compiled steps take these settings as numbers that change, where they are numbers."""
        for name in names:
            for _, group, key in self.groups(name):
                if not isinstance(group[key], bool) and _is_numeric(group[key]):
                    group.vary(key)

    def apply(self, point: Settings) -> bool:
        """Put settings into the optimizers; whether something changed."""
        changed = {
            name: value for name, value in point.items() if name not in self.applied or self.applied[name] != value
        }
        for name, value in changed.items():
            for _, group, key in self.groups(name):
                group[key] = tuple(value) if isinstance(value, list) else value
        self.applied = {**self.applied, **changed}
        return bool(changed)

    # ---- the beginning of a model --------------------------------------------------------------------------------

    def states(self) -> dict[str, Any]:
        """The states of the optimizers."""
        return {name: one.state for name, one in self.optimizers.items()}

    def set_states(self, states: Mapping[str, Any]) -> None:
        """Give optimizers these states: the very same dicts of tensors, as compiled code knows these."""
        for name, one in self.optimizers.items():
            if name in states:
                _set_state(one, states[name])

    def begin_states(self, only_own: bool = False) -> None:
        """Let the tensors of the optimizers' states hold what they begin with. Those of our optimizers begin alike
        whatever the parameters are; `only_own` are those of the user's.
        """
        for one in self.optimizers.values():
            if only_own and type(one).__module__.startswith(__package__.partition(".")[0]):
                continue
            for group in one.param_groups:
                for p in group["params"]:
                    own = one.state.get(p, {})
                    for field, value in one.initial_state(p, group).items() if own else ():
                        if field in own:
                            own[field].assign(value)

    def begin(self, seed: int) -> None:
        """Let the tensors hold what a model of this seed begins with."""
        manual_seed(seed)
        if self.quick is not None and self.compared >= COMPARED:
            self.quick()
        elif self.init is not None:
            self.init()
            if self.quick is not None:
                self._compare(seed)
        elif self.build is not None:
            self._take_over(Reached({"": parts_of(self.build()).step}, {}))
        self.begin_states(only_own=True)

    def _compare(self, seed: int) -> None:
        """Find out whether compiled code draws the same bits; it does unless there are logarithms in it."""
        init: Any = self.init
        quick: Any = self.quick
        tensors = list(init.__self__.state_dict(keep_vars=True).values())
        wanted = [tensor.node.value for tensor in tensors]
        manual_seed(seed)
        self.compared += 1
        try:
            quick()
            same = all(a.tobytes() == tensor.node.value.tobytes() for a, tensor in zip(wanted, tensors, strict=True))
        except Exception:  # what cannot be traced is run as it is
            same = False
        if not same:
            self.quick = None
            manual_seed(seed)
            init()

    def _take_over(self, other: Reached) -> None:
        """Take the values of what another call of the builder made."""
        for mine, theirs in ((self.reached.leaves, other.leaves), (_plain(self.reached), _plain(other))):
            for name, tensor in mine.items():
                if name in theirs:
                    tensor.assign(theirs[name].detach())

    @contextmanager
    def restored(self) -> Iterator[Journal]:
        """At the end of the block everything is as it was."""
        before = self.states()
        settings = [(group, dict(group)) for one in self.optimizers.values() for group in one.param_groups]
        modes = {name: module._training for name, module in self.reached.modules.items()}
        journal = Journal([default_generator.key, default_generator.counter])
        seed = default_generator._seed
        with journal.open():
            for one in self.optimizers.values():
                _set_state(one, {})
            try:
                yield journal
            finally:
                for group, values in settings:
                    for key, value in values.items():
                        if key != "params" and group[key] is not value:
                            group[key] = value
                self.set_states(before)
                for name, module in self.reached.modules.items():
                    if module._training is not modes[name]:
                        object.__setattr__(module, "_training", modes[name])
                journal.undo()
                default_generator._seed = seed
                self.applied = {}


def compiled_init(init: Any) -> Jitted | None:
    """`model.reset_parameters` as machine code, which is ten times as fast; None where a user's class has a part in it,
    whose Python may do what a trace does not see.
    """
    model = getattr(init, "__self__", None)
    if not isinstance(model, Module) or getattr(init, "__name__", "") != "reset_parameters" or not usable():
        return None
    own = [getattr(type(one), "reset_parameters", None) for one in model.modules()]
    ours = all(one.__module__.partition(".")[0] == __package__.partition(".")[0] for one in own if one)
    return jit(init) if ours else None


def _set_state(optimizer: Any, state: Any) -> None:
    optimizer.state = state


def _plain(reached: Reached) -> dict[str, Tensor]:
    """Tensors that nobody trains, by the names of the plain data that has them."""
    found = {}
    for name, (value, _) in reached.values.items():
        for k, tensor in enumerate(tensors_in(value)):
            found[f"{name}.{k}"] = tensor
    return found


def _is_numeric(value: Any) -> bool:
    parts = value if isinstance(value, (list, tuple)) else (value,)
    return bool(parts) and all(is_number(part) for part in parts)


def _check_kind(name: str, value: Any, usual: Any) -> None:
    """Raise ConfigError for a value of another kind than the one there is."""
    same = (
        isinstance(value, bool) == isinstance(usual, bool) and _is_numeric(value) == _is_numeric(usual)
        if _is_numeric(usual) or isinstance(usual, bool)
        else True
    )
    if not same:
        raise ConfigError(message("sweep", f"the setting {name}={shown(value)}", f"a value such as {shown(usual)}"))


def evaluation_takes(evaluate: Callable[..., Any] | None, count: int, held: bool) -> bool:
    """Whether an evaluation is given rows: where some are `held` out, one that can take as many arguments as there are
    columns of data, else one that has to.
    """
    taken = None if evaluate is None else takes(evaluate)
    if taken is None:
        return False
    own = [one for one in taken if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one for one in own if one.default is one.empty]
    several = any(one.kind is one.VAR_POSITIONAL for one in taken)
    if len(needed) <= count and (several or len(own) >= count) and (held or needed):
        return True
    if needed:
        got = f"evaluate with {len(needed)} arguments for {count} columns of data"
        raise ConfigError(message("sweep", got, f"none, or {count}: the rows held out"))
    return False
