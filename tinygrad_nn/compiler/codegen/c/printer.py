"""The kernels of a schedule as C functions, and their calls in order.

Every kernel is a function of the memory it touches: a parameter for each place, of which no two overlap. A loop whose
iterations are independent, the vector loop of the schedule, goes in steps of `@LANES`, with an inner loop over these
for every run of statements: C compilers make vectors of that, sums too, which they may not reorder by themselves. Where
small code is wanted `@LANES` is 1, and what is left is the plain loop.

Registers that live longer than one inner loop are arrays then, with an element for each lane. What is left over at the
end of such a loop goes through the same function, lane by lane.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ....errors import GraphError, message
from ....graph.scalar import Expr, walk
from ...loopir.ir import (
    TAIL,
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    expressions,
    leaves,
    statements,
)
from ...loopir.program import Region, Repeat, Span, When, spans
from ...schedule.schedule import Schedule
from .operations import HELPERS, OPERATIONS, TYPES, is_itself, literal

LANES: Final = {4: 8, 8: 4}  # of floats of so many bytes; shorter loops have none
LONG: Final = 60  # characters of an expression from which it gets a name
LINE: Final = 100  # characters
KEYWORDS: Final = frozenset(
    {
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern"),
        *("float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed"),
        *("sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while"),
        *("asm", "typeof", "main", "int32_t", "int64_t", "uint8_t", "uint32_t", "uint64_t"),
        *("alignas", "alignof", "bool", "constexpr", "false", "nullptr", "static_assert", "thread_local", "true"),
        *("and", "and_eq", "bitand", "bitor", "catch", "class", "compl", "concept", "decltype", "delete", "explicit"),
        *("export", "friend", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "operator", "or", "or_eq"),
        *("private", "protected", "public", "requires", "template", "this", "throw", "try", "typeid", "typename"),
        *("using", "virtual", "wchar_t", "xor", "xor_eq", "linux", "unix"),  # headers are for C++ too
        *("NULL", "EOF", "NAN", "INFINITY", "assert", "errno", "offsetof", "stdin", "stdout", "stderr"),
    }
)


AT: Final = "\1"  # `@` in a comment
NEXT: Final = "\n   "  # a line of a comment
RESERVED: Final = ("init", "run", "selftest", "state", "train", "ulp", "high")  # other functions of a file


@dataclass(frozen=True, slots=True)
class Source:
    """What was printed: helpers, functions of kernels, and the statements that call them. `@` is the prefix of names.

    `fails` says whether a check may end it: the statements return its number then.
    """

    helpers: tuple[str, ...]
    functions: tuple[str, ...]
    calls: tuple[str, ...]
    fails: bool


def print_c(
    schedule: Schedule,
    places: Mapping[Buffer, str],
    prefix: str = "",
    names: Mapping[Buffer, str] | None = None,
    taken: Sequence[str] = (),
) -> Source:
    """The C of a schedule whose buffers lie at these `places`, C expressions of pointers; equal ones are one place.
    `prefix` begins the names of kernels, which call buffers as `names` do. What repeats them has no `taken` name.
    """
    printer = _Printer(schedule, places, prefix, names or {}, taken)
    calls = printer.regions(schedule.program.regions, "    ")
    return Source(tuple(printer.needed()), tuple(printer.functions), tuple(calls), printer.fails)


def identifier(text: str) -> str:
    """A C identifier that looks like a text, of any characters and length."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)[:40].strip("_") or "x"
    return f"w{name}" if name[0].isdigit() else f"{name}_" if name in KEYWORDS else name


