"""Training all models of a sweep: groups of one shape, each compiled once, model after model through its machine code.

The main thread lets each model begin (its seed, `init`, its rows of the data) and hands it to threads that are in
machine code nearly all of their time. What a model leaves goes to the results when it is finished; a model that was not
finished leaves nothing.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from ..callbacks import EarlyStopping
from ..compiler.run.jit import Jitted, usable
from ..compiler.run.lanes import chosen, impossible, in_lanes, natural
from ..compiler.run.many import Broken, Model, Runner, Taken, Varying, arenas
from ..compiler.run.threads import get_num_threads
from ..compiler.run.training import Training
from ..data.batching import Batches
from ..errors import ConfigError, message
from ..fitting import fit
from ..fitting.orders import orders
from ..fitting.results import FROM_DATA
from ..fitting.resume import Progress
from ..fitting.trouble import Place, locate
from ..graph.graph import Array
from ..history import History
from ..random import Generator, default_generator, order_generator, randperm
from ..support.interrupt import PATIENCE, Deferred, leave_without_cleaning
from ..tensor import no_grad
from ..tensor.core import constant, mode
from ..tensor.tensor import Tensor
from .request import Trial
from .results import Finished, Records
from .shares import Data, sets_of, tensors_of
from .source import Source, evaluation_takes

_TICK: Final = 0.05  # seconds between two looks at what happened
CHUNK: Final = 64  # epochs after which early stopping looks, at least


@dataclass(frozen=True, slots=True, eq=False)
class How:
    """How models are trained: what `fit` takes, and how many threads work."""

    epochs: int
    batch_size: int | None
    shuffle: bool
    evaluate: Callable[..., Any] | None
    eval_every: int
    callbacks: Sequence[Any]
    how: str
    workers: int

    @property
    def due(self) -> Array:
        """Which epochs are evaluated."""
        numbers = np.arange(1, self.epochs + 1)
        due: Array = (numbers % self.eval_every == 0) | (numbers == self.epochs)
        return due


class Group:
    """Models of one shape and one structure of the step."""

    def __init__(self, source: Source, trials: Sequence[Trial], data: Data, how: How, names: Sequence[str]) -> None:
        self.source, self.trials, self.data, self.how = source, trials, data, how
        self.names = names  # of the settings that the optimizers have
        first = trials[0]
        self.size = first.settings.get("batch_size", how.batch_size)
        self.columns = data.train(first.share, first.settings)
        self.plan = Batches(self.columns, self.size, op="sweep")
        evaluate = source.parts.evaluate
        self.held: list[Tensor] = []
        if evaluate is not None and evaluation_takes(evaluate, len(data.columns), first.share.held is not None):
            self.held = tensors_of(data.held(first.share, first.settings))
            given, self_held = evaluate, self.held
            evaluate = lambda: given(*self_held)  # noqa: E731
        self.evaluate = evaluate
        self.callbacks = source.parts.callbacks
        self.states: dict[str, Any] = {}
        self.why = ""
        self.count = len(trials)  # of all models of this structure, of which only some may be wanted

    def only(self, wanted: Container[int]) -> None:
        """Leave out models that are not wanted."""
        self.count = len(self.trials)
        self.trials = [trial for trial in self.trials if trial.number in wanted]

    def explained(self) -> str:
        """How these models are trained, and why so."""
        count = len(self.trials)
        return f"{count:,} model{'s' * (count != 1)} of {self.plan.samples:,} samples: {self.why}"

    def settings(self, trial: Trial) -> dict[str, Any]:
        """Those that the optimizers have."""
        return {name: trial.settings[name] for name in self.names}

    def load(self, kept: Any, trial: Trial) -> None:
        """Let the tensors hold what training left of a model."""
        raise NotImplementedError


def slowly_because(source: Source) -> str:
    """Why models have to be trained by one call of `fit` after the other; nothing where they need not."""
    if not isinstance(source.step, Jitted):
        return "the step is not under tg.jit"
    if mode.recorder is not None or not usable():
        return "there is no compiler"
    others = [one for one in source.parts.callbacks if type(one) is not EarlyStopping]
    return f"the callback {getattr(others[0], '__name__', type(others[0]).__name__)} is Python's" if others else ""


# ---- by machine code -------------------------------------------------------------------------------------------------


class NativeGroup(Group):
    """Models that go through the machine code of one run."""

    def __init__(self, source: Source, trials: Sequence[Trial], data: Data, how: How, names: Sequence[str]) -> None:
        super().__init__(source, trials, data, how, names)
        self.order = Generator()
        first = trials[0]
        source.apply(self.settings(first))
        source.set_states({name: {} for name in source.optimizers})
        self.sets = sets_of(self.columns, self.plan)
        samples, order = self.plan.samples, self.order

        def permute() -> Any:
            return randperm(samples, generator=order)

        step: Any = source.step
        self.training: Training
        types = [(column.shape, column.dtype) for columns in self.sets for column in columns]
        self.key = (
            types,
            self.plan.size,
            source.parts.evaluate,
            len(self.held),
            how.shuffle,
            mode.dtype,
            get_num_threads(),
        )
        kept = step.swept.pop() if step.swept else None
        if kept is not None and kept[0] == self.key:
            source.set_states(kept[2])
            if kept[1].fits():
                _, self.training, self.states, self.order, self.held, self.evaluate = kept
                return
            source.set_states({name: {} for name in source.optimizers})
        self.training = Training(step, self.sets, self.plan.size, self.evaluate, how.shuffle, permute, quiet=True)
        self.states = source.states()
        known = set(map(id, source.optimizers.values()))
        for guard in (guard for traced in self.training.traces for guard in traced.guards):
            optimizer = getattr(guard, "optimizer", None)
            if optimizer is not None and id(optimizer) not in known and any(optimizer.state.values()):
                got = f"a step with a {type(optimizer).__name__} which no variable that it names leads to"
                raise ConfigError(message("sweep", got, "optimizers that can be found, to begin anew for each model"))

    @property
    def is_whole(self) -> bool:
        """Whether the evaluation, if there is one, is part of the machine code."""
        return self.evaluate is None or self.training.evaluates

    def keep(self) -> None:
        """Keep what was compiled with the step, to the next sweep."""
        step: Any = self.source.step
        step.swept[:] = [(self.key, self.training, self.states, self.order, self.held, self.evaluate)]

    def fits(self, trial: Trial) -> bool:
        """Whether the machine code is right for the settings of a model."""
        self.source.apply(self.settings(trial))
        self.source.set_states(self.states)
        return self.training.fits()

    def prepare(self, journal: Any) -> None:
        """Find out in which tensors models differ."""
        source, training = self.source, self.training
        source.set_states(self.states)
        source.apply(self.settings(self.trials[0]))
        self._begin(self.trials[0])
        if not training.fits():
            got = "init that puts other tensors, modules or hooks in the place of those there were"
            raise ConfigError(message("sweep", got, "new values for the same tensors", "a builder may make anything"))
        live = {
            id(tensor)
            for name in self.names
            for _, group, key in source.groups(name)
            for (own, *_), tensor in group._live.items()
            if own == key
        }
        keys = {id(one.key) for one in (self.order, default_generator)}
        keys |= {id(one.counter) for one in (self.order, default_generator)}
        differing = {*journal.before, *live, *keys, *map(id, self.held)}
        found = [k for k, one in enumerate(training.state) if id(one.handle) in differing]
        self._check_seeds({id(one.handle) for one in training.state})
        several = len({trial.share.number for trial in self.trials}) > 1 or any(
            name in self.trials[0].settings for name in ("columns", "sample_weight", "class_weight")
        )
        columns = [(k, c) for k, columns in enumerate(self.sets) for c in range(len(columns))] if several else []
        self.varying = Varying.of(training, found, columns)
        self.handles = [training.state[k].handle for k in self.varying.state]
        self.fixed = [
            (one.handle, one.handle.node) for k, one in enumerate(training.state) if k not in set(self.varying.state)
        ]
        self.types = [(handle, handle.node.shape, handle.node.dtype) for handle in self.handles]
        self.shared = {
            k: np.asarray(one.handle.node.value)
            for k, one in enumerate(training.state)
            if k not in set(self.varying.state)
        }
        self.several = several
        self.sets_of_share: tuple[Any, list[Array], Batches] | None = None

    def _check_seeds(self, held: set[int]) -> None:
        """Raise ConfigError where models of different seeds would be the same."""
        source, several = self.source, len({trial.seed for trial in self.trials}) > 1
        drawn = self.how.shuffle or id(default_generator.counter) in held
        if several and not drawn and source.init is None and source.build is None:
            got = "several seeds, of which none changes anything"
            raise ConfigError(message("sweep", got, "something that is drawn", "init=model.reset_parameters"))

    def _begin(self, trial: Trial) -> None:
        """Let the tensors hold what a model begins with."""
        source = self.source
        if source.apply(self.settings(trial)):
            source.begin_states()
        order = order_generator(trial.seed)
        self.order.key.assign(order.key)
        self.order.counter.assign(order.counter)
        source.begin(trial.seed)
        if self.held:
            for tensor, column in zip(self.held, self.data.held(trial.share, trial.settings), strict=True):
                tensor.assign(Tensor.handle(constant(column)))

    def model(self, trial: Trial) -> Model:
        """What a model begins with."""
        self._begin(trial)
        for handle, shape, dtype in self.types:
            node = handle.node
            if node.shape != shape or node.dtype != dtype:
                got = f"init that leaves {node.shape}:{node.dtype.name} where {shape}:{dtype.name} was"
                raise ConfigError(message("sweep", got, "new values of the same shape", "a builder may change shapes"))
        for handle, node in self.fixed:
            if handle.node is not node and not np.array_equal(handle.node.value, node.value, equal_nan=True):
                raise ConfigError(
                    message("sweep", f"init that changes {handle.node!r} for some models", "the same tensors each time")
                )
        columns, plan = [], self.plan
        if self.several:
            if self.sets_of_share is None or self.sets_of_share[0] != (trial.share.number, trial.point):
                own = self.data.train(trial.share, trial.settings)
                plan = Batches(own, self.size, op="sweep")
                flat = [column for columns in sets_of(own, plan) for column in columns]
                self.sets_of_share = (trial.share.number, trial.point), flat, plan
            _, columns, plan = self.sets_of_share
        return Model([handle.node.value for handle in self.handles], columns, self._arrange(trial, plan))

    def _arrange(self, trial: Trial, plan: Batches) -> Any:
        """The orders of a model's samples, where Python makes them."""
        memory = self.training.memory
        if memory.orders is None and memory.variants is None:
            return None
        if not self.how.shuffle:
            table = plan.table(np.arange(plan.samples))
            return lambda first, count: iter([table])
        generator = order_generator(trial.seed)
        begin = int(generator.counter.item())
        randperm(plan.samples, generator=generator)
        width = int(generator.counter.item()) - begin  # of the counters that an epoch takes

        def arrange(first: int, count: int) -> Iterator[tuple[Array, Array]]:
            at = np.array(begin + (first - 1) * width, np.int64)
            generator.counter.assign(Tensor.handle(constant(at)))
            for order in orders(plan.samples, generator, count):
                yield plan.table(order)

        return arrange

    def runners(self, count: int) -> list[Runner]:
        """As many as threads are wanted, and why these."""
        lanes = self._lanes()
        given = self.training, self.varying, self.shared, self.sets
        return arenas(*given, count) if lanes == 1 else in_lanes(*given, count, lanes, "sweep")

    def _lanes(self) -> int:
        """How many models train at a time."""
        how, alone = self.how.how, "arenas: the code of the single run, model after model"
        reason = "early stopping ends them one by one" if self.callbacks else impossible(self.training)
        if how == "arenas" or reason is not None:
            self.why = alone + (f", as {reason}" if how != "arenas" else "")
            return 1
        if how == "lanes":
            lanes = natural(self.training, self.varying, self.training.target)
            self.why = f"lanes: {lanes} models at a time"
            return lanes
        choice = chosen(self.training, self.varying, self.count, self.how.epochs)
        self.why = f"{'arenas' if choice.lanes == 1 else 'lanes'}: {choice.why}"
        return choice.lanes

    def bytes(self) -> tuple[int, int]:
        """Of the memory of a thread, and of what a model leaves."""
        kept = sum(handle.node.value.nbytes for handle in self.handles)
        width = len(self.training.names) + len(self.training.score_names)
        return self.training.image.size, kept + 8 * width * self.how.epochs

    def place(self, trial: Trial, broken: Broken, first: int) -> Place:
        """Where a check did not hold."""
        epoch = first + broken.epoch
        if broken.batch is None:
            return Place(epoch, model=trial.number)
        columns = self.data.train(trial.share, trial.settings)
        plan = Batches(columns, self.size, op="sweep")
        order = np.arange(plan.samples)
        if self.how.shuffle:
            if broken.order is not None:
                order = broken.order[: plan.samples]
            else:
                generator = order_generator(trial.seed)
                for _ in range(epoch):
                    order = randperm(plan.samples, generator=generator).numpy()
        rows = plan.rows(order)[broken.batch]
        batch = tuple(np.stack([column[row] for row in rows]) for column in columns)
        share = trial.share.rows
        return Place(epoch, broken.batch, rows if share is None else share[rows], batch, model=trial.number)

    def load(self, kept: Any, trial: Trial) -> None:
        """Let the tensors hold what training left of a model."""
        source = self.source
        source.applied = {}
        source.set_states(self.states)
        source.apply(self.settings(trial))
        with no_grad():
            for handle, value in zip(self.handles, kept, strict=True):
                handle.assign(Tensor.handle(constant(value)))


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """What went wrong in a thread."""

    error: BaseException
    trials: Sequence[Trial]


