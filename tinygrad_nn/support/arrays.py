"""Numbers in, or the place where they are not: the checks that every reader of data shares.

Invariant: what `as_array` returns has a bool, integer or floating dtype. Rows and columns in messages count from 0,
as they are indexed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import DataError, message
from .memory import check_fits
from .settings import shown

Array: TypeAlias = npt.NDArray[Any]
Names: TypeAlias = tuple[str, ...] | None

IMPUTE = "impute (data.MeanImputer) or drop these rows"


def is_masked(value: object) -> bool:
    """Whether something is a masked array. NumPy loads `numpy.ma` late, and whoever has one has it loaded.

    >>> is_masked(np.ma.array([1.0, 2.0], mask=[True, False])), is_masked(np.ones(2))
    (True, False)
    """
    return isinstance(value, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ()))


def as_array(op: str, value: object, what: str = "data") -> Array:
    """`value` (array, or nested lists of equal lengths) as a numeric array.

    Raises DataError for masked arrays, ragged lists, text, None and objects, and names the first place.

    >>> as_array("fit", [[1, 2], [3, 4]]).shape
    (2, 2)
    """
    if is_masked(value):
        raise DataError(message(op, f"{what} that is a masked array", "an array: its mask would be lost",
                                "fill it with x.filled(value), or drop what is masked"))
    if isinstance(value, range):
        check_fits(op, f"{what} of {value}", 8 * max(0, (value.stop - value.start) // value.step))
    try:
        array = np.asarray(value)
    except Exception as error:  # NumPy refuses ragged lists, without saying where
        if not isinstance(error, ValueError) or not isinstance(value, (list, tuple)):
            got = f"{what} of type {type(value).__name__}"
            raise DataError(message(op, got, "an array, or nested lists")) from None
        raise DataError(message(op, f"{what} with {_ragged_place(value)}", "rows of equal length",
                                "pad the rows; sequences of different lengths go in a list of arrays")) from None
    if array.dtype.kind in "biuf":
        return array
    for index, item in np.ndenumerate(np.asarray(value, dtype=object)):
        if not isinstance(item, (Real, np.bool_)):
            place = ", ".join(map(str, index))
            raise DataError(message(op, f"{shown(item)} ({type(item).__name__}) at [{place}] of {what}", "numbers",
                                    "encode categories (data.OneHotEncoder); impute or drop what is missing"))
    raise DataError(message(op, f"{what} with dtype {array.dtype}", "a bool, integer or floating dtype",
                            "convert it, as in x.astype(np.float64)"))


def check_finite(op: str, array: Array, what: str = "data", names: Sequence[str] | None = None,
                 allow_nan: bool = False) -> None:
    """Raise DataError for the first NaN or infinity, with its row and column (by name where `names` are given).

    >>> check_finite("fit", np.array([[1.0, 2.0]]), names=("Age", "Fare"))
    """
    if array.dtype.kind != "f":
        return
    bad = np.isinf(array) if allow_nan else ~np.isfinite(array)
    if not bad.any():
        return
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    place = f"row {index[0]}" if index else "its only value"
    if array.ndim == 2:
        place += f", column {names[index[1]]!r}" if names else f", column {index[1]}"
    elif array.ndim > 2:
        place += f", index {list(index)}"
    raise DataError(message(op, f"{array[index]} in {what}, {place} ({int(bad.sum())} such values)", "finite numbers",
                            IMPUTE))


def matrix(op: str, x: Any, names: Sequence[str] | None, width: int | None = None, allow_nan: bool = False) -> Array:
    """Finite float matrix of the expected width."""
    matrix = as_array(op, x)
    matrix = matrix if matrix.dtype == np.float32 else matrix.astype(np.float64)
    width = len(names) if names is not None else width
    if matrix.ndim != 2 or (width is not None and matrix.shape[1] != width):
        columns = "columns" if width is None else f"{width} columns" + (f" ({', '.join(names)})" if names else "")
        raise DataError(message(op, f"shape {matrix.shape}", f"(rows, columns) with {columns}",
                                "a single column is x.reshape(-1, 1)" if matrix.ndim < 2 else ""))
    check_finite(op, matrix, "data", names, allow_nan)
    return matrix


def check_names(op: str, wanted: Sequence[str], present: Sequence[str], where: str) -> None:
    """Raise DataError when a wanted name is not present, or a name occurs twice on either side.

    >>> check_names("read_csv", ["Age"], ["Age", "Fare"], "titanic.csv")
    """
    if isinstance(wanted, str):
        raise DataError(message(op, f"the string {wanted!r} for columns", "a list of names", f"use [{wanted!r}]"))
    for name in wanted:
        if not isinstance(name, str):
            raise DataError(message(op, f"{shown(name)} as a column", "the names of columns"))
    for names, owner in ((present, where), (wanted, "the columns asked for")):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(message(op, f"duplicate column {_quoted(twice)} in {owner}", "column names that differ",
                                    "rename one of them"))
    missing = [name for name in wanted if name not in present]
    if missing:
        close = get_close_matches(missing[0], present, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "check the spelling, the separator and the header line"
        raise DataError(message(op, f"{where} without column {_quoted(missing)}; it has {_quoted(present)}",
                                f"columns {_quoted(wanted)}", hint))


def is_sequence(value: Any) -> bool:
    """True for what has entries: lists, arrays and Tensors of one axis or more; not for text.

    >>> is_sequence([1]), is_sequence("abc"), is_sequence(np.array(1.0))
    (True, False, False)
    """
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) > 0


def _quoted(names: Sequence[str], limit: int = 12) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _ragged_place(value: Any) -> str:
    """The first two entries of nested lists whose lengths differ, in words."""
    level = [("", value)]
    for _ in range(8):
        level = [(f"{place}[{i}]", entry) for place, item in level for i, entry in enumerate(item)]
        sizes = [f"{len(entry)} entries" if is_sequence(entry) else "a single value" for _, entry in level]
        odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
        if odd is not None:
            return f"{sizes[0]} at {level[0][0]} but {sizes[odd]} at {level[odd][0]}"
        if not is_sequence(level[0][1]):
            break
    return "ragged rows"
