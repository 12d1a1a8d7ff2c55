"""What a fit was asked for, once checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.batching import gather
from ..data.feed import Feed
from ..random import Generator, randperm
from .keeping import Keeper
from .orders import orders
from .reach import Reached
from .results import Scores
from .resume import Progress, roots_of
from .trouble import Health


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """The step, its data as columns and their batches, and how it is to be trained."""

    step: Any  # a function, or one under `tg.jit`
    columns: tuple[Any, ...]  # none of data in chunks
    plan: Any  # Batches of columns, or the Feed of data in chunks
    epochs: int
    evaluate: Scores | None
    eval_every: int
    shuffle: bool
    generator: Generator | None  # of the order of samples; None for the default one
    health: Health
    progress: bool
    callbacks: Sequence[Any]
    keeper: Keeper | None = None  # who takes the snapshots, one of the callbacks
    kept: int = 0  # epochs of a native call after which it may copy the state aside

    @property
    def feed(self) -> Feed | None:
        """The data, if it comes in chunks."""
        return self.plan if isinstance(self.plan, Feed) else None

    @property
    def curious(self) -> bool:
        """Whether a callback may change something, data or what the step is made of."""
        return not all(getattr(callback, "only_logs", False) for callback in self.callbacks)

    def sets(self) -> list[list[Any]]:
        """The samples of each length, as the arguments of the step."""
        return [[gather(column, members) for column in self.columns] for members in self.plan.sets]

    def order(self, generator: Generator | None) -> Any:
        """The samples in the order of the next epoch."""
        return randperm(self.plan.samples, generator=generator).numpy()

    def orders(self, generator: Generator | None, epochs: int) -> Iterator[Any]:
        """The same for the coming epochs."""
        if generator is None:
            return (self.order(None) for _ in range(epochs))
        return orders(self.plan.samples, generator, epochs)

    def state(self, reached: Reached | None = None) -> Progress:
        """What can be taken and put back; `reached` is what the step reaches, where nothing else counts."""
        progress = Progress(roots_of(self.step, self.evaluate, self.callbacks), {}, {}, self.generator, reached)
        progress.begun = {}  # so all tensors count, those too that nobody trains
        return progress

    def every_hook(self, name: str, run: Any) -> None:
        """Call `begin` or `end` on the callbacks that have it."""
        for callback in self.callbacks:
            hook = getattr(callback, name, None)
            if hook is not None:
                hook(run)


@dataclass(frozen=True, slots=True, eq=False)
class Rerun:
    """What it takes to go through a fit again: what it was asked for, and the seed of the order."""

    asked: Request
    seed: int | None
