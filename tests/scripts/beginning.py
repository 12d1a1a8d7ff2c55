"""Equal beginnings: what PyTorch and we would draw differently, a script draws with NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def begin(module: Any, seed: int = 0) -> Any:
    """The module, with parameters drawn by NumPy: uniform, a matrix by the length of its rows; scales around 1."""
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        shape = tuple(parameter.shape)
        fan = math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)
        is_scale = len(shape) == 1 and bool((parameter.detach() == 1).all())  # of a norm
        value = rng.uniform(-1, 1, shape) / math.sqrt(max(fan, 1)) + is_scale
        parameter.data.copy_(parameter.data.new_tensor(value.tolist()))
    return module
