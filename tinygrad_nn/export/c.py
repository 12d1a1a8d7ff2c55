"""C99: a model, and the step that trains it, as one source and one header that need `<stdint.h>` and nothing else.

The source has no state of its own. Weights are constants, or, where a step changes them, fields of `NAME_state`, which
`NAME_init` fills. What is computed in between lies in the same struct, in an array for each type, so the caller says
where memory is and how long it lives. A function returns 0, or the number of the check that did not hold, a label or
an index out of range; nothing was changed then.

With the same flags for the machine GCC makes the same bits of it at -O0 to -O3. -Os has no lanes, so long sums are
rounded in another order; a machine with fused products rounds them once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..compiler.codegen.c.operations import TYPES, literal
from ..compiler.codegen.c.printer import AT, LINE, Source, comment, identifier, print_c, wrapped
from ..compiler.driver import build
from ..compiler.loopir.ir import Buffer
from ..compiler.schedule.schedule import Schedule
from ..compiler.target import Target
from ..errors import ExportError, message
from ..graph.graph import Array, DType, Node
from ..graph.scalar import BOOL, FLOAT32, FLOAT64, INT32, INT64
from ..support.files import write_together
from ..support.settings import shown
from .folding import folded
from .model import Exported, c_names, epoch_of, exported, flag, numbered, prefix_of, target_of, whole

_NOT_INCLUDED: Final = re.compile(r'[\x00-\x1f\x7f"\\\ud800-\udfff]|\?\?')
GOLDEN: Final = 10_000  # inputs at most
C: Final = Target("c", "", "", 32, True, plain=True)  # the width of vectors that the loops are made for
ROOM: Final[Mapping[DType, str]] = {BOOL: "b8", INT32: "i32", INT64: "i64", FLOAT32: "f32", FLOAT64: "f64"}
LIMIT: Final = 2**31 - 1  # elements that an index of C's counts

HEAD: Final = """#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize ("no-tree-loop-distribute-patterns") /* no calls of memset and its like */
#pragma GCC optimize ("no-trapping-math") /* what is not needed may be calculated too: that makes vectors */
#pragma GCC optimize ("fp-contract=off") /* a product and a sum are rounded each, whatever -std says */
#endif
#if defined(__GNUC__)
#define @INLINE static inline __attribute__((always_inline))
#else
#define @INLINE static inline
#endif
#if defined(__clang__) && !defined(__OPTIMIZE_SIZE__)
#define @LANE /* numbers side by side, which are found to be a vector */
#define @ROLLED _Pragma("clang loop unroll(disable)") /* where sums stay in registers from round to round */
#elif defined(__GNUC__) && !defined(__OPTIMIZE_SIZE__)
#define @LANE _Pragma("GCC unroll 1") /* a vector, not so many numbers */
#define @ROLLED _Pragma("GCC unroll 1")
#else
#define @LANE
#define @ROLLED
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif
/* Loops go in steps of so many elements of 4 and of 8 bytes, which compilers make vectors of. */
#ifdef __OPTIMIZE_SIZE__
#define @LANES4 1
#define @LANES8 1
#else
#define @LANES4 8
#define @LANES8 4
#endif
#define @INF (1.0 / 0.0)
#define @NAN (0.0 / 0.0)
#define @INFf (1.0f / 0.0f)
#define @NANf (0.0f / 0.0f)"""

ULP: Final = """
/* How far results lie from those expected, in units of the last digit of the largest of these. */
static int32_t @ulp_{S}(const {T} *got, const {T} *expected, int32_t n) {{
    {T} top = {tiny}, most = 0;
    for (int32_t k = 0; k < n; k++) {{
        const {T} size = expected[k] < 0 ? -expected[k] : expected[k];
        if (size > top && size - size == 0) top = size;
    }}
    for (int32_t k = 0; k < n; k++) {{
        const {T} apart = (got[k] < expected[k] ? expected[k] - got[k] : got[k] - expected[k]) / (top * {eps});
        if (got[k] == expected[k] || (got[k] != got[k] && expected[k] != expected[k])) continue;
        if (!(apart < 1000000000)) return 2147483647;
        if (apart > most) most = apart;
    }}
    return (int32_t)most;
}}"""
EXACT: Final = """
static int32_t @ulp_{S}(const {T} *got, const {T} *expected, int32_t n) {{
    for (int32_t k = 0; k < n; k++) if (got[k] != expected[k]) return 2147483647;
    return 0;
}}"""
COMPARE: Final[Mapping[DType, str]] = {
    FLOAT32: ULP.format(S="f32", T="float", eps="0x1p-23f", tiny="0x1p-100f"),
    FLOAT64: ULP.format(S="f64", T="double", eps="0x1p-52", tiny="0x1p-900"),
    **{dtype: EXACT.format(S=ROOM[dtype], T=TYPES[dtype]) for dtype in (BOOL, INT32, INT64)},
}


