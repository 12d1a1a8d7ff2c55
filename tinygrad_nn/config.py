"""Environment flags, read when first asked for, typed and validated. docs/env_vars.md lists them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from .errors import ConfigError, message, printable
from .support.folders import cache_place

T = TypeVar("T")
CPUS: Final = ("native", "avx2", "sse")
THREADS: Final = 1024  # at most


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment says.

    debug   TGNN_DEBUG, 0..6: how much the compiler prints
    jit     TGNN_JIT: False runs compiled functions eagerly
    cache   TGNN_CACHE: the folder of compiled code, None for none
    threads TGNN_THREADS: how many threads run the large kernels of a compiled function together
    perf    TGNN_PERF: write a map of compiled functions for Linux perf
    cpu     TGNN_CPU: "avx2" and "sse" compile for an older processor of this machine's family, "native" for this one
    verify  TGNN_VERIFY: check what every pass and every stage of the compiler makes
    quiet   TGNN_QUIET: say nothing that was not asked for, such as how long a compilation will take
    """

    debug: int
    jit: bool
    cache: Path | None
    threads: int
    perf: bool
    cpu: str
    verify: bool
    quiet: bool


@cache
def config() -> Config:
    """The flags of this process. Raises ConfigError for a value that is none."""
    return Config(
        debug=_read("TGNN_DEBUG", "0", {str(n): n for n in range(7)}.get, "a number from 0 to 6"),
        jit=_read("TGNN_JIT", "1", {"0": False, "1": True}.get),
        cache=_folder(),
        threads=_read("TGNN_THREADS", "1", _number_of_threads, f"a number from 1 to {THREADS:,}"),
        perf=_read("TGNN_PERF", "0", {"0": False, "1": True}.get),
        cpu=_read("TGNN_CPU", "native", {name: name for name in CPUS}.get, "native, avx2 or sse"),
        verify=_read("TGNN_VERIFY", "0", {"0": False, "1": True}.get),
        quiet=_read("TGNN_QUIET", "0", {"0": False, "1": True}.get),
    )


def say(text: str) -> None:
    """Print what a flag asked for, beside the program's own output, and above a progress bar that may be there."""
    text = printable(text, keep="\n\t")
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        sys.stderr.write(text + "\n")
    else:
        tqdm.tqdm.write(text, file=sys.stderr)


def tell(text: str) -> None:
    """Print what nobody asked for, unless TGNN_QUIET forbids it."""
    if not config().quiet:
        say(text)


def _read(name: str, default: str, parse: Callable[[str], T | None], expected: str = "0 or 1") -> T:
    text = os.environ.get(name) or default
    value = parse(text)
    if value is None:
        raise ConfigError(message(name, f"the value {text!r}", expected))
    return value


def _number_of_threads(text: str) -> int | None:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    return number if 1 <= number <= THREADS else None


def _folder() -> Path | None:
    """The cache folder: what is set, nothing for "0" or "off", else the platform's place, if it has one."""
    text = os.environ.get("TGNN_CACHE", "")
    if text.lower() in ("0", "off"):
        return None
    try:
        return Path(text).expanduser() if text else cache_place()
    except RuntimeError:  # the home of a user that there is not
        return None
