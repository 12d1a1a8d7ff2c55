"""`fit(..., snapshots=k)`: keeps the state after every k epochs in `history.snapshots`.

A snapshot is what a checkpoint holds (`resume.py`) without the history, taken apart into arrays by name and the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import Any, Final

import numpy as np

from ..callbacks import Checkpoint
from ..errors import ConfigError, message
from ..nn import Module
from ..optim import Optimizer
from ..random import Generator, default_generator
from ..snapshots import HERE, HIDDEN, Snapshot, Snapshots, filled
from ..tensor import Tensor
from ..tensor.arrays import is_shared
from ..tensor.core import constant
from .reach import Reached, tensors_in
from .resume import Progress

Path = tuple[Any, ...]  # of an array in the state: the keys that lead there
Place = tuple[Path, slice | None]  # and which part of the array
UNNAMED: Final = f"{HIDDEN}unnamed) "  # begins the keys of tensors to which no variable leads
_TENSOR: Final = "tensor"  # whether it is one there
_PLAIN: Final = ("kinds", "trained", "training")  # the parts that have no arrays
_NAMED: Final = ("state", "tensors", "values")  # the parts of the state whose arrays have names of their own

SLOTS: Final = 1024  # epochs of one call of a native run after which it copies the state aside


class Keeper:
    """A callback that takes the snapshots, of what a `progress` knows as the state.

    A native run is interrupted for the epochs that it `pause`s in. Where nobody but the run changes the state, and that
    is not large, the run copies it aside itself, and is interrupted where there is no more room for copies.
    """

    only_logs = after_others = True  # it changes nothing, and sees what the other callbacks changed

    def __init__(self, every: int, reached: Reached) -> None:
        self.every, self.reached = every, reached  # what the step reaches
        self.begun: Begun | None = None
        self.slots = 1  # epochs that a native run has room for
        self.memo: dict[int, tuple[Any, Any]] = {}  # of tensors that stay as they are

    def open(self, run: Any, rerun: Any, data: Callable[[], str]) -> None:
        """Let the history have snapshots, and what `tg.replay` has to know of the run."""
        if not run.history.snapshots:
            run.history.snapshots = Snapshots(self.every)
        run.history.snapshots.run, run.history.snapshots.print_of_data = rerun, data

    def start(self, run: Any, order: Generator | None = None, changing: Sequence[Any] = ()) -> None:
        """Begin with the state that is there now; a native run changes these tensors of it."""
        self.begun, self.slots = None, 1
        self.progress = run.history.snapshots.run.asked.state()
        self.progress.order = order or self.progress.order
        self.nodes = nodes_of(self.progress.first)
        self.changing = frozenset(map(id, changing))
        held = self.progress.first.holds() | ({id(order.key), id(order.counter)} if order is not None else set())
        lost = (one for one in changing if id(one) not in held)
        self.unnamed = {f"{UNNAMED}{k}": one for k, one in enumerate(lost)}
        if not (self.unnamed or self.progress.first.leaves):
            got = "snapshots of a step whose variables lead to no tensor that is trained"
            hint = "functions of installed packages are not looked into"
            raise ConfigError(message("fit", got, "a step that names its model, or is a method of what has it", hint))
        run.history.snapshots.begin(run.epoch, *self._taken(run))

    def pause(self, run: Any) -> int:
        """The next epoch whose end it has to see."""
        kept = run.history.snapshots
        return int(min(kept.next(run.epoch) + (self.slots - 1) * kept.every, run.epochs))

    def __call__(self, run: Any, logs: Mapping[str, float]) -> None:
        """Take one, if it is time."""
        kept, now = run.history.snapshots, range(run.epoch, run.epoch + 1)
        if kept.due(now) and run.epoch not in kept and kept.room_for(now):
            kept.add(now, [self._taken(run)[0]])

    def _taken(self, run: Any) -> tuple[Snapshot, int]:
        """The state that is there now, and its bytes."""
        reached = self.progress.reached()
        changed = {name for name, nodes in nodes_of(reached).items() if nodes != self.nodes.get(name)}
        changed |= changed_by(self.changing, reached)
        taken = apart(self.progress.state(reached), changed, self.memo)
        arrays = taken.arrays | {key: read_only(one.node.value) for key, one in self.unnamed.items()}
        return Snapshot(run.epoch, arrays, taken.rest, self.unnamed), taken.size

    # ---- of a native run ------------------------------------------------------------------------------------------

    def follow(self, run: Any, state: Sequence[Any], slots: int, order: Generator | None) -> None:
        """Begin with a native run, which reaches this state and has room for so many values of it."""
        kept = run.history.snapshots
        self.begun, self.slots = Begun(self.reached, kept.run.asked.state, state, order), slots
        kept.begin(run.epoch, (self.begun, 0), self.begun.size)

    def collect(self, run: Any, epochs: range, values: Iterable[Any], moved: Mapping[Any, Any]) -> None:
        """Take those of some epochs: of each tensor that the run changes its values, and of what Python `moved`."""
        if self.begun is None or not epochs:
            return
        chosen = run.history.snapshots.room_for(epochs)
        places = slice((chosen.start - epochs.start) // epochs.step, len(epochs), chosen.step // epochs.step)
        copies = tuple(np.array(one[places]) for one in values)
        later = Later(self.begun, copies, {tensor: each[places] for tensor, each in moved.items()})
        run.history.snapshots.add(chosen, zip(repeat(later), range(len(chosen)), strict=False))


def can_wait(callbacks: Iterable[Any]) -> bool:
    """Whether none of these changes the state between two calls of a native run."""
    return all(getattr(one, "only_logs", False) or isinstance(one, Checkpoint) for one in callbacks)


class Begun:
    """The state when a native run begins, which changes some of its tensors. It is put together when somebody looks:
    nothing else of it matters to the run, or is changed by it.
    """

    def __init__(
        self,
        reached: Reached,
        progress: Callable[[Reached], Progress],
        state: Sequence[Any],
        order: Generator | None,
    ) -> None:
        self.reached, self.progress, self.order = reached, progress, order
        streams = [default_generator] if order is None else [default_generator, order]  # Python may draw from them
        self.tensors = [one.handle for one in state] + [one for own in streams for one in (own.key, own.counter)]
        self.values = [one.node.value for one in self.tensors]  # copies of what lies in the memory of the run
        self.changing = [one.handle for one in state if one.changes]
        self.size = sum(one.view.nbytes for one in state if one.changes)
        optimizers = [value for value in reached.objects.values() if isinstance(value, Optimizer)]
        self.groups = {id(one): [{**group} for group in one.param_groups] for one in optimizers}
        self.trained = {name: leaf.requires_grad for name, leaf in reached.leaves.items() if leaf.is_leaf}
        self.training = {name: module._training for name, module in reached.modules.items()}

    @cached_property
    def taken(self) -> Taken:
        """The state, taken apart."""
        reached, changing = self.reached, frozenset(map(id, self.changing))
        if not any(value is default_generator for value in reached.objects.values()):
            reached.objects["default_generator"] = default_generator
        progress = self.progress(reached)
        progress.order = self.order
        content = progress.state(reached)
        for name, value in reached.objects.items():
            if id(value) in self.groups:
                now = content["state"][name]
                numbers = [{"params": group["params"]} for group in now["param_groups"]]
                groups = [{**then, **own} for then, own in zip(self.groups[id(value)], numbers, strict=True)]
                content["state"][name] = {**now, "param_groups": groups}
        content |= {"trained": self.trained, "training": self.training, "streams": {}, "shared streams": {}}
        taken = apart(content, changed_by(changing, reached), {})
        return replace(taken, arrays=self._over(taken, zip(self.tensors, self.values, strict=True)))

    @cached_property
    def paths(self) -> dict[int, list[Place]]:
        """Where in the state the value of each tensor is."""
        return paths_of(self.reached, self.order)

    @cached_property
    def unnamed(self) -> dict[str, Any]:
        """The tensors of the run to which no variable leads, by the keys that they get."""
        known = self.taken.keys
        lost = [one for one in self.changing if not any(path in known for path, _ in self.paths.get(id(one), ()))]
        return {f"{UNNAMED}{k}": one for k, one in enumerate(lost)}

    def _over(self, taken: Taken, values: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
        """The arrays, where these tensors have these values."""
        arrays = dict(taken.arrays)
        for tensor, value in values:
            for path, part in self.paths.get(id(tensor), ()):
                key = taken.keys.get(path)
                if key is None:
                    continue
                if part is None:
                    arrays[key] = read_only(value)
                else:
                    whole = np.array(arrays[key])
                    whole[part] = value
                    arrays[key] = read_only(whole)
        return arrays

    def made(self, epoch: int, place: int, values: Sequence[tuple[Any, Any]] = ()) -> Snapshot:
        """That of the beginning, or of a time when these tensors had these values."""
        arrays = self._over(self.taken, values)
        found = dict(zip(map(id, self.tensors), self.values, strict=True))
        found |= {id(tensor): value for tensor, value in values}
        arrays |= {key: read_only(found[id(tensor)]) for key, tensor in self.unnamed.items()}
        return Snapshot(epoch, arrays, self.taken.rest, self.unnamed)


@dataclass(frozen=True, slots=True)
class Later:
    """The state after some epochs of a native run: its values of all that it changes, and what Python `moved`."""

    begun: Begun
    values: tuple[Any, ...]
    moved: Mapping[Any, Any]

    def made(self, epoch: int, place: int) -> Snapshot:
        """That of one of the epochs."""
        pairs = [*zip(self.begun.changing, self.values, strict=True), *self.moved.items()]
        return self.begun.made(epoch, place, [(tensor, values[place, ...]) for tensor, values in pairs])


@dataclass(frozen=True, slots=True)
class Taken:
    """A state, taken apart: its arrays by key, the rest of it, the keys by path, and how many bytes there are."""

    arrays: dict[str, Any]
    rest: dict[str, Any]
    keys: dict[Path, str]
    size: int


def paths_of(reached: Reached, order: Generator | None) -> dict[int, list[Place]]:
    """Where in a state the value of each tensor is, by its id."""
    found: dict[int, list[Place]] = {}

    def note(tensor: Any, *path: Any, part: slice | None = None) -> None:
        if isinstance(tensor, Tensor):
            found.setdefault(id(tensor), []).append((path, part))

    def note_generator(generator: Generator, *path: Any) -> None:
        note(generator.key, *path, part=slice(2))
        note(generator.counter, *path, part=slice(2, 3))

    for name, value in reached.objects.items():
        if isinstance(value, Module):
            for key, tensor in value.state_dict(keep_vars=True).items():
                note(tensor, "state", name, key)
        elif isinstance(value, Optimizer):
            numbers = {p: k for k, p in enumerate(p for group in value.param_groups for p in group["params"])}
            for p, own in value.state.items():
                for key, tensor in own.items():
                    note(tensor, "state", name, "state", numbers[p], key)
        elif isinstance(value, Generator):
            note_generator(value, "state", name, "state")
    for name, tensor in reached.tensors.items():
        note(tensor, "tensors", name)
    for name, leaf in reached.leaves.items():
        note(leaf.grad, "gradients", name)
    for name, (value, _) in reached.values.items():
        stack: list[tuple[Any, Path]] = [(value, ("values", name))]
        while stack:
            part, path = stack.pop()
            note(part, *path)
            if isinstance(part, (list, tuple, dict)):
                items = part.items() if isinstance(part, dict) else enumerate(part)
                stack += [(one, (*path, key)) for key, one in items]
    if order is not None:
        note_generator(order, "order")
    return found


def apart(content: Mapping[str, Any], changed: Container[str], memo: dict[int, tuple[Any, Any]]) -> Taken:
    """A state, taken apart. Of the tensors that nobody trains those that `changed` have names; others are often the
    same, so `memo` has what stands for them.
    """
    modules = [name for name, state in content["state"].items() if state and name in content["training"]]
    only = modules[0] if len(modules) == 1 else None
    arrays: dict[str, Any] = {}
    keys: dict[Path, str] = {}

    def key_of(path: Path) -> str:
        section, *names = path
        key = ".".join(map(str, names[1:] if section == "state" and names[0] == only else names))
        hidden = section not in _NAMED or (section == "state" and content["kinds"][names[0]] == "Generator")
        if hidden or (section == "values" and names[0] not in changed):
            key = f"{HIDDEN}{section}) {key}"
        while key in arrays:
            key += "'"
        return key

    def taken(value: Any, path: Path) -> Any:
        if isinstance(value, (Tensor, np.ndarray)):
            keys[path] = key = key_of(path)
            if path[0] == "values" and isinstance(value, Tensor):
                node, array = memo.get(id(value.node), (None, None))
                arrays[key] = array if node is value.node else read_only(value.node.value)
                memo[id(value.node)] = value.node, arrays[key]
            else:
                arrays[key] = read_only(value.node.value if isinstance(value, Tensor) else np.array(value))
            return {HERE: key, _TENSOR: isinstance(value, Tensor)}
        if isinstance(value, dict):
            return {name: taken(part, (*path, name)) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([taken(part, (*path, k)) for k, part in enumerate(value)])
        return value

    rest = {name: part if name in _PLAIN else taken(part, (name,)) for name, part in content.items()}
    return Taken(arrays, rest, keys, sum(array.nbytes for array in arrays.values()))


def read_only(value: Any) -> Any:
    """A value that stays as it is, whoever may write to its memory."""
    array = np.array(value) if is_shared(value) else np.asarray(value).view()
    array.flags.writeable = False
    return array


def nodes_of(reached: Reached) -> dict[str, list[Any]]:
    """What tells whether the tensors that nobody trains hold what they held."""
    return {name: [one.node for one in tensors_in(value)] for name, (value, _) in reached.values.items()}


def changed_by(changing: frozenset[int], reached: Reached) -> set[str]:
    """The names of what nobody trains in which one of these tensors is."""
    values = ((name, value) for name, (value, _) in reached.values.items())
    return {name for name, value in values if not changing.isdisjoint(map(id, tensors_in(value)))}


def put_back(progress: Progress, snapshot: Snapshot) -> None:
    """Give everything the state of a snapshot. Raises ConfigError where that does not fit."""

    def found(place: Mapping[str, Any]) -> Any:
        array = snapshot.arrays[place[HERE]]
        return Tensor.handle(constant(array)) if place[_TENSOR] else np.array(array)

    progress.restore(filled(snapshot.rest, found), f"a snapshot of epoch {snapshot.epoch:,}", "replay")
    for key, tensor in snapshot.unnamed.items():
        tensor.assign(Tensor.handle(constant(snapshot.arrays[key])))
