"""`tg.jit`: a Python function as machine code, compiled once per kind of call.

The kind of a call is: the structure of its arguments, shapes and dtypes of the arrays, values of everything else, grad
mode and default dtype. For each kind the function was traced once; what the trace reached from outside (parameters,
optimizer state, modules' modes) is checked at every call and brings a new trace when its type has changed.
"""

from __future__ import annotations

import functools
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import config, say
from ..errors import DTypeError, MissingExtra, TraceError, message
from ..graph import Graph
from ..ops.rules import DTYPES
from ..pytree import Tree, flatten, unflatten
from ..tensor import Tensor
from ..tensor.core import constant, mode
from . import native
from .program import Program
from .runtime import Compiled, Resident
from .trace import Traced, trace


@dataclass(frozen=True, slots=True)
class Kind:
    """What a trace is made for."""

    tree: Tree
    leaves: tuple[Hashable, ...]
    grad: bool
    dtype: Any

    def differences(self, other: Kind) -> str:
        """Which parts differ from another kind, in words."""
        found = []
        if self.tree != other.tree:
            found.append("the structure of the arguments")
        else:
            pairs = zip(self.leaves, other.leaves, strict=True)
            found += [f"argument {k}: {a} before, {b} now" for k, (b, a) in enumerate(pairs) if a != b]
        if self.grad != other.grad:
            found.append(f"gradients {'on' if self.grad else 'off'}")
        if self.dtype != other.dtype:
            found.append(f"default dtype {self.dtype}")
        return "; ".join(found)


class Entry:
    """One compiled kind of call, with the state it works on."""

    def __init__(self, traced: Traced, kind: Kind) -> None:
        self.traced, self.kind = traced, kind
        self.plain = False
        self.compiled = Compiled(traced.graph)
        self.count = len(traced.arguments)
        self.arguments = [(view, view.shape, view.dtype) for view in self.compiled.inputs[: self.count]]
        self.state = [
            State(capture.handle, view, position in set(traced.updated))
            for position, (capture, view) in enumerate(
                zip(traced.captures, self.compiled.inputs[self.count :], strict=True)
            )
        ]
        self.changing = [one for one in self.state if one.changes]
        self.gradients = [
            Gradient(self.state[position].handle, None if output is None else self.compiled.outputs[output])
            for position, output in traced.gradients
        ]
        self.outputs = self.compiled.outputs[: sum(kind == "output" for kind, _ in traced.results)]
        self.single = self.outputs[0] if traced.results == (("output", 0),) and traced.tree.type is None else None

    def fits(self) -> bool:
        """Whether what was reached from outside still has the type it had."""
        for one in self.state:
            node = one.handle.node
            if node is not one.node and (node.shape, node.dtype, node.needs_grad) != one.type:
                return False
        return all(module.training is training for module, training in self.traced.modules) and all(
            (getattr(self.state[position].handle.node.slot, "grad", None) is None)
            for position in self.traced.fresh_gradients
        )

    def call(self, arrays: Sequence[Any]) -> Any:
        """Bring arguments and changed state in, run, and hand out the results."""
        compiled = self.compiled
        with compiled.lock:
            for (view, _, _), array in zip(self.arguments, arrays, strict=True):
                view[...] = array
            for one in self.state:
                if one.handle.node is not one.node:
                    one.bring_in()
            for one in self.changing:
                if one.node is not None and one.node.was_read:
                    one.node = None
            if code := compiled.function(compiled.address):
                self.give_back()
                compiled.fail(code)
            results = [np.array(view) for view in self.outputs]
        self.give_back()
        for gradient in self.gradients:
            gradient.give(compiled.lock)
        if self.single is not None:
            return Tensor.handle(constant(results[0]))
        values = [
            Tensor.handle(constant(results[what])) if kind == "output" else what for kind, what in self.traced.results
        ]
        return unflatten(self.traced.tree, values)

    def give_back(self) -> None:
        """Let the handles of the state hold what is in the arena now."""
        lock = self.compiled.lock
        for one in self.changing:
            if one.node is None:
                one.node = one.handle.node = Resident(one.view, lock, one.handle.node)


class State:
    """A tensor from outside: where its value is in the arena, and the node it had when that value was brought there."""

    __slots__ = ("changes", "handle", "node", "type", "view")

    def __init__(self, handle: Any, view: Any, changes: bool) -> None:
        self.handle, self.view, self.changes = handle, view, changes
        self.node: Any = None
        node = handle.node
        self.type = (node.shape, node.dtype, node.needs_grad)

    def bring_in(self) -> None:
        """Copy the handle's value to the arena."""
        node = self.handle.node
        self.view[...] = node.value
        self.node = None if self.changes else node


class Gradient:
    """The `.grad` a function leaves on a tensor."""

    __slots__ = ("handle", "tensor", "view")

    def __init__(self, handle: Any, view: Any) -> None:
        self.handle, self.view = handle, view
        self.tensor: Any = None

    def give(self, lock: threading.RLock) -> None:
        """Let the tensor have it."""
        slot = self.handle.node.slot
        if self.view is None:
            slot.grad = None
        elif self.tensor is None or slot.grad is not self.tensor or self.tensor.node.was_read:
            self.tensor = slot.grad = Tensor.handle(Resident(self.view, lock, constant(self.view)))