class Threads:
    """Threads, each with a runner, and what goes to them and comes back."""

    def __init__(self, group: NativeGroup, runners: Sequence[Runner]) -> None:
        self.group, self.runners = group, runners
        self.tasks: queue.Queue[Any] = queue.Queue(2 * len(runners))
        self.done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.stopped = False
        self.threads = [threading.Thread(target=self._work, args=(one,), daemon=True) for one in runners]
        for thread in self.threads:
            thread.start()

    def _work(self, runner: Runner) -> None:
        while True:
            batch = self.tasks.get()
            if batch is None or self.stopped:
                return
            try:
                self.done.put(self._train(runner, batch))
            except BaseException as error:  # raised where somebody waits
                self.done.put(Failed(error, [trial for trial, _ in batch]))

    def _train(self, runner: Runner, batch: Sequence[tuple[Trial, Model]]) -> list[Finished] | None:
        """What a call for some models left; None where it was stopped."""
        group = self.group
        if group.callbacks:
            return [_stopping_early(group, runner, *batch[0], self)]  # type: ignore[list-item]
        for lane, (_, model) in enumerate(batch):
            runner.bring(lane, model)
        epochs, due = (
            group.how.epochs,
            group.how.due if group.evaluate is not None else np.zeros(group.how.epochs, bool),
        )
        taken: list[list[Taken]] = [[] for _ in batch]
        for first in range(1, epochs + 1, runner.capacity):
            size = min(runner.capacity, epochs + 1 - first)
            if self._run(runner, size, first, due, batch) < size:
                return None
            for lane in range(len(batch)):
                taken[lane].append(runner.take(lane, size))
        return [_finished(group, trial, taken[lane], due) for lane, (trial, _) in enumerate(batch)]

    def _run(self, runner: Runner, size: int, first: int, due: Array, batch: Sequence[tuple[Trial, Model]]) -> int:
        try:
            return runner.run(size, first, due[first - 1 : first - 1 + size]) if not self.stopped else 0
        except Broken as broken:
            trial = batch[broken.lane][0]
            locate(broken.error, self.group.place(trial, broken, first))
            raise broken.error from None

    def stop(self) -> None:
        """Let threads end before their next batch."""
        self.stopped = True
        for runner in self.runners:
            runner.stop()

    def end(self, patience: float | None) -> None:
        """Wait for threads to end; what takes longer than so many seconds is left behind."""
        for _ in self.threads:
            try:
                self.tasks.put_nowait(None)
            except queue.Full:
                self.tasks.get_nowait()
                self.tasks.put_nowait(None)
        for thread in self.threads:
            thread.join(patience)
        if any(thread.is_alive() for thread in self.threads):
            leave_without_cleaning()


