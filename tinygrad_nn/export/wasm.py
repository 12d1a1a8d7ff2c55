"""WebAssembly: a model, a step or a whole training run as a module that imports its memory and nothing else.

LLVM writes an object of one memory and no other imports; what a linker would add is its export and the numbers that lie
in memory from the beginning, constants and state. Beside it stands an ES module, for pages and for Node, which puts
arrays where the code finds them, and its types.

Tensors that a run reaches and that hold the same numbers as a column of its data, as those that an evaluation is about
often do, are not in the file a second time: the ES module copies the column there, and again when it is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from ..compiler.codegen.c.printer import identifier
from ..compiler.image import Image
from ..compiler.job import Job
from ..compiler.run.jit import Jitted
from ..compiler.run.memory import RunMemory
from ..compiler.run.traces import named, training_job
from ..compiler.schedule.arena import Strided
from ..compiler.target import TARGETS
from ..errors import ExportError, message
from ..fitting import trained_dtype
from ..random import Generator, default_generator, order_generator, randperm
from ..support.files import write_together
from ..support.settings import shown
from .model import as_argument, check_call, compiled, exported, flag, state_names, target_of, unique

BASE: Final = 1024  # bytes before the arena: an address of 0 would be no pointer
PAGE: Final = 65536
STACK: Final = 65536  # bytes behind the arena
SECTIONS: Final = {"type": 1, "import": 2, "function": 3, "memory": 5, "global": 6, "export": 7, "code": 10, "data": 11}
SYMBOLS: Final = 8  # the part of the section "linking" that has them
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
GAP: Final = 16  # zeros in memory from which another segment begins,
PACKED: Final = 256  # and where what is written is compressed afterwards, which is good at zeros


def wasm(
    f: Any,
    *example: Any,
    path: Any,
    data: Sequence[Any] | None = None,
    evaluate: Any = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> Path:
    """Write a module, a function or a jitted step as WebAssembly: `path`, and beside it `.js` and `.d.ts`.

    With `data` it is the training run of the step on these columns, in batches as long as the `example`, with the
    scores of `evaluate()` after each epoch; `shuffle` and `seed` are those of `tg.fit`. Returns the path. Raises
    ExportError, and FileError where it cannot be written.

    >>> import tempfile
    >>> from tinygrad_nn import nn
    >>> target = wasm(nn.Linear(2, 1), np.zeros((3, 2)), path=Path(tempfile.mkdtemp()) / "line.wasm")
    >>> target.read_bytes()[:4]
    b'\\x00asm'
    """
    target = target_of("export.wasm", path, "model.wasm")
    made = called(f, example) if data is None else trained(f, example, data, evaluate, shuffle, seed)
    binary, script = linked(made), text(made, target.name)
    beside = [(target.with_suffix(k), one.encode()) for k, one in ((".d.ts", types(made)), (".js", script))]
    write_together([*beside, (target, binary)], "export.wasm")
    return target


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """An object, the bytes of its arena as they are at the beginning, and what lies where, by name.

    A run has besides the numbers that a call fills in and reads, the epochs of one call at most, the names of what it
    leaves of an epoch, the state that holds the `same` numbers as an argument, which gives them, and, where the ES
    module has to draw the `order` of samples, from which state of a generator.
    """

    code: bytes
    memory: bytes
    arguments: Mapping[str, Strided]
    results: Mapping[str, Strided]
    state: Mapping[str, Strided]
    checks: Sequence[Mapping[str, Any]]
    same: Mapping[str, str] = field(default_factory=dict)
    control: Mapping[str, Strided] | None = None
    capacity: int = 0
    history: Sequence[str] = ()
    scores: Sequence[str] = ()
    order: Mapping[str, Any] | None = None


def called(f: Any, example: Sequence[Any]) -> Made:
    """A function that is called."""
    part = exported("export.wasm", f, example)
    made, image = compiled("export.wasm", part.job, TARGETS["wasm32"], "emit")
    names = unique([*part.arguments, *part.results, *(one.name for one in part.reached)])
    arguments, results = len(part.arguments), len(part.arguments) + len(part.results)
    return Made(
        made.object.code,
        part.memory(image),
        dict(zip(names[:arguments], image.inputs, strict=False)),
        dict(zip(names[arguments:results], image.outputs, strict=True)),
        dict(zip(names[results:], image.inputs[arguments:], strict=True)),
        checks(image),
    )


def trained(
    f: Any, example: Sequence[Any], data: Sequence[Any], evaluate: Any, shuffle: bool, seed: int | None = None
) -> Made:
    """A run of epochs."""
    if not isinstance(f, Jitted):
        raise ExportError(message("export.wasm", f"{shown(f)} with data", "a step: step = tg.jit(step)"))
    flag("export.wasm", "shuffle", shuffle)
    if isinstance(data, str) or not isinstance(data, Sequence):
        raise ExportError(message("export.wasm", f"data={shown(data)}", "a tuple of columns, as the step takes them"))
    if evaluate is not None and not callable(evaluate):
        raise ExportError(message("export.wasm", f"evaluate={shown(evaluate)}", "a function without arguments"))
    check_call("export.wasm", f.function, data)
    dtype = trained_dtype(f)
    columns = [np.asarray(as_argument("export.wasm", column, dtype)) for column in data]
    if len({len(column) for column in columns if column.ndim}) != 1 or not all(column.ndim for column in columns):
        got = f"columns of shapes {[one.shape for one in columns]}"
        raise ExportError(message("export.wasm", got, "some of equal lengths"))
    lengths = np.asarray(as_argument("export.wasm", example[0], dtype)).shape[:1] if example else columns[0].shape[:1]
    batch = int(lengths[0]) if lengths else 0
    if not batch or not len(columns[0]):
        raise ExportError(message("export.wasm", f"batches of {batch} of {len(columns[0])} rows", "at least one row"))
    order = None if seed is None else order_generator(seed)

    def permute() -> Any:
        return randperm(len(columns[0]), generator=order)

    job = training_job(f, [columns], batch, evaluate, shuffle, permute)
    if evaluate is not None and job.epochs is not None and not job.epochs.evaluated:
        raise ExportError(message("export.wasm", "an evaluate() that reads values", "one that returns tensors alone"))
    return run_of(job, columns, run_names(f.function, evaluate, order), order)


def run_of(
    job: Job, columns: Sequence[Any], known: Mapping[int, str], order: Generator | None,
    state: Mapping[str, Any] = NOTHING,
) -> Made:
    """A run as it was traced, on these columns, whose samples come as `order` draws them; of the tensors that are
    `known` by name some may begin with another `state`. Raises ExportError for a run that takes data piece by piece.
    """
    job = without_permutation(job)
    made, image = compiled("export.wasm", job, TARGETS["wasm32"], "emit")
    if job.epochs is None or image.run is None or job.epochs.in_pieces or len(job.epochs.sets) != 1:
        raise ExportError(message("export.wasm", "a run that takes its data piece by piece", "columns in memory"))
    memory = RunMemory(image, job.epochs, job.epochs.shuffle)
    memory.bring([columns])
    handles = [job.handles[number] for number, _, _ in memory.made.state]
    drawn = None
    if not job.epochs.permuted and "order" in dict(memory.made.control):  # the ES module draws it
        source, name = (default_generator, "random") if order is None else (order, "order")
        if any(one is source.counter for one in handles):
            got = f"a step that draws random numbers, and {len(columns[0]):,} samples in an order without a seed"
            raise ExportError(message("export.wasm", got, "a seed", "seed=0, in tg.fit too"))
        key, counter = (state.get(f"{name}.{k}", getattr(source, k).numpy()) for k in ("key", "counter"))
        drawn = {"key": key.tolist(), "counter": str(counter), "samples": len(columns[0])}
    own = [known.get(id(one), f"c{k}") for k, one in enumerate(handles)]
    names = unique([*(f"data{k}" for k in range(len(columns))), *own])
    same: dict[str, str] = {}
    for name, handle, (_, _, changes), view in zip(
        names[len(columns) :], handles, memory.made.state, memory.state, strict=True
    ):
        value = np.asarray(state.get(name, handle.node.value))
        twin = None if changes else next((k for k, one in enumerate(columns) if equal(value, one)), None)
        if twin is None:
            view[...] = value
        else:
            same[name] = names[twin]
    step, *others = [part for part in job.parts if part.traced is not None]
    scores = named("evaluate", others[0].traced)[0] if job.epochs.evaluated and others[0].traced else ()
    rows = len(columns[0])  # the room may be that of whole batches
    places = [replace(at, shape=(rows, *at.shape[1:])) for at in memory.made.sources[0]]
    if step.traced is None:
        raise ExportError(message("export.wasm", "a step without a trace"))
    return Made(
        made.object.code,
        memory.arena.memory.tobytes()[: image.size],
        dict(zip(names, places, strict=False)),
        {},
        {name: at for name, (_, at, _) in zip(names[len(columns) :], memory.made.state, strict=True)},
        checks(image),
        same,
        dict(memory.made.control),
        memory.made.capacity,
        [str(one) for one in named("step", step.traced)[0]],
        [str(one) for one in scores],
        drawn,
    )


def without_permutation(job: Job) -> Job:
    """The run in an order from outside, which the ES module draws: that is less code, and for many samples faster. Not
    so where the step draws from the same generator.
    """
    if job.epochs is None or not job.epochs.permuted:
        return job
    other = replace(job, parts=job.parts[:-1], epochs=replace(job.epochs, permuted=False))
    reached, last = {id(one) for one in other.handles}, job.parts[-1].traced
    alone = last is not None and reached.isdisjoint(id(one.handle) for one in last.captures)
    return other if alone else job


def run_names(function: Any, evaluate: Any, order: Generator | None) -> Mapping[int, str]:
    """What the tensors that a run reaches are called, with those of the generator of its order."""
    known = state_names(function, evaluate)
    if order is not None:
        known |= {id(order.key): "order.key", id(order.counter): "order.counter"}
    return known


def equal(value: Any, other: Any) -> bool:
    """Whether two arrays hold the same bits."""
    return bool(value.dtype == other.dtype) and value.shape == other.shape and value.tobytes() == other.tobytes()


def checks(image: Image) -> list[Mapping[str, Any]]:
    """What each number that is returned means: the function of the user, what has to hold, and the numbers it asks."""
    found: list[Mapping[str, Any]] = []
    for fault, at in image.faults:
        name, noun = fault.called.name, fault.called.noun if fault.size is not None else "divisor"
        holds = "another number" if fault.size is None else f"{fault.low} <= {noun} < {fault.size}"
        low, high = (None, None) if fault.size is None else (fault.low, fault.size)
        array = None if at is None else described(at)
        found.append({"name": name, "noun": noun, "expected": holds, "low": low, "high": high, "array": array})
    return found


# ---- the binary ---------------------------------------------------------------------------------------------------


def linked(made: Made) -> bytes:
    """An object as a module: its memory comes from outside, its function `run` can be called, its data is in it."""
    code, stack = made.code, BASE + len(made.memory)
    parts = {kind: content for kind, content in sections(code) if kind}
    custom = [content for kind, content in sections(code) if not kind]
    pages = -(-(stack + STACK) // PAGE)
    imports, has_stack = imported(parts.pop(SECTIONS["import"]), pages)
    run = symbol(custom, "run")
    parts[SECTIONS["import"]] = imports
    if has_stack:
        parts[SECTIONS["global"]] = b"\x01\x7f\x01\x41" + signed(stack + STACK) + b"\x0b"
    parts[SECTIONS["export"]] = b"\x01" + text_of("run") + b"\x00" + unsigned(run)
    segments = [*data_segments(made.memory, PACKED)]
    if segments:
        parts[SECTIONS["data"]] = unsigned(len(segments)) + b"".join(
            b"\x00\x41" + signed(BASE + at) + b"\x0b" + unsigned(len(content)) + content for at, content in segments
        )
    body = b"".join(bytes([kind]) + unsigned(len(parts[kind])) + parts[kind] for kind in sorted(parts))
    return code[:8] + body


def sections(code: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each section."""
    at = 8
    while at < len(code):
        size, begin = number(code, at + 1)
        yield code[at], code[begin : begin + size]
        at = begin + size


