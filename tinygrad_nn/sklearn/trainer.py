"""Training one network after the other on one compiled run.

A `Trainer` owns a module, its optimizer and the jitted step. An estimator borrows one, puts weights, settings and data
into its tensors, trains, and takes the weights away. So what was compiled for one estimator serves its clones, the
folds and the candidates of a search: what differs among those (weights, rate, penalty, patience, data) is state, not
code. Free trainers are kept by what decides about their code; one is in the hands of one fit at a time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from ..compiler import jit
from ..fitting import fit
from ..history import History
from ..nn import Module
from ..optim import Optimizer
from ..support.fork import new_lock
from ..tensor import Tensor, no_grad
from ..tensor.core import constant
from ..tensor.generator import Generator, working_with
from ..tensor.joining import cat

KEPT: Final = 32  # free trainers
LARGE: Final = 2**21  # bytes of data from which a trainer is not kept: its arena holds them
LOOK: Final = 1e-3  # seconds of training that may be in vain, so that a look at a short run costs little
Losses = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> a loss per sample
Score = Callable[[Tensor, Tensor, Tensor], Tensor]  # (outputs, targets, weights) -> what should grow


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides about the code of a run, beside the module and the shapes of the data."""

    losses: Losses
    optimizer: Callable[[Any], Optimizer]
    penalised: bool  # whether there is an L2 penalty
    patient: bool  # whether it may end before the last epoch
    score: Score | None  # of the samples that are held out, where there are such


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of one run."""

    epochs: int
    batch: int
    shuffle: bool
    seed: int
    rate: float
    penalty: float
    tolerance: float
    patience: float


@dataclass(frozen=True, slots=True)
class Result:
    """How a run went: the loss of each epoch, the score of each where there was one, and the optimizer's state."""

    losses: list[float]
    scores: list[float]
    optimizer: list[Any]


class Trainer:
    """A module like the given one, with all that trains it.

    The step takes (x, w) or (x, y, w). Where it may end early, the evaluation of each epoch counts those without
    progress and keeps the weights that the fit is to return; epochs that ran beyond the end change nothing.
    """

    def __init__(self, module: Module, recipe: Recipe, held: Sequence[Any]) -> None:
        self.module = module = deepcopy(module)
        self.optimizer = optimizer = recipe.optimizer(module.parameters())
        self.tensors = weights_of(module)
        self.noise = Generator()
        dtype = next(module.parameters()).dtype
        for group in optimizer.param_groups:
            group["penalty"] = 0.0
        self.total, self.count = total, count = _number(0.0, dtype), _number(0.0, dtype)
        decayed = [p for p in module.parameters() if len(p.shape) > 1] if recipe.penalised else []
        patient, losses = recipe.patient, recipe.losses

        def step(x: Tensor, *rest: Tensor) -> Tensor:
            weight, target = rest[-1], rest[0] if len(rest) == 2 else x
            optimizer.zero_grad()
            total_weight = weight.sum()
            share = total_weight.where(total_weight > 0, 1.0)  # in a batch without weight there is nothing to divide
            loss = (losses(module(x), target) * weight).sum() / share
            penalised = loss
            penalty = optimizer.param_groups[0].live("penalty", dtype)
            for p in decayed:
                penalised = penalised + (p * p).sum() * (0.5 * penalty / share)
            penalised.backward()  # its value is asked for by nobody, so it is not computed
            optimizer.step()
            if patient:
                total.assign(total + loss.detach() * float(len(x)))
                count.assign(count + float(len(x)))
            return loss

        self.step = _flushing(step)
        self.watch = Watch(self, held, recipe.score, dtype) if patient else None

    def train(
        self,
        module: Module,
        columns: Sequence[Any],
        held: Sequence[Any],
        settings: Settings,
        state: Sequence[Any] | None,
    ) -> Result:
        """Train a module on these columns, from its weights on and from this state of the optimizer."""
        own, watch = weights_of(module), self.watch
        self.begin([tensor.node.value for tensor in own], settings)
        self._restart(state)
        for group in self.optimizer.param_groups:
            group["lr"], group["penalty"] = settings.rate, settings.penalty
        if watch is not None:
            for mine, value in zip(watch.held, held, strict=True):
                put(mine, value)
        history: History
        with working_with(self.noise):
            history = fit(
                self.step,
                tuple(map(as_given, columns)),
                epochs=settings.epochs,
                batch_size=settings.batch,
                shuffle=settings.shuffle and settings.batch < len(columns[0]),
                evaluate=None if watch is None else watch.evaluate,
                seed=settings.seed,
                progress=False,
                callbacks=() if watch is None else (watch,),
                on_nonfinite="ignore",
            )
        last, scores = history.epochs, []
        if watch is not None:
            last, scores = watch.last(history["waited"]), history["score"].tolist()
        self.hand_over(module)
        state = [value.node.value.copy() for values in self.optimizer.state.values() for value in values.values()]
        return Result(history["loss"][:last].tolist(), scores[:last], state)

    def begin(self, weights: Sequence[Any], settings: Settings) -> None:
        """Let the tensors hold what a run begins with, but for the optimizer's and the data."""
        for mine, value in zip(self.tensors, weights, strict=True):
            put(mine, value)
        self.noise.manual_seed(settings.seed)
        put(self.total, 0.0)
        put(self.count, 0.0)
        if self.watch is not None:
            self.watch.begin_with(weights, settings)

    def hand_over(self, module: Module) -> None:
        """Give a module the weights that the run found."""
        for given, mine in zip(weights_of(module), self.watch.kept if self.watch else self.tensors, strict=True):
            put(given, mine.node.value)

    def sweepable(self) -> Any:
        """The step, so that `tg.sweep` finds what it trains: it looks at arguments, not into our functions."""
        step = self.step

        def with_parts(module: Module, optimizer: Optimizer, *columns: Tensor) -> Any:
            return step(*columns)

        return _flushing(partial(with_parts, self.module, self.optimizer))

    def _restart(self, state: Sequence[Any] | None) -> None:
        """Give the optimizer the state of an earlier run, or that of a new one."""
        given = iter(state or ())
        for group in self.optimizer.param_groups:
            for p in group["params"]:
                own = self.optimizer.state[p]
                fresh = self.optimizer.initial_state(p, group)
                if not own:
                    own.update(fresh)
                for name, value in own.items():
                    put(value, next(given) if state else fresh[name].node.value)