def c(
    f: Any,
    *example: Any,
    path: Any,
    name: str = "model",
    train: Sequence[Any] | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    golden: int = 8,
    fold: bool = False,
) -> Path:
    """Write a module, a function or a jitted step as C99: `path`, or `NAME.c` in that folder, and its header beside it.

    The shapes of the C function are those of `example`, the arguments of `f`. With `train=(step, *batch)` the weights
    are state: `NAME_train` does one update, `NAME_run` reads them. With a `batch_size` it does an epoch of as many rows
    as `train` has, in the order of the argument `order` (int32, each row once; without `shuffle` as they lie), and
    leaves the mean of what the step returns, as `tg.fit` has it in its history.

    So many `golden` inputs and results are inside, with which `NAME_selftest()` compares. `fold` makes a scaler in
    front part of the first linear layer, which changes roundings: results are those of the model with the new weights.
    Returns the path. Raises ExportError, and FileError where it cannot be written.

    >>> import tempfile
    >>> from tinygrad_nn import nn
    >>> target = c(nn.Linear(2, 1), np.zeros((3, 2)), path=Path(tempfile.mkdtemp()) / "line.c")
    >>> target.with_suffix(".h").read_text().count("int model_run(const float *")
    1
    """
    own = prefix_of("export.c", name)
    target = target_of("export.c", path, f"{own}.c")
    if _NOT_INCLUDED.search(target.stem):
        got, expected = f"the file {shown(target.name)}", "a name that C includes: no quotes, backslashes or ??"
        raise ExportError(message("export.c", got, expected))
    golden, shuffle = whole("export.c", "golden", golden, 0, GOLDEN), flag("export.c", "shuffle", shuffle)
    if flag("export.c", "fold", fold) and train is not None:
        raise ExportError(message("export.c", "fold=True beside train=", "one of them: training changes the weights"))
    parts = {"run": exported("export.c", folded("export.c", f) if fold else f, example)}
    if parts["run"].state:
        parts = {"train": parts["run"]}
    if train is not None:
        if not isinstance(train, Sequence) or not train or "train" in parts:
            raise ExportError(message("export.c", f"train={shown(train)}", "(step, *batch), beside a model"))
        if batch_size is None:
            parts["train"] = exported("export.c", train[0], train[1:])
        else:
            parts["train"] = epoch_of("export.c", train[0], train[1:], batch_size, shuffle)
    elif batch_size is not None:
        raise ExportError(message("export.c", f"batch_size={shown(batch_size)} without train=(step, *data)"))
    if "train" in parts and not parts["train"].state:
        raise ExportError(
            message("export.c", "a step that changes nothing", "one that trains: loss.backward(), opt.step()")
        )
    file = _File(parts, own, golden, "The scaler in front is part of the first layer's weights. " if fold else "")
    texts = ((target.with_suffix(".h"), file.header()), (target, file.source(f"{target.stem}.h")))
    write_together([(one, text.encode()) for one, text in texts], "export.c")
    return target


