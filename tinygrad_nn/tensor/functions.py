"""The functions of the top level, `tg.exp(x)` beside `x.exp()`: the method, taking numbers, lists and arrays as well.

One section per layer of methods; those of `composed/` are made when they are first named. A function has its method's
documentation, where `self` is the first argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from ..errors import ConfigError, message
from . import ALIASES, FUNCTIONS, loaded
from .arrays import array_of
from .core import Core, constant
from .door import named, takes_data, takes_operands
from .operators import Operand
from .tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def function(method: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Any, P], R]:
    """A method of Tensor as a function whose operands may be anything `tg.tensor` takes."""
    return _named(takes_operands(method), method.__name__)


def contraction(method: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Any, P], R]:
    """The same for a matrix product: an array takes the dtype of the tensor beside it."""
    return _named(takes_data(method, "product"), method.__name__)


def _named(call: Callable[..., R], name: str) -> Callable[..., R]:
    call.__qualname__ = name
    return call


# ---- operators and logic ------------------------------------------------------------------------------------------

eq = function(Tensor.eq)
ne = function(Tensor.ne)
lt = function(Tensor.lt)
le = function(Tensor.le)
gt = function(Tensor.gt)
ge = function(Tensor.ge)
logical_not = function(Tensor.logical_not)
logical_and = function(Tensor.logical_and)
logical_or = function(Tensor.logical_or)
logical_xor = function(Tensor.logical_xor)
bitwise_not = function(Tensor.bitwise_not)
bitwise_and = function(Tensor.bitwise_and)
bitwise_or = function(Tensor.bitwise_or)
bitwise_xor = function(Tensor.bitwise_xor)
bitwise_left_shift = function(Tensor.bitwise_left_shift)
bitwise_right_shift = function(Tensor.bitwise_right_shift)
isnan = function(Tensor.isnan)
isinf = function(Tensor.isinf)
isfinite = function(Tensor.isfinite)
isclose = function(Tensor.isclose)


@overload
def where(condition: Any) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Any, input: Operand, other: Operand) -> Tensor: ...
@named
def where(condition: Any, input: Operand | None = None, other: Operand | None = None) -> Tensor | tuple[Tensor, ...]:
    """`input` where `condition` (bool) holds, else `other`; the three broadcast, the two are promoted.

    With the condition alone, the positions of what is not 0: one tensor per axis.

    >>> where([True, False], 1.0, 2)
    tensor([1., 2.])
    >>> where([[0, 3], [4, 0]])
    (tensor([0, 1]), tensor([1, 0]))
    """
    mask = condition if isinstance(condition, Tensor) else Tensor.handle(constant(array_of("where", condition)))
    if input is None and other is None:
        return tuple(mask.nonzero().unbind(1))
    if input is None or other is None:
        raise ConfigError(message("where", "one of input and other", "both or none"))
    if isinstance(other, Tensor) and not isinstance(input, Core):  # a number must not count as a tensor in promotion
        return other.where(~mask, input)
    return (input if isinstance(input, Tensor) else Tensor.handle(constant(array_of("where", input)))).where(
        mask, other
    )


@takes_operands
def polygamma(n: int, input: Tensor) -> Tensor:
    """The nth derivative of digamma.

    >>> import tinygrad_nn as tg
    >>> tg.polygamma(1, [1.0, 2.0])
    tensor([1.6449, 0.6449])
    """
    return input.polygamma(n)


masked_fill = function(Tensor.masked_fill)

# ---- elementwise --------------------------------------------------------------------------------------------------

add = function(Tensor.add)
sub = function(Tensor.sub)
mul = function(Tensor.mul)
div = function(Tensor.div)
true_divide = div
floor_divide = function(Tensor.floor_divide)
remainder = function(Tensor.remainder)
fmod = function(Tensor.fmod)
pow = function(Tensor.pow)
neg = function(Tensor.neg)
abs = function(Tensor.abs)
absolute = abs
sign = function(Tensor.sign)
square = function(Tensor.square)
sqrt = function(Tensor.sqrt)
rsqrt = function(Tensor.rsqrt)
reciprocal = function(Tensor.reciprocal)
lerp = function(Tensor.lerp)
addcmul = function(Tensor.addcmul)
addcdiv = function(Tensor.addcdiv)
exp = function(Tensor.exp)
exp2 = function(Tensor.exp2)
expm1 = function(Tensor.expm1)
log = function(Tensor.log)
log2 = function(Tensor.log2)
log10 = function(Tensor.log10)
log1p = function(Tensor.log1p)
logaddexp = function(Tensor.logaddexp)
sigmoid = function(Tensor.sigmoid)
logit = function(Tensor.logit)
erf = function(Tensor.erf)
erfc = function(Tensor.erfc)
sin = function(Tensor.sin)
cos = function(Tensor.cos)
tan = function(Tensor.tan)
asin = function(Tensor.asin)
acos = function(Tensor.acos)
atan = function(Tensor.atan)
atan2 = function(Tensor.atan2)
sinh = function(Tensor.sinh)
cosh = function(Tensor.cosh)
tanh = function(Tensor.tanh)
asinh = function(Tensor.asinh)
acosh = function(Tensor.acosh)
atanh = function(Tensor.atanh)
floor = function(Tensor.floor)
ceil = function(Tensor.ceil)
trunc = function(Tensor.trunc)
round = function(Tensor.round)
frac = function(Tensor.frac)
relu = function(Tensor.relu)
clamp = function(Tensor.clamp)
clip = clamp
maximum = function(Tensor.maximum)
minimum = function(Tensor.minimum)
nan_to_num = function(Tensor.nan_to_num)

# ---- reductions ---------------------------------------------------------------------------------------------------

sum = function(Tensor.sum)
prod = function(Tensor.prod)
mean = function(Tensor.mean)
nansum = function(Tensor.nansum)
nanmean = function(Tensor.nanmean)
var = function(Tensor.var)
std = function(Tensor.std)
norm = function(Tensor.norm)
count_nonzero = function(Tensor.count_nonzero)
any = function(Tensor.any)
all = function(Tensor.all)
allclose = function(Tensor.allclose)
equal = function(Tensor.equal)
max = function(Tensor.max)
min = function(Tensor.min)
amax = function(Tensor.amax)
amin = function(Tensor.amin)
argmax = function(Tensor.argmax)
argmin = function(Tensor.argmin)
cumsum = function(Tensor.cumsum)
cumprod = function(Tensor.cumprod)
argsort = function(Tensor.argsort)
sort = function(Tensor.sort)
topk = function(Tensor.topk)
logsumexp = function(Tensor.logsumexp)
softmax = function(Tensor.softmax)
log_softmax = function(Tensor.log_softmax)

# ---- shape ---------------------------------------------------------------------------------------------------------

reshape = function(Tensor.reshape)
ravel = function(Tensor.ravel)
flatten = function(Tensor.flatten)
unflatten = function(Tensor.unflatten)
squeeze = function(Tensor.squeeze)
unsqueeze = function(Tensor.unsqueeze)
transpose = function(Tensor.transpose)
t = function(Tensor.t)
swapaxes = function(Tensor.swapaxes)
movedim = function(Tensor.movedim)
permute = function(Tensor.permute)
broadcast_to = function(Tensor.broadcast_to)
tile = function(Tensor.tile)
split = function(Tensor.split)
chunk = function(Tensor.chunk)
unbind = function(Tensor.unbind)
flip = function(Tensor.flip)
roll = function(Tensor.roll)
tril = function(Tensor.tril)
triu = function(Tensor.triu)
diagonal = function(Tensor.diagonal)
narrow = function(Tensor.narrow)
select = function(Tensor.select)
clone = function(Tensor.clone)
detach = function(Tensor.detach)
numel = function(Tensor.numel)

# ---- indexing ------------------------------------------------------------------------------------------------------

gather = function(Tensor.gather)
scatter = function(Tensor.scatter)
scatter_add = function(Tensor.scatter_add)
index_select = function(Tensor.index_select)
index_add = function(Tensor.index_add)
masked_select = function(Tensor.masked_select)
take = function(Tensor.take)
take_along_dim = function(Tensor.take_along_dim)
nonzero = function(Tensor.nonzero)

# ---- contractions --------------------------------------------------------------------------------------------------

matmul = contraction(Tensor.matmul)
mm = contraction(Tensor.mm)
bmm = contraction(Tensor.bmm)
mv = contraction(Tensor.mv)
dot = contraction(Tensor.dot)
inner = contraction(Tensor.inner)
outer = contraction(Tensor.outer)
addmm = contraction(Tensor.addmm)
addmv = contraction(Tensor.addmv)
tensordot = contraction(Tensor.tensordot)

# ---- composed ------------------------------------------------------------------------------------------------------

if TYPE_CHECKING:  # PyTorch's second names
    arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = acos, acosh, asin, asinh, atan, atan2, atanh
    divide, fix, ger, multiply, negative, subtract = div, trunc, outer, mul, neg, sub
    greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne
    moveaxis, swapdims = movedim, transpose


def __getattr__(name: str) -> Any:
    if name in ALIASES:
        value = globals()[ALIASES[name]]
    elif name in FUNCTIONS:
        value = (contraction if FUNCTIONS[name] == "matrices" else function)(loaded(name))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *ALIASES, *FUNCTIONS})
