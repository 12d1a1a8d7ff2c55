"""ONNX, opset 18: a model as one file, with its weights in it.

Each op says in its block (`Op.onnx`) what it is there. The file is written from the graph as it was traced. A length
that follows the batch is known by tracing batches of three sizes: where nothing differs but numbers in shapes, and
these are linear in the size, the file computes them from the size it meets. Else it has the sizes of the example.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from ..errors import ExportError, message
from ..graph.graph import Array, DType, Graph, Node, Shape
from ..graph.places import Places
from ..nn import Module
from ..nn.parameter import Buffer, Parameter
from ..onnx.model import BUFFER, PARAMETER, STATE
from ..support.extras import require
from ..support.files import write_atomic
from ..tensor.creation import from_numpy
from .model import Exported, exported, numbered, target_of, whole

OPSET: Final = 18
VERSION: Final = 8  # of the file format, the one that came with that opset
LIMIT: Final = 2**31 - 2**20  # bytes that a file of this format has at most, with room for its nodes


def onnx(f: Any, *example: Any, path: Any, batch: int | None = 0) -> Path:
    """Write a module or a function as ONNX, opset 18: `path`, or `model.onnx` in that folder. Returns the path.

    Inputs are named as the arguments of `f`, weights as in `state_dict`. An axis `batch` of the inputs may be of any
    length where `f` is the same program for all of them; other axes, and all with `batch=None`, are as long as those
    of `example`. Raises ExportError for an `f` that changes state, or has an op that ONNX has no form for, FileError
    where the file cannot be written; it is written whole or not at all. Needs the extra `export`.

    >>> import tempfile
    >>> from tinygrad_nn import nn
    >>> onnx(nn.Linear(2, 1), np.zeros((3, 2)), path=Path(tempfile.mkdtemp()) / "line.onnx").name
    'line.onnx'
    """
    target = target_of("export.onnx", path, "model.onnx")
    axis = None if batch is None else whole("export.onnx", "batch", batch, 0, 63)
    made = _traced(f, example)
    if axis and all(value.ndim <= axis for value in made.example):
        shapes = ", ".join(str(value.shape) for value in made.example)
        raise ExportError(message("export.onnx", f"batch={axis} of inputs of shapes {shapes}", "an axis of theirs"))
    text = text_of(made)
    if axis is not None:
        text = _for_any_size(f, made, axis) or text
    order = {name: k for k, name in enumerate(f.state_dict())} if isinstance(f, Module) else {}
    text = replace(text, state=dict(sorted(text.state.items(), key=lambda one: order.get(one[0], len(order)))))
    write_atomic(target, serialized(text), "export.onnx")
    return target


def _traced(f: Any, example: Sequence[Any]) -> Exported:
    """The trace of a function that changes nothing."""
    made = exported("export.onnx", f, example)
    if made.state:
        got = f"a step that changes {', '.join(one.name for one in made.state[:3])}"
        hint = "export the model; tg.export.c and tg.export.wasm take steps, with their training"
        raise ExportError(message("export.onnx", got, "a function that only computes", hint))
    return made


# ---- a graph as calls of ONNX's operators ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One node of ONNX."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """The graph of a step, an attribute of a call. It reads what it likes of the graph around it, by name."""

    inputs: tuple[tuple[str, DType], ...]
    outputs: tuple[tuple[str, DType], ...]
    calls: tuple[Call, ...]


class Value(NamedTuple):
    """An operand as its op sees it: the name (a scan has one for each output), the shape and the dtype."""

    name: Any
    shape: Shape
    dtype: DType


Place = tuple[str, DType, tuple[int | str | None, ...]]  # a length may have a name, or differ and have none


@dataclass(frozen=True, slots=True)
class Text:
    """What the file will say: numbers that are known, by name, and calls in order."""

    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    constants: Mapping[str, Array]
    calls: tuple[Call, ...]
    taken: Set[str] = frozenset()  # all names
    state: Mapping[str, str] = field(default_factory=dict)  # which numbers are parameters, which buffers


@dataclass(slots=True)
class Writer:
    """Names that are given, constants and calls that are made."""

    taken: set[str] = field(default_factory=set)
    constants: dict[str, Array] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    places: Places | None = None

    def fresh(self, wanted: str) -> str:
        """A name like this one that nothing else has; an empty one would say that there is no operand."""
        return numbered(wanted.encode(errors="replace").decode() or "_", self.taken)

    def constant(self, value: Array, name: str = "") -> str:
        """The name of a constant. What it repeats along an axis, perhaps that of the batch, is said once."""
        if not name and value.size != 1:
            once = _said_once(value)
            if once.shape != value.shape:
                whole = self.constant(np.array(value.shape, np.int64), "/shape")
                return self.call("Expand", (self.constant(once, f"/constant{len(self.taken)}"), whole))[0]
        own = self.fresh(name or f"/constant{len(self.taken)}")
        self.constants[own] = np.array(value, order="C")
        return own

    def call(self, kind: str, inputs: Sequence[str], count: int = 1, **attrs: Any) -> tuple[str, ...]:
        """The names of what a call gives."""
        outputs = tuple(self.fresh(f"/{kind}{len(self.taken)}") for _ in range(count))
        self.calls.append(Call(kind, tuple(inputs), outputs, tuple(attrs.items())))
        return outputs

    def write(self, graph: Graph, given: Mapping[Node, Any]) -> dict[Node, Any]:
        """The names of the values of a graph, those `given` and what is made of them."""
        names = dict(given)
        for node in graph.nodes:
            if node not in names:
                operands = [Value(names[one], one.shape, one.dtype) for one in node.inputs]
                names[node] = self.constant(node.value) if node.op.kind == "source" else self.form(node, operands)
        return names

    def form(self, node: Node, operands: Sequence[Value]) -> Any:
        """What an op says it is."""
        rule = node.op.onnx
        to = Form(self, node.shape, node.dtype, operands[0].dtype)
        found = to(rule, *operands) if isinstance(rule, str) else rule and rule(to, *operands, **node.attrs)
        if found is None:
            place = self.places and self.places.place(node)
            got = f"{node.op.name} of {', '.join(f'{list(one.shape)}:{one.dtype.name}' for one in operands)}"
            got += f" at {place.where}: {place.text}" if place and place.where else ""
            got += f" in {place.owner}" if place and place.owner else ""
            hint = "write that line with other operations, or use tg.export.c, which has all of them"
            raise ExportError(message("export.onnx", got, "an operation that ONNX has a form for", hint))
        return found


@dataclass(frozen=True, slots=True)
class Form:
    """What the rule of an op writes with: calls of operators by their names, and the type of its result."""

    writer: Writer
    shape: Shape
    dtype: DType
    number: DType

    def __call__(self, kind: str, *inputs: Any, count: int = 1, **attrs: Any) -> Any:
        """The name of the result of an operator; a tuple of `count` of them. Inputs are operands, names, numbers of
        the operands' dtype, or lists of integers.
        """
        found = self.writer.call(kind, [self.name(one) for one in inputs], count, **attrs)
        return found[0] if count == 1 else found

    def name(self, given: Any) -> str:
        """The name of an input."""
        if isinstance(given, str | Value):
            return given if isinstance(given, str) else str(given.name)
        if isinstance(given, np.ndarray):
            return self.writer.constant(given)
        if isinstance(given, Sequence):
            return self.writer.constant(np.array(given, np.int64), f"/integers{len(self.writer.taken)}")
        return self.writer.constant(np.array(given, self.number))

    def filled(self, number: Any, shape: Shape, dtype: DType) -> Value:
        """An array of one number."""
        return Value(self("Expand", np.array(number, dtype), shape), shape, dtype)

    def body(self, graph: Graph, fixed: Sequence[Value], carries: int) -> Body:
        """The graph of a step, whose last inputs are `fixed`. It gives the next carries, then all of its outputs. One
        without entries takes one that it does not read.
        """
        inner = self.inner()
        moving = graph.inputs[: len(graph.inputs) - len(fixed)]
        own = {node: inner.fresh(f"/step{len(inner.taken)}") for node in moving}
        around = zip(graph.inputs[len(moving) :], (one.name for one in fixed), strict=True)
        names = inner.write(graph, {**own, **dict(around)})
        left = (*graph.outputs[:carries], *graph.outputs)
        outputs = tuple((inner.call("Identity", [names[node]])[0], node.dtype) for node in left)
        inputs = [(own[node], node.dtype) for node in moving]
        if len(moving) == carries:
            inputs.append((inner.fresh("/step"), graph.outputs[0].dtype))
        return Body(tuple(inputs), outputs, tuple(inner.calls))

    def inner(self) -> Writer:
        """What writes the graph of a step: names and constants are those of the graph around it."""
        return Writer(self.writer.taken, self.writer.constants, places=self.writer.places)

    def scan(
        self, step: Callable[..., Any], carry: Any, *entries: Any, axis: int = 0, reverse: bool = False
    ) -> tuple[str, str]:
        """A loop along an axis of some `entries`: the last carry, and all of them. `step(to, carry, *entries)` gives
        the name of the next carry.
        """
        to = replace(self, writer=self.inner())
        own = [(to.writer.fresh(f"/step{len(to.writer.taken)}"), one.dtype) for one in (carry, *entries)]
        shapes = (carry.shape, *((*one.shape[:axis], *one.shape[axis + 1 :]) for one in entries))
        made = step(to, *(Value(name, shape, dtype) for (name, dtype), shape in zip(own, shapes, strict=True)))
        outputs = tuple((to("Identity", made), carry.dtype) for _ in range(2))
        many, reversed_ = len(entries), int(reverse)
        last, every = self(
            "Scan",
            carry,
            *entries,
            count=2,
            body=Body(tuple(own), outputs, tuple(to.writer.calls)),
            num_scan_inputs=many,
            scan_input_axes=(axis,) * many,
            scan_input_directions=(reversed_,) * many,
            scan_output_axes=(axis,),
            scan_output_directions=(reversed_,),
        )
        return last, every


def _said_once(value: Array) -> Array:
    """An array without the axes along which it repeats itself, bit by bit; they have length 1."""
    bits = np.ascontiguousarray(value).view(f"u{value.itemsize}")
    for axis, n in enumerate(value.shape):
        first = (slice(None),) * axis + (slice(0, 1),)
        if n > 1 and (bits == bits[first]).all():
            bits, value = bits[first], value[first]
    return value


def text_of(made: Exported) -> Text:
    """The graph of a function, in ONNX's words."""
    writer = Writer(places=made.graph.places)
    graph, count = made.graph, len(made.arguments)
    used = {one for node in graph.nodes for one in node.inputs} | set(graph.outputs)
    given: dict[Node, Any] = {
        node: writer.fresh(name) for node, name in zip(graph.inputs, made.arguments, strict=False)
    }
    results = [writer.fresh(name) for name in made.results]
    state: dict[str, str] = {}
    for node, one in zip(graph.inputs[count:], made.reached, strict=True):
        if node in used:
            given[node] = writer.constant(one.value, one.name)
            if isinstance(one.handle, Parameter | Buffer):
                state[given[node]] = PARAMETER if one.handle.requires_grad else BUFFER
    names = writer.write(Graph(graph.nodes, graph.inputs, graph.outputs), {**dict.fromkeys(graph.inputs), **given})
    for node, name in zip(graph.outputs, results, strict=True):
        writer.calls.append(Call("Identity", (names[node],), (name,)))
    inputs = tuple((given[node], node.dtype, node.shape) for node in graph.inputs[:count])
    outputs = tuple((name, node.dtype, node.shape) for node, name in zip(graph.outputs, results, strict=True))
    return Text(inputs, outputs, writer.constants, tuple(writer.calls), writer.taken, state)