def imported(content: bytes, pages: int) -> tuple[bytes, bool]:
    """The imports, of which the memory stays, with a size; whether there was a stack pointer among them."""
    count, at = number(content, 0)
    has_stack = False
    for _ in range(count):
        module, at = string(content, at)
        name, at = string(content, at)
        kind, at = content[at], at + 1
        if kind == 2:  # a memory: flags, and the least number of pages
            flags, at = number(content, at)
            for _ in range(1 + flags % 2):
                _, at = number(content, at)
        elif kind == 3 and name == "__stack_pointer":
            has_stack, at = True, at + 2
        elif kind == 1 and name == "__indirect_function_table":
            _, at = number(content, at + 1)
            _, at = number(content, at)
        else:
            got = f"code that calls {module}.{name}"
            raise ExportError(message("export.wasm", got, "operations that WebAssembly has"))
    memory = text_of("env") + text_of("memory") + b"\x02\x00" + unsigned(pages)
    return b"\x01" + memory, has_stack


def symbol(custom: Sequence[bytes], wanted: str) -> int:
    """The number of the function of this name, from the section for linkers."""
    for content in custom:
        name, at = string(content, 0)
        if name != "linking":
            continue
        _, at = number(content, at)
        while at < len(content):
            kind, (size, begin) = content[at], number(content, at + 1)
            at = begin + size
            if kind == SYMBOLS:
                return _function(content, begin, wanted)
    raise ExportError(message("export.wasm", f"an object without the function {wanted}"))


