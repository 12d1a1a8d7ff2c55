"""A page on a model, as tg.report writes it: its graph, what the compiler makes of it, where its time goes. MODEL is an
.onnx file, or module:name or file.py:name, a module or a function that makes one; the page is one HTML file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ..page import report
from . import model

EXAMPLES: Final = """\
  python -m tinygrad_nn report model.onnx
  python -m tinygrad_nn report net.py:build --weights iris.npz --before scaler --data iris.csv --rows 30
  python -m tinygrad_nn report net:build --example 30,4 --out page.html"""


def add(parser: argparse.ArgumentParser) -> None:
    """The model, and with what it is called."""
    parser.add_argument("model", metavar="MODEL", help=model.FORM)
    model.add(parser)
    model.add_example(parser)
    parser.add_argument("--out", metavar="FILE", default="report.html", help="the page (default: report.html)")


def run(options: argparse.Namespace) -> None:
    """Write it, and say where."""
    module, given = model.with_example("report", options)
    model.called("report", "the model", lambda: report(module, *given, path=Path(options.out)))
    print(options.out)
