"""tg.save and tg.load: bit for bit, no code in files, whole files or none."""

from __future__ import annotations

import io
import json
import pickle
import traceback
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim, serialize
from tinygrad_nn.errors import DataError


def test_state_round_trip_is_bit_for_bit(tmp_path: Path) -> None:
    odd = np.array([np.nan, np.inf, -0.0, 5e-324, 1e308])
    tree = {
        "tensor": tg.tensor(odd),
        "array": odd[:3].astype(np.float32),
        "größe": [1, 2.5, None, True, "naïve", (tg.tensor(3), {})],
        7: tg.zeros(0, 3),
    }
    tg.save(tree, tmp_path / "a.npz")
    back = tg.load(tmp_path / "a.npz")
    assert back["tensor"].numpy().tobytes() == odd.tobytes()
    assert back["array"].dtype == np.float32
    assert isinstance(back["array"], np.ndarray)
    assert back["größe"][:5] == [1, 2.5, None, True, "naïve"]
    assert back["größe"][5][0].item() == 3
    assert back[7].shape == (0, 3)


def test_models_and_optimizers(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    opt = optim.Adam(model.parameters())
    model(tg.ones(1, 2)).sum().backward()
    opt.step()
    tg.save({"model": model.state_dict(), "opt": opt.state_dict()}, tmp_path / "run.npz")
    loaded = tg.load(tmp_path / "run.npz")
    other = nn.Linear(2, 1)
    other.load_state_dict(loaded["model"])
    again = optim.Adam(other.parameters())
    again.load_state_dict(loaded["opt"])
    assert other.weight.tolist() == model.weight.tolist()
    assert again.state_dict()["state"][0]["exp_avg"].tolist() == opt.state_dict()["state"][0]["exp_avg"].tolist()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    tg.save({"x": 1}, path)

    def crash(self: Path, target: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        tg.save({"x": 2}, path)
    assert tg.load(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


class Evil:
    def __reduce__(self) -> Any:
        return print, ("code ran",)


def hostile(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "pickle":
        np.savez(buffer, header=np.array([Evil()], dtype=object))
    elif kind == "text":
        return b"not a file of ours"
    elif kind == "truncated":
        np.savez(buffer, header=np.zeros(100))
        return buffer.getvalue()[:50]
    elif kind == "other zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("../../evil.txt", "x")
    elif kind == "no header":
        np.savez(buffer, other=np.zeros(3))
    else:
        trees = {
            "unknown array": {"kind": "tensor", "name": "nothing"},
            "nested": json.loads('{"kind":"list","items":[' * 200 + '{"kind":"plain","value":1}' + "]}" * 200),
            "wrong kind": {"kind": "call", "value": "os.system"},
        }
        deep = trees[kind]
        header = json.dumps({"format": 1, "tree": deep}).encode()
        if kind == "nested":
            header = header.replace(b'"kind": "plain"', b'"kind": "oops"')
        np.savez(buffer, header=np.frombuffer(header, np.uint8))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", ["pickle", "text", "truncated", "other zip", "no header", "unknown array", "nested", "wrong kind"]
)
def test_hostile_files_are_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(hostile(kind))
    with pytest.raises(DataError, match=r"\[load\] got .*bad.npz"):
        tg.load(path)
    assert "code ran" not in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["bad.npz"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"f": print}, "a builtin_function_or_method at .f"),
        ({"a": [{1.5: 2}]}, r"a key of type float in .a\[0\]"),
        (np.array([object()]), "an array of objects"),
    ],
)
def test_what_cannot_be_saved_is_named(value: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=text):
        tg.save(value, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def odd_values() -> dict[str, Any]:
    return {
        "nan": float("nan"),
        "inf": [-float("inf"), -0.0],
        "large": 2**70,
        "scalar": np.float32(0.1),
        "integer": np.int64(2**62),
        "truth": np.bool_(True),
        "path": Path("a") / "b",
        ("fold", 3): {(1, ("x",)): None},
        "none": None,
        "text": "\ud800 \0 \u20ac",
        "arrays": [np.array([], np.int8), np.array("text"), np.array(3 + 4j), np.ones((2, 3), ">f4").T],
        "deep": [[[[{}]]]],
    }


def test_metadata_of_every_kind_comes_back(tmp_path: Path) -> None:
    tg.save(odd_values(), tmp_path / "a.npz")
    back = tg.load(tmp_path / "a.npz")
    assert repr(back) == repr(odd_values())
    assert [type(value) for value in back.values()] == [type(value) for value in odd_values().values()]
    assert back["arrays"][3].dtype == np.dtype(">f4")


def test_a_whole_training_in_one_file(tmp_path: Path) -> None:
    rows = np.array([[1.0, -2.0], [3.0, 5.0], [4.0, 4.0]])
    fitted = {
        "scaler": data.StandardScaler.fit(rows, names=("age", "fare")),
        "range": data.MinMaxScaler.fit(rows, low=-1.0),
        "largest": data.MaxAbsScaler.fit(rows),
        "imputer": data.MeanImputer.fit([[np.nan, 1.0], [2.0, 3.0]]),
        "sex": data.OneHotEncoder.fit(["male", "female"], name="Sex"),
        "class": data.OneHotEncoder.fit([3, 1, True]),
    }
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    opt = optim.Adam(model.parameters(), lr=0.1)
    plan = optim.lr_scheduler.StepLR(opt, 2)
    history = tg.fit(lambda x: train(model, opt, x), rows.astype(np.float32), 3, seed=0, progress=False)
    parts = {"model": model, "optimizer": opt, "plan": plan, "history": history, "generator": tg.Generator(4)}
    tg.save({**parts, **fitted, "metadata": {"seed": 0, "columns": ("age", "fare")}}, tmp_path / "run.npz")

    back = tg.load(tmp_path / "run.npz")
    for name, transformer in fitted.items():
        assert type(back[name]) is type(transformer)
        given: Any = rows if name not in ("sex", "class") else ["male", "female"] if name == "sex" else [1, 3]
        assert back[name].transform(given).tobytes() == transformer.transform(given).tobytes()
    assert back["scaler"].names == ("age", "fare")
    assert back["scaler"].inverse(rows).tobytes() == fitted["scaler"].inverse(rows).tobytes()
    again = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    adam = optim.Adam(again.parameters(), lr=9.0)
    fresh = (again, adam, optim.lr_scheduler.StepLR(adam, 9), tg.History(), tg.Generator(0))
    for name, thing in zip(parts, fresh, strict=True):
        thing.load_state_dict(back[name])
    assert fresh[3].rows() == history.rows()
    assert fresh[3].metadata == history.metadata
    assert fresh[4].get_state().tolist() == tg.Generator(4).get_state().tolist()
    x = rows.astype(np.float32)
    assert train(again, adam, tg.tensor(x)).item() == train(model, opt, tg.tensor(x)).item()
    assert again[0].weight.tolist() == model[0].weight.tolist()


def train(model: Any, opt: Any, x: tg.Tensor) -> tg.Tensor:
    opt.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    opt.step()
    return loss  # type: ignore[no-any-return]


def test_an_object_by_itself(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    tg.save(model, tmp_path / "model")
    assert tg.load(tmp_path / "model").keys() == {"weight", "bias"}


@pytest.mark.parametrize("name", ["m.gguf", "m.pt", "m.PTH", "m.onnx", "m.h5", "m.pkl", "m.json", "m.npy"])
def test_extensions_of_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    for call in (lambda path: tg.save({}, path), tg.load):
        with pytest.raises(DataError, match=rf"{name}, whose extension stands for another format"):
            call(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_every_truncated_or_flipped_file_is_refused_in_our_words(tmp_path: Path) -> None:
    """What flips in a part that nobody reads (a date) may load, and then is what was saved."""
    path = tmp_path / "a.npz"
    value = {"w": tg.tensor([1.5, 2.5]), "n": [1, None], "s": np.float32(2)}
    tg.save(value, path)
    content = path.read_bytes()
    damaged = [content[:size] for size in range(len(content))]
    for place in range(len(content)):
        for bit in (0, 3, 7):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            damaged.append(bytes(flipped))
    refused = 0
    for content in damaged:
        back, error = outcome(content)
        if error is None:
            assert repr(back) == repr(value)
        else:
            refused += 1
            assert "pickle" not in str(error)
            assert (error.__cause__, error.__suppress_context__) == (None, True)
    assert refused > 0.7 * len(damaged)


def outcome(content: bytes) -> tuple[Any, DataError | None]:
    try:
        return serialize.unpacked(content, "a.npz"), None
    except DataError as error:
        return None, error


def test_numpy_is_not_heard(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content in (pickle.dumps([1]), hostile("pickle")):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            tg.load(path)
        text = "".join(traceback.format_exception(caught.value))
        assert "allow_pickle=True" not in text
        assert "numpy/lib" not in text


def test_faults_of_paths_are_named(tmp_path: Path) -> None:
    for call in (lambda path: tg.save({}, path), tg.load):
        with pytest.raises(DataError, match="a int as the path"):
            call(3)
    with pytest.raises(OSError, match=r"\[save\] got .*a.npz, which cannot be written \(No such file or directory\)"):
        tg.save({}, tmp_path / "no" / "a.npz")
    with pytest.raises(DataError, match=r"\[load\] got .*which cannot be read \(Is a directory\)"):
        tg.load(tmp_path)


def test_what_contains_itself_is_refused(tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DataError, match="too deep, or contains itself"):
        tg.save(value, tmp_path / "a.npz")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        tg.load(tmp_path / "nothing.npz")
