"""From a schedule to LLVM IR: one function, kernel after kernel, loops as loops, vectors as vectors.

The text is written here and not by a library of instruction objects because that costs ten times as long, and compile
time is a promise. What LLVM's passes would do is done on the way, where it is cheap: every instruction goes to the
outermost loop where its operands are known, and equal ones are one (`Writer.pure`). Loads are moved like that unless
the kernel writes their buffer.

Invariants: no fast-math flags on elementwise arithmetic, so each operation rounds as the interpreter's does; only the
folding of a register's lanes is in an order of its own, which is fixed by the IR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ..errors import GraphError, message
from ..graph import DType
from ..scalar import BOOL, FLOAT32, FLOAT64, INT32, INT64, Expr, param, walk
from .loopir import Access, Affine, Assign, Check, Guard, Kernel, Let, Loop, Register, Statement, Store, Var
from .loopir import statements as all_statements
from .schedule import Layout, Schedule

TYPES: Final = {BOOL: "i1", INT32: "i32", INT64: "i64", FLOAT32: "float", FLOAT64: "double"}
MEMORY: Final = {**TYPES, BOOL: "i8"}
SUFFIX: Final = {"i1": "i1", "i8": "i8", "i32": "i32", "i64": "i64", "float": "f32", "double": "f64", "ptr": "p0"}
UNROLL: Final = 4  # loops up to this many iterations are written out


@dataclass(frozen=True, slots=True)
class Val:
    """An SSA value (or a literal): its text, element type, number of lanes (0: scalar) and the loop depth it is made at.
    """

    text: str
    type: str
    lanes: int = 0
    level: int = 0

    @property
    def full(self) -> str:
        """The type as LLVM writes it."""
        return f"<{self.lanes} x {self.type}>" if self.lanes else self.type


@dataclass(slots=True)
class Level:
    """The code of one loop body (or of the kernel), and the values made there, by their text."""

    lines: list[str]
    block: str
    known: dict[str, Val] = field(default_factory=dict)


@dataclass(slots=True)
class Env:
    """What variables and registers stand for; jammed iterations have one each."""

    variables: dict[Var, Val | int]
    registers: dict[Register, Val]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The vector loop being written: its variable, the value of lane 0, and which lanes are real (None: all)."""

    var: Var
    count: int
    base: Val | int
    mask: Val | None
    outside: frozenset[Register]


