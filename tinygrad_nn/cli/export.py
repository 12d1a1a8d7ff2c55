"""A file or a model in another form; the path that was written goes to stdout. Between .npz and .safetensors MODEL is
the file itself. Code is written of module:name or file.py:name, a module or a function that makes one, with the
numbers of --weights and the shapes of an example.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from .. import export as forms
from ..compiler.codegen.c.printer import identifier
from ..errors import ConfigError, message, printable
from ..ops.rules import DTYPES, FLOAT32
from ..safetensors import Tensors
from ..serialize import load, save
from ..support.arrays import Array
from . import model

EXAMPLES: Final = """\
  python -m tinygrad_nn export model.npz --to safetensors
  python -m tinygrad_nn export net.py:build --to c --weights iris.npz --before scaler --data iris.csv
  python -m tinygrad_nn export net:build --to wasm --example 30,4 --out page/net.wasm"""
CODE: Final[Mapping[str, Callable[..., Path]]] = {"c": forms.c, "onnx": forms.onnx, "wasm": forms.wasm}
NUMBERS: Final = ("safetensors", "npz")
_SHAPE: Final = re.compile(r"(\d{1,9}(?:,\d{1,9})*)(?::([a-z0-9]+))?", re.ASCII)


def add(parser: argparse.ArgumentParser) -> None:
    """What to write, of what."""
    parser.add_argument("model", metavar="MODEL", help=f"a .npz or .safetensors file, or {model.FORM}")
    parser.add_argument("--to", required=True, choices=(*NUMBERS, *CODE), help="the form")
    parser.add_argument("--out", metavar="PATH", help="the file to write (default: beside MODEL, or model.c and so on)")
    model.add(parser)
    shapes = parser.add_mutually_exclusive_group()
    shapes.add_argument(
        "--example",
        metavar="SHAPE",
        action="append",
        help="the shape of an argument, as 30,4 or 30,8:int64 for another dtype than float32; repeated for several",
    )
    shapes.add_argument("--data", metavar="CSV", help="a file whose first rows are the example")
    parser.add_argument("--rows", type=int, default=1, metavar="N", help="rows of --data (default: 1)")
    parser.add_argument("--columns", metavar="A,B", help="columns of --data (default: all)")
    parser.add_argument("--name", default="model", help="what functions in the code are called by (default: model)")


def run(options: argparse.Namespace) -> None:
    """Write it, and say where."""
    print(written(options))


def written(options: argparse.Namespace) -> Path:
    """The file that was written."""
    if options.to in NUMBERS:
        return converted(options)
    if model.is_file(options.model):
        got = f"{options.model}, which holds numbers and no architecture"
        raise ConfigError(message("export", got, model.FORM, f"and --weights {options.model}"))
    if options.example is None and options.data is None:
        raise ConfigError(message("export", "no shapes", "--example 30,4 or --data file.csv"))
    examples = [example(one) for one in options.example or ()]
    module = model.found("export", options)
    if options.data is not None:
        rows = model.table(module, options.data, options.columns)
        if not 1 <= options.rows <= len(rows):
            raise ConfigError(message("export", f"--rows {options.rows}", f"1 to {len(rows)}, the rows of the file"))
        examples = [rows[: options.rows]]
    name = identifier(options.name)
    path = Path(options.out or f"{name}.{options.to}")
    named = {"name": name} if options.to == "c" else {}
    return model.called("export", "the model", lambda: CODE[options.to](module, *examples, path=path, **named))


def converted(options: argparse.Namespace) -> Path:
    """The tensors by name of a file or a module, in a file of the other form."""
    if model.is_file(options.model):
        if options.weights is not None or options.before:
            raise ConfigError(message("export", "--weights or --before", "neither for a file of numbers"))
        content = load(options.model)
        state = model.state_in("export", content, options.key, options.model)
        beside = model.left_out(content, state)
    else:
        module = model.found("export", options)
        content, state, beside = {}, module.state_dict(), []
    default = Path(options.model) if model.is_file(options.model) else Path(identifier(options.name))
    path = Path(options.out) if options.out else default.with_suffix(f".{options.to}")
    if path.suffix.lower() != f".{options.to}" or path == Path(options.model):
        raise ConfigError(message("export", f"the path {path}", f"another one that ends in .{options.to}"))
    metadata = content.metadata if isinstance(content, Tensors) else None
    if options.to == "npz":
        beside, metadata = ["metadata"] if metadata else [], None
        state = dict(state)
    save(state, path, metadata)
    if beside:
        print(f"left out: {printable(', '.join(beside), keep='')}", file=sys.stderr)
    return path


def example(text: str) -> Array:
    """An argument of this shape."""
    match = _SHAPE.fullmatch(text)
    dtypes = {str(dtype): dtype for dtype in DTYPES}
    if match is None or (match[2] or str(FLOAT32)) not in dtypes:
        raise ConfigError(message("export", f"the shape {text}", f"30,4 or 30,4:int64, of {', '.join(dtypes)}"))
    try:
        return np.zeros([int(length) for length in match[1].split(",")], dtypes[match[2] or str(FLOAT32)])
    except (MemoryError, ValueError):
        raise ConfigError(message("export", f"the shape {text}", "one that fits in memory")) from None
