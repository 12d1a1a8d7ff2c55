"""A model's results for the rows of a CSV file, as CSV on stdout: one line each, in the order of the file. MODEL is an
.onnx file, or module:name or file.py:name, a module or a function that makes one; its weights come from --weights.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import ConfigError, ShapeError, message
from ..support.arrays import Array
from ..support.files import write_atomic
from ..support.settings import shown
from ..tensor import Tensor, no_grad
from . import model

EXAMPLES: Final = """\
  python -m tinygrad_nn predict iris.onnx data.csv
  python -m tinygrad_nn predict net.py:build data.csv --weights iris.npz --before scaler
  python -m tinygrad_nn predict net:build data.csv --weights m.safetensors --columns age,fare --names survived"""


def add(parser: argparse.ArgumentParser) -> None:
    """The model, the rows, and how to call what comes out."""
    parser.add_argument("model", metavar="MODEL", help=model.FORM)
    parser.add_argument("data", metavar="CSV", help="the rows, with a header line")
    model.add(parser)
    parser.add_argument("--columns", metavar="A,B", help="columns in the order of the model's inputs (default: all)")
    parser.add_argument("--names", metavar="A,B", help="what to call the results (default: out0, out1, ...)")
    parser.add_argument("--out", metavar="FILE", help="where to write them (default: stdout)")


def run(options: argparse.Namespace) -> None:
    """Predict."""
    module = model.found("predict", options)
    rows = model.table("predict", module, options.data, options.columns)
    with no_grad():
        result = model.called("predict", "the model", lambda: module(Tensor(rows)))
    text = written(results(result, len(rows)), options.names)
    if options.out is None:
        sys.stdout.write(text)
    else:
        write_atomic(Path(options.out), text.encode(), "predict")


def results(result: object, rows: int) -> Array:
    """What a model gave, as a table."""
    if not isinstance(result, Tensor) or not result.ndim or len(result) != rows:
        got = f"a model that gives {f'shape {result.shape}' if isinstance(result, Tensor) else shown(result)}"
        raise ShapeError(message("predict", got, f"one tensor with a row for each of the {rows} rows"))
    width = int(np.prod(result.shape[1:]))
    return np.asarray(result.numpy()).reshape(rows, width)


def written(table: Array, names: str | None) -> str:
    """A table as CSV: the shortest numbers that are read back as they were."""
    width = table.shape[1]
    header = [f"out{k}" for k in range(width)] if names is None and width != 1 else (names or "out").split(",")
    if len(header) != width:
        raise ConfigError(message("predict", f"{len(header)} names", f"one for each of the {width} results"))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(header)
    lines.writerows([str(number) for number in row] for row in table)
    return text.getvalue()
