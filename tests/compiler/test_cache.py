"""Object code on disk: kept, found again, and never trusted where it could be another's."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tinygrad_nn as tg
from tinygrad_nn.compiler.codegen import cache, native
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


def own(folder: Path) -> Path:
    """The folder that the library makes in the one that TGNN_CACHE names."""
    return folder / cache.own_folder()


def entry(folder: Path) -> Path:
    return own(folder) / f"{KEY}.o"


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
    assert {path.name for path in own(folder).iterdir()} == {f"{KEY}.o", "key"}  # nothing temporary is left


def test_keys_tell_parts_apart() -> None:
    keys = {cache.key(*parts) for parts in ((), ("",), ("ab",), ("a", "b"), ("b", "a"), ("a", "b", ""), ("ä",))}
    assert len(keys) == 7
    assert all(len(key) == 64 and key.isalnum() for key in keys)


def test_the_second_compilation_is_a_hit(folder: Path) -> None:
    assert not compiled().timings.cached
    assert len(list(own(folder).glob("*.o"))) == 1
    assert compiled().timings.cached


def test_another_target_is_a_miss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key has the whole target in it, and what else code depends on."""
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(native.disk, "key", lambda *parts: seen.append(parts) or KEY)
    compiled()
    keys = [parts for parts in seen if parts[1].startswith("Target(")]  # a description, and IR
    assert len(keys) == 2
    for field in ("triple", "cpu", "features", "width", "fma"):
        assert all(f"{field}={getattr(native.host(), field)!r}" in parts[1] for parts in keys)
    assert native.version() in keys[1]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o377, 0o777])
def test_everything_is_private_whatever_the_umask(umask: int, folder: Path) -> None:
    before = os.umask(umask)
    try:
        cache.save(KEY, b"code")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in own(folder).iterdir()}
    if modes or umask & 0o300 == 0:
        assert modes == {"key": 0o600, f"{KEY}.o": 0o600}
        assert stat.S_IMODE(own(folder).stat().st_mode) == 0o700 & ~umask


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "digest only", "garbage", "longer"])
def test_a_damaged_file_is_made_again(damage: str, folder: Path) -> None:
    compiled()
    (path,) = own(folder).glob("*.o")
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


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o750, 0o701])
def test_a_folder_others_can_use_is_ignored(mode: int, folder: Path) -> None:
    cache.save(KEY, b"code")
    own(folder).chmod(mode)
    assert cache.load(KEY) is None
    cache.save(cache.key("c"), b"code")
    assert len(list(own(folder).iterdir())) == 2
    assert compiled() is not None


def test_a_folder_for_everybody_holds_one_of_ours(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o1777)
    cache.save(KEY, b"code")
    assert cache.load(KEY) == b"code"
    assert stat.S_IMODE(own(folder).stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["key", f"{KEY}.o"])
@pytest.mark.parametrize("mode", [0o604, 0o620, 0o660, 0o666, 0o644])
def test_a_file_others_can_use_is_made_again(name: str, mode: int, folder: Path) -> None:
    cache.save(KEY, b"code")
    (own(folder) / name).chmod(mode)
    assert cache.load(KEY) is None
    cache.save(KEY, b"code")
    assert cache.load(KEY) == b"code"
    assert stat.S_IMODE((own(folder) / name).stat().st_mode) == 0o600


def test_a_folder_or_file_of_somebody_else_is_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.save(KEY, b"code")
    name = cache.own_folder()
    monkeypatch.setattr(cache, "own_folder", lambda: name)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cache.load(KEY) is None
    cache.save(KEY, b"other")
    monkeypatch.undo()
    assert entry(folder).read_bytes()[32:] == b"code"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize("name", ["key", f"{KEY}.o", "."])
def test_what_was_given_away_is_ignored(name: str, folder: Path) -> None:
    cache.save(KEY, b"code")
    os.chown(own(folder) / name, 12345, -1)
    assert cache.load(KEY) is None


