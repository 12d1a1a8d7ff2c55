"""The code of one kernel: its loops, vector loops and statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ....errors import GraphError, message
from ....graph import DType
from ....scalar import FLOAT64, Expr, param, walk
from ...loopir.ir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Gemm,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    expressions,
)
from ...loopir.ir import statements as all_statements
from ...schedule.schedule import Schedule
from .operations import OPERATIONS
from .place import Env, Lanes, Place
from .writer import Level, Val, Writer, literal, mangled

UNROLL: Final = 12  # loops up to this many iterations are written out,
COPIES: Final = 16  # but no statement more often than this: code takes time to compile
CHAINS: Final = 4  # iterations from which a fold that is written out has two chains,
ALONE: Final = 8  # if the loops around it have not more rounds than these


class KernelWriter:
    """Writes the code of one kernel."""

    def __init__(
        self,
        writer: Writer,
        schedule: Schedule,
        kernel: Kernel,
        exits: Callable[[int], str],
        starts: Mapping[Buffer, int | str] | None = None,
    ) -> None:
        """`starts` are the offsets of buffers in the arena where they are not those of the schedule."""
        self.w, self.schedule, self.kernel, self.exits = writer, schedule, kernel, exits
        self.starts: Mapping[Buffer, int | str] = schedule.offsets if starts is None else starts
        self.lanes: Lanes | None = None
        self.copies, self.trips = 1, 1  # of the statement being written, and rounds of the loops around it
        self.written_at = {  # not the buffers: a new value of the state may lie where the old one does
            schedule.offsets[one.target.buffer] for one, _ in all_statements(kernel.body) if isinstance(one, Store)
        }
        floats = [leaf.itemsize for leaf in _dtypes(kernel) if leaf.kind == "f"]
        self.width = kernel.wide * max(2, schedule.width // max(floats, default=8))

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
        outside = self.trips
        self.trips *= -(-loop.var.extent // (self.width if loop.var is self.kernel.vector else 1))
        self._loop(loop, envs, outside)
        self.trips = outside

    def _loop(self, loop: Loop, envs: list[Env], outside: int) -> None:
        var = loop.var
        if var is self.kernel.vector:
            self.vector_loop(loop, envs)
        elif var.extent <= min(UNROLL, COPIES // self.copies) and var.tail is None and var not in self.kernel.jam:
            self.copies *= max(1, var.extent)
            self.written_out(loop, envs, chains=2 if outside <= ALONE else 1)
            self.copies //= max(1, var.extent)
        else:
            jam = self.kernel.jam.get(var, 1)

            def bind(base: Val | int, inner: list[Env]) -> list[Env]:
                result = []
                for k in range(jam):
                    for env in inner:
                        value = self.w.binary("add", base, Val(str(k), "i64")) if isinstance(base, Val) and k else base
                        at = value if isinstance(value, Val) else value + k
                        result.append(
                            Env({**env.variables, var: at}, env.registers if jam == 1 else dict(env.registers))
                        )
                return result

            whole = var.extent // jam * jam
            self.counted(loop, envs, jam, bind, whole)
            if whole < var.extent:  # what is left over, together
                last = [
                    Env({**env.variables, var: k}, dict(env.registers))
                    for k in range(whole, var.extent)
                    for env in envs
                ]
                self.body(loop.body, last)

    def written_out(self, loop: Loop, envs: list[Env], chains: int) -> None:
        """Every iteration in its own code; where nothing else is there to do meanwhile, a fold in two chains, of which
        neither waits for the other.
        """
        changed = [register for register in _assigned(loop) if register in envs[0].registers]
        splits = chains > 1 and loop.var.extent >= CHAINS and all(register.combine for register in changed)
        second = [Env(env.variables, dict(env.registers)) for env in envs] if splits and changed else []
        for env in second:
            for register in changed:
                one = literal(register.identity, register.dtype)
                env.registers[register] = self.w.splat(one, env.registers[register].lanes)
        for k in range(loop.var.extent):
            for env in envs:
                env.variables[loop.var] = k
            self.body(loop.body, second if second and k % 2 else envs)
        for env, other in zip(envs, second, strict=False):
            for register in changed:
                env.registers[register] = self.combine(register, env.registers[register], other.registers[register])

    def counted(
        self,
        loop: Loop,
        envs: list[Env],
        step: int,
        bind: Callable[[Val | int, list[Env]], list[Env]],
        stop: int | None = None,
    ) -> None:
        """`for base in range(0, stop or extent, step)`, registers that change being carried."""
        w, extent = self.w, loop.var.extent if stop is None else stop
        if extent <= 0:
            return
        if extent <= step:
            self.body(loop.body, inner := bind(0, envs))
            self._take_back(envs, inner)
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
        for env, copy in zip(envs, inner_envs, strict=True):
            for register in changed:
                if register in env.registers:
                    before = env.registers[register]
                    phi = Val(f"%{w.name('r')}", before.type, before.lanes, depth)
                    copy.registers[register] = phi
                    carried.append((copy, register, before, phi))
        bound = bind(base, inner_envs)
        self.body(loop.body, bound)
        self._take_back(inner_envs, bound)
        following = w.here(f"add i64 {base.text}, {step}", "i64", 0)
        end = self.extent(loop.var, envs[0]).text if stop in (None, loop.var.extent) else str(stop)
        again = w.here(f"icmp slt i64 {following.text}, {end}", "i1", 0)
        w.do(f"br i1 {again.text}, label %{head}, label %{exit_}")
        latch = level.block
        w.levels.pop()
        phis = [f"  {base.text} = phi i64 [ 0, %{outer.block} ], [ {following.text}, %{latch} ]"]
        for copy, register, before, phi in carried:
            now = copy.registers[register]
            phis.append(f"  {phi.text} = phi {phi.full} [ {before.text}, %{outer.block} ], [ {now.text}, %{latch} ]")
        outer.lines += [f"  br label %{head}", f"{head}:", *phis, *level.lines, f"{exit_}:"]
        outer.block = exit_
        for env, copy in zip(envs, inner_envs, strict=True):
            for register in changed:
                if register in env.registers:
                    now = copy.registers[register]
                    env.registers[register] = Val(now.text, now.type, now.lanes, len(w.levels) - 1)

    def _take_back(self, envs: list[Env], inner: list[Env]) -> None:
        """Registers from outside hold what the last iteration left; jammed iterations share none."""
        for k, env in enumerate(envs):
            for register in env.registers:
                env.registers[register] = inner[k].registers[register]

    def vector_loop(self, loop: Loop, envs: list[Env]) -> None:
        """Iterations lie in lanes. Registers from outside are folded lane by lane, then together."""
        w, var, count = self.w, loop.var, self.width
        outside = frozenset(envs[0].registers) - _begun(loop)
        changed = [r for r in _assigned(loop) if r in envs[0].registers]
        before = [{r: env.registers[r] for r in changed} for env in envs]
        for env in envs:
            for register in changed:
                env.registers[register] = w.splat(literal(register.identity, register.dtype), count)

        def bind(base: Val | int, inner: list[Env]) -> list[Env]:
            mask = None
            if var.extent % count or (var.tail is not None and var.tail % count):
                number = self.numbers(base, count)
                mask = w.binary("icmp slt", number, self.extent(var, inner[0]), "i1")
            self.lanes = Lanes(var, count, base, mask, outside)
            return [Env({**env.variables, var: base}, env.registers) for env in inner]

        self.counted(loop, envs, count, bind)
        self.lanes = None
        for env, old in zip(envs, before, strict=True):
            for register in changed:
                total = self.fold(register, env.registers[register])
                env.registers[register] = self.combine(register, old[register], total)

    def extent(self, var: Var, env: Env) -> Val:
        """How often a loop runs: less often in the short last batch."""
        if var.tail is None:
            return Val(str(var.extent), "i64")
        return self.w.select(env.registers[TAIL], Val(str(var.tail), "i64"), Val(str(var.extent), "i64"))

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
        if register.combine is None:
            raise GraphError(message("llvm", f"lanes that share {register}", "a register that can be combined"))
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
            old = self.load(one.target, env)
            value = self.w.binary({"f": "fadd", "i": "add", "b": "or"}[one.value.dtype.kind], old, value)
        if value.type == "i1":
            value = self.w.convert("zext", value, "i8")
        Place(self, one.target, env).write(value)

    def check(self, one: Check, env: Env) -> None:
        """Leave the function where the condition does not hold in a lane that is real."""
        w = self.w
        bad = w.binary("xor", self.value(one.condition, env), Val("true", "i1"))
        if bad.lanes:
            if self.lanes and self.lanes.mask is not None:
                bad = w.binary("and", bad, self.lanes.mask)
            bad = w.call(f"llvm.vector.reduce.or.{mangled(bad)}", Val("", "i1"), bad)
        good = w.name("good")
        w.do(f"br i1 {bad.text}, label %{self.exits(one.code)}, label %{good}")
        w.label(good)

    def gemm(self, one: Gemm, env: Env) -> None:
        """Call a BLAS. It is Fortran's and stores columns, so it is given y.T @ x.T, which is target.T."""
        w = self.w
        letter, kind = ("d", "double") if one.target.dtype == FLOAT64 else ("s", "float")
        (m, n), k = one.target.shape, one.x.shape[0 if one.tx else 1]
        table = f"gemm_{letter}_{int(one.ty)}{int(one.tx)}_{n}_{m}_{k}_{one.y.shape[1]}_{one.x.shape[1]}"
        numbers = ", ".join(f"i32 {number}" for number in (n, m, k, one.y.shape[1], one.x.shape[1], n))
        letters = "".join("T" if flag else "N" for flag in (one.ty, one.tx))
        factors = ", ".join(f"{kind} {literal(value, one.target.dtype).text}" for value in (1.0, 0.0))
        w.declared[table] = f"@{table} = private constant [6 x i32] [{numbers}]"
        w.declared[f"{table}_l"] = f'@{table}_l = private constant [2 x i8] c"{letters}"'
        w.declared[f"{table}_f"] = f"@{table}_f = private constant [2 x {kind}] [{factors}]"
        function = self.load(Access(one.function, ()), env)
        target = w.here(f"inttoptr i64 {function.text} to ptr", "ptr", 0)
        starts = [self.schedule.offsets[buffer] for buffer in (one.y, one.x, one.target)]
        y, x, out = (w.here(f"getelementptr i8, ptr %arena, i64 {start}", "ptr", 0).text for start in starts)

        def entry(name: str, size: int, position: int) -> str:
            return f"ptr getelementptr (i8, ptr @{name}, i64 {size * position})"

        size = one.target.dtype.itemsize
        letter_y, letter_x = (entry(f"{table}_l", 1, position) for position in (0, 1))
        alpha, beta = (entry(f"{table}_f", size, position) for position in (0, 1))
        columns, rows, inner, step_y, step_x, step = (entry(table, 4, position) for position in range(6))
        arguments = (letter_y, letter_x, columns, rows, inner, alpha, f"ptr {y}", step_y, f"ptr {x}", step_x, beta)
        w.do(f"call void {target.text}({', '.join(arguments)}, ptr {out}, {step})")

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

    def load(self, access: Access, env: Env) -> Val:
        """The element, or vector of elements, of an access."""
        return Place(self, access, env).read()


_WRITE: Final[dict[type, Callable[[KernelWriter, Any, Env], None]]] = {
    Let: KernelWriter.let,
    Assign: KernelWriter.assign,
    Store: KernelWriter.store,
    Check: KernelWriter.check,
    Gemm: KernelWriter.gemm,
}


def _assigned(loop: Loop) -> list[Register]:
    """The registers from outside that a loop changes, in order."""
    inside = _begun(loop)
    changed = (one.register for one, _ in all_statements((loop,)) if isinstance(one, Assign))
    return list(dict.fromkeys(register for register in changed if register not in inside))


def _begun(loop: Loop) -> set[Register]:
    """The registers that begin in a loop. A loop written out leaves them behind, for the next round to begin again."""
    return {one.register for one, _ in all_statements((loop,)) if isinstance(one, Let)}


def _dtypes(kernel: Kernel) -> set[DType]:
    found: set[DType] = set()
    for one, _ in all_statements(kernel.body):
        for root in expressions(one):
            found.update(node.dtype for node in walk(root))
    return found
