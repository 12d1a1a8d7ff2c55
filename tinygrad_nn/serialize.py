"""`tg.save` and `tg.load`: a training in one `.npz` file, without pickle. Models, optimizers, fitted preprocessing,
tensors, arrays, and metadata in nested dicts and lists. Tensors by name also go to and from `.safetensors`.

The structure is JSON inside of the archive and the arrays are plain `.npy` members under names of our own, so nothing
that is read can carry code and no name in a file becomes a path. A file is written whole or not at all, and each
member has a checksum: what was damaged is refused. So is all that `save` never writes: what is compressed, named twice,
overlapping, of another length than it says, referred to twice or not at all. A file takes no more memory than its size
tells.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from . import safetensors
from .errors import DataError, FileError, message
from .nn.preprocessing import KINDS
from .ops.rules import DTYPES
from .support.arrays import is_masked
from .support.files import read, write_atomic
from .tensor import Tensor
from .tensor.core import constant

StrPath = str | os.PathLike[str]
FORMAT: Final = 1
MEMBERS: Final = 2**17  # arrays in a file
DEPTH: Final = 100  # levels of nesting: Python and JSON allow some hundreds, less where much has been called
OURS: Final = "a file written by tg.save"
_NAME: Final = re.compile(r"(header|a(0|[1-9]\d*))\.npy", re.ASCII)
_HEADER: Final = re.compile(
    rb"\{'descr': '([<>|](?:[biufcSU]\d{1,9}|[mM]8(?:\[\d{0,9}[a-zA-Z]{1,7}\])?))', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, )*\d{1,18},?|)\), \} *\n"
)
_PLAIN: Final = (str, int, float, bool, type(None))
_FITTED: Final = {kind.__name__: kind for kind in KINDS}
SAFE: Final = ".safetensors"
_CONVERTED: Final = """where PyTorch is, convert it in two lines:
    from safetensors.torch import save_file
    save_file(torch.load("model.pt", weights_only=True), "model.safetensors")"""
_LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of PyTorch's number for such files
_HINTS: Final = {"PyTorch": _CONVERTED, "ONNX": "a model with its weights is read by tg.import_onnx"}
_OTHERS: Final = {
    **dict.fromkeys((".pt", ".pth"), "PyTorch"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "pickle"),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "Keras"),
    **dict.fromkeys((".tflite", ".pb"), "TensorFlow"),
    **dict.fromkeys((".yaml", ".yml", ".toml", ".txt"), "text"),
    SAFE: "safetensors",
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


def save(value: Any, path: StrPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write a training to a file: `tg.save({"model": model, "optimizer": opt, "scaler": scaler, "epoch": 3}, path)`.

    `value` is any nesting of dicts, lists and tuples of tensors, arrays, numbers, strings, paths, None, fitted
    transformers of `tg.nn`, and objects with a `state_dict()` (modules, optimizers, schedules, generators,
    histories), whose state is written. Keys are strings, integers, or tuples of them.

    A path that ends in `.safetensors` gets that format, which others read too: `value` is a module, or tensors by name,
    and `metadata` are strings.

    Raises DataError, before anything is written, for values of another type and for a path with the extension of
    another format; FileError where it cannot write, and the old file is still there.

    >>> import tempfile, tinygrad_nn as tg
    >>> path = tempfile.mkdtemp() + "/model.npz"
    >>> model = tg.nn.Linear(2, 1)
    >>> tg.save({"model": model, "epoch": 3}, path)
    >>> model.load_state_dict(tg.load(path)["model"])
    <All keys matched successfully>
    >>> tg.load(path)["epoch"]
    3
    """
    target = own_path("save", path, SAFE)
    if target.suffix.lower() == SAFE:
        write_atomic(target, safetensors.packed(value, metadata), "save")
        return
    if metadata is not None:
        raise DataError(message("save", "metadata", f"a path that ends in {SAFE}", "else put them into the value"))
    write_atomic(target, packed(value), "save")


def load(path: StrPath) -> Any:
    """Read what `save` wrote: the same nesting, a state_dict where an object with one was given, transformers as they
    were. Of a `.safetensors` file the tensors by name, a dict with `metadata`; float16 and bfloat16 are float32 then,
    and small integers int32.

    Raises DataError for a file that is missing, damaged or not ours.

    >>> import tinygrad_nn as tg
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.npz"
    >>> tg.save({"weight": tg.ones(2)}, path)
    >>> tg.load(path)["weight"]
    tensor([1., 1.])
    """
    source = own_path("load", path, SAFE)
    if source.suffix.lower() == SAFE:
        return safetensors.unpacked(content_of("load", source, "a safetensors file"), str(path))
    return unpacked(content_of("load", source, OURS), str(path))


