"""Loops over time in eager code, with their step compiled: what `ops/scan.py` asks for.

A kernel is one step of a body. It does not know how many there are, so that sequences of any length share it; carries
go from its outputs to its inputs. Without a compiler, and for a body that is not one for it, NumPy runs the loop.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from ...config import config
from ...errors import MissingExtra, TinygradError
from ...graph.graph import Graph
from ...ops.scan import run_steps as run_numpy
from ...ops.scan import stacks_of
from ...support.fork import new_lock
from ..codegen import native
from .runtime import Compiled

KEPT: Final = 64  # kernels, those used last
_kernels: Final[OrderedDict[Graph, Compiled | None]] = OrderedDict()
_lock: Final = new_lock()


def run_steps(*operands: Any, body: Graph, length: int, carries: int, xs: int, reverse: bool, **attrs: Any) -> Any:
    """The value of a SCAN, as `ops.scan.run_steps` gives it."""
    kernel = _kernel(body)
    if kernel is None:
        return run_numpy(*operands, body=body, length=length, carries=carries, xs=xs, reverse=reverse, **attrs)
    flat, stacks = stacks_of(body, length)
    moving = carries + xs
    with kernel.lock:
        inputs, outputs = kernel.inputs, kernel.outputs
        for k, operand in enumerate(operands):
            if not carries <= k < moving:
                inputs[k][...] = operand
        entries = list(zip(inputs[carries:moving], operands[carries:moving], strict=True))
        leaving = list(zip(stacks, outputs, strict=True))
        carried = list(zip(inputs, stacks[:carries], strict=False))  # an output may lie where an input does
        for t in reversed(range(length)) if reverse else range(length):
            for view, operand in entries:
                view[...] = operand[t]
            kernel.call()
            for stack, view in leaving:
                stack[t] = view
            for view, stack in carried:
                view[...] = stack[t]
    return flat


def _kernel(body: Graph) -> Compiled | None:
    """The step of a body, compiled at the first use; None where NumPy has to run it."""
    with _lock:
        if body in _kernels:
            _kernels.move_to_end(body)
            return _kernels[body]
        made = _kernels[body] = _compiled(body)
        if len(_kernels) > KEPT:
            _kernels.popitem(last=False)
        return made


def _compiled(body: Graph) -> Compiled | None:
    if not config().jit:
        return None
    try:
        native.host()
        return Compiled(Graph.of(body.outputs, body.inputs), owner="scan")
    except (MissingExtra, TinygradError):
        return None