@dataclass(frozen=True, slots=True)
class _Field:
    """An array of the state: its C name, type and size, and what it begins with."""

    name: str
    dtype: DType
    size: int
    beginning: Array | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A function whose buffers have places: C expressions; its constants; the elements of each type that it needs for
    what lies in between; and the results that have to be copied, with where they are.
    """

    part: Exported
    printed: Source
    constants: Mapping[str, Array]
    room: Mapping[DType, int]
    copies: Mapping[str, tuple[str, int]]


class _File:
    """The two texts, from functions by their names (`run`, `train`) that work on one state."""

    def __init__(self, parts: Mapping[str, Exported], name: str, golden: int, remark: str) -> None:
        self.name, self.golden, self.remark = name, golden, remark
        taken = {*ROOM.values()}
        state = {id(one.handle): one for part in parts.values() for one in part.state}
        self.fields = {
            key: _Field(
                numbered(identifier(one.name), taken),
                one.value.dtype,
                one.value.size,
                one.value,
                f"{one.name[:40]} {list(one.value.shape)}",
            )
            for key, one in state.items()
        }
        self.functions = {kind: self._placed(kind, part) for kind, part in parts.items()}
        room: dict[DType, int] = {}
        for placed in self.functions.values():
            for dtype, size in placed.room.items():
                room[dtype] = max(size, room.get(dtype, 0))
        between = "what lies between two functions"
        self.room = [_Field(ROOM[dtype], dtype, size, None, between) for dtype, size in room.items() if size]

    @property
    def bytes(self) -> int:
        """Of the state, without what a compiler puts between its fields."""
        return sum(one.size * one.dtype.itemsize for one in (*self.fields.values(), *self.room))

    @property
    def bound(self) -> int:
        """How far a result may lie from Python's: two units for each function and sum on the way, each time; and four
        times as far as results move where inputs and weights do by one unit.
        """
        parts = [placed.part for placed in self.functions.values()]
        most = max(sum(node.op.error is not None for node in part.graph.nodes) for part in parts)
        moved = max(_moved(part, case) for part in parts for case in _cases_like(part, self.golden))
        rounds = max(part.epoch.rounds if part.epoch is not None else 1 for part in parts)
        return 2 + (2 * most * rounds + 4 * moved) * (max(1, self.golden) if "train" in self.functions else 1)

    # ---- places ---------------------------------------------------------------------------------------------------

    def _placed(self, kind: str, part: Exported) -> _Placed:
        made = build(part.job, C, last="schedule")
        planned, program = made.schedule, made.schedule.program
        large = next((b for b in program.buffers if planned.layouts[b].size > LIMIT), None)
        if large is not None:
            raise ExportError(message("export.c", f"an array of shape {large.shape}", f"at most {LIMIT:,} elements"))
        given = c_names(self.name, (*part.arguments, *part.results))
        arguments, results = given[: len(part.arguments)], given[len(part.arguments) :]
        pieces = _pieces(planned)
        known: dict[int, str] = {}  # what a piece of memory is, by its number
        constants: dict[str, Array] = {}
        takes, gives, reached = part.buffers(made)
        for argument, buffer in zip(arguments, takes, strict=True):
            known[pieces[buffer][0]] = argument
        for one, buffer in zip(part.reached, reached, strict=True):
            piece = pieces[buffer][0]
            if id(one.handle) in self.fields:
                known[piece] = f"s->{self.fields[id(one.handle)].name}"
                continue
            constant = known[piece] = f"@{kind}_{identifier(one.name)}_{len(constants)}"
            constants[constant] = one.value.reshape(-1)
        for buffer in planned.constants:
            constant = known[pieces[buffer][0]] = f"@{kind}_{identifier(buffer.name)}_{len(constants)}"
            constants[constant] = _laid_out(planned, buffer)
        residents: dict[int, set[Buffer]] = {}
        for buffer, (piece, _) in pieces.items():
            residents.setdefault(piece, set()).add(buffer.base or buffer)
        copies: dict[str, tuple[str, int]] = {}
        late: list[tuple[str, Buffer]] = []
        for result, buffer in zip(results, gives, strict=True):
            piece = pieces[buffer][0]
            if piece not in known and (part.epoch or residents[piece] == {buffer.base or buffer}):
                known[piece] = result
            else:
                late.append((result, buffer))
        room: dict[DType, int] = {}
        sizes = _sizes(planned, pieces)
        for piece, (dtype, size) in sizes.items():
            if piece not in known:
                known[piece] = f"s->{ROOM[dtype]} + {room.get(dtype, 0)}"
                room[dtype] = room.get(dtype, 0) + size
        places = {
            buffer: known[piece] if not offset else f"{known[piece]} + {offset}"
            for buffer, (piece, offset) in pieces.items()
        }
        for result, buffer in late:
            copies[result] = places[buffer], prod(buffer.shape)
        told = {places[buffer]: one.name for one, buffer in zip(part.reached, reached, strict=True)}
        told |= {one: one for one in given}
        nodes = dict(enumerate(made.graph.nodes))
        words = {buffer: told.get(places[buffer]) or _called(buffer, nodes) for buffer in program.buffers}
        printed = print_c(planned, places, f"{kind}_", words, given)
        return _Placed(part, printed, constants, room, copies)

    # ---- texts ----------------------------------------------------------------------------------------------------

    def signature(self, kind: str, placed: _Placed) -> str:
        """The declaration of a function."""
        part = placed.part
        names = iter(c_names(self.name, (*part.arguments, *part.results)))
        parameters = [
            f"{const}{TYPES[dtype]} *{next(names)}"
            for const, arrays in (("const ", part.takes), ("", part.gives))
            for _, dtype, _ in arrays
        ]
        return f"int @{kind}({', '.join([*parameters, '@state *s'])})"

    def header(self) -> str:
        """What callers read."""
        guard = f"{self.name.upper()}_H"
        lines = [f"/* Made by tinygrad_nn. {self.remark}*/"]
        lines += [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
        lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
        lines.append(f"#define {self.name.upper()}_ARENA_BYTES {self.bytes} /* memory that a call needs: @state */")
        if self.golden:
            lines.append(f"#define {self.name.upper()}_ULP {self.bound} /* what @selftest() returns at most */")
        own = [
            f"    {TYPES[one.dtype]} {one.name}[{one.size}]; /* {comment(one.comment)} */"
            for one in (*self.fields.values(), *self.room)
        ]
        lines += ["", "typedef struct {", *(own or ["    uint8_t none;"]), "} @state;", ""]
        if self.fields:
            lines += ["/* Weights and all other state as they were in Python. */", "void @init(@state *s);", ""]
        for kind, placed in self.functions.items():
            lines += [f"/* {self._described(placed)}{self._origin(placed)} Returns 0, or the number of a check. */"]
            lines += [f"{self.signature(kind, placed)};", ""]
        if self.golden:
            lines += ["/* The largest distance from Python's results, in units of their last digit. */"]
            lines += ["int32_t @selftest(void);", ""]
        lines += ["#ifdef __cplusplus", "}", "#endif", "", "#endif", ""]
        return self._named("\n".join(lines))

    def _described(self, placed: _Placed) -> str:
        part, epoch = placed.part, placed.part.epoch
        takes, gives = (
            ", ".join(f"{identifier(one)} {dtype.name} {list(map(int, shape))}" for one, dtype, shape in arrays)
            for arrays in (part.takes, part.gives)
        )
        words = f"{takes} -> {gives}."
        if epoch is not None:
            rows = ", ".join(str(one.batches.rows) for one in epoch.job.traces if one.batches is not None)
            words += f" One epoch: {epoch.rounds} updates, of batches of {rows} rows; one that fails is the last."
        return words

    def _origin(self, placed: _Placed) -> str:
        return f" From {comment(placed.part.place)}." if placed.part.place else ""

    def source(self, header: str) -> str:
        """What is compiled."""
        told = "Constants, a function for each kernel, and what the header declares."
        text = [f'/* Made by tinygrad_nn. {self.remark}{told} */\n#include "{_quoted(header)}"', HEAD]
        helpers = dict.fromkeys(one for placed in self.functions.values() for one in placed.printed.helpers)
        text += helpers
        for placed in self.functions.values():
            text += [_array(f"static const {TYPES[v.dtype]} {k}", v) for k, v in placed.constants.items()]
        if self.fields:
            text += self._init()
        for kind, placed in self.functions.items():
            text += [*placed.printed.functions, self._entry(kind, placed)]
        if self.golden:
            text += self._selftest()
        return self._named("\n\n".join([*text, ""]))

    def _named(self, text: str) -> str:
        """A text with the prefix of all names."""
        return wrapped(text.replace("@", f"{self.name}_").replace(AT, "@"))

    def _init(self) -> Iterator[str]:
        lines = ["void @init(@state *s) {"]
        for one in self.fields.values():
            if one.beginning is None:
                continue
            yield _array(f"static const {TYPES[one.dtype]} @begin_{one.name}", one.beginning.reshape(-1))
            lines.append(f"    for (int32_t k = 0; k < {one.size}; k++) s->{one.name}[k] = @begin_{one.name}[k];")
        yield "\n".join([*lines, "}"])

    def _entry(self, kind: str, placed: _Placed) -> str:
        lines = [f"{self.signature(kind, placed)} {{"]
        lines += ["    int code;"] if placed.printed.fails else []
        lines += ["    (void)s;", *placed.printed.calls]
        for result, (place, size) in placed.copies.items():
            lines.append(f"    for (int32_t k = 0; k < {size}; k++) {result}[k] = ({place})[k];")
        return "\n".join([*lines, "    return 0;", "}"])

    def _selftest(self) -> Iterator[str]:
        used: dict[DType, None] = {}
        lines = [
            "int32_t @selftest(void) {",
            "    static const int32_t failed = 2147483647;",
            "    int32_t most = 0, one;",
        ]
        lines += ["    @state s;"]
        lines += ["    @init(&s);"] if self.fields else []
        for kind, placed in self.functions.items():
            inputs, results = self._cases(kind, placed)
            given, found = list[str](), list[str]()
            for k, rows in enumerate(zip(*inputs, strict=True)):
                same = all(row is rows[0] for row in rows)
                yield _table(f"static const {TYPES[rows[0].dtype]} @{kind}_in{k}", rows[:1] if same else rows)
                given.append(f"@{kind}_in{k}[{0 if same else 'k'}]")
            lines.append(f"    for (int32_t k = 0; k < {self.golden}; k++) {{")
            compared = list[str]()
            for k, rows in enumerate(zip(*results, strict=True)):
                dtype, size = rows[0].dtype, rows[0].size
                used[dtype] = None
                yield _table(f"static const {TYPES[dtype]} @{kind}_out{k}", rows)
                lines.append(f"        {TYPES[dtype]} out{k}[{max(size, 1)}] = {{0}};")
                found.append(f"out{k}")
                compared += [f"        one = @ulp_{ROOM[dtype]}(out{k}, @{kind}_out{k}[k], {size});"]
                compared += ["        if (one > most) most = one;"]
            call = ", ".join([*given, *found, "&s"])
            lines += [f"        if (@{kind}({call}) != 0) return failed;", *compared, "    }"]
        yield from (COMPARE[dtype].strip() for dtype in used)
        yield "\n".join([*lines, "    return most;", "}"])
        yield "\n".join(
            [
                f"#ifdef {self.name.upper()}_MAIN",
                "int main(void) {",
                f"    return @selftest() <= {self.name.upper()}_ULP ? 0 : 1;",
                "}",
                "#endif",
            ]
        )

    def _cases(self, kind: str, placed: _Placed) -> tuple[list[tuple[Array, ...]], list[tuple[Array, ...]]]:
        """Inputs like the example, and what NumPy makes of them; each update works on what the one before left."""
        part = placed.part
        values = [one.value for one in part.reached]
        inputs: list[tuple[Array, ...]] = []
        results: list[tuple[Array, ...]] = []
        for case in _cases_like(part, self.golden)[: self.golden]:
            outputs, updates = part.call(case, values)
            if kind == "train":
                changed = iter(updates)
                values = [next(changed) if one.changes else v for one, v in zip(part.reached, values, strict=True)]
            inputs.append(case)
            results.append(tuple(outputs))
        return inputs, results


def _cases_like(part: Exported, count: int) -> list[tuple[Array, ...]]:
    """The example, and so many inputs with it that are like it; of an epoch the same data in other orders."""
    rng = np.random.default_rng(0)
    if part.epoch is None:
        return [part.example, *(_alike(part.example, rng) for _ in range(1, count))]
    if not part.epoch.shuffle:
        return [part.example] * max(1, count)
    *data, order = part.example
    return [(*data, rng.permutation(order)) for _ in range(max(1, count))]


def _moved(part: Exported, case: tuple[Array, ...]) -> int:
    """How far results move, in units of the last digit of the largest of them, where all that goes in does by one."""
    values, rng = [one.value for one in part.reached], np.random.default_rng(1)
    expected, _ = part.call(case, values)
    found, _ = part.call([_nudged(one, rng) for one in case], [_nudged(one, rng) for one in values])
    most = 0.0
    for a, b in zip(expected, found, strict=True):
        if a.dtype.kind == "f":
            both = np.isfinite(a) & np.isfinite(b)
            top = float(np.max(np.abs(a), initial=0.0, where=both)) * float(np.finfo(a.dtype).eps)
            most = max(most, float(np.max(np.abs(a - b), initial=0.0, where=both)) / top if top else 0.0)
    return int(min(most, 10**6)) + 1


def _nudged(value: Array, rng: np.random.Generator) -> Array:
    """Floats, each the next one above or below."""
    if value.dtype.kind != "f":
        return value
    towards = np.where(rng.random(value.shape) < 0.5, -np.inf, np.inf).astype(value.dtype)
    return np.asarray(np.nextafter(value, towards))


def _alike(example: Sequence[Array], rng: np.random.Generator) -> tuple[Array, ...]:
    """Inputs with the rows of the example in another order, and floats a little off."""
    found = []
    for one in example:
        rows = one[rng.permutation(len(one))] if one.ndim else one
        found.append(
            (rows * (1 + 0.1 * rng.standard_normal(one.shape))).astype(one.dtype) if one.dtype.kind == "f" else rows
        )
    return tuple(found)


Pieces = Mapping[Buffer, tuple[int, int]]  # the piece of memory that a buffer lies in, and from which element on


def _pieces(planned: Schedule) -> Pieces:
    """Stretches of the arena that are used together: arrays of one type, which do not overlap."""
    found: dict[Buffer, tuple[int, int]] = {}
    number, begin, end, dtype = -1, 0, -1, None
    for buffer in sorted(planned.program.buffers, key=lambda b: (b.dtype.name, planned.offsets[b])):
        at = planned.offsets[buffer]
        if at >= end or buffer.dtype != dtype:
            number, begin, end, dtype = number + 1, at, at, buffer.dtype
        end = max(end, at + planned.layouts[buffer].size * buffer.dtype.itemsize)
        found[buffer] = number, (at - begin) // buffer.dtype.itemsize
    return found


def _sizes(planned: Schedule, pieces: Pieces) -> dict[int, tuple[DType, int]]:
    """Type and elements of each piece."""
    sizes: dict[int, tuple[DType, int]] = {}
    for buffer, (piece, offset) in pieces.items():
        size = offset + planned.layouts[buffer].size
        sizes[piece] = buffer.dtype, max(size, sizes.get(piece, (buffer.dtype, 0))[1])
    return sizes


def _laid_out(planned: Schedule, buffer: Buffer) -> Array:
    """A constant in the order of its layout."""
    layout = planned.layouts[buffer]
    memory = np.zeros(layout.size, buffer.dtype)
    steps = tuple(step * buffer.dtype.itemsize for step in layout.strides)
    np.lib.stride_tricks.as_strided(memory, buffer.shape, steps)[...] = buffer.value
    return memory


def _called(buffer: Buffer, nodes: Mapping[int, Node]) -> str:
    """A name for a buffer: that of the operation whose results it has, and its number."""
    own = re.fullmatch(r"b(\d+)(.*)", buffer.name)
    node = nodes.get(int(own[1])) if own else None
    return buffer.name if own is None or node is None else f"{node.op.name}{own[1]}{own[2]}"


def _quoted(name: str) -> str:
    return name.replace("\\", "_").replace('"', "_").replace("\n", "_")


def _array(declared: str, values: Array) -> str:
    """An array with its elements."""
    flat = values.reshape(-1)
    return f"{declared}[{max(flat.size, 1)}] = {{\n{_elements(flat)}\n}};"


def _table(declared: str, rows: Sequence[Array]) -> str:
    """One row of elements for each case."""
    size = max(rows[0].size, 1)
    inner = ",\n".join(f"  {{\n{_elements(row.reshape(-1))}\n  }}" for row in rows)
    return f"{declared}[{len(rows)}][{size}] = {{\n{inner}\n}};"


def _elements(flat: Array) -> str:
    lines, line = list[str](), "   "
    for value in flat if flat.size else np.zeros(1, flat.dtype):
        text = f" {literal(value, flat.dtype)},"
        if len(line) + len(text) > LINE:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join([*lines, line]).removesuffix(",")
