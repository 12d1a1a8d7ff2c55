"""Several trained models as one module, which predicts a mean and a spread.

Models of one architecture lie on top of each other: each parameter is one tensor with a first axis of models, and one
loop over that axis computes them all (`scan`), so that compiling takes as long as for one. Other models are computed
one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple, Self

import numpy as np

from ..errors import ConfigError, TinygradError, message
from ..loops import scan
from ..support.pytree import flatten, mapped, unflatten
from ..support.settings import shown, typed
from ..tensor import Tensor
from ..tensor.joining import stack
from .container import ModuleList
from .module import Module
from .parameter import Buffer, Parameter
from .utils.stateless import functional_call


class Prediction(NamedTuple):
    """What an ensemble predicts: the mean of its models and their standard deviation, in which one degree of freedom is
    the mean's. One model has no spread: NaN.
    """

    mean: Any
    spread: Any


class Ensemble(Module):
    """What `tg.ensemble` makes. `members(x)` are the predictions themselves, with a first axis of models."""

    def __init__(self, models: list[Module], output: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.output, self.size = output, len(models)
        self.stacked = all(_alike(models[0], other) for other in models[1:])
        if self.stacked:
            self.model = deepcopy(models[0])
            _stack_into(self.model, models)
        else:
            self.model = ModuleList(deepcopy(model) for model in models)
        self.requires_grad_(False)
        for part in self.modules():
            part.training = False

    def forward(self, *args: Any, **kwargs: Any) -> Prediction:
        """The mean and the spread of what the models give: of a tensor, or of each in a structure of them."""
        members = self.members(*args, **kwargs)
        return Prediction(mapped(lambda y: y.mean(0), members), mapped(lambda y: y.std(0), members))

    def members(self, *args: Any, **kwargs: Any) -> Any:
        """What each model gives, (models, ...)."""
        if not self.stacked:
            found = [flatten(self._answer(model(*args, **kwargs))) for model in self.model.children()]
            return unflatten(found[0][1], [stack(leaves) for leaves in zip(*(one for one, _ in found), strict=True)])

        def predict(nothing: Any, tensors: dict[str, Tensor]) -> tuple[Any, Any]:
            return nothing, self._answer(functional_call(self.model, tensors, args, kwargs))

        return scan(predict, (), _tensors(self.model))[1]

    def _answer(self, prediction: Any) -> Any:
        return prediction if self.output is None else self.output(prediction)

    @typed
    def train(self, mode: bool = True) -> Self:
        """Nothing: an ensemble is there to predict, and dropout in its models drops nothing."""
        return self

    def __len__(self) -> int:
        return self.size

    def extra_repr(self) -> str:
        """How many models there are."""
        return f"models={self.size}"


def ensemble(models: Any, model: Module | None = None, output: Callable[[Any], Any] | None = None) -> Ensemble:
    """One module of several trained models, given as modules, as states (as `state_dict()` gives them) of a `model`, or
    as the `Sweep` that trained this `model` (`sweep.states(model, numbers)` are some of them).

    Called, it gives `Prediction(mean, spread)`; `output` is applied to what each model gives, before the mean, such as
    a softmax. It has copies of the models and is no longer trained; it compiles, and is saved and loaded as any module.
    Raises ConfigError for no models, and for what is none.

    >>> import tinygrad_nn as tg
    >>> models = [tg.nn.Linear(2, 1) for _ in range(5)]
    >>> predict = tg.jit(tg.ensemble(models))
    >>> mean, spread = predict(tg.ones(3, 2))
    >>> mean.shape, spread.shape
    ((3, 1), (3, 1))
    """
    if model is not None and not isinstance(model, Module):
        raise ConfigError(message("ensemble", f"model {shown(model)}", "a module that the states are of"))
    if callable(getattr(models, "states", None)):
        if model is None:
            raise ConfigError(message("ensemble", "a sweep, and no model", "the module that it trained"))
        models = models.states(model)
    if isinstance(models, (Module, Mapping, str)) or not isinstance(models, Iterable):
        got = f"models {shown(models)}"
        raise ConfigError(message("ensemble", got, "a list of models, or of their states", "ensemble([model])"))
    listed = list(models)
    if not listed:
        raise ConfigError(message("ensemble", "no models", "one at least"))
    if output is not None and not callable(output):
        raise ConfigError(message("ensemble", f"output {shown(output)}", "a function of what a model gives"))
    return Ensemble([_made(k, one, model) for k, one in enumerate(listed)], output)


def _made(place: int, given: Any, model: Module | None) -> Module:
    """One of the models."""
    if isinstance(given, Module):
        return given
    if not isinstance(given, Mapping):
        got = f"{shown(given)} at place {place}"
        raise ConfigError(message("ensemble", got, "a model, or a state as state_dict() gives it"))
    if model is None:
        got = f"a state at place {place}, and no model"
        raise ConfigError(message("ensemble", got, "the model that it is of", "ensemble(states, model)"))
    made = deepcopy(model)
    try:
        made.load_state_dict(given)
    except TinygradError as error:
        raise ConfigError(message("ensemble", f"a state at place {place} ({error})", "one of the model")) from None
    return made


def _tensors(model: Module) -> dict[str, Tensor]:
    """Parameters and buffers by all of their paths."""
    return dict[str, Tensor](model._named((Parameter, Buffer), remove_duplicate=False))  # type: ignore[arg-type]


def _stack_into(model: Module, models: list[Module]) -> None:
    """Let each parameter and buffer of a model be those of all models, one above the other."""
    every = [_tensors(one) for one in models]
    made: dict[int, Tensor] = {}  # tied tensors stay so
    for path, own in _tensors(model).items():
        parent, _, name = path.rpartition(".")
        if id(own) not in made:
            value = stack([one[path].detach() for one in every])
            made[id(own)] = Parameter(value) if isinstance(own, Parameter) else Buffer(value, own.persistent)  # type: ignore[attr-defined]
        vars(model.get_submodule(parent))[name] = made[id(own)]


def _alike(one: Module, other: Module) -> bool:
    """Whether two models compute the same but for the values of their parameters and buffers."""
    trees = [list(model.named_modules(remove_duplicate=False)) for model in (one, other)]
    if [(path, type(part)) for path, part in trees[0]] != [(path, type(part)) for path, part in trees[1]]:
        return False
    return all(
        list(vars(a)) == list(vars(b)) and all(_same(vars(a)[name], vars(b)[name]) for name in vars(a) if name != MODE)
        for (_, a), (_, b) in zip(*trees, strict=True)
    )


MODE = "_training"


def _same(value: Any, other: Any) -> bool:
    """Whether an attribute is the same to what is computed."""
    if value is other or (isinstance(value, Module) and isinstance(other, Module)):
        return True
    if type(value) is not type(other):
        return False
    if isinstance(value, Tensor):
        equal = (value.shape, value.dtype) == (other.shape, other.dtype)
        known = isinstance(value, (Parameter, Buffer))
        return equal and (known or bool(np.array_equal(value.detach().numpy(), other.detach().numpy(), equal_nan=True)))
    if isinstance(value, dict):
        return list(value) == list(other) and all(_same(value[key], other[key]) for key in value)
    if isinstance(value, (list, tuple)):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, np.ndarray):
        return bool(np.array_equal(value, other))
    if type(value).__module__.startswith(__name__.partition(".")[0]) and hasattr(value, "__dict__"):
        return _same(vars(value), vars(other))  # how a weight is computed
    try:
        return bool(value == other)
    except Exception:  # of a foreign __eq__
        return False