class Jitted:
    """A function under `tg.jit`. Call it as the function itself."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.entries: dict[Kind, Entry] = {}
        self.last: Entry | None = None
        self.traces = 0
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.lock = threading.RLock()
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the machine code for such arguments; the first time, make it."""
        entry = self.last
        if entry is not None and not kwargs and mode.recorder is None and len(args) == entry.count:
            arrays = []
            for arg, (_, shape, dtype) in zip(args, entry.arguments, strict=True):
                value = arg if type(arg) is np.ndarray else arg.node.value if type(arg) is Tensor else None
                if value is None or value.dtype != dtype or value.shape != shape:
                    break
                arrays.append(value)
            else:
                if entry.plain and mode.grad is entry.kind.grad and mode.dtype is entry.kind.dtype and entry.fits():
                    return entry.call(arrays)
        return self._slowly(args, kwargs)

    def _slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if mode.recorder is not None or not usable():
            return self.function(*args, **kwargs)
        kind, arrays, leaves, is_array = describe(args, kwargs)
        with self.lock:
            entry = self.entries.get(kind)
            if entry is None or not entry.fits():
                if self.last is not None and config().debug:
                    why = kind.differences(self.last.kind) or "state of another type, mode or gradient"
                    say(f"tg.jit: {self.name} is traced again: {why}")
                entry = self._compile(kind, leaves, is_array)
            self.last = entry
        return entry.call(arrays)

    def _compile(self, kind: Kind, leaves: Sequence[Any], is_array: Sequence[bool]) -> Entry:
        started = time.perf_counter()
        traced = trace(self.function, kind.tree, leaves, is_array)
        seconds = time.perf_counter() - started
        entry = Entry(traced, kind)
        entry.plain = not kind.tree.parts[1].names and all(part.type is None for part in kind.tree.parts[0].parts)
        entry.plain = entry.plain and all(is_array)
        self.entries[kind] = entry
        self.traces += 1
        if config().debug:
            times = entry.compiled.timings
            say(
                f"tg.jit: {self.name}: trace {1e3 * seconds:.1f} ms, lower {1e3 * times.lower:.1f} ms, "
                f"generate {1e3 * times.generate:.1f} ms, machine code {1e3 * times.machine:.1f} ms"
                + (" (cached)" if times.cached else "")
            )
        return entry

    # ---- looking inside -------------------------------------------------------------------------------------------

    def entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        """What calls with such arguments run, compiled if need be."""
        kind, _, leaves, is_array = describe(args, kwargs)
        with self.lock:
            entry = self.entries.get(kind)
            return self._compile(kind, leaves, is_array) if entry is None or not entry.fits() else entry

    def graph(self, *args: Any, **kwargs: Any) -> Graph:
        """The graph for these arguments, as traced and rewritten."""
        return self.entry(args, kwargs).compiled.stages.graph

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The loops for these arguments."""
        return self.entry(args, kwargs).compiled.stages.schedule.program

    def llvm(self, *args: Any, **kwargs: Any) -> str:
        """The LLVM IR for these arguments."""
        return self.entry(args, kwargs).compiled.stages.llvm

    def asm(self, *args: Any, **kwargs: Any) -> str:
        """The machine code for these arguments, as text."""
        return self.entry(args, kwargs).compiled.stages.assembly()


def jit(function: Callable[..., Any]) -> Jitted:
    """Compile a function: forward, backward, optimizer step and all as one piece of machine code.

    The first call with arguments of new shapes or dtypes traces the function: runs it once with symbols. Tensors, NumPy
    arrays and floats among the arguments may change from call to call; other values are part of the code. Tensors
    reached from outside (parameters, optimizer state) are read and written as in eager code. Raises TraceError where
    the function looks at values; docs/compile.md says what is frozen.

    >>> import tinygrad_nn as tg
    >>> @tg.jit
    ... def f(x):
    ...     return (x * x).sum()
    >>> f(tg.tensor([1.0, 2.0])).item()
    5.0
    """
    return Jitted(function)


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Kind, list[Any], list[Any], list[bool]]:
    """The kind of a call, the arrays to copy in, all leaves, and which of them are arrays."""
    leaves, tree = flatten((args, kwargs))
    keys: list[Hashable] = []
    arrays: list[Any] = []
    is_array: list[bool] = []
    for leaf in leaves:
        traced = isinstance(leaf, (Tensor, np.ndarray, np.generic)) or type(leaf) is float
        is_array.append(traced)
        if not traced:
            _check_static(leaf)
            keys.append((type(leaf), leaf))
            continue
        value = leaf.node.value if isinstance(leaf, Tensor) else np.asarray(leaf)
        dtype = np.dtype(value.dtype)
        if dtype not in DTYPES:
            hint = "convert it with .astype(np.float32) or another of the five dtypes"
            raise DTypeError(
                message("jit", f"an argument of dtype {dtype}", "bool, int32, int64, float32 or float64", hint)
            )
        keys.append((value.shape, dtype.name, isinstance(leaf, Tensor) and leaf.requires_grad))
        arrays.append(value)
    return Kind(tree, tuple(keys), mode.grad, mode.dtype), arrays, leaves, is_array


def _check_static(leaf: Any) -> None:
    try:
        hash(leaf)
    except TypeError:
        got = f"an argument of type {type(leaf).__name__}"
        hint = "pass tensors, arrays, numbers, and lists, tuples, dicts or dataclasses of them"
        raise TraceError(message("jit", got, "arrays, or values that can be hashed", hint)) from None


@functools.cache
def usable() -> bool:
    """Whether there is a compiler; where there is none, one warning says why everything runs eagerly."""
    if not config().jit:
        warnings.warn("TGNN_JIT=0: compiled functions run eagerly", RuntimeWarning, stacklevel=4)
        return False
    try:
        native.machine()
    except MissingExtra as error:
        warnings.warn(f"compiled functions run eagerly: {error}", RuntimeWarning, stacklevel=4)
        return False
    return True
