"""How the functions of `tensor/composed/` are called in tests: a table for each file, at least one case for each name.

`case(operands..., smooth)` calls the function of that name; `Case(call, ...)` anything else. A smooth case is
differentiated twice, so its operands lie away from kinks and ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.tensor.parity import INF, NAN, SPECIAL, pairs, values


class Case(NamedTuple):
    """A call of a library with tensors; what can be asked of it beside PyTorch's values and gradients."""

    call: Callable[..., Any]  # (lib, *tensors)
    operands: tuple[Any, ...]
    smooth: bool  # gradients are right to the second order
    grad: bool  # PyTorch's gradients are ours
    compiles: bool
    ulps: float


def case(
    name: str,
    *operands: Any,
    smooth: bool = False,
    grad: bool = True,
    compiles: bool = True,
    ulps: float = 32,
    **more: Any,
) -> Case:
    """A call of the function of that name; arrays become tensors."""

    def call(lib: Any, *tensors: Any) -> Any:
        named = {key: lib.tensor(value) if isinstance(value, np.ndarray) else value for key, value in more.items()}
        return getattr(lib, name)(*tensors, **named)

    return Case(call, operands, smooth, grad, compiles, ulps)


def of(name: str, *operands: Any, **more: Any) -> Case:
    """The same of a function whose named result is taken as a tuple, or is one tensor."""
    one = case(name, *operands, **more)

    def call(lib: Any, *tensors: Any) -> Any:
        result = one.call(lib, *tensors)
        return tuple(result) if isinstance(result, tuple) else result

    return one._replace(call=call)


def special(name: str, *operands: Any, **more: Any) -> Case:
    """The same of a function that PyTorch has in `torch.special`."""
    one = case(name, *operands, **more)
    return one._replace(call=lambda lib, *tensors: one.call(getattr(lib, "special", lib), *tensors))


def method(name: str, *operands: Any) -> Case:
    """A call of what is a method alone."""
    return Case(lambda lib, x, *more: getattr(x, name)(*more), operands, True, True, True, 4)


ANGLES = values(3, 4, low=-400, high=400)
X, Y, ROW = values(3, 4), values(3, 4, seed=1), values(4, seed=2)
POSITIVE = values(3, 4, low=0.2, high=3)
NUMBERS = np.array([3, -2, 0, 7])
TINY = np.array([0.0, 1e-310, 5e-324, -5e-324, 2e-308, 1.0, -1.0, 1e38, -INF])
POINTS = POSITIVE[0, :3].cumsum(), POSITIVE[1].cumsum()
WITH_NAN = np.array([[1.0, NAN, 3.0, 2.0], [4.0, 3.0, 2.0, 1.0], [NAN, NAN, 5.0, NAN]])
SORTER, WEIGHTS, EDGES = np.array([1, 0, 2]), np.array([1, 2, 1, 3]), np.array([-2.0, -1.0, 0.5, 2.0])

PLACES = np.array([[2, 0, 1, 2], [0, 0, 2, 1]])
ROWS = np.array([2, 0])
TWO = values(2, 4, seed=3)
MM, BATCH, BATCH2 = values(3, 2), values(2, 3, 4, seed=5), values(2, 4, 2, seed=6)


def placed(name: str, *args: Any, how: tuple[str, ...], **more: Any) -> tuple[Case, ...]:
    """Calls with each way to put together what meets."""
    products = tuple(case(name, POSITIVE, *args, one, smooth=True, **more) for one in how)
    whole = tuple(case(name, POSITIVE, *args, one, include_self=False, **more) for one in how)
    ties = tuple(case(name, np.round(POSITIVE), *args[:-1], np.round(args[-1]), one, **more) for one in how)
    return (*products, *whole, *ties)


def symmetric(name: str, *operands: Any, **more: Any) -> Case:
    """Of a function for symmetric matrices, which are made of any."""
    one = case(name, *operands, **more)
    return one._replace(call=lambda lib, *tensors: one.call(lib, *tensors[:-1], tensors[-1] + tensors[-1].mT))


def by_factor(name: str, *operands: Any, upper: bool = False, **more: Any) -> Case:
    """Of a function whose last operand is a triangle."""
    one = case(name, *operands, upper=upper, **more)

    def call(lib: Any, *tensors: Any) -> Any:
        return one.call(lib, *tensors[:-1], tensors[-1].triu() if upper else tensors[-1].tril())

    return one._replace(call=call)