def _function(content: bytes, at: int, wanted: str) -> int:
    count, at = number(content, at)
    for _ in range(count):
        kind, (flags, at) = content[at], number(content, at + 1)
        if kind in (0, 2):  # functions, globals: an index, and a name where they are defined
            index, at = number(content, at)
            name = ""
            if not flags & 0x10 or flags & 0x40:
                name, at = string(content, at)
            if kind == 0 and name == wanted:
                return index
        elif kind == 3:  # a section
            _, at = number(content, at)
        else:
            break
    raise ExportError(message("export.wasm", f"an object without the function {wanted}"))


def data_segments(memory: bytes, gap: int = GAP) -> Iterator[tuple[int, bytes]]:
    """Stretches of memory that are not 0, with where they begin; so many zeros end one."""
    used = np.flatnonzero(np.frombuffer(memory, np.uint8))
    if not used.size:
        return
    for run in np.split(used, np.flatnonzero(np.diff(used) > gap) + 1):
        begin, end = int(run[0]), int(run[-1]) + 1
        yield begin, memory[begin:end]


def number(content: bytes, at: int) -> tuple[int, int]:
    """A number in 7 bits a byte, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def string(content: bytes, at: int) -> tuple[str, int]:
    """A string behind its length, and where the next thing begins."""
    size, at = number(content, at)
    return content[at : at + size].decode(), at + size


def unsigned(value: int) -> bytes:
    """A number in 7 bits a byte."""
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def signed(value: int) -> bytes:
    """One that is not negative, as a signed number is written."""
    found = bytearray()
    while value >= 64:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def text_of(name: str) -> bytes:
    """A string behind its length."""
    return unsigned(len(name.encode())) + name.encode()


# ---- the ES module ------------------------------------------------------------------------------------------------

SCRIPT: Final = """// Made by tinygrad_nn.
const layout = @LAYOUT;
const kinds = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, bool: Uint8Array,
};

