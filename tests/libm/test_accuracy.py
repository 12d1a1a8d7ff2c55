"""Scalar forms of the elementary functions against mpmath: at most 2 ULP (a few 2.2), special values exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tinygrad_nn.compiler.lower.legalize import split
from tinygrad_nn.compiler.target import TARGETS
from tinygrad_nn.graph.scalar import evaluate, param
from tinygrad_nn.ops import libm
from tinygrad_nn.ops.transcendental import LOGADDEXP, SQRT

mpmath = pytest.importorskip("mpmath")
mpmath.mp.prec = 200

FUNCTIONS: dict[str, Any] = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "expm1": mpmath.expm1,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh": mpmath.tanh,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "log": mpmath.log,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "log1p": mpmath.log1p,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "atan": mpmath.atan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
}
INSIDE = {"log": (0, np.inf), "log2": (0, np.inf), "log10": (0, np.inf), "log1p": (-1, np.inf)}
INSIDE |= {"acosh": (1, np.inf), "atanh": (-1, 1), "asin": (-1, 1), "acos": (-1, 1)}
INSIDE |= dict.fromkeys(("sin", "cos", "tan"), (-(2.0**48), 2.0**48))
# In ULP; 2 for the others. These divide or take the root of rounded numbers.
BOUND = {"tanh": 2.2, "asin": 2.2, "acos": 2.2}
THROUGH_FLOAT64 = 0.51  # float32 of these is computed in float64 and rounded
WIDENED = {("sin", "float32"), ("cos", "float32"), ("tan", "float32"), ("pow", "float32")}
POSITIVE = {"log", "log2", "log10"}
# The floats nearest to a multiple of pi / 2 below 2**48, by continued fractions: nothing leaves less after reduction.
NEAR_HALF_TURNS = [45.553093477052, 91.106186954104, 182.212373908208, 21999384576.0, 252.89820861816406]
DTYPES = {"float32": np.float32, "float64": np.float64}


def points(name: str, dtype: Any) -> Any:
    """Random and structured: all magnitudes, neighbours of powers of two, the range where results are finite."""
    rng = np.random.default_rng(3)
    info = np.finfo(dtype)
    limit = 88.0 if dtype == np.float32 else 709.0
    powers = 2.0 ** np.arange(-40, 10)
    parts = [
        rng.uniform(-limit, limit, 300),
        rng.normal(size=300),
        rng.normal(size=100) * 1e-5,
        powers,
        np.nextafter(powers, 0),
        np.nextafter(powers, np.inf),
        [0.5 * np.log(2), np.log(2), 1.5 * np.log(2), np.sqrt(0.5), np.sqrt(2.0)],
    ]
    wide = 10.0 ** rng.uniform(np.log10(info.tiny), np.log10(info.max), 200)
    x = np.concatenate([np.asarray(part, np.float64) for part in parts])
    tiny = [info.smallest_subnormal, info.tiny / 3]
    if name in ("sin", "cos", "tan"):
        quarters = np.round(2.0 ** rng.uniform(0, 47, 300)) * (np.pi / 2)
        angles = [rng.uniform(-1e6, 1e6, 300), 2.0 ** rng.uniform(20, 48, 300), quarters, NEAR_HALF_TURNS, tiny]
        x = np.concatenate([x, *angles])
    if name in ("erf", "erfc"):
        x = np.concatenate([x, rng.uniform(0, 10.3, 600), rng.uniform(0, 27.5, 300), rng.uniform(0.4, 1.8, 600), tiny])
    if name in POSITIVE:
        return np.concatenate([np.abs(x), wide, 1 + x / 1e4, tiny]).astype(dtype)
    if name == "log1p":
        return np.concatenate([x[x > -1], wide, -1 + np.abs(x[np.abs(x) < 1])]).astype(dtype)
    near_one = 1 + 10.0 ** rng.uniform(-6, 3, 300) if name == "acosh" else rng.uniform(-1, 1, 300)
    return np.concatenate([x, -x, near_one]).astype(dtype)


def ulps(found: Any, exact: Any, dtype: Any) -> float:
    """The error in units of the last place of the exact value."""
    with np.errstate(over="ignore"):
        rounded = dtype(float(exact)) if dtype == np.float64 else dtype(mpmath.nstr(exact, 30))
    if not np.isfinite(rounded) or not np.isfinite(found):
        return 0.0 if rounded == found else float("inf")
    spacing = abs(float(np.spacing(rounded)))
    return float(abs(mpmath.mpf(float(found)) - exact) / spacing)


@pytest.mark.parametrize("machine", ["aarch64-linux", "wasm32"])  # with and without a fused multiply-add
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulps(name: str, dtype: str, machine: str) -> None:
    x = points(name, DTYPES[dtype])
    low, high = INSIDE.get(name, (-np.inf, np.inf))
    x = x[(x > low) & (x < high)]
    function = split(getattr(libm, name)(param(0, np.dtype(dtype))), TARGETS[machine])
    found = evaluate(function, [x])
    assert found.dtype == dtype
    assert name not in ("sin", "cos", "erf") or np.abs(found).max() <= 1
    errors = [ulps(f, FUNCTIONS[name](mpmath.mpf(float(v))), DTYPES[dtype]) for f, v in zip(found, x, strict=True)]
    worst = int(np.argmax(errors))
    bound = THROUGH_FLOAT64 if (name, dtype) in WIDENED else BOUND.get(name, 2.0)
    assert errors[worst] <= bound, f"{name}({x[worst]!r}) = {found[worst]!r} is {errors[worst]:.2f} ULP off"


INF, NAN = np.inf, np.nan
LOST = [(NAN, NAN), (INF, NAN), (-INF, NAN), (2.0**48, NAN), (-(2.0**48), NAN), (1e30, NAN)]
SPECIAL = {
    "sin": [*LOST, (0.0, 0.0), (-0.0, -0.0), (1e-40, 1e-40)],
    "cos": [*LOST, (0.0, 1.0), (-0.0, 1.0), (1e-40, 1.0)],
    "tan": [*LOST, (0.0, 0.0), (-0.0, -0.0), (1e-40, 1e-40)],
    "erf": [(NAN, NAN), (INF, 1.0), (-INF, -1.0), (7.0, 1.0), (-1e30, -1.0), (0.0, 0.0), (-0.0, -0.0)],
    "erfc": [(NAN, NAN), (INF, 0.0), (-INF, 2.0), (1e30, 0.0), (-7.0, 2.0), (0.0, 1.0), (-0.0, 1.0), (1e-40, 1.0)],
    "exp": [(NAN, NAN), (INF, INF), (-INF, 0.0), (0.0, 1.0), (-0.0, 1.0), (1e9, INF), (-1e9, 0.0)],
    "exp2": [(NAN, NAN), (INF, INF), (-INF, 0.0), (3.0, 8.0), (-1.0, 0.5), (10.0, 1024.0)],
    "expm1": [(NAN, NAN), (INF, INF), (-INF, -1.0), (0.0, 0.0), (-0.0, -0.0)],
    "sigmoid": [(NAN, NAN), (INF, 1.0), (-INF, 0.0), (0.0, 0.5)],
    "tanh": [(NAN, NAN), (INF, 1.0), (-INF, -1.0), (0.0, 0.0), (-0.0, -0.0)],
    "sinh": [(NAN, NAN), (INF, INF), (-INF, -INF), (0.0, 0.0), (-0.0, -0.0)],
    "cosh": [(NAN, NAN), (INF, INF), (-INF, INF), (0.0, 1.0)],
    "log": [(NAN, NAN), (INF, INF), (-INF, NAN), (-1.0, NAN), (0.0, -INF), (-0.0, -INF), (1.0, 0.0)],
    "log2": [(NAN, NAN), (INF, INF), (-1.0, NAN), (0.0, -INF), (8.0, 3.0), (0.125, -3.0), (1.0, 0.0)],
    "log10": [(NAN, NAN), (INF, INF), (-1.0, NAN), (0.0, -INF), (1000.0, 3.0), (1.0, 0.0)],
    "atan": [(NAN, NAN), (INF, np.pi / 2), (-INF, -np.pi / 2), (0.0, 0.0), (-0.0, -0.0)],
    "asin": [(NAN, NAN), (1.0, np.pi / 2), (-1.0, -np.pi / 2), (2.0, NAN), (INF, NAN), (0.0, 0.0), (-0.0, -0.0)],
    "acos": [(NAN, NAN), (1.0, 0.0), (-1.0, np.pi), (2.0, NAN), (-2.0, NAN), (0.0, np.pi / 2)],
    "asinh": [(NAN, NAN), (INF, INF), (-INF, -INF), (0.0, 0.0), (-0.0, -0.0)],
    "acosh": [(NAN, NAN), (INF, INF), (0.5, NAN), (-1e9, NAN), (-INF, NAN), (1.0, 0.0)],
    "atanh": [(NAN, NAN), (1.0, INF), (-1.0, -INF), (2.0, NAN), (INF, NAN), (0.0, 0.0), (-0.0, -0.0)],
    "log1p": [(NAN, NAN), (INF, INF), (-1.0, -INF), (-2.0, NAN), (0.0, 0.0), (-0.0, -0.0)],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, dtype: str) -> None:
    x, expected = (np.array(column, dtype) for column in zip(*SPECIAL[name], strict=True))
    found = evaluate(getattr(libm, name)(param(0, np.dtype(dtype))), [x])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found[expected == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_atan2(dtype: str) -> None:
    """All quadrants and magnitudes within 2.3 ULP; zeros and infinities of either sign as NumPy has them."""
    rng = np.random.default_rng(9)
    sizes = 10.0 ** rng.uniform(-12, 12, (2, 1500)) * rng.choice([-1, 1], (2, 1500))
    y, x = sizes.astype(dtype)
    angle = libm.atan2(param(0, np.dtype(dtype)), param(1, np.dtype(dtype)))
    found = evaluate(angle, [y, x])
    pairs = zip(found, y, x, strict=True)
    errors = [ulps(f, mpmath.atan2(mpmath.mpf(float(a)), mpmath.mpf(float(b))), DTYPES[dtype]) for f, a, b in pairs]
    assert max(errors) <= 2.3
    odd = np.array([0.0, -0.0, INF, -INF, NAN, 1.0, -1.0], dtype)
    a, b = (grid.reshape(-1) for grid in np.meshgrid(odd, odd))
    found, expected = evaluate(angle, [a, b]), np.arctan2(a, b)
    np.testing.assert_allclose(found, expected, rtol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.signbit(found[expected == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("machine", ["aarch64-linux", "wasm32"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_pow(dtype: str, machine: str) -> None:
    """Results of all magnitudes, bases near 1, whole exponents of negative bases; special values as NumPy has them."""
    rng = np.random.default_rng(9)
    kind = np.dtype(dtype)
    tiny = float(np.finfo(kind).smallest_subnormal)
    limit = -np.log(tiny)
    x = np.concatenate([np.exp(rng.uniform(-limit, 0.85 * limit, 700)), 1 + rng.normal(size=700) * 1e-3])
    x = np.concatenate([x, rng.uniform(0.5, 2, 700), -rng.uniform(0.1, 9, 300), [tiny, 3 * tiny]]).astype(dtype)
    wide = np.abs(x.astype(np.float64))
    y = rng.uniform(-limit, limit, x.size) / np.where(wide == 1, 1, np.log(wide))
    y = np.where(x < 0, np.round(np.clip(y, -999, 999)), y).astype(dtype)
    power = split(libm.pow(param(0, kind), param(1, kind)), TARGETS[machine])
    errors = [
        ulps(f, mpmath.mpf(float(a)) ** mpmath.mpf(float(b)), DTYPES[dtype])
        for f, a, b in zip(evaluate(power, [x, y]), x, y, strict=True)
    ]
    worst = int(np.argmax(errors))
    bound = THROUGH_FLOAT64 if ("pow", dtype) in WIDENED else 2.0
    assert errors[worst] <= bound, f"pow({x[worst]!r}, {y[worst]!r}) is {errors[worst]:.2f} ULP off"
    odd = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 2.0**24, 2.0**53 - 1, 1e30, tiny, INF]
    odd = np.array([*odd, *np.negative(odd), NAN], dtype)
    a, b = (grid.reshape(-1) for grid in np.meshgrid(odd, odd))
    with np.errstate(all="ignore"):
        found, expected = evaluate(power, [a, b]), np.power(a, b)
    np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(kind).eps)
    np.testing.assert_array_equal(np.signbit(found[expected == 0]), np.signbit(expected[expected == 0]))


def test_powers_that_are_floats_are_exact() -> None:
    base, exponent = (grid.reshape(-1) for grid in np.meshgrid(np.arange(-20.0, 21.0), np.arange(13.0)))
    exact = [float(int(b) ** int(e)) for b, e in zip(base, exponent, strict=True)]
    power = libm.pow(param(0, np.dtype("float64")), param(1, np.dtype("float64")))
    found = evaluate(power, [base, exponent])
    inside = np.abs(exact) < 2.0**53
    np.testing.assert_array_equal(found[inside], np.array(exact)[inside])


@pytest.mark.parametrize("dtype", DTYPES)
def test_sqrt(dtype: str) -> None:
    """Rounded once."""
    assert SQRT.emit is not None
    x = points("log", DTYPES[dtype])
    found = evaluate(SQRT.emit(param(0, np.dtype(dtype))), [x])
    exact = [mpmath.sqrt(mpmath.mpf(float(v))) for v in x]
    assert max(ulps(f, e, DTYPES[dtype]) for f, e in zip(found, exact, strict=True)) <= 0.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_logaddexp(dtype: str) -> None:
    """Within 2 ULP of the largest of result and operands, whose difference is rounded; beside 0, of the result."""
    assert LOGADDEXP.emit is not None
    rng = np.random.default_rng(9)
    kind = np.dtype(dtype)
    x = np.concatenate([rng.normal(size=600) * scale for scale in (0.1, 1.0, 1e3)]).astype(dtype)
    near = (x + rng.normal(size=x.size) * rng.choice([0.1, 1.0, 10.0], x.size)).astype(dtype)
    for y in (near, 0 * x):
        found = evaluate(LOGADDEXP.emit(param(0, kind), param(1, kind)), [x, y])
        for f, a, b in zip(found, x, y, strict=True):
            exact = mpmath.log1p(mpmath.exp(-abs(mpmath.mpf(float(a)) - mpmath.mpf(float(b))))) + float(max(a, b))
            size = abs(float(exact)) if b == 0 else max(abs(float(exact)), abs(a), abs(b))
            assert abs(mpmath.mpf(float(f)) - exact) <= 2 * float(np.spacing(kind.type(size))), (a, b)


@pytest.fixture
def made_anew() -> Iterator[None]:
    """Functions are made once for each dtype."""
    libm._pattern.cache_clear()
    yield
    libm._pattern.cache_clear()


@pytest.mark.usefixtures("made_anew")
def test_a_spoiled_coefficient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_nn.ops.libm import logarithm

    monkeypatch.setattr(logarithm, "polynomial", lambda z, terms: z * 0 + terms[0])
    with pytest.raises(AssertionError, match="ULP off"):
        test_error_in_ulps("log", "float64", "aarch64-linux")


@pytest.mark.usefixtures("made_anew")
@pytest.mark.parametrize("name", ["sin", "cos", "tan", "erf", "erfc"])
def test_a_spoiled_polynomial_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_nn.ops.libm import error, trigonometric

    whole = error.polynomial
    for module in (error, trigonometric):
        monkeypatch.setattr(module, "polynomial", lambda z, terms: whole(z, [terms[0], terms[1] * 1.00001, *terms[2:]]))
    with pytest.raises(AssertionError, match="ULP off"):
        test_error_in_ulps(name, "float64", "aarch64-linux")
