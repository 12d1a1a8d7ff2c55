"""`tg.save` and `tg.load`: a training in one `.npz` file, without pickle. Models, optimizers, fitted preprocessing,
tensors, arrays, and metadata in nested dicts and lists.

The structure is JSON inside of the archive and the arrays are plain `.npy` members under names of our own, so nothing
that is read can carry code and no name in a file becomes a path. A file is written whole or not at all, and each
member has a checksum: what was damaged is refused.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from .data import preprocess
from .errors import DataError, message
from .files import write_atomic
from .tensor import Tensor
from .tensor.core import constant

StrPath = str | os.PathLike[str]
FORMAT: Final = 1
OURS: Final = "a file written by tg.save"
_PLAIN: Final = (str, int, float, bool, type(None))
_FITTED: Final = {
    name: kind for name, kind in vars(preprocess).items() if isinstance(kind, type) and is_dataclass(kind)
}
_OTHERS: Final = {
    **dict.fromkeys((".pt", ".pth"), "PyTorch"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "pickle"),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "Keras"),
    **dict.fromkeys((".tflite", ".pb"), "TensorFlow"),
    **dict.fromkeys((".yaml", ".yml", ".toml", ".txt"), "text"),
    ".safetensors": "safetensors",
    ".onnx": "ONNX",
    ".gguf": "GGUF",
    ".msgpack": "MessagePack",
    ".tar": "tar",
    ".npy": "NumPy's single array",
    ".json": "JSON",
    ".csv": "CSV",
    ".parquet": "Parquet",
    ".mat": "MATLAB",
}


class FileError(DataError, OSError):
    """A file that cannot be read or written: a full disk, a missing folder."""


def save(value: Any, path: StrPath) -> None:
    """Write a training to a file: `tg.save({"model": model, "optimizer": opt, "scaler": scaler, "epoch": 3}, path)`.

    `value` is any nesting of dicts, lists and tuples of tensors, arrays, numbers, strings, paths, None, fitted
    transformers of `tg.data`, and objects with a `state_dict()` (modules, optimizers, schedules, generators,
    histories), whose state is written. Keys are strings, integers, or tuples of them.

    Raises DataError, before anything is written, for values of another type and for a path with the extension of
    another format; FileError where it cannot write, and the old file is still there.

    >>> import tempfile, tinygrad_nn as tg
    >>> path = tempfile.mkdtemp() + "/model.npz"
    >>> model = tg.nn.Linear(2, 1)
    >>> tg.save({"model": model, "epoch": 3}, path)
    >>> model.load_state_dict(tg.load(path)["model"]); tg.load(path)["epoch"]
    3
    """
    target = own_path("save", path)
    content = packed(value)
    try:
        write_atomic(target, content)
    except OSError as error:
        got = f"{path}, which cannot be written ({error.strerror or error})"
        raise FileError(message("save", got, "room on the disk and a folder that exists")) from error


def load(path: StrPath) -> Any:
    """Read what `save` wrote: the same nesting, a state_dict where an object with one was given, transformers as they
    were.

    Raises DataError for a file that is missing, damaged or not ours.
    """
    source = own_path("load", path)
    try:
        content = source.read_bytes()
    except FileNotFoundError:
        raise DataError(message("load", f"no file {path}", OURS)) from None
    except OSError as error:
        raise FileError(message("load", f"{path}, which cannot be read ({error.strerror})", OURS)) from None
    return unpacked(content, str(path))


def own_path(op: str, path: StrPath) -> Path:
    """A path that may hold a file of ours; DataError where its extension says that it holds something else."""
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(message(op, f"a {type(path).__name__} as the path", "a string or a Path"))
    found = Path(path)
    other = _OTHERS.get(found.suffix.lower())
    if other is not None:
        got = f"{path}, whose extension stands for another format ({other})"
        raise DataError(message(op, got, "a name such as model.npz", "this is the format of tg.save, and no other"))
    return found


def checkpoint_path(op: str, path: StrPath) -> Path:
    """The file for checkpoints that a path means: one in it, if it is a folder."""
    found = own_path(op, path)
    return found / "checkpoint.npz" if found.is_dir() else found


# ---- writing ------------------------------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    """The content of a file; DataError for what cannot be in one."""
    arrays: dict[str, Any] = {}
    try:
        tree = _encode(value, arrays, "")
        header = json.dumps({"format": FORMAT, "tree": tree}).encode()
    except RecursionError:
        raise DataError(message("save", "a structure that is too deep, or contains itself", "a tree")) from None
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(header, np.uint8), **arrays)
    return buffer.getvalue()


def _encode(value: Any, arrays: dict[str, Any], place: str) -> Any:
    """The JSON form of a value; arrays go to `arrays` and leave their number behind."""
    for kinds, rule in _RULES:
        if isinstance(value, kinds):
            return rule(value, arrays, place)
    if _FITTED.get(type(value).__name__) is type(value):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"kind": "fitted", "class": type(value).__name__, "fields": _encode(own, arrays, place)}
    state = getattr(value, "state_dict", None)
    if callable(state) and not isinstance(value, type):
        return _encode(state(), arrays, place)
    got = f"a {type(value).__name__} at {place or 'the top'}"
    hint = "save model.state_dict(), or the numbers it is made of"
    raise DataError(message("save", got, "tensors, arrays, numbers, strings, dicts and lists", hint))


def _array(kind: str) -> Callable[..., Any]:
    def rule(value: Any, arrays: dict[str, Any], place: str) -> Any:
        array = np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value)
        if array.dtype.hasobject:
            raise DataError(message("save", f"an array of objects at {place or 'the top'}", "numbers"))
        name = f"a{len(arrays)}"
        arrays[name] = array
        return {"kind": kind, "name": name}

    return rule


def _dict(value: dict[Any, Any], arrays: dict[str, Any], place: str) -> Any:
    items = [[_key(key, place), _encode(part, arrays, f"{place}.{key}")] for key, part in value.items()]
    return {"kind": "dict", "items": items}


def _list(value: Any, arrays: dict[str, Any], place: str) -> Any:
    kind = "list" if isinstance(value, list) else "tuple"
    if kind == "list" and all(type(part) in _PLAIN for part in value):
        return {"kind": "plain", "value": value}
    return {"kind": kind, "items": [_encode(part, arrays, f"{place}[{k}]") for k, part in enumerate(value)]}


def _plain(value: Any, arrays: dict[str, Any], place: str) -> Any:
    return {"kind": "plain", "value": value}


def _path(value: Path, arrays: dict[str, Any], place: str) -> Any:
    return {"kind": "path", "value": str(value)}


_RULES: Final[tuple[tuple[Any, Callable[..., Any]], ...]] = (
    (Tensor, _array("tensor")),
    (np.ndarray, _array("array")),
    (np.generic, _array("scalar")),  # before the plain ones: np.float64 is a float
    (dict, _dict),
    ((list, tuple), _list),
    (_PLAIN, _plain),
    (Path, _path),
)


def _key(key: Any, place: str) -> Any:
    """A key in JSON, where a tuple is a list."""
    if isinstance(key, tuple):
        return [_key(part, place) for part in key]
    if not isinstance(key, (str, int)) or isinstance(key, bool):
        got = f"a key of type {type(key).__name__} in {place or 'the top'}"
        raise DataError(message("save", got, "a string, an integer, or a tuple of them"))
    return key


# ---- reading ------------------------------------------------------------------------------------------------------


def unpacked(content: bytes, name: str) -> Any:
    """What the content of a file called `name` holds."""
    try:
        arrays = _members(content)
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            got = f"{name} of format {header['format']}"
            raise DataError(message("load", got, f"format {FORMAT}", "update tinygrad_nn"))
        return _decode(header["tree"], arrays)
    except DataError:
        raise
    except Exception:  # whatever damage makes of a file; what NumPy would say of it may be to load it unsafely
        raise DataError(message("load", f"{name}, {_fault(content)}", OURS)) from None


def _members(content: bytes) -> dict[str, Any]:
    """The arrays of an archive, by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            info.filename.removesuffix(".npy"): np.lib.format.read_array(
                io.BytesIO(archive.read(info)), allow_pickle=False
            )
            for info in archive.infolist()
        }


def _fault(content: bytes) -> str:
    """What is wrong with a file that cannot be read, as far as its beginning tells."""
    if not content:
        return "which is empty"
    if content.startswith(b"PK"):
        return "which is damaged, or an archive of something else"
    return "which is a pickle and could carry code" if content.startswith(b"\x80") else "which is something else"


def _decode(tree: Any, arrays: dict[str, Any]) -> Any:
    kind = tree["kind"]
    if kind in ("plain", "path"):
        return tree["value"] if kind == "plain" else Path(tree["value"])
    if kind in ("tensor", "array", "scalar"):
        array = arrays[tree["name"]]
        return Tensor.handle(constant(array)) if kind == "tensor" else array if kind == "array" else array[()]
    if kind == "dict":
        return {_key_again(key): _decode(value, arrays) for key, value in tree["items"]}
    if kind == "fitted":
        return _FITTED[tree["class"]](**_decode(tree["fields"], arrays))
    parts = [_decode(part, arrays) for part in tree["items"]]
    return {"tuple": tuple, "list": list}[kind](parts)


def _key_again(key: Any) -> Any:
    return tuple(map(_key_again, key)) if isinstance(key, list) else key