@LOAD(source) {
  const memory = new WebAssembly.Memory({ initial: layout.pages });
  const made = await WebAssembly.instantiate(@SOURCE, { env: { memory } });
  return new Model(memory, (made.instance ?? made).exports.run);
}

class Model {
  constructor(memory, code) {
    Object.assign(this, { memory, code, epochs: 0, arguments: layout.arguments, results: layout.results });
    this.state = layout.state;
    for (const [name, column] of Object.entries(layout.same)) write(memory, find(name), this.get(column));
  }

  /** The elements of an array by name, in row-major order. */
  get(name) {
    return read(this.memory, find(name));
  }

  /** Put numbers in an array by name: a weight, a setting, a column of the data. */
  set(name, values) {
    const place = find(name), given = typeof values === "object" ? values : [values];
    check(name, place, given);
    write(this.memory, place, given);
    for (const [twin, column] of Object.entries(layout.same)) {
      if (column === name) write(this.memory, find(twin), given);
    }
  }

  call() {
    const code = this.code(layout.base);
    if (code !== 0) throw this.failure(code);
  }

  /** What a check that did not hold says, with its number as `code`: the first number that is wrong, and its place. */
  failure(code) {
    const { name, noun, expected, low, high, array } = layout.checks[code - 1];
    const numbers = array && read(this.memory, array);
    const wrong = numbers ? numbers.findIndex((one) => (low === null ? one === 0 : !(low <= one && one < high))) : -1;
    const got = wrong < 0 ? `a ${noun} out of range` : `${noun} ${numbers[wrong]} at ${wrong}`;
    const now = layout.arrays["control.now"], [epoch, batch] = now ? read(this.memory, now) : [];
    const where = now ? ` in epoch ${this.epochs + epoch + 1}, batch ${batch}` : "";
    const said = `[${name}] got ${got}${where}; expected ${expected} (check ${code})`;
    return Object.assign(new RangeError(said), { code });
  }
@METHODS}

