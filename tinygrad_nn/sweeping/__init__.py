"""`tg.sweep`: many models, trained natively, by one definition of model and step.

What varies is state: parameters (`init`, `seeds`), settings of optimizers (`grid`, `random`), rows and features of the
data (`folds`, `by`, `columns`, weights). What changes shapes goes through a builder, and is compiled once per shape.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError, message
from ..fitting import checked_callbacks
from ..fitting.trouble import REACTIONS, NonFiniteWarning, Reaction
from ..serialize import StrPath
from ..support.memory import check_fits
from ..support.settings import choice, flags, integer, shown
from ..tensor.context import user_level
from .away import check_sendable, is_away, pool, run_away
from .plan import Plan
from .request import all_trials, points, seeds_of, shares
from .results import Results
from .results import Sweep as Sweep
from .running import How
from .shares import taken_apart
from .store import Store, described


@flags
def sweep(
    step: Callable[..., Any],
    data: Any,
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool = True,
    evaluate: Callable[..., Any] | None = None,
    eval_every: int = 1,
    seed: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Any] = (),
    *,
    init: Callable[[], Any] | None = None,
    seeds: Any = None,
    grid: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
    random: Mapping[str, Any] | None = None,
    trials: int = 20,
    folds: Any = None,
    by: Any = None,
    how: Literal["auto", "arenas", "lanes"] = "auto",
    workers: Any = 1,
    store: StrPath | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | str | None = None,
    on_nonfinite: Reaction = "ignore",
) -> Sweep:
    """Train many models as `tg.fit` trains one, and return what they left, as a `Sweep`.

    The first arguments are those of `tg.fit`, and mean the same. There is a model for each of the settings, each share
    of the data and each seed. One of seed `s` is what these lines make, bit for bit where `how` is "arenas":

        tg.manual_seed(s); init(); tg.fit(step, data, ..., seed=s)

    with optimizers that begin anew, and with those settings as numbers that `vary`, not as constants of the code. When
    the sweep is over all tensors are as they were; `load(k)` of the result puts model k into them.

    - `seeds`: numbers, one per model; without them the only one is `seed`, or 0. `init` gives parameters new values
      (`model.reset_parameters`).
    - `grid`: names and lists of values, of which every combination is a setting, or a list of settings; `random`:
      names and what to draw from (a list, (low, high), (low, high, "log"), a function of a NumPy generator), `trials`
      times. A name is a setting of the optimizers ("lr", "betas", ...; "opt.lr" for that of the variable opt),
      "batch_size", "columns" (the features that are used: numbers or truth values; others are 0), "sample_weight",
      "class_weight", or a builder's argument.
    - A builder in the place of `step` is a function of settings alone, each in `grid` or with a default. It returns the
      step, or (step, evaluate), or a dict of "step" with what else `fit` takes, and "init". Without "init" it is called
      again for every seed. What changes shapes, as the size of a layer does, has to come in this way.
    - `folds`: a number, `tg.data.KFold(...)`, "loo" (each row is held out once) or pairs of rows; models are trained on
      some rows, and `evaluate(*columns)` is given those held out, if it can take them. `by`: a column's name, or one
      value for each row; a value's rows have models of their own.
    - `how`: "arenas" trains model after model by the code of the single run; "lanes" several at once, in the lanes of
      vectors; "auto" chooses, and `tg.explain(result)` says why. `workers` threads train at the same time.
      Processes do so, here or on other machines, with "loky" (all cores), "dask" (the cluster of the client there is,
      or a client), "ray", or "joblib" (what `joblib.parallel_config` says); for these `step` is a builder that makes
      model, evaluation and callbacks itself. Extra `sweep`; docs/scaling.md says when it pays.
    - `store`: a folder to which finished models are written, and from which a sweep that is started again goes on.

    A model that diverges has NaN in its columns; with `on_nonfinite="warn"` a warning counts them. EarlyStopping among
    `callbacks` ends models one by one. Other callbacks, and a step without `tg.jit`, are run by one call of `fit` after
    the other. Ctrl-C ends the sweep and keeps what is finished.

    Raises ConfigError for settings that nothing has, DataError for shares that cannot be, IndexOutOfRange naming model,
    epoch, batch and row; an error in the middle has what was finished as its attribute `sweep`.

    >>> import tinygrad_nn as tg
    >>> model = tg.nn.Linear(1, 1)
    >>> opt = tg.optim.SGD(model.parameters(), lr=0.1)
    >>> @tg.jit
    ... def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((model(x) - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> x = tg.linspace(0, 1, 8).reshape(8, 1)
    >>> found = sweep(step, (x, 2 * x), 20, init=model.reset_parameters, seeds=range(3), progress=False)
    >>> found["loss"].shape
    (3, 20)
    """
    begun = time.perf_counter()
    away = is_away(workers)
    threads = 1 if away else workers
    for name, value in (("epochs", epochs), ("eval_every", eval_every), ("workers", threads), ("trials", trials)):
        integer("sweep", name, value, least=1)
    choice("sweep", "how", how, ("auto", "arenas", "lanes"))
    raises = isinstance(on_nonfinite, str) and on_nonfinite == "raise"
    if not isinstance(on_nonfinite, str) or on_nonfinite not in REACTIONS or raises:
        hint = "tg.fit with the settings of that model" if raises else ""
        raise ConfigError(message("sweep", f"on_nonfinite={shown(on_nonfinite)}", "'ignore' or 'warn'", hint))
    if init is not None and not callable(init):
        raise ConfigError(message("sweep", f"init={shown(init)}", "a function, such as model.reset_parameters"))
    callbacks = checked_callbacks(step, None, callbacks)
    checked_callbacks(step, evaluate, ())
    numbers = seeds_of(seeds, seed)
    settings = points(grid, random, trials, numbers[0])
    asked = How(
        int(epochs), batch_size, shuffle, evaluate, int(eval_every), callbacks, how, 1 if away else int(workers)
    )
    rows, groups_of_rows = taken_apart(data, by)
    plan = Plan(step, init, asked, settings, rows, (sample_weight, class_weight), numbers)
    if away:
        check_sendable(plan, workers)
    processes = pool(workers) if away else None
    first = plan.data(plan.source(settings[0]))
    parts = shares(folds, groups_of_rows, first.count, first.labels, numbers[0])
    models = all_trials(settings, parts, numbers)
    check_fits("sweep", f"{len(models):,} models of {epochs:,} epochs", 8 * len(models) * asked.epochs)
    results = Results(len(models), asked.epochs, np.flatnonzero(asked.due) + 1)
    found = Sweep(models, results, plan, by if isinstance(by, str) else "by")
    kept = None
    if store is not None:
        given = {"epochs": epochs, "batch_size": batch_size, "shuffle": shuffle, "eval_every": eval_every, "how": how}
        kept = Store(store, described(models, first.columns, given))
        for one in kept.finished():
            results.record(one)
        results.listen = kept.add
    try:
        try:
            if processes is None:
                wanted = {trial.number for trial in models} - results.states.keys()
                plan.run(models, wanted, results, found, progress)
            else:
                run_away(plan, parts, models, results, found, progress, processes)
        finally:
            if kept is not None:
                kept.write()
    except Exception as error:
        error.sweep = found  # type: ignore[attr-defined]
        raise
    finally:
        found.metadata["seconds"] = time.perf_counter() - begun
    if on_nonfinite == "warn":
        _warn(found)
    return found


def cross_validate(
    step: Callable[..., Any],
    data: Any,
    epochs: int = 1,
    batch_size: int | None = None,
    *,
    folds: Any = 5,
    **options: Any,
) -> Sweep:
    """`tg.sweep` over `folds`: each is held out once, and `evaluate(*columns)` is given its rows.

    The result's `summary("test_acc")` has mean, spread and the number of folds.

    >>> import tinygrad_nn as tg
    >>> model = tg.nn.Linear(2, 1)
    >>> opt = tg.optim.SGD(model.parameters(), lr=0.1)
    >>> @tg.jit
    ... def step(x, y):
    ...     opt.zero_grad()
    ...     loss = ((model(x) - y) ** 2).mean()
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> def score(x, y):
    ...     return {"error": ((model(x) - y) ** 2).mean()}
    >>> data = (tg.ones(6, 2), 3 * tg.ones(6, 1))
    >>> found = tg.cross_validate(step, data, 20, folds=3, evaluate=score, progress=False, init=model.reset_parameters)
    >>> found["error"].shape
    (3, 20)
    """
    return sweep(step, data, epochs, batch_size, folds=folds, **options)


def _warn(found: Sweep) -> None:
    table = [found.last(name) for name in found.columns]
    bad = [k for k in range(len(found)) if found.epochs[k] and not all(np.isfinite(one[k]) for one in table)]
    if bad:
        listed = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
        got = f"{len(bad):,} of {len(found):,} models that diverged: {listed}"
        warnings.warn(NonFiniteWarning(message("sweep", got, "finite numbers")), stacklevel=user_level())
