"""Elementary functions in plain scalar arithmetic: range reduction and polynomial, no library call, so loops vectorise.

Within 2 ULP on the whole domain, except where a docstring states another bound; sin, cos and tan end at 2**48.
A file is loaded when one of its functions is first called: only compiled code needs them. What a function computes is
made once for each dtype, and copied for every use: a deep model has hundreds.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module

from ...graph.scalar import DType, Expr, param, walk


@cache
def _pattern(module: str, name: str, *dtypes: DType) -> tuple[list[Expr], list[Expr]]:
    """A function of parameters; and what depends on them, operands before their users, the result last."""
    params = [param(k, dtype) for k, dtype in enumerate(dtypes)]
    result = getattr(import_module(f".{module}", __name__), name)(*params)
    depends = dict.fromkeys(params)
    for node in walk(result):
        if any(arg in depends for arg in node.args):
            depends[node] = None
    return params, list(depends)[len(params) :]


def _of(module: str, name: str) -> Callable[..., Expr]:
    """A function of one of the files."""

    def function(*args: Expr) -> Expr:
        params, rest = _pattern(module, name, *(arg.dtype for arg in args))
        made = dict(zip(params, args, strict=True))
        for node in rest:
            made[node] = Expr(node.op, tuple([made.get(arg, arg) for arg in node.args]), node.dtype, node.value)
        return made[rest[-1]]

    function.__name__ = name
    return function


acos = _of("arc", "acos")
asin = _of("arc", "asin")
atan = _of("arc", "atan")
atan2 = _of("arc", "atan2")
acosh = _of("area", "acosh")
asinh = _of("area", "asinh")
atanh = _of("area", "atanh")
erf = _of("error", "erf")
erfc = _of("error", "erfc")
cosh = _of("exponential", "cosh")
exp = _of("exponential", "exp")
exp2 = _of("exponential", "exp2")
expm1 = _of("exponential", "expm1")
sigmoid = _of("exponential", "sigmoid")
sinh = _of("exponential", "sinh")
tanh = _of("exponential", "tanh")
log = _of("logarithm", "log")
log1p = _of("logarithm", "log1p")
log2 = _of("logarithm", "log2")
log10 = _of("logarithm", "log10")
pow = _of("power", "pow")
cos = _of("trigonometric", "cos")
sin = _of("trigonometric", "sin")
tan = _of("trigonometric", "tan")