const size = (shape) => shape.reduce((a, b) => a * b, 1);

function find(name) {
  if (Object.hasOwn(layout.arrays, name)) return layout.arrays[name];
  throw new RangeError(`no array ${name}; there are ${Object.keys(layout.arrays).join(", ")}`);
}

function check(name, { shape, dtype }, given) {
  if (given.length !== size(shape)) throw new RangeError(`${name}: ${given.length} numbers for shape [${shape}]`);
  for (const one of given) {
    const whole = dtype[0] === "f" || typeof one !== "number" || Number.isInteger(one);
    if (!whole || !["number", "bigint", "boolean"].includes(typeof one)) {
      throw new TypeError(`${name}: ${String(one)} is no number of ${dtype}`);
    }
  }
}

function read(memory, { at, shape, strides, dtype }) {
  const from = new kinds[dtype](memory.buffer, at);
  const found = new (dtype === "int64" ? Float64Array : kinds[dtype])(size(shape));
  walk(shape, strides, (k, place) => (found[k] = Number(from[place])));
  return found;
}

function write(memory, { at, shape, strides, dtype }, given) {
  const to = new kinds[dtype](memory.buffer, at);
  const as = dtype === "int64" ? BigInt : Number;
  walk(shape, strides, (k, place) => (to[place] = as(given[k])));
}

