"""Features of tables: the fitted transformers, which are layers (`nn.preprocessing`), and products of columns.

Matrices have shape (rows, columns). Column names, where given, serve messages. Every function raises DataError for
empty, non-numeric or misshapen input.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, combinations_with_replacement
from math import comb
from typing import Any

import numpy as np

from ..errors import DataError, message
from ..nn.preprocessing import MaxAbsScaler as MaxAbsScaler
from ..nn.preprocessing import MeanImputer as MeanImputer
from ..nn.preprocessing import MinMaxScaler as MinMaxScaler
from ..nn.preprocessing import OneHotEncoder as OneHotEncoder
from ..nn.preprocessing import StandardScaler as StandardScaler
from ..support.arrays import Array, matrix
from ..support.memory import check_fits
from ..support.settings import LARGEST, shown, typed_as


@typed_as(DataError)
def polynomial_features(x: Any, names: Sequence[str] | None = None, *, degree: int = 2,
                        interaction_only: bool = False) -> tuple[Array, tuple[str, ...]]:
    """The columns of `x` and their products up to `degree`, with their names; `interaction_only` leaves out powers.

    Columns come by degree, then in the order of the factors. No constant column: layers have a bias.

    >>> polynomial_features([[2.0, 3.0]], ("a", "b"))
    (array([[2., 3., 4., 6., 9.]]), ('a', 'b', 'a^2', 'a*b', 'b^2'))
    >>> polynomial_features([[2.0, 3.0]], ("a", "b"), interaction_only=True)[1]
    ('a', 'b', 'a*b')
    """
    op = "polynomial_features"
    if names is not None and not all(isinstance(name, str) for name in names):
        raise DataError(message(op, f"names {shown(names)}", "texts"))
    names = None if names is None else tuple(names)
    x = matrix(op, x, names)
    if not 1 <= degree <= LARGEST:
        raise DataError(message(op, f"degree={shown(degree)}", "degree >= 1", "degree=2 gives squares and pairs"))
    names = [f"x{j + 1}" for j in range(x.shape[1])] if names is None else names
    width = x.shape[1]
    count = sum(comb(width, size) for size in range(1, min(degree, width) + 1)) if interaction_only else (
        comb(width + degree, degree) - 1)
    check_fits(op, f"degree={degree} of {width} columns, which is {count:,} products",
               count * (len(x) * x.itemsize + 100 + 8 * degree))
    choose = combinations if interaction_only else combinations_with_replacement
    factors = [chosen for size in range(1, degree + 1) for chosen in choose(range(x.shape[1]), size)]
    products = np.stack([x[:, list(chosen)].prod(axis=1) for chosen in factors], axis=1)
    return products, tuple(_product_name(names, chosen) for chosen in factors)


def _product_name(names: Sequence[str], factors: tuple[int, ...]) -> str:
    powers = {j: factors.count(j) for j in factors}
    return "*".join(names[j] + (f"^{power}" if power > 1 else "") for j, power in powers.items())
