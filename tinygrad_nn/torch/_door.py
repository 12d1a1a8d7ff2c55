"""The one way in which the modules of this package have names: their own, their submodules', those of `tinygrad_nn`.

A name is looked up when it is first asked for and kept from then on. One that there is not says so with the nearest
one that there is, and with the page that lists every difference from PyTorch: as AttributeError, in
`from tinygrad_nn.torch.x import y` as ImportError. PyTorch's small files, as `torch.optim.adam`, are here the module
above them, so that an import from there finds what it names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from opcode import opmap
from pkgutil import iter_modules
from typing import Any, Final

from ..errors import MissingImport, MissingName, message

PAGE: Final = "docs/from_pytorch.md"
_ROOT: Final = __name__.partition(".")[0]


def door(name: str, *sources: str, files: str = "") -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of the module called `name`, which has what these parts of `tinygrad_nn` have, and
    stands for what PyTorch has below it in `files`.
    """
    module = sys.modules[name]
    own = vars(module)
    for file in files.split():
        place(f"{name}.{file}", module)
    submodules = frozenset(found.name for found in iter_modules(own.get("__path__", ())) if found.name[0] != "_")
    for submodule in submodules & own.keys():  # that of `tinygrad_nn`, which came with its other names
        del own[submodule]

    def names() -> list[str]:
        found = {*own, *submodules} | {one for part in sources for one in dir(_part(part))}
        return sorted(one for one in found if not one.startswith("_"))

    def get(wanted: str) -> Any:
        if wanted == "__all__":
            return names()
        if wanted in submodules:
            return import_module(f"{name}.{wanted}")
        if wanted.startswith("_"):
            raise AttributeError(f"module {name!r} has no attribute {wanted!r}")
        for part in sources:
            module = _part(part)
            if hasattr(module, wanted):
                own[wanted] = value = getattr(module, wanted)
                return value
        raise _missing(name, wanted, names())

    return get, names


def place(name: str, module: Any) -> None:
    """Let imports of `name` find this module: Python looks there before it looks for a file."""
    sys.modules[name] = module
    above, _, short = name.rpartition(".")
    vars(sys.modules[above])[short] = module


def _part(part: str) -> Any:
    """A part of `tinygrad_nn` by its name; the package itself has none."""
    return import_module(f"{_ROOT}.{part}".rstrip("."))


def _missing(module: str, wanted: str, names: list[str]) -> AttributeError | ImportError:
    """The error for a name that a module has not, by the statement that asked for it."""
    near = get_close_matches(wanted, names, 1)
    nearest = f"did you mean {near[0]}? " if near else ""
    short = module.removeprefix(f"{_ROOT}.")
    text = message(short, f"the name {wanted!r}", "one that tinygrad_nn has", f"{nearest}{PAGE} lists what differs")
    frame = sys._getframe(2)  # whoever asked: this function, `get`, and then the statement
    imports = frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]
    return MissingImport(text, name=module) if imports else MissingName(text, name=wanted)
