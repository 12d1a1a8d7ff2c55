"""What an ONNX file says, as values: `Model`, `Graph`, `Node`, `Place`, `Constant`.

Made of the messages of `wire.py`, and refused where it is no program: a value that is read before it is made or made
twice, a tensor with other bytes than its shape takes, external data outside of the file's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np

from ..errors import ExportError, FileError, message
from ..support.arrays import Array
from ..support.settings import shown
from .elements import ELEMENTS, OTHERS, Element, from_bytes, from_numbers, size_of
from .wire import Damaged, Message, message_of

NAME: Final = "import_onnx"
STATE: Final = "tinygrad_nn.state"  # in the metadata of a file of ours: which weights are what, as JSON
PARAMETER, BUFFER = "parameter", "buffer"
NOTHING: Final[Mapping[str, Any]] = {}  # the attributes of most nodes
AXES: Final = 32  # of an array of NumPy's, less than its 64 to leave room for what operators insert


class Place(NamedTuple):
    """An input or an output: its element type and its lengths (numbers, names, unknown), None where it is not said."""

    name: str
    element: Element | None
    shape: tuple[int | str | None, ...] | None
    holder: str = ""  # "sequence", "optional" of such tensors

    def __str__(self) -> str:
        lengths = ", ".join("?" if one is None else str(one) for one in self.shape or ())
        text = f"{self.element.name if self.element else 'any'}{f'[{lengths}]' if self.shape is not None else ''}"
        return f"{self.name}: {self.holder} of {text}" if self.holder else f"{self.name}: {text}"


class Constant(NamedTuple):
    """A tensor in the file."""

    array: Array
    element: Element


class Reference(NamedTuple):
    """In the body of a function: the attribute of the call by this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Node:
    """A call of an operator, or of a function of the file. An empty name is an operand or a result that is left out."""

    name: str
    kind: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]

    def __str__(self) -> str:
        whose = f"a node {shown(self.name)}" if self.name else f"the node that makes {shown(''.join(self.outputs[:1]))}"
        return f"{whose} of operator {self.operator}"

    @property
    def operator(self) -> str:
        """The name of the operator, with its domain where that is not ONNX's own."""
        return f"{self.domain}.{self.kind}" if self.domain else self.kind


@dataclass(frozen=True, slots=True)
class Graph:
    """A program: the model itself, or a branch or a body that is an attribute of a node."""

    name: str
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    constants: Mapping[str, Constant]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the file: inputs and outputs by name, and what attributes are that a call leaves out."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    nodes: tuple[Node, ...]
    opsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """The file."""

    graph: Graph
    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str], Function] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    producer: str = ""


def refuse(got: str, expected: str = "", hint: str = "") -> NoReturn:
    """Raise ExportError for what was found in the file."""
    raise ExportError(message(NAME, got, expected, hint))


def read_model(content: bytes, folder: Path) -> Model:
    """The model that a file in this folder holds."""
    reader = _Reader(folder)
    rules = {
        "Attribute": reader.attribute,
        "Function": reader.function,
        "Graph": reader.graph,
        "Node": reader.node,
        "Tensor": reader.tensor,
        "Value": _place,
    }
    try:
        found = message_of("Model", memoryview(content), rules)
        if found["graph"] is None:
            raise Damaged("no graph")
    except Damaged as damage:
        refuse(f"a file with {damage}", "an ONNX model", "it is damaged, or another format")
    functions = {}
    for name, one in found["functions"]:
        if name in functions:
            refuse(f"two functions {shown(name[1])}", "one")
        functions[name] = one
    metadata = {one["key"] or "": one["value"] or "" for one in found["metadata"]}
    producer = " ".join(filter(None, (found["producer"], found["producer_version"])))
    return Model(found["graph"], opsets_of(found["opsets"]), functions, metadata, producer)


def domain(name: str | None) -> str:
    """A domain of operators; ONNX's own has two names."""
    return "" if name in (None, "", "ai.onnx") else str(name)


