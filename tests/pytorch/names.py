"""PyTorch's public names and their arguments against those of `tinygrad_nn.torch`: what is missing, what differs.

    python -m tests.pytorch.names                 # every finding that has no reason in `reasons.py`
    python -m tests.pytorch.names torch.Tensor    # those of areas whose name begins so
    python -m tests.pytorch.names --write         # write pending.txt and docs/from_pytorch.md anew

An area is a module or a class. Its names are the functions and classes that PyTorch documents there; the arguments of
one are read from its signature where Python knows it, and from the first lines of its documentation where not. A name
or an argument that is absent on purpose, or called otherwise, stands in `reasons.py`.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import inspect
import keyword
import re
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.pytorch import reasons
from tinygrad_nn.support.settings import Names

torch = pytest.importorskip("torch")

PAGE: Final = Path(__file__).parents[2] / "docs" / "from_pytorch.md"
PENDING: Final = Path(__file__).with_name("pending.txt")  # what is to come: no finding that is not in it may appear
EMPTY: Final = inspect.Parameter.empty
_AREAS: Final = """
    torch torch.Tensor torch.nn torch.nn.functional torch.nn.init torch.nn.utils torch.nn.utils.rnn
    torch.nn.utils.parametrize torch.nn.utils.parametrizations torch.optim torch.optim.lr_scheduler torch.utils.data
    torch.distributions torch.autograd torch.autograd.functional torch.func torch.linalg torch.special torch.nn.Module
    torch.optim.Optimizer
"""
AREAS: Final = tuple(_AREAS.split())


@dataclass(frozen=True, order=True)
class Finding:
    """One difference: the name, the argument (or "" for the name itself), and what is the matter."""

    area: str
    name: str
    argument: str
    what: str

    def __str__(self) -> str:
        return f"{self.area}.{self.name}{self.argument and f'({self.argument})'}: {self.what}"


def found(path: str) -> Any:
    """A module or a class of PyTorch by its name, or of ours (`tinygrad_nn.torch...`)."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        above, _, name = path.rpartition(".")
        return getattr(importlib.import_module(above), name)


def public(area: str) -> dict[str, Any]:
    """What PyTorch documents there: functions, classes, and the plain attributes of a class."""
    owner = found(area)
    listed = {}
    for name in getattr(owner, "__all__", dir(owner)) if area not in ("torch", "torch.nn") else dir(owner):
        value = getattr(owner, name, None)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if isinstance(owner, type):
            wanted = area == "torch.Tensor" or name not in dir(object)
        else:
            wanted = callable(value) and bool(getattr(value, "__doc__", None)) and _belongs(area, value)
        if wanted:
            listed[name] = value
    return listed


def _belongs(area: str, value: Any) -> bool:
    """Whether something is meant for users: no type of the compiler of PyTorch, no helper from elsewhere."""
    module = getattr(value, "__module__", None) or "torch"
    if area == "torch" and isinstance(value, type):
        return not module.startswith(("torch._C", "torch.storage", "torch.types")) or value.__name__ in _KEPT
    return module.startswith("torch")


_KEPT: Final = frozenset(("device", "dtype", "Size", "finfo", "iinfo", "Generator", "Tensor"))


Form = dict[str, inspect.Parameter]  # the arguments of one way to call a function, in their order
FIRST: Final = frozenset(("self", "input"))  # the tensor of which something is a method, and a function


OPERATORS: Final = {"torch.linalg": "linalg_", "torch.special": "special_"}  # how the names of an area's begin


def forms(value: Any, name: str, area: str) -> list[Form]:
    """The ways in which a function or a class is called; none where nothing says them."""
    method = isinstance(found(area), type)
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError):
        return _operator(f"{OPERATORS.get(area, '')}{name}", method) or _documented(value, name)
    kinds = {one.kind for one in signature.parameters.values()}
    if kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} and kinds:
        return _documented(value, name)
    own = {key: one for key, one in signature.parameters.items() if not (method and key == "self")}
    return [{"input" if key == "self" else key: one for key, one in own.items()}]  # which our functions take as well