def _finished(group: NativeGroup, trial: Trial, taken: Sequence[Taken], due: Array) -> Finished:
    history = taken[0].history if len(taken) == 1 else np.concatenate([one.history for one in taken])
    scores = taken[0].scores if len(taken) == 1 else np.concatenate([one.scores for one in taken])
    return Finished(
        trial.number,
        dict(zip(group.training.names, history.T, strict=False)),
        dict(zip(group.training.score_names, scores[due].T, strict=False)),
        len(history),
        None,
        taken[-1].state,
    )


def run_native(group: NativeGroup, results: Records, interrupted: Deferred, advance: Callable[..., None]) -> None:
    """Train the models of a group. Raises the first error of a model; those that are finished stay so."""
    runners = group.runners(min(group.how.workers, len(group.trials)))
    lanes = runners[0].lanes
    threads = Threads(group, runners)
    waiting = 0

    def settle(patient: bool) -> bool:
        """Take what is finished; whether there was something."""
        nonlocal waiting
        try:
            found = threads.done.get(patient, _TICK) if patient else threads.done.get_nowait()
        except queue.Empty:
            return False
        waiting -= 1
        if isinstance(found, Failed):
            raise found.error
        for one in found or ():
            results.record(one)
        advance({}, len(found or ()))
        return True

    try:
        for start in range(0, len(group.trials), lanes):
            batch = [(trial, group.model(trial)) for trial in group.trials[start : start + lanes]]
            while not interrupted():
                try:
                    threads.tasks.put(batch, timeout=_TICK)
                except queue.Full:
                    settle(False)
                    continue
                waiting += 1
                break
            while settle(False):
                pass
            if interrupted():
                break
        while waiting and not interrupted():
            settle(True)
    finally:
        over = not waiting
        if not over:
            threads.stop()
        threads.end(None if over else PATIENCE)
        if over:
            group.keep()
        while threads.done.qsize():  # what was finished in the meantime
            found = threads.done.get_nowait()
            for one in found if isinstance(found, list) else ():
                results.record(one)


