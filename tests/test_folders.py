"""The folder of caches: where the platform has it, and who may be in it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_nn.support import folders

posix = pytest.mark.skipif(not folders.POSIX, reason="folder modes are those of POSIX")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_place_is_the_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platformdirs = pytest.importorskip("platformdirs")
    assert folders.cache_place() == Path(platformdirs.user_cache_dir("tinygrad_nn", False))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "else"))
    assert folders.cache_place() == tmp_path / "else" / "tinygrad_nn"
    assert not (tmp_path / "else").exists()  # asking makes nothing


def test_no_home_and_no_platformdirs_are_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "expanduser", lambda path: path)
        assert folders.cache_place() is None
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert folders.cache_place() is None


def test_it_is_imported_when_it_is_needed() -> None:
    code = "import sys, tinygrad_nn; print({'platformdirs', 'pooch', 'requests', 'graphviz'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@posix
def test_a_folder_is_made_private_and_stays_ours(tmp_path: Path) -> None:
    new, open_to_all = tmp_path / "a" / "b", tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for folder in (new, open_to_all):
        folders.make_private(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("kind", ["link", "dangling", "file", "pipe"])
def test_what_is_no_folder_is_not_opened(kind: str, tmp_path: Path) -> None:
    path, other = tmp_path / "folder", tmp_path / "other"
    if kind == "link":
        other.mkdir(mode=0o755)
    if kind in ("link", "dangling"):
        path.symlink_to(other)
    elif kind == "file":
        path.write_bytes(b"")
    else:
        os.mkfifo(path)
    with pytest.raises(OSError, match=r"folder"):
        folders.make_private(path)
    assert kind != "link" or stat.S_IMODE(other.stat().st_mode) == 0o755


@posix
def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        folders.make_private(tmp_path)
    assert not folders.is_private(tmp_path.stat())


@posix
def test_below_a_descriptor_a_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "own").symlink_to(tmp_path)
    with folders.opened(tmp_path, make=False) as above:
        with pytest.raises(OSError, match="own"), folders.opened("own", True, above):
            pass
        with folders.opened("new", True, above) as found:
            assert os.path.samestat(os.fstat(found), (tmp_path / "new").stat())
    with pytest.raises(FileNotFoundError), folders.opened(tmp_path / "absent", make=False):
        pass
