"""What goes wrong in a batch, in the user's words: epoch, batch and row of their data; and the state as it was before.

Two things go wrong. A label or index is out of range: the error gets the place in the data (`locate`). A result or a
new value of the state is not finite: `Health` warns, or, where it is to raise, an eager replay of the batch from the
state before it finds the operation and the line (`explained`).

Every tensor that is given another value while a `Journal` is open is noted there, with what it held; `undo` gives it
back, bit for bit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np

from ..anomaly import Origin, Watcher, watched_by
from ..errors import ConfigError, NonFiniteError, TinygradError, message
from ..graph.graph import Array
from ..history import History
from ..ops.lookup import Divisor, Lookup, row_words
from ..support.pytree import flatten
from ..support.settings import shown
from ..tensor import Tensor
from ..tensor.context import user_level
from ..tensor.core import Core, constant, mode

Reaction = Literal["warn", "raise", "ignore"]
REACTIONS: Final = ("warn", "raise", "ignore")
SHOWN: Final = 5  # rows that a message names
TRIED: Final = 1024  # rows of a batch that are run one by one, to find which of them is bad
_HOME: Final = str(Path(__file__).parents[1])


class NonFiniteWarning(RuntimeWarning):
    """A mean of training, or a score, became NaN or infinite.

    >>> import tinygrad_nn as tg
    >>> issubclass(tg.NonFiniteWarning, RuntimeWarning)
    True
    """


@dataclass(frozen=True, slots=True)
class Place:
    """Where training is: the epoch from 1, the batch from 0, the rows of the data that are in it, and their arrays.

    Without a batch it is the evaluation after the epoch. Of rows that come from files, `called` gives the number of one
    in its file, and the file. `model` is the number of one of many.
    """

    epoch: int
    batch: int | None = None
    rows: Array | None = None
    columns: tuple[Array, ...] = ()
    called: Callable[[int], tuple[int, str]] | None = None
    model: int | None = None

    def __str__(self) -> str:
        of = "" if self.model is None else f"model {self.model}, "
        return f"{of}epoch {self.epoch}, " + ("evaluation" if self.batch is None else f"batch {self.batch}")

    def tensors(self, chosen: slice | list[int] = slice(None)) -> tuple[Tensor, ...]:
        """The arguments of the step, for all rows of the batch or some."""
        return tuple(Tensor.handle(constant(column[chosen])) for column in self.columns)


# ---- labels and indices --------------------------------------------------------------------------------------------


def locate(error: TinygradError, place: Place) -> None:
    """Let the error of a number that came from data name its row there, its epoch and its batch."""
    lookup = getattr(error, "lookup", None)
    if not isinstance(lookup, (Lookup, Divisor)):
        return
    own = lookup.own_place()
    known = own if place.rows is None else _in_data(lookup.values, lookup.place, own, place)
    if known and place.called is not None:
        row, source = place.called(known[0])
        where = f" in {row_words((row, *known[1:]))} of {source} ({place})"
    elif known:
        where = f" in {row_words(known)} ({place})"
    else:
        where = f" at position {list(own)} ({place})" if own else f" ({place})"
    error.args = (lookup.text(where),)


def _in_data(values: Array, at: tuple[int, ...], own: tuple[int, ...], place: Place) -> tuple[int, ...]:
    """A place in the user's data: that of the same numbers in a column of the batch, in whatever shape or with time
    first, or in another order if there is only one such number; else the row that it has by its first axis, where that
    alone counts the samples of the batch; else nothing.
    """
    rows = cast(Array, place.rows)
    flat = int(np.ravel_multi_index(at, values.shape)) if at else 0
    for column in place.columns:
        if column.size == values.size:
            numbers = np.arange(column.size).reshape(column.shape)
            for axes in ((0, 0), (0, 1))[: column.ndim]:
                if np.array_equal(column.swapaxes(*axes).reshape(-1), values.reshape(-1)):
                    row, *rest = np.argwhere(numbers == numbers.swapaxes(*axes).reshape(-1)[flat])[0].tolist()
                    return int(rows[row]), *rest
    for column in place.columns:
        if column.size == values.size and np.array_equal(np.sort(column, axis=None), np.sort(values, axis=None)):
            same = np.argwhere(column == values[at]).tolist()
            return (int(rows[same[0][0]]), *same[0][1:]) if len(same) == 1 else ()
    if values.ndim and len(values) == len(rows) not in values.shape[1:]:
        as_in_data = any(column.shape[1:] == values.shape[1:] for column in place.columns)
        return int(rows[own[0]]), *(own[1:] if as_in_data else ())
    return ()


# ---- taking back ---------------------------------------------------------------------------------------------------


class Journal:
    """What tensors held before they were written. `held` are tensors that are written where nobody sees it."""

    def __init__(self, held: Iterable[Core] = ()) -> None:
        self.before: dict[int, tuple[Core, Any, Any]] = {}
        for handle in held:
            self.note(handle)

    def note(self, handle: Core) -> None:
        """This tensor is about to hold another value."""
        if id(handle) not in self.before:
            node = handle.node
            self.before[id(handle)] = handle, node, node.value  # reads what lies in an arena, where it would change

    def undo(self) -> None:
        """Give every tensor its own node back."""
        for handle, node, _ in self.before.values():
            handle.node = node
            if node.slot is not None and node.slot.owner >= 0:
                node.slot.owner = node.serial

    def gone_bad(self) -> list[Core]:
        """The tensors that were finite and are not any more."""
        return [
            handle
            for handle, _, value in self.before.values()
            if not _is_finite(handle.node.value) and _is_finite(value)
        ]

    @contextmanager
    def open(self) -> Iterator[Journal]:
        """Within the block writes are noted."""
        outer, mode.journal = mode.journal, self
        try:
            yield self
        finally:
            mode.journal = outer


def _is_finite(value: Any) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


class Gradients:
    """The gradients of tensors, to be put back with their values."""

    def __init__(self, handles: Iterable[Core] = ()) -> None:
        self.handles: dict[int, Core] = {id(handle): handle for handle in handles}
        self.kept: list[tuple[Any, Any, Any]] = []

    def keep(self) -> None:
        """Remember what the tensors known so far have."""
        slots = [handle.node.slot for handle in self.handles.values()]
        self.kept = [(slot, slot.grad, getattr(slot.grad, "node", None)) for slot in slots if slot is not None]

    def undo(self) -> None:
        """Put them back."""
        for slot, grad, node in self.kept:
            slot.grad = grad
            if grad is not None:
                grad.node = node

    def learn(self, journal: Journal) -> None:
        """Get to know the tensors of a journal."""
        for key, (handle, node, _) in journal.before.items():
            if key not in self.handles and node.slot is not None:
                self.handles[key] = handle


# ---- what is not finite --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unsound:
    """A number that is not finite: its name, what it is, and where; or so many tensors of the state that hold such."""

    name: str
    value: float
    place: Place
    tensors: int = 0

    def __str__(self) -> str:
        what = f"a NaN or infinity in {self.tensors} of the parameters, buffers and optimizer states after"
        return f"{what if self.tensors else f'{self.name} {self.value} in'} {self.place}"


class Health:
    """What a run does about numbers that are not finite: the first one goes to the history, and is warned of once."""

    def __init__(self, history: History, reaction: Any) -> None:
        if not isinstance(reaction, str) or reaction not in REACTIONS:
            raise ConfigError(message("fit", f"on_nonfinite={shown(reaction)}", "'warn', 'raise' or 'ignore'"))
        self.history, self.reaction = history, reaction

    @property
    def raises(self) -> bool:
        """Whether the first such number ends the run."""
        return bool(self.reaction == "raise")

    def note(self, found: Unsound) -> None:
        """A mean or a score is not finite."""
        if self.history.nonfinite is not None:
            return
        place = found.place
        self.history.nonfinite = {"name": found.name, "epoch": place.epoch, "batch": place.batch, "value": found.value}
        if self.reaction == "warn":
            hint = 'fit(..., on_nonfinite="raise") names row, operation and line, and restores the state before'
            if self.history.snapshots:
                batch = "" if place.batch is None else f", batch={place.batch}"
                hint = f"tg.replay(history, epoch={place.epoch}{batch}) goes there; {hint}"
            warnings.warn(NonFiniteWarning(message("fit", str(found), "finite numbers", hint)), stacklevel=user_level())

    def fail(self, found: Unsound, step: Callable[..., Any], read: Callable[[Any], Mapping[str, float]]) -> None:
        """Raise NonFiniteError; the state is that before the batch (or the evaluation) now, and stays so."""
        try:
            origin, rows, numbers = explained(step, found.place, read)
        except KeyboardInterrupt:  # ends the search alone
            origin, rows, numbers = None, (), {}
        if not math.isfinite(numbers.get(found.name, 0.0)):  # of a native run only the mean of the epoch is known
            found = replace(found, value=numbers[found.name])
        self.note(found)
        error = NonFiniteError(_report(found, origin, rows))
        error.name, error.epoch, error.batch = found.name, found.place.epoch, found.place.batch
        error.rows, error.history = rows, self.history
        if origin is not None:
            error.op, error.line = origin.op.name, origin.line
        raise error


def first_unsound(numbers: Mapping[str, float], place: Place) -> Unsound | None:
    """The first number that is not finite."""
    for name, value in numbers.items():
        if not np.isfinite(value):
            return Unsound(name, value, place)
    return None


def written(place: Place, count: int) -> Unsound:
    """Tensors that a batch left with values that are not finite, though what it returned is."""
    return Unsound("state", float("nan"), place, count)


def explained(
    step: Callable[..., Any], place: Place, read: Callable[[Any], Mapping[str, float]]
) -> tuple[Origin | None, tuple[int, ...], Mapping[str, float]]:
    """The operation that made the first number that is not finite, the rows of the data it did so for, and what the
    step returned, by an eager replay; None where that does not find one. The state stays as it is.
    """
    numbers: dict[str, float] = {}

    def kept(returned: Any) -> Mapping[str, float]:
        numbers.update(read(returned))
        return numbers

    origin, _ = _replayed(step, place.tensors(), kept)
    if origin is None or place.rows is None:
        return origin, (), numbers

    def alone(k: int) -> tuple[Origin | None, bool]:
        found, worked = _replayed(step, place.tensors([k]), read)
        return (found, worked) if worked else _replayed(step, place.tensors([k, k]), read)  # statistics need two

    chosen = _bad_rows(origin, len(place.rows), alone)
    return origin, tuple(place.rows[chosen].tolist()), numbers


def _bad_rows(origin: Origin, count: int, alone: Callable[[int], tuple[Origin | None, bool]]) -> Array:
    """The rows of a batch for which an operation made something that is not finite: by the first axis of its result,
    unless that turns out not to be that of the samples, else by a run of each row `alone`; none if all depends on all.
    """
    everywhere = np.arange(count)
    bad = origin.bad
    if count == 1:
        return everywhere
    if bad.ndim and len(bad) == count:
        is_bad = bad.reshape(count, -1).any(1)
        chosen, others = np.flatnonzero(is_bad), np.flatnonzero(~is_bad)
        tried = [(alone(k), k) for k in (*chosen[:SHOWN].tolist(), *others[:SHOWN].tolist())]
        if all((found is not None) == is_bad[k] or not worked for (found, worked), k in tried):
            return chosen
    if count > TRIED:
        return everywhere[:0]
    return np.flatnonzero([alone(k)[0] is not None for k in range(count)])


def _replayed(
    step: Callable[..., Any], batch: Sequence[Tensor], read: Callable[[Any], Any]
) -> tuple[Origin | None, bool]:
    """What made something that is not finite, and whether the step worked at all: it may not on a single row."""
    watcher, journal = Watcher(), Journal()
    try:
        with journal.open(), watched_by(watcher):
            returned = step(*batch)
            watcher.report_values()
        left = [*flatten(returned)[0], *journal.gone_bad()]
        origins = [watcher.origin_of(one.node.value) for one in left if isinstance(one, Tensor)]
        sound = all(map(math.isfinite, read(returned).values()))
        return next(filter(None, origins), None if sound else watcher.given), True
    except TinygradError:
        return watcher.found, watcher.found is not None
    finally:
        journal.undo()


def _report(found: Unsound, origin: Origin | None, rows: tuple[int, ...]) -> str:
    got = str(found)
    place = found.place
    if place.rows is not None and rows:
        every = len(rows) == len(place.rows) > 1
        listed = _rows(rows, place)
        got += f", {listed if not every else f'in every row of the batch ({listed})'}"
    state = "the state is that before the batch" if place.batch is not None else "the state is that after the epoch"
    if origin is None:
        hint = f"an eager replay of it finds no operation that makes one of finite numbers; {state}"
        return message("fit", got, "finite numbers", hint)
    return message("fit", f"{got}: {origin}", "finite numbers", f"{origin.hint}; {state}")


def _rows(rows: Sequence[int], place: Place) -> str:
    if place.called is not None:
        named = [f"row {row} of {source}" for row, source in map(place.called, rows[:SHOWN])]
        return ", ".join(named) + (f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")
    shown = ", ".join(map(str, rows[:SHOWN])) + (f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")
    return f"row{'s' * (len(rows) > 1)} {shown} of the data"
