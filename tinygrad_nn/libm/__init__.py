"""Elementary functions in plain scalar arithmetic: range reduction and polynomial, no library call, so loops vectorise.

Within 2 ULP on the whole domain, except where a docstring states another bound; sin, cos and tan end at 2**48.
"""

from .arc import acos as acos
from .arc import asin as asin
from .arc import atan as atan
from .arc import atan2 as atan2
from .area import acosh as acosh
from .area import asinh as asinh
from .area import atanh as atanh
from .error import erf as erf
from .error import erfc as erfc
from .exponential import cosh as cosh
from .exponential import exp as exp
from .exponential import exp2 as exp2
from .exponential import expm1 as expm1
from .exponential import sigmoid as sigmoid
from .exponential import sinh as sinh
from .exponential import tanh as tanh
from .logarithm import log as log
from .logarithm import log1p as log1p
from .logarithm import log2 as log2
from .logarithm import log10 as log10
from .power import pow as pow
from .trigonometric import cos as cos
from .trigonometric import sin as sin
from .trigonometric import tan as tan
