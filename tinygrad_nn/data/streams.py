"""Where the random numbers of this folder come from: one stream for each purpose, so that seeds may be shared.

A script has one seed and hands it to everything. If a generator of data and a split drew from the same stream, both
would begin with the same permutation, and what the first chose (who is a thief) would always fall into the same part.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from ..errors import DataError, message
from ..support.settings import shown


def stream(purpose: str, seed: int) -> np.random.Generator:
    """A generator for one purpose: independent of those of other purposes, and of NumPy's own, for the same seed.

    Raises DataError, by the name of the purpose, unless `seed` is a whole number of at least 0.

    >>> [int(stream(purpose, 0).integers(1000)) for purpose in ("split", "split", "kfold")]
    [76, 76, 512]
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DataError(message(purpose, f"seed={shown(seed)}", "a whole number, at least 0", "as in seed=42"))
    return np.random.default_rng([crc32(purpose.encode()), int(seed)])
