"""`doctor`, and what is said without a command: what is installed, what is missing and the line that installs it, what
to try next.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Final

from ..config import config
from ..history import cpu_name
from ..support.extras import EXTRAS, pip_line

EXAMPLES: Final = """\
  python -m tinygrad_nn doctor
  python -m tinygrad_nn doctor | grep numpy"""
PROGRAMS: Final = (
    ("C", ("cc", "gcc", "clang"), "apt install gcc, for tg.export.object(..., target='host')"),
    ("dot", ("dot",), "apt install graphviz, or the extra draw: pictures of graphs"),
    ("node", ("node",), "apt install nodejs: WebAssembly without a browser"),
    (
        "browser",
        ("chromium", "chromium-browser", "google-chrome", "firefox"),
        "apt install chromium: pages of tg.report",
    ),
)
_FEATURES = ("sse4_2", "avx", "avx2", "fma", "avx512f")


def version() -> str:
    """The installed version of this package."""
    try:
        return metadata.version("tinygrad_nn")
    except metadata.PackageNotFoundError:
        return "not installed (running from source)"


def cpu_features() -> str:
    """The vector instructions of this processor, where the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    return " ".join(name for name in _FEATURES if name in flags) or "none of " + " ".join(_FEATURES)


def _found(module: str) -> str:
    """The version of an optional module, or a dash."""
    if util.find_spec(module) is None:
        return "-"
    try:
        return metadata.version({"sklearn": "scikit-learn"}.get(module, module))
    except metadata.PackageNotFoundError:
        return "present"


def place_of(names: Sequence[str]) -> str | None:
    """Where the first of some programs is."""
    return next((found for one in names if (found := shutil.which(one))), None)


def cached(folder: Path | None) -> str:
    """The folder of compiled code, and how much lies there."""
    if folder is None:
        return "none (TGNN_CACHE=off)"
    sizes = []
    with contextlib.suppress(OSError):
        for one in folder.rglob("*"):
            with contextlib.suppress(OSError):
                sizes += [one.stat().st_size] if one.is_file() else []
    writable = os.access(next(one for one in (folder, *folder.parents) if one.exists()), os.W_OK)
    return f"{folder} ({len(sizes):,} files, {sum(sizes) / 1e6:.1f} MB{'' if writable else ', cannot be written'})"


def doctor() -> str:
    """The page."""
    lines = [
        f"tinygrad_nn  {version()}",
        f"python       {platform.python_version()} ({sys.executable})",
        f"numpy        {metadata.version('numpy')}",
        f"cpu          {cpu_name()}",
        f"vectors      {cpu_features()}",
        f"llvmlite     {_found('llvmlite')}",
        f"threads      {config().threads} of {os.cpu_count()} (TGNN_THREADS), NumPy's by OMP_NUM_THREADS",
        f"cache        {cached(config().cache)}",
        "",
        "programs",
        *(f"  {name:<10} {place_of(names) or f'-    {hint}'}" for name, names, hint in PROGRAMS),
        "",
        "extras",
    ]
    for extra, modules in EXTRAS.items():
        state = ", ".join(f"{module} {_found(module)}" for module in modules)
        missing = any(_found(module) == "-" for module in modules)
        lines.append(f"  {extra:<8} {state}" + (f"    {pip_line(extra)}" if missing else ""))
    lines += [
        "",
        "next",
        "  python -m tinygrad_nn bench       how much faster compiled training is here",
        "  python examples/iris.py --plot    train on real data: accuracy after every epoch, as a picture",
        "  python examples/titanic.py        who survived the Titanic, from the file to the report",
        "  python -m pytest                  the tests",
    ]
    return "\n".join(lines)


def add(parser: argparse.ArgumentParser) -> None:
    """It has no arguments."""


def run(options: argparse.Namespace) -> None:
    """Print the page."""
    print(doctor())
