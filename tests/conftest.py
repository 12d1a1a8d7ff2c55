"""What every test may use: hypothesis profiles, the real data beside the clone, and golden files."""

from __future__ import annotations

import difflib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tinygrad_nn.compiler import recall
from tinygrad_nn.compiler.run import crossover
from tinygrad_nn.config import config

ROOT = Path(__file__).resolve().parents[1]

# A loaded machine must not fail a slow example, hence no deadline. `ci` repeats the same examples every time.
settings.register_profile("dev", deadline=None, max_examples=25)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000, print_blob=True)
os.environ.setdefault("TGNN_VERIFY", "1")  # every graph after every pass, every program
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Compiled code goes to a folder of this run, in programs that tests start too."""
    folder = tmp_path_factory.mktemp("cache")
    folder.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TGNN_CACHE", str(folder))
        patch.setattr(crossover, "crossover", lambda target: 0)  # no test depends on how fast this machine is
        config.cache_clear()
        yield folder
    config.cache_clear()


@pytest.fixture(autouse=True)
def nothing_recognised() -> None:
    """Each test has its own programs compiled."""
    recall.forget()


class Patch(pytest.MonkeyPatch):
    """What is changed may be the compiler: what it made before is not what it makes now."""

    def setattr(self, *args: Any, **kwargs: Any) -> None:
        super().setattr(*args, **kwargs)
        recall.forget()


@pytest.fixture
def monkeypatch() -> Iterator[pytest.MonkeyPatch]:
    """That of pytest, after which nothing is recognised."""
    patch = Patch()
    yield patch
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C does what it does in a terminal, also where the tests are started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data files, `../shared/data` seen from the project root."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data files are not beside the clone (../shared/data)")
    return folder


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: the text is that of `golden/<name>.txt` beside the test, or, with --update-golden, becomes
    it.
    """
    folder = request.path.parent / "golden"
    update = bool(request.config.getoption("--update-golden"))
    return lambda name, text: check_golden(folder / f"{name}.txt", text, update)


def check_golden(path: Path, text: str, update: bool) -> None:
    """Fail with the difference to what the file holds; with `update` write the file instead."""
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        return
    if not path.is_file():
        pytest.fail(f"{path} is missing: run pytest --update-golden and read what it wrote", pytrace=False)
    expected = path.read_text(encoding="utf-8")
    if text + "\n" != expected:
        lines = difflib.unified_diff(expected.splitlines(), (text + "\n").splitlines(), str(path), "found", lineterm="")
        pytest.fail("\n".join([*lines, "if this is meant: pytest --update-golden"]), pytrace=False)
