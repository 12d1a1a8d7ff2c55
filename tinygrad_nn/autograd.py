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
from .tensor.joining import stack
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
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of `outputs` with respect to `inputs`, as torch.autograd.grad; no `.grad` is touched.

    `grad_outputs` are the cotangents to start from (1 for outputs of one element); with `is_grads_batched` several of
    each, along a first axis that the results have too. With `create_graph` the result can be differentiated again.
    Raises GraphError for an input that the outputs do not depend on, unless `allow_unused`: then None; or
    `materialize_grads`: then zeros. `only_inputs` is True for all that PyTorch takes.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> (g,) = tg.autograd.grad(x ** 3, x, create_graph=True)
    >>> tg.autograd.grad(g, x)[0].item()
    18.0
    """
    if not only_inputs:
        raise GraphError(message("grad", "only_inputs=False", "True", "backward() leaves gradients in every leaf"))
    if materialize_grads and allow_unused is False:
        raise GraphError(message("grad", "allow_unused=False and materialize_grads", "one of them", "leave one out"))
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
    if is_grads_batched:
        rows: Any = [
            grad(roots, wanted, row, True, create_graph, True, allow_unused, False, materialize_grads)
            for row in zip(*seeds, strict=True)
        ]
        return tuple(None if parts[0] is None else stack(parts) for parts in zip(*rows, strict=True))
    starts = [root._seed(seed) for root, seed in zip(roots, seeds, strict=True)]
    nodes = [tensor.node for tensor in wanted]
    found = walk(roots, starts, nodes, retain, create_graph)
    results = tuple(found.get(node) for node in nodes)
    if materialize_grads:
        return tuple(x.new_zeros(x.shape) if g is None else g for x, g in zip(wanted, results, strict=True))
    if None in results and not allow_unused:
        hint = "pass allow_unused=True to get None"
        raise GraphError(message("grad", f"input {results.index(None)}, which the outputs do not depend on", hint=hint))
    return results


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Accumulate the gradients of several tensors in `.grad`, as each one's `backward` does.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    roots = as_tuple(tensors, "tensors", "backward")
    seeds = [grad_tensors] * len(roots) if grad_tensors is None or isinstance(grad_tensors, Tensor) else grad_tensors
    if len(seeds) != len(roots):
        raise ShapeError(message("backward", f"{len(seeds)} grad_tensors for {len(roots)} tensors", "one each"))
    for k, (root, seed) in enumerate(zip(roots, seeds, strict=True)):
        root.backward(seed, True if k + 1 < len(roots) else retain_graph, create_graph, inputs)


class Context:
    """What a Function's forward leaves for its backward: saved tensors, and any attribute set on it.

    >>> import tinygrad_nn as tg
    >>> class Square(tg.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * g
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor(6.)
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Tensor | None, ...] = ()
        self._constants: tuple[Tensor, ...] = ()
        self._fills = True
        self._results: dict[Node, weakref.ref[Node]] = {}

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs of forward; backward finds them in `saved_tensors`."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors that forward saved; outputs among them are connected to the graph, for second derivatives."""
        return tuple(tensor if tensor is None else self._connected(tensor) for tensor in self._saved)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs of forward have no gradient. Those of integers and bools never have."""
        self._constants = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (as it does by default) or None for an output that nothing was made of."""
        self._fills = value

    def _release(self) -> None:
        """Hold values, and not the tensors that hold them: who traces looks which tensors outlive the function."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, Tensor.handle(value.node))
        self._saved = tuple(None if one is None else Tensor.handle(one.node) for one in self._saved)
        self._constants = ()

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
        traced = mode.recorder is not None and any(tensor.is_traced for tensor in tensors)
        keep = getattr(mode.recorder, "stands_for", None)
        if traced and not callable(keep):
            hint = "write the function in tensor operations, or the loop with for"
            raise TraceError(message(cls.__name__, "a call inside of a scan", "functions without a backward", hint))
        single = isinstance(results, Tensor)
        outputs = as_tuple(results, "from forward", cls.__name__)
        constants = {id(out) for out in ctx._constants}
        if traced:
            ctx._release()
        handles = []
        for position, out in enumerate(outputs):
            if id(out) in constants or out.dtype.kind != "f":
                handles.append(Tensor.handle(out.detach().node))
                continue
            operands = tuple(tensor.node for tensor in tensors)
            result = out._stopped().node if traced else out.node
            node = _custom_node(cls, ctx, args, operands, [out.shape for out in outputs], position, result)
            ctx._results[out.node] = weakref.ref(node)
            if traced and callable(keep):
                keep(node)
            handles.append(Tensor.handle(node))
        return handles[0] if single else tuple(handles)


def _custom_node(
    function: type[Function],
    ctx: Context,
    args: tuple[Any, ...],
    operands: tuple[Node, ...],
    shapes: Sequence[Shape],
    position: int,
    out: Node,
) -> Node:
    """One of a Function's results: a node whose op exists only for this call. Where a function is traced it stands
    for `out`, its last operand.
    """
    name = function.__name__
    plain, count = [None if isinstance(arg, Tensor) else arg for arg in args], len(args)
    places = [place for place, arg in enumerate(args) if isinstance(arg, Tensor)]

    def forward(*values: Any) -> Any:
        arguments = list(plain)
        for place, value in zip(places, values, strict=True):
            arguments[place] = Tensor.handle(constant(np.asarray(value)))
        with no_grad():
            results = mode.already_quiet(function.forward, Context((False,) * len(arguments)), *arguments)
        return (results if isinstance(results, Tensor) else results[position]).node.value

    def backward(cotangent: Core, result: Core, *inputs: Core, wanted: Sequence[int]) -> dict[int, Tensor]:
        g = cotangent if isinstance(cotangent, Tensor) else Tensor.handle(constant(cotangent.node.value))
        others = [g.new_zeros(shape) if ctx._fills else None for shape in shapes]
        cotangents = [g if k == position else zeros for k, zeros in enumerate(others)]
        returned = function.backward(ctx, *cotangents)
        results = returned if isinstance(returned, tuple) else (returned,)
        if len(results) != count:
            got, hint = f"{len(results)} gradients from backward", "return None where there is none"
            raise GraphError(message(name, got, f"{count}, one per argument of forward", hint))
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
    inputs = operands if out.value is not None else (*operands, out)
    return Node(op, inputs, NO_ATTRS, out.shape, out.dtype, out.value, True)