class Writer:
    """Writes the instructions of one function."""

    def __init__(self) -> None:
        self.count = 0
        self.levels: list[Level] = []
        self.declared: dict[str, str] = {}

    def name(self, prefix: str = "v") -> str:
        """A fresh name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def pure(self, text: str, type_: str, lanes: int, level: int) -> Val:
        """The value of an instruction without effects, made once, at the given depth."""
        at = self.levels[level]
        found = at.known.get(text)
        if found is None:
            name = f"%{self.name()}"
            at.lines.append(f"  {name} = {text}")
            found = at.known[text] = Val(name, type_, lanes, level)
        return found

    def here(self, text: str, type_: str, lanes: int) -> Val:
        """The value of an instruction that stays where it is."""
        name = f"%{self.name()}"
        self.levels[-1].lines.append(f"  {name} = {text}")
        return Val(name, type_, lanes, len(self.levels) - 1)

    def do(self, text: str) -> None:
        """An instruction without a value."""
        self.levels[-1].lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Begin a block at the current depth."""
        self.levels[-1].lines.append(f"{name}:")
        self.levels[-1].block = name

    def call(self, function: str, result: Val, *arguments: Val | str, pure: bool = True) -> Val:
        """A call of an intrinsic; `result` gives the type."""
        values = [a for a in arguments if isinstance(a, Val)]
        written = ", ".join(f"{a.full} {a.text}" if isinstance(a, Val) else a for a in arguments)
        types = ", ".join(a.full if isinstance(a, Val) else a.split()[0] for a in arguments)
        self.declared[function] = f"declare {result.full} @{function}({types})"
        level = max((a.level for a in values), default=0)
        text = f"call {result.full} @{function}({written})"
        return self.pure(text, result.type, result.lanes, level) if pure else self.here(text, result.type, result.lanes)

    def splat(self, value: Val, lanes: int) -> Val:
        """The value in every lane."""
        if value.lanes or not lanes:
            return value
        if not value.text.startswith("%"):
            return Val(f"splat ({value.type} {value.text})", value.type, lanes, 0)
        kind = f"<{lanes} x {value.type}>"
        one = self.pure(f"insertelement {kind} poison, {value.type} {value.text}, i64 0", value.type, lanes, value.level)
        zero = f"<{lanes} x i32> zeroinitializer"
        return self.pure(f"shufflevector {kind} {one.text}, {kind} poison, {zero}", value.type, lanes, value.level)

    def binary(self, instruction: str, x: Val, y: Val, type_: str | None = None) -> Val:
        """An instruction of two operands of one type."""
        lanes = max(x.lanes, y.lanes)
        x, y = self.splat(x, lanes), self.splat(y, lanes)
        return self.pure(f"{instruction} {x.full} {x.text}, {y.text}", type_ or x.type, lanes, max(x.level, y.level))

    def unary(self, instruction: str, x: Val) -> Val:
        """An instruction of one operand that keeps the type."""
        return self.pure(f"{instruction} {x.full} {x.text}", x.type, x.lanes, x.level)

    def convert(self, instruction: str, x: Val, type_: str) -> Val:
        """A conversion."""
        if x.type == type_:
            return x
        to = f"<{x.lanes} x {type_}>" if x.lanes else type_
        return self.pure(f"{instruction} {x.full} {x.text} to {to}", type_, x.lanes, x.level)

    def select(self, condition: Val, yes: Val, no: Val) -> Val:
        """`yes` where the condition holds."""
        lanes = max(condition.lanes, yes.lanes, no.lanes)
        yes, no = self.splat(yes, lanes), self.splat(no, lanes)
        if condition.lanes:
            condition = self.splat(condition, lanes)
        level = max(condition.level, yes.level, no.level)
        text = f"select {condition.full} {condition.text}, {yes.full} {yes.text}, {no.full} {no.text}"
        return self.pure(text, yes.type, lanes, level)

    def intrinsic(self, name: str, *arguments: Val) -> Val:
        """An overloaded intrinsic whose operands and result have one type."""
        lanes = max(a.lanes for a in arguments)
        operands = [self.splat(a, lanes) for a in arguments]
        return self.call(f"llvm.{name}.{_mangled(operands[0])}", operands[0], *operands)


def _mangled(value: Val) -> str:
    return (f"v{value.lanes}" if value.lanes else "") + SUFFIX[value.type]


def literal(value: Any, dtype: DType) -> Val:
    """A number; floats are written as the bits of the double they are, which is exact."""
    if dtype.kind == "b":
        return Val("true" if value else "false", "i1")
    if dtype.kind == "i":
        return Val(str(int(value)), TYPES[dtype])
    with np.errstate(all="ignore"):
        bits = np.float64(value).view(np.uint64)
    return Val(f"0x{int(bits):016X}", TYPES[dtype])


# ---- one instruction or a few per scalar operation --------------------------------------------------------------------

Rule = Callable[[Writer, Expr, Sequence[Val]], Val]


def _arithmetic(integer: str, floating: str) -> Rule:
    return lambda w, e, a: w.binary(floating if e.dtype.kind == "f" else integer, a[0], a[1])


def _compare(signed: str, unsigned: str, floating: str) -> Rule:
    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        kind = e.args[0].dtype.kind
        return w.binary(f"fcmp {floating}" if kind == "f" else f"icmp {signed if kind == 'i' else unsigned}", *a, "i1")

    return rule


def _intrinsic(name: str) -> Rule:
    return lambda w, e, a: w.intrinsic(name, *a)


