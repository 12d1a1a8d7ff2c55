"""Gradients on request (`tg.autograd.grad`) and functions with a backward of their own (`tg.Function`)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from .errors import DTypeError, GraphError, ShapeError, TraceError, message
from .graph.graph import NO_ATTRS, Node, Op, Shape
from .support.settings import shown, typed
from .tensor.core import Core, constant, mode
from .tensor.tensor import Tensor, no_grad, walk

Tensors = Tensor | Sequence[Tensor]


def as_tuple(tensors: Tensors, what: str = "tensors", name: str = "grad") -> tuple[Tensor, ...]:
    """One tensor or several, as a tuple; raises DTypeError for what is none."""
    if isinstance(tensors, Tensor):
        return (tensors,)
    if not isinstance(tensors, (list, tuple)) or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise DTypeError(message(name, f"{what} {shown(tensors)}", "a tensor or a list of them"))
    return tuple(tensors)


@typed
def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `outputs` with respect to `inputs`, as torch.autograd.grad; no `.grad` is touched.

    `grad_outputs` are the cotangents to start from (1 for outputs of one element). With `create_graph` the result can
    be differentiated again. Raises GraphError for an input that the outputs do not depend on, unless `allow_unused`:
    then None.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (g,) = tg.autograd.grad(x ** 3, x, create_graph=True)
    >>> tg.autograd.grad(g, x)[0].item()
    18.0
    """
    roots, wanted = as_tuple(outputs, "outputs"), as_tuple(inputs, "inputs")
    several = isinstance(grad_outputs, (list, tuple))
    given: tuple[Any, ...] = tuple(grad_outputs) if several else (grad_outputs,)  # type: ignore[arg-type]
    seeds = given * len(roots) if grad_outputs is None else given
    if len(seeds) != len(roots):
        raise ShapeError(message("grad", f"{len(seeds)} grad_outputs for {len(roots)} outputs", "one each"))
    for position, tensor in enumerate(wanted):
        if not tensor.requires_grad:
            hint = "create it with requires_grad=True before computing the outputs"
            raise GraphError(message("grad", f"input {position}, which does not require grad", hint=hint))
    if not any(root.requires_grad for root in roots):
        raise GraphError(message("grad", "outputs that depend on nothing that requires grad"))
    retain = create_graph if retain_graph is None else retain_graph
    starts = [root._seed(seed) for root, seed in zip(roots, seeds, strict=True)]
    nodes = [tensor.node for tensor in wanted]
    found = walk(roots, starts, nodes, retain, create_graph)
    results = tuple(found.get(node) for node in nodes)
    if None in results and not allow_unused:
        hint = "pass allow_unused=True to get None"
        raise GraphError(message("grad", f"input {results.index(None)}, which the outputs do not depend on", hint=hint))
    return results


class Context:
    """What a Function's forward leaves for its backward: saved tensors, and any attribute set on it."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Tensor, ...] = ()
        self._results: dict[Node, weakref.ref[Node]] = {}

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep inputs or outputs of forward; backward finds them in `saved_tensors`."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that forward saved; outputs among them are connected to the graph, for second derivatives."""
        return tuple(self._connected(tensor) for tensor in self._saved)

    def _connected(self, tensor: Tensor) -> Tensor:
        reference = self._results.get(tensor.node)
        node = None if reference is None else reference()
        return tensor if node is None else Tensor.handle(node)


class Function:
    """A function with its own gradient: subclass it, write `forward(ctx, ...)` and `backward(ctx, *cotangents)`, call
    `apply`.

    forward computes with Tensors or NumPy and is not recorded. backward gets one cotangent per output and returns one
    per argument of forward (None where there is none); written in Tensor operations it can be differentiated again.

    >>> import tinygrad_nn as tg
    >>> class Cube(tg.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * g
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad.item()
    12.0
    """

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Call forward and record backward."""
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        ctx = Context(tuple(isinstance(arg, Tensor) and arg.requires_grad for arg in args))
        with no_grad():
            results = cls.forward(ctx, *args)
        if not (mode.grad and any(ctx.needs_input_grad)):
            return results
        if mode.recorder is not None and any(tensor.is_traced for tensor in tensors):
            hint = "a backward written in Python runs eagerly only; write the function in tensor operations"
            raise TraceError(message(cls.__name__, "a call inside of a function that is being compiled", hint=hint))
        single = isinstance(results, Tensor)
        outputs = as_tuple(results, "from forward", cls.__name__)
        nodes = []
        for position, out in enumerate(outputs):
            operands = tuple(tensor.node for tensor in tensors)
            node = _custom_node(cls, ctx, args, operands, [out.shape for out in outputs], position, out.node)
            ctx._results[out.node] = weakref.ref(node)
            nodes.append(node)
        handles = tuple(Tensor.handle(node) for node in nodes)
        return handles[0] if single else handles


def _custom_node(
    function: type[Function],
    ctx: Context,
    args: tuple[Any, ...],
    operands: tuple[Node, ...],
    shapes: Sequence[Shape],
    position: int,
    out: Node,
) -> Node:
    """One of a Function's results: a node whose op exists only for this call."""
    name = function.__name__
    others = [None if isinstance(arg, Tensor) else arg for arg in args]
    places = [place for place, arg in enumerate(args) if isinstance(arg, Tensor)]

    def forward(*values: Any) -> Any:
        arguments = list(others)
        for place, value in zip(places, values, strict=True):
            arguments[place] = Tensor.handle(constant(np.asarray(value)))
        with no_grad():
            results = mode.already_quiet(function.forward, Context((False,) * len(arguments)), *arguments)
        return (results if isinstance(results, Tensor) else results[position]).node.value

    def backward(cotangent: Core, result: Core, *inputs: Core, wanted: Sequence[int]) -> dict[int, Tensor]:
        g = cotangent if isinstance(cotangent, Tensor) else Tensor.handle(constant(cotangent.node.value))
        cotangents = [g if k == position else g.new_zeros(shape) for k, shape in enumerate(shapes)]
        returned = function.backward(ctx, *cotangents)
        results = returned if isinstance(returned, tuple) else (returned,)
        if len(results) != len(args):
            got, hint = f"{len(results)} gradients from backward", "return None where there is none"
            raise GraphError(message(name, got, f"{len(args)}, one per argument of forward", hint))
        for result in results:
            if result is not None and not isinstance(result, Tensor):
                got = f"{shown(result)} from backward"
                raise DTypeError(message(name, got, "tensors, and None where there is no gradient"))
        found = {}
        for argnum in wanted:
            own, operand = results[places[argnum]], Tensor.handle(operands[argnum])
            if own is not None and own.shape != operand.shape:
                got = f"a gradient of shape {own.shape} for argument {argnum} of shape {operand.shape}"
                raise ShapeError(message(name, got, "equal shapes"))
            found[argnum] = operand.new_zeros(operand.shape) if own is None else own
        return found

    op = Op(name, "control", lambda *shapes: out.shape, lambda *dtypes: out.dtype, forward, backward)
    return Node(op, operands, NO_ATTRS, out.shape, out.dtype, out.value, out.dtype.kind == "f")
