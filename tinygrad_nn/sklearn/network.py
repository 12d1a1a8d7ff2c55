"""What all estimators share: their settings, and the way from checked data to trained weights.

Settings have scikit-learn's names where scikit-learn has them. They are checked when `fit` is called, as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar, cast, dataclass_transform

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from .. import nn, optim
from ..errors import ConfigError, DataError, message
from ..support.settings import choice, integer, number, shown
from ..tensor import Tensor, no_grad
from ..tensor.core import constant
from ..tensor.generator import Generator, working_with
from .trainer import Losses, Recipe, Score, Settings, borrowed

ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "identity": nn.Identity,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
ALSO: Final = {  # what others call a setting
    "epochs": "max_iter",
    "max_epochs": "max_iter",
    "lr": "learning_rate_init",
    "hidden_layer_sizes": "hidden",
    "optimizer": "solver",
    "patience": "n_iter_no_change",
    "seed": "random_state",
}
SMALL: Final = 64  # samples up to which float64 data is trained in float64
ROWS: Final = 2**14  # samples that are predicted at a time
T = TypeVar("T")


@dataclass_transform()
def estimator(kind: type[T]) -> type[T]:
    """A dataclass of its settings, which also go by the names in `ALSO`."""
    made: Any = dataclass(eq=False, repr=False)(kind)
    plain = made.__init__

    @wraps(plain)
    def init(self: Any, *args: Any, **settings: Any) -> None:
        plain(self, *args, **own_names(kind.__name__, settings))

    made.__init__ = init
    return cast(type[T], made)


def own_names(owner: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by our names. Raises ConfigError for one that is given by two names."""
    for name in settings:
        if ALSO.get(name) in settings:
            raise ConfigError(message(owner, f"{name} and {ALSO[name]}", "one of the two: they are one setting"))
    return {ALSO.get(name, name): value for name, value in settings.items()}


@dataclass(frozen=True)
class Descent:
    """An optimizer by its name in scikit-learn or here. It is equal to another one of the same settings."""

    solver: str
    momentum: float

    def __call__(self, parameters: Any) -> optim.Optimizer:
        """The optimizer of these parameters."""
        if self.solver == "sgd":
            return optim.SGD(parameters, momentum=self.momentum, nesterov=self.momentum > 0)
        return SOLVERS[self.solver](parameters)


SOLVERS: Final[Mapping[str, Callable[..., optim.Optimizer]]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "nadam": optim.NAdam,
}