def _operator(name: str, method: bool) -> list[Form]:
    """What PyTorch's own table of operators says, in which the tensor of a method is `self`, as that of a function."""
    found: list[Form] = []
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{name}")
    of_tensors = [one for one in schemas if any("Tensor" in str(argument.type) for argument in one.arguments)]
    for schema in of_tensors:  # the others are for numbers inside of PyTorch's compiler
        if any(one.name in ("self", "a", "b") and str(one.type).startswith("List") for one in schema.arguments):
            continue  # for lists inside of it
        if any(one.is_out or _UNNATURAL.search(str(one.type)) for one in schema.arguments):
            continue
        form: Form = {}
        for one in schema.arguments:
            if not (method and one.name == "self"):
                key = "input" if one.name == "self" else _spelled(one.name)
                default = one.default_value if one.has_default_value() else EMPTY
                kind = inspect.Parameter.KEYWORD_ONLY if one.kwarg_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
                form[key] = inspect.Parameter("argument", kind, default=default)
        found.append(form)
    return found


_UNNATURAL: Final = re.compile("Dimname|Stream|complex|str")


def _documented(value: Any, name: str) -> list[Form]:
    """The calls with which the documentation of a function begins."""
    head = r"(?m)^\s*(?:\.\. (?:function|method):: )?(?:[\w.]+\.)?"
    found: list[Form] = []
    for text in re.findall(rf"{head}{name}\((.*?)\)\s*(?:->.*)?$", str(value.__doc__)):
        form: Form = {}
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        for part in _parts(text):
            left, _, default = part.partition("=")
            key = left.partition(":")[0].strip()
            if key.startswith("*"):
                kind = inspect.Parameter.KEYWORD_ONLY
            key = _spelled(key.lstrip("*"))
            if key.isidentifier():
                form[key] = inspect.Parameter("argument", kind, default=_value(default) if default else EMPTY)
        found.append(form)
    return found


def _spelled(key: str) -> str:
    """An argument whose name is a word of Python's, `from`, is called `from_` here."""
    return f"{key}_" if keyword.iskeyword(key) else key


def _parts(text: str) -> list[str]:
    """The arguments of a call, split at the commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()


def compare(area: str) -> Iterator[Finding]:
    """Every difference of one area."""
    try:
        ours = found(f"tinygrad_nn.{area}")
    except (ImportError, AttributeError):
        yield Finding(area.rpartition(".")[0], area.rpartition(".")[2], "", "is missing")
        return
    for name, theirs in public(area).items():
        mine = getattr(ours, name, None)
        if mine is None and not (hasattr(ours, name) and theirs is None):
            yield Finding(area, name, "", "is missing")
        elif callable(theirs) and callable(mine):
            yield from _arguments(area, name, theirs, mine)


def _arguments(area: str, name: str, theirs: Any, mine: Any) -> Iterator[Finding]:
    expected, own = forms(theirs, name, area), forms(mine, name, area)
    if not expected or not own or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in own[0].values()):
        return
    (taken,) = own
    if inspect.unwrap(mine) is not mine:  # it goes through the door, which knows other names of arguments
        expected = [_as_ours(mine, form, taken) for form in expected]
    every = {key: one for form in reversed(expected) for key, one in form.items()}
    rest = next((one.name for one in taken.values() if one.kind is inspect.Parameter.VAR_POSITIONAL), None)
    for key, one in every.items():
        if key not in taken:
            if rest is None and one.kind is not inspect.Parameter.VAR_KEYWORD:
                yield Finding(area, name, key, "is missing")
        elif len(expected) == 1 and one.default is not EMPTY:
            default = taken[key].default
            if default is EMPTY and taken[key].kind is not inspect.Parameter.VAR_POSITIONAL:
                yield Finding(area, name, key, f"has the default {one.default!r} in PyTorch, none here")
            elif _differ(default, one.default):
                yield Finding(area, name, key, f"is {default!r} unless it is given, in PyTorch {one.default!r}")
    for form in expected:
        order = [key for key in form if key in taken and form[key].kind is not inspect.Parameter.KEYWORD_ONLY]
        if order != [key for key in taken if key in order]:
            yield Finding(area, name, "", f"takes {', '.join(order)} in another order")
            break
    for key, one in taken.items():
        optional = one.default is not EMPTY or one.kind is inspect.Parameter.VAR_POSITIONAL
        if key not in every and not optional and any(expected):
            yield Finding(area, name, key, "is asked for here alone")


def _as_ours(mine: Any, form: Form, taken: Form) -> Form:
    """Arguments by the names that a function of ours gives to them, where it takes them by PyTorch's too."""
    unknown = {key: one for key, one in form.items() if key not in taken}
    known = {key: None for key in form if key in taken}
    called = {}
    for key in unknown:
        _, kwargs = Names(mine).own((), {**known, key: True})
        called[key] = next((own for own, value in kwargs.items() if value), key)
    called = {key: "input" if own == "self" else own for key, own in called.items()}
    return {called.get(key, key): one for key, one in form.items()}


