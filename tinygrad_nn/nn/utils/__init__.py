"""Gradient clipping, parameters as one vector, sequences of several lengths, parametrized weights."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ...support import late as _late
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

_NAMES = {  # by the module that is loaded when one of them is first asked for
    "parametrizations": "parametrizations",
    "parametrize": "parametrize",
    "reparametrized": "remove_spectral_norm remove_weight_norm skip_init spectral_norm weight_norm",
}
__getattr__, __dir__ = _late(__name__, _NAMES)
