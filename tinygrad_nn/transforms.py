"""Functions of functions: grad, value_and_grad, vjp, jvp, jacobian, hessian, hvp, as in torch.func and JAX.

Each takes a function of tensors (or nested structures of them) and returns a function or values; they nest to any
order. The arguments are given fresh leaves, so nothing is accumulated in `.grad`. The forward derivative is exact:
the vjp is linear in its cotangent, and its own vjp is the jvp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from .autograd import grad as gradients
from .errors import GraphError, IndexOutOfRange, ShapeError, message
from .graph.graph import Node, reachable
from .support.pytree import flatten, mapped, unflatten
from .support.settings import is_whole, shown, typed
from .tensor.core import mode
from .tensor.creation import as_tensor
from .tensor.joining import stack
from .tensor.shape import normal_axis, several
from .tensor.tensor import Tensor, enable_grad

Argnums = int | Sequence[int]
by_need = attrgetter("needs_grad")


def _fresh(value: Any) -> Any:
    """A structure of arrays or tensors as tensors that collect a gradient, still connected to what they came from."""

    def one(leaf: Any) -> Tensor:
        tensor = as_tensor(leaf)
        return tensor * 1 if tensor.requires_grad else tensor.detach().requires_grad_()

    return mapped(one, value)


def _plain(value: Any, create_graph: bool) -> Any:
    return value if create_graph else mapped(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, value)


def _connected(outputs: Sequence[Tensor], fresh: Sequence[Tensor], recording: bool) -> bool:
    """Whether somebody outside may differentiate too: the outputs depend on leaves that are not ours. Then results
    stay connected.
    """
    if not recording:
        return False
    own = {leaf.node for leaf in fresh if _begins(leaf.node)}
    nodes = reachable([out.node for out in outputs if isinstance(out, Tensor)], by_need)
    return any(_begins(node) and node not in own for node in nodes)


def _begins(node: Node) -> bool:
    """Whether the walk back ends at a node. While tracing, a leaf may have been worked out from what needs none."""
    return not any(operand.needs_grad for operand in node.inputs)


def _zeros_for(results: Sequence[Tensor | None], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [x.new_zeros(x.shape) if g is None else g for g, x in zip(results, inputs, strict=True)]


def _pull(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor], connected: bool
) -> list[Tensor]:
    """The vector-Jacobian product, with zeros where outputs do not depend on inputs."""
    if not any(out.requires_grad for out in outputs):
        return _zeros_for([None] * len(inputs), inputs)
    found = gradients(outputs, inputs, cotangents, retain_graph=True, create_graph=connected, allow_unused=True)
    return _zeros_for(found, inputs)


def _tensors(name: str, leaves: Sequence[Any]) -> Sequence[Tensor]:
    """What a function returned; raises GraphError for what is no tensor."""
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise GraphError(message(name, f"a function that returned {shown(leaf)}", "tensors"))
    return leaves


def _places(name: str, argnums: Any, count: int) -> tuple[int, ...]:
    """The places of arguments; raises IndexOutOfRange for those that there are not, ShapeError for one named twice."""
    places = several(name, "argnums", argnums)
    for place in places:
        if not -count <= place < count:
            raise IndexOutOfRange(message(name, f"argnums {place} of a call with {count} arguments", "one of them"))
    normal = tuple(place % count for place in places)
    if len(set(normal)) < len(normal) or not normal:
        raise ShapeError(message(name, f"argnums {places}", "at least one argument, each once"))
    return normal


@typed
def value_and_grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns (value, gradient) of a scalar function, or ((value, aux), gradient) with `has_aux`.

    `argnums` names the arguments to differentiate; the gradient has their structure. Raises GraphError if the value
    is not a scalar.

    >>> import tinygrad_nn as tg
    >>> value, g = tg.value_and_grad(lambda x: (x * x).sum())(tg.tensor([1.0, 2.0]))
    >>> value.item(), g.tolist()
    (5.0, [2.0, 4.0])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        places = _places("grad", argnums, len(args))
        chosen = tuple(args[place] for place in places)
        recording = mode.grad
        with enable_grad():
            fresh = _fresh(chosen)
            replaced = list(args)
            for place, value in zip(places, fresh, strict=True):
                replaced[place] = value
            result = function(*replaced, **kwargs)
            if has_aux and not (isinstance(result, tuple) and len(result) == 2):
                raise GraphError(message("grad", f"a function that returned {shown(result)}", "a pair (value, aux)"))
            value, aux = result if has_aux else (result, None)
            if not isinstance(value, Tensor) or value.shape != ():
                got = f"a function that returned {getattr(value, 'shape', type(value).__name__)}"
                raise GraphError(message("grad", got, "a scalar tensor", "sum() or mean() the result, or use jacobian"))
            leaves, tree = flatten(fresh)
            connected = _connected([value], leaves, recording)
            found = unflatten(tree, _pull([value], leaves, [value.new_ones(())], connected))
        answer = found[0] if is_whole(argnums) else found
        value, aux = _plain(value, connected), _plain(aux, connected)
        return ((value, aux) if has_aux else value), answer

    return wrapped


@typed
def grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of a scalar function; (gradient, aux) with `has_aux`.

    >>> import tinygrad_nn as tg
    >>> tg.grad(tg.grad(lambda x: x ** 3))(tg.tensor(2.0)).item()
    12.0
    """
    both = value_and_grad(function, argnums, has_aux)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapped


