"""The safetensors format: both ways with the reference package, and no file is taken that it refuses."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.torch import load_file, save_file

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.errors import DataError
from tinygrad_nn.safetensors import unpacked

MUTATIONS = 5000


def models() -> tuple[torch.nn.Module, nn.Module]:
    """The same model twice."""
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.LSTM(4, 2))
    return theirs, nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LSTM(4, 2))


def test_files_of_pytorch_are_read_and_ours_by_it(tmp_path: Path) -> None:
    theirs, ours = models()
    save_file(theirs.state_dict(), tmp_path / "t.safetensors", metadata={"made": "by it"})
    found = tg.load(tmp_path / "t.safetensors")
    assert found.metadata == {"made": "by it"}
    ours.load_state_dict(found)
    tg.save(ours, tmp_path / "o.safetensors", metadata={'quote"': "ü\n"})
    for name, tensor in load_file(tmp_path / "o.safetensors").items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name
    with safe_open(tmp_path / "o.safetensors", "pt") as file:
        assert file.metadata() == {'quote"': "ü\n"}


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
)
def test_every_dtype_keeps_its_values(dtype: str, tmp_path: Path) -> None:
    tensor = (torch.randn(3, 5) * 9).to(getattr(torch, dtype))
    save_file({"x": tensor, "none": tensor[:0], "one": tensor[0, 0].clone()}, tmp_path / "x.safetensors")
    found = tg.load(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(found["x"].numpy(), tensor.to(torch.float64).numpy())
    assert found["none"].shape == (0, 5)
    assert found["one"].shape == ()


def test_it_is_read_without_copies(tmp_path: Path) -> None:
    tg.save({"x": tg.ones(1000), "y": tg.zeros(3, dtype=tg.float64)}, tmp_path / "x.safetensors")
    found = tg.load(tmp_path / "x.safetensors")
    assert not found["x"].detach()._value().flags.owndata
    weight = found["x"]
    weight.add_(1)
    assert float(weight.sum()) == 2000


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A file that is wrong somewhere, mostly in its header."""
    found = bytearray(content)
    header = int.from_bytes(content[:8], "little")
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        kind = rng.randrange(6)
        place = rng.randrange(8, min(8 + header, len(found))) if len(found) > 9 else 0
        if kind == 0:
            found[rng.randrange(len(found))] = rng.randrange(256)
        elif kind == 1:
            del found[rng.randrange(1, len(found) + 1) :]
        elif kind == 2:
            found += bytes(rng.randrange(1, 9))
        elif kind == 3:
            found[place : place + 1] = rng.choice(
                [b"0", b"9", b'"', b"{", b"}", b",", b" ", b"-", b"1e5", b"[", b"\\u0000"]
            )
        elif kind == 4:
            found[:8] = rng.choice([0, 2**63, header - 1, header + 1, header + 8, 2**64 - 1]).to_bytes(8, "little")
        else:
            del found[place : place + rng.randrange(1, 20)]
    return bytes(found)


