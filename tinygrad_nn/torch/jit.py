"""`torch.jit`: whoever scripts or traces a function wants it fast, so it is compiled as by `torch.compile`."""

from typing import Any

from ._compile import compile


def script(obj: Any, *settings: Any, **more: Any) -> Any:
    """The function or module, compiled."""
    return compile(obj)


def ignore(obj: Any = None, **settings: Any) -> Any:
    """The function itself, also as a decorator with settings."""
    return obj if callable(obj) else lambda function: function


trace, export, unused = script, ignore, ignore
