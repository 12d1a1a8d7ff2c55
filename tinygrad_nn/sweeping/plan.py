"""A sweep as it is run: what its models are made from, and the groups of one shape in which they are trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from ..config import tell
from ..errors import ConfigError, message
from ..fitting import columns_of
from ..fitting.running import bar
from ..nn import Module
from ..random import manual_seed
from ..support.interrupt import deferred
from ..support.memory import check_fits
from ..support.memory import shown as as_bytes
from ..tensor.generator import default_generator
from .request import DATA, Settings, Trial
from .results import Records, Sweep
from .running import Group, How, NativeGroup, SlowGroup, run_native, run_slowly, slowly_because
from .shares import Data
from .source import Parts, Source, builder_arguments, evaluation_takes, parts_of


class Plan:
    """A sweep: its sources, and the groups in which its models are trained."""

    def __init__(
        self,
        step: Callable[..., Any],
        init: Callable[[], Any] | None,
        how: How,
        settings: Sequence[Settings],
        data: Any,
        weights: tuple[Any, Any],
        seeds: Sequence[int],
    ) -> None:
        self.step, self.how, self.given, self.weights, self.seeds = step, how, data, weights, seeds
        self.init, self.settings = init, settings
        names = list(settings[0])
        self.arguments = builder_arguments(step, names)
        if self.arguments is not None and init is not None:
            raise ConfigError(message("sweep", "init beside a builder", "'init' in the dict that it returns"))
        self.sources: dict[str, Source] = {}
        self.tables: dict[int, Data] = {}
        self.groups: dict[int, Group] = {}
        self.names = [name for name in names if name not in (self.arguments or ()) and name not in DATA]
        self.source(settings[0]).check(settings, self.arguments or (), self.arguments is not None)
        several = [name for name in self.names if any(one[name] != settings[0][name] for one in settings)]
        self.several = several
        self.data(self.source(settings[0])).check(settings)

    def source(self, point: Settings) -> Source:
        """What models of these settings are made from."""
        own = {name: point[name] for name in self.arguments or () if name in point}
        key = repr(own)
        if key not in self.sources:
            if self.arguments is None:
                how = self.how
                parts = Parts(self.step, self.step, how.evaluate, self.init, tuple(how.callbacks))
                self.sources[key] = Source(parts, None)
            else:
                build = partial(self.step, **own)
                with _unseeded():
                    manual_seed(self.seeds[0])
                    parts = parts_of(build())
                given: dict[str, Any] = {"evaluate": parts.evaluate or self.how.evaluate}
                given["callbacks"] = (*parts.callbacks, *self.how.callbacks)
                self.sources[key] = Source(replace(parts, **given), build)
        return self.sources[key]

    def data(self, source: Source) -> Data:
        """The data as the step of a source meets it."""
        if id(source) not in self.tables:
            self.tables[id(source)] = Data(*columns_of(source.step, self.given), *self.weights)
        return self.tables[id(source)]

    def run(
        self, models: Sequence[Trial], wanted: Container[int], results: Records, found: Sweep, progress: bool
    ) -> None:
        """Train those of the models whose numbers are wanted, each as it would be among all of them."""
        waiting = [trial for trial in models if trial.number in wanted]
        with deferred() as interrupted, bar(len(models), progress, len(models) - len(waiting), "model") as advance:
            for source in list(dict.fromkeys(self.source(trial.settings) for trial in waiting)):
                own = [trial for trial in models if self.source(trial.settings) is source]
                with source.restored() as journal:
                    source.vary(self.several)
                    for group in self._groups(source, own, wanted):
                        if interrupted():
                            break
                        group.prepare(journal)
                        group.only(wanted)
                        self.groups.update((trial.number, group) for trial in group.trials)
                        begun = time.perf_counter()
                        if isinstance(group, NativeGroup):
                            self._state(group, len(models), progress)
                            run_native(group, results, interrupted, advance)
                        else:
                            run_slowly(group, results, interrupted, advance)
                        found.metadata["training"] = found.metadata.get("training", 0.0) + time.perf_counter() - begun
                        found.explanation.append(group.explained())
                if interrupted():
                    found.interrupted = True
                    return

    def _state(self, group: NativeGroup, count: int, progress: bool) -> None:
        """Say how much memory it takes, and refuse what the machine has not."""
        arena, kept = group.bytes()
        threads = min(self.how.workers, len(group.trials))
        check_fits("sweep", f"{count:,} models", threads * arena + count * kept)
        if progress:
            memory = f"{as_bytes(threads * arena)} to work in, {as_bytes(count * kept)} for {count:,} models"
            tell(f"sweep: {len(group.trials):,} models of a shape; memory: {memory}")

    def classes(self, models: Sequence[Trial]) -> Iterator[tuple[Source, list[Trial]]]:
        """Models of one source and shape."""
        sources: dict[int, tuple[Source, list[Trial]]] = {}
        for trial in models:
            source = self.source(trial.settings)
            sources.setdefault(id(source), (source, []))[1].append(trial)
        for source, own in sources.values():
            for same in self._shapes(source, own):
                yield source, same

    def _shapes(self, source: Source, trials: Sequence[Trial]) -> list[list[Trial]]:
        data = self.data(source)
        held = trials[0].share.held is not None
        judged = evaluation_takes(source.parts.evaluate, len(data.columns), held)
        shapes: dict[Any, list[Trial]] = {}
        for trial in trials:
            shapes.setdefault(_shape(data, trial, judged), []).append(trial)
        return list(shapes.values())

    def _groups(
        self, source: Source, trials: Sequence[Trial], wanted: Container[int]
    ) -> Iterator[NativeGroup | SlowGroup]:
        """Groups of one shape and structure with a model that is wanted, each when its turn has come."""
        data, why = self.data(source), slowly_because(source)
        for own in self._shapes(source, trials):
            if not any(trial.number in wanted for trial in own):
                continue
            if why:
                yield SlowGroup(source, own, data, self.how, self.names, why)
                continue
            groups: list[NativeGroup] = []
            for same in _by_settings(own, self.names):
                group = next((one for one in groups if one.fits(same[0])), None)
                if group is None:
                    groups.append(NativeGroup(source, same, data, self.how, self.names))
                else:
                    group.trials = [*group.trials, *same]
            for group in groups:
                if not any(trial.number in wanted for trial in group.trials):
                    continue
                if group.is_whole:
                    yield group
                else:
                    yield SlowGroup(source, group.trials, data, self.how, self.names, "evaluate() reads values")

    def load(self, trial: Trial, kept: Any) -> Any:
        """Let the tensors hold what is kept of a model; what it is made from."""
        source, group = self.source(trial.settings), self.groups.get(trial.number)
        if group is None:  # one that came from a folder
            with source.restored() as journal:
                source.vary(self.several)
                group = next(iter(self._groups(source, [trial], [trial.number])))
                group.prepare(journal)
                if isinstance(group, NativeGroup):
                    group.keep()
            self.groups[trial.number] = group
        group.load(kept, trial)
        return source.parts.returned

    def states(self, kept: Sequence[tuple[Trial, Any]], model: Module) -> Iterator[dict[str, Any]]:
        """What training left of a module in models; all tensors are as they were when each is there."""
        for trial, state in kept:
            source = self.source(trial.settings)
            reached = {id(one) for one in source.reached.leaves.values()}
            if reached.isdisjoint(map(id, model.parameters())):
                got = f"a {type(model).__name__} that the step does not reach"
                hint = "of a builder take copies of what load(k) returns"
                raise ConfigError(message("states", got, "a module that it trains", hint))
            with source.restored():
                self.load(trial, state)
                found = model.state_dict()
            yield found


def _shape(data: Data, trial: Trial, judged: bool) -> Any:
    """What has to be equal for models to be compiled together, as far as the data goes."""
    rows, held = trial.share.rows, trial.share.held
    lengths = tuple(
        tuple(sorted(len(column[row]) for row in (range(len(column)) if rows is None else rows)))
        for column in data.columns
        if isinstance(column, list)
    )
    point = trial.settings
    weights = [point.get(name, own) is None for name, own in
               (("sample_weight", data.sample_weight), ("class_weight", data.class_weight))]  # fmt: skip
    judges = None if not judged else None if held is None else len(held)
    return repr(point.get("batch_size")), None if rows is None else len(rows), judges, lengths, all(weights)


def _by_settings(trials: Sequence[Trial], names: Sequence[str]) -> list[list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(repr([trial.settings[name] for name in names]), []).append(trial)
    return list(found.values())


@contextmanager
def _unseeded() -> Iterator[None]:
    """Within the block the default generator may be seeded; behind it, it is as it was."""
    before = default_generator.state_dict()
    try:
        yield
    finally:
        default_generator.load_state_dict(before)
