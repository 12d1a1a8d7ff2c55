"""Downloads and atomic writes: cached, checked, confined to their folder, given up after their time."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tinygrad_nn.data.fetch import TITANIC, cache_folder, cached_download
from tinygrad_nn.errors import ConfigError, DataError, MissingExtra
from tinygrad_nn.support.files import write_atomic

CONTENT = b"a,b\n1,2\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
fetched = functools.partial(cached_download, timeout=600.0)  # a busy machine is no failure


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tinygrad_nn"


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, a part of it, a 404, or nothing until it is released; counts the requests."""

    requests = 0
    released = threading.Event()

    def do_GET(self) -> None:
        type(self).requests += 1
        if self.path == "/slow":
            type(self).released.wait()
            return
        self.send_response(404 if self.path == "/absent" else 200)
        self.send_header("Content-Length", str(len(CONTENT) + 9 * (self.path == "/cut.csv")))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.requests = 0
    Handler.released.clear()
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        Handler.released.set()
        http.shutdown()
        thread.join()


def test_downloads_once_and_repairs_the_cache(server: str, cache: Path) -> None:
    path = fetched(f"{server}/table.csv", SHA256, "table.csv")
    assert path == cache / "table.csv"
    assert path.read_bytes() == CONTENT
    assert fetched(f"{server}/table.csv", SHA256, "table.csv") == path
    assert Handler.requests == 1
    path.write_bytes(b"damaged")
    assert fetched(f"{server}/table.csv", SHA256, "table.csv").read_bytes() == CONTENT
    assert Handler.requests == 2
    assert [entry.name for entry in cache.iterdir()] == ["table.csv"]


def test_file_addresses(tmp_path: Path) -> None:
    (tmp_path / "source.csv").write_bytes(CONTENT)
    assert fetched((tmp_path / "source.csv").as_uri(), SHA256, "copy.csv").read_bytes() == CONTENT


def test_a_link_in_the_cache_is_replaced_not_followed(server: str, tmp_path: Path) -> None:
    target = tmp_path / "target.csv"
    target.write_bytes(CONTENT)
    (cache_folder() / "table.csv").symlink_to(target)
    path = fetched(f"{server}/table.csv", SHA256, "table.csv")
    assert not path.is_symlink()
    assert Handler.requests == 1
    assert target.read_bytes() == CONTENT


def test_wrong_content_is_refused_and_not_kept(server: str, cache: Path) -> None:
    with pytest.raises(DataError, match=rf"got 8 bytes with SHA-256 {SHA256} from http.*; expected 00"):
        fetched(f"{server}/table.csv", "00", "table.csv")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../x.csv", "/etc/passwd", "a/b.csv", "a\\b.csv", ".hidden", "..", "x" * 101,
                                  "new\nline", "tail.csv\n", "C:x.csv", "nul\0"])
def test_names_never_become_paths(name: str) -> None:
    with pytest.raises(DataError, match=r"\[cached_download\] got name .*; expected a plain file name"):
        fetched("file:///dev/null", SHA256, name)


@pytest.mark.parametrize(("url", "expected"), [
    ("http://127.0.0.1:1/x", r"got no answer from http://127\.0\.0\.1:1/x: .*; expected a connection.*by hand"),
    ("ftp://127.0.0.1/x", r"got address 'ftp://127\.0\.0\.1/x'; expected an https, http or file address"),
    ("table.csv", r"got address 'table\.csv'"),
    ("file:///no/such/file", r"got no answer from file:///no/such/file"),
    ("http://[broken/x", r"got no answer from .*broken"),
])
def test_addresses_that_fail(url: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DataError, match=expected):
        fetched(url, SHA256, "x.csv")


def test_errors_of_the_server(server: str, cache: Path) -> None:
    with pytest.raises(DataError, match=r"got no answer from .*/absent: 404"):
        fetched(f"{server}/absent", SHA256, "x.csv")
    with pytest.raises(DataError, match=r"got no answer from .*/cut\.csv: .*IncompleteRead"):
        fetched(f"{server}/cut.csv", SHA256, "x.csv")
    assert list(cache.iterdir()) == []


