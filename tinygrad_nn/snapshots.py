"""`Snapshots`: the state of a training run after some of its epochs, in memory that is bounded.

A `Snapshot` has two halves: arrays by name, and what is left of the state, plain data with a `{HERE: key}` where an
array stood. Nobody changes either: the arrays are read-only, and many snapshots share those that stayed the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np

from .errors import ConfigError, UnknownName, message
from .support.bundle import bundle
from .support.settings import check_kinds, is_whole, mapping, shown
from .support.tables import html_text

MOST: Final = 128  # snapshots that are kept at a time, or fewer: as many as take
ROOM: Final = 2**28  # bytes
HERE: Final = "array of the snapshot"
HIDDEN: Final = "("  # what the key of an array begins with that is no part of a state_dict: a gradient, a generator
Array = Any
EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


class Source(Protocol):
    """Where snapshots come from that are put together when somebody looks at them."""

    def made(self, epoch: int, place: int) -> Snapshot:
        """That of an epoch, which has a place there."""


class Snapshot(Mapping[str, Any]):
    """The state after one epoch: arrays by the names of `state_dict`, those of optimizers behind the optimizer's name.

    A model that is the only one has its own names, `0.weight`; of several each has its variable before them,
    `critic.0.weight`. `objects` has the state_dict of each by its variable, for `load_state_dict`.
    """

    __slots__ = ("arrays", "epoch", "rest", "unnamed")

    def __init__(self, epoch: int, arrays: Mapping[str, Array], rest: Any, unnamed: Mapping[str, Any] = EMPTY) -> None:
        self.epoch, self.arrays, self.rest = epoch, arrays, rest
        self.unnamed = unnamed  # tensors of this process by key, to which no variable leads

    @property
    def objects(self) -> dict[str, Any]:
        """What each object's `state_dict()` was, by the name of its variable; arrays in place of tensors."""
        state: dict[str, Any] = filled(self.rest["state"], lambda place: self.arrays[place[HERE]])
        return state

    def __getitem__(self, name: str) -> Any:
        if not isinstance(name, str) or name not in self.arrays or name.startswith(HIDDEN):
            known = ", ".join(map(repr, list(self)[:20])) + ", ..." * (len(self) > 20)
            raise UnknownName(message("snapshots", f"the name {shown(name)}", f"one of {known or 'none'}"))
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.arrays if not name.startswith(HIDDEN))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __reduce__(self) -> Any:
        return Snapshot, (self.epoch, dict(self.arrays), self.rest)

    def __repr__(self) -> str:
        size = sum(array.nbytes for array in self.values())
        return f"Snapshot after epoch {self.epoch:,}: {len(self)} arrays, {_bytes(size)}"

    def _repr_html_(self) -> str:
        return html_text(repr(self))

    _repr_mimebundle_ = bundle


Entry = Snapshot | tuple[Source, int]


