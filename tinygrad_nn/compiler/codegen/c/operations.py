"""What each scalar operation is in C: an expression, or the call of a helper that is printed where it is used.

Integers wrap around, which C says of unsigned ones only. Sums of a product are `MULADD`, one rounding or two; where a
second rounding would be seen it is `FMA`, which takes what the processor has, or Dekker's product. `@` stands for the
prefix of all names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ....graph.graph import DType
from ....graph.scalar import BOOL, DTYPES, FLOAT32, FLOAT64, INT32, INT64, Expr

TYPES: Final[Mapping[DType, str]] = {
    BOOL: "uint8_t", INT32: "int32_t", INT64: "int64_t", FLOAT32: "float", FLOAT64: "double",
}  # fmt: skip
SHORT: Final[Mapping[DType, str]] = {BOOL: "b", INT32: "i32", INT64: "i64", FLOAT32: "f32", FLOAT64: "f64"}


def literal(value: Any, dtype: DType) -> str:
    """A number; floats as hexadecimal ones, which are exact in every locale."""
    if dtype.kind == "b":
        return str(int(value))
    if dtype.kind == "i":
        lowest = -(2 ** (8 * dtype.itemsize - 1))
        suffix = "LL" if dtype == INT64 and abs(int(value)) >= 2**31 else ""
        number = int(value)
        return f"({lowest + 1}{suffix} - 1)" if number == lowest else f"{number}{suffix}"
    suffix = "f" if dtype == FLOAT32 else ""
    if value != value:
        return f"@NAN{suffix}"
    if value in (float("inf"), float("-inf")):
        return f"@INF{suffix}" if value > 0 else f"-@INF{suffix}"
    if float(value) == int(value) and abs(value) < 2**20:
        sign = "-" if str(value).startswith("-") else ""
        return f"{sign}{abs(int(value))}.0{suffix}"
    mantissa, power = float(value).hex().split("p")
    digits = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{digits}p{power}{suffix}"


Rule = Callable[[Expr, Sequence[str]], str]


def _arithmetic(sign: str) -> Rule:
    def rule(node: Expr, a: Sequence[str]) -> str:
        if node.dtype.kind == "f":
            return f"({a[0]} {sign} {a[1]})"
        kind = TYPES[node.dtype]
        return f"({kind})((u{kind}){a[0]} {sign} (u{kind}){a[1]})"

    return rule


def _infix(sign: str) -> Rule:
    return lambda node, a: f"({a[0]} {sign} {a[1]})"


def is_itself(node: Expr) -> bool:
    """Whether this asks whether an integer is itself, which compilers warn of."""
    if node.op not in ("eq", "ne") or node.args[0].dtype.kind == "f":
        return False
    x, y = node.args
    return x is y or (x.op == y.op == "param" and x.value == y.value)


def _equal(sign: str, same: str) -> Rule:
    return lambda node, a: same if is_itself(node) else f"({a[0]} {sign} {a[1]})"


def _helper(name: str) -> Rule:
    return lambda node, a: f"@{name}_{SHORT[node.args[0].dtype]}({', '.join(a)})"


def _negate(node: Expr, a: Sequence[str]) -> str:
    kind = TYPES[node.dtype]
    return f"(-{a[0]})" if node.dtype.kind == "f" else f"({kind})(0u - (u{kind}){a[0]})"


def _shift(name: str, sign: str) -> Rule:
    def rule(node: Expr, a: Sequence[str]) -> str:
        count, kind = node.args[1], TYPES[node.dtype]
        if count.op != "const" or not 0 <= int(count.value) < 8 * node.dtype.itemsize:
            return _helper(name)(node, a)
        return f"({kind})((u{kind}){a[0]} << {a[1]})" if sign == "<<" else f"({a[0]} >> {a[1]})"

    return rule


def _convert(dtype: DType) -> Rule:
    def rule(node: Expr, a: Sequence[str]) -> str:
        source = node.args[0].dtype
        if dtype == BOOL:
            return f"({a[0]} != 0)"
        if source.kind == "f" and dtype.kind == "i":
            return f"@{SHORT[dtype]}_{SHORT[source]}({a[0]})"
        return f"({TYPES[dtype]}){a[0]}"

    return rule


def _not(node: Expr, a: Sequence[str]) -> str:
    return f"!{a[0]}" if node.dtype == BOOL else f"(~{a[0]})"


OPERATIONS: Final[Mapping[str, Rule]] = {
    "add": _arithmetic("+"),
    "sub": _arithmetic("-"),
    "mul": _arithmetic("*"),
    "div": _infix("/"),
    "neg": _negate,
    "abs": _helper("abs"),
    "quotient": _helper("quotient"),
    "rem": _helper("rem"),
    "fma": _helper("fma"),
    "muladd": _helper("fma"),
    "sqrt": _helper("sqrt"),
    "copysign": _helper("copysign"),
    "floor": _helper("floor"),
    "ceil": _helper("ceil"),
    "trunc": _helper("trunc"),
    "round": _helper("round"),
    "lt": _infix("<"),
    "le": _infix("<="),
    "eq": _equal("==", "1"),
    "ne": _equal("!=", "0"),
    "where": lambda node, a: f"({a[0]} ? {a[1]} : {a[2]})",
    "and": _infix("&"),
    "or": _infix("|"),
    "xor": _infix("^"),
    "not": _not,
    "shl": _shift("shl", "<<"),
    "shr": _shift("shr", ">>"),
    "bits": _helper("bits"),
    "from_bits": _helper("from_bits"),
    **{dtype.name: _convert(dtype) for dtype in DTYPES},
}


# ---- helpers ------------------------------------------------------------------------------------------------------
# Of each the text, with T for the type, U for the unsigned integer and I for the signed one of its size; helpers that
# it calls are found by their names.


def _function(result: str, name: str, arguments: str, body: str) -> str:
    return f"@INLINE {result} @{name}({arguments}) {{\n{body}\n}}"


_FLOATS: Final = {
    "f32": {"T": "float", "I": "int32_t", "U": "uint32_t", "S": "f32", "N": "i32", "sign": "0x80000000u",
            "half": "0.5f", "whole": "0x1p23f", "f": "f", "one": "1.0f", "zero": "0.0f",
            "itemsize": "4", "reg": "", "small": "0x1p-96f", "up": "0x1p48f", "down": "0x1p-24f",
            "magic": "0x5f3759df", "three": "1.5f", "more": ""},
    "f64": {"T": "double", "I": "int64_t", "U": "uint64_t", "S": "f64", "N": "i64", "sign": "0x8000000000000000u",
            "half": "0.5", "whole": "0x1p52", "f": "", "one": "1.0", "zero": "0.0", "itemsize": "8",
            "reg": "P", "small": "0x1p-900", "up": "0x1p200", "down": "0x1p-100", "magic": "0x5fe6eb50c7b537a9",
            "three": "1.5", "more": "guess *= 1.5 - 0.5 * y * guess * guess;\n    "},
}  # fmt: skip
_INTEGERS: Final = {
    "i32": {"T": "int32_t", "U": "uint32_t", "S": "i32", "width": "32", "lowest": "(-2147483647 - 1)"},
    "i64": {"T": "int64_t", "U": "uint64_t", "S": "i64", "width": "64", "lowest": "(-9223372036854775807LL - 1)"},
}

_OF_FLOATS: Final[Mapping[str, str]] = {
    "bits": """@INLINE {I} @bits_{S}({T} x) {{
    union {{ {T} x; {I} n; }} u;
    u.x = x;
    return u.n;
}}""",
    "abs": """@INLINE {T} @abs_{S}({T} x) {{
    return @from_bits_{N}(({I})(({U})@bits_{S}(x) & ~({U}){sign}));
}}""",
    "copysign": """@INLINE {T} @copysign_{S}({T} x, {T} sign) {{
    return @from_bits_{N}(({I})((({U})@bits_{S}(x) & ~({U}){sign}) | (({U})@bits_{S}(sign) & ({U}){sign})));
}}""",
    # Adding and taking away 2 to the number of digits rounds to a whole number, halves to the even one.
    "round": """@INLINE {T} @round_{S}({T} x) {{
    const {T} size = @abs_{S}(x);
    return size < {whole} ? @copysign_{S}((size + {whole}) - {whole}, x) : x;
}}""",
    "trunc": """@INLINE {T} @trunc_{S}({T} x) {{
    const {T} size = @abs_{S}(x);
    return size < {whole} ? @copysign_{S}(({T})({I})size, x) : x;
}}""",
    "floor": """@INLINE {T} @floor_{S}({T} x) {{
    const {T} whole = @trunc_{S}(x);
    return @copysign_{S}(whole > x ? whole - {one} : whole, x);
}}""",
    "ceil": """@INLINE {T} @ceil_{S}({T} x) {{
    const {T} whole = @trunc_{S}(x);
    return @copysign_{S}(whole < x ? whole + {one} : whole, x);
}}""",
    # As C's fmod: the divisor, doubled as often as it fits, is taken away; every step is exact.
    "rem": """@INLINE {T} @rem_{S}({T} x, {T} y) {{
    {T} rest = @abs_{S}(x);
    const {T} step = @abs_{S}(y);
    if (!(rest - rest == {zero}) || y != y || step == {zero}) return @NAN{f};
    while (rest >= step) {{
        {T} part = step;
        while (rest * {half} >= part) part += part;
        rest -= part;
    }}
    return @copysign_{S}(rest, x);
}}""",
}
_OF_INTEGERS: Final[Mapping[str, str]] = {
    "abs": """@INLINE {T} @abs_{S}({T} x) {{
    return x < 0 ? ({T})(0u - ({U})x) : x;
}}""",
    "quotient": """@INLINE {T} @quotient_{S}({T} x, {T} y) {{
    return y == 0 ? 0 : y == -1 ? ({T})(0u - ({U})x) : x / y;
}}""",
    "rem": """@INLINE {T} @rem_{S}({T} x, {T} y) {{
    return y == 0 || y == -1 ? 0 : x % y;
}}""",
    "shl": """@INLINE {T} @shl_{S}({T} x, {T} count) {{
    return count >= 0 && count < {width} ? ({T})(({U})x << count) : 0;
}}""",
    "shr": """@INLINE {T} @shr_{S}({T} x, {T} count) {{
    return x >> (count >= 0 && count < {width} ? count : {width} - 1);
}}""",
}

# Newton's steps towards 1 / sqrt(x), from a first guess out of the exponent, and a last one with what is missing. The
# instruction is left to assembly where code has to be small: compilers call the C library beside it.
_ROOT: Final = """#if defined(__ARM_FP) && (__ARM_FP & {itemsize}) && defined(__thumb__)
@INLINE {T} @sqrt_{S}({T} x) {{
    __asm__("vsqrt.{S} %{reg}0, %{reg}1" : "=w"(x) : "w"(x));
    return x;
}}
#else
@INLINE {T} @sqrt_{S}({T} x) {{
    const int small = x < {small};
    const {T} y = small ? x * {up} : x;
    {T} guess = @from_bits_{N}({magic} - (@bits_{S}(y) >> 1)), root;
    guess *= {three} - {half} * y * guess * guess;
    guess *= {three} - {half} * y * guess * guess;
    guess *= {three} - {half} * y * guess * guess;
    {more}root = y * guess;
    root = root + @fma_{S}(-root, root, y) * ({half} * guess);
    return x > {zero} && x < @INF{f} ? (small ? root * {down} : root) : x == {zero} || x > {zero} ? x : @NAN{f};
}}
#endif"""