SQUARE, SQUARES = values(3, 3, seed=7), values(2, 3, 3, seed=8)
DEFINITE = SQUARES @ SQUARES.swapaxes(-1, -2) + np.eye(3)
FACTOR = values(3, 3, low=1, seed=9)

EDGES = np.array([0.0, 0, 1, INF, 1, -1, INF, 0, NAN]), np.array([0.0, 1, 0, 1, INF, 1, INF, INF, 1])
LU = SQUARES, np.array([[2, 3, 3], [1, 3, 3]], np.int32)

CASES: dict[str, dict[str, tuple[Case, ...]]] = {
    "bessel": {
        "i0": (case("i0", X * 8, smooth=True, ulps=64), case("i0", SPECIAL, grad=False), case("i0", NUMBERS)),
        "i0e": (special("i0e", X * 8, smooth=True, ulps=64), special("i0e", NUMBERS)),
        "i1": (special("i1", X * 8, smooth=True, ulps=64), special("i1", NUMBERS)),
        "i1e": (special("i1e", X * 8, smooth=True, ulps=64), special("i1e", NUMBERS)),
    },
    "incomplete": {  # held against SciPy in test_gamma.py; PyTorch has nine digits, and no slope in the first operand
        "igamma": (
            case("igamma", POSITIVE * 40, X * X * 20, smooth=True, grad=False, ulps=1e8),
            case("igamma", *EDGES, grad=False),
            case("igamma", NUMBERS, NUMBERS),
        ),
        "igammac": (
            case("igammac", POSITIVE * 40, X * X * 20, smooth=True, grad=False, ulps=1e8),
            case("igammac", *EDGES, grad=False),
        ),
        "gammainc": (special("gammainc", POSITIVE, X * X, smooth=True, grad=False, ulps=512),),
        "gammaincc": (special("gammaincc", POSITIVE, X * X, smooth=True, grad=False, ulps=4096),),
    },
    "factoring": {  # more in tests/test_linalg.py
        "cholesky": (
            symmetric("cholesky", DEFINITE, smooth=True, ulps=512),
            symmetric("cholesky", DEFINITE[0], upper=True, smooth=True, ulps=512),
            case("cholesky", -DEFINITE, compiles=False), case("cholesky", X), case("cholesky", NUMBERS),
        ),
        "cholesky_inverse": (
            by_factor("cholesky_inverse", FACTOR, smooth=True, ulps=512),
            by_factor("cholesky_inverse", FACTOR, upper=True, ulps=512), case("cholesky_inverse", X),
        ),
        "cholesky_solve": (
            by_factor("cholesky_solve", SQUARE[:, :2], FACTOR, smooth=True, ulps=512),
            by_factor("cholesky_solve", SQUARES, FACTOR, upper=True, ulps=512), case("cholesky_solve", X.T, FACTOR),
        ),
        "det": (
            case("det", SQUARES, smooth=True, compiles=False, ulps=256), case("det", X),
            case("det", np.eye(2, dtype=int)), case("det", X[:0, :0], compiles=False),
        ),
        "inverse": (
            case("inverse", SQUARES, smooth=True, compiles=False, ulps=512), case("inverse", X),
            case("inverse", np.ones((2, 2)), compiles=False), case("inverse", NUMBERS),
        ),
        "lu_solve": (
            case("lu_solve", SQUARES[:, :, :2], *LU, smooth=True, ulps=512), case("lu_solve", X, *LU),
            case("lu_solve", SQUARE, LU[0], LU[1][0].astype(float)),
        ),
        "lu_unpack": (
            of("lu_unpack", *LU, smooth=True), of("lu_unpack", X, LU[1][0]),
            of("lu_unpack", *LU, unpack_data=False, grad=False), of("lu_unpack", *LU, unpack_pivots=False),
            of("lu_unpack", X[0], LU[1][0]),
        ),
        "logdet": (
            case("logdet", SQUARES, compiles=False, grad=False, ulps=256), case("logdet", X),
            case("logdet", DEFINITE, smooth=True, compiles=False, ulps=256),
        ),
        "matrix_exp": (
            case("matrix_exp", SQUARES, smooth=True, compiles=False, ulps=512),
            case("matrix_exp", SQUARE * 10, compiles=False, ulps=4096, grad=False), case("matrix_exp", X),
        ),
        "matrix_power": (
            case("matrix_power", SQUARES, 5, smooth=True, ulps=256), case("matrix_power", SQUARES, 0, grad=False),
            case("matrix_power", SQUARE, -2, smooth=True, compiles=False, ulps=4096),
            case("matrix_power", SQUARE, 1), case("matrix_power", X, 2),
        ),
        "nuclear_norm": (
            case("nuclear_norm", X, smooth=True, compiles=False, ulps=256), case("nuclear_norm", X[0]),
            case("nuclear_norm", SQUARES, dim=(0, 2), keepdim=True, compiles=False, ulps=256),
            Case(lambda lib, x: x.norm("nuc"), (X,), True, True, False, 256),
        ),
        "pinverse": (
            case("pinverse", X, smooth=True, compiles=False, ulps=512), case("pinverse", ROW),
            case("pinverse", np.outer(ROW, ROW), 1e-3, compiles=False, grad=False, ulps=512),
        ),
        "qr": (
            Case(lambda lib, x: tuple(part ** 2 for part in lib.qr(x)), (X,), True, True, False, 4096),
            Case(lambda lib, x: tuple(part ** 2 for part in lib.qr(x, some=False)), (X.T,), False, False, False, 512),
        ),
        "svd": (
            Case(lambda lib, x: tuple(part ** 2 for part in lib.svd(x)), (X,), True, True, False, 65536),
            Case(lambda lib, x: lib.svd(x, compute_uv=False)[1], (X,), False, False, False, 512),
            Case(lambda lib, x: tuple(abs(p)[..., :3] for p in lib.svd(x, False)), (X,), False, False, False, 4096),
            case("svd", ROW), case("svd", NUMBERS),
        ),
        "slogdet": (of("slogdet", SQUARES, smooth=True, compiles=False, ulps=256), of("slogdet", X)),
    },
    "matrices": {
        "addbmm": (
            case("addbmm", MM, BATCH, BATCH2, smooth=True), case("addbmm", MM, BATCH, BATCH2, beta=0.5, alpha=-2.0),
            case("addbmm", np.array([[1, 2]]), np.ones((2, 3, 4), int), np.ones((2, 4, 2), int), beta=2),
        ),
        "addr": (case("addr", X, values(3), ROW, smooth=True), case("addr", ROW, values(3), ROW, beta=0.5, alpha=3)),
        "baddbmm": (
            case("baddbmm", values(2, 3, 2), BATCH, BATCH2, smooth=True), case("baddbmm", MM, BATCH, BATCH2),
            case("baddbmm", MM, BATCH, BATCH2, beta=0, alpha=3.0, grad=False),
            case("baddbmm", np.full((2, 3, 2), np.nan), BATCH, BATCH2, beta=0, grad=False),
        ),
        "cdist": (
            case("cdist", X, TWO, smooth=True, ulps=256), case("cdist", BATCH, X, p=1.0),
            case("cdist", X, X, p=3.0, grad=False, ulps=256), case("cdist", X, TWO, p=float("inf")),
            case("cdist", X, np.round(X), p=0.0, grad=False), case("cdist", X, X[:, :0]),
        ),
        "vdot": (case("vdot", ROW, values(4), smooth=True), case("vdot", NUMBERS, NUMBERS), case("vdot", ROW, X)),
    },
    "gamma": {  # held against SciPy in test_gamma.py; PyTorch's polygamma has ten digits
        "gammaln": (special("gammaln", POSITIVE + 2, smooth=True, ulps=256),),
        "psi": (special("psi", POSITIVE, smooth=True, grad=False, ulps=256),),
        "digamma": (case("digamma", POSITIVE, smooth=True, grad=False, ulps=256),),
        "lgamma": (case("lgamma", POSITIVE + 2, smooth=True, ulps=256),),
        "mvlgamma": (case("mvlgamma", POSITIVE + 4, p=2, smooth=True, ulps=256),),
        "polygamma": (
            *(Case(lambda lib, x, n=n: x.polygamma(n), (POSITIVE,), True, False, True, 256) for n in (0, 2)),
            Case(lambda lib, x: x.polygamma(3), (-POSITIVE,), True, True, True, 4096),
            Case(lambda lib, x: x.polygamma(2), (np.array([0, -1, -2, 3]),), False, False, True, 256),
        ),
    },
    "placing": {
        "diagonal_scatter": (
            case("diagonal_scatter", X, values(3, seed=4), smooth=True),
            case("diagonal_scatter", X, values(3, seed=4), offset=1), case("diagonal_scatter", X, values(2), -1),
        ),
        "index_copy": (case("index_copy", X, 0, ROWS, TWO, smooth=True), case("index_copy", X, -2, ROWS, TWO)),
        "index_fill": (
            case("index_fill", X, 0, ROWS, 2.5, smooth=True), case("index_fill", X, 1, np.array([-1, 0]), -1.0),
            case("index_fill", NUMBERS, 0, ROWS, 9), case("index_fill", X, 0, ROWS, np.array(3.5)),
            case("index_fill", np.array(1.0), 0, np.array([0]), 4.0),
        ),
        "index_put": (
            Case(lambda lib, x, i, v: lib.index_put(x, (i,), v), (X, ROWS, TWO), True, True, True, 4),
            Case(lambda lib, x, i, v: lib.index_put(x, (i, i), v), (X, ROWS, np.array(7.0)), True, True, True, 4),
            Case(lambda lib, x, i, v: lib.index_put(x, (i,), v, True), (X, np.array([1, 1]), TWO), True, True, True, 4),
        ),
        "index_reduce": placed("index_reduce", 0, ROWS, TWO, how=("prod", "mean", "amax", "amin")),
        "masked_scatter": (
            case("masked_scatter", X, X > 0.5, values(12, seed=4), smooth=True),
            case("masked_scatter", X, ROW > 0, values(3, 4, seed=4)),
            case("masked_scatter", NUMBERS, NUMBERS > 0, ROWS),
        ),
        "put": (
            case("put", X, PLACES[:, :3] + np.array([3, 0, -4]), values(2, 3, seed=4), True, smooth=True),
            case("put", X, np.array([5, -1]), values(2), smooth=True), case("put", NUMBERS, ROWS, np.array([8, 9])),
        ),
        "scatter_reduce": (
            *placed("scatter_reduce", 0, PLACES, TWO, how=("sum", "prod", "mean", "amax", "amin")),
            case("scatter_reduce", X, 1, PLACES[:, :2], TWO[:, :2], "amax"),
            case("scatter_reduce", NUMBERS, 0, ROWS[:1], ROWS, "mean"),
            case("scatter_reduce", np.array(2.0), 0, np.array(0), np.array(3.0), "prod"),
            case("scatter_reduce", np.array([0.0, 2, 0]), 0, np.array([0, 1, 2]), np.array([3.0, 0, 0]), "prod"),
        ),
        "select_scatter": (
            case("select_scatter", X, ROW, 0, 1, smooth=True), case("select_scatter", X, values(3), 1, -1),
        ),
        "slice_scatter": (
            case("slice_scatter", X, TWO, 0, 1, smooth=True), case("slice_scatter", X, values(3, 2), 1, 0, 4, 2),
            case("slice_scatter", X, values(3, 2), dim=1, start=-2),
        ),
    },
    "rearranging": {
        "diag": (
            case("diag", ROW, smooth=True), case("diag", ROW, 2), case("diag", ROW, -1), case("diag", X),
            case("diag", X, -1), case("diag", NUMBERS > 0), case("diag", BATCH),
        ),
        "diag_embed": (
            case("diag_embed", X, smooth=True), case("diag_embed", X, 1), case("diag_embed", X, -2, 0, 2),
            case("diag_embed", X, dim1=1, dim2=0), case("diag_embed", X[:, :0]), case("diag_embed", X, 0, 1, 1),
        ),
        "diagflat": (case("diagflat", TWO, smooth=True), case("diagflat", np.array(2.0)), case("diagflat", ROW, -1)),
        "dsplit": (case("dsplit", BATCH, 2, smooth=True), case("dsplit", BATCH, [1, 3]), case("dsplit", BATCH, 3)),
        "fliplr": (case("fliplr", X, smooth=True), case("fliplr", ROW)),
        "flipud": (case("flipud", X, smooth=True), case("flipud", NUMBERS)),
        "hsplit": (case("hsplit", X, 2, smooth=True), case("hsplit", ROW, 4), case("hsplit", X, (1, 9))),
        "kron": (
            case("kron", X, TWO, smooth=True), case("kron", ROW, BATCH), case("kron", np.array(2.0), X),
            case("kron", NUMBERS, NUMBERS > 0),
        ),
        "narrow_copy": (case("narrow_copy", X, 1, 1, 2, smooth=True),),
        "repeat_interleave": (
            case("repeat_interleave", X, 2, smooth=True), case("repeat_interleave", X, 3, 1),
            case("repeat_interleave", X, np.array([1, 0, 2]), 0, compiles=False), case("repeat_interleave", X, -1),
            case("repeat_interleave", X, np.array([1, 0, 2]), 0, output_size=3),
            case("repeat_interleave", np.array([2, 0, 3]), compiles=False), case("repeat_interleave", X, ROWS, 0),
            case("repeat_interleave", np.array(2.0), 2),
        ),
        "rot90": (
            *(case("rot90", X, k, smooth=k == 1) for k in range(-1, 5)),
            case("rot90", BATCH, 1, (2, 0)), case("rot90", X, 1, (0, 0)),
        ),
        "split_with_sizes": (case("split_with_sizes", X, [1, 3], 1, smooth=True),),
        "tensor_split": (
            case("tensor_split", X, 2, smooth=True), case("tensor_split", X, (1, 2), dim=1),
            case("tensor_split", ROW, (3, 1)), case("tensor_split", X, 5), case("tensor_split", X, 0),
            case("tensor_split", ROW, sections=3), case("tensor_split", ROW, indices=(1, -1)),
        ),
        "trace": (case("trace", X, smooth=True), case("trace", NUMBERS[None]), case("trace", ROW)),
        "unsafe_chunk": (case("unsafe_chunk", X, 2, 1, smooth=True),),
        "unsafe_split": (case("unsafe_split", X, 3, 1, smooth=True),),
        "vsplit": (case("vsplit", X, 3, smooth=True), case("vsplit", X, 2), case("vsplit", ROW, 2)),
        "adjoint": (method("adjoint", BATCH),),
        "reshape_as": (method("reshape_as", X, np.ones((1, 4, 3), int)),),
        "sum_to_size": (method("sum_to_size", BATCH, 1, 4), method("sum_to_size", X, 3, 4)),
    },
    "special": {
        "hardshrink": (case("hardshrink", X, smooth=True), case("hardshrink", SPECIAL, 1.0)),
        "prelu": (
            case("prelu", X, np.array([0.3]), smooth=True), case("prelu", X, ROW), case("prelu", X, values(3)),
            case("prelu", SPECIAL, np.array(0.5), grad=False),
        ),
        "angle": (case("angle", X, smooth=True), case("angle", SPECIAL[1:]), case("angle", NUMBERS)),
        "clamp_max": (case("clamp_max", X, 0.5, smooth=True), case("clamp_max", X, ROW)),
        "clamp_min": (case("clamp_min", X, 0.5, smooth=True), case("clamp_min", NUMBERS, NUMBERS[::-1].copy())),
        "copysign": (
            case("copysign", X, Y, smooth=True), case("copysign", X, -2.0, smooth=True),
            case("copysign", *pairs(SPECIAL), grad=False), case("copysign", NUMBERS, -NUMBERS),
        ),
        "deg2rad": (case("deg2rad", ANGLES, smooth=True), case("deg2rad", NUMBERS)),
        "entr": (
            special("entr", POSITIVE, smooth=True), special("entr", X, grad=False), special("entr", NUMBERS),
            special("entr", SPECIAL, grad=False),
        ),
        "erfcx": (
            special("erfcx", X, smooth=True, ulps=64), special("erfcx", np.array([-3.0, 5, 8.6, 20, 1e5]), ulps=1024),
        ),
        "erfinv": (
            case("erfinv", X / 3.1, smooth=True), case("erfinv", np.array([0.0, 0.99999, 1e-20, -0.995]), smooth=True),
            case("erfinv", np.array([1.0, -1.0, 1.5, NAN]), grad=False),
        ),
        "expit": (special("expit", X, smooth=True), special("expit", NUMBERS)),
        "float_power": (
            case("float_power", POSITIVE, Y, smooth=True), case("float_power", NUMBERS, 2), case("float_power", X, 2.0),
        ),
        **{
            name: (
                case(name, X, Y, smooth=True), case(name, X, ROW, smooth=True), case(name, *pairs(SPECIAL)),
                case(name, NUMBERS, NUMBERS[::-1].copy()), case(name, np.array([1.0, 2.0]), np.array([1.0, 3.0])),
            )
            for name in ("fmax", "fmin")
        },
        "frexp": (
            case("frexp", X, smooth=True, grad=False), case("frexp", np.array([0.0, INF, -INF, NAN, 8.0, 7.99, 1e-30])),
            case("frexp", 2.0 ** np.arange(-30, 30)),
        ),
        "gcd": (
            case("gcd", NUMBERS * 6, NUMBERS[::-1] * 4), case("gcd", np.array([0, -12, 2**40]), np.array([0, 18, 96])),
        ),
        "heaviside": (
            case("heaviside", X, Y, grad=False), case("heaviside", SPECIAL, np.full(SPECIAL.shape, 0.5), grad=False),
            case("heaviside", NUMBERS, NUMBERS * 0 + 5),
        ),
        "hypot": (
            case("hypot", X, Y, smooth=True), case("hypot", X, ROW, smooth=True),
            case("hypot", *pairs(SPECIAL), grad=False),
        ),
        **{
            name: (case(name, SPECIAL, grad=False), case(name, NUMBERS), case(name, NUMBERS > 0))
            for name in ("isneginf", "isposinf", "isreal", "signbit")
        },
        "lcm": (case("lcm", NUMBERS * 6, NUMBERS[::-1] * 4), case("lcm", np.array([0, -12]), np.array([5, 18]))),
        "ldexp": (
            case("ldexp", X, NUMBERS, grad=False, smooth=True), case("ldexp", X, Y, smooth=True),
            case("ldexp", NUMBERS, NUMBERS),
        ),
        "log_ndtr": (
            special("log_ndtr", X, smooth=True, ulps=128),
            special("log_ndtr", np.array([-40.0, -11, -1, 0, 5, 9]), ulps=256),
        ),
        "logaddexp2": (
            case("logaddexp2", X, Y, smooth=True), case("logaddexp2", X, ROW, smooth=True),
            case("logaddexp2", np.array([INF, -INF, 1e4, -INF]), np.array([1.0, -INF, -1e4, 2.0]), grad=False),
        ),
        "ndtr": (special("ndtr", X, smooth=True, ulps=512), special("ndtr", np.array([-1.0, 30, INF]))),
        "ndtri": (
            special("ndtri", POSITIVE / 3.1, smooth=True, ulps=64),
            special("ndtri", np.array([1e-30, 1e-5, 0.999]), ulps=64),
            special("ndtri", np.array([0.0, 1.0, -1.0, NAN]), grad=False),
        ),
        "nextafter": (
            case("nextafter", X, Y), case("nextafter", *pairs(SPECIAL), ulps=0.5, grad=False),
            case("nextafter", *pairs(TINY), grad=False),
        ),
        "positive": (
            case("positive", X, smooth=True), case("positive", NUMBERS), case("positive", NUMBERS > 0, compiles=False),
        ),
        "rad2deg": (case("rad2deg", X, smooth=True), case("rad2deg", NUMBERS)),
        "rsub": (
            case("rsub", X, Y, smooth=True), case("rsub", X, 3, alpha=2.0, smooth=True),
            case("rsub", NUMBERS, 1, alpha=2),
        ),
        "sgn": (case("sgn", X, grad=False), case("sgn", NUMBERS)),
        "sinc": (
            case("sinc", X, smooth=True), case("sinc", np.array([0.0, 0.5, -1.25])), case("sinc", NUMBERS),
        ),
        "xlog1py": (
            special("xlog1py", X, POSITIVE, smooth=True), special("xlog1py", X, 2.5),
            special("xlog1py", NUMBERS, NUMBERS + 2),
            special("xlog1py", *pairs(SPECIAL), grad=False),
        ),
        "xlogy": (
            case("xlogy", X, POSITIVE, smooth=True), case("xlogy", X, ROW**2, smooth=True), case("xlogy", X, 2.5),
            case("xlogy", *pairs(SPECIAL), grad=False), case("xlogy", NUMBERS, NUMBERS),
        ),
    },
    "ordering": {
        "nonzero_static": (
            *(case("nonzero_static", np.array([[0, 3, 0], [1, 0, 5]]), size=n) for n in (0, 2, 3, 8)),
            case("nonzero_static", X, size=20, fill_value=7), case("nonzero_static", np.array(3), size=2),
            case("nonzero_static", X[:0], size=2), case("nonzero_static", X, size=-1),
        ),
        "unravel_index": (
            case("unravel_index", np.array([[5, 0], [23, 7]]), shape=(2, 3, 4)), case("unravel_index", X, shape=(2, 3)),
        ),
        "aminmax": (
            of("aminmax", X, smooth=True), of("aminmax", X, dim=1, keepdim=True, smooth=True), of("aminmax", NUMBERS),
            of("aminmax", WITH_NAN, dim=0),
        ),
        "argwhere": (case("argwhere", NUMBERS > 0, compiles=False), case("argwhere", X.round(), compiles=False)),
        "bucketize": (
            case("bucketize", X, np.sort(ROW), grad=False), case("bucketize", NUMBERS, np.array([0, 3]), right=True),
            case("bucketize", SPECIAL, np.array([-2.0, 0.0, 0.5, INF]), out_int32=True, grad=False),
        ),
        "isin": (
            case("isin", NUMBERS, np.array([3, 7])), case("isin", X, X[0], grad=False),
            case("isin", NUMBERS, np.arange(20)),
            case("isin", NUMBERS, 3, invert=True), case("isin", NUMBERS, np.array([], np.int64)),
            case("isin", SPECIAL, np.append(SPECIAL, np.arange(9.0)), grad=False),
        ),
        "kthvalue": (
            of("kthvalue", X, 2, smooth=True), of("kthvalue", X, 1, 0, True, smooth=True),
            of("kthvalue", WITH_NAN, 4, 1),
            of("kthvalue", np.array(2.5), 1),
        ),
        **{
            name: (
                of(name, X, smooth=True), of(name, X, 1, smooth=True), of(name, X, 0, True, smooth=True),
                of(name, NUMBERS), of(name, WITH_NAN, 1), of(name, WITH_NAN, grad=False),
                of(name, np.array([NAN, NAN]), 0),
            )
            for name in ("median", "nanmedian")
        },
        "mode": (
            of("mode", NUMBERS % 3), of("mode", np.array([[3, 1, 3, 2, 1], [2, 2, 5, 5, 5]])), of("mode", X, 0, True),
            of("mode", np.array([2.0, 1, 2, 1, 1])),
        ),
        "msort": (case("msort", X, smooth=True), case("msort", NUMBERS)),
        **{
            name: (
                case(name, X, 0.3, smooth=True), case(name, X, np.array([0.1, 0.4, 0.9]), 1, smooth=True),
                case(name, X, np.array([0.0, 0.77, 1.0]), 0, True, interpolation="nearest"),
                case(name, X, 0.6, keepdim=True),
                *[case(name, X, 0.31, 1, interpolation=one) for one in ("lower", "higher", "midpoint")],
                case(name, WITH_NAN, np.array([0.2, 0.9]), 1, grad=False),
            )
            for name in ("quantile", "nanquantile")
        },
        "searchsorted": (
            case("searchsorted", np.sort(ROW), X, grad=False),
            case("searchsorted", np.sort(X), Y[:, :3].copy(), grad=False),
            case("searchsorted", np.array([0, 3, 3, 7]), NUMBERS, right=True),
            case("searchsorted", np.array([0, 3, 3, 7]), NUMBERS, side="right", out_int32=True),
            case("searchsorted", np.array([0, 3, 3, 7]), 3),
            case("searchsorted", np.array([3, 0, 7]), NUMBERS, sorter=SORTER),
            case("searchsorted", np.array([0.0, 1.0, NAN]), SPECIAL, grad=False),
            case("searchsorted", ROW[:0], X, grad=False),
        ),
        "unique": tuple(
            case("unique", x, compiles=False, grad=False, **more)
            for x in (NUMBERS % 3, X.round(), np.array([[1, 2], [1, 2], [0, 2]]), NUMBERS > 0, np.array(3))
            for more in ({}, {"return_inverse": True, "return_counts": True}, {"dim": 0, "return_counts": True})
            if x.ndim or "dim" not in more
        ),
        "unique_consecutive": tuple(
            case("unique_consecutive", x, compiles=False, grad=False, **more)
            for x in (np.array([1, 1, 2, 1]), X.round(), np.array([[1, 2], [1, 2], [0, 2]]))
            for more in ({}, {"return_inverse": True, "return_counts": True}, {"dim": 0, "return_inverse": True})
        ),
    },
    "scanning": {
        **{
            name: (
                of(name, X, 1, smooth=True), of(name, X, 0), of(name, np.array([1.0, 3, 2, 3, NAN, 5, NAN]), 0),
                of(name, NUMBERS, 0),
                of(name, np.array([2, 2, 1, 1, 3]), 0), of(name, np.array(2.0), 0), of(name, np.zeros((2, 0)), 1),
            )
            for name in ("cummax", "cummin")
        },
        "cumulative_trapezoid": (
            case("cumulative_trapezoid", X, smooth=True), case("cumulative_trapezoid", X, dx=0.3, dim=0),
            case("cumulative_trapezoid", X, ROW, smooth=True), case("cumulative_trapezoid", X, Y, dim=0),
        ),
        "diff": (
            case("diff", X, smooth=True), case("diff", X, 2, 0), case("diff", NUMBERS, 0), case("diff", NUMBERS > 0),
            case("diff", X, 1, 1, X[:, :1].copy(), Y[:, :2].copy(), smooth=True), case("diff", NUMBERS, 9),
        ),
        "gradient": (
            case("gradient", X, smooth=True), case("gradient", X, spacing=0.5, dim=1, edge_order=2),
            case("gradient", X, spacing=(0.5, 2.0)), case("gradient", X, dim=(1,)), case("gradient", NUMBERS),
            Case(lambda lib, x, y, z: lib.gradient(x, spacing=(y, z)), (X, *POINTS), True, False, True, 64),
        ),
        "logcumsumexp": (
            case("logcumsumexp", X, 1, smooth=True), case("logcumsumexp", X, 0), case("logcumsumexp", np.array(2.0), 0),
            case("logcumsumexp", np.array([-1000.0, -1000, 0, 1000]), 0, ulps=1024),
            case("logcumsumexp", np.array([-INF, 1.0]), 0, grad=False),
        ),
        **{
            name: (
                case(name, X, smooth=True), case(name, X, dx=0.3, dim=0), case(name, X, ROW, smooth=True),
                case(name, X, Y, dim=0),
                case(name, X, X[:, 0].copy(), dim=0), case(name, NUMBERS), case(name, X[:, :1].copy()),
            )
            for name in ("trapezoid", "trapz")
        },
    },
    "statistics": {
        "histogramdd": (
            *(Case(lambda lib, x, more=more: (lambda found: (found.hist, *found.bin_edges))(lib.histogramdd(x, **more)),
                   (BATCH,), False, False, False, 16) for more in (
                {"bins": 3}, {"bins": [2, 1, 3, 2], "density": True}, {"bins": [2, 2, 2, 2], "range": [-2.0, 2.0] * 4},
                {"bins": [2, 2]}, {"bins": 0},
            )),
            Case(lambda lib, x, w: lib.histogramdd(x, [2, 3], weight=w)[0], (X[:, :2], values(3)), False, False, False,
                 4),
        ),
        "bincount": (
            case("bincount", np.array([0, 2, 2]), compiles=False),
            case("bincount", np.array([0, 2]), minlength=5, compiles=False),
            case("bincount", np.array([0, 2, 2]), X[0, :3].copy(), compiles=False, grad=False),
            case("bincount", np.array([], np.int64), compiles=False),
        ),
        "corrcoef": (case("corrcoef", X, smooth=True, ulps=128), case("corrcoef", NUMBERS), case("corrcoef", ROW)),
        "cov": (
            case("cov", X, smooth=True, ulps=64), case("cov", ROW), case("cov", NUMBERS),
            case("cov", X, correction=0, ulps=64),
            case("cov", X, fweights=WEIGHTS, ulps=64), case("cov", X, fweights=WEIGHTS, correction=0, ulps=64),
        ),
        "cross": (
            case("cross", X, Y, smooth=True), case("cross", X.T.copy(), Y.T.copy(), 1),
            case("cross", X.T.copy(), Y[:, :1].T.copy()),
            case("cross", np.array([1, 2, 3]), np.array([0, 1, 5])),
        ),
        "dist": (
            case("dist", X, Y, smooth=True), case("dist", X, ROW, 3, smooth=True), case("dist", X, Y, INF),
            case("dist", X, X, 1),
        ),
        "histc": (
            case("histc", X, grad=False), case("histc", X, 5, -1, 2, grad=False),
            case("histc", X[0] * 0 + 2, 4, grad=False),
        ),
        "histogram": (
            case("histogram", X, 4, compiles=False, grad=False), case("histogram", X, 4, range=(-1.0, 2.0), grad=False),
            case("histogram", X, 3, density=True, compiles=False, grad=False),
            case("histogram", X, EDGES, grad=False, compiles=False),
        ),
        "renorm": (
            case("renorm", X, 2, 0, 1.5, smooth=True), case("renorm", X, 1, 1, 2.0, smooth=True),
            case("renorm", X, 3, 0, 9.0),
        ),
        **{
            name: (
                case(name, X, smooth=True), case(name, X, 1, smooth=True), case(name, X, False),
                case(name, X, dim=(0, 1), correction=0, keepdim=True), case(name, X, 0, False, True),
            )
            for name in ("std_mean", "var_mean")
        },
    },
}  # fmt: skip

# Methods that are not in `composed/` and have a form that writes.
PLACED: dict[str, tuple[Case, ...]] = {
    "addmm": (case("addmm", MM, X, values(4, 2)),),
    "addmv": (case("addmv", values(3), X, ROW),),
    "index_add": (case("index_add", X, 0, ROWS, TWO, alpha=2.0),),
    "scatter": (case("scatter", X, 0, PLACES, TWO),),
    "scatter_add": (case("scatter_add", X, 0, PLACES, TWO),),
}
