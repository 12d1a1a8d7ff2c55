"""Files that `tg.save` did not write: made by rules, thousands of them, each loaded as what was saved or refused."""

from __future__ import annotations

import copy
import errno
import io
import json
import os
import random
import resource
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import callbacks, data, serialize
from tinygrad_nn.errors import DataError, FileError, TinygradError

VALUE = {
    "w": tg.tensor([[1.5, 2.5]]),
    "n": [1, None, ("a", {})],
    ("k", 3): np.float32(2),
    "text": np.array(["ä", "bc"]),
    "bools": np.array([True, False]),
    "path": Path("a"),
    "scaler": data.StandardScaler.fit([[1.0], [2.0]], names=("x",)),
    "encoder": data.OneHotEncoder.fit(["b", "a"]),
}
CONTENT = serialize.packed(VALUE)
MEMORY = 64 * 2**20


def parts(content: bytes = CONTENT) -> dict[str, bytes]:
    """The members of a file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Any, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of one name twice
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array))
    return buffer.getvalue()


def raw(descr: str, shape: str, body: bytes, order: str = "False") -> bytes:
    """A `.npy` file with a header that says anything."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + body


def file_of(tree: Any, arrays: dict[str, bytes] | None = None, fmt: Any = 1) -> bytes:
    """A file with this structure."""
    header = json.dumps({"format": fmt, "tree": tree}).encode()
    return zipped({"header.npy": npy(np.frombuffer(header, np.uint8)), **(arrays or {})})


def one(member: bytes, kind: str = "tensor") -> bytes:
    """A file with one array."""
    return file_of({"kind": kind, "name": "a0"}, {"a0.npy": member})


def tensor(array: Any) -> bytes:
    return one(npy(array))


def refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^\[load\] got x\.npz, which is .*; expected a file written by tg\.save$"):
        serialize.unpacked(content, "x.npz")


HEADER = parts()["header.npy"]
PLAIN = {"kind": "plain", "value": 1}


def listed(depth: int) -> Any:
    tree: Any = PLAIN
    for _ in range(depth):
        tree = {"kind": "list", "items": [tree]}
    return tree


def overlapping() -> bytes:
    """Members whose entries in the directory all lead to the same bytes: a file that grows with its square."""
    member = npy(np.zeros(1000, np.uint8))
    content = zipped([("a0.npy", member), ("a1.npy", member), ("header.npy", HEADER)])
    directory = content.index(b"PK\x01\x02")
    first, second = directory, content.index(b"PK\x01\x02", directory + 4)
    bad = bytearray(content)
    bad[second + 20 : second + 28] = struct.pack("<II", 10**6, 10**6)
    bad[second + 42 : second + 46] = bad[first + 42 : first + 46]
    return bytes(bad)