# ---- early stopping --------------------------------------------------------------------------------------------------


class _Watch:
    """An EarlyStopping of its own for each model, which looks at whole columns."""

    def __init__(self, callback: EarlyStopping, evaluates: bool) -> None:
        self.callback, self.tensors = copy(callback), callback.tensors
        self.callback.tensors = []
        self.callback.begin(None)  # type: ignore[arg-type]
        self.run: Any = SimpleNamespace(history=History(), epoch=0, evaluates=evaluates, stop=self._stop)
        self.reason: str | None = None
        self.mark: tuple[int, list[Array]] | None = None  # before the calls with the best epoch: epoch and state

    def _stop(self, reason: str) -> None:
        self.reason = self.reason or reason

    def looks(self, epoch: int, logs: Mapping[str, float], before: tuple[int, list[Array]]) -> bool:
        """Look at an epoch; whether it is the last one."""
        self.run.epoch = epoch
        self.callback(self.run, logs)
        if self.callback.best_epoch == epoch:
            self.mark = before
        return self.reason is not None


def _stopping_early(
    group: NativeGroup, runner: Runner, trial: Trial, model: Model, threads: Threads
) -> Finished | None:
    """Train one model until an EarlyStopping ends it. It is run for some epochs in a row, and where it went too far
    these are run again: the state is what `fit` leaves, bit for bit.
    """
    evaluates = group.evaluate is not None
    epochs, due = group.how.epochs, group.how.due & evaluates
    watches = [_Watch(one, evaluates) for one in group.callbacks]
    names, score_names = group.training.names, group.training.score_names
    size = min(runner.capacity, max(CHUNK, *(one.callback.patience for one in watches)))
    taken: list[Taken] = []
    state: list[Array] = list(model.state)

    def run(begin: Sequence[Array] | None, first: int, count: int) -> Taken | None:
        if begin is not None:
            runner.bring(0, replace(model, state=begin))
        if threads._run(runner, count, first, due, [(trial, model)]) < count:
            return None
        return runner.take(0, count)

    begin: list[Array] | None = state
    first, last = 1, epochs
    while first <= last:
        count, before = min(size, epochs + 1 - first), (first - 1, state)
        found = run(begin, first, count)
        if found is None:
            return None
        begin = None
        for k in range(count):
            epoch = first + k
            logs = dict(zip(names, found.history[k].tolist(), strict=False))
            for watch in watches:
                watch.run.history.log_epoch(logs)
            if due[epoch - 1]:
                scores = dict(zip(score_names, found.scores[k].tolist(), strict=False))
                for watch in watches:
                    watch.run.history.log_evaluation(scores)
            logs = watches[0].run.history.last()
            ends = [watch.looks(epoch, logs, before) for watch in watches]
            if any(ends):
                last = epoch
                break
        state = found.state
        if last < first + count - 1:  # it went too far
            found = run(before[1], first, last + 1 - first)
            if found is None:
                return None
            state = found.state
        taken.append(found)
        first += count
    for watch in watches:  # the best parameters are put back
        if watch.tensors and watch.mark is not None:
            epoch, begins = watch.mark
            found = run(begins, epoch + 1, watch.callback.best_epoch - epoch)
            if found is None:
                return None
            own = set(map(id, watch.tensors))
            state = [
                best if id(handle) in own else value
                for handle, value, best in zip(group.handles, state, found.state, strict=True)
            ]
    finished = _finished(group, trial, taken, due[:last])
    reason = next((watch.reason for watch in watches if watch.reason), None)
    return replace(finished, stopped=reason, state=state)


