"""`tg.save` and `tg.load`: nested dicts and lists of tensors and numbers in one `.npz` file, without pickle.

The structure is JSON inside of the archive and the arrays are plain `.npy` members under names of our own, so nothing
that is read can carry code and no name in a file becomes a path. A file is written whole or not at all.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError, message
from .files import write_atomic
from .tensor import Tensor
from .tensor.core import constant

StrPath = str | os.PathLike[str]
FORMAT = 1
_PLAIN = (str, int, float, bool, type(None))


def save(value: Any, path: StrPath) -> None:
    """Write a state_dict (or any nesting of dicts, lists and tuples of tensors, arrays, numbers and strings) to a file.

    Raises DataError, before anything is written, for values of another type.

    >>> import tempfile, tinygrad_nn as tg
    >>> path = tempfile.mkdtemp() + "/model.npz"
    >>> tg.save({"weight": tg.ones(2), "epoch": 3}, path)
    >>> tg.load(path)["weight"].tolist(), tg.load(path)["epoch"]
    ([1.0, 1.0], 3)
    """
    arrays: dict[str, Any] = {}
    tree = _encode(value, arrays, "")
    header = json.dumps({"format": FORMAT, "tree": tree}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(header, np.uint8), **arrays)
    write_atomic(Path(path), buffer.getvalue())


def _encode(value: Any, arrays: dict[str, Any], place: str) -> Any:
    """The JSON form of a value; arrays go to `arrays` and leave their number behind."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        array = np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value)
        if array.dtype.hasobject:
            raise DataError(message("save", f"an array of objects at {place or 'the top'}", "numbers"))
        name = f"a{len(arrays)}"
        arrays[name] = array
        return {"kind": "tensor" if isinstance(value, Tensor) else "array", "name": name}
    if isinstance(value, dict):
        return {
            "kind": "dict",
            "items": [[_key(k, place), _encode(v, arrays, f"{place}.{k}")] for k, v in value.items()],
        }
    if isinstance(value, (list, tuple)):
        parts = [_encode(part, arrays, f"{place}[{k}]") for k, part in enumerate(value)]
        return {"kind": "list" if isinstance(value, list) else "tuple", "items": parts}
    if isinstance(value, _PLAIN):
        return {"kind": "plain", "value": value}
    got = f"a {type(value).__name__} at {place or 'the top'}"
    raise DataError(
        message("save", got, "tensors, arrays, numbers, strings, dicts and lists", "save model.state_dict()")
    )


def _key(key: Any, place: str) -> Any:
    if not isinstance(key, (str, int)) or isinstance(key, bool):
        raise DataError(
            message("save", f"a key of type {type(key).__name__} in {place or 'the top'}", "a string or an integer")
        )
    return key


def load(path: StrPath) -> Any:
    """Read what `save` wrote. Raises DataError for a file that is missing, damaged or not ours."""
    try:
        content = io.BytesIO(Path(path).read_bytes())
        with np.load(content, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise DataError(
                message("load", f"{path} of format {header['format']}", f"format {FORMAT}", "update tinygrad_nn")
            )
        return _decode(header["tree"], arrays)
    except FileNotFoundError:
        raise DataError(message("load", f"no file {path}", "a file written by tg.save")) from None
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            message("load", f"{path}, which cannot be read ({error})", "a file written by tg.save")
        ) from error


def _decode(tree: Any, arrays: dict[str, Any]) -> Any:
    kind = tree["kind"]
    if kind == "plain":
        return tree["value"]
    if kind in ("tensor", "array"):
        array = arrays[tree["name"]]
        return Tensor.handle(constant(array)) if kind == "tensor" else array
    if kind == "dict":
        return {key: _decode(value, arrays) for key, value in tree["items"]}
    parts = [_decode(part, arrays) for part in tree["items"]]
    return tuple(parts) if kind == "tuple" else parts