def _differ(one: Any, other: Any) -> bool:
    """Whether two defaults are two values; those that are no plain values say nothing."""
    plain = (bool, int, float, str, type(None))
    named = any(isinstance(x, str) and (x == "cpu" or x.startswith("torch.")) for x in (one, other))
    return isinstance(one, plain) and isinstance(other, plain) and one != other and not named


@functools.cache
def differences() -> tuple[tuple[Finding, str], ...]:
    """Every difference with its reason, which is empty where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple((one, reason(one)) for area in AREAS for one in compare(area))


def reason(finding: Finding) -> str:
    """Why something differs, where that is on purpose."""
    absent = finding.what == "is missing"
    if finding.argument and absent and finding.argument in reasons.ARGUMENTS:
        return reasons.ARGUMENTS[finding.argument]
    full = f"{finding.name}({finding.argument})" if finding.argument else finding.name
    for why, names in reasons.DIFFERENT.get(finding.area, {}).items():
        if full in names.split():
            return why
    if finding.argument or not absent:
        return ""
    for why, names in reasons.ABSENT.items():
        if finding.name in names.split():
            return why
    return next((why for pattern, why in reasons.PATTERNS.items() if re.fullmatch(pattern, finding.name)), "")


def page() -> str:
    """The page "from PyTorch": what `reasons.py` says, with the names that each reason stands for; what is to come."""
    absent: dict[str, dict[str, list[str]]] = {}
    otherwise = []
    for one, why in sorted(differences()):
        if why and one.what == "is missing" and not one.argument:
            absent.setdefault(why, {}).setdefault(one.area, []).append(one.name)
        elif why and one.argument not in reasons.ARGUMENTS:
            otherwise.append(f"- `{one.area}.{one.name}`: `{one.argument}` {one.what}; {why}")
    lines = [reasons.HEAD.strip(), "", "## What means something else", "", reasons.MEANS.strip()]
    lines += ["", "## Arguments that are left out", ""]
    lines += [f"- `{name}`: {why}" for name, why in reasons.ARGUMENTS.items()]
    lines += ["", "## Defaults", "", *dict.fromkeys(otherwise), "", "## Names that are not there", ""]
    for why, areas in sorted(absent.items()):
        shown = "; ".join(f"{area}: {', '.join(f'`{name}`' for name in names)}" for area, names in areas.items())
        lines.append(f"- **{why[0].upper()}{why[1:]}.** {shown}")
    pending = PENDING.read_text(encoding="utf-8").split("\n")
    coming = [
        line.removesuffix(": is missing") for line in pending if line.endswith(": is missing") and "(" not in line
    ]
    lines += ["", "## Names that are not there yet", "", ", ".join(f"`{name}`" for name in coming) or "None."]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Print what has no reason, or write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.pytorch.names")
    parser.add_argument("areas", nargs="*", help="areas, or names in them: torch.Tensor, torch.nn.Linear")
    parser.add_argument("--write", action="store_true", help=f"write {PENDING.name} and {PAGE.name} anew")
    given = parser.parse_args(arguments)
    open_ones = [str(one) for one, why in differences() if not why]
    if given.write:
        PENDING.write_text("".join(f"{one}\n" for one in open_ones), encoding="utf-8")
        PAGE.write_text(page(), encoding="utf-8")
    shown = [one for one in open_ones if not given.areas or one.startswith(tuple(given.areas))]
    print(*shown, f"{len(shown)} findings without a reason", sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