@dataclass(slots=True)
class _Names:
    """Names that were given in a function, each once."""

    given: dict[object, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def of(self, what: object, wish: str) -> str:
        """The name of a thing."""
        if what not in self.given:
            wish = name = identifier(wish)
            number = 1
            while name in self.taken:
                number += 1
                name = f"{wish}_{number}"
            self.taken.add(name)
            self.given[what] = name
        return self.given[what]


class _Printer:
    """The text so far."""

    def __init__(
        self,
        schedule: Schedule,
        places: Mapping[Buffer, str],
        prefix: str,
        words: Mapping[Buffer, str],
        taken: Sequence[str],
    ) -> None:
        self.schedule, self.places, self.prefix, self.words = schedule, places, prefix, words
        self.functions: list[str] = []
        self.fails = False
        self.names = _Names(taken={*HELPERS, *RESERVED, *taken})  # of kernels, and what repetitions count
        self.tail = "0"

    def needed(self) -> list[str]:
        """The helpers that were used, each behind those it uses."""
        used: dict[str, None] = {}
        waiting = [*reversed(_used("\n".join(self.functions)))]
        while waiting:
            name = waiting[-1]
            inner = [one for one in _used(HELPERS[name]) if one not in used and one != name]
            if name in used or not inner:
                used.setdefault(waiting.pop())
            else:
                waiting += inner
        return [HELPERS[name] for name in used]

    # ---- around the kernels ---------------------------------------------------------------------------------------

    def regions(self, regions: Sequence[Region], indent: str) -> list[str]:
        """Regions in order."""
        lines: list[str] = []
        for region in regions:
            if isinstance(region, Span):
                for kernel in self.schedule.program.kernels[region.start : region.stop]:
                    lines += [indent + line for line in self.kernel(kernel)]
                continue
            before = self.tail
            if isinstance(region, Repeat):
                var = self.names.of(region.var, region.var.name)
                count = str(int(region.var.extent)) if region.count is None else self.element(region.count)
                lines.append(f"{indent}for (int32_t {var} = 0; {var} < {count}; {var}++) {{")
                self.tail = f"({var} == {count} - 1)" if region.tail else before
            elif isinstance(region, When):
                lines.append(f"{indent}if ({self.element(region.element)} == {region.value}) {{")
                self.tail = f"({self.element(region.tail)} != 0)" if region.tail is not None else before
            lines += [*self.regions(region.body, indent + "    "), f"{indent}}}"]
            self.tail = before
        return lines

    def element(self, access: Access) -> str:
        """An integer that regions depend on."""
        index = self.place(access.buffer, [one for one in access.index if isinstance(one, Affine)], self.names)
        return f"({self.places[access.buffer]})[{index}]"

    def place(self, buffer: Buffer, index: Sequence[Affine], names: _Names) -> str:
        """Where an element lies in its buffer."""
        total = Affine()
        for one, stride in zip(index, self.schedule.layouts[buffer].strides, strict=True):
            total += one * stride
        return _number(total, names)

    def kernel(self, kernel: Kernel) -> list[str]:
        """The function of a kernel; the lines that call it."""
        name = self.names.of(kernel, self.prefix + kernel.name)
        own = _Function(self, kernel, name)
        self.functions += own.text()
        arguments = ", ".join(argument for _, argument in own.parameters)
        if not own.checks:
            return [f"@{name}({arguments});"]
        self.fails = True
        return [f"if ((code = @{name}({arguments})) != 0) return code;"]


@dataclass(slots=True)
class _Scope:
    """Where statements stand: `lane` is the name of the inner loop's variable, where there is one, and `count` of how
    many lanes there are; `wide` the registers that have an element for each lane.
    """

    lane: str = ""
    count: str = ""
    vector: Var | None = None
    wide: frozenset[Register] = frozenset()


class _Function:
    """The function of one kernel."""

    def __init__(self, printer: _Printer, kernel: Kernel, name: str) -> None:
        self.p, self.kernel, self.name = printer, kernel, name
        self.checks = any(isinstance(one, Check) for one, _ in kernel.statements)
        self.names = _Names()
        for word in (*KEYWORDS, "code"):
            self.names.taken.add(word)
        self.pointers: dict[str, str] = {}  # by place
        self.parameters: list[tuple[str, str]] = []  # declared, and what is handed over
        self.parts: list[str] = []
        self.temporaries = 0
        self._memory()
        lanes = LANES[4 if kernel.itemsize == 4 else 8]
        long = kernel.vector is not None and kernel.vector.extent >= lanes and not self.checks
        self.lanes = lanes if long else 1
        around = {var for span, around in spans(printer.schedule.program.regions) for var in around}
        found = [leaf for one, _ in kernel.statements for root in expressions(one) for leaf in leaves(root)]
        used = {var for leaf in found for index in _indices(leaf) for var, _ in index.terms}
        used |= {var for access, _, _ in kernel.accesses for index in _indices(access) for var, _ in index.terms}
        for var in (one for one in around if one in used):
            self._parameter(f"const int32_t {self.names.of(var, var.name)}", printer.names.of(var, var.name))
        if TAIL in found or any(var.tail is not None for _, own in kernel.statements for var in own):
            self._parameter(f"const int32_t {self.names.of(TAIL, 'tail')}", printer.tail)

    def _parameter(self, declared: str, argument: str) -> None:
        self.parameters.append((declared, argument))

    def _memory(self) -> None:
        """A parameter for each place, constant where nothing is written."""
        written = {self.p.places[access.buffer] for access, writes, _ in self.kernel.accesses if writes}
        for access, _, _ in self.kernel.accesses:
            place = self.p.places[access.buffer]
            if place not in self.pointers:
                wish = self.p.words.get(access.buffer, access.buffer.name)
                name = self.pointers[place] = self.names.of(("place", place), wish)
                const = "" if place in written else "const "
                self._parameter(f"{const}{TYPES[access.buffer.dtype]} *restrict {name}", place)

    def text(self) -> list[str]:
        """The function, behind those that it calls."""
        body = self.body(self.kernel.body, "    ", _Scope())
        result = "int" if self.checks else "void"
        if self.checks:
            body.append("    return 0;")
        words = set(re.findall(r"\w+", "\n".join(body)))
        self.parameters = [one for one in self.parameters if _word(one[0]) in words]
        declared = [declared for declared, _ in self.parameters]
        head = f"static {result} @{self.name}({', '.join(declared) or 'void'}) {{"
        return [*self.parts, "\n".join([remark(origins(self.kernel)), head, *body, "}"])]

    # ---- statements -----------------------------------------------------------------------------------------------

    def body(self, body: Sequence[Statement], indent: str, scope: _Scope) -> list[str]:
        """Statements in order; in a loop of lanes those that are no loops in runs, each with an inner loop."""
        lines: list[str] = []
        run: list[Statement] = []
        for one in body:
            if not isinstance(one, Loop):
                run.append(one)
                continue
            lines += self.run(run, indent, scope)
            run = []
            lines += self.vector_loop(one, indent) if self._is_wide(one) else self.loop(one, indent, scope)
        return [*lines, *self.run(run, indent, scope)]

    def _is_wide(self, loop: Loop) -> bool:
        return self.lanes > 1 and loop.var is self.kernel.vector

    def loop(self, loop: Loop, indent: str, scope: _Scope) -> list[str]:
        """A loop as it stands."""
        var = self.names.of(loop.var, loop.var.name)
        rolled = "@ROLLED " if scope.lane and not scope.wide.isdisjoint(_folded(loop)) else ""
        before, stop = self.stop(loop, indent) if rolled else ([], self.extent(loop.var))
        head = f"{indent}{rolled}for (int32_t {var} = 0; {var} < {stop}; {var}++) {{"
        return [*before, head, *self.body(loop.body, indent + "    ", scope), f"{indent}}}"]

    def extent(self, var: Var) -> str:
        """How many iterations a loop has."""
        if var.tail is None:
            return str(int(var.extent))
        return f"({self.names.of(TAIL, 'tail')} ? {var.tail} : {var.extent})"

    def stop(self, loop: Loop, indent: str) -> tuple[list[str], str]:
        """The same as one name or number, which loops with an advice for compilers need, and the line that makes it."""
        if loop.var.tail is None:
            return [], self.extent(loop.var)
        name = self.names.of((loop, "stop"), "stop")
        return [f"{indent}const int32_t {name} = {self.extent(loop.var)};"], name

    def run(self, run: Sequence[Statement], indent: str, scope: _Scope) -> list[str]:
        """Statements that are no loops; those of lanes in a loop over them."""
        if not run:
            return []
        if not scope.lane:
            return [indent + line for one in run for line in self.statement(one, scope)]
        inner = [indent + "    " + line for one in run for line in self.statement(one, scope)]
        arrays = [
            f"{indent}{TYPES[one.register.dtype]} {self.names.of(one.register, one.register.name)}[@LANES{self.size}];"
            for one in run
            if isinstance(one, Let) and one.register in scope.wide
        ]
        lane = scope.lane
        return [
            *arrays,
            f"{indent}@LANE for (int32_t {lane} = 0; {lane} < {scope.count}; {lane}++) {{",
            *inner,
            f"{indent}}}",
        ]

    @property
    def size(self) -> int:
        """Bytes of the kernel's floats, which say how many lanes there are."""
        return 4 if self.kernel.itemsize == 4 else 8

    def statement(self, one: Statement, scope: _Scope) -> list[str]:
        """A statement as lines."""
        lines: list[str] = []
        if isinstance(one, Let):
            value = self.value(one.value, lines, scope)
            name = self.register(one.register, scope)
            kind = "" if one.register in scope.wide else TYPES[one.register.dtype] + " "
            return [*lines, f"{kind}{name} = {value};"]
        if isinstance(one, Assign):
            changed = self.assigned(one, self.register(one.register, scope), lines, scope)
            return [*lines, changed]
        if isinstance(one, Store):
            value = self.value(one.value, lines, scope)
            target = self.access(one.target, lines, scope)
            return [*lines, f"{target} {'+=' if one.add else '='} {value};"]
        if isinstance(one, Check):
            holds = self.value(one.condition, lines, scope)
            return [*lines, f"if (!{holds}) return {one.code};"]
        raise GraphError(
            message("c", f"a {type(one).__name__}", "loops of our own", "compile for a target without a BLAS")
        )

    def assigned(self, one: Assign, name: str, lines: list[str], scope: _Scope) -> str:
        """A register that changes. What is added to a sum may be rounded by itself."""
        value = one.value
        if value.op == "fma" and value.args[2].value is one.register:
            x, y = (self.value(arg, lines, scope) for arg in value.args[:2])
            kind = "f32" if value.dtype.itemsize == 4 else "f64"
            return f"{name} = @muladd_{kind}({x}, {y}, {name});"
        return f"{name} = {self.value(value, lines, scope)};"

    def register(self, register: Register, scope: _Scope) -> str:
        """A register, that of a lane where each has its own."""
        if register is TAIL:
            return self.names.of(TAIL, "tail")
        name = self.names.of(register, register.name)
        return f"{name}[{scope.lane}]" if register in scope.wide else name

    # ---- loops over lanes -----------------------------------------------------------------------------------------

    def vector_loop(self, loop: Loop, indent: str) -> list[str]:
        """The loop in steps, by a function for one step; registers from outside are folded lane by lane."""
        folded = _folded(loop)
        number, name = len(self.parts) + 1, self.name
        part = f"@{name}_lanes" + (f"{number}" if number > 1 else "")
        lane, count = self.names.of((loop, "lane"), "lane"), self.names.of((loop, "count"), "lanes")
        wide = frozenset(folded) | self.crossing(loop.body)
        scope = _Scope(lane, count, loop.var, wide)
        body = self.body(loop.body, "    ", scope)
        words = set(re.findall(r"\w+", "\n".join(body)))
        given = [(declared, one) for declared, one in self.given(loop, folded) if _word(declared) in words]
        var = self.names.of(loop.var, loop.var.name)
        parameters = [f"const int32_t {var}", f"const int32_t {count}", *(one for one, _ in given)]
        self.parts.append("\n".join([f"@INLINE void {part}({', '.join(parameters)}) {{", *body, "}"]))
        arguments = "".join(f", {one}" for _, one in given)
        wide_lanes = f"@LANES{self.size}"
        lines, after = self.folds(folded, indent, lane)
        before, stop = self.stop(loop, indent)
        lines += [
            *before,
            f"{indent}int32_t {var} = 0;",
            f"{indent}@ROLLED for (; {var} + {wide_lanes} <= {stop}; {var} += {wide_lanes})",
            f"{indent}    {part}({var}, {wide_lanes}{arguments});",
        ]
        rest = self.lanes if loop.var.tail is not None else loop.var.extent % self.lanes
        if rest:
            half = f"{wide_lanes} / 2"
            lines.append(f"{indent}if ({wide_lanes} > 1) {{")
            if rest >= self.lanes // 2:
                lines.append(f"{indent}    for (; {var} + {half} <= {stop}; {var} += {half})")
                lines.append(f"{indent}        {part}({var}, {half}{arguments});")
            if rest != self.lanes // 2:
                lines.append(f"{indent}    for (; {var} < {stop}; {var}++)")
                lines.append(f"{indent}        {part}({var}, 1{arguments});")
            lines.append(f"{indent}}}")
        return [f"{indent}{{", *("    " + line for line in (*lines, *after)), f"{indent}}}"]

    def crossing(self, body: Sequence[Statement]) -> frozenset[Register]:
        """The registers that begin in a body and are used in another run of statements than that they begin in."""
        number, home, found = 0, dict[Register, int](), set[Register]()
        waiting: list[Statement | None] = [*reversed(body)]
        while waiting:
            one = waiting.pop()
            if one is None:
                number += 1
            elif isinstance(one, Loop):
                number += 1
                waiting += [None, *reversed(one.body)]
            else:
                if isinstance(one, Let):
                    home[one.register] = number
                touched = [leaf for root in expressions(one) for leaf in leaves(root) if isinstance(leaf, Register)]
                touched += [one.register] if isinstance(one, Assign) else []
                found |= {register for register in touched if home.get(register, number) != number}
        return frozenset(found)

    def given(self, loop: Loop, folded: Sequence[Register]) -> list[tuple[str, str]]:
        """What the function of a step may use: declarations, and what is handed over. All memory, the variables of
        loops around it, and registers.
        """
        found = [(declared, _word(declared)) for declared, _ in self.parameters]
        around = next(own for one, own in self.kernel.statements if loop.var in own)
        for var in around[: around.index(loop.var)]:
            name = self.names.of(var, var.name)
            found.append((f"const int32_t {name}", name))
        inside = [one for one, _ in statements(loop.body)]
        begun = {one.register for one in inside if isinstance(one, Let)}
        read = [
            leaf for one in inside for root in expressions(one) for leaf in leaves(root) if isinstance(leaf, Register)
        ]
        for register in dict.fromkeys(read):
            if register not in begun and register not in folded and register is not TAIL:
                name = self.names.of(register, register.name)
                found.append((f"const {TYPES[register.dtype]} {name}", name))
        for register in folded:
            name = self.names.of(register, register.name)
            found.append((f"{TYPES[register.dtype]} *restrict {name}", f"{name}_lanes"))
        return found

    def folds(self, folded: Sequence[Register], indent: str, lane: str) -> tuple[list[str], list[str]]:
        """An array of each register's lanes before a loop, and what they come to after it."""
        before: list[str] = []
        after: list[str] = []
        for register in folded:
            name = self.names.of(register, register.name)
            begin: list[str] = []
            identity = literal(register.dtype.type(register.identity), register.dtype)
            before.append(f"{indent}{TYPES[register.dtype]} {name}_lanes[@LANES{self.size}];")
            each = f"{indent}for (int32_t {lane} = 0; {lane} < @LANES{self.size}; {lane}++)"
            before.append(f"{each} {name}_lanes[{lane}] = {identity};")
            if register.combine is None:
                raise GraphError(message("c", f"a sum {register} that has no combine"))
            half = self.names.of((register, "half"), "half")
            two = [Expr("param", (), register.dtype, Lane(register, at)) for at in (lane, f"{lane} + {half}")]
            value = self.value(register.combine(*two), begin, _Scope())
            after.append(f"{indent}for (int32_t {half} = @LANES{self.size} / 2; {half} > 0; {half} /= 2)")
            after.append(f"{indent}    for (int32_t {lane} = 0; {lane} < {half}; {lane}++) {{")
            after += [f"{indent}        {line}" for line in (*begin, f"{name}_lanes[{lane}] = {value};")]
            after.append(f"{indent}    }}")
            own = Expr("param", (), register.dtype, register), Expr("param", (), register.dtype, Lane(register, "0"))
            end: list[str] = []
            value = self.value(register.combine(*own), end, _Scope())
            after += [f"{indent}{line}" for line in (*end, f"{name} = {value};")]
        return before, after

    # ---- values ---------------------------------------------------------------------------------------------------

    def value(self, root: Expr, lines: list[str], scope: _Scope) -> str:
        """The C of an expression; what is long or used more than once gets a name first."""
        nodes = walk(root)
        uses = dict.fromkeys(nodes, 0)
        for node in reversed(nodes):
            for arg in () if is_itself(node) or not (node is root or uses[node]) else node.args:
                uses[arg] += 1
        # What C may leave undone is done before, so that compilers see no branches in a loop over lanes.
        chosen = {arg for node in nodes if scope.lane and node.op == "where" for arg in node.args[1:]}
        texts: dict[Expr, str] = {}
        for node in nodes:
            if node.op == "const":
                texts[node] = literal(node.value, node.dtype)
                continue
            if node.op == "param":
                texts[node] = self.leaf(node.value, lines, scope)
                simple = not isinstance(node.value, Access)
            else:
                texts[node] = OPERATIONS[node.op](node, [texts[arg] for arg in node.args])
                simple = False
            if (
                node is not root
                and not simple
                and uses[node]
                and (uses[node] > 1 or len(texts[node]) > LONG or node in chosen)
            ):
                kind = "int" if node.dtype.kind == "b" else TYPES[node.dtype]
                self.temporaries += 1
                name = self.names.of(("temporary", self.temporaries), f"t{self.temporaries}")
                lines.append(f"const {kind} {name} = {texts[node]};")
                texts[node] = name
        return texts[root]

    def leaf(self, leaf: object, lines: list[str], scope: _Scope) -> str:
        """A register, an index as a number, or an element."""
        if isinstance(leaf, Register):
            return self.register(leaf, scope)
        if isinstance(leaf, Lane):
            return f"{self.names.of(leaf.register, leaf.register.name)}_lanes[{leaf.lane}]"
        if isinstance(leaf, Affine):
            return f"({self.number(leaf, scope)})"
        if not isinstance(leaf, Access):
            raise GraphError(message("c", f"{leaf!r} in an expression"))
        text = self.access(leaf, lines, scope)
        sides = []
        for guard in leaf.guards:
            low, high = guard.index.bounds()
            number = self.number(guard.index, scope)
            sides += [f"{number} >= {guard.low}"] if low < guard.low else []
            sides += [f"{number} < {guard.high}"] if high >= guard.high else []
        return f"({' && '.join(sides)} ? {text} : 0)" if sides else text

    def access(self, access: Access, lines: list[str], scope: _Scope) -> str:
        """An element."""
        total, parts = Affine(), []
        for one, stride in zip(access.index, self.p.schedule.layouts[access.buffer].strides, strict=True):
            if isinstance(one, Affine):
                total += one * stride
            else:
                number = self.value(one, lines, scope)
                parts.append(number if stride == 1 else f"{number} * {stride}")
        fixed = self.number(total, scope)
        index = " + ".join([*parts, *([fixed] if fixed != "0" or not parts else [])])
        return f"{self.pointers[self.p.places[access.buffer]]}[{index}]"

    def number(self, index: Affine, scope: _Scope) -> str:
        """An index; in a loop of lanes that of the lane."""
        text = _number(index, self.names)
        factor = index.coefficient(scope.vector) if scope.vector is not None and scope.lane else 0
        if not factor:
            return text
        return f"{text} + {scope.lane}" if factor == 1 else f"{text} + {factor} * {scope.lane}"


@dataclass(frozen=True, slots=True)
class Lane:
    """The lane of a register that is folded."""

    register: Register
    lane: str


def _indices(leaf: object) -> list[Affine]:
    if isinstance(leaf, Affine):
        return [leaf]
    if not isinstance(leaf, Access):
        return []
    return [one for one in leaf.index if isinstance(one, Affine)] + [guard.index for guard in leaf.guards]


def _number(index: Affine, names: _Names) -> str:
    parts = [names.of(var, var.name) if c == 1 else f"{c} * {names.of(var, var.name)}" for var, c in index.terms]
    parts += [str(index.offset)] if index.offset or not parts else []
    return " + ".join(parts).replace("+ -", "- ")


def _folded(loop: Loop) -> list[Register]:
    """The registers from outside that a loop changes."""
    inside = [one for one, _ in statements(loop.body)]
    begun = {one.register for one in inside if isinstance(one, Let)}
    changed = dict.fromkeys(one.register for one in inside if isinstance(one, Assign))
    return [register for register in changed if register not in begun]


def _word(declared: str) -> str:
    """The name of what is declared."""
    return declared.split()[-1].removeprefix("*")


def _used(text: str) -> list[str]:
    return [name for name in dict.fromkeys(re.findall(r"@(\w+)", text)) if name in HELPERS]


def comment(text: str) -> str:
    """A text that stays inside of a comment, with `AT` for what is else the prefix of names."""
    plain = re.sub(r"[^ -~]", "?", text).replace("\\", "/").replace("@", AT)
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def remark(lines: Sequence[str]) -> str:
    """Lines as a comment."""
    return f"/* {NEXT.join(comment(line[: LINE - 6]) for line in lines)} */"


def origins(kernel: Kernel) -> list[str]:
    """Where a kernel comes from: modules and lines, and then what is computed."""
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    for place in kernel.origins.values():
        found.setdefault((place.where, place.role, place.text), {}).setdefault(place.owner)
    lines: list[str] = []
    for (where, role, text), owners in found.items():
        words = [*filter(None, owners), where, *([role] if role != "forward" else [])]
        lines.append(", ".join(filter(None, words)) + (f": {text}" if text else ""))
    return [*lines, f"computes {', '.join(kernel.sources)}"]


def wrapped(text: str) -> str:
    """The same text in lines of `LINE` characters, as far as they can be broken."""
    lines: list[str] = []
    for line in text.split("\n"):
        own = " " * (len(line) - len(line.lstrip()) + 8)
        while len(line) > LINE and not line.startswith("#"):
            begin = len(line) - len(line.lstrip())
            at = line.rfind(", ", begin, LINE) + 1 or line.rfind(" ", begin, LINE)
            if at <= begin:
                break
            lines.append(line[:at])
            line = own + line[at:].lstrip()
        lines.append(line)
    return "\n".join(lines)
