"""What every part may use and none is about: settings, files, memory, tables of text, optional packages, Ctrl-C; and
names of packages that are loaded late.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def late(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that has names of its submodules, by submodule, and loads one of these
    when the first of its names is asked for. A name that a submodule itself has stands for the submodule.

    >>> get, _ = late("tinygrad_nn", {"history": "history History"})
    >>> get("history").History is get("History")
    True
    """
    homes = {name: module for module, listed in names.items() for name in listed.split()}
    own = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f".{homes[name]}", package)
        value = own[name] = module if name == homes[name] else getattr(module, name)
        return value

    return get, lambda: sorted({*own, *homes})
