"""`torch.testing`."""

from typing import Any

import numpy as np

from ..tensor import Tensor

_TOLERANCES = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    msg: Any = None,
    **settings: Any,
) -> None:
    """Raise AssertionError where two tensors, numbers, or lists or dicts of them, differ by more than rounding."""
    if isinstance(expected, dict):
        actual, expected = [actual[key] for key in expected], list(expected.values())
    if isinstance(expected, (list, tuple)):
        for one, other in zip(actual, expected, strict=True):
            assert_close(one, other, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype, msg=msg)
        return
    a, b = (np.asarray(x.detach() if isinstance(x, Tensor) else x) for x in (actual, expected))
    if a.shape != b.shape or (check_dtype and a.dtype != b.dtype):
        raise AssertionError(msg or f"{a.shape}:{a.dtype} is not {b.shape}:{b.dtype}")
    least = max(_TOLERANCES.get(x.dtype.name, (0.0, 0.0)) for x in (a, b))
    rtol, atol = least[0] if rtol is None else rtol, least[1] if atol is None else atol
    np.testing.assert_allclose(a, b, rtol, atol, equal_nan, msg or "")
