// Made by tinygrad_nn.
const layout = {"base": 1024, "pages": 2, "checks": [], "arguments": ["input"], "results": ["out"], "state": ["weight", "bias"], "same": {}, "capacity": 0, "history": [], "scores": [], "arrays": {"input": {"at": 1024, "shape": [4, 3], "strides": [1, 4], "dtype": "float32"}, "out": {"at": 1216, "shape": [4, 2], "strides": [1, 4], "dtype": "float32"}, "weight": {"at": 1088, "shape": [2, 3], "strides": [4, 1], "dtype": "float32"}, "bias": {"at": 1152, "shape": [2], "strides": [1], "dtype": "float32"}}};
const kinds = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, bool: Uint8Array,
};

/** The bytes of the module beside this file, in a page and in Node. */
async function bytesBeside() {
  const url = new URL("model.wasm", import.meta.url);
  if (url.protocol !== "file:") return await (await fetch(url)).arrayBuffer();
  return await (await import("node:fs/promises")).readFile(url);
}

/** What was exported, with memory of its own. `source` are the bytes of the module, or itself, if they are at hand. */
export async function load(source) {
  const memory = new WebAssembly.Memory({ initial: layout.pages });
  const made = await WebAssembly.instantiate(source ?? (await bytesBeside()), { env: { memory } });
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

  /** The results, by name, for one array of numbers for each of input. */
  run(...values) {
    if (values.length > layout.arguments.length) throw new RangeError(`${values.length} arrays for input`);
    values.forEach((one, k) => this.set(layout.arguments[k], one));
    this.call();
    return Object.fromEntries(layout.results.map((name) => [name, this.get(name)]));
  }
}

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