def content_of(op: str, path: Path, expected: str) -> bytes:
    """The bytes of a file. DataError for one of PyTorch's, whatever it is called."""
    content = read(path, op, expected)
    if content.startswith(_LEGACY) or (content.startswith(b"PK") and b"/data.pkl" in content[:400]):
        raise DataError(message(op, f"{path}, which torch.save wrote", expected, _CONVERTED))
    return content


def own_path(op: str, path: StrPath, *other_too: str) -> Path:
    """A path that may hold a file of ours; DataError where its extension says that it holds something else, but for
    those that are named.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(message(op, f"a {type(path).__name__} as the path", "a string or a Path"))
    try:
        found = Path(path)
    except TypeError:  # a PathLike of bytes
        raise DataError(message(op, f"the path {os.fspath(path)!r}", "a string or a Path")) from None
    suffix = found.suffix.lower()
    other = _OTHERS.get(suffix)
    if other is not None and suffix not in other_too:
        got = f"{path}, whose extension stands for another format ({other})"
        expected = " or ".join(("a name such as model.npz", *(f"model{one}" for one in other_too)))
        hint = _HINTS.get(other, "tg.save has no other formats")
        raise DataError(message(op, got, expected, hint))
    return found


def checkpoint_path(op: str, path: StrPath) -> Path:
    """The file for checkpoints that a path means: one in it, if it is a folder."""
    found = own_path(op, path)
    return found / "checkpoint.npz" if os.path.isdir(found) else found


# ---- writing ------------------------------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    """The content of a file; DataError for what cannot be in one."""
    arrays: dict[str, Any] = {}
    too_deep = DataError(message("save", "a structure that is too deep, or contains itself", f"{DEPTH} levels"))
    try:
        tree = _encode(value, arrays, "")
        if _depth(tree) > DEPTH:
            raise too_deep
        header = json.dumps({"format": FORMAT, "tree": tree}).encode()
    except RecursionError:
        raise too_deep from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(message("save", f"a number that JSON cannot hold ({error})", "shorter ones")) from None
    if len(arrays) >= MEMBERS:
        raise DataError(message("save", f"{len(arrays):,} arrays", f"less than {MEMBERS:,}", "stack them"))
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(header, np.uint8), **arrays)
    return buffer.getvalue()


def _encode(value: Any, arrays: dict[str, Any], place: str) -> Any:
    """The JSON form of a value; arrays go to `arrays` and leave their number behind."""
    for kinds, rule in _RULES:
        if isinstance(value, kinds):
            return rule(value, arrays, place)
    if _FITTED.get(type(value).__name__) is type(value):
        return {"kind": "fitted", "class": type(value).__name__, "fields": _encode(value.fields(), arrays, place)}
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
        if array.dtype.kind not in "biufcSUmM" or not array.dtype.itemsize or is_masked(value):
            what = "masked" if is_masked(value) else f"of dtype {array.dtype}"
            raise DataError(message("save", f"an array that is {what} at {place or 'the top'}", "numbers or text"))
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


def _depth(tree: Any) -> int:
    """How many levels a JSON form has."""
    level, depth = [tree], 0
    while level:
        depth += 1
        inner = [part.get("fields") or part.get("items", ()) for part in level]
        level = [one for parts in inner for one in ([parts] if isinstance(parts, dict) else _values(parts))]
    return depth


def _values(items: Any) -> list[Any]:
    return [item[1] if isinstance(item, list) else item for item in items]


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
        value = _decode(header["tree"], arrays, DEPTH)
        if arrays:
            raise _Foreign("arrays that nothing refers to")
        return value
    except DataError:
        raise
    except MemoryError:
        got = f"{name}, whose {len(content):,} bytes do not fit in memory twice"
        raise FileError(message("load", got, "more memory")) from None
    except _Foreign as fault:
        raise DataError(message("load", f"{name}, {_fault(content)}: {fault}", OURS)) from None
    except Exception:  # whatever damage makes of a file; what NumPy would say of it may be to load it unsafely
        raise DataError(message("load", f"{name}, {_fault(content)}", OURS)) from None


class _Foreign(Exception):
    """Something that `save` does not write."""


def _sure(holds: bool, what: str) -> None:
    if not holds:
        raise _Foreign(what)


def _members(content: bytes) -> dict[str, Any]:
    """The arrays of an archive, by name. All sizes are known to be true before anything is made of them."""
    _sure(content.count(b"PK\x01\x02") <= MEMBERS, "too many members")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        _sure(not archive.comment and len({info.filename for info in members}) == len(members), "one name twice")
        _sure(sum(info.file_size for info in members) <= len(content), "members that overlap")
        for info in members:
            stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
            _sure(stored and not info.flag_bits & 1, "a member that is compressed, or encrypted")
            _sure(_NAME.fullmatch(info.filename) is not None, "a member of another name")
        return {info.filename.removesuffix(".npy"): _array_in(archive.read(info)) for info in members}


def _array_in(member: bytes) -> Any:
    """The array in a `.npy` file as NumPy writes it for us: a header of one form, and exactly the bytes it tells of."""
    start = 10 + int.from_bytes(member[8:10], "little")
    found = _HEADER.fullmatch(member[10:start])
    _sure(member[:8] == b"\x93NUMPY\x01\0" and found is not None, "a header that NumPy does not write")
    kind, order, lengths = found.groups()  # type: ignore[union-attr]
    dtype, shape = np.dtype(kind.decode()), tuple(int(length) for length in lengths.split(b",") if length.strip())
    _sure(prod(shape) * dtype.itemsize == len(member) - start and dtype.itemsize > 0, "another number of bytes")
    array = np.frombuffer(member, dtype, offset=start).reshape(shape, order="F" if order == b"True" else "C")
    if dtype.kind == "b":
        _sure(not array.size or int(array.view(np.uint8).max()) <= 1, "a bool that is neither true nor false")
    if dtype.kind == "U":
        points = np.frombuffer(member, np.dtype(np.uint32).newbyteorder(dtype.byteorder), offset=start)
        _sure(not points.size or int(points.max()) <= sys.maxunicode, "a character that there is not")
    return array.copy(order="K")


def _fault(content: bytes) -> str:
    """What is wrong with a file that cannot be read, as far as its beginning tells."""
    if not content:
        return "which is empty"
    if content.startswith(b"PK"):
        return "which is damaged, or an archive of something else"
    return "which is a pickle and could carry code" if content.startswith(b"\x80") else "which is something else"


def _decode(tree: Any, arrays: dict[str, Any], depth: int) -> Any:
    """The value of a JSON form, at most so deep. It takes its arrays away, as each belongs to one place."""
    kind = tree["kind"]
    _sure(depth > 0, "a structure that is too deep")
    if kind == "plain":
        value = tree["value"]
        parts = value if type(value) is list else [value]
        _sure(all(type(part) in _PLAIN for part in parts), "a plain value that is none")
        return value
    if kind == "path":
        return Path(tree["value"])
    if kind in ("tensor", "array", "scalar"):
        array = arrays.pop(tree["name"])
        _sure(kind != "tensor" or array.dtype in DTYPES, "a tensor of a dtype that tensors have not")
        _sure(kind != "scalar" or array.shape == (), "a number that is many")
        return Tensor.handle(constant(array)) if kind == "tensor" else array if kind == "array" else array[()]
    if kind == "dict":
        items = [(_key_again(key), _decode(value, arrays, depth - 1)) for key, value in tree["items"]]
        found = dict(items)
        _sure(len(found) == len(items), "one key twice")
        return found
    if kind == "fitted":
        return _fitted(_FITTED[tree["class"]], _decode(tree["fields"], arrays, depth - 1))
    _sure(type(tree["items"]) is list, "parts that are no list")
    parts = [_decode(part, arrays, depth - 1) for part in tree["items"]]
    return {"tuple": tuple, "list": list}[kind](parts)


def _fitted(kind: Any, own: Any) -> Any:
    """A transformer of `tg.nn` with the fields it had, each of the type it says."""
    _sure(own.keys() == set(kind.kept), "other fields")
    for field in kind.kept:
        _sure(_FIELDS[field](own[field]), "a field of another type")
    try:
        return kind(**own)
    except DataError:
        raise _Foreign("a transformer with values that it cannot have") from None


def _is_statistic(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim == 1


def _is_names(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and all(isinstance(name, str) for name in value))


_FIELDS: Final[dict[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("mean", "offset", "scale"), _is_statistic),
    "names": _is_names,
    "categories": lambda value: isinstance(value, tuple) and all(isinstance(v, (str, int, np.generic)) for v in value),
    "name": lambda value: isinstance(value, str),
    "unknown": lambda value: value in ("error", "zeros"),
}


def _key_again(key: Any) -> Any:
    if isinstance(key, list):
        return tuple(map(_key_again, key))
    _sure(type(key) in (str, int), "a key that is none")
    return key
