"""Optional packages: which extra brings which, and how one is imported.

An optional package is imported inside the function that uses it, through `require`, so that `import tinygrad_nn` loads
NumPy alone and a missing package is answered with the exact line that installs it. The table is that of
pyproject.toml.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

from ..errors import MissingExtra, message

EXTRAS: Final = MappingProxyType(
    {
        "data": ("polars", "sklearn", "pooch"),
        "ui": ("tqdm", "matplotlib"),
        "draw": ("pygraphviz",),
        "blas": ("scipy",),
        "sklearn": ("sklearn",),
        "sweep": ("joblib", "distributed", "cloudpickle"),
        "test": ("pytest", "hypothesis"),
    }
)
"""Extra -> the modules it brings that the package itself may ask for."""


def pip_line(extra: str = "") -> str:
    """Return the command that installs an extra, or the package with what it always needs.

    >>> pip_line("data")
    'pip install "tinygrad_nn[data]"'
    >>> pip_line()
    'pip install tinygrad_nn'
    """
    return f'pip install "tinygrad_nn[{extra}]"' if extra else "pip install tinygrad_nn"


def require(module: str, extra: str = "") -> Any:
    """Import and return a module, dotted names included; `MissingExtra` names the line that installs it.

    Without `extra` the module is one that is always installed but imported late (graphviz, platformdirs). The result is
    typed `Any`: the package must type-check where the module is absent.

    >>> require("json.decoder", "data").__name__
    'json.decoder'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # A module that lacks one of its own dependencies is as good as absent, and the same line repairs it.
        missing = error.name or module
        text = message(module, f"no module named {missing!r}", "it to be installed", pip_line(extra))
        raise MissingExtra(text, name=missing) from error