FOREIGN: dict[str, Callable[[], bytes]] = {
    "compressed": lambda: zipped(parts(), zipfile.ZIP_DEFLATED),
    "a bomb": lambda: zipped({**parts(), "a0.npy": npy(np.zeros(10**7))}, zipfile.ZIP_DEFLATED),
    "bzip2": lambda: zipped(parts(), zipfile.ZIP_BZIP2),
    "lzma": lambda: zipped(parts(), zipfile.ZIP_LZMA),
    "a member twice": lambda: zipped([*parts().items(), ("a0.npy", parts()["a0.npy"])]),
    "a second header": lambda: zipped([*parts().items(), ("header.npy", HEADER)]),
    "a second header of another name": lambda: zipped([*parts().items(), ("header", HEADER)]),
    "a member too many": lambda: zipped([*parts().items(), ("a99.npy", npy(1.0))]),
    "a member of another name": lambda: zipped([*parts().items(), ("../a.npy", npy(1.0))]),
    "a comment": lambda: CONTENT[:-2] + b"\x04\x00evil",
    "overlapping members": overlapping,
    "many members": lambda: CONTENT[:-22] + b"PK\x01\x02" * 2**17 + CONTENT[-22:],
    "bytes after an array": lambda: one(npy(np.ones(3)) + b"\0"),
    "bytes too few": lambda: one(npy(np.ones(3))[:-1]),
    "a huge shape": lambda: one(raw("'<f8'", "(1000000000000,)", b"")),
    "a shape beyond int64": lambda: one(raw("'<f8'", "(99999999999999999999999,)", b"")),
    "a negative shape": lambda: one(raw("'<f8'", "(-1,)", b"")),
    "a huge empty shape": lambda: one(raw("'<f8'", "(0, 999999999999999999, 999999999999999999)", b"")),
    "66 axes": lambda: one(raw("'<f8'", "(" + "1, " * 66 + ")", bytes(8))),
    "huge text": lambda: one(raw("'<U999999999'", "(0,)", b""), "array"),
    "text of no length": lambda: one(raw("'<U0'", "(1000000000000,)", b""), "array"),
    "a pickle": lambda: one(raw("'|O'", "(1,)", b"cos\nsystem\n(S'true'\ntR."), "array"),
    "code in a header": lambda: one(raw("__import__('os').system('true')", "(1,)", b"")),
    "a deep header": lambda: one(raw("(" * 4000 + ")" * 4000, "(1,)", b"")),
    "a version that is none": lambda: one(b"\x93NUMPY\x09\0" + npy(1.0)[8:]),
    "bools of 2": lambda: one(raw("'|b1'", "(2,)", b"\2\0"), "array"),
    "no characters": lambda: one(raw("'<U1'", "(1,)", b"\xff\xff\xff\x7f"), "array"),
    "complex": lambda: tensor(np.ones(2, np.complex64)),
    "text": lambda: tensor(["a"]),
    "bytes": lambda: tensor([b"a"]),
    "structured": lambda: tensor(np.zeros(2, [("a", "f4")])),
    "structured array": lambda: one(npy(np.zeros(2, [("a", "f4")])), "array"),
    "datetime": lambda: tensor(np.zeros(2, "M8[s]")),
    "timedelta": lambda: tensor(np.zeros(2, "m8[s]")),
    "float16": lambda: tensor(np.ones(2, np.float16)),
    "long double": lambda: tensor(np.ones(2, np.longdouble)),
    "uint8": lambda: tensor(np.ones(2, np.uint8)),
    "big endian": lambda: tensor(np.ones(2, ">f4")),
    "void": lambda: one(raw("'|V4'", "(1,)", bytes(4)), "array"),
    "a scalar of two": lambda: one(npy(np.ones(2)), "scalar"),
    "one array in two places": lambda: file_of(
        {"kind": "list", "items": [{"kind": "tensor", "name": "a0"}] * 2}, {"a0.npy": npy(np.ones(2))}
    ),
    "the header as an array": lambda: file_of({"kind": "array", "name": "header"}),
    "an unknown kind": lambda: file_of({"kind": "call", "items": []}),
    "a kind that is none": lambda: file_of({"kind": {}, "items": []}),
    "items of text": lambda: file_of({"kind": "list", "items": "abc"}),
    "a plain dict": lambda: file_of({"kind": "plain", "value": {"a": 1}}),
    "a path of a number": lambda: file_of({"kind": "path", "value": 3}),
    "one key twice": lambda: file_of({"kind": "dict", "items": [["a", PLAIN], ["a", PLAIN]]}),
    "a key of None": lambda: file_of({"kind": "dict", "items": [[None, PLAIN]]}),
    "a key of a float": lambda: file_of({"kind": "dict", "items": [[1.5, PLAIN]]}),
    "too deep": lambda: file_of(listed(101)),
    "no structure": lambda: file_of(0),
    "deep JSON": lambda: zipped({"header.npy": npy(np.frombuffer(b"[" * 10**5, np.uint8))}),
    "a long number": lambda: zipped(
        {"header.npy": npy(np.frombuffer(b'{"format": 1, "tree": ' + b"9" * 5000 + b"}", np.uint8))}
    ),
    "an unknown class": lambda: file_of({"kind": "fitted", "class": "Popen", "fields": {"kind": "dict", "items": []}}),
    "fields missing": lambda: file_of(
        {"kind": "fitted", "class": "StandardScaler", "fields": {"kind": "dict", "items": []}}
    ),
    "fields of text": lambda: file_of(
        {
            "kind": "fitted",
            "class": "StandardScaler",
            "fields": {"kind": "dict", "items": [[name, PLAIN] for name in ("offset", "scale", "names")]},
        }
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_save_does_not_write_is_refused(kind: str) -> None:
    refused(FOREIGN[kind]())


def test_the_same_in_order_is_loaded() -> None:
    """The files above are refused for what was changed, and for nothing else."""
    assert repr(serialize.unpacked(zipped(parts()), "x")) == repr(VALUE)
    assert serialize.unpacked(tensor(np.ones(2, np.float32)), "x").tolist() == [1, 1]
    assert serialize.unpacked(file_of(listed(99)), "x") == eval("[" * 99 + "1" + "]" * 99)
    for array in (np.array(3 + 4j), np.array("text"), np.zeros(2, "M8[s]"), np.ones((2, 3), ">f2").T, np.zeros((0, 3))):
        back = serialize.unpacked(one(npy(array), "array"), "x")
        assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert back.flags.writeable


def mutated_tree(tree: Any, dice: random.Random) -> Any:
    """A structure with one part in place of another, gone, twice, or of another type."""
    tree = copy.deepcopy(tree)
    places: list[tuple[Any, Any]] = []
    stack = [tree]
    while stack:
        here = stack.pop()
        for key in here if isinstance(here, dict) else range(len(here)):
            places.append((here, key))
            if isinstance(here[key], (dict, list)):
                stack.append(here[key])
    here, key = dice.choice(places)
    other, there = dice.choice(places)
    odd = [None, True, -1, 2**70, 1.5, float("nan"), "", "a0", "header", "kind", [], {}, [[]], "\0", "tensor"]
    what = dice.randrange(4)
    if what == 0:
        here[key] = dice.choice(odd)
    elif what == 1:
        here[key] = copy.deepcopy(other[there])
    elif what == 2:
        del here[key]
    elif isinstance(here, list):
        here.append(copy.deepcopy(here[key]))
    else:
        here[str(dice.choice(odd))] = here.pop(key)
    return tree


def mutated(dice: random.Random) -> bytes:
    """A file with damage that its checksums may not show."""
    how, members = dice.randrange(4), parts()
    if how == 0:
        header = json.loads(HEADER[128 if HEADER[8] == 118 else 10 + HEADER[8] + 256 * HEADER[9] :])
        text = json.dumps(mutated_tree(header, dice)).encode()
        members["header.npy"] = npy(np.frombuffer(text, np.uint8))
    elif how == 1:  # of a member, under a right checksum
        name = dice.choice([*members])
        content = bytearray(members[name])
        for _ in range(dice.choice((1, 1, 3))):
            content[dice.randrange(min(len(content), dice.choice((128, len(content)))))] = dice.randrange(256)
        members[name] = bytes(content)
    elif how == 2:
        names = [*members]
        first, second = dice.choice(names), dice.choice(names)
        members[first], members[second] = members[second], members[first]
        if dice.random() < 0.3:
            del members[dice.choice(names)]
    else:  # of the archive itself
        content = bytearray(CONTENT)
        directory = content.index(b"PK\x01\x02")
        for _ in range(dice.choice((1, 2, 8))):
            content[dice.choice((dice.randrange(len(content)), dice.randrange(directory, len(content))))] = (
                dice.randrange(256)
            )
        return bytes(content)
    return zipped(members)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_are_loaded_or_refused(seed: int) -> None:
    """No error of Python or NumPy, no warning, no memory beyond what the file has."""
    dice = random.Random(seed)
    loaded, faults = 0, []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(600):
        content = mutated(dice)
        try:
            repr(serialize.unpacked(content, "x.npz"))
            loaded += 1
        except DataError as error:
            faults.append(str(error))
    assert 20 < loaded < 400
    assert [fault for fault in faults if not fault.startswith("[load] got x.npz")] == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY // 1024


# ---- paths and disks


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    calls = [tg.load, lambda path: tg.save({}, path)]
    calls += [tg.data.read_csv, lambda path: data.sequences.from_csv(path), lambda path: tg.History().to_csv(path)]
    for call in calls:
        for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", tmp_path, "", ".", "/", "a\0b", "\ud800", "x" * 300):
            with pytest.raises(DataError, match=r"^\[\w+\] got "):
                call(path)
    for path in (loop, loop / "x"):
        with pytest.raises(DataError):
            tg.load(path)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "loop"}


class Bytes:
    def __fspath__(self) -> bytes:
        return b"name"


@pytest.mark.parametrize("path", [Bytes(), b"a", None, 3, ["a"]])
def test_what_is_no_path_is_refused(path: Any) -> None:
    for call in (lambda: tg.save({}, path), lambda: tg.load(path)):
        with pytest.raises(DataError, match=r"path"):
            call()


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG])
def test_a_disk_that_refuses_leaves_the_old_file(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In our words, with the user's path, and nothing temporary left."""
    path = tmp_path / "a.npz"
    tg.save({"x": 1}, path)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code), ".0123456789abcdef.tmp")

    opened = Path.open

    class Full(io.FileIO):
        write = refuse

    if call == "write":
        monkeypatch.setattr(Path, "open", lambda self, mode: Full(self, mode.replace("b", "")))
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", refuse)
    else:
        monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(FileError) as caught:
        tg.save({"x": 2}, path)
    monkeypatch.undo()
    assert Path.open is opened
    assert f"[save] got {path}, which cannot be written ({os.strerror(code)})" in str(caught.value)
    assert ".tmp" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert tg.load(path) == {"x": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_a_file_that_grows_beyond_a_limit_of_the_system(tmp_path: Path) -> None:
    """A real disk that is full to this process: no simulation."""
    path = tmp_path / "a.npz"
    tg.save({"x": 1}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(FileError, match=r"\[save\] got .*a\.npz, which cannot be written \(File too large\)"):
            tg.save(np.zeros(10**5), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert tg.load(path) == {"x": 1}
    assert len(list(tmp_path.iterdir())) == 1


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


def cyclic(kind: str) -> Any:
    inner: list[Any] = []
    value = {"list": inner, "dict": {"x": inner}, "tuple": (inner,)}[kind]
    inner.append(value)
    return value


@pytest.mark.parametrize("kind", ["list", "dict", "tuple"])
def test_cycles_and_depth(kind: str, tmp_path: Path) -> None:
    wrap: Any = {"list": lambda value: [value], "dict": lambda value: {"x": value}, "tuple": lambda value: (value,)}
    path = tmp_path / "a.npz"
    for value in (cyclic(kind), *(nested(depth, wrap[kind]) for depth in (101, 200, 1000, 10**4))):
        with pytest.raises(DataError, match=r"\[save\] got a structure that is too deep"):
            tg.save(value, path)
    deep = nested(98, wrap[kind])
    tg.save(deep, path)
    assert tg.load(path) == deep
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["number", "key", "masked", "structured", "void"])
def test_what_could_not_be_loaded_is_not_saved(kind: str, tmp_path: Path) -> None:
    value = {
        "number": 10**5000,
        "key": {10**5000: 1},
        "masked": np.ma.masked_array([1.0], [True]),
        "structured": np.zeros(1, [("a", "f4")]),
        "void": np.zeros(1, "V3"),
    }[kind]
    with pytest.raises(DataError, match=r"^\[save\] got "):
        tg.save({"a": value}, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


# ---- checkpoints


def fit_once(path: Path, epochs: int, **options: Any) -> Any:
    w = tg.zeros(2, requires_grad=True)
    opt = tg.optim.Adam([w], lr=0.1)

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (x @ w - 1).square().mean()
        loss.backward()
        opt.step()
        return loss  # type: ignore[no-any-return]

    rows = np.arange(8.0, dtype=np.float32).reshape(4, 2) / 8
    options = {"callbacks": [callbacks.Checkpoint(path)], **options}
    tg.fit(step, rows, epochs, seed=0, progress=False, **options)
    return w


def test_mutated_checkpoints_are_refused_in_our_words(tmp_path: Path) -> None:
    """The structure is one of `tg.save`, the content is not that of a checkpoint. What the parts of "state" hold is for
    each object's own `load_state_dict` to judge.
    """
    path = tmp_path / "run.npz"
    fit_once(path, 1)
    members = parts(path.read_bytes())
    raw_header = members["header.npy"]
    start = 10 + int.from_bytes(raw_header[8:10], "little")
    header = json.loads(raw_header[start:])
    dice = random.Random(0)
    loaded, faults = 0, []
    for _ in range(150):
        items = header["tree"]["items"]
        rest = [item for item in items if item[0] != "state"]
        changed = mutated_tree({"kind": "dict", "items": rest}, dice)
        if isinstance(changed.get("items"), list):
            changed["items"] += [item for item in items if item[0] == "state"]
        text = json.dumps({"format": 1, "tree": changed}).encode()
        bad = tmp_path / "bad.npz"
        bad.write_bytes(zipped({**members, "header.npy": npy(np.frombuffer(text, np.uint8))}))
        try:
            fit_once(path, 2, resume=bad, callbacks=[])
            loaded += 1
        except TinygradError as error:
            faults.append(str(error))
    assert loaded < 75
    assert [fault for fault in faults if not fault.startswith("[")] == []