def test_a_server_that_never_answers_is_given_up(server: str, cache: Path) -> None:
    """It is released only after the error: without a limit this would hang."""
    with pytest.raises(DataError, match=r"got no answer from .*/slow: .*(timed out|no complete answer in 0\.3 s)"):
        cached_download(f"{server}/slow", SHA256, "x.csv", timeout=0.3)
    assert list(cache.iterdir()) == []


def test_the_timeout_covers_what_a_socket_timeout_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hanging_name_lookup(*args: Any) -> None:
        released.wait()
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", hanging_name_lookup)
    with pytest.raises(DataError, match=r"got no answer from http://slow/x: no complete answer in 0\.1 s"):
        cached_download("http://slow/x", SHA256, "x.csv", timeout=0.1)
    released.set()


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), "5", None])
def test_a_timeout_is_a_time(timeout: Any) -> None:
    with pytest.raises((ConfigError, DataError), match=r"\[cached_download\] got timeout"):
        cached_download("http://127.0.0.1:1/x", SHA256, "x.csv", timeout=timeout)


def test_a_full_disk_leaves_the_file_that_was_there(server: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetched(f"{server}/table.csv", SHA256, "table.csv")
    path.write_bytes(b"damaged")

    def full(self: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"got .*table\.csv: No space left on device; expected .* room for the file"):
        fetched(f"{server}/table.csv", SHA256, "table.csv")
    assert path.read_bytes() == b"damaged"
    assert [entry.name for entry in cache.iterdir()] == ["table.csv"]


def test_a_folder_where_the_file_should_be(server: str, cache: Path) -> None:
    (cache / "table.csv").mkdir(parents=True)
    with pytest.raises(DataError, match=r"got .*table\.csv: Is a directory; expected a cache that can be written"):
        fetched(f"{server}/table.csv", SHA256, "table.csv")


def test_what_is_there_needs_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache_folder() / "table.csv").write_bytes(CONTENT)

    def offline(*args: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr(socket.socket, "connect", offline)
    assert fetched("https://example.org/table.csv", SHA256.upper(), "table.csv").read_bytes() == CONTENT
    with pytest.raises(DataError, match=r"no answer from https://example.org/other.csv: .*by hand"):
        fetched("https://example.org/other.csv", SHA256, "other.csv")


def test_nothing_is_said_unless_a_bar_is_wanted(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    fetched(f"{server}/table.csv", SHA256, "table.csv")
    assert capfd.readouterr() == ("", "")
    fetched(f"{server}/table.csv", SHA256, "again.csv", progress=True)
    assert "8.00/8.00" in capfd.readouterr().err
    assert pytest.importorskip("pooch").get_logger().filters == []  # what the user downloads is logged as before


@pytest.mark.parametrize(("module", "extra"), [("pooch", "data"), ("tqdm", "ui")])
def test_a_missing_package_is_named(module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf'pip install "tinygrad_nn\[{extra}\]"'):
        fetched("http://127.0.0.1:1/x", SHA256, "x.csv", progress=True)


def test_the_titanic_checksum_is_that_of_the_real_file(shared_data: Path) -> None:
    assert hashlib.sha256((shared_data / "titanic.csv").read_bytes()).hexdigest() == TITANIC.sha256


# ---- the cache folder

@pytest.mark.skipif(os.name != "posix", reason="folder modes are those of POSIX")
def test_the_folder_is_private(cache: Path) -> None:
    cache.mkdir(parents=True, mode=0o755)
    assert cache_folder() == cache
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_linked_folder_is_refused(cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir()
    cache.symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"\[cache_folder\] got .*tinygrad_nn, a link or the folder of another user"):
        cache_folder()


def test_an_unusable_folder_is_refused(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"\[cache_folder\] got .*; expected a folder that can be written"):
        cache_folder()


def test_a_relative_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "tinygrad_nn"


# ---- atomic writes

def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.txt"
    write_atomic(path, b"old")

    def full(*args: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note.txt"]
