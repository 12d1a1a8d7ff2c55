"""Environment flags: what each takes, and what it says of anything else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinygrad_nn.config import config
from tinygrad_nn.errors import ConfigError

FLAGS = ("TGNN_DEBUG", "TGNN_JIT", "TGNN_CACHE", "TGNN_THREADS", "TGNN_PERF", "TGNN_CPU", "TGNN_VERIFY", "TGNN_QUIET")
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*FLAGS, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    config.cache_clear()
    yield
    monkeypatch.undo()
    config.cache_clear()


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    found = config()
    assert (found.debug, found.jit, found.perf, found.verify, found.quiet) == (0, True, False, False, False)
    assert (found.cpu, found.threads) == ("native", 1)
    assert found.cache == Path("/home/someone/.cache/tinygrad_nn")


@pytest.mark.parametrize("name", FLAGS)
def test_empty_is_unset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = config()
    config.cache_clear()
    monkeypatch.setenv(name, "")
    assert config() == before


@pytest.mark.parametrize("level", range(7))
def test_debug(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGNN_DEBUG", str(level))
    assert config().debug == level


@pytest.mark.parametrize(
    ("name", "field"),
    [("TGNN_JIT", "jit"), ("TGNN_PERF", "perf"), ("TGNN_VERIFY", "verify"), ("TGNN_QUIET", "quiet")],
)
def test_switches(name: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, value in (("0", False), ("1", True)):
        monkeypatch.setenv(name, text)
        config.cache_clear()
        assert getattr(config(), field) is value


@pytest.mark.parametrize("text", ["7777", "-1", "true", " 1", "1.0", "٣"])
@pytest.mark.parametrize("name", [name for name in FLAGS if name != "TGNN_CACHE"])
def test_anything_else_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    others = {"TGNN_DEBUG": "a number from 0 to 6", "TGNN_CPU": "native, avx2 or sse"}
    expected = {**others, "TGNN_THREADS": "a number from 1 to 1,024"}.get(name, "0 or 1")
    with pytest.raises(ConfigError, match=rf"\[{name}\] got the value '{text}'; expected {expected}"):
        config()


def test_folder_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("0", "off", "OFF"):
        monkeypatch.setenv("TGNN_CACHE", text)
        config.cache_clear()
        assert config().cache is None
    monkeypatch.setenv("HOME", "/home/someone")
    for name, text, expected in (
        ("XDG_CACHE_HOME", "/x", "/x/tinygrad_nn"),
        ("TGNN_CACHE", "/y/z", "/y/z"),
        ("TGNN_CACHE", "~/own", "/home/someone/own"),
    ):
        monkeypatch.delenv("TGNN_CACHE", raising=False)
        monkeypatch.setenv(name, text)
        config.cache_clear()
        assert config().cache == Path(expected)


def test_read_once_and_not_at_import() -> None:
    code = "import tinygrad_nn as tg; print(tg.ones(2).sum().item()); tg.jit(lambda x: x)(tg.ones(2))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TGNN_DEBUG": "9"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout == "2.0\n"
    assert done.stderr.rstrip().endswith("[TGNN_DEBUG] got the value '9'; expected a number from 0 to 6")


def test_every_flag_has_its_row() -> None:
    rows = (ROOT / "docs" / "env_vars.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tinygrad_nn").rglob("*.py"))
    for name in FLAGS:
        assert f"| `{name}` |" in rows
        assert name in source
