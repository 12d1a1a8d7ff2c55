"""The memory of a training run: an arena with the data, the state and what Python fills in and reads in it.

A run may have several of them, with the same machine code: one for each thread that trains models of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from ...errors import GraphError, message
from ...graph.graph import Array, tail_of
from ..image import Image
from ..job import Epochs
from ..loopir.faults import raise_fault

NEVER: Final = 2**62  # a batch that does not come


class RunMemory:
    """An arena of a run. `epochs` stand around its parts; `state` are the values of its tensors from outside."""

    def __init__(self, image: Image, epochs: Epochs, shuffle: bool) -> None:
        made = image.run
        if made is None:
            raise GraphError(message("fit", "a compilation of a call", "one of a run"))
        self.image, self.made, self.rounds = image, made, made.rounds
        self.arena = image.arena()
        self.address, self.view = self.arena.address, self.arena.view
        self.state = [self.view(at) for _, at, _ in made.state]
        control = {name: self.view(at) for name, at in made.control}
        self.history, self.scores = control["history"], control["scores"]
        self.flags, self.count = control["evaluated"], control["epochs"]
        self.now, self.stop, self.sound = control["now"], control["stop"], control["sound"]
        self.stop[...] = NEVER
        self.kept = [self.view(at) for at in made.kept]
        self.taken, self.slot = control.get("taken"), control.get("slot")
        permuted = epochs.permuted
        self.shuffled = shuffle and not permuted
        orders = control.get("order")
        self.own_order = orders if permuted else None  # made natively
        self.orders = None if permuted else orders
        self.variants, self.batches = control.get("variants"), control.get("batches")
        self.sofar: tuple[Any, Any] = 0.0, 0  # before a piece of an epoch: its sums, and how many batches were sound
        self.place: tuple[int, int | None] = (0, None)  # of the last error: epoch of the call, and batch if it was one
        last = [(k, one.rounds - 1 - n, one.short) for k, one in enumerate(made.steps) for n in range(one.rounds)]
        # of every batch, set by set: the step that is for it, and whether it is a short one
        self.cases = np.array([(k, not left and short is not None) for k, left, short in last], np.int64)

    def bring(self, sets: Sequence[Sequence[Array]]) -> None:
        """Put data in the arena, of the shapes the run was made for."""
        for places, columns in zip(self.made.sources, sets, strict=True):
            for at, column in zip(places, columns, strict=True):
                self.view(at)[: len(column)] = column

    def arrange(self, epochs: Iterable[tuple[Array, Array]]) -> None:
        """The batches of the coming epochs: for each the samples by their place in their set, short ones filled up, and
        the number that each batch has when they are counted set by set.
        """
        for k, (rows, numbers) in enumerate(epochs):
            if self.orders is not None:
                self.orders[k] = rows.reshape(-1)
            if self.variants is not None:
                self.variants[k] = self.cases[numbers]

    def keep(self, epochs: range, first: int) -> None:
        """After which epochs of the next call, whose first one has this number, the state is kept."""
        if self.taken is not None and self.slot is not None:
            places = slice(epochs.start - first, epochs.stop - first, epochs.step)
            self.taken[...] = 0
            self.taken[places] = 1
            self.slot[places] = np.arange(len(epochs))

    @property
    def room(self) -> list[Array]:
        """Where the samples lie, for who brings them piece by piece."""
        return [self.view(at) for at in self.made.sources[0]]

    def take_up(self, batches: int, has_short: bool, sofar: tuple[Any, Any]) -> None:
        """The next call is for so many batches of an epoch, of which the last may be short; `sofar` are its sums before
        them, and how many batches were sound.
        """
        if self.batches is None or batches > self.rounds:
            raise GraphError(message("fit", f"{batches} batches at once", "a run made for pieces of that size"))
        self.batches[...], self.sofar = batches, sofar
        if self.variants is not None:
            self.variants[0, :batches] = self.cases[0]
            if has_short:
                self.variants[0, batches - 1] = self.cases[-1]

    def prepare(self, epochs: int, evaluated: Array | Sequence[bool]) -> None:
        """Fill in how many epochs come, and which of them are evaluated."""
        self.count[...] = epochs
        self.flags[:epochs] = evaluated
        self.now[...] = 0
        if self.batches is not None:
            self.history[0], self.sound[0] = self.sofar

    def fail(self, code: int, first: int, lane: int | None = None) -> None:
        """Raise the error of a check that did not hold, in a call whose first epoch has this number; of a model in a
        `lane`, where each has numbers of its own.
        """
        epoch, batch = self.now.tolist()
        evaluating = self._evaluates(code)
        self.place = epoch, None if evaluating else batch
        where: dict[str, Any] = {"epoch": epoch + first} | ({} if evaluating else {"batch": batch})
        values = self.checked(code)
        fault, _ = self.image.faults[code - 1]
        raise_fault(fault, values if values is None or lane is None else values[..., lane], where)

    def checked(self, code: int) -> Array | None:
        """The numbers that a check looked at in the batch where the run is; None where they are nowhere stored."""
        _, at = self.image.faults[code - 1]
        if at is None:
            return None
        lengths = at.shape
        epoch, batch = self.now.tolist()
        if not self._evaluates(code) and self._is_short(epoch, batch):  # behind its rows stands what was left before
            lengths = tuple(tail_of(n) or n for n in lengths)
        return self.view(at)[tuple(map(slice, lengths))]

    def _evaluates(self, code: int) -> bool:
        return code in range(*self.made.evaluating)

    def _is_short(self, epoch: int, batch: int) -> bool:
        """Whether a batch is the short one of a body that serves both."""
        if self.variants is not None:
            return bool(self.variants[epoch % len(self.variants), batch, 1])
        return batch == self.rounds - 1 and bool(self.cases[-1, 1])