@typed
def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(outputs, pull): `pull(cotangents)` returns the cotangents of every primal, as a tuple.

    >>> import tinygrad_nn as tg
    >>> out, pull = tg.vjp(lambda x, y: x * y, tg.tensor(2.0), tg.tensor(3.0))
    >>> [g.item() for g in pull(tg.tensor(1.0))]
    [3.0, 2.0]
    """
    recording = mode.grad
    with enable_grad():
        fresh = _fresh(primals)
        outputs = function(*fresh)
    leaves, tree = flatten(fresh)
    roots, out_tree = flatten(outputs)
    connected = _connected(_tensors("vjp", roots), leaves, recording)

    def pull(cotangents: Any) -> Any:
        seeds, seed_tree = flatten(cotangents)
        if seed_tree != out_tree:
            raise ShapeError(message("vjp", "cotangents of another structure than the outputs", "one for each output"))
        seeds = [as_tensor(seed) for seed in seeds]
        onward = connected or _connected(seeds, [], mode.grad)
        with enable_grad():
            return unflatten(tree, _pull(roots, leaves, seeds, onward))

    return _plain(outputs, connected), pull


def _listed(name: str, given: Any) -> tuple[Any, ...]:
    if isinstance(given, range):
        raise ShapeError(message(name, shown(given), "a list of tensors"))
    return tuple(given)


@typed
def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False
) -> tuple[Any, ...]:
    """(outputs, tangents of the outputs): the directional derivative, exact; 0 for integers and bools. With `has_aux`
    the function returns a pair, whose second part comes third.

    >>> import tinygrad_nn as tg
    >>> value, tangent = tg.jvp(lambda x: x.sin(), (tg.tensor(0.0),), (tg.tensor(2.0),))
    >>> tangent.item()
    2.0
    """
    function, left = _aside("jvp", function, has_aux)
    recording = mode.grad
    with enable_grad():
        fresh = _fresh(_listed("jvp", primals))
        leaves, tree = flatten(fresh)
        directions, direction_tree = flatten(_listed("jvp", tangents))
        if direction_tree != tree or any(
            tuple(as_tensor(v).shape) != x.shape for v, x in zip(directions, leaves, strict=False)
        ):
            raise ShapeError(message("jvp", "tangents that do not match the primals", "one of the same shape for each"))
        outputs = function(*fresh)
        roots, out_tree = flatten(outputs)
        connected = _connected([*_tensors("jvp", roots), *map(as_tensor, directions)], leaves, recording)
        smooth = [root for root in roots if root.dtype.kind == "f"]
        cotangents = [root.new_zeros(root.shape).requires_grad_() for root in smooth]
        pulled = _pull(smooth, leaves, cotangents, connected=True)
        along = [as_tensor(v).to(x.dtype) for v, x in zip(directions, leaves, strict=True)]
        pushed = iter(_pull(pulled, cotangents, along, connected))
        results = [next(pushed) if root.dtype.kind == "f" else root.new_zeros(root.shape) for root in roots]
    return (_plain(outputs, connected), unflatten(out_tree, results), *_plain(left, connected))


def _aside(name: str, function: Callable[..., Any], has_aux: bool) -> tuple[Callable[..., Any], list[Any]]:
    """A function without the second part of what it returns, and where that is left."""
    left: list[Any] = []

    def alone(*args: Any, **kwargs: Any) -> Any:
        pair = function(*args, **kwargs)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise GraphError(message(name, f"a function that returned {shown(pair)}", "a pair (value, aux)"))
        left[:] = pair[1:]
        return pair[0]

    return (alone if has_aux else function), left


@typed
def linearize(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """(outputs, push): `push(*tangents)` returns the tangents of the outputs.

    >>> import tinygrad_nn as tg
    >>> value, push = tg.linearize(lambda x: x * x, tg.tensor(3.0))
    >>> push(tg.tensor(2.0)).item()
    12.0
    """
    return function(*map(as_tensor, primals)), lambda *tangents: jvp(function, primals, tangents)[1]


@typed
def jacobian(
    function: Callable[..., Any], argnums: int = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns d output / d argument, of shape output.shape + argument.shape. One backward walk per
    output element. With `has_aux` the function returns a pair, and so does the other: (derivative, aux).

    >>> import tinygrad_nn as tg
    >>> tg.jacobian(lambda x: x * x)(tg.tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    alone, left = _aside("jacobian", function, has_aux)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        recording = mode.grad
        with enable_grad():
            (place,) = _places("jacobian", argnums, len(args))
            x = _fresh(args[place])
            out = alone(*args[:place], x, *args[place + 1 :], **kwargs)
            if not isinstance(x, Tensor) or not isinstance(out, Tensor):
                got = f"{type(x).__name__} -> {type(out).__name__}"
                raise GraphError(
                    message("jacobian", got, "a tensor as argument and as result", "use vjp for structures")
                )
            connected = _connected([out], [x], recording)
            count = out.numel()
            eye = _eye(out, count)
            rows = [_pull([out], [x], [eye.narrow(0, k, 1).reshape(out.shape)], connected)[0] for k in range(count)]
            if not rows:
                stacked = out.new_zeros(out.shape + x.shape)
            else:
                first, *rest = [row.unsqueeze(0) for row in rows]
                stacked = _plain(first.cat_with(*rest, dim=0).reshape(out.shape + x.shape), connected)
            return (stacked, *_plain(left, connected)) if has_aux else stacked

    return wrapped


def _eye(like: Tensor, count: int) -> Tensor:
    index = like.new_arange(count)
    return (index.unsqueeze(-1) == index).to(like.dtype)


@typed
def hessian(function: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of a scalar function, of shape argument.shape twice.

    >>> import tinygrad_nn as tg
    >>> tg.hessian(lambda x: (x ** 3).sum())(tg.tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(function, argnums), argnums)


@typed
def hvp(function: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Tensor, Any]:
    """(value, Hessian times vector) of a scalar function of one argument, in two walks, without the Hessian.

    >>> import tinygrad_nn as tg
    >>> tg.hvp(lambda x: (x ** 3).sum(), tg.tensor([1.0, 2.0]), tg.tensor([1.0, 1.0]))[1].tolist()
    [6.0, 12.0]
    """
    for given in (primals, tangents):
        if isinstance(given, tuple) and len(given) != 1:
            raise ShapeError(message("hvp", f"{len(given)} arguments", "one"))
    x = primals[0] if isinstance(primals, tuple) else primals
    v = tangents[0] if isinstance(tangents, tuple) else tangents
    (value, _), (_, product) = jvp(value_and_grad(function), (x,), (v,))
    return value, product


@typed
def grad_and_value(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns (gradient, value)."""
    both = value_and_grad(func, argnums, has_aux)
    return lambda *args, **kwargs: both(*args, **kwargs)[::-1]