class Watch:
    """Early stopping as part of the run, for `fit` an evaluation and a callback that only asks where the run is."""

    only_logs = True

    def __init__(self, trainer: Trainer, held: Sequence[Any], score: Score | None, dtype: Any) -> None:
        self.tensors, self.held = trainer.tensors, [_like(one) for one in held]
        self.kept = [_like(tensor.node.value) for tensor in trainer.tensors]
        self.numbers = best, waited, patience, tolerance = [_number(0.0, dtype) for _ in range(4)]
        self.allowed, self.due, self.pace, self.seen = 0.0, 1, math.inf, (0, 0.0)
        module, total, count, held_out = trainer.module, trainer.total, trainer.count, self.held
        pairs = list(zip(trainer.tensors, self.kept, strict=True))

        def held_score() -> Tensor:
            *inputs, target, weight = held_out
            module.eval()
            outputs = [module(x) for x in inputs]
            module.train()
            return score(outputs[0] if len(outputs) == 1 else cat(outputs), target, weight)  # type: ignore[misc]

        def evaluate() -> dict[str, Tensor]:
            value = -(total / count) if score is None else held_score()
            over = waited > patience
            better = value > best
            counted = (waited + 1).where(value < best + tolerance, waited * 0)
            keep = ~over if score is None else ~over & better
            for tensor, kept in pairs:
                kept.assign(tensor.detach().where(keep, kept))
            best.assign(value.where(better, best))
            waited.assign(waited.where(over, counted))
            total.assign(total * 0)
            count.assign(count * 0)
            return {"score": value, "waited": counted}

        self.evaluate = evaluate

    def begin_with(self, weights: Sequence[Any], settings: Settings) -> None:
        """Let the tensors hold what a run from these weights begins with."""
        for kept, value in zip(self.kept, weights, strict=True):
            put(kept, value)
        for number, value in zip(self.numbers, (-math.inf, 0.0, settings.patience, settings.tolerance), strict=True):
            put(number, value)
        self.allowed = settings.patience
        self.pace, self.seen = math.inf, (0, 0.0)  # seconds of an epoch, and where the run was when last looked at
        self.due = int(min(settings.patience, settings.epochs)) + 1

    def pause(self, run: Any) -> int:
        """The epoch after which to look next: when it could have ended, or a millisecond later."""
        return max(self.due, int(run.epoch) + 1)

    def __call__(self, run: Any, logs: Any) -> None:
        """See whether the run is over."""
        if logs["waited"] > self.allowed:
            run.stop("no progress")
        epoch, seconds = self.seen
        self.pace = min(self.pace, (run.seconds - seconds) / (run.epoch - epoch))
        self.seen = run.epoch, run.seconds
        self.due = run.epoch + max(int(self.allowed - logs["waited"]) + 1, int(LOOK / max(self.pace, 1e-7)))

    def last(self, waited: Any) -> int:
        """The epoch after which there was no progress for too long, or the last one, by a column of the history."""
        ends = np.flatnonzero(waited > self.allowed)
        return int(ends[0]) + 1 if ends.size else len(waited)


