"""A model that runs: each node asks the table of operators, and gives its results their names.

What a file says is checked when a `Program` is made: that every operator is known, with operands and attributes that
it takes, and that functions do not call themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ..errors import ExportError, TinygradError, message
from ..ops.source import CONSTANT
from ..support.settings import shown
from ..tensor import Tensor
from ..tensor.core import mode
from .model import NAME, Graph, Model, Node, Reference, all_nodes, check_graph, check_nodes, refuse
from .operators import Call, Form, Value, found, given

LIMIT: Final = 1_000_000  # nodes that functions of the file may become
DEEPEST: Final = 64  # functions that call each other
NEWEST: Final = 28  # version of the operators that these are


@dataclass(frozen=True, slots=True)
class Program:
    """A model whose nodes can be run."""

    model: Model
    uses: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of each weight, as what operators take it

    def __deepcopy__(self, memo: Any) -> Program:
        return self  # it does not change

    def without(self, names: Collection[str]) -> Program:
        """The same, without tensors that will be given to it."""
        graph = self.model.graph
        left = {name: one for name, one in graph.constants.items() if name not in names}
        return replace(self, model=replace(self.model, graph=replace(graph, constants=left)))

    def run(self, inputs: Mapping[str, Value], weights: Mapping[str, Value]) -> tuple[Value, ...]:
        """The outputs of the model."""
        graph = self.model.graph
        return self.graph(graph, {**weights, **inputs}, (), self.model.opsets)

    def graph(
        self, graph: Graph, values: dict[str, Value], around: tuple[Mapping[str, Value], ...], opsets: Mapping[str, int]
    ) -> tuple[Value, ...]:
        """The outputs of a graph whose inputs are among the values; `around` is what the graphs around it have."""
        fixed = {
            name: Value(given(one.array), one.element) for name, one in graph.constants.items() if name not in values
        }
        values.update(fixed)
        self.nodes(graph.nodes, values, around, opsets)
        return tuple(_read(place.name, values, around) for place in graph.outputs)

    def nodes(
        self,
        nodes: Sequence[Node],
        values: dict[str, Value],
        around: tuple[Mapping[str, Value], ...],
        opsets: Mapping[str, int],
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Run nodes in order; `attrs` are those of the call of the function that they are the body of."""
        for node in nodes:
            try:
                results = self.node(node, values, around, opsets, attrs)
            except TinygradError as error:
                raise _named(error, node) from None
            except _OTHERS as error:
                got = f"{node}, which gave {type(error).__name__}: {error}"
                raise ExportError(message(NAME, got, "operands and attributes as ONNX has them")) from error
            values.update((name, one) for name, one in zip(node.outputs, results, strict=False) if name)
            if len(results) < len(node.outputs) and any(node.outputs[len(results) :]):
                got = f"{node} with {len(node.outputs)} results"
                raise ExportError(message(NAME, got, f"{len(results)} here"))

    def node(
        self,
        node: Node,
        values: dict[str, Value],
        around: tuple[Mapping[str, Value], ...],
        opsets: Mapping[str, int],
        attrs: Mapping[str, Any] | None,
    ) -> tuple[Value, ...]:
        """The results of a node."""
        operands = tuple(_read(name, values, around) if name else None for name in node.inputs)
        own = node.attrs if attrs is None else _substituted(node.attrs, attrs)
        function = self.model.functions.get((node.domain, node.kind))
        if function is not None:
            inner = {name: one for name, one in zip(function.inputs, operands, strict=False) if one is not None}
            inner.update({name: Value(None) for name in function.inputs if name not in inner})
            self.nodes(function.nodes, inner, (), function.opsets, {**function.defaults, **own})
            return tuple(inner[name] for name in function.outputs)

        def run(graph: Graph, *inputs: Value) -> tuple[Value, ...]:
            if len(inputs) != len(graph.inputs):
                got = f"{len(inputs)} values for a graph with {len(graph.inputs)} inputs"
                raise ExportError(message(NAME, got, "one for each"))
            own = {place.name: one for place, one in zip(graph.inputs, inputs, strict=True)}
            return self.graph(graph, own, (values, *around), opsets)

        since = version(node, opsets, self.model)
        form = _form(node, since)
        operands = tuple(
            None if one is None or (one.data is None and _empty(form, k)) else one for k, one in enumerate(operands)
        )
        return form.run(Call(tuple(map(bool, node.outputs)), since, operands, run), own)