# ---- batches of any size ------------------------------------------------------------------------------------------


def _for_any_size(f: Any, made: Exported, axis: int) -> Text | None:
    """The text in which the size of a batch is open, None where `f` is another program for another size."""
    sizes = [value.shape[axis] for value in made.example if value.ndim > axis]
    if not sizes or not sizes[0]:
        return None
    whole = sizes[0]
    tried = (2, 3, 5) if whole == 1 else (whole, whole + 1, whole + 3)  # three, since any two numbers lie on a line
    texts = []
    for size in tried:
        batch = [
            from_numpy(
                np.take(value, np.arange(size) % whole, axis) if value.shape[axis : axis + 1] == (whole,) else value
            )
            for value in made.example
        ]
        try:
            texts.append(text_of(_traced(f, batch)))
        except Exception:  # whatever a function of the user's says to another size: it is not for that size
            return None
    return _merged(texts, tried, axis)


def _merged(texts: Sequence[Text], sizes: tuple[int, ...], axis: int) -> Text | None:
    """One text for all sizes, of one for each of three."""
    first = texts[0]
    if any(one.calls != first.calls or [*one.constants] != [*first.constants] for one in texts):
        return None
    writer = Writer(set(first.taken))
    (source, *_) = (
        name for k, (name, _, shape) in enumerate(first.inputs) if _differ([one.inputs[k][2] for one in texts])
    )
    size = writer.call("Shape", [source], start=axis, end=axis + 1)[0]
    constants = dict(first.constants)
    for name, value in first.constants.items():
        all_values = [one.constants[name] for one in texts]
        if not _differ(all_values):
            continue
        if any(one.dtype != value.dtype or one.shape != value.shape for one in all_values):
            return None
        if value.dtype.kind == "b" or any((abs(one) > 2**52).any() or (one % 1 != 0).any() for one in all_values):
            return None  # of floats those are computed too that count elements, as a mean does
        counts = [one.astype(np.int64).reshape(-1) for one in all_values]
        slope = (counts[1] - counts[0]) // (sizes[1] - sizes[0])
        base = counts[0] - slope * sizes[0]
        if any((one != base + slope * n).any() for one, n in zip(counts, sizes, strict=True)):
            return None
        del constants[name]
        each, fixed = writer.constant(slope, f"{name}/each"), writer.constant(base, f"{name}/fixed")
        flat = writer.call("Add", [*writer.call("Mul", [size, each]), fixed])
        typed = writer.call("Cast", flat, to=value.dtype)
        shape = writer.constant(np.array(value.shape, np.int64), f"{name}/shape")
        writer.calls.append(Call("Reshape", (*typed, shape), (name,)))
    inputs = _open([one.inputs for one in texts], sizes)
    outputs = _open([one.outputs for one in texts], sizes)
    return Text(inputs, outputs, {**constants, **writer.constants}, (*writer.calls, *first.calls), state=first.state)