def opsets_of(pairs: Sequence[Message]) -> dict[str, int]:
    """The version of the operators of each domain."""
    return {domain(one["domain"]): one["version"] or 1 for one in pairs} or {"": 1}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Messages as values. `folder`: where external data may lie; `names`: each once, however often it is written."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    def once(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names, of which equal ones are one string."""
        return tuple(self.names.setdefault(one, one) for one in names)

    def graph(self, found: Message) -> Graph:
        if found["sparse"]:
            refuse("a sparse tensor among the weights", "dense ones")
        constants: dict[str, Constant] = {}
        for name, one in found["constants"]:
            if name in constants:
                refuse(f"two tensors {shown(name)}", "one")
            constants[name] = one
        inputs = tuple(one for one in found["inputs"] if one.name not in constants)  # old files name weights there too
        return Graph(found["name"] or "", inputs, tuple(found["outputs"]), constants, tuple(found["nodes"]))

    def function(self, found: Message) -> tuple[tuple[str, str], Function]:
        own = Function(
            found["name"] or "",
            tuple(found["inputs"]),
            tuple(found["outputs"]),
            dict(found["defaults"]),
            tuple(found["nodes"]),
            opsets_of(found["opsets"]),
        )
        return (domain(found["domain"]), own.name), own

    def node(self, found: Message) -> Node:
        name, kind, attrs = found["name"] or "", found["kind"] or "", dict(found["attributes"])
        if len(attrs) < len(found["attributes"]):
            refuse(f"a node {shown(name)} with an attribute twice", "each once")
        if not kind:
            refuse(f"a node {shown(name)} without an operator", "one")
        kind, where = self.once((kind, domain(found["domain"])))
        return Node(name, kind, where, self.once(found["inputs"]), self.once(found["outputs"]), attrs or NOTHING)

    def attribute(self, found: Message) -> tuple[str, Any]:
        """The name and the value of an attribute."""
        (name,) = self.once((found["name"] or "",))
        if found["reference"]:
            return name, Reference(found["reference"])
        kind = found["type"] or next((n for n, (one, _) in _ATTRIBUTES.items() if found[one] not in (None, ())), 0)
        if kind not in _ATTRIBUTES:
            refuse(f"an attribute {shown(name)} of type {kind}", "a number, text, a tensor or a graph, or several")
        one, absent = _ATTRIBUTES[kind]
        value = absent if found[one] is None else found[one]
        if value is None:
            raise Damaged(f"an attribute {shown(name)} without its value")
        if one == "tp":
            return name, _place({"name": name, "type": value})
        made = _MADE.get(one)
        if made is not None:
            value = tuple(map(made, value)) if isinstance(value, list | tuple) and one[-1] == "s" else made(value)
        return name, tuple(value) if isinstance(value, list) else value

    def tensor(self, found: Message) -> tuple[str, Constant]:
        """The name and the value of a tensor with the bytes that its shape takes."""
        name, shape, number = found["name"] or "", tuple(found["lengths"]), found["element"] or 0
        element = ELEMENTS.get(number)
        if element is None:
            kind = OTHERS.get(number, f"type {number}")
            refuse(f"a tensor {shown(name)} of {kind}", "a type that tensors have here", "convert it before")
        if len(shape) > AXES or any(n < 0 for n in shape) or prod(max(n, 1) for n in shape) >= 2**60:
            refuse(f"a tensor {shown(name)} of shape {shown(shape)}", f"possible lengths, at most {AXES}")
        if found["segment"] is not None:
            refuse(f"a tensor {shown(name)} in parts", "a whole one")
        if found["location"] == 1:
            data = self.external(found, name, size_of(element, shape))
            return name, Constant(from_bytes(element, data, shape), element)
        if found["raw"] is not None:
            if len(found["raw"]) != size_of(element, shape):
                got = f"a tensor {shown(name)} of shape {shape} in {len(found['raw'])} bytes"
                refuse(got, f"{size_of(element, shape)} bytes")
            return name, Constant(from_bytes(element, found["raw"], shape), element)
        parts = found[_FIELDS.get(element.name, "int32s")]
        numbers = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.zeros(0, np.int64)
        count = prod(shape) if element.stored else size_of(element, shape)
        if numbers.size != count:
            refuse(f"a tensor {shown(name)} of shape {shape} with {numbers.size} numbers", f"{count}")
        return name, Constant(from_numbers(element, numbers, shape), element)

    def external(self, found: Message, name: str, size: int) -> Array:
        """The bytes of a tensor that lie in a file beside this one, not anywhere else."""
        said = {one["key"]: one["value"] or "" for one in found["external"]}
        where = said.get("location", "")
        got = f"a tensor {shown(name)} whose data lie in {shown(where)}"
        try:
            start = int(said.get("offset") or 0)
            length = int(said.get("length") or size)
            folder = self.folder.resolve()
            path = (folder / where).resolve()
            inside = path != folder and path.is_relative_to(folder)
            if not inside or Path(where).is_absolute():
                refuse(got, "a file in the folder of the model")
            if start < 0 or length != size or not path.is_file() or start + length > path.stat().st_size:
                refuse(f"{got}, at {start}, {length} bytes", f"a file with {size} bytes there")
            return np.fromfile(path, np.uint8, size, offset=start)
        except ExportError:
            raise
        except (OSError, ValueError) as error:
            raise FileError(message(NAME, f"{got}, which cannot be read ({error})", "the file beside it")) from None