_OTHERS: Final = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


def _form(node: Node, since: int) -> Form:
    form = found(node.operator, since)
    if form is None:
        raise ExportError(message(NAME, f"operator {node.operator}", "an operator of ONNX"))
    return form


def _empty(form: Form, position: int) -> bool:
    """Whether an operand that is nothing is one that is left out."""
    return form.of(position) != "Value"


def _read(name: str, values: Mapping[str, Value], around: tuple[Mapping[str, Value], ...]) -> Value:
    """A value by its name, of this graph or one around it. A constant from there is one here too: what follows from it
    is known while a step is recorded.
    """
    one = values.get(name)
    if one is not None:
        return one
    for outer in around:
        one = outer.get(name)
        if one is not None:
            fixed = isinstance(one.data, Tensor) and mode.recorder is not None and not one.data.requires_grad
            if fixed and one.data.node.op is CONSTANT and one.data.node.value is not None:
                return Value(given(one.data.node.value), one.element)
            return one
    raise ExportError(message(NAME, f"no value {shown(name)}", "one that was made before"))


def _named(error: TinygradError, node: Node) -> TinygradError:
    """An error with the node where it came up; of nodes inside of each other the innermost."""
    said = str(error)
    own = f"[{NAME}] got "
    if said.startswith((f"{own}a node ", f"{own}the node ")):
        return error
    error.args = (f"{own}{node}: {said.removeprefix(own)}",)
    return error


