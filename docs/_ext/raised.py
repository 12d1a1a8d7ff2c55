"""Which errors a function raises on purpose, and what it says that it expected: read from its code, that of the helpers
beside it in its file, and its checks of settings. So the reference promises no other message than the one users see.

What every function has in common (operands that are no data, dtypes that differ) is on the page of the errors.
"""

from __future__ import annotations

import ast
import inspect
from collections import ChainMap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from tinygrad_nn import errors
from tinygrad_nn.graph.graph import Op
from tinygrad_nn.ops import rules
from tinygrad_nn.support import settings

DEPTH: Final = 3  # helpers of helpers that are looked at
Found = tuple[str, str]  # the class, and what was expected


def raised(value: Any) -> dict[str, list[str]]:
    """What was expected, by the class of the error. Of a class: what it says when it is made, and when it is called.

    >>> from tinygrad_nn import functional as F
    >>> raised(F.mse_loss)["ShapeError"][0]
    'equal shapes'
    """
    functions = [value]
    if inspect.isclass(value):
        functions = [getattr(value, name, None) for name in ("__init__", "__new__", "forward", "__call__")]
    collected: dict[str, list[str]] = {}
    for function in (inspect.unwrap(function) for function in functions if function is not None):
        plain = getattr(function, "__func__", function)
        for name, expected in _found(plain, DEPTH) if inspect.isfunction(plain) else ():
            texts = collected.setdefault(name, [])
            if expected and expected not in texts:
                texts.append(expected)
    return collected


@cache
def _found(function: Callable[..., Any], depth: int) -> tuple[Found, ...]:
    tree = _tree(function)
    return tuple(_in(tree, function, depth)) if tree is not None else ()


def _tree(function: Callable[..., Any]) -> ast.AST | None:
    code = getattr(function, "__code__", None)
    return _definitions(code.co_filename).get((code.co_name, code.co_firstlineno)) if code is not None else None


@cache
def _definitions(path: str) -> dict[tuple[str, int], ast.AST]:
    """The functions of a file by name and first line, that of a decorator where there is one."""
    if not Path(path).is_file():  # made while the program runs
        return {}
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {(node.name, min([node.lineno, *(one.lineno for one in node.decorator_list)])): node for node in functions}


def _in(tree: ast.AST, function: Callable[..., Any], depth: int) -> Iterator[Found]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    known = ChainMap({name: cell.cell_contents for name, cell in cells}, function.__globals__)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            if isinstance(getattr(errors, name, None), type):
                yield name, _expected(node.exc)
        elif isinstance(node, ast.Call):
            called: Any = known.get(ast.unparse(node.func))
            called = inspect.unwrap(called) if callable(called) else None
            if inspect.isfunction(called) and called.__module__ == settings.__name__:
                yield from _setting(called.__name__, node)
            elif depth and inspect.isfunction(called) and called.__module__ == function.__module__:
                yield from _found(called, depth - 1)
            elif depth and ast.unparse(node.func).endswith(".apply") and node.args:
                yield from _of_op(known.get(ast.unparse(node.args[0])), depth - 1)


def _of_op(op: Any, depth: int) -> Iterator[Found]:
    """What the rules of shape and dtype in an op's own block say; those that many ops share speak of operands that are
    broadcast and promoted already.
    """
    for rule in (op.shape, op.dtype) if isinstance(op, Op) else ():
        if inspect.isfunction(rule) and rule.__module__ != rules.__name__:
            yield from _found(rule, depth)


def _expected(call: ast.Call) -> str:
    """The third argument of `message`, where it is a plain text."""
    inner = call.args[0] if call.args else None
    if not (isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith("message") and len(inner.args) > 2):
        return ""
    text = inner.args[2]
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""


def _setting(check: str, call: ast.Call) -> Iterator[Found]:
    """A check of `support/settings.py`: the setting and its bounds."""
    if len(call.args) < 3 or not (isinstance(call.args[1], ast.Constant) and isinstance(call.args[1].value, str)):
        return
    name = call.args[1].value
    bounds = {word.arg: ast.unparse(word.value) for word in call.keywords if isinstance(word.value, ast.Constant)}
    signs = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
    said = [f"{signs[key]} {value}" for key, value in bounds.items() if key in signs and value != "None"]
    kind = {"integer": "a whole number", "number": "a number", "choice": "one of its choices"}.get(check)
    if kind is not None:
        yield "ConfigError", ", ".join([f"{name}: {kind}", *said])