@estimator
class Network(BaseEstimator):
    """A network and how it is trained. The settings are those of scikit-learn's MLPClassifier, and these:

    `module` is a function of the numbers of inputs and outputs that makes the network; without one, it has `hidden`
    layers of these sizes with an `activation` behind each. `solver` is also a function of parameters that makes a
    `tg.optim.Optimizer`. `dtype` is "float32", "float64" or "auto", which is float32 but for float64 data of at most 64
    samples, where digits cost nothing.
    """

    module: Callable[[int, int], nn.Module] | None = None
    hidden: Sequence[int] | int = (64,)
    activation: str = "relu"
    solver: str | Callable[[Any], optim.Optimizer] = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate_init: float = 0.001
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    warm_start: bool = False
    momentum: float = 0.9
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    dtype: str = "auto"

    def set_params(self, **params: Any) -> Any:
        """Set settings, by any of their names; those of scikit-learn's metaestimators too."""
        return super().set_params(**own_names(type(self).__name__, params))

    # ---- settings ---------------------------------------------------------------------------------------------------

    def _check_settings(self) -> None:
        """Raise ConfigError for what no run can have."""
        owner = type(self).__name__
        integer(owner, "max_iter", self.max_iter, least=1)
        integer(owner, "n_iter_no_change", self.n_iter_no_change, least=1)
        if self.batch_size != "auto":
            integer(owner, "batch_size", self.batch_size, least=1)
        for name in ("learning_rate_init", "alpha", "momentum"):
            number(owner, name, getattr(self, name), least=0)
        number(owner, "validation_fraction", self.validation_fraction, above=0, below=1)
        if self.tol != -math.inf:
            number(owner, "tol", self.tol)
        choice(owner, "dtype", self.dtype, ("auto", "float32", "float64"))
        for name in ("shuffle", "warm_start", "early_stopping"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise ConfigError(message(owner, f"{name} {shown(getattr(self, name))}", "True or False"))
        if not callable(self.solver):
            choice(owner, "solver", self.solver, SOLVERS)
        if self.module is None:
            choice(owner, "activation", self.activation, ACTIVATIONS)
            for size in self._sizes():
                integer(owner, "hidden", size, least=1)
        elif not callable(self.module) or isinstance(self.module, nn.Module):
            got = f"module of type {type(self.module).__name__}"
            hint = "module=lambda n_in, n_out: nn.Sequential(...)"
            raise ConfigError(message(owner, got, "a function that makes a module", hint))

    def _sizes(self) -> list[Any]:
        """The sizes of the hidden layers."""
        return list(self.hidden) if isinstance(self.hidden, (tuple, list, np.ndarray)) else [self.hidden]

    # ---- the network ------------------------------------------------------------------------------------------------

    def _default(self, n_in: int, n_out: int, sizes: Sequence[Any]) -> nn.Module:
        """The network where no `module` is given."""
        layers: list[nn.Module] = []
        for size in sizes:
            layers += [nn.Linear(n_in, int(size)), ACTIVATIONS[self.activation]()]
            n_in = int(size)
        return nn.Sequential(*layers, nn.Linear(n_in, n_out))

    def _made(self, n_in: int, n_out: int, sizes: Sequence[Any]) -> nn.Module:
        """A new network, with hidden layers of these sizes if it is ours. Raises ConfigError where `module` makes
        something else.
        """
        made: Any = self.module(n_in, n_out) if self.module is not None else self._default(n_in, n_out, sizes)
        if not isinstance(made, nn.Module):
            got = f"a {type(made).__name__} from module({n_in}, {n_out})"
            raise ConfigError(message(type(self).__name__, got, "a tg.nn.Module"))
        if not any(True for _ in made.parameters()):
            got = f"a {type(made).__name__} without parameters"
            raise ConfigError(message(type(self).__name__, got, "a module with something to train"))
        return made

    def _build(self, n_in: int, n_out: int) -> nn.Module:
        """The whole of what is trained."""
        return self._made(n_in, n_out, self._sizes())

    # ---- training ---------------------------------------------------------------------------------------------------

    def _train(
        self,
        columns: Sequence[Any],
        held: Sequence[Any],
        sizes: tuple[int, int],
        losses: Losses,
        score: Score | None,
        *,
        first: bool,
        incremental: bool = False,
    ) -> None:
        """Train on these columns (the weights of the samples are the last one), from new weights where it is the
        `first` time. `sizes` are those of input and output.
        """
        recipe, settings = self._run(losses, score, len(columns[0]), incremental)
        if first:
            self._begin(sizes, settings.seed)
            self._check_outputs(columns[0], sizes[1])
        self.module_.train()
        with borrowed(self.module_, recipe, columns, held, settings.batch) as trainer:
            result = trainer.train(self.module_, columns, held, settings, self._state if incremental else None)
        self.module_.eval()
        self._state: list[Any] | None = result.optimizer
        self._record(result.losses, result.scores if score is not None else None, len(columns[0]), incremental)
        if not all(np.isfinite(p.node.value).all() for p in self.module_.parameters()):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be"
                " preprocessed."
            )

    def _run(
        self, losses: Losses, score: Score | None, samples: int, incremental: bool = False
    ) -> tuple[Recipe, Settings]:
        """What decides about the code of a run on so many samples, and its numbers."""
        patient = not incremental and self.tol != -math.inf
        patient = patient and (self.early_stopping or self.n_iter_no_change < self.max_iter)
        solver = self.solver if callable(self.solver) else Descent(self.solver, float(self.momentum))
        return Recipe(losses, solver, self.alpha > 0, patient, score), Settings(
            epochs=1 if incremental else int(self.max_iter),
            batch=min(200 if self.batch_size == "auto" else int(self.batch_size), samples),
            shuffle=bool(self.shuffle),
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            rate=float(self.learning_rate_init),
            penalty=float(self.alpha),
            tolerance=float(self.tol),
            patience=float(self.n_iter_no_change),
        )

    def _begin(self, sizes: tuple[int, int], seed: int) -> None:
        """Make the network, and forget earlier runs."""
        with working_with(Generator(seed)):
            self.module_ = self._build(*sizes)
        if next(self.module_.parameters()).dtype != self._dtype:
            self.module_.to(self._dtype)
        self.n_iter_, self.t_, self.n_outputs_ = 0, 0, sizes[1]
        self.loss_curve_: list[float] = []
        self._state = None

    def _record(self, losses: list[float], scores: list[float] | None, samples: int, incremental: bool) -> None:
        """Note how a run went."""
        epochs = len(losses)
        self.n_iter_ = self.n_iter_ + epochs if incremental else epochs
        self.t_ += epochs * samples
        self.loss_curve_ = [*self.loss_curve_, *losses]
        self.loss_, self.best_loss_ = losses[-1], min(self.loss_curve_)
        self.validation_scores_ = scores
        self.best_validation_score_ = None if scores is None else max(scores)

    def _check_outputs(self, x: Any, n_out: int) -> None:
        """Raise ConfigError where a network of the user's has other outputs than it was asked for."""
        if self.module is None:
            return
        with no_grad():
            self.module_.eval()
            shape = tuple(self.module_(_tensor(np.asarray(x[0])[None])).shape)
        if shape != (1, n_out):
            got = f"outputs of shape {shape} for one sample from the module"
            raise ConfigError(message(type(self).__name__, got, f"(1, {n_out})", "its last layer has n_out outputs"))

    def _chosen_dtype(self, x: Any, samples: int | None = None) -> Any:
        """The dtype to train in, on so many of the samples."""
        if self.dtype != "auto":
            return np.dtype(self.dtype)
        wide = (samples or len(x)) <= SMALL and np.asarray(x[0]).dtype == np.float64
        return np.dtype(np.float64 if wide else np.float32)

    def _weights(self, sample_weight: Any, x: Any) -> Any:
        """The weights of the samples as a column. Raises ValueError as scikit-learn does for those that cannot be."""
        rows = np.empty((len(x), 1), self._dtype)
        weights = _check_sample_weight(sample_weight, rows, dtype=self._dtype, ensure_non_negative=True)
        if sample_weight is not None and not weights.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return weights

    def _cast(self, x: Any) -> Any:
        """Checked data in the dtype that is trained. Raises DataError for what that cannot hold."""
        if isinstance(x, list):
            return list(map(self._cast, x))
        with np.errstate(over="ignore"):
            made = np.ascontiguousarray(x, self._dtype)
        if made.dtype != x.dtype and not np.isfinite(made).all():
            got = f"numbers beyond {np.finfo(self._dtype).max:.3g}"
            raise DataError(
                message(type(self).__name__, got, f"what {self._dtype} holds", 'scale them, or dtype="float64"')
            )
        return made

    # ---- outputs ----------------------------------------------------------------------------------------------------

    def _outputs(self, x: Any, network: nn.Module | None = None) -> Any:
        """What the network makes of checked data, as an array."""
        check_is_fitted(self)
        network = self.module_ if network is None else network
        x = self._cast(x)
        with no_grad():
            parts = [network(_tensor(x[k : k + ROWS])).numpy() for k in range(0, len(x), ROWS)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @property
    def _dtype(self) -> Any:
        return np.dtype(self.dtype_)


def _tensor(array: Any) -> Tensor:
    return Tensor.handle(constant(array))
