"""`doctor`, and what is said without a command: what is installed, what is missing and the line that installs it, what
to try next.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Final

from ..history import cpu_name
from ..support.extras import EXTRAS, pip_line

EXAMPLES: Final = """\
  python -m tinygrad_nn doctor
  python -m tinygrad_nn doctor | grep numpy"""
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


def doctor() -> str:
    """The page."""
    lines = [
        f"tinygrad_nn  {version()}",
        f"python       {platform.python_version()} ({sys.executable})",
        f"numpy        {metadata.version('numpy')}",
        f"cpu          {cpu_name()}",
        f"vectors      {cpu_features()}",
        f"dot          {shutil.which('dot') or '- (apt install graphviz, or the extra draw)'}",
        "",
        "extras",
    ]
    for extra, modules in EXTRAS.items():
        state = ", ".join(f"{module} {_found(module)}" for module in modules)
        missing = any(_found(module) == "-" for module in modules)
        lines.append(f"  {extra:<6} {state}" + (f"    {pip_line(extra)}" if missing else ""))
    lines += [
        "",
        "next",
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