def _negate(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
    return w.unary("fneg", a[0]) if e.dtype.kind == "f" else w.binary("sub", Val("0", a[0].type), a[0])


def _absolute(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
    if e.dtype.kind == "f":
        return w.intrinsic("fabs", a[0])
    return w.select(w.binary("icmp slt", a[0], Val("0", a[0].type), "i1"), _negate(w, e, a), a[0])


def _divide(instruction: str) -> Rule:
    """Integer division: by 0 gives 0, by -1 the negative (quotient) or 0 (rest), as nothing may trap."""

    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        x, y = a
        if e.dtype.kind == "f":
            return w.binary("frem", x, y)
        zero, minus = Val("0", x.type), Val("-1", x.type)
        by_zero, by_minus = w.binary("icmp eq", y, zero, "i1"), w.binary("icmp eq", y, minus, "i1")
        safe = w.select(w.binary("or", by_zero, by_minus), Val("1", x.type), y)
        result = w.binary(instruction, x, safe)
        special = w.binary("sub", zero, x) if instruction == "sdiv" else zero
        return w.select(by_zero, zero, w.select(by_minus, special, result))

    return rule


def _shift(instruction: str) -> Rule:
    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        x, count = a
        width = 8 * e.dtype.itemsize
        if e.args[1].op == "const" and 0 <= int(e.args[1].value) < width:
            return w.binary(instruction, x, count)
        inside = w.binary("icmp ult", count, Val(str(width), count.type), "i1")
        safe = w.select(inside, count, Val("0", count.type))
        past = Val("0", x.type) if instruction == "shl" else w.binary("ashr", x, Val(str(width - 1), x.type))
        return w.select(inside, w.binary(instruction, x, safe), past)

    return rule


def _not(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
    return w.binary("xor", a[0], Val("true" if a[0].type == "i1" else "-1", a[0].type))


def _convert(dtype: DType) -> Rule:
    to = TYPES[dtype]

    def rule(w: Writer, e: Expr, a: Sequence[Val]) -> Val:
        (x,) = a
        source = e.args[0].dtype
        if source == dtype:
            return x
        if dtype.kind == "b":
            zero = literal(0, source)
            return w.binary("fcmp une" if source.kind == "f" else "icmp ne", x, zero, "i1")
        if source.kind == "f":
            if dtype.kind == "f":
                return w.convert("fptrunc" if dtype == FLOAT32 else "fpext", x, to)
            result = Val("", to, x.lanes)
            return w.call(f"llvm.fptosi.sat.{_mangled(result)}.{_mangled(x)}", result, x)
        if dtype.kind == "f":
            return w.convert("uitofp" if source.kind == "b" else "sitofp", x, to)
        if source.kind == "b":
            return w.convert("zext", x, to)
        return w.convert("trunc" if dtype == INT32 else "sext", x, to)

    return rule


OPERATIONS: Final[dict[str, Rule]] = {
    "add": _arithmetic("add", "fadd"),
    "sub": _arithmetic("sub", "fsub"),
    "mul": _arithmetic("mul", "fmul"),
    "div": _arithmetic("", "fdiv"),
    "neg": _negate,
    "abs": _absolute,
    "quotient": _divide("sdiv"),
    "rem": _divide("srem"),
    "fma": _intrinsic("fma"),
    "sqrt": _intrinsic("sqrt"),
    "copysign": _intrinsic("copysign"),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "trunc": _intrinsic("trunc"),
    "round": _intrinsic("roundeven"),
    "lt": _compare("slt", "ult", "olt"),
    "le": _compare("sle", "ule", "ole"),
    "eq": _compare("eq", "eq", "oeq"),
    "ne": _compare("ne", "ne", "une"),
    "where": lambda w, e, a: w.select(*a),
    "and": lambda w, e, a: w.binary("and", *a),
    "or": lambda w, e, a: w.binary("or", *a),
    "xor": lambda w, e, a: w.binary("xor", *a),
    "not": _not,
    "shl": _shift("shl"),
    "shr": _shift("ashr"),
    "bits": lambda w, e, a: w.convert("bitcast", a[0], TYPES[e.dtype]),
    "from_bits": lambda w, e, a: w.convert("bitcast", a[0], TYPES[e.dtype]),
    **{dtype.name: _convert(dtype) for dtype in TYPES},
}


class KernelWriter:
    """Writes the code of one kernel."""

    def __init__(self, writer: Writer, schedule: Schedule, kernel: Kernel, exits: Callable[[int], str]) -> None:
        self.w, self.schedule, self.kernel, self.exits = writer, schedule, kernel, exits
        self.lanes: Lanes | None = None
        self.written = {
            one.target.buffer.base or one.target.buffer for one, _ in all_statements(kernel.body) if isinstance(one, Store)
        }
        self.written_at = {schedule.offsets[b] for b in self.written}
        floats = [
            leaf.itemsize
            for leaf in _dtypes(kernel)
            if leaf.kind == "f"
        ]
        self.width = max(2, schedule.width // max(floats, default=8))

    def body(self, statements: Sequence[Statement], envs: list[Env]) -> None:
        """Each statement for each of the jammed iterations."""
        for one in statements:
            if isinstance(one, Loop):
                self.loop(one, envs)
            else:
                for env in envs:
                    _WRITE[type(one)](self, one, env)

    # ---- loops ----------------------------------------------------------------------------------------------------

    def loop(self, loop: Loop, envs: list[Env]) -> None:
        """A loop: over vectors, several iterations at a time, written out, or as it stands."""
        var = loop.var
        if var is self.kernel.vector:
            self.vector_loop(loop, envs)
        elif var.extent <= UNROLL and var.tail is None and var not in self.kernel.jam:
            for k in range(var.extent):
                for env in envs:
                    env.variables[var] = k
                self.body(loop.body, envs)
        else:
            jam = self.kernel.jam.get(var, 1)

            def bind(base: Val | int, inner: list[Env]) -> list[Env]:
                result = []
                for k in range(jam):
                    for env in inner:
                        value = self.w.binary("add", base, Val(str(k), "i64")) if isinstance(base, Val) and k else base
                        at = value if isinstance(value, Val) else value + k
                        result.append(Env({**env.variables, var: at}, env.registers if jam == 1 else dict(env.registers)))
                return result

            self.counted(loop, envs, var.extent, jam, bind)

    def counted(
        self,
        loop: Loop,
        envs: list[Env],
        extent: int,
        step: int,
        bind: Callable[[Val | int, list[Env]], list[Env]],
    ) -> None:
        """`for base in range(0, extent, step)`, registers that change being carried."""
        w = self.w
        if extent <= 0:
            return
        if extent <= step:
            self.body(loop.body, inner := bind(0, envs))
            self._take_back(loop, envs, inner)
            return
        changed = _assigned(loop)
        outer = w.levels[-1]
        head, exit_ = w.name("head"), w.name("exit")
        level = Level([], head)
        w.levels.append(level)
        depth = len(w.levels) - 1
        base = Val(f"%{w.name('i')}", "i64", 0, depth)
        carried: list[tuple[Env, Register, Val, Val]] = []
        inner_envs = [Env(dict(env.variables), dict(env.registers)) for env in envs]
        for env, inner in zip(envs, inner_envs, strict=True):
            for register in changed:
                if register in env.registers:
                    before = env.registers[register]
                    phi = Val(f"%{w.name('r')}", before.type, before.lanes, depth)
                    inner.registers[register] = phi
                    carried.append((inner, register, before, phi))
        bound = bind(base, inner_envs)
        self.body(loop.body, bound)
        self._take_back(loop, inner_envs, bound)
        following = w.here(f"add i64 {base.text}, {step}", "i64", 0)
        again = w.here(f"icmp slt i64 {following.text}, {extent}", "i1", 0)
        w.do(f"br i1 {again.text}, label %{head}, label %{exit_}")
        latch = level.block
        w.levels.pop()
        phis = [f"  {base.text} = phi i64 [ 0, %{outer.block} ], [ {following.text}, %{latch} ]"]
        for inner, register, before, phi in carried:
            now = inner.registers[register]
            phis.append(
                f"  {phi.text} = phi {phi.full} [ {before.text}, %{outer.block} ], [ {now.text}, %{latch} ]"
            )
        outer.lines += [f"  br label %{head}", f"{head}:", *phis, *level.lines, f"{exit_}:"]
        outer.block = exit_
        for env, inner in zip(envs, inner_envs, strict=True):
            for register in changed:
                if register in env.registers:
                    now = inner.registers[register]
                    env.registers[register] = Val(now.text, now.type, now.lanes, len(w.levels) - 1)

    def _take_back(self, loop: Loop, envs: list[Env], inner: list[Env]) -> None:
        """Registers from outside hold what the last iteration left; jammed iterations share none."""
        for k, env in enumerate(envs):
            for register in env.registers:
                env.registers[register] = inner[k].registers[register]

    def vector_loop(self, loop: Loop, envs: list[Env]) -> None:
        """Iterations lie in lanes. Registers from outside are folded lane by lane, then together."""
        w, var, count = self.w, loop.var, self.width
        outside = [frozenset(env.registers) for env in envs]
        changed = [r for r in _assigned(loop) if r in envs[0].registers]
        before = [{r: env.registers[r] for r in changed} for env in envs]
        for env in envs:
            for register in changed:
                env.registers[register] = w.splat(literal(register.identity, register.dtype), count)

        def bind(base: Val | int, inner: list[Env]) -> list[Env]:
            mask = None
            if var.extent % count:
                number = self.numbers(base, count)
                mask = w.binary("icmp slt", number, Val(str(var.extent), "i64"), "i1")
            self.lanes = Lanes(var, count, base, mask, outside[0])
            return [Env({**env.variables, var: base}, env.registers) for env in inner]

        self.counted(loop, envs, var.extent, count, bind)
        self.lanes = None
        for env, old in zip(envs, before, strict=True):
            for register in changed:
                total = self.fold(register, env.registers[register])
                env.registers[register] = self.combine(register, old[register], total)

    def numbers(self, base: Val | int, count: int) -> Val:
        """base, base + 1, ... as a vector."""
        steps = ", ".join(f"i64 {k + (base if isinstance(base, int) else 0)}" for k in range(count))
        iota = Val(f"<{steps}>", "i64", count, 0)
        return iota if isinstance(base, int) else self.w.binary("add", base, iota)

    def fold(self, register: Register, value: Val) -> Val:
        """The lanes of a register as one value: halves are combined until one is left."""
        w = self.w
        while value.lanes > 1:
            half = value.lanes // 2
            parts = []
            for start in (0, half):
                order = ", ".join(f"i32 {k}" for k in range(start, start + half))
                text = f"shufflevector {value.full} {value.text}, {value.full} poison, <{half} x i32> <{order}>"
                parts.append(w.pure(text, value.type, half, value.level))
            value = self.combine(register, *parts)
        return w.pure(f"extractelement {value.full} {value.text}, i64 0", value.type, 0, value.level)

    def combine(self, register: Register, x: Val, y: Val) -> Val:
        """Two folded values as one."""
        assert register.combine is not None  # noqa: S101 - Program.verify has seen to it
        expr = register.combine(param(0, register.dtype), param(1, register.dtype))
        return self.evaluate(expr, lambda leaf: x if leaf == 0 else y)

    # ---- statements -----------------------------------------------------------------------------------------------

    def let(self, one: Let, env: Env) -> None:
        """A register begins; inside of the vector loop it is a vector."""
        value = self.value(one.value, env)
        env.registers[one.register] = self.w.splat(value, self.lanes.count) if self.lanes else value

    def assign(self, one: Assign, env: Env) -> None:
        """A register changes; lanes that are not real keep what they have."""
        value, old = self.value(one.value, env), env.registers[one.register]
        if self.lanes:
            value = self.w.splat(value, self.lanes.count)
            if self.lanes.mask is not None and one.register in self.lanes.outside:
                value = self.w.select(self.lanes.mask, value, old)
        env.registers[one.register] = value

    def store(self, one: Store, env: Env) -> None:
        """An element, or a vector of them, is written."""
        value = self.value(one.value, env)
        if one.add:
            value = self.w.binary(
                "fadd" if one.value.dtype.kind == "f" else "add", self.load(one.target, env, fresh=True), value
            )
        if value.type == "i1":
            value = self.w.convert("zext", value, "i8")
        place = Place(self, one.target, env)
        place.write(value)
        for level in self.w.levels:  # what was loaded from this buffer is no longer known
            level.known = {text: v for text, v in level.known.items() if not text.startswith("load")}

    def check(self, one: Check, env: Env) -> None:
        """Leave the function where the condition does not hold in a lane that is real."""
        w = self.w
        bad = w.binary("xor", self.value(one.condition, env), Val("true", "i1"))
        if bad.lanes:
            if self.lanes and self.lanes.mask is not None:
                bad = w.binary("and", bad, self.lanes.mask)
            bad = w.call(f"llvm.vector.reduce.or.{_mangled(bad)}", Val("", "i1"), bad)
        good = w.name("good")
        w.do(f"br i1 {bad.text}, label %{self.exits(one.code)}, label %{good}")
        w.label(good)

    # ---- expressions ----------------------------------------------------------------------------------------------

    def value(self, expr: Expr, env: Env) -> Val:
        """The value of an expression in an iteration."""

        def leaf(what: Any) -> Val:
            if isinstance(what, Register):
                return env.registers[what]
            return self.number(what, env) if isinstance(what, Affine) else self.load(what, env)

        return self.evaluate(expr, leaf)

    def evaluate(self, expr: Expr, leaf: Callable[[Any], Val]) -> Val:
        """Instruction by instruction."""
        values: dict[Expr, Val] = {}
        for node in walk(expr):
            if node.op == "const":
                values[node] = literal(node.value, node.dtype)
            elif node.op == "param":
                values[node] = leaf(node.value)
            else:
                rule = OPERATIONS.get(node.op)
                if rule is None:
                    raise GraphError(message("llvm", f"the scalar operation {node.op}", "one that has an instruction"))
                operands = [values[arg] for arg in node.args]
                if all(not v.text.startswith("%") and not v.lanes for v in operands) and node.args:
                    operands[0] = self.anchored(operands[0])
                values[node] = rule(self.w, node, operands)
        return values[expr]

    def anchored(self, value: Val) -> Val:
        """A literal as a value, for instructions all of whose operands are literals."""
        return self.w.pure(f"freeze {value.type} {value.text}", value.type, 0, 0)

    def number(self, index: Affine, env: Env) -> Val:
        """An index as a number: a vector where the lanes differ."""
        step = index.coefficient(self.lanes.var) if self.lanes else 0
        base = self.flat(((index, 1),), env)
        value = base if isinstance(base, Val) else Val(str(base), "i64")
        if not step or self.lanes is None:
            return value
        lanes = ", ".join(f"i64 {k * step}" for k in range(self.lanes.count))
        return self.w.binary("add", value, Val(f"<{lanes}>", "i64", self.lanes.count))

    def flat(self, parts: Sequence[tuple[Affine, int]], env: Env) -> Val | int:
        """The sum of indices times strides, what changes least first."""
        constant = 0
        coefficients: dict[Var, int] = {}
        for index, stride in parts:
            constant += index.offset * stride
            for var, c in index.terms:
                coefficients[var] = coefficients.get(var, 0) + c * stride
        values: list[tuple[Val, int]] = []
        for var, c in coefficients.items():
            at = env.variables[var]
            if isinstance(at, Val):
                values.append((at, c))
            else:
                constant += at * c
        total: Val | None = None
        for value, c in sorted(values, key=lambda one: one[0].level):
            term = value if c == 1 else self.w.binary("mul", value, Val(str(c), "i64"))
            total = term if total is None else self.w.binary("add", total, term)
        if total is None:
            return constant
        return self.w.binary("add", total, Val(str(constant), "i64")) if constant else total

    def load(self, access: Access, env: Env, fresh: bool = False) -> Val:
        """The element, or vector of elements, of an access."""
        return Place(self, access, env).read(fresh)


class Place:
    """Where an access lies: its address, whether the lanes are next to each other, and which of them count."""

    def __init__(self, kernel: KernelWriter, access: Access, env: Env) -> None:
        self.k, self.access, self.env = kernel, access, env
        self.layout: Layout = kernel.schedule.layouts[access.buffer]
        self.dtype = access.buffer.dtype
        self.type = MEMORY[self.dtype]
        lanes = kernel.lanes
        self.step = 0
        fixed: list[tuple[Affine, int]] = []
        self.dynamic: list[tuple[Val, int]] = []
        for index, stride in zip(access.index, self.layout.strides, strict=True):
            if isinstance(index, Affine):
                fixed.append((index, stride))
                self.step += index.coefficient(lanes.var) * stride if lanes else 0
            else:
                self.dynamic.append((kernel.value(index, env), stride))
        self.base = kernel.flat(fixed, env)
        self.scattered = self.step not in (0, 1) or any(value.lanes for value, _ in self.dynamic)
        self.is_vector = bool(lanes) and (self.step != 0 or self.scattered)

    def guard(self) -> Val | None:
        """Whether the guards hold, in each lane."""
        w, result = self.k.w, None
        for guard in self.access.guards:
            for holds in self._sides(guard):
                result = holds if result is None else w.binary("and", result, holds)
        return result

    def _sides(self, guard: Guard) -> list[Val]:
        low, high = guard.index.bounds()
        number, w = self.k.number(guard.index, self.env), self.k.w
        if not number.text.startswith("%") and not number.lanes:
            number = self.k.anchored(number)
        sides = []
        if low < guard.low:
            sides.append(w.binary("icmp sge", number, Val(str(guard.low), "i64"), "i1"))
        if high >= guard.high:
            sides.append(w.binary("icmp slt", number, Val(str(guard.high), "i64"), "i1"))
        return sides

    def offset(self) -> Val:
        """The element's place in the buffer; a vector where the lanes are scattered."""
        w = self.k.w
        total = self.base if isinstance(self.base, Val) else Val(str(self.base), "i64")
        for value, stride in self.dynamic:
            term = value if stride == 1 else w.binary("mul", value, Val(str(stride), "i64"))
            total = w.binary("add", total, term)
        if self.scattered and self.k.lanes is not None and self.step:
            lanes = ", ".join(f"i64 {k * self.step}" for k in range(self.k.lanes.count))
            total = w.binary("add", total, Val(f"<{lanes}>", "i64", self.k.lanes.count))
        return total

    def address(self, offset: Val) -> Val:
        """The pointer, or vector of pointers."""
        w = self.k.w
        start = self.k.schedule.offsets[self.access.buffer]
        base = w.pure(f"getelementptr inbounds i8, ptr %arena, i64 {start}", "ptr", 0, 0)
        if offset.text == "0":
            return base
        text = f"getelementptr inbounds {self.type}, ptr {base.text}, {offset.full} {offset.text}"
        return w.pure(text, "ptr", offset.lanes, offset.level)

    def padded(self, writing: bool) -> bool:
        """Whether a whole vector may be touched beyond the end of the loop: the padding of the buffer takes it."""
        lanes = self.k.lanes
        if lanes is None or self.layout.inner < 0:
            return False
        index = self.access.index[self.layout.inner]
        whole = -(-lanes.var.extent // lanes.count) * lanes.count
        if not isinstance(index, Affine) or index.terms != ((lanes.var, 1),):
            return False
        if writing:
            return index.offset == 0 and lanes.var.extent == self.access.buffer.shape[self.layout.inner] and whole <= self.layout.pitch
        return 0 <= index.offset and index.offset + whole <= self.layout.pitch

    def mask(self, guard: Val | None, writing: bool) -> Val | None:
        """Which lanes may touch memory; None for all."""
        lanes = self.k.lanes
        real = lanes.mask if lanes and self.is_vector and not (not self.scattered and self.padded(writing)) else None
        if guard is None or real is None:
            return guard if real is None else real
        return self.k.w.binary("and", guard, real)

    def read(self, fresh: bool) -> Val:
        """Load; `fresh` after a store of the same kernel."""
        w, guard = self.k.w, self.guard()
        lanes = self.k.lanes.count if self.k.lanes and self.is_vector else 0
        offset = self.offset()
        align = self.dtype.itemsize
        zero = Val("zeroinitializer" if lanes else ("0x0000000000000000" if self.dtype.kind == "f" else "0"), self.type, lanes)
        mask = self.mask(guard, False)
        if not lanes:
            if mask is not None and mask.lanes:
                lanes = mask.lanes
            elif mask is not None:
                offset = w.select(mask, offset, Val("0", "i64"))
            if lanes:  # the same element in each lane that the guard lets pass
                offset = w.splat(offset, lanes)
                zero = Val("zeroinitializer", self.type, lanes)
        kind = f"<{lanes} x {self.type}>" if lanes else self.type
        scattered = self.scattered or (lanes and not self.is_vector)
        address = self.address(w.splat(offset, lanes) if scattered and lanes else offset)
        level = max(address.level, mask.level if mask is not None else 0)
        moves = not fresh and self.k.schedule.offsets[self.access.buffer] not in self.k.written_at
        level = level if moves else len(w.levels) - 1
        if scattered and lanes:
            every = mask if mask is not None else Val("splat (i1 true)", "i1", lanes)
            every = w.splat(every, lanes)
            text = self._call("gather", f"{kind}", f"<{lanes} x ptr> {address.text}", align, every, zero)
        elif mask is not None and lanes:
            text = self._call("load", f"{kind}", f"ptr {address.text}", align, w.splat(mask, lanes), zero)
        else:
            text = f"load {kind}, ptr {address.text}, align {align}"
        value = w.pure(text, self.type, lanes, level) if moves else w.here(text, self.type, lanes)
        if mask is not None and not lanes:
            value = w.select(mask, value, zero)
        if self.dtype == BOOL:
            value = w.binary("icmp ne", value, Val("0", "i8"), "i1")
        return value

    def _call(self, what: str, kind: str, pointer: str, align: int, mask: Val, zero: Val) -> str:
        lanes = mask.lanes
        suffix = f"v{lanes}{SUFFIX[self.type]}.{f'v{lanes}p0' if what == 'gather' else 'p0'}"
        function = f"llvm.masked.{what}.{suffix}"
        pointers = pointer.rsplit(" ", 1)[0]
        self.k.w.declared[function] = f"declare {kind} @{function}({pointers}, i32 immarg, {mask.full}, {kind})"
        return f"call {kind} @{function}({pointer}, i32 {align}, {mask.full} {mask.text}, {kind} {zero.text})"

    def write(self, value: Val) -> None:
        """Store."""
        w, align = self.k.w, self.dtype.itemsize
        offset = self.offset()
        lanes = self.k.lanes.count if self.k.lanes and self.is_vector else 0
        mask = self.mask(None, True)
        value = w.splat(value, lanes)
        address = self.address(w.splat(offset, lanes) if self.scattered and lanes else offset)
        if self.scattered and lanes:
            every = w.splat(mask if mask is not None else Val("true", "i1"), lanes)
            self._write("scatter", value, f"<{lanes} x ptr> {address.text}", align, every)
        elif mask is not None and lanes:
            self._write("store", value, f"ptr {address.text}", align, mask)
        else:
            w.do(f"store {value.full} {value.text}, ptr {address.text}, align {align}")

    def _write(self, what: str, value: Val, pointer: str, align: int, mask: Val) -> None:
        lanes = mask.lanes
        function = f"llvm.masked.{what}.v{lanes}{SUFFIX[self.type]}.{f'v{lanes}p0' if what == 'scatter' else 'p0'}"
        pointers = pointer.rsplit(" ", 1)[0]
        self.k.w.declared[function] = f"declare void @{function}({value.full}, {pointers}, i32 immarg, {mask.full})"
        self.k.w.do(f"call void @{function}({value.full} {value.text}, {pointer}, i32 {align}, {mask.full} {mask.text})")


_WRITE: Final[dict[type, Callable[[KernelWriter, Any, Env], None]]] = {
    Let: KernelWriter.let,
    Assign: KernelWriter.assign,
    Store: KernelWriter.store,
    Check: KernelWriter.check,
}


def _assigned(loop: Loop) -> list[Register]:
    """The registers a loop changes, in order."""
    return list(dict.fromkeys(one.register for one, _ in all_statements((loop,)) if isinstance(one, Assign)))


def _dtypes(kernel: Kernel) -> set[DType]:
    found: set[DType] = set()
    for one, _ in all_statements(kernel.body):
        for root in (one.condition,) if isinstance(one, Check) else (one.value,):
            found.update(node.dtype for node in walk(root))
    return found


def write_function(schedule: Schedule, name: str = "run") -> str:
    """The LLVM IR of a schedule: `i32 name(ptr arena)`, 0 or the code of the check that failed."""
    writer = Writer()
    lines = [f"define i32 @{name}(ptr noalias %arena) #0 {{", "entry:"]
    block = "entry"
    failures: list[int] = []

    def exits(code: int) -> str:
        failures.append(code)
        return f"fail{code}"

    for kernel in schedule.program.kernels:
        level = Level([], block)
        writer.levels = [level]
        KernelWriter(writer, schedule, kernel, exits).body(kernel.body, [Env({}, {})])
        lines += [f"  ; {kernel.name}", *level.lines]
        block = level.block
    lines.append("  ret i32 0")
    for code in dict.fromkeys(failures):
        lines += [f"fail{code}:", f"  ret i32 {code}"]
    lines.append("}")
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{8 * schedule.width}" "min-legal-vector-width"="{8 * schedule.width}" }}'
    return "\n".join([*lines, "", *writer.declared.values(), "", attributes, ""])
