"""What PyTorch has for machines, devices, modes and printing, of which most has one answer here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ..support.settings import CPU, Device, check_device
from ..tensor import Tensor
from ..tensor.core import mode
from ..tensor.creation import set_default_dtype
from ..tensor.shape import Size as Size

__all__ = [  # noqa: RUF022
    "Size", "are_deterministic_algorithms_enabled", "channels_last", "contiguous_format", "dtype", "e", "finfo",
    "get_default_device", "get_deterministic_debug_mode", "get_device", "get_float32_matmul_precision",
    "get_num_interop_threads", "iinfo", "inf", "is_complex", "is_floating_point", "is_grad_enabled",
    "is_inference_mode_enabled", "is_tensor", "nan", "newaxis", "pi", "preserve_format", "set_default_device",
    "set_default_tensor_type", "set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal",
    "set_num_interop_threads", "set_warn_always", "sparse_coo", "strided", "typename", "use_deterministic_algorithms",
    "__version__",
]  # fmt: skip

__version__: Final = "2.13.0"
pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None
strided, sparse_coo = "torch.strided", "torch.sparse_coo"
contiguous_format, preserve_format, channels_last = (f"torch.{n}_format" for n in ("contiguous", "preserve", "last"))
iinfo, dtype = np.iinfo, np.dtype


def finfo(type: Any = None) -> Any:
    """The limits of a float dtype, of the default one unless it is named."""
    return np.finfo(mode.dtype if type is None else type)


def is_tensor(obj: Any) -> bool:
    """Whether something is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether a tensor has a float dtype."""
    return input.dtype.kind == "f"


def is_grad_enabled() -> bool:
    """Whether gradients are recorded."""
    return bool(mode.grad)


def set_default_tensor_type(t: Any) -> None:
    """The dtype of new float tensors, by a constructor such as FloatTensor or by its name."""
    set_default_dtype("float64" if "Double" in str(t) else "float32" if "Float" in str(t) else t)


def typename(obj: Any) -> str:
    """The type of a thing, with the module where it is."""
    return f"{type(obj).__module__}.{type(obj).__qualname__}"


# ---- settings that change nothing: everything is deterministic, in full precision, one operation at a time -----------


def always(answer: Any) -> Callable[..., Any]:
    """A function that takes anything and has one answer."""
    return lambda *args, **kwargs: answer


use_deterministic_algorithms = set_deterministic_debug_mode = set_warn_always = always(None)
are_deterministic_algorithms_enabled = always(True)
set_float32_matmul_precision, get_float32_matmul_precision = always(None), always("highest")
set_num_interop_threads, get_num_interop_threads, set_flush_denormal = always(None), always(1), always(False)
get_device, get_default_device, is_complex, get_deterministic_debug_mode = map(always, (-1, CPU, False, 0))


def set_default_device(device: Device) -> None:
    """The CPU; any other device is a ConfigError."""
    check_device("set_default_device", device)


def is_inference_mode_enabled() -> bool:
    """Whether gradients are off: inference mode is no_grad here."""
    return not mode.grad