def planted(kind: str, path: Path) -> None:
    """Something else where a file of the cache should be."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**40)
        path.chmod(0o600)
    else:
        path.symlink_to({"device": "/dev/zero", "loop": path, "broken": path.with_name("nothing")}[kind])


@pytest.mark.parametrize("name", ["key", f"{KEY}.o"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device", "loop", "broken", "sparse"])
def test_what_is_no_file_is_no_entry(kind: str, name: str, folder: Path) -> None:
    cache.save(KEY, b"code")
    path = own(folder) / name
    path.unlink()
    planted(kind, path)
    assert cache.load(KEY) is None
    cache.save(KEY, b"code")
    assert cache.load(KEY) == (None if kind == "folder" else b"code")


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop", "broken"])
def test_what_is_no_folder_is_none(kind: str, above: bool, folder: Path) -> None:
    if not above:
        folder.mkdir()
    planted(kind, folder if above else own(folder))
    assert cache.load(KEY) is None
    cache.save(KEY, b"code")
    assert not compiled().timings.cached


def test_right_checksums_over_wrong_content_are_refused(folder: Path) -> None:
    """What one can make who knows everything but the key; and an entry under the name of another."""
    cache.save(KEY, b"code")
    entry(folder).write_bytes(hashlib.sha256(b"evil").digest() + b"evil")
    assert cache.load(KEY) is None
    entry(folder).write_bytes(hashlib.blake2b(KEY.encode() + b"evil", digest_size=32).digest() + b"evil")
    assert cache.load(KEY) is None
    cache.save(cache.key("other"), b"evil")
    (own(folder) / f"{cache.key('other')}.o").rename(entry(folder))
    assert cache.load(KEY) is None


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_spoilt_key_is_made_again(content: bytes, folder: Path) -> None:
    cache.save(KEY, b"code")
    (own(folder) / "key").write_bytes(content)
    assert cache.load(KEY) is None
    cache.save(KEY, b"code")
    assert cache.load(KEY) == b"code"


@pytest.mark.parametrize("call", ["mkdir", "write", "link", "rename", "fchmod", "utime", "scandir"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT])
def test_a_disk_that_refuses_is_no_error(call: str, error: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(error, os.strerror(error))

    class Full(io.FileIO):
        def write(self, content: Any) -> int:
            return refuse()  # type: ignore[no-any-return]

    if call == "write":
        monkeypatch.setattr(os, "fdopen", Full)
    else:
        monkeypatch.setattr(os, call, refuse)
    cache.save(KEY, b"code")
    assert cache.load(KEY) in (None, b"code")
    assert cache.load(KEY) == b"code" or call not in ("link", "utime", "scandir")
    monkeypatch.undo()
    left = [path.name for path in own(folder).iterdir()] if own(folder).exists() else []
    assert not [name for name in left if name.endswith(".tmp")]


def test_what_killed_processes_left_is_removed(folder: Path) -> None:
    cache.save(KEY, b"code")
    old, new = (own(folder) / f"{name}.tmp" for name in ("old", "new"))
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, 0))
    cache.save(KEY, b"code")
    assert not old.exists()
    assert new.exists()


def test_no_folder_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TGNN_CACHE", str(tmp_path / "file" / "below"))
    config.cache_clear()
    assert not compiled().timings.cached
    monkeypatch.undo()
    config.cache_clear()


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as of a user whom the system does not know
    for text in ("~nobody-of-this-name/cache", "~/cache", ""):
        monkeypatch.setenv("TGNN_CACHE", text)
        config.cache_clear()
        assert config().cache is None
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
    """What was used longest ago goes first, of both kinds; what does not fit at all goes too."""
    monkeypatch.setattr(cache, "LIMIT", 1000)
    kinds: list[cache.Kind] = ["o", "image"]
    names = [cache.key(str(k)) for k in range(12)]
    for k, name in enumerate(names[:9]):
        cache.save(name, bytes(68), kinds[k % 2])  # 100 bytes with the digest
        os.utime(own(folder) / f"{name}.{kinds[k % 2]}", (k, k))
    assert cache.load(names[0]) is not None  # used now
    for k, name in enumerate(names[9:]):
        cache.save(name, bytes(68), kinds[k % 2])
    left = {path.stem for path in own(folder).iterdir() if path.name != "key"}
    assert len(left) == 10
    assert left == set(names) - {names[1], names[2]}


CHILD = """
import sys
from tinygrad_nn.compiler.codegen import cache
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
        _, error = child.communicate()
        assert child.returncode == 0, error
    assert len(list(own(folder).iterdir())) == 2


FIRST = """
import sys
from tinygrad_nn.compiler.codegen import cache
sys.stdin.readline()
cache.save(cache.key(sys.argv[1]), b"code")
"""


def test_processes_that_make_the_key_at_once_sign_with_one(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", FIRST, str(k)], env=environment, stdin=subprocess.PIPE, text=True)
        for k in range(4)
    ]
    for child in running:
        assert child.stdin is not None
        child.stdin.close()
    assert [child.wait() for child in running] == [0] * 4
    assert [cache.load(cache.key(str(k))) for k in range(4)] == [b"code"] * 4
