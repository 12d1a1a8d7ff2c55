"""tg.save and tg.load: bit for bit, no code in files, whole files or none."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn, optim
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


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        tg.load(tmp_path / "nothing.npz")