def _substituted(attrs: Mapping[str, Any], given_attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a node in a function, with those of the call. One that the call has not is not there."""
    made = {name: given_attrs.get(one.name) if isinstance(one, Reference) else one for name, one in attrs.items()}
    for name, one in made.items():
        if isinstance(one, Graph):
            made[name] = _inside(one, given_attrs)
    return {name: one for name, one in made.items() if one is not None}


def _inside(graph: Graph, given_attrs: Mapping[str, Any]) -> Graph:
    nodes = tuple(
        Node(one.name, one.kind, one.domain, one.inputs, one.outputs, _substituted(one.attrs, given_attrs))
        for one in graph.nodes
    )
    return Graph(graph.name, graph.inputs, graph.outputs, graph.constants, nodes)


# ---- what is checked, and found out, before anything runs -----------------------------------------------------------


def program_of(model: Model) -> Program:
    """The program of a model; ExportError for what is none."""
    check_graph(model.graph)
    for place in model.graph.inputs:
        if place.element is None:
            refuse(f"an input {shown(place.name)} without an element type", "one")
    for function in model.functions.values():
        made = set(function.inputs)
        check_nodes(function.nodes, made)
        lost = [name for name in function.outputs if name not in made]
        if lost:
            refuse(
                f"a function {shown(function.name)} with an output {shown(lost[0])} that no node makes", "its values"
            )
    bodies = [(model.graph.nodes, model.opsets), *((one.nodes, one.opsets) for one in model.functions.values())]
    _check_operators(model, bodies)
    order = _ordered(model)
    return Program(model, _uses(model, order))


def _check_operators(model: Model, bodies: Sequence[tuple[Sequence[Node], Mapping[str, int]]]) -> None:
    """Refuse operators that are not known, all of them at once, and calls that do not fit."""
    for _, opsets in bodies:
        newest = opsets.get("", 1)
        if not 1 <= newest <= NEWEST:
            refuse(f"operators of version {newest}", f"versions up to {NEWEST}", "export it with an older opset")
    strange: dict[str, int] = {}
    for nodes, opsets in bodies:
        for node in all_nodes(nodes):
            function = model.functions.get((node.domain, node.kind))
            form = None
            if function is None:
                form = found(node.operator, version(node, opsets, model))
                if form is None:
                    strange[node.operator] = strange.get(node.operator, 0) + 1
            elif len(node.inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
                refuse(f"{node}, with {len(node.inputs)} operands", f"at most {len(function.inputs)}")
            if form is not None and not strange:
                _check_call(node, form)
    if strange:
        names = ", ".join(shown(one)[1:-1] if one.isascii() else shown(one) for one in sorted(strange)[:20])
        more = f" and {len(strange) - 20} more" if len(strange) > 20 else ""
        refuse(f"operators {names}{more}", "operators of ONNX", "export the model with operators that ONNX has")


def _check_call(node: Node, form: Form) -> None:
    """Whether the operands and attributes of a node are those of its operator."""
    count = len(node.inputs)
    if count > len(form.operands) and not form.several:
        refuse(f"{node} with {count} operands", f"at most {len(form.operands)}")
    lost = [k for k in form.needed if k >= count or not node.inputs[k]]
    if lost:
        refuse(f"{node} without its operand {lost[0]}", "it")
    strange = [one for one in node.attrs if one not in form.attributes]
    if strange:
        known = ", ".join(form.attributes) or "none"
        refuse(f"{node} with an attribute {shown(strange[0])}", f"one of: {known}")
    missing = [one for one, needed in form.attributes.items() if needed and one not in node.attrs]
    if missing:
        refuse(f"{node} without its attribute {missing[0]}", "it")


def _ordered(model: Model) -> list[tuple[str, str]]:
    """The functions of a file, those that others call before these; none may call itself, or become too many nodes."""
    calls = {
        key: [(one.domain, one.kind) for one in all_nodes(function.nodes) if (one.domain, one.kind) in model.functions]
        for key, function in model.functions.items()
    }
    order: list[tuple[str, str]] = []
    sizes: dict[tuple[str, str], int] = {}
    depths: dict[tuple[str, str], int] = {}
    open_now: set[tuple[str, str]] = set()
    for first in calls:
        stack = [first]
        while stack:
            key = stack[-1]
            if key in sizes:
                stack.pop()
                continue
            waiting = [one for one in calls[key] if one not in sizes]
            if (waiting and key in open_now) or key in waiting:
                refuse(f"a function {shown(key[1])} that calls itself", "functions that call others")
            open_now.add(key)
            if waiting:
                stack += dict.fromkeys(waiting)
                continue
            own = sum(1 for _ in all_nodes(model.functions[key].nodes))
            sizes[key] = own + sum(sizes[one] for one in calls[key])
            depths[key] = 1 + max((depths[one] for one in calls[key]), default=0)
            if sizes[key] > LIMIT or depths[key] > DEEPEST:
                got = f"a function {shown(key[1])} of {sizes[key]:,} nodes in all, {depths[key]} calls deep"
                refuse(got, f"at most {LIMIT:,}, {DEEPEST} deep")
            order.append(key)
            open_now.discard(key)
            stack.pop()
    total = sum(sizes.get((one.domain, one.kind), 0) for one in all_nodes(model.graph.nodes))
    if total > LIMIT:
        refuse(f"calls of functions that are {total:,} nodes in all", f"at most {LIMIT:,}")
    return order


def _uses(model: Model, order: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """What operators take each weight of the model as, also in the bodies of functions."""
    of_functions: dict[tuple[str, str], list[set[str]]] = {}
    for key in order:
        function = model.functions[key]
        uses = _uses_in(function.nodes, function.inputs, function.opsets, model, of_functions)
        of_functions[key] = [uses[name] for name in function.inputs]
    found = _uses_in(model.graph.nodes, model.graph.constants, model.opsets, model, of_functions)
    return {name: frozenset(one) for name, one in found.items()}


def _uses_in(
    nodes: Sequence[Node],
    names: Iterable[str],
    opsets: Mapping[str, int],
    model: Model,
    of_functions: Mapping[tuple[str, str], list[set[str]]],
) -> dict[str, set[str]]:
    uses: dict[str, set[str]] = {name: set() for name in names}
    for node in all_nodes(nodes):
        for position, name in enumerate(node.inputs):
            if name in uses:
                inner = of_functions.get((node.domain, node.kind))
                kinds = {_form(node, version(node, opsets, model)).of(position)} if inner is None else inner[position]
                uses[name] |= kinds
    return uses


def version(node: Node, opsets: Mapping[str, int], model: Model) -> int:
    """The version of the operators of a node: that of the function it stands in, or of the model."""
    return opsets.get(node.domain, model.opsets.get(node.domain, 1))
