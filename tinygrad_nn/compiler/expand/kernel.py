"""The steps of one kernel: its loops as vectors, jammed or unrolled, its accesses as loads and stores.

A loop over lanes is one over vectors, whose last round is masked where the lanes do not come out even. A jammed loop
takes several iterations together, statement by statement, so that what they load is loaded once; a short one is
unrolled. `Env` is what variables and registers stand for in one of the iterations that run together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, NamedTuple

from ...errors import GraphError, message
from ...graph.graph import DType
from ...graph.scalar import BOOL, DTYPES, INT64, Expr, param, walk
from ..loopir.ir import (
    BLOCK,
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
)
from ..loopir.ir import statements as all_statements
from ..schedule.schedule import Schedule
from . import code
from .builder import Builder
from .code import Value

UNROLL: Final = 12  # loops up to this many iterations are unrolled,
COPIES: Final = 16  # but no statement more often than this: code takes time to compile,
FEW: Final = 4  # nor this, where it has to be small
CHAINS: Final = 4  # iterations from which a fold that is unrolled has two chains,
ALONE: Final = 8  # if the loops around it have not more rounds than these


class After(NamedTuple):
    """A number so much above a value: of an iteration that runs together with another one."""

    base: Value
    more: int


@dataclass(slots=True)
class Env:
    """What variables and registers stand for; iterations that run together have one each."""

    variables: dict[Var, Value | After | int]
    registers: dict[Register, Value]


@dataclass(frozen=True, slots=True)
class Site:
    """An access as the kernel makes it. Its place in the buffer is `constant + sum of coefficient * variable + sum of
    stride * index from data`, and in each lane `step` more than in the one before.

    `begin` is the place of the buffer. `sides` are the indices that must be at least, or below, a number. `moves` says
    that the kernel writes nothing there. From the first lane of all on, padding included, the buffer has `room`; where
    it `covers` the lanes, all of its line is written.
    """

    buffer: Buffer
    begin: int
    constant: int
    terms: tuple[tuple[Var, int], ...]
    dynamic: tuple[tuple[Expr, int], ...]
    step: int
    sides: tuple[tuple[Affine, bool, int], ...]
    moves: bool
    room: int
    covers: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """The registers that begin in a loop, which are left behind where it is unrolled, and those from outside that it
    changes, in order.
    """

    begun: frozenset[Register]
    changed: tuple[Register, ...]


class Expansion:
    """One kernel while its steps are made."""

    def __init__(
        self, builder: Builder, schedule: Schedule, kernel: Kernel, lanes: int | None, threads: Sequence[Value] = ()
    ) -> None:
        """Vectors have so many lanes, or as many as the machine's. Of several `threads`, the number of the one that
        runs this, and how many there are.
        """
        self.b, self.schedule, self.kernel = builder, schedule, kernel
        self.lane_count = lanes or max(1, schedule.width // kernel.itemsize)
        self.count = kernel.wide * self.lane_count
        self.vector = kernel.vector if self.count > 1 else None
        self.threads, self.split = threads, kernel.split if threads else None
        self.lanes = 0  # in the vector loop, the count
        self.reach = 0  # where the last of its vectors ends
        self.mask: Value | None = None  # which of them are iterations; None: all
        self.outside: frozenset[Register] = frozenset()  # of the vector loop
        self.most = FEW if schedule.compact else COPIES
        self.copies, self.trips = 1, 1  # of the statement being expanded, and rounds of the loops around it
        self.written = {  # not the buffers: a new value of the state may lie where the old one does
            schedule.offsets[one.target.buffer] for one, _ in all_statements(kernel.body) if isinstance(one, Store)
        }
        self.tapes: dict[Expr, Tape] = {}
        self.sites: dict[int, Site] = {}  # by identity of the access
        self.changes: dict[Loop, Changes] = {}
        self.combined: dict[Register, Expr] = {}

    def body(self, statements: Sequence[Statement], envs: list[Env]) -> None:
        """Each statement for each of the iterations that run together."""
        for one in statements:
            if isinstance(one, Loop):
                self.loop(one, envs)
            else:
                for env in envs:
                    _EXPAND[type(one)](self, one, env)

    # ---- loops ----------------------------------------------------------------------------------------------------

    def loop(self, loop: Loop, envs: list[Env]) -> None:
        """A loop: over vectors, unrolled, or as it stands, several iterations a round where it is jammed."""
        var, trips, copies = loop.var, self.trips, self.copies
        self.trips *= -(-var.extent // (self.count if var is self.vector else 1))
        if var is self.vector:
            self.vector_loop(loop, envs)
        elif var not in self.kernel.jam and var is not self.split and not self.stays(loop, copies):
            self.copies *= max(1, var.extent)
            self.unrolled(loop, envs, trips <= ALONE)
        else:
            jam = self.kernel.jam.get(var, 1)
            if overlaps(var, jam):
                jam, whole = jam if self.repeatable() else 1, var.extent
            else:
                whole = var.extent // jam * jam
            self.counted(loop, envs, jam, whole)
            if whole < var.extent:  # what is left over, together
                self.left_over(loop, envs, lambda inner: self.together(loop, inner, range(whole, var.extent)))
        self.trips, self.copies = trips, copies

    def repeatable(self) -> bool:
        """Whether an iteration may run twice: the kernel reads nothing that it writes."""
        offsets = self.schedule.offsets
        read = {offsets[access.buffer] for access, is_written, _ in self.kernel.accesses if not is_written}
        adds = any(isinstance(one, Store) and one.add for one, _ in self.kernel.statements)
        return not adds and read.isdisjoint(self.written)

    def stays(self, loop: Loop, copies: int) -> bool:
        """Whether the code of a loop has a loop in it. Then it is not unrolled: copies of a loop save nothing."""
        var = loop.var
        step = self.count if var is self.vector else self.kernel.jam.get(var, 1)
        if step == 1 and var.tail is None and var.extent <= min(UNROLL, self.most // copies):
            step = var.extent
        copies *= 1 if var is self.vector else max(1, step)
        return var.extent > step or any(self.stays(one, copies) for one in loop.body if isinstance(one, Loop))

    def vector_loop(self, loop: Loop, envs: list[Env]) -> None:
        """Iterations lie in lanes. Registers from outside are folded lane by lane, then together. In a loop that folds
        none, what is left over for a last round of several vectors is a narrower one.
        """
        changes = self.changes_of(loop)
        changed = [register for register in changes.changed if register in envs[0].registers]
        self.lanes, self.outside = self.count, frozenset(envs[0].registers) - changes.begun
        before = [dict(env.registers) for env in envs]
        for env in envs:
            for register in changed:
                env.registers[register] = self.identity(register, self.count)
        var, count = loop.var, self.count
        splits = count > self.lane_count and not changed and var.tail is None
        whole = var.extent // count * count if splits else var.extent
        self.reach = -(-whole // count) * count
        self.counted(loop, envs, count, whole)
        if whole < var.extent:
            self.count = self.lane_count
            while whole + self.count < var.extent:
                self.count *= 2
            self.lanes, self.reach = self.count, whole + self.count
            self.left_over(loop, envs, lambda inner: self.round(loop, inner, whole, self.count))
            self.count = count
        self.lanes, self.mask = 0, None
        for env, old in zip(envs, before, strict=True):
            for register in changed:
                total = self.fold(register, env.registers[register])
                env.registers[register] = self.combine(register, old[register], total)

    def unrolled(self, loop: Loop, envs: list[Env], alone: bool) -> None:
        """Every iteration by itself; where there is nothing else to do meanwhile, a fold in two chains, as additions
        would wait for each other.
        """
        changed = [register for register in self.changes_of(loop).changed if register in envs[0].registers]
        splits = alone and loop.var.extent >= CHAINS and all(register.combine for register in changed)
        second = [Env(env.variables, dict(env.registers)) for env in envs] if splits and changed else []
        for env in second:
            for register in changed:
                env.registers[register] = self.identity(register, env.registers[register].lanes)
        for k in range(loop.var.extent):
            for env in envs:
                env.variables[loop.var] = k
            self.body(loop.body, second if second and k % 2 else envs)
        for env, other in zip(envs, second, strict=False):
            for register in changed:
                env.registers[register] = self.combine(register, env.registers[register], other.registers[register])

    def counted(self, loop: Loop, envs: list[Env], step: int, whole: int) -> None:
        """The loop up to `whole`, so many iterations a round; registers that change are carried."""
        if loop.var is self.split:
            self.own_rounds(loop, envs, step, whole)
            return
        if whole <= step:
            if whole > 0:
                self.round(loop, envs, 0, step)
            return
        b, var, changed = self.b, loop.var, self.changes_of(loop).changed
        stop = self.extent(var, envs[0]) if whole == var.extent else b.whole(whole)
        carried = [(k, register) for k, env in enumerate(envs) for register in changed if register in env.registers]
        befores = [envs[k].registers[register] for k, register in carried]
        counter, insides = b.open(befores)
        inner = [Env(dict(env.variables), dict(env.registers)) for env in envs]
        for (k, register), inside in zip(carried, insides, strict=True):
            inner[k].registers[register] = inside
        self.round(loop, inner, counter, step)
        afters = [inner[k].registers[register] for k, register in carried]
        results = b.close(counter, stop, step, befores, insides, afters)
        for (k, register), result in zip(carried, results, strict=True):
            envs[k].registers[register] = result

    def own_rounds(self, loop: Loop, envs: list[Env], step: int, whole: int) -> None:
        """The rounds of a loop that are this thread's; it changes no registers from outside."""
        b = self.b
        stop = self.extent(loop.var, envs[0]) if whole == loop.var.extent else b.whole(whole)
        rounds = b.compute("quotient", INT64, (b.add(stop, b.whole(step - 1)), b.whole(step)))
        first, last = (b.compute("mul", INT64, (edge, b.whole(step))) for edge in self.share(rounds))
        self.ranged(first, last, step, lambda counter, inner: self.round(loop, inner, counter, step), envs)

    def share(self, rounds: Value) -> list[Value]:
        """Which of so many rounds are this thread's: the first one, and the end."""
        b, (number, threads, *_) = self.b, self.threads
        edges = (b.compute("mul", INT64, (edge, rounds)) for edge in (number, b.add(number, b.whole(1))))
        return [b.compute("quotient", INT64, (edge, threads)) for edge in edges]

    def left_over(self, loop: Loop, envs: list[Env], fill: Callable[[list[Env]], None]) -> None:
        """The last iterations of a loop, less than a round; of several threads the last one runs them."""
        if loop.var is not self.split:
            fill(envs)
            return
        b, (number, threads, *_) = self.b, self.threads
        mine = b.compute("eq", BOOL, (b.add(number, b.whole(1)), threads))
        start = b.select(mine, b.whole(0), b.whole(1))
        self.ranged(start, b.whole(1), 1, lambda _, inner: fill(inner), envs)

    def ranged(
        self, start: Value, stop: Value, step: int, fill: Callable[[Value, list[Env]], None], envs: list[Env]
    ) -> None:
        """A loop that may have no round, and so leaves nothing."""
        counter, _ = self.b.open(())
        fill(counter, [Env(dict(env.variables), dict(env.registers)) for env in envs])
        self.b.close(counter, stop, step, (), (), (), start)

    def round(self, loop: Loop, envs: list[Env], base: Value | int, step: int) -> None:
        """The iterations from `base` on, as lanes or together; the last ones where fewer are left than run together."""
        b, var = self.b, loop.var
        if var is not self.vector:
            if overlaps(var, step) and isinstance(base, Value):
                last = b.add(self.extent(var, envs[0]), b.whole(-step))
                base = b.select(b.compute("lt", BOOL, (base, last)), base, last)
            more = (base + k if isinstance(base, int) else After(base, k) for k in range(1, step))
            self.together(loop, envs, [base, *more])
            return
        if self.reach > var.extent or (var.tail is not None and var.tail % step):
            self.mask = self.real(var, base, envs[0])
        self.together(loop, envs, [base])

    def real(self, var: Var, base: Value | int, env: Env) -> Value:
        """Which of the lanes that begin with `base` are iterations."""
        first = self.b.whole(base) if isinstance(base, int) else base
        return self.b.compute("lt", BOOL, (self.counted_up(first, 1), self.extent(var, env)))

    def together(self, loop: Loop, envs: list[Env], places: Sequence[Value | After | int]) -> None:
        """Iterations, statement by statement; those that are jammed share no registers."""
        own = len(places) > 1
        inner = [
            Env({**env.variables, loop.var: at}, dict(env.registers) if own else env.registers)
            for at in places
            for env in envs
        ]
        self.body(loop.body, inner)
        for env, first in zip(envs, inner, strict=False):  # what was there before holds what it was changed to
            env.registers |= {register: first.registers[register] for register in env.registers}

    def changes_of(self, loop: Loop) -> Changes:
        """Which registers a loop changes."""
        found = self.changes.get(loop)
        if found is None:
            inside = [one for one, _ in all_statements((loop,))]
            begun = frozenset(one.register for one in inside if isinstance(one, Let))
            changed = (one.register for one in inside if isinstance(one, Assign) and one.register not in begun)
            found = self.changes[loop] = Changes(begun, tuple(dict.fromkeys(changed)))
        return found

    def extent(self, var: Var, env: Env) -> Value:
        """How often a loop runs: less often in the short last batch."""
        b = self.b
        if var.tail is None:
            return b.whole(var.extent)
        return b.select(env.registers[TAIL], b.whole(var.tail), b.whole(var.extent))

    def identity(self, register: Register, lanes: int) -> Value:
        """What a fold begins with."""
        return self.b.const(register.identity, register.dtype, lanes)

    def fold(self, register: Register, value: Value) -> Value:
        """The lanes of a register as one value: halves are combined until one is left."""
        while value.lanes > 1:
            half = value.lanes // 2
            parts = [self.b.make("half", value.dtype, half, value, data=start) for start in (0, half)]
            value = self.combine(register, *parts)
        return self.b.make("first", value.dtype, 0, value)

    def combine(self, register: Register, x: Value, y: Value) -> Value:
        """Two folded values as one."""
        expr = self.combined.get(register)
        if expr is None:
            if register.combine is None:
                raise GraphError(message("expand", f"lanes that share {register}", "a register that can be combined"))
            expr = register.combine(param(0, register.dtype), param(1, register.dtype))
            self.combined[register] = expr
        return self.value(expr, Env({}, {}), (x, y))

    # ---- statements -----------------------------------------------------------------------------------------------

    def let(self, one: Let, env: Env) -> None:
        """A register begins; inside of the vector loop it is a vector."""
        env.registers[one.register] = self.b.splat(self.value(one.value, env), self.lanes)

    def assign(self, one: Assign, env: Env) -> None:
        """A register changes; lanes that are no iterations keep what they have."""
        value = self.b.splat(self.value(one.value, env), self.lanes)
        if self.mask is not None and one.register in self.outside:
            value = self.b.select(self.mask, value, env.registers[one.register])
        env.registers[one.register] = value

    def store(self, one: Store, env: Env) -> None:
        """An element, or a vector of them, is written."""
        value = self.value(one.value, env)
        site = self.site(one.target)
        if one.add:
            value = self.b.compute("or" if value.dtype == BOOL else "add", value.dtype, (self.load(site, env), value))
        self.write(site, value, env)

    def check(self, one: Check, env: Env) -> None:
        """Stop where the condition does not hold in a lane that is an iteration."""
        b = self.b
        wrong = b.compute("not", BOOL, (self.value(one.condition, env),))
        if wrong.lanes:
            wrong = wrong if self.mask is None else b.both(wrong, self.mask)
            wrong = b.make("any", BOOL, 0, wrong)
        b.do(code.Check(wrong, one.code))

    def gemm(self, one: Gemm, env: Env) -> None:
        """A product by a BLAS."""
        (m, n), k = one.target.shape, one.x.shape[0 if one.tx else 1]
        function = self.load(self.site(Access(one.function, ())), env)
        target, x, y = (self.b.start(part, self.schedule.offsets[part]) for part in (one.target, one.x, one.y))
        part = None
        if self.split is not None:
            first, last = self.share(self.b.whole(self.split.extent))
            begin, end = (self.b.compute("mul", INT64, (edge, self.b.whole(BLOCK))) for edge in (first, last))
            most = self.b.whole(one.target.shape[one.shared])
            end = self.b.select(self.b.compute("lt", BOOL, (end, most)), end, most)
            part = one.shared, begin, end
        self.b.do(code.Gemm(function, target, x, y, (m, n, k), one.tx, one.ty, part))

    # ---- expressions ----------------------------------------------------------------------------------------------

    def value(self, expr: Expr, env: Env, given: Sequence[Value] = ()) -> Value:
        """The value of an expression in an iteration; parameters that are numbers are `given`."""
        tape = self.tapes.get(expr)
        if tape is None:
            tape = self.tapes[expr] = self.tape(expr)
        compute, values = self.b.compute, list[Value]()
        for what, leaf, dtype, args in tape:
            if leaf is None:
                values.append(compute(what, dtype, [values[k] for k in args]))
            else:
                values.append(leaf(self, what, env, given))
        return values[-1]

    def tape(self, expr: Expr) -> Tape:
        """The steps of an expression, which is looked through once however often it is unrolled."""
        places: dict[Expr, int] = {}
        steps: Tape = []
        for node in walk(expr):
            if node.op in _CONVERSIONS and node.args[0].dtype == node.dtype:  # to what it is
                places[node] = places[node.args[0]]
                continue
            places[node] = len(steps)
            if node.op == "const":
                steps.append((self.b.const(node.value, node.dtype), Expansion.known, node.dtype, ()))
            elif node.op != "param":
                steps.append((node.op, None, node.dtype, tuple(places[arg] for arg in node.args)))
            elif isinstance(node.value, Access):
                steps.append((self.site(node.value), Expansion.load, node.dtype, ()))
            else:
                steps.append((node.value, _LEAVES[type(node.value)], node.dtype, ()))
        return steps

    def known(self, value: Value, env: Env, given: Sequence[Value]) -> Value:
        """A constant."""
        return value

    def given(self, number: int, env: Env, given: Sequence[Value]) -> Value:
        """A parameter that is given."""
        return given[number]

    def register(self, register: Register, env: Env, given: Sequence[Value]) -> Value:
        """What a register holds."""
        return env.registers[register]

    def number(self, index: Affine, env: Env, given: Sequence[Value] = ()) -> Value:
        """An index as a number: a vector where the lanes differ."""
        step = index.coefficient(self.vector) if self.lanes and self.vector is not None else 0
        outer, constant, inner = self.parts(index.offset, index.terms, env)
        base = self.total(outer, inner, constant)
        return self.counted_up(base, step) if step else base

    def counted_up(self, base: Value, step: int) -> Value:
        """base, base + step, ..., in the lanes."""
        if base.op == "const":
            return self.b.steps(int(base.data), step, self.lanes)
        return self.b.add(base, self.b.steps(0, step, self.lanes))

    def parts(self, constant: int, terms: Sequence[tuple[Var, int]], env: Env) -> tuple[Value, Value, Value]:
        """A sum of variables times coefficients: what changes in outer loops, what is constant, and what changes in the
        innermost of these loops. Of iterations that run together the constant alone differs.
        """
        b = self.b
        values: list[tuple[Value, int]] = []
        for var, coefficient in terms:
            at = env.variables[var]
            if isinstance(at, int):
                constant += at * coefficient
                continue
            base, more = at if isinstance(at, After) else (at, 0)
            constant += more * coefficient
            values.append((base, coefficient))
        if len(values) > 1:
            values.sort(key=_depth)
        outer = inner = zero = b.whole(0)
        inmost = values[-1][0].depth if values else 0
        for value, coefficient in values:
            term = value if coefficient == 1 else b.make("mul", INT64, 0, value, b.whole(coefficient))
            if value.depth < inmost:
                outer = term if outer is zero else b.make("add", INT64, 0, outer, term)
            else:
                inner = term if inner is zero else b.make("add", INT64, 0, inner, term)
        return outer, b.whole(constant), inner

    def total(self, *values: Value) -> Value:
        """The sum of indices."""
        zero = self.b.whole(0)
        terms = [value for value in values if value is not zero]
        return reduce(self.b.add, terms) if terms else zero

    # ---- accesses -------------------------------------------------------------------------------------------------

    def site(self, access: Access) -> Site:
        """What is the same of an access in all iterations."""
        found = self.sites.get(id(access))
        if found is None:
            found = self.sites[id(access)] = self.new_site(access)
        return found

    def new_site(self, access: Access) -> Site:
        """Look through an access."""
        layout, begin = self.schedule.layouts[access.buffer], self.schedule.offsets[access.buffer]
        constant, step = 0, 0
        terms: dict[Var, int] = {}
        dynamic: list[tuple[Expr, int]] = []
        for index, stride in zip(access.index, layout.strides, strict=True):
            if isinstance(index, Expr):
                dynamic.append((index, stride))
                continue
            constant += index.offset * stride
            for var, coefficient in index.terms:
                terms[var] = terms.get(var, 0) + coefficient * stride
        room, covers = -1, False
        inner = access.index[layout.inner] if layout.inner >= 0 else None
        if self.vector is not None:
            step = terms.get(self.vector, 0)
            if isinstance(inner, Affine) and inner.terms == ((self.vector, 1),):
                room = layout.pitch - inner.offset if inner.offset >= 0 else -1
                covers = inner.offset == 0 and self.vector.extent == access.buffer.shape[layout.inner]
        sides = []
        for guard in access.guards:
            low, high = guard.index.bounds()
            sides += [(guard.index, True, guard.low)] if low < guard.low else []
            sides += [(guard.index, False, guard.high)] if high >= guard.high else []
        moves = begin not in self.written
        return Site(
            access.buffer, begin, constant, tuple(terms.items()), tuple(dynamic), step, tuple(sides), moves,
            room, covers,
        )  # fmt: skip

    def place(self, site: Site, env: Env) -> tuple[tuple[Value, ...], int, bool]:
        """Where a site lies: numbers of elements that are added to where its buffer begins, how many lanes have places
        of their own, and whether these are scattered. Other lanes lie in a row.
        """
        b = self.b
        parts = self.parts(site.constant, site.terms, env)
        dynamic, scattered = list[Value](), site.step not in (0, 1)
        for index, stride in site.dynamic:
            value = self.value(index, env)
            scattered = scattered or value.lanes > 0
            dynamic.append(value if stride == 1 else b.compute("mul", INT64, (value, b.whole(stride))))
        own = bool(self.lanes and (site.step or scattered))
        if not (dynamic or (own and scattered) or not 0 <= parts[1].data < self.schedule.layouts[site.buffer].size):
            return parts, self.lanes if own else 0, False
        outer, constant, inner = parts
        offset = self.total(outer, inner, constant, *dynamic)
        if not (own and scattered):
            return (offset,), self.lanes if own else 0, False
        offset = b.add(offset, b.steps(0, site.step, self.lanes)) if site.step else offset
        return (b.splat(offset, self.lanes),), self.lanes, True

    def address(self, site: Site, *offsets: Value) -> Value:
        """The address of a place, or of one for each lane: so many elements, one number after the other, behind where
        the buffer begins.
        """
        address, zero = self.b.start(site.buffer, site.begin), self.b.whole(0)
        for offset in offsets:
            if offset is not zero:
                address = self.b.make("address", site.buffer.dtype, offset.lanes, address, offset)
        return address

    def guard(self, site: Site, env: Env) -> Value | None:
        """Whether the guards hold, in each lane; None if they always do, a constant if never."""
        b, result = self.b, None
        for index, is_low, bound in site.sides:
            number = self.number(index, env)
            sides = (b.whole(bound), number) if is_low else (number, b.whole(bound))
            holds = b.compute("le" if is_low else "lt", BOOL, sides)
            if holds.op != "const":
                result = holds if result is None else b.both(result, holds)
            elif not holds.data:
                return holds
        return result

    def load(self, site: Site, env: Env, given: Sequence[Value] = ()) -> Value:
        """The element, or vector of elements; 0 where a guard does not hold."""
        b, mask = self.b, self.guard(site, env)
        if mask is not None and mask.op == "const":  # never
            return b.const(0, site.buffer.dtype)
        offsets, lanes, scattered = self.place(site, env)
        if self.mask is not None and lanes and (scattered or self.reach > site.room):
            mask = self.mask if mask is None else b.both(mask, self.mask)
        if mask is not None and not lanes:
            if not mask.lanes:  # the first element in place of one that may not be there
                safe = self.address(site, b.select(mask, self.total(*offsets), b.whole(0)))
                return b.select(mask, b.load(safe, 0, None, site.moves), b.const(0, site.buffer.dtype))
            lanes, scattered = mask.lanes, True  # the same element in each lane that the guard lets pass
            offsets = (b.splat(self.total(*offsets), lanes),)
        if mask is not None or scattered:
            mask = b.splat(b.const(True, BOOL) if mask is None else mask, lanes)
        return b.load(self.address(site, *offsets), lanes, mask, site.moves)

    def write(self, site: Site, value: Value, env: Env) -> None:
        """Store an element, or a vector of them."""
        b, mask = self.b, None
        offsets, lanes, scattered = self.place(site, env)
        if self.mask is not None and lanes and (scattered or self.reach > site.room or not site.covers):
            mask = self.mask
        if scattered and mask is None:
            mask = b.const(True, BOOL, lanes)
        b.store(self.address(site, *offsets), b.splat(value, lanes), mask)


Leaf = Callable[[Expansion, Any, Env, Sequence[Value]], Value]
Tape = list[tuple[Any, Leaf | None, DType, tuple[int, ...]]]  # operation and operands, or what a leaf is

_LEAVES: Final[dict[type, Leaf]] = {
    int: Expansion.given,
    Register: Expansion.register,
    Affine: Expansion.number,
}
_CONVERSIONS: Final = frozenset(dtype.name for dtype in DTYPES)
_EXPAND: Final[dict[type, Callable[[Expansion, Any, Env], None]]] = {
    Let: Expansion.let,
    Assign: Expansion.assign,
    Store: Expansion.store,
    Check: Expansion.check,
    Gemm: Expansion.gemm,
}


def overlaps(var: Var, step: int) -> bool:
    """Whether so many iterations at a time come out even in neither or one of whole and short batches: then the last
    round repeats some of the round before.
    """
    return var.tail is not None and bool(var.extent % step or var.tail % step)


def _depth(term: tuple[Value, int]) -> int:
    return term[0].depth
