"""Gradient clipping, parameters as one vector, sequences of several lengths, parametrized weights."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import rnn as rnn
from .clip import clip_grad_norm_ as clip_grad_norm_
from .clip import clip_grad_value_ as clip_grad_value_
from .clip import clip_grads_with_norm_ as clip_grads_with_norm_
from .clip import get_total_norm as get_total_norm
from .vector import parameters_to_vector as parameters_to_vector
from .vector import vector_to_parameters as vector_to_parameters

if _TYPE_CHECKING:
    from . import parametrizations as parametrizations
    from . import parametrize as parametrize
    from .reparametrized import remove_spectral_norm as remove_spectral_norm
    from .reparametrized import remove_weight_norm as remove_weight_norm
    from .reparametrized import skip_init as skip_init
    from .reparametrized import spectral_norm as spectral_norm
    from .reparametrized import weight_norm as weight_norm

_LAZY = {  # name -> the module that is loaded when it is first asked for
    **dict.fromkeys(("parametrizations", "parametrize"), ""),
    **dict.fromkeys(
        ("remove_spectral_norm", "remove_weight_norm", "skip_init", "spectral_norm", "weight_norm"), "reparametrized"
    ),
}


def __getattr__(name: str) -> _Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tinygrad_nn.nn.utils' has no attribute {name!r}")
    module = _import_module(f".{_LAZY[name] or name}", __name__)
    value = getattr(module, name) if _LAZY[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