function walk(shape, strides, visit) {
  for (let k = 0, count = size(shape); k < count; k++) {
    let place = 0;
    for (let axis = shape.length - 1, rest = k; axis >= 0; axis--) {
      place += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    visit(k, place);
  }
}
"""
BESIDE: Final = """/** The bytes of the module beside this file, in a page and in Node. */
async function bytesBeside() {
  const url = new URL(@FILE, import.meta.url);
  if (url.protocol !== "file:") return await (await fetch(url)).arrayBuffer();
  return await (await import("node:fs/promises")).readFile(url);
}

/** What was exported, with memory of its own. `source` are the bytes of the module, or itself, if they are at hand. */
export async function load"""
CALL: Final = """
  /** The results, by name, for one array of numbers for each of @NAMES. */
  run(...values) {
    if (values.length > layout.arguments.length) throw new RangeError(`${values.length} arrays for @NAMES`);
    values.forEach((one, k) => this.set(layout.arguments[k], one));
    this.call();
    return Object.fromEntries(layout.results.map((name) => [name, this.get(name)]));
  }
"""
TRAIN: Final = """
  /** So many epochs more; what each left, by name. */
  train(epochs) {
    if (!Number.isInteger(epochs) || epochs < 0) throw new RangeError(`${epochs} epochs`);
    const names = [...layout.history, ...layout.scores];
    const found = Object.fromEntries(names.map((name) => [name, new Float64Array(epochs)]));
    for (let done = 0; done < epochs; ) {
      const count = Math.min(epochs - done, layout.capacity);
      this.set("control.epochs", count);
      this.set("control.now", [0, 0]);
      new BigInt64Array(this.memory.buffer, find("control.evaluated").at, count).fill(1n);
      if (layout.order) this.shuffle(count);
      this.call();
      for (const [table, columns] of [["history", layout.history], ["scores", layout.scores]]) {
        const { at, strides } = find(`control.${table}`), rows = new Float64Array(this.memory.buffer, at);
        columns.forEach((name, k) => {
          for (let e = 0; e < count; e++) found[name][done + e] = rows[e * strides[0] + k * strides[1]];
        });
      }
      done += count;
      this.epochs += count;
    }
    return found;
  }
"""


ORDER: Final = """
  /** The samples of the coming epochs, as tg.randperm draws them: in the order of keys of 53 bits. */
  shuffle(epochs) {
    const { samples, key, counter } = layout.order, { at, strides } = find("control.order");
    const to = new Int32Array(this.memory.buffer, at), blocks = (2 * samples + 3) >> 2; // the lower half of each int64
    const words = new Uint32Array(4 * blocks), keys = new Float64Array(samples);
    this.counter ??= BigInt(counter);
    for (let e = 0; e < epochs; e++, this.counter += BigInt(blocks)) {
      philox(key, this.counter, words);
      for (let k = 0; k < samples; k++) keys[k] = (words[k] >>> 5) * 2 ** 26 + (words[samples + k] >>> 6);
      const sorted = keys.slice().sort(), taken = new Uint8Array(samples);
      for (let k = 0; k < samples; k++) {
        let place = 0;
        for (let end = samples - 1; place < end; ) {
          const middle = (place + end) >> 1;
          if (sorted[middle] < keys[k]) place = middle + 1;
          else end = middle;
        }
        while (taken[place]) place++;
        taken[place] = 1;
        to[2 * (e * strides[0] + place * strides[1])] = k;
      }
    }
  }
"""
PHILOX: Final = """
/** Fill words, four for each number from the counter on: Philox4x32-10 (Salmon et al., 2011). */
function philox(key, counter, words) {
  let low = Number(BigInt.asUintN(32, counter)), top = Number(BigInt.asUintN(32, counter >> 32n));
  for (let b = 0; b < words.length; b += 4) {
    let x0 = low, x1 = top, x2 = 0, x3 = 0, k0 = key[0], k1 = key[1];
    for (let round = 0; round < 10; round++) {
      const h0 = high(x0, 0xd2511f53), l0 = Math.imul(x0, 0xd2511f53);
      const h1 = high(x2, 0xcd9e8d57), l1 = Math.imul(x2, 0xcd9e8d57);
      x0 = h1 ^ x1 ^ k0, x1 = l1, x2 = h0 ^ x3 ^ k1, x3 = l0;
      k0 = (k0 + 0x9e3779b9) | 0, k1 = (k1 + 0xbb67ae85) | 0;
    }
    words[b] = x0, words[b + 1] = x1, words[b + 2] = x2, words[b + 3] = x3;
    low = (low + 1) >>> 0;
    if (low === 0) top = (top + 1) >>> 0;
  }
}

/** The upper half of a product of two words. */
function high(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16), rest = Math.imul(a0, b1) + (middle & 0xffff);
  return (Math.imul(a1, b1) + (middle >>> 16) + (rest >>> 16)) | 0;
}
"""


def text(made: Made, file: str | None) -> str:
    """The ES module; without a `file` beside it, a plain script that is given the bytes."""
    arrays = {**made.arguments, **made.results, **made.state}
    arrays |= {f"control.{name}": at for name, at in (made.control or {}).items()}
    layout = {
        "base": BASE,
        "pages": -(-(BASE + len(made.memory) + STACK) // PAGE),
        "checks": made.checks,
        "arguments": list(made.arguments),
        "results": list(made.results),
        "state": list(made.state),
        "same": made.same,
        "capacity": made.capacity,
        "history": list(made.history),
        "scores": list(made.scores),
        "order": made.order,
        "arrays": {name: described(at) for name, at in arrays.items()},
    }
    methods = TRAIN if made.control else CALL.replace("@NAMES", ", ".join(map(identifier, made.arguments)))
    load = "async function load" if file is None else BESIDE.replace("@FILE", safe(file))
    source = "source" if file is None else "source ?? (await bytesBeside())"
    if made.order is not None:
        methods += ORDER
    found = SCRIPT.replace("@LOAD", load).replace("@SOURCE", source).replace("@METHODS", methods)
    found += PHILOX if made.order is not None else ""
    return found.replace("@LAYOUT", safe(layout).replace('"__proto__":', '["__proto__"]:'))  # a name as any other


def described(at: Strided) -> dict[str, Any]:
    """Where an array lies, for the script."""
    steps = [step // at.dtype.itemsize for step in at.strides]
    return {"at": BASE + at.start, "shape": [int(n) for n in at.shape], "strides": steps, "dtype": at.dtype.name}


def safe(value: Any) -> str:
    """JSON that may stand in a script, in a page too."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c").replace("-->", "--\\u003e")


def types(made: Made) -> str:
    """The types of the ES module."""
    own = (
        "  train(epochs: number): Record<string, Float64Array>;"
        if made.control
        else "  run(...values: ArrayLike<number>[]): Record<string, ArrayLike<number>>;"
    )
    lines = ["// Made by tinygrad_nn.", "export interface Model {", "  readonly memory: WebAssembly.Memory;"]
    lines += [f"  readonly {name}: readonly string[];" for name in ("arguments", "results", "state")]
    lines += [
        "  get(name: string): ArrayLike<number>;",
        "  set(name: string, values: number | ArrayLike<number>): void;",
    ]
    lines += [own, "}", "export function load(source?: BufferSource | WebAssembly.Module): Promise<Model>;", ""]
    return "\n".join(lines)
