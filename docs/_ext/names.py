"""What is public: the names of each door of the package, as the package itself lists them, and what stands in front of
a name where it is used. Pages of the reference, links from other pages and the tests read it from here.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "tinygrad_nn"
DOORS: Final = {  # a door, and what users write in front of its names
    "": "tg",
    "autograd": "tg.autograd",
    "callbacks": "callbacks",
    "data": "data",
    "data.sequences": "data.sequences",
    "data.synthetic": "data.synthetic",
    "distributions": "distributions",
    "distributions.constraints": "constraints",
    "errors": "errors",
    "export": "tg.export",
    "functional": "F",
    "linalg": "linalg",
    "metrics": "metrics",
    "nn": "nn",
    "nn.init": "nn.init",
    "nn.utils": "nn.utils",
    "nn.utils.parametrizations": "nn.utils.parametrizations",
    "nn.utils.parametrize": "nn.utils.parametrize",
    "nn.utils.rnn": "nn.utils.rnn",
    "nn.utils.stateless": "nn.utils.stateless",
    "optim": "optim",
    "optim.lr_scheduler": "lr_scheduler",
    "random": "tg.random",
    "sklearn": "tg.sklearn",
    "testing": "tg.testing",
    "testing.strategies": "strategies",
}
INNER: Final = {  # what one file of the package takes from another, and nobody else needs
    "autograd": {"as_tuple"},
    "callbacks": {"monitored", "shown"},
    "errors": {"message", "printable"},
    "nn.utils.parametrizations": {"as_matrix", "checked_weight", "default_axis", "norm_except"},
    "nn.utils.rnn": {"invert_permutation", "padded"},
    "random": {"fresh_seed", "order_generator", "source_of", "uniform", "working_with"},
    "testing.strategies": {"OverFeatures", "OverTime"},
}


@dataclass(frozen=True)
class Name:
    """A public function or class."""

    door: str
    name: str
    value: Any

    @property
    def full(self) -> str:
        """Its place in the inventory of the site."""
        return ".".join(part for part in (PACKAGE, self.door, self.name) if part)

    @property
    def prefix(self) -> str:
        """What users write in front of it."""
        return DOORS[self.door] + "."

    @property
    def home(self) -> str:
        """The module that defines it, without the name of the package."""
        return str(self.value.__module__).removeprefix(PACKAGE + ".")

    @property
    def doc(self) -> str:
        """The docstring of it or of what it stands for, not of a class that it is derived from."""
        own = self.value.__doc__ if inspect.isclass(self.value) else inspect.getdoc(self.value)
        return inspect.cleandoc(own or "")

    @property
    def examples(self) -> bool:
        """Whether its docstring has one; a class may have it at its first method."""
        return ">>>" in self.doc


@cache
def public(door: str) -> tuple[Name, ...]:
    """The functions and classes of a door. A package lists them in its `__init__`; a module has what it defines, and
    what it imports under its own name.
    """
    module = import_module(f"{PACKAGE}.{door}" if door else PACKAGE)
    listed = dir(module) if hasattr(module, "__path__") else sorted({*_defined(Path(inspect.getfile(module)))})
    found = ((name, getattr(module, name)) for name in listed if name[0] != "_" and name not in INNER.get(door, ()))
    return tuple(
        Name(door, name, value)
        for name, value in found
        if (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__.split(".")[0] == PACKAGE
    )


def _defined(path: Path) -> Iterator[str]:
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.ImportFrom):
            yield from (alias.name for alias in statement.names if alias.asname == alias.name)


@cache
def everything() -> dict[str, Name]:
    """All of them by their full name."""
    return {name.full: name for door in DOORS for name in public(door)}


@cache
def mentioned() -> dict[str, str]:
    """Full names by what pages call them: `tg.nn.Linear`, `nn.Linear`, `functional.relu`, and `Linear` where only one
    door has a class of that name.
    """
    known: dict[str, str] = {}
    alone: dict[str, set[str]] = {}
    for full, name in everything().items():
        known |= {name.prefix + name.name: full, full.replace(PACKAGE, "tg", 1): full}
        if name.door:
            known[f"{name.door}.{name.name}"] = full
        if inspect.isclass(name.value) and name.name[0].isupper():
            alone.setdefault(name.name, set()).add(full)
    known |= {short: min(fulls) for short, fulls in alone.items() if len(fulls) == 1}
    return known


def members(cls: type) -> dict[str, Any]:
    """The public methods and properties of a class that say something: its own, and those of classes below it that
    have no entry themselves.
    """
    shown = {name.value for name in everything().values() if inspect.isclass(name.value)}
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base is not cls and (base in shown or not base.__module__.startswith(PACKAGE)):
            continue
        for name, value in vars(base).items():
            plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            ours = inspect.isroutine(plain) and str(getattr(plain, "__module__", "")).startswith(PACKAGE)
            if name[0] != "_" and ours and plain.__doc__:
                found.setdefault(name, value)
    return found
