"""Devices, of which there is one. Code that names the CPU runs, and any other device is an error that says so."""

from __future__ import annotations

from typing import Any, Final

from ..errors import ConfigError, message

EXPECTED: Final = "'cpu', the only device that there is"
TYPES: Final = frozenset("cpu cuda mps xpu hpu mtia xla meta vulkan ipu hip opengl privateuseone".split())


class device:  # noqa: N801  as in PyTorch
    """Where a tensor lies: `tg.device("cpu")`.

    >>> device("cpu").type
    'cpu'
    >>> device("cuda")
    Traceback (most recent call last):
    tinygrad_nn.errors.ConfigError: [device] got 'cuda'; expected 'cpu', the only device that there is
    """

    __slots__ = ("index",)
    type: Final = "cpu"
    index: int | None

    def __init__(self, device: Any = "cpu", index: int | None = None) -> None:
        if not is_cpu(device):
            raise ConfigError(message("device", f"{device!r}", EXPECTED))
        self.index = 0 if str(device) == "cpu:0" else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.index == other.index

    def __hash__(self) -> int:
        return hash(self.index)

    def __str__(self) -> str:
        return "cpu" if self.index is None else f"cpu:{self.index}"

    def __repr__(self) -> str:
        return f"device(type='cpu'{'' if self.index is None else f', index={self.index}'})"

    def __enter__(self) -> device:
        return self

    def __exit__(self, *error: object) -> None:
        """New tensors are on the CPU anyway."""


CPU: Final = device()
Device = device | str | None  # what a parameter called device takes


def is_cpu(value: Any) -> bool:
    """Whether something names the CPU."""
    return isinstance(value, device) or (isinstance(value, str) and value in ("cpu", "cpu:0"))


def is_device(value: Any) -> bool:
    """Whether something names a device, be it there or not."""
    text = isinstance(value, str) and value.partition(":")[0] in TYPES
    return text or isinstance(value, device) or (type(value) is int)


def check_device(name: str, value: Any) -> None:
    """Raise ConfigError for a device other than the CPU; None is the default one."""
    if value is not None and not is_cpu(value):
        raise ConfigError(message(name, f"device {value!r}", EXPECTED))