# Attributes by their type: the field, and what it is where it does not stand there.
_ATTRIBUTES: Final[Mapping[int, tuple[str, Any]]] = {
    1: ("f", 0.0),
    2: ("i", 0),
    3: ("s", b""),
    4: ("t", None),
    5: ("g", None),
    6: ("floats", ()),
    7: ("ints", ()),
    8: ("strings", ()),
    9: ("tensors", ()),
    13: ("tp", None),
}
_FIELDS: Final = {"float": "floats", "double": "doubles", "int64": "int64s", "uint32": "uint64s", "uint64": "uint64s"}


def _text(value: Any) -> str:
    return bytes(value).decode(errors="replace")


_MADE: Final[Mapping[str, Any]] = {"s": _text, "strings": _text, "t": itemgetter(1), "tensors": itemgetter(1)}


def _place(found: Message) -> Place:
    """An input or an output. Its type may be missing in the body of a loop."""
    name, said = found["name"] or "", found["type"]
    holders = []
    while said is not None and said["tensor"] is None:
        holder = next(
            (one for one in ("sequence", "optional", "map", "opaque", "sparse") if said[one] is not None), None
        )
        if holder is None:
            said = None
            break
        if holder not in ("sequence", "optional"):
            refuse(f"a value {shown(name)} that is {holder}", "tensors, sequences and optional values")
        holders.append(holder)
        said = said[holder]["element"]
    if said is None:
        return Place(name, None, None, " of ".join(holders))
    number = said["tensor"]["element"] or 0
    if number and number not in ELEMENTS:
        kind = OTHERS.get(number, f"type {number}")
        refuse(f"a value {shown(name)} of {kind}", "a type that tensors have here", "convert it before")
    shape = said["tensor"]["shape"]
    lengths = None if shape is None else tuple(_length(one) for one in shape["lengths"])
    return Place(name, ELEMENTS.get(number), lengths, " of ".join(holders))


def _length(found: Message) -> int | str | None:
    return found["name"] or found["value"] if found["value"] is None else found["value"]


# ---- whether it is a program ----------------------------------------------------------------------------------------


def subgraphs(node: Node) -> Iterator[Graph]:
    """The branches or the body of a node."""
    return (one for one in node.attrs.values() if isinstance(one, Graph))


def all_nodes(nodes: Sequence[Node]) -> Iterator[Node]:
    """All nodes, with those of branches and bodies."""
    stack = [iter(nodes)]
    while stack:
        for node in stack[-1]:
            yield node
            inner = [iter(one.nodes) for one in subgraphs(node)]
            if inner:
                stack += inner
                break
        else:
            stack.pop()


def check_graph(graph: Graph, around: tuple[set[str], ...] = ()) -> None:
    """Refuse a graph in which a value is not made before it is read, or made twice; `around` are the values of the
    graphs that it is a part of.
    """
    made: set[str] = set()
    for name in (*graph.constants, *(place.name for place in graph.inputs)):
        _make(made, name, "the graph")
    check_nodes(graph.nodes, made, around)
    for place in graph.outputs:
        if not any(place.name in one for one in (made, *around)):
            refuse(f"an output {shown(place.name)} that no node makes", "one of its values")


def check_nodes(nodes: Sequence[Node], made: set[str], around: tuple[set[str], ...] = ()) -> None:
    """The same for nodes in which these values are known; adds those that they make."""
    for node in nodes:
        for name in node.inputs:
            if name and name not in made and not any(name in one for one in around):
                later = any(name in one.outputs for one in nodes)
                why = "that is made by it or after it" if later else "that nothing makes"
                refuse(f"{node} with an operand {shown(name)} {why}", "values of inputs, weights and nodes before")
        for inner in subgraphs(node):
            check_graph(inner, (made, *around))
        for name in node.outputs:
            if name:
                _make(made, name, str(node))


def _make(made: set[str], name: str, by: str) -> None:
    if not name or name in made:
        refuse(f"{by} with {f'a second value {shown(name)}' if name else 'a value without a name'}", "each value once")
    made.add(name)