@typed
def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: int = 0, **settings: Any) -> Callable[..., Any]:
    """A function applied to each part along an axis, one after the other, and the results stacked. Arguments and
    results are tensors, or structures of them. Raises ShapeError where nothing has such an axis.

    >>> import tinygrad_nn as tg
    >>> vmap(lambda a, b: a @ b)(tg.ones(3, 2), tg.ones(3, 2)).tolist()
    [2.0, 2.0, 2.0]
    """

    def call(*args: Any) -> Any:
        dims = in_dims if isinstance(in_dims, tuple) else (in_dims,) * len(args)
        if len(dims) != len(args) or all(dim is None for dim in dims):
            raise ShapeError(
                message("vmap", f"in_dims {shown(in_dims)}", "an axis or None for each argument, one axis")
            )
        mapped_over = [(leaf, dim) for arg, dim in zip(args, dims, strict=True) if dim is not None
                       for leaf in flatten(arg)[0]]  # fmt: skip
        counts = {as_tensor(leaf).shape[normal_axis("vmap", dim, as_tensor(leaf).ndim)] for leaf, dim in mapped_over}
        if len(counts) != 1 or counts == {0}:
            raise ShapeError(message("vmap", f"lengths {sorted(counts)}", "one length, at least 1, of all axes"))

        def part(arg: Any, dim: int | None, k: int) -> Any:
            return arg if dim is None else mapped(lambda leaf: as_tensor(leaf).select(dim, k), arg)

        rows = [func(*(part(arg, dim, k) for arg, dim in zip(args, dims, strict=True))) for k in range(*counts)]
        return mapped(lambda *leaves: stack(leaves, out_dims), *rows)

    return call