_free: Final[OrderedDict[Hashable, list[Trainer]]] = OrderedDict()
_lock: Final = new_lock()


@contextmanager
def borrowed(module: Module, recipe: Recipe, columns: Sequence[Any], held: Sequence[Any], batch: int) -> Iterator[Any]:
    """A trainer for such a module and data of these shapes; one that was left by an earlier fit where there is one."""
    key = (structure(module), recipe, tuple(map(_form, columns)), tuple(map(_form, held)), batch)
    with _lock:
        waiting = _free.get(key)
        trainer = waiting.pop() if waiting else None
    yield (trainer := trainer or Trainer(module, recipe, held))
    if sum(map(_bytes, columns)) > LARGE:
        return
    with _lock:
        _free.setdefault(key, []).append(trainer)
        _free.move_to_end(key)
        while sum(map(len, _free.values())) > KEPT:
            oldest = next(iter(_free))
            _free[oldest].pop() if _free[oldest] else _free.pop(oldest)


def structure(module: Module) -> Hashable:
    """How a module is built, but for the values of its tensors: what has another structure needs code of its own.

    What this cannot put in words, an object that cannot be hashed, is equal to itself only.
    """
    seen: dict[int, int] = {}
    words: list[Hashable] = []
    for path, part in module.named_modules(None, "", False):
        words.append((path, type(part)))
        for name, value in vars(part).items():
            if isinstance(value, Module):
                continue
            if isinstance(value, Tensor):
                number = seen.setdefault(id(value), len(seen))
                words.append((name, number, type(value), value.shape, value.dtype, value.requires_grad))
            elif name != "_training":
                words.append((name, _word(value)))
    return tuple(words)


def _word(value: Any) -> Hashable:
    if isinstance(value, (list, tuple)):
        return (type(value), *map(_word, value))
    if isinstance(value, dict):
        return (dict, *((key, _word(one)) for key, one in value.items()))
    try:
        hash(value)
    except TypeError:
        return object()
    return (type(value), value)


def _flushing(step: Any) -> Any:
    """A jitted step whose runs take denormal numbers for 0: moments of weights that do not change end in such."""
    jitted: Any = jit(step)
    jitted.flushes = True
    return jitted


def weights_of(module: Module) -> list[Tensor]:
    """All that a module learns, running statistics too."""
    return [*module.parameters(), *module.buffers()]


def put(tensor: Tensor, values: Any) -> None:
    """Give a tensor a copy of these values."""
    with no_grad():
        tensor.assign(Tensor.handle(constant(np.array(values, tensor.dtype))))


def _number(value: float, dtype: Any) -> Tensor:
    return Tensor.handle(constant(np.array(value, dtype)))


def _like(array: Any) -> Tensor:
    return Tensor.handle(constant(np.zeros(array.shape, array.dtype)))


def as_given(column: Any) -> Any:
    """A column as `fit` takes it without a change of dtype."""
    return list(map(as_given, column)) if isinstance(column, list) else Tensor.handle(constant(column))


def _form(column: Any) -> Hashable:
    if isinstance(column, list):
        return tuple(map(_form, column))
    return (column.shape, column.dtype.str)


def _bytes(column: Any) -> int:
    return sum(map(_bytes, column)) if isinstance(column, list) else int(column.nbytes)
