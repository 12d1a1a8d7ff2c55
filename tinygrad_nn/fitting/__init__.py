"""`tg.fit`: the one training loop. Epochs, batches, shuffle, evaluation, history, progress, callbacks, Ctrl-C.

A step under `tg.jit` is trained by one native function that is called for many epochs at a time; any other is called
for every batch. Order of samples, history, callbacks and the state in between are the same.

The order of samples is a pure function of the seed and the epoch (counter-based generator). A first Ctrl-C ends
training after the running step, so parameters are whole, and `fit` returns the history so far; a step that takes long
is taken back. A second one interrupts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from ..callbacks import Checkpoint
from ..compiler.run.jit import Jitted
from ..config import tell
from ..data.batching import Batches, as_columns
from ..data.chunks import Chunks
from ..data.feed import Feed
from ..data.weighting import sample_weights
from ..errors import ConfigError, message
from ..graph.graph import DType
from ..history import History, run_metadata
from ..nn import Parameter
from ..random import order_generator
from ..serialize import StrPath
from ..support.memory import check_fits
from ..support.settings import flags, is_iterable, shown
from ..tensor.arrays import array_of
from ..tensor.core import mode
from .eager import run_eager
from .keeping import SLOTS, Keeper, can_wait
from .native import prepared, run_native, times
from .pieces import prepared_pieces, run_pieces
from .reach import Reached
from .request import Request, Rerun
from .results import Scores
from .resume import Progress, data_print, known_later, located, roots_of
from .running import Fit
from .trouble import Health, Reaction

_BYTES: Final = 32  # of an entry of the history: a float, and its place in a list


@flags
def fit(
    step: Callable[..., Any],
    data: Any,
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool = True,
    evaluate: Scores | None = None,
    eval_every: int = 1,
    seed: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Any] = (),
    *,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | str | None = None,
    resume: StrPath | bool | None = None,
    on_nonfinite: Reaction = "warn",
    snapshots: int | None = None,
) -> History:
    """Call `step(*batch)` for every batch of every epoch and return the History.

    `data` is a tuple with one item per argument of step (arrays, tensors, data frames, lists of sequences), or a
    single item; samples lie along the first axis. More data than memory comes from `data.scan` or `data.chunks`.
    `step` trains and returns its loss, or a dict of values; the history holds their mean over samples, per epoch.
    `batch_size=None` is the whole set; the last batch may be shorter. Sequences of a list may differ in length: a batch
    begins with the first sample that is not taken yet and goes on with the next ones of its length, until it is full or
    there are no more. `evaluate()` returns a dict of scores and runs, without gradients, after every `eval_every`
    epochs.
    Fractional numbers in arrays (NumPy's are float64), frames and lists get the dtype of the parameters that step names
    (of models, optimizers, tensors), or the default where there are none, or of both dtypes. Tensors keep theirs.
    `seed` fixes the order. With `sample_weight` (one per sample) or `class_weight` (label -> weight, or "balanced";
    the labels are the last item of data) step gets one more argument, the weights of the batch.

    A mean or a score that is NaN or infinite is warned of once (NonFiniteWarning); `history.nonfinite` says where it
    began. With `on_nonfinite="raise"` it ends the run, and so does a parameter, a buffer or optimizer state that became
    so: NonFiniteError names epoch, batch, row of the data, operation and line, and everything is as before that batch.

    `resume` is the path of a file that `callbacks.Checkpoint` wrote: the fit goes on after its epoch, up to `epochs` in
    all, with the same bits as one that was never stopped. Where there is no such file yet it starts at the beginning if
    a Checkpoint among the callbacks is going to write it; `resume=True` means the file of that one.

    With `snapshots=10` the state before the first epoch and after every tenth is in `history.snapshots`, in bounded
    memory: when it is full every second one goes, and 10 becomes 20.

    Raises DataError for bad data, ConfigError for settings out of range and for a checkpoint of another run,
    IndexOutOfRange naming row, epoch and batch of a label or index out of range; the state is that before the batch.

    >>> import tinygrad_nn as tg
    >>> w = tg.zeros(1, requires_grad=True)
    >>> opt = tg.optim.SGD([w], lr=0.5)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((x * w - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> history = tg.fit(step, ([1.0, 1.0], [2.0, 2.0]), epochs=2, progress=False)
    >>> history["loss"].tolist(), w.tolist()
    ([4.0, 0.0], [2.0])
    """
    weights: Any = class_weight
    if weights is not None and not isinstance(weights, (str, Mapping)):
        got = f"class_weight of type {type(weights).__name__}"
        raise ConfigError(message("fit", got, "a mapping of classes to weights, or 'balanced'"))
    each = 1 if snapshots is None else snapshots
    for name, value in (("epochs", epochs), ("eval_every", eval_every), ("snapshots", each)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(message("fit", f"{name}={shown(value)}", "an integer of at least 1"))
    check_fits("fit", f"a history of {epochs:,} epochs", int(epochs) * _BYTES)
    callbacks = checked_callbacks(step, evaluate, callbacks)
    feed, columns, reached = None, tuple[Any, ...](), Reached({"": step}, {})
    if isinstance(data, Chunks):
        _check_no_weights(sample_weight, class_weight)
        plan: Batches | Feed = (feed := Feed(data, batch_size, _dtype(reached)))
        count, size = feed.samples, feed.batch
    else:
        columns, dtype = columns_of(step, data, reached)
        weights = sample_weights(columns, sample_weight, class_weight, dtype)
        if weights is not None:
            columns = (*columns, weights)
        plan = Batches(columns, batch_size)
        count, size = plan.samples, plan.size
    history = History(run_metadata(seed, epochs=epochs, batch_size=batch_size, samples=count, shuffle=shuffle))
    evaluates = evaluate is not None
    run = Fit(history, epochs, evaluates, irregular=evaluates and epochs % eval_every != 0)
    health = Health(history, on_nonfinite)
    generator = order_generator(seed) if shuffle and seed is not None else None
    callbacks = sorted(callbacks, key=_is_after)
    keepers = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
    if keepers or not (resume is None or resume is False):
        given: dict[str, Any] = {"seed": seed, "batch_size": size, "shuffle": shuffle, "eval_every": eval_every}
        given["data"] = data_print(columns, feed)
        named = {name: value for keeper in keepers for name, value in keeper.state.items()}
        run.progress = Progress(roots_of(step, evaluate, callbacks), named, given, generator)
        run.go_on_from(located(resume, [keeper.path for keeper in keepers]))
    keeper = None
    if snapshots is not None:
        keeper = Keeper(int(snapshots), reached)
        callbacks = sorted([keeper, *callbacks], key=_is_after)  # before a checkpoint, which has the history
    run.restore()
    by_hand = (evaluate, eval_every, shuffle, generator, health, progress, callbacks)
    kept = SLOTS if keeper is not None and can_wait(callbacks) else 0
    asked = Request(step, columns, plan, epochs, *by_hand, keeper, kept)
    if keeper is not None:
        keeper.open(run, Rerun(asked, seed), known_later(columns, feed))
    native = None if run.over or feed is not None else prepared(asked)
    pair = None if run.over or feed is None else prepared_pieces(asked, feed)
    training = native[1] if native is not None else pair.training if pair is not None else None
    if training is not None and run.progress is not None:
        run.progress.order = generator if native is None else native[2]
        run.progress.check_reaches([one.handle for one in training.state if one.changes])
    asked.every_hook("begin", run)
    run.restore(begun=True)
    if keeper is not None and native is None:
        keeper.start(run)
    if feed is not None:
        run_pieces(pair, asked, feed, run)
    elif native is not None and isinstance(step, Jitted):
        native = run_native(native, asked, run)
        training = native[1]
        step.runs[:] = [] if training.lost else [native]  # one: data may be large
    elif not run.over:
        run_eager(asked, run)
    asked.every_hook("end", run)
    history.metadata["seconds"] = run.seconds
    if training is not None:
        history.metadata["compile"] = asdict(training.spent)
        if progress:
            tell(times(training, run.seconds - run.before))
    return history


def _check_no_weights(sample_weight: Any, class_weight: Any) -> None:
    """Raise ConfigError for weights beside chunks."""
    for name, value in (("sample_weight", sample_weight), ("class_weight", class_weight)):
        if value is not None:
            hint = "data.scan(..., weight='column'), or one more array in every chunk"
            raise ConfigError(message("fit", f"{name} beside data in chunks", "weights that are in the chunks", hint))


def columns_of(
    step: Callable[..., Any], data: Any, reached: Reached | None = None
) -> tuple[tuple[Any, ...], DType]:
    """The data as columns, as a step meets them, which reaches so much; and the dtype of fractional numbers in them."""
    dtype = trained_dtype(step) if reached is None else _dtype(reached)
    return tuple(map(_of_known_dtype, as_columns(data, dtype=dtype, arrays=True))), dtype


def trained_dtype(step: Callable[..., Any]) -> DType:
    """The float dtype of all that is trained in what a step or a model reaches (where nothing is, of its parameters),
    else the default: what data must have to meet them.
    """
    return _dtype(Reached({"": step}, {}))


def _dtype(reached: Reached) -> DType:
    leaves = reached.leaves.values()
    dtypes = {leaf.dtype for leaf in leaves if leaf.requires_grad}
    dtypes = dtypes or {leaf.dtype for leaf in leaves if isinstance(leaf, Parameter)}
    return dtypes.pop() if len(dtypes) == 1 else mode.dtype


def _of_known_dtype(column: Any) -> Any:
    """A column (or a list of sequences) in one of the five dtypes: small integers become int32."""
    if isinstance(column, list):
        return [array_of("fit", sequence) for sequence in column]
    return array_of("fit", column)


def _is_after(callback: Any) -> bool:
    return bool(getattr(callback, "after_others", False))


def checked_callbacks(step: Any, evaluate: Any, callbacks: Any) -> Sequence[Any]:
    """The callbacks; ConfigError for what could not be called later, in the middle of training."""
    if not is_iterable(callbacks) or isinstance(callbacks, (Mapping, range)):
        raise ConfigError(message("fit", f"callbacks={shown(callbacks)}", "a list of functions", "put it in a list"))
    listed = tuple(callbacks)
    for what, function in (("step", step), ("evaluate", evaluate), *(("a callback", one) for one in listed)):
        if isinstance(function, type):
            raise ConfigError(message("fit", f"the class {function.__name__} as {what}", f"{function.__name__}(...)"))
        if not callable(function) and not (what == "evaluate" and function is None):
            raise ConfigError(message("fit", f"{shown(function)} as {what}", "a function"))
    return listed
