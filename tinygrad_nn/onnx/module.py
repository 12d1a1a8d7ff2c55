"""`Imported`: the module that a file becomes. Its weights are parameters, by their names in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from ..errors import DTypeError, ShapeError, message, printable
from ..nn import Module
from ..nn.parameter import Buffer, Parameter
from ..support.arrays import as_array
from ..support.settings import shown
from ..tensor import Tensor
from ..tensor.core import Core, constant
from .elements import Element
from .model import BUFFER, NAME, PARAMETER, STATE, Constant, Graph, Model, Place
from .operators import Value
from .program import Program

SHOWN: Final = 24  # nodes of a model that are printed
WIDEST: Final = 400  # characters of a line
DEEPEST: Final = 16  # parts of a name that become modules


class Weights(Module):
    """The weights of a file whose names begin alike."""


class Kept(NamedTuple):
    """A weight: its name and element type in the file, the module that has it, and its name there."""

    name: str
    element: Element
    module: Module
    own: str

    @property
    def tensor(self) -> Tensor:
        """What it is now."""
        found: Tensor = getattr(self.module, self.own)
        return found


class Imported(Module):
    """A model of an ONNX file: `model(x)`, with the inputs of the file in order or by name."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._places = tuple(self._kept(program))
        self._program = program.without({one.name for one in self._places})
        self._float = next((one.element.dtype for one in self._places if one.element.dtype.kind == "f"), None)

    @property
    def inputs(self) -> tuple[Place, ...]:
        """What it takes: names, element types and lengths."""
        return self._program.model.graph.inputs

    @property
    def outputs(self) -> tuple[Place, ...]:
        """What it gives."""
        return self._program.model.graph.outputs

    def _kept(self, program: Program) -> Iterator[Kept]:
        """Make parameters and buffers of weights."""
        constants = program.model.graph.constants
        state = state_of(program.model)
        if state is None:
            kinds = {name: kind_of(one, program.uses[name]) for name, one in constants.items()}
            state = {name: kind for name, kind in kinds.items() if kind is not None}
        for name, kind in state.items():
            module, own = self._room(name)
            tensor = Tensor.handle(constant(constants[name].array))
            setattr(module, own, Parameter(tensor) if kind == PARAMETER else Buffer(tensor))
            yield Kept(name, constants[name].element, module, own)

    def _room(self, name: str) -> tuple[Module, str]:
        """The module, below this one, that a weight of this name belongs to, and its name there."""
        parts = name.split(".") if name.count(".") < DEEPEST else [name.replace(".", "_")]
        module: Module = self
        for part in parts[:-1]:
            part = _allowed(module, part)
            while part in vars(module) and not isinstance(vars(module)[part], Weights):
                part += "_"
            if part not in vars(module):
                setattr(module, part, Weights())
            module = vars(module)[part]
        own = _allowed(module, parts[-1])
        while own in vars(module):
            own += "_"
        return module, own

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The outputs: one, or a tuple of several."""
        self.note_structure()
        weights = {one.name: Value(one.tensor, one.element) for one in self._places}
        found = self._program.run(self._taken(inputs, named), weights)
        results = tuple(_plain(one) for one in found)
        return results[0] if len(results) == 1 else results

    def _taken(self, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Value]:
        """The inputs by their names."""
        places = self.inputs
        known = [one.name for one in places]
        both = [name for name in named if name in known[: len(inputs)] or name not in known]
        missing = [name for name in known[len(inputs) :] if name not in named]
        if both or len(inputs) > len(places) or missing:
            got = f"{len(inputs)} inputs" + (f" and {', '.join(named)}" if named else "")
            raise ShapeError(message(NAME, got, f"one for each of {', '.join(map(str, places)) or 'no inputs'}"))
        values = (*inputs, *(named[name] for name in known[len(inputs) :]))
        return {one.name: self._value(one, value) for one, value in zip(places, values, strict=True)}

    def _value(self, place: Place, given: Any) -> Value:
        """An input as its place says: arrays take its dtype, or that of the weights where these were converted."""
        if place.holder.startswith("optional") and given is None:
            return Value(None)
        if place.holder.endswith("sequence") and isinstance(given, list | tuple):
            inner = place._replace(holder="")
            return Value(tuple(self._value(inner, one) for one in given))
        element = place.element
        if element is None:
            raise DTypeError(message(NAME, str(place), "an input with an element type"))
        tensor = self._tensor(place, element, given)
        fits = place.shape is None or (
            tensor.ndim == len(place.shape)
            and all(not isinstance(n, int) or n == own for n, own in zip(place.shape, tensor.shape, strict=True))
        )
        if not fits:
            raise ShapeError(message(NAME, f"{place.name} of shape {tensor.shape}", str(place)))
        return Value(tensor, element)

    def _tensor(self, place: Place, element: Element, given: Any) -> Tensor:
        """An input in the dtype of its element type."""
        dtype = element.dtype
        if dtype.kind == "f" and self._float is not None:
            now = next(one.tensor.dtype for one in self._places if one.tensor.dtype.kind == "f")
            dtype = now if now != self._float else dtype
        if isinstance(given, Core):
            if given.dtype.kind != dtype.kind:
                raise DTypeError(message(NAME, f"{place.name} of dtype {given.dtype}", str(place)))
            cast = given if given.dtype == dtype else given.cast(dtype)
            return cast if isinstance(cast, Tensor) else Tensor.handle(cast.node)
        if getattr(getattr(given, "dtype", None), "kind", "") == "V":
            given = given.astype(dtype)  # bfloat16 and other types that NumPy has not itself
        array = as_array(NAME, given, place.name)
        kind = "i" if array.dtype.kind == "u" else array.dtype.kind
        if kind != dtype.kind and (kind not in "ib" or dtype.kind not in "if"):
            raise DTypeError(message(NAME, f"{place.name} of dtype {array.dtype}", str(place)))
        low, high = element.range
        if element.bits and array.size and element.bits < 64 and (array.min() < low or array.max() > high):
            raise DTypeError(message(NAME, f"{array.min()} to {array.max()} in {place.name}", f"{low} to {high}"))
        return Tensor.handle(constant(np.array(array, dtype, order="C")))

    def extra_repr(self) -> str:
        """The program, line by line."""
        graph = self._program.model.graph
        lines = [f"{', '.join(map(str, graph.inputs))} -> {', '.join(map(str, graph.outputs))}"]
        for node in graph.nodes[:SHOWN]:
            operands = ", ".join(name or "_" for name in node.inputs)
            options = "".join(f", {name}={_option(one)}" for name, one in node.attrs.items())
            made = ", ".join(name or "_" for name in node.outputs)
            lines.append(f"{made} = {node.operator}({(operands + options).removeprefix(', ')})")
        if len(graph.nodes) > SHOWN:
            lines.append(f"... and {len(graph.nodes) - SHOWN:,} more nodes")
        lines = [
            line if len(line) <= WIDEST else f"{line[:WIDEST]}..." for line in (printable(one, "") for one in lines)
        ]
        return "\n  " + "\n  ".join(lines) + ("" if self._modules else "\n")


def state_of(model: Model) -> dict[str, str] | None:
    """Which weights are parameters, which buffers, as a file of ours says."""
    try:
        said = json.loads(model.metadata.get(STATE, ""))
    except (ValueError, RecursionError):
        return None
    tensors = {name: one.element.dtype.kind for name, one in model.graph.constants.items()}
    fits = isinstance(said, dict) and all(
        name in tensors and (kind == BUFFER or (kind == PARAMETER and tensors[name] == "f"))
        for name, kind in said.items()
    )
    return said if fits else None


def kind_of(one: Constant, uses: frozenset[str]) -> str | None:
    """Whether a tensor of a file is trained, kept, or part of the program: numbers of integers, single numbers, and
    what has to be known while a function is traced.
    """
    if one.element.dtype.kind != "f" or not one.array.ndim or not uses or "Known" in uses:
        return None
    return BUFFER if uses == {"Fixed"} else PARAMETER


def _allowed(module: Module, name: str) -> str:
    """A name that an attribute may have: as in the file, if modules do not use it themselves."""
    taken = not name or name.startswith("_") or hasattr(Module, name) or hasattr(type(module), name)
    return f"{name}_" if taken else name


def _plain(one: Value) -> Any:
    """A result as users know them: a tensor, a list of tensors, or None."""
    return [_plain(part) for part in one.data] if isinstance(one.data, tuple) else one.data


def _option(one: Any) -> str:
    """An attribute in a line."""
    if isinstance(one, Constant):
        return f"{one.element.name}{list(one.array.shape)}"
    if isinstance(one, Graph):
        return f"<{len(one.nodes)} nodes>"
    if isinstance(one, tuple):
        return f"[{', '.join(map(_option, one))}]" if len(one) <= 8 else f"<{len(one)} of them>"
    return str(np.float32(one)) if isinstance(one, float) else shown(one)
