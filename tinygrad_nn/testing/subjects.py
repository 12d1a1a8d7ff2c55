"""What users give to gradcheck, as problems: a function, a module, a compiled function or a training step, with the
leaves that are checked and the state that calls of it change.

A first run under a recorder finds the leaves that nobody named; see `reach`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..compiler import Jitted, jit
from ..errors import GradcheckError, message, printable
from ..graph.graph import Node
from ..nn import Module
from ..ops.source import CONSTANT
from ..support.pytree import flatten, mapped
from ..support.settings import is_iterable, shown
from ..tensor import Tensor
from ..tensor.core import constant
from ..tensor.tensor import View
from .problem import Leaf, Problem, StepProblem, floats, placed
from .reach import Named, names, reached_by, rehearsal

__tracebackhide__ = True


def function_problem(
    fn: Any, inputs: Any, parameters: Any, seed: int
) -> tuple[Problem, set[int]] | tuple[StepProblem, set[int]]:
    """The function as one without arguments that reads its leaves, and the ids of those on which outputs depend.

    One that calls backward() by itself is a training step.
    """
    given = _arguments(fn, inputs)
    if _is_compiled(fn):
        given = _unshared(given)
    eager, found = _eager(fn), _reached(fn, given)
    called = names(found)
    leaves: dict[int, Leaf] = {}
    for name, x in _inputs(given):
        leaves.setdefault(id(x), Leaf(called.get(id(x), name), x))
    named = _parameters(_module(fn) if parameters is None else parameters, called)
    leaves |= {id(x): Leaf(name, x, "parameter") for name, x in named.items() if id(x) not in leaves}
    _check_leaves(leaves.values())
    with rehearsal(found) as (reach, state):
        returned = flatten(eager(*given))[0]
        trains = bool(reach.trained(called))
    if trains:
        return step_problem(fn, inputs, parameters, None)
    roots = [out.node for out in returned if isinstance(out, Tensor) and out.requires_grad]
    taken = {leaf.handle.node for leaf in leaves.values()}
    depends = _depends(roots, taken)
    if parameters is None:
        others = [x for x in reach.leaves(called) if x.node not in taken and x.node in depends]
        leaves |= {id(x): Leaf(called.get(id(x), f"leaf {k}"), x, "parameter") for k, x in enumerate(others)}
    _check_leaves(leaves.values())
    if not leaves:
        hint = "create them with requires_grad=True"
        raise GradcheckError(message("gradcheck", "no input that requires grad", "at least one", hint))
    rehearsed = floats(returned)

    def function(recorded: bool) -> tuple[Tensor, ...]:
        return floats(flatten(eager(*given))[0])

    checked = {leaf.handle.node for leaf in leaves.values()}
    unknown = [node for node in depends if node.op is CONSTANT and node not in checked] if parameters is None else []
    notes = tuple(
        f"not checked: a leaf {list(node.shape)} that was used before the function was called" for node in unknown
    )
    problem = Problem(function, tuple(leaves.values()), state, _is_compiled(fn), seed=seed, notes=notes)
    if not problem.compiled:
        _check_connected(problem, rehearsed)
    return problem, {id(leaf.handle) for leaf in problem.leaves if leaf.handle.node in depends}


def _check_connected(problem: Problem, rehearsed: Sequence[Tensor]) -> None:
    """No compiled function cuts the outputs off: the recorder of the first run sees through it, a call does not."""
    with placed(problem, problem.start()):
        outputs = problem.function(True)
    if any(seen.requires_grad and not out.requires_grad for seen, out in zip(rehearsed, outputs, strict=False)):
        got = "a function that calls a compiled one, through which no gradient flows"
        raise GradcheckError(message("gradcheck", got, "one that is compiled as a whole", "gradcheck(tg.jit(f), ...)"))


def step_problem(step: Any, batch: Any, parameters: Any, loss: str | None) -> tuple[StepProblem, set[int]]:
    """The step as a function of the parameters, and the ids of those that get a gradient."""
    given = _arguments(step, batch)
    eager, found = _eager(step), _reached(step, given)
    called = names(found)
    named = _parameters(parameters, called)
    _check_leaves([Leaf(name, x, "parameter") for name, x in named.items()])
    with rehearsal(found) as (reach, state):
        _loss(eager(*given), loss)
        trained = reach.trained(called)
    if parameters is None:
        named = {called.get(id(x), f"leaf {k}"): x for k, x in enumerate(trained)}
    leaves = tuple(Leaf(name, x, "parameter") for name, x in named.items())
    _check_leaves(leaves)
    if not leaves:
        hint = "call backward() on the loss inside of the step, and pass parameters=model"
        raise GradcheckError(message("gradcheck", "a step that leaves no gradient", "gradients in .grad", hint))
    run = jit(eager) if _is_compiled(step) else eager
    problem = StepProblem(
        lambda: _loss(run(*given), loss), lambda: _loss(eager(*given), loss), leaves, state, _is_compiled(step)
    )
    return problem, {id(x) for x in trained}


def _unshared(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a compiled function, which reads a view where its base lies: views as tensors of their own."""
    copies: dict[int, Tensor] = {}

    def own(x: Any) -> Any:
        if not (isinstance(x, View) and x.requires_grad) or (x.is_leaf and x.leaf is None):
            return x
        return copies.setdefault(id(x), x.detach().clone().requires_grad_())

    return mapped(own, given)  # type: ignore[no-any-return]


