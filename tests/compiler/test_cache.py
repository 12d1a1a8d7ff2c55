"""Object code on disk: kept, found again, and never trusted where it could be another's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler import cache, native
from tinygrad_nn.config import config

ROOT = Path(__file__).parents[2]
KEY = cache.key("a", "b")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / "objects"
    monkeypatch.setenv("TGNN_CACHE", str(path))
    config.cache_clear()
    yield path
    monkeypatch.undo()
    config.cache_clear()


def entry(folder: Path) -> Path:
    return folder / f"{KEY}.o"


def compiled() -> Any:
    """A function compiled anew, called."""
    f = tg.jit(lambda x: x * 3 + 1)
    assert f(tg.tensor([1.0, 2.0])).tolist() == [4, 7]
    assert f.last is not None
    return f.last.compiled


def test_hit_and_miss(folder: Path) -> None:
    assert cache.load(KEY) is None
    cache.save(KEY, b"code")
    assert cache.load(KEY) == b"code"
    assert cache.load(cache.key("ab")) is None
    cache.save(KEY, b"other")
    assert cache.load(KEY) == b"other"
    assert [path.name for path in folder.iterdir()] == [f"{KEY}.o"]  # nothing temporary is left


def test_keys_tell_parts_apart() -> None:
    keys = {cache.key(*parts) for parts in ((), ("",), ("ab",), ("a", "b"), ("b", "a"), ("a", "b", ""), ("ä",))}
    assert len(keys) == 7
    assert all(len(key) == 64 and key.isalnum() for key in keys)


def test_the_second_compilation_is_a_hit(folder: Path) -> None:
    assert not compiled().timings.cached
    assert len(list(folder.glob("*.o"))) == 1
    assert compiled().timings.cached


@pytest.mark.parametrize("part", ["triple", "cpu", "features", "version"])
def test_another_machine_is_a_miss(part: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of the key counts."""
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(native.disk, "key", lambda *parts: seen.append(parts) or KEY)
    compiled()
    assert getattr(native.machine(), part) in seen[0]
    assert str(native.LEVEL) in seen[0]
    assert any("define" in text for text in seen[0])


def test_folders_are_private(folder: Path) -> None:
    cache.save(KEY, b"code")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "digest only", "garbage", "longer"])
def test_a_damaged_file_is_made_again(damage: str, folder: Path) -> None:
    compiled()
    (path,) = folder.glob("*.o")
    whole = path.read_bytes()
    path.write_bytes(
        {
            "flip": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
            "truncate": whole[: len(whole) // 2],
            "empty": b"",
            "digest only": whole[:32],
            "garbage": b"\x7fELF" * 50,
            "longer": whole + b"\0",
        }[damage]
    )
    assert not compiled().timings.cached
    assert path.read_bytes()[:32] == whole[:32]
    assert compiled().timings.cached


def test_a_symlink_is_ignored(folder: Path, tmp_path: Path) -> None:
    cache.save(KEY, b"code")
    moved = entry(folder).rename(tmp_path / "elsewhere.o")
    entry(folder).symlink_to(moved)
    assert cache.load(KEY) is None
    cache.save(KEY, b"code")
    assert not entry(folder).is_symlink()
    assert cache.load(KEY) == b"code"


def test_a_linked_folder_is_ignored(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    folder.symlink_to(real)
    cache.save(KEY, b"code")
    assert cache.load(KEY) is None
    assert list(real.iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_others_can_write_to_is_ignored(mode: int, folder: Path) -> None:
    cache.save(KEY, b"code")
    folder.chmod(mode)
    assert cache.load(KEY) is None
    cache.save(cache.key("c"), b"code")
    assert len(list(folder.iterdir())) == 1
    assert compiled() is not None


def test_a_folder_or_file_of_somebody_else_is_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.save(KEY, b"code")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cache.load(KEY) is None
    cache.save(KEY, b"other")
    monkeypatch.undo()
    assert entry(folder).read_bytes()[32:] == b"code"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_given_away_is_ignored(folder: Path) -> None:
    cache.save(KEY, b"code")
    os.chown(entry(folder), 12345, -1)
    assert cache.load(KEY) is None


def test_no_folder_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TGNN_CACHE", str(tmp_path / "file" / "below"))
    config.cache_clear()
    assert not compiled().timings.cached
    monkeypatch.undo()
    config.cache_clear()


def test_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TGNN_CACHE", "off")
    config.cache_clear()
    compiled()
    assert not compiled().timings.cached
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    config.cache_clear()


def test_the_size_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used longest ago goes first; what does not fit at all goes too."""
    monkeypatch.setattr(cache, "LIMIT", 1000)
    names = [cache.key(str(k)) for k in range(12)]
    for k, name in enumerate(names[:9]):
        cache.save(name, bytes(68))  # 100 bytes with the digest
        os.utime(folder / f"{name}.o", (k, k))
    assert cache.load(names[0]) is not None  # used now
    for name in names[9:]:
        cache.save(name, bytes(68))
    left = {path.stem for path in folder.glob("*.o")}
    assert len(left) == 10
    assert left == set(names) - {names[1], names[2]}


CHILD = """
import sys
from tinygrad_nn.compiler import cache
name = cache.key("shared")
for turn in range(300):
    cache.save(name, bytes([int(sys.argv[1])]) * 50_000)
    found = cache.load(name)
    assert found is not None and len(found) == 50_000 and len(set(found)) == 1, turn
"""


def test_two_processes_write_at_once(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(k)], env=environment, stderr=subprocess.PIPE, text=True)
        for k in (1, 2)
    ]
    for child in running:
        _, error = child.communicate(timeout=60)
        assert child.returncode == 0, error
    assert len(list(folder.iterdir())) == 1
