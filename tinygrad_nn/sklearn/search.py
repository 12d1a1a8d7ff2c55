"""`SearchCV`: scikit-learn's search over settings and folds, trained as one sweep.

Candidates that differ in the rate and the penalty alone are states of one compiled run, fold by fold; what changes the
code (sizes, activations, batches) makes a sweep of its own. What cannot be swept, a Pipeline or an estimator that holds
samples out by itself, is fitted one after the other, as GridSearchCV does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import _num_samples, indexable

from ..errors import ConfigError, message
from ..support.settings import integer
from ..sweeping import sweep
from ..tensor.generator import working_with
from .supervised import Supervised
from .trainer import Recipe, Settings, Trainer, as_given, structure, weights_of

Pair = tuple[Any, Any]


class SearchCV(BaseSearchCV):
    """The best of several settings, by their scores on folds: GridSearchCV and RandomizedSearchCV in one.

    `param_grid` are names and lists of values, or a list of such; or `n_iter` settings are drawn from
    `param_distributions`. All else is as in scikit-learn, `best_params_`, `best_score_`, `best_estimator_` and
    `cv_results_` too, and the numbers are those of GridSearchCV with estimators that have a `random_state`. `n_jobs`
    is how many threads train. `random_state` is for what is drawn, and for estimators without one.

    >>> from sklearn.datasets import load_iris
    >>> from tinygrad_nn.sklearn import Classifier
    >>> X, y = load_iris(return_X_y=True)
    >>> search = SearchCV(Classifier(max_iter=100, random_state=0), {"learning_rate_init": [1e-5, 1e-2]}, cv=3)
    >>> search.fit(X, y).best_params_
    {'learning_rate_init': 0.01}
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any = None,
        *,
        param_distributions: Any = None,
        n_iter: int = 10,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_grid, self.param_distributions = param_grid, param_distributions
        self.n_iter, self.random_state = n_iter, random_state

    def _candidates(self) -> list[dict[str, Any]]:
        """The settings to try. Raises ConfigError unless there is one source of them."""
        if (self.param_grid is None) == (self.param_distributions is None):
            got = "neither" if self.param_grid is None else "both"
            raise ConfigError(message("SearchCV", f"{got} of param_grid and param_distributions", "one of them"))
        if self.param_grid is not None:
            return list(ParameterGrid(self.param_grid))
        count = integer("SearchCV", "n_iter", self.n_iter, least=1)
        return list(ParameterSampler(self.param_distributions, count, random_state=self.random_state))

    def _model(self, settings: Mapping[str, Any]) -> Any:
        """An estimator of these settings. One without a `random_state` begins by that of the search."""
        made = clone(self.estimator).set_params(**clone(settings, safe=False))
        if made.random_state is None and self.random_state is not None:
            made.random_state = int(check_random_state(clone(self.random_state, safe=False)).randint(2**31 - 1))
        return made

    def _run_search(self, evaluate_candidates: Any) -> None:
        """What scikit-learn asks for where candidates are fitted one after the other."""
        evaluate_candidates(self._candidates())

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Train every candidate on every fold, and the best one on all samples with `refit`. Returns self.

        `params` are `sample_weight` and, for the folds, `groups`.
        """
        known = isinstance(self.estimator, Supervised) and set(params) <= {"sample_weight", "groups"} and y is not None
        if not known or hasattr(self.cv, "__next__"):  # folds that can be asked for once
            return super().fit(X, y, **params)
        candidates = self._candidates()
        models = [self._model(one) for one in candidates]
        X, y, weight, groups = indexable(X, y, params.get("sample_weight"), params.get("groups"))
        judged = self._get_routed_params_for_fit(params).scorer.score  # whether scores are weighted too
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        folds = list(cv.split(X, y, groups))
        runs = None if not folds else _prepared(models, X, y, weight, folds)
        if runs is None:
            return super().fit(X, y, **params)
        return self._swept(candidates, models, runs, folds, X, y, weight, judged)

    def _swept(
        self, candidates: Any, models: Any, runs: Any, folds: list[Pair], X: Any, y: Any, weight: Any, judged: Any
    ) -> Any:
        """The same by sweeps."""
        scorers, refit_metric = self._get_scorers()
        self.n_splits_ = len(folds)
        parts = [[_part(X, y, judged, rows) for rows in pair] for pair in folds]
        out: list[Any] = [None] * (len(candidates) * len(folds))
        for run in runs:
            started = time.perf_counter()
            found = run.sweep(folds, self._workers())
            if found.interrupted:
                raise KeyboardInterrupt
            each = (time.perf_counter() - started) / (len(run.numbers) * len(folds))
            for k, (number, fold) in enumerate((n, f) for n in run.numbers for f in range(len(folds))):
                run.hand_over(found, k, models[number], len(folds[fold][0]))
                out[number * len(folds) + fold] = self._judged(models[number], scorers, parts[fold], each)
        results = self._format_results(candidates, len(folds), out)
        self.multimetric_ = isinstance(out[0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(out[0]["test_scores"])
            refit_metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        if self.refit:
            started = time.perf_counter()
            self.best_estimator_ = self._model(self.best_params_)
            self.best_estimator_.fit(X, y, sample_weight=weight)
            self.refit_time_ = time.perf_counter() - started
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        self.cv_results_ = results
        return self

    def _workers(self) -> int:
        if self.n_jobs is None:
            return 1
        if self.n_jobs == -1:
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return integer("SearchCV", "n_jobs", self.n_jobs, least=1)

    def _judged(self, model: Any, scorers: Any, parts: Sequence[Any], seconds: float) -> dict[str, Any]:
        """What scikit-learn notes of a model that was fitted: parts are the rows that train, and those held out."""
        started = time.perf_counter()
        (*train, train_judged), (*test, test_judged) = parts
        sound = all(np.isfinite(tensor.node.value).all() for tensor in model.module_.parameters())
        if not sound and self.error_score == "raise":
            raise ValueError("Solver produced non-finite parameter weights.")
        scores = scorers(model, *test, **test_judged) if sound else self.error_score
        found = {
            "test_scores": scores,
            "n_test_samples": _num_samples(test[0]),
            "fit_time": seconds,
            "score_time": time.perf_counter() - started,
            "fit_error": None,
        }
        if self.return_train_score:
            found["train_scores"] = scorers(model, *train, **train_judged) if sound else self.error_score
        return found


def _part(X: Any, y: Any, judged: Mapping[str, Any], rows: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Some rows of the data, and of what scorers are given besides."""
    return _safe_indexing(X, rows), _safe_indexing(y, rows), {k: _safe_indexing(v, rows) for k, v in judged.items()}