HELPERS: Final[Mapping[str, str]] = {
    **{f"{name}_{S}": text.format(**names) for name, text in _OF_FLOATS.items() for S, names in _FLOATS.items()},
    **{f"{name}_{S}": text.format(**names) for name, text in _OF_INTEGERS.items() for S, names in _INTEGERS.items()},
    **{
        f"from_bits_{n['N']}": """@INLINE {T} @from_bits_{N}({I} n) {{
    union {{ {I} n; {T} x; }} u;
    u.n = n;
    return u.x;
}}""".format(**n)
        for n in _FLOATS.values()
    },
    **{
        f"{S}_{n['S']}": """@INLINE {I} @{S}_{n}({T} x) {{
    return x >= {high} ? {top} : x >= -{high} ? ({I})x : x == x ? {lowest} : 0;
}}""".format(I=k["T"], S=S, n=n["S"], T=n["T"], high=f"0x1p{int(k['width']) - 1}{n['f']}", lowest=k["lowest"],
             top=f"(({k['T']})(({k['U']})-1 >> 1))")
        for S, k in _INTEGERS.items()
        for n in _FLOATS.values()
    },
    # A product is exact in twice the digits; of float64 what a rounding loses is found by T. J. Dekker's method.
    "fma_f32": """#if defined(__FP_FAST_FMAF) || defined(__FMA__)
#define @fma_f32(x, y, z) __builtin_fmaf(x, y, z)
#else
@INLINE float @fma_f32(float x, float y, float z) {
    return (float)((double)x * y + z);
}
#endif""",
    "fma_f64": """#if defined(__FP_FAST_FMA) || defined(__FMA__)
#define @fma_f64(x, y, z) __builtin_fma(x, y, z)
#else
@INLINE double @high(double x) {
    const double scaled = x * 0x1.0000002p27;
    return scaled - (scaled - x);
}
@INLINE double @fma_f64(double x, double y, double z) {
    const double product = x * y, sum = product + z, other = sum - product;
    const double xh = @high(x), xl = x - xh, yh = @high(y), yl = y - yh;
    const double lost = xl * yl - (((product - xh * yh) - xl * yh) - xh * yl);
    const double rest = (product - (sum - other)) + (z - other) + lost;
    return rest != 0 && rest == rest ? sum + rest : sum;
}
#endif""",
    "muladd_f32": """#if defined(__FP_FAST_FMAF) || defined(__FMA__)
#define @muladd_f32(x, y, z) __builtin_fmaf(x, y, z)
#else
#define @muladd_f32(x, y, z) ((x) * (y) + (z))
#endif""",
    "muladd_f64": """#if defined(__FP_FAST_FMA) || defined(__FMA__)
#define @muladd_f64(x, y, z) __builtin_fma(x, y, z)
#else
#define @muladd_f64(x, y, z) ((x) * (y) + (z))
#endif""",
    **{f"sqrt_{n['S']}": _ROOT.format(**n) for n in _FLOATS.values()},
}  # fmt: skip