# ---- by one call of fit after the other ------------------------------------------------------------------------------


class SlowGroup(Group):
    """Models that are trained by `fit`, on the tensors themselves."""

    def __init__(
        self, source: Source, trials: Sequence[Trial], data: Data, how: How, names: Sequence[str], why: str
    ) -> None:
        super().__init__(source, trials, data, how, names)
        self.why = f"one call of fit after the other, as {why}"

    def prepare(self, journal: Any) -> None:
        """Keep what all of them begin with."""
        self.progress = Progress(self.source.roots, {}, {}, None)
        self.beginning = self.progress.take(History(), 0, None)

    def run(self, trial: Trial) -> tuple[Finished, bool]:
        """Train a model; what it left, and whether Ctrl-C ended it."""
        source, how = self.source, self.how
        self._restore(self.beginning)
        source.applied = {}
        if self.states:
            source.set_states(self.states)
        source.apply(self.settings(trial))
        source.begin_states()
        source.begin(trial.seed)
        if self.held:
            for tensor, column in zip(self.held, self.data.held(trial.share, trial.settings), strict=True):
                tensor.assign(Tensor.handle(constant(column)))
        columns = tuple(map(_as_data, self.data.train(trial.share, trial.settings)))
        try:
            history = fit(
                source.step,
                columns,
                how.epochs,
                self.size,
                shuffle=how.shuffle,
                evaluate=self.evaluate,
                eval_every=how.eval_every,
                seed=trial.seed,
                progress=False,
                callbacks=self.callbacks,
                on_nonfinite="ignore",
            )
        except FROM_DATA as error:
            error.args = (_with_model(str(error), trial),)
            raise
        self.states = self.states or source.states()
        kept = self.progress.take(History(), 0, None)
        scores = set(history._per_evaluation)
        columns_of = {name: history[name] for name in history}
        return Finished(
            trial.number,
            {name: values for name, values in columns_of.items() if name not in scores},
            {name: values for name, values in columns_of.items() if name in scores},
            history.epochs,
            history.stopped,
            kept,
        ), (history.stopped or "").startswith("interrupted in epoch")

    def load(self, kept: Any, trial: Trial) -> None:
        """Let the tensors hold what training left of a model."""
        self._restore(kept)

    def _restore(self, content: Any) -> None:
        self.progress.restore(content, "a model of the sweep")


def _as_data(column: Any) -> Any:
    """A column that keeps its dtype."""
    return Tensor.handle(constant(column)) if isinstance(column, np.ndarray) else column


def _with_model(text: str, trial: Trial) -> str:
    """The message of an error in `fit`, with the model, and with the row that the user's data has."""
    rows = trial.share.rows
    if rows is not None:
        text = re.sub(r"(?<=\brow )\d+", lambda found: str(int(rows[int(found[0])])), text, count=1)
    return text.replace("(epoch ", f"(model {trial.number}, epoch ", 1)


def run_slowly(group: SlowGroup, results: Records, interrupted: Deferred, advance: Callable[..., None]) -> None:
    """Train the models of a group by `fit`."""
    for trial in group.trials:
        if interrupted():
            return
        finished, ended = group.run(trial)
        if ended:
            interrupted.seen = True
            return
        results.record(finished)
        advance({}, 1)