class Run:
    """Candidates that are trained by one sweep: their numbers, the settings that differ, and what trains them."""

    def __init__(self, model: Any, columns: Sequence[Any], recipe: Recipe, settings: Settings) -> None:
        self.model, self.columns, self.recipe, self.settings = model, columns, recipe, settings
        self.numbers: list[int] = []
        self.grid: list[Mapping[str, Any]] = []

    def add(self, number: int, settings: Settings) -> None:
        """One candidate more."""
        self.numbers.append(number)
        self.grid.append({"lr": settings.rate, "penalty": settings.penalty})

    def sweep(self, folds: Sequence[Pair], workers: int) -> Any:
        """Train all candidates on all folds."""
        self.model.module_.train()
        trainer = self.trainer = Trainer(self.model.module_, self.recipe, ())
        settings, watch = self.settings, trainer.watch
        weights = [tensor.node.value for tensor in weights_of(self.model.module_)]
        whole = all(settings.batch >= len(train) for train, _ in folds)
        with working_with(trainer.noise):
            return sweep(
                trainer.sweepable(),
                tuple(map(as_given, self.columns)),
                settings.epochs,
                None if whole else settings.batch,
                shuffle=settings.shuffle and not whole,
                evaluate=None if watch is None else watch.evaluate,
                seed=settings.seed,
                init=lambda: trainer.begin(weights, settings),
                grid=self.grid,
                folds=folds,
                progress=False,
                workers=workers,
            )

    def hand_over(self, found: Any, k: int, model: Any, samples: int) -> None:
        """Let an estimator be as if it had been fitted on a fold: model k of the sweep."""
        found.load(k)
        self.trainer.hand_over(model.module_)
        model.module_.eval()
        watch, losses = self.trainer.watch, found["loss"][k]
        last = len(losses) if watch is None else watch.last(found["waited"][k])
        model._record(losses[:last].tolist(), None, samples, incremental=False)


def _prepared(models: Sequence[Any], X: Any, y: Any, weight: Any, folds: Sequence[Pair]) -> list[Run] | None:
    """The sweeps for these candidates; None where they have to be fitted one by one: those that hold out samples, or
    weigh classes, fold by fold, and folds that lack a class.
    """
    sizes = [len(train) for train, _ in folds]
    runs: dict[Any, Run] = {}
    seed = None
    for number, model in enumerate(models):
        model._check_settings()
        if model.early_stopping or isinstance(getattr(model, "class_weight", None), str):
            return None
        columns, shape, losses, _ = model._columns(X, y, weight, True, False, min(sizes))
        target = columns[1]
        if target.dtype == np.int64 and any(len(np.unique(target[train])) < shape[1] for train, _ in folds):
            return None
        recipe, settings = model._run(losses, None, max(sizes))
        if min(sizes) < settings.batch < max(sizes) or model._chosen_dtype(X, max(sizes)) != model._dtype:
            return None
        if model.random_state is None:  # one beginning for all
            settings = replace(settings, seed=settings.seed if seed is None else seed)
            seed = settings.seed
        model._begin(shape, settings.seed)
        model._check_outputs(columns[0], shape[1])
        common = replace(settings, rate=0.0, penalty=0.0)
        key = structure(model.module_), model.module, recipe, common, model.dtype_
        run = runs.setdefault(key, Run(model, columns, recipe, settings))
        run.add(number, settings)
    return list(runs.values())
