"""Tensors: the handle and the gate (`core`), methods in layers, creation, and the functions of the top level.

What is composed of methods and used now and then stands in `composed/`, a file for each subject, which is loaded at the
first use of one of its functions. The tables here say what there is; `composed.Composed` says it to type checkers.
"""

from __future__ import annotations

import functools
from importlib import import_module
from types import MethodType
from typing import Any, Final

from .tensor import Tensor as Tensor
from .tensor import enable_grad as enable_grad
from .tensor import inference_mode as inference_mode
from .tensor import no_grad as no_grad
from .tensor import set_grad_enabled as set_grad_enabled

_METHODS: Final = {  # by file of `composed/`: methods, which are functions of the top level too
    "drawing": "bernoulli multinomial",
    "bessel": "i0",
    "factoring": """
        cholesky cholesky_inverse cholesky_solve det inverse logdet lu_solve matrix_exp matrix_power pinverse qr
        slogdet svd
    """,
    "gamma": "digamma lgamma mvlgamma",
    "incomplete": "igamma igammac",
    "older": "is_nonzero",
    "ordering": """
        aminmax argwhere kthvalue median mode msort nanmedian nanquantile nonzero_static quantile unique
        unique_consecutive
    """,
    "matrices": "addbmm addr baddbmm vdot",
    "placing": """
        diagonal_scatter index_copy index_fill index_put index_reduce masked_scatter put scatter_reduce
        select_scatter slice_scatter
    """,
    "rearranging": """
        diag diag_embed diagflat dsplit fliplr flipud hsplit kron narrow_copy repeat_interleave rot90
        split_with_sizes tensor_split trace unsafe_chunk unsafe_split vsplit
    """,
    "scanning": "cummax cummin diff logcumsumexp",
    "special": """
        angle clamp_max clamp_min copysign deg2rad erfinv float_power fmax fmin frexp gcd hardshrink heaviside hypot
        isneginf isposinf isreal lcm ldexp logaddexp2 nextafter positive prelu rad2deg sgn signbit sinc xlogy
    """,
    "statistics": "bincount corrcoef cov cross dist histc histogram renorm",
}
_FUNCTIONS: Final = {  # functions of the top level alone
    "bessel": "i0e i1 i1e",
    "drawing": "poisson standard_gamma",
    "factoring": "lu_unpack nuclear_norm",
    "gamma": "gammaln psi",
    "incomplete": "gammainc gammaincc",
    "matrices": "cdist",
    "ordering": "bucketize isin searchsorted unravel_index",
    "scanning": "cumulative_trapezoid gradient trapezoid trapz",
    "special": "entr erfcx expit log_ndtr ndtr ndtri rsub xlog1py",
    "statistics": "histogramdd std_mean var_mean",
}
_ALONE: Final = {  # methods alone
    "drawing": "bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_",
    "gamma": "polygamma",
    "older": """
        fill_diagonal_ is_same_size ndimension nelement new resize_ resize_as_ share_memory_ storage stride
    """,
    "rearranging": "adjoint reshape_as sum_to_size",
}
_IN_PLACE: Final = """
    abs absolute acos acosh addbmm addmm addmv addr arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh
    atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
    ceil clamp_max clamp_min clip copysign cos cosh cumprod cumsum deg2rad digamma divide eq erf erfc erfinv exp2
    expm1 fix float_power floor floor_divide fmod frac gcd ge greater greater_equal gt heaviside hypot i0 igamma
    igammac index_add index_copy index_fill index_put index_reduce lcm ldexp le less less_equal lgamma log log10
    log1p log2 logical_and logical_not logical_or logical_xor logit lt masked_scatter multiply mvlgamma nan_to_num
    ne negative nextafter not_equal polygamma put rad2deg reciprocal remainder renorm round rsqrt scatter
    scatter_add scatter_reduce sgn sigmoid sign sin sinc sinh square subtract tan tanh tril triu true_divide trunc
    xlogy
"""  # methods that there are with `_` behind their name too
_RESHAPING: Final = "squeeze swapaxes swapdims t transpose unsqueeze"  # those that give the handle another shape
ALIASES: Final = {  # PyTorch's second names of methods, which are functions of the top level too
    "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan", "arctan2": "atan2",
    "arctanh": "atanh", "divide": "div", "fix": "trunc", "ger": "outer", "greater": "gt", "greater_equal": "ge",
    "less": "lt", "less_equal": "le", "moveaxis": "movedim", "multiply": "mul", "negative": "neg", "not_equal": "ne",
    "subtract": "sub", "swapdims": "transpose",
}  # fmt: skip
_BOTH: Final = {name: file for file, names in _METHODS.items() for name in names.split()}
METHODS: Final = _BOTH | {name: file for file, names in _ALONE.items() for name in names.split()}
FUNCTIONS: Final = _BOTH | {name: file for file, names in _FUNCTIONS.items() for name in names.split()}
IN_PLACE: Final = tuple(f"{name}_" for name in f"{_IN_PLACE} {_RESHAPING}".split())


def loaded(name: str) -> Any:
    """A function of `composed/`; its file is loaded."""
    return getattr(import_module(f"{__name__}.composed.{(METHODS | FUNCTIONS)[name]}"), name)


def _in_place(name: str) -> Any:
    """The method that writes what another one gives."""
    method = getattr(Tensor, name[:-1])
    moves = name[:-1] in _RESHAPING.split()

    @functools.wraps(method)
    def call(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if moves:
            return self._move(name, lambda x: method(x, *args, **kwargs))
        return self._write(name, method(self, *args, **kwargs))

    call.__name__, call.__qualname__ = name, f"Tensor.{name}"
    call.__doc__ = f"`{name[:-1]}`, in place."
    return call


class _Late:
    """A method that is made at its first use, and then stands in the class instead of this."""

    __slots__ = ("make", "name")

    def __init__(self, make: Any, name: str) -> None:
        self.make, self.name = make, name

    def __get__(self, tensor: Tensor | None, kind: type[Tensor]) -> Any:
        method = self.make(self.name)
        setattr(Tensor, self.name, method)
        return method if tensor is None else MethodType(method, tensor)


for _name in METHODS:
    setattr(Tensor, _name, _Late(loaded, _name))
for _name in IN_PLACE:
    setattr(Tensor, _name, _Late(_in_place, _name))
for _name, _method in ALIASES.items():
    setattr(Tensor, _name, getattr(Tensor, _method))