def test_no_file_is_taken_that_the_reference_refuses(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tg.save(models()[1], path, metadata={"a": "b"})
    content, rng, taken = path.read_bytes(), random.Random(7), 0
    for _ in range(MUTATIONS):
        wrong = mutated(content, rng)
        try:
            unpacked(wrong, "m.safetensors")
        except DataError:
            continue
        taken += 1
        deserialize(wrong)  # raises where the reference refuses it
    assert 50 < taken < MUTATIONS / 4


def peak(call: Callable[[], Any]) -> int:
    """Bytes that a call needs at most, all at once."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(path: Path) -> None:
    with pytest.raises(DataError):
        tg.load(path)


def test_a_wrong_file_takes_no_more_memory_than_twice_its_size(tmp_path: Path) -> None:
    state = {f"layer.{k}.weight": np.full(5000, k, np.float32) for k in range(12)}
    path, rng = tmp_path / "m.safetensors", random.Random(8)
    tg.save(state, path)
    content = path.read_bytes()
    for _ in range(150):
        wrong = mutated(content, rng)
        path.write_bytes(wrong)
        with contextlib.suppress(DataError):
            assert peak(lambda: tg.load(path)) <= 2 * len(wrong) + 30_000


MANY = 100_000
DEEP: dict[str, bytes] = {
    "lists in lists": b'{"a":' + b"[" * MANY,
    "many lists": b'{"a":[' + b"[]," * MANY + b"[]]}",
    "many sizes": b'{"a":{"dtype":"F32","shape":[' + b"9," * MANY + b'9],"data_offsets":[0,0]}}',
    "huge sizes": b'{"a":{"dtype":"F32","shape":[' + b"999999999999999999," * 31 + b'9],"data_offsets":[0,4]}}',
    "a huge number": b'{"a":{"dtype":"F32","shape":[' + b"9" * MANY + b'],"data_offsets":[0,4]}}',
    "many members": b"{" + b'"a":{},' * MANY + b'"b":{}}',
    "objects in objects": b'{"a":' * MANY + b"{}" + b"}" * MANY,
    "a long name": b'{"' + b"a" * MANY,
    "blanks": b"{" + b" " * MANY,
    "escapes": b'{"' + b"\\u0041" * MANY,
}


@pytest.mark.parametrize("name", DEEP)
def test_a_header_made_to_grow_does_not(name: str, tmp_path: Path) -> None:
    path, text = tmp_path / "m.safetensors", DEEP[name]
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    assert peak(lambda: refused(path)) <= 2 * len(text) + 150_000


def test_what_is_large_is_neither_read_nor_written_twice(tmp_path: Path) -> None:
    state = {"a": tg.ones(1_000_000), "b": tg.zeros(3, 1_000_000), "c": tg.zeros(0), "d": tg.tensor(1.0)}
    path = tmp_path / "m.safetensors"
    assert peak(lambda: tg.save(state, path)) < 1_000_000
    assert peak(lambda: tg.load(path)) < path.stat().st_size + 1_000_000
    for name, tensor in load_file(path).items():
        np.testing.assert_array_equal(tensor.numpy(), state[name].numpy())


def test_arrays_of_any_layout_are_written_as_they_are(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    state = {"t": x.transpose(2, 0, 1), "f": np.asfortranarray(x), "s": x[:, ::2], "b": x > 3}
    tg.save(state, tmp_path / "m.safetensors")
    for name, tensor in load_file(tmp_path / "m.safetensors").items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"shape": [2], "data_offsets": [0, 8], "dtype": "F32"}}  ',
        '{"a":{"dtype":"F32",\n\t"shape":[ 2 ],"data_offsets":[0 , 8]}}',
        '{"\\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{}}',
        '{"__metadata__":{"x":"{[\\"]}"},"a":{"dtype":"F32","shape":[1,2,1],"data_offsets":[0,8]}}',
    ],
)
def test_json_in_other_words(header: str) -> None:
    content = len(header).to_bytes(8, "little") + header.encode() + np.array([1, 2], "<f4").tobytes()
    deserialize(content)
    assert unpacked(content, "m.safetensors")["a"].reshape(-1).tolist() == [1, 2]


@pytest.mark.parametrize(
    "header",
    [
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}',
        '{"a":{"dtype":"F32","shape":[2,],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}{}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":[1]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]} "b":{}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        '{"a":{"dtype":"F32","shape":true,"data_offsets":[0,8]}}',
        '{"a":{"dtype":1,"shape":[2],"data_offsets":[0,8]}}',
        '{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"__metadata__":{"x":3},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '{"__metadata__":[],"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        '\ufeff{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        "{'a':{}}",
        "[]",
        "",
    ],
)
def test_headers_that_are_wrong(header: str) -> None:
    text = header.encode()
    with pytest.raises(DataError, match="safetensors"):
        unpacked(len(text).to_bytes(8, "little") + text + bytes(8), "m.safetensors")


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + bytes(60), b"\x80\4\x95" + bytes(60), b"garbage" * 20, b"{}"])
def test_other_files_by_that_name_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="a safetensors file"):
        tg.load(tmp_path / "m.safetensors")


def test_the_reference_takes_what_is_whole() -> None:
    with pytest.raises(SafetensorError):
        deserialize(b"\0" * 8)


@pytest.mark.parametrize(
    ("value", "metadata", "words"),
    [
        (3, None, "a state_dict"),
        ({"a": 3}, None, "tensors of"),
        ({"a": np.zeros(3, np.complex64)}, None, "tensors of"),
        ({"a": {"b": tg.ones(2)}}, None, "one module"),
        ({3: tg.ones(2)}, None, "a string"),
        ({"__metadata__": tg.ones(2)}, None, "a string"),
        ({"\ud800": tg.ones(2)}, None, "a string"),
        ({"a": tg.ones(2)}, {"a": 3}, "strings by name"),
        ({"a": tg.ones(2)}, [3], "strings by name"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, metadata: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        tg.save(value, tmp_path / "x.safetensors", metadata)
    assert not [*tmp_path.iterdir()]


def test_a_pickle_is_refused_with_the_lines_that_convert_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"save_file\(torch\.load"):
        tg.load(tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"ends in \.safetensors"):
        tg.save({"a": 1}, tmp_path / "x.npz", metadata={"a": "b"})
