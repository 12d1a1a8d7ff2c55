"""The five dtypes under PyTorch's names: NumPy's own dtype objects."""

from __future__ import annotations

from .ops.rules import BOOL, FLOAT32, FLOAT64, INT32, INT64

bool = BOOL
int32 = int = INT32
int64 = long = INT64
float32 = float = FLOAT32
float64 = double = FLOAT64