def _open(sides: Sequence[tuple[Place, ...]], sizes: tuple[int, ...]) -> tuple[Place, ...]:
    """The inputs, or the outputs, where a length that is that of the batch has its name, another that differs none."""

    def length(lengths: tuple[Any, ...]) -> int | str | None:
        same = len(set(lengths)) == 1
        return lengths[0] if same else "batch" if lengths == sizes else None

    found = []
    for places in zip(*sides, strict=True):
        name, dtype, _ = places[0]
        found.append((name, dtype, tuple(map(length, zip(*(shape for _, _, shape in places), strict=True)))))
    return tuple(found)


def _differ(values: Sequence[Any]) -> bool:
    first = np.asarray(values[0])
    others = [np.asarray(one) for one in values[1:]]
    return any(one.shape != first.shape or one.tobytes() != first.tobytes() for one in others)


# ---- the file -------------------------------------------------------------------------------------------------------


def serialized(text: Text) -> bytes:
    """The bytes of the file, of a model that the package `onnx` has checked."""
    package = require("onnx", "export")
    checker = require("onnx.checker", "export")
    if sum(one.nbytes for one in text.constants.values()) > LIMIT:
        raise ExportError(message("export.onnx", "weights of 2 GiB or more", "less: it is one file", "use float32"))
    helper, arrays = package.helper, package.numpy_helper
    places = [[_place(package, *one) for one in side] for side in (text.inputs, text.outputs)]
    weights = [arrays.from_array(one, name) for name, one in text.constants.items()]
    graph = helper.make_graph([_node(package, one) for one in text.calls], "model", *places, weights)
    model = helper.make_model(graph, producer_name="tinygrad_nn", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = VERSION
    model.metadata_props.add(key=STATE, value=json.dumps(text.state))  # for tg.import_onnx: nobody else has to know
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, package.shape_inference.InferenceError) as error:
        got = f"a graph that onnx refuses: {str(error).strip().splitlines()[0]}"
        raise ExportError(message("export.onnx", got, "one it accepts")) from error
    return bytes(model.SerializeToString(deterministic=True))


def _place(package: Any, name: str, dtype: DType, shape: Any) -> Any:
    return package.helper.make_tensor_value_info(name, package.helper.np_dtype_to_tensor_dtype(dtype), shape)


def _node(package: Any, call: Call) -> Any:
    """A node; a dtype and the body of a loop are attributes that have a form of their own."""
    helper = package.helper

    def written(one: Any) -> Any:
        if isinstance(one, Body):
            return _body(package, one)
        return helper.np_dtype_to_tensor_dtype(one) if isinstance(one, np.dtype) else one

    attrs = {key: written(one) for key, one in call.attrs}
    return helper.make_node(call.kind, list(call.inputs), list(call.outputs), name=call.outputs[0], **attrs)


def _body(package: Any, body: Body) -> Any:
    sides = [[_place(package, name, dtype, None) for name, dtype in side] for side in (body.inputs, body.outputs)]
    return package.helper.make_graph([_node(package, one) for one in body.calls], "step", *sides)