class Snapshots(Mapping[int, Snapshot]):
    """`history.snapshots`: the state by epoch, 0 being that before the first one. Read-only.

    `every` epochs there is one. When there would be more than `most`, every second one goes and `every` doubles.

    >>> import tinygrad_nn as tg
    >>> __name__ = "__main__"  # what belongs to a package is not looked into
    >>> w = tg.zeros(1, requires_grad=True)
    >>> def step(x):
    ...     w.grad = None
    ...     loss = ((x - w) ** 2).mean()
    ...     loss.backward()
    ...     w.data -= 0.25 * w.grad
    ...     return loss
    >>> history = tg.fit(step, [1.0, 1.0], epochs=4, progress=False, snapshots=2)
    >>> {epoch: state["w"].tolist() for epoch, state in history.snapshots.items()}
    {0: [0.0], 2: [0.75], 4: [0.9375]}
    >>> history.snapshots
    Snapshots: 3, of epochs 0 to 4, every 2; 12 B
    """

    def __init__(self, every: int = 0) -> None:
        self.asked = self.every = every
        self.most, self.first = MOST, 0
        self.run: Any = None  # what `tg.replay` goes on with; not saved
        self.print_of_data: Callable[[], str] = str  # works a hash of the data out
        self._kept: dict[int, Entry] = {}

    @property
    def data(self) -> str:
        """A hash of the data."""
        return self.print_of_data()

    def next(self, epoch: int) -> int:
        """The next epoch after this one whose state is kept."""
        return epoch - epoch % self.every + self.every

    def begin(self, epoch: int, kept: Entry, size: int) -> None:
        """Keep the first one, of so many bytes, or the one that a run goes on from."""
        if not self._kept:
            self.most, self.first = max(2, min(MOST, ROOM // max(size, 1))), epoch
            self._kept[epoch] = kept
        elif epoch not in self._kept:
            self.add(self.room_for(range(epoch, epoch + 1)), [kept])

    def due(self, epochs: range) -> range:
        """Those of some epochs after which there is one."""
        return range(-(-epochs.start // self.every) * self.every, epochs.stop, self.every)

    def room_for(self, epochs: range) -> range:
        """Those of some more epochs that are kept; others may have to go for them."""
        before, kept = self.every, list(self._kept)
        while len(kept) + len(self.due(epochs)) > self.most:
            self.every *= 2
            kept = [epoch for epoch in kept if epoch % self.every == 0 or epoch == self.first]
        if self.every > before:
            self._kept = {epoch: self._kept[epoch] for epoch in kept}
        return self.due(epochs)

    def add(self, epochs: range, kept: Iterable[Entry]) -> None:
        """Keep those of some epochs for which there was `room_for`, each as it is, or as a place in its source."""
        self._kept.update(zip(epochs, kept, strict=False))

    def before(self, epoch: int) -> Snapshot:
        """The last one of this epoch or an earlier one. Raises UnknownName where there is none."""
        found = [one for one in self._kept if one <= epoch]
        return self[max(found)] if found else self[epoch]

    def __getitem__(self, epoch: int) -> Snapshot:
        if not is_whole(epoch) or int(epoch) not in self._kept:
            known = f"one of {_listed(list(self._kept))}" if self._kept else "fit(..., snapshots=10), which keeps them"
            hint = f"tg.replay(history, epoch={epoch}) goes to any" if self._kept and is_whole(epoch) else ""
            raise UnknownName(message("snapshots", f"epoch {shown(epoch)}", known, hint))
        found = self._kept[int(epoch)]
        if not isinstance(found, Snapshot):
            source, place = found
            self._kept[int(epoch)] = found = source.made(int(epoch), place)
        return found

    def __contains__(self, epoch: object) -> bool:
        return epoch in self._kept

    def __iter__(self) -> Iterator[int]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        if not self._kept:
            return "Snapshots: none; fit(..., snapshots=10) keeps the state of every tenth epoch"
        arrays = {id(array): array.nbytes for one in self.values() for array in one.values()}
        thinned = f" (asked for: every {self.asked}; there is room for {self.most})" * (self.every > self.asked)
        ends = f"{min(self._kept):,} to {max(self._kept):,}"
        size = _bytes(sum(arrays.values()))
        return f"Snapshots: {len(self._kept)}, of epochs {ends}, every {self.every:,}{thinned}; {size}"

    def _repr_html_(self) -> str:
        return html_text(repr(self))

    _repr_mimebundle_ = bundle

    def __getstate__(self) -> dict[str, Any]:
        known = self.data
        return {**vars(self), "_kept": dict(self.items()), "run": None, "print_of_data": partial(str, known)}

    def state_dict(self) -> dict[str, Any]:
        """For `tg.save`: each array of all epochs as one, and the rest of the state once where it stays the same."""
        kept = list(self.values())
        rests: list[Any] = []
        which = [_number(one.rest, rests) for one in kept]
        arrays: dict[str, list[tuple[int, Array]]] = {}
        for k, one in enumerate(kept):
            for key, array in one.arrays.items():
                arrays.setdefault(key, []).append((k, array))
        return {
            "data": self.data,
            "asked": self.asked,
            "every": self.every,
            "most": self.most,
            "epochs": np.array([one.epoch for one in kept], np.int64),
            "which": np.array(which, np.int64),
            "rests": rests,
            "arrays": [_stacked(key, values) for key, values in arrays.items()],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state_dict: all of it or, on error, nothing."""
        check_kinds("Snapshots", state_dict, {**Snapshots().state_dict(), "rests": [], "arrays": []})
        rests: Sequence[Any] = [mapping("Snapshots", rest) for rest in state_dict["rests"]]
        try:
            epochs, which = state_dict["epochs"].tolist(), state_dict["which"].tolist()
            arrays: list[dict[str, Array]] = [{} for _ in epochs]
            for key, places, values in state_dict["arrays"]:
                for place, value in zip(places.tolist(), values, strict=True):
                    arrays[place][key] = np.asarray(value)
            pairs = zip(epochs, which, arrays, strict=True)
            kept = {int(epoch): Snapshot(int(epoch), named, rests[k]) for epoch, k, named in pairs}
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            got = f"a state of which no snapshots follow ({error})"
            raise ConfigError(message("Snapshots", got, "what state_dict() gives")) from None
        self.asked, self.every, self.most = (max(1, int(state_dict[name])) for name in ("asked", "every", "most"))
        known = str(state_dict["data"])
        self.print_of_data = partial(str, known)
        self._kept, self.first = {**kept}, min(kept, default=0)


def filled(rest: Any, found: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Plain data with something in the places of arrays."""
    if isinstance(rest, dict):
        return found(rest) if HERE in rest else {key: filled(value, found) for key, value in rest.items()}
    if isinstance(rest, (list, tuple)):
        return type(rest)([filled(value, found) for value in rest])
    return rest


def _number(rest: Any, rests: list[Any]) -> int:
    """The place of the rest of a state among those that differ."""
    for k, other in enumerate(rests):
        if other is rest or repr(other) == repr(rest):
            return k
    rests.append(rest)
    return len(rests) - 1


def _stacked(key: str, values: Sequence[tuple[int, Array]]) -> tuple[str, Array, Any]:
    """An array's key, the places of the snapshots that have it, and their values: as one array if they are alike."""
    places, arrays = np.array([k for k, _ in values], np.int64), [array for _, array in values]
    alike = len({(array.shape, array.dtype) for array in arrays}) == 1
    return key, places, np.stack(arrays) if alike else arrays


def _listed(epochs: list[int]) -> str:
    if len(epochs) <= 8:
        return ", ".join(map(str, epochs))
    return f"{', '.join(map(str, epochs[:3]))}, ..., {epochs[-1]}"


def _bytes(count: int) -> str:
    return f"{count:,} B" if count < 10_000 else f"{count / 1e3:,.0f} kB" if count < 10**7 else f"{count / 1e6:,.0f} MB"
