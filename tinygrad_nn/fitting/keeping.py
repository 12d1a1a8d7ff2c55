"""`fit(..., snapshots=k)`: keeps the state after every k epochs in `history.snapshots`.

A snapshot is what a checkpoint holds (`resume.py`) without the history, taken apart into arrays by name and the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ..snapshots import HERE, HIDDEN, Snapshot, Snapshots, filled
from ..tensor import Tensor
from ..tensor.arrays import is_shared
from ..tensor.core import constant
from .resume import Progress
from .running import Fit

Path = tuple[Any, ...]  # of an array in the state: the keys that lead there
_TENSOR: Final = "tensor"  # whether it is one there
_NAMED: Final = ("state", "tensors", "values")  # the parts of the state whose arrays have names of their own


class Keeper:
    """A callback that takes the snapshots. A native run is interrupted for the epochs that it `pause`s in."""

    only_logs = after_others = True  # it changes nothing, and sees what the other callbacks changed

    def __init__(self, progress: Progress, every: int) -> None:
        self.progress, self.every = progress, every

    def start(self, run: Fit) -> None:
        """Begin with the state that is there now, unless a run that goes on has it already."""
        if not run.history.snapshots:
            run.history.snapshots = Snapshots(self.every)
        if run.epoch not in run.history.snapshots:
            self.take(run)

    def pause(self, run: Fit) -> int:
        """The next epoch whose end it has to see."""
        return min(run.history.snapshots.next(run.epoch), run.epochs)

    def __call__(self, run: Fit, logs: Mapping[str, float]) -> None:
        """Take one, if it is time."""
        if run.epoch % run.history.snapshots.every == 0:
            self.take(run)

    def take(self, run: Fit) -> None:
        """Take one."""
        arrays, rest, _ = apart(self.progress.state(self.progress.reached()))
        run.history.snapshots.add(Snapshot(run.epoch, arrays, rest), sum(one.nbytes for one in arrays.values()))


def apart(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[Path, str]]:
    """The arrays of a state by name, the rest of it, and the names by path."""
    modules = [name for name, state in content["state"].items() if state and name in content["training"]]
    only = modules[0] if len(modules) == 1 else None
    arrays: dict[str, Any] = {}
    keys: dict[Path, str] = {}

    def key_of(path: Path) -> str:
        section, *names = path
        key = ".".join(map(str, names[1:] if section == "state" and names[0] == only else names))
        if section not in _NAMED or (section == "state" and content["kinds"][names[0]] == "Generator"):
            key = f"{HIDDEN}{section}) {key}"
        while key in arrays:
            key += "'"
        return key

    def taken(value: Any, path: Path) -> Any:
        if isinstance(value, (Tensor, np.ndarray)):
            keys[path] = key = key_of(path)
            arrays[key] = _read_only(value.node.value if isinstance(value, Tensor) else np.array(value))
            return {HERE: key, _TENSOR: isinstance(value, Tensor)}
        if isinstance(value, dict):
            return {name: taken(part, (*path, name)) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([taken(part, (*path, k)) for k, part in enumerate(value)])
        return value

    return arrays, {name: taken(part, (name,)) for name, part in content.items()}, keys


def _read_only(value: Any) -> Any:
    """A value that stays as it is, whoever may write to its memory."""
    array = np.array(value) if is_shared(value) else np.asarray(value).view()
    array.flags.writeable = False
    return array


def together(snapshot: Snapshot) -> Any:
    """The state again."""

    def found(place: Mapping[str, Any]) -> Any:
        array = snapshot.arrays[place[HERE]]
        return Tensor.handle(constant(array)) if place[_TENSOR] else np.array(array)

    return filled(snapshot.rest, found)