def _depends(roots: Iterable[Node], given: set[Node]) -> set[Node]:
    """What needs a gradient among what outputs were computed from, up to the tensors that were given: from what those
    were computed is not the function's.
    """
    seen: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node.needs_grad and node not in seen:
            seen.add(node)
            waiting += () if node in given else node.inputs
    return seen


def _arguments(fn: Any, inputs: Any) -> tuple[Any, ...]:
    if not callable(fn):
        raise GradcheckError(message("gradcheck", f"{type(fn).__name__} as the function", "a function or a module"))
    return tuple(inputs) if isinstance(inputs, (tuple, list, Iterator)) else (inputs,)


def _reached(fn: Any, given: Sequence[Any]) -> list[Named]:
    """What a function reaches by itself, and the modules that it is given, by their places."""
    return reached_by(fn) + [(str(k), argument) for k, argument in enumerate(given) if isinstance(argument, Module)]


def _is_compiled(fn: Any) -> bool:
    """Whether calls run as machine code: a compiled function or method, or a module whose forward is one."""
    inner = fn.func if isinstance(fn, functools.partial) else fn
    return isinstance(getattr(type(inner), "forward", None) if isinstance(inner, Module) else inner, Jitted)


def _eager(fn: Any) -> Callable[..., Any]:
    """The function without the compiler around it."""
    if isinstance(fn, functools.partial) and isinstance(fn.func, Jitted):
        return functools.partial(fn.func.function, *fn.args, **fn.keywords)
    return fn.function if isinstance(fn, Jitted) else fn


def _module(fn: Any) -> Module | None:
    """The module that a function is, or is a method of."""
    own = getattr(_eager(fn), "__self__", _eager(fn))
    return own if isinstance(own, Module) else None


def _inputs(given: Sequence[Any]) -> Iterator[tuple[str, Tensor]]:
    """The arguments that require grad, by their places."""
    for k, argument in enumerate(given):
        parts, _ = flatten(argument)
        for j, x in enumerate(parts):
            if isinstance(x, Tensor) and x.requires_grad:
                yield (f"{k}" if x is argument else f"{k}.{j}"), x


def _parameters(given: Any, called: Mapping[int, str]) -> dict[str, Tensor]:
    """The parameters and buffers that require grad, by name."""
    if given is None:
        return {}
    if isinstance(given, Module):
        found: dict[str, Any] = {**dict(given.named_parameters()), **dict(given.named_buffers())}
    elif isinstance(given, Mapping):
        found = dict(given)
    else:
        found = {}
        for k, x in enumerate([given] if isinstance(given, Tensor) or not is_iterable(given) else given):
            found[called.get(id(x), f"parameter {k}")] = _checked_tensor(f"parameter {k}", x)
    for name, x in found.items():
        _checked_tensor(name, x)
    return {name: x for name, x in found.items() if x.requires_grad}


def _checked_tensor(name: Any, x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        called = printable(name, keep="") if isinstance(name, str) else shown(name)
        got = f"{type(x).__name__} as {called}"
        raise GradcheckError(message("gradcheck", got, "a module, tensors, or tensors by name"))
    return x


def _check_leaves(leaves: Iterable[Leaf]) -> None:
    for leaf in leaves:
        if leaf.handle.dtype != np.float64:
            hint = (
                f"float32 keeps too few digits for differences: use {'x' if leaf.kind == 'input' else 'model'}.double()"
            )
            raise GradcheckError(message("gradcheck", f"{leaf} of dtype {leaf.handle.dtype.name}", "float64", hint))


def _loss(returned: Any, name: str | None) -> Tensor:
    """The loss among what a step returned: all of it, or an entry of a dict."""
    if isinstance(returned, Mapping):
        key = name if name is not None else "loss" if "loss" in returned else next(iter(returned), None)
        if (name is None and len(returned) > 1 and key != "loss") or key not in returned:
            got = f"a step that returned {', '.join(map(repr, returned)) or 'nothing'}"
            raise GradcheckError(message("gradcheck", got, "a loss", "name the entry that is minimised: loss=..."))
        returned = returned[key]
    if isinstance(returned, float):
        return Tensor.handle(constant(np.asarray(returned)))
    (value,) = floats([returned], "a step")
    if value.numel() != 1:
        raise GradcheckError(message("gradcheck", f"a step that returned shape {value.shape}", "a loss of one element"))
    return value
