"""Elementary functions in plain scalar arithmetic: range reduction and polynomial, no library call, so loops vectorise.

Within 2 ULP on the whole domain, except where a docstring states another bound; sin, cos and tan end at 2**48.
A file is loaded when one of its functions is first called: only compiled code needs them.
"""

from collections.abc import Callable
from importlib import import_module

from ..scalar import Expr


def _of(module: str, name: str) -> Callable[..., Expr]:
    """A function of one of the files."""

    def function(*args: Expr) -> Expr:
        found: Expr = getattr(import_module(f".{module}", __name__), name)(*args)
        return found

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
