"""A file or a model in another form; the path that was written goes to stdout. Between .npz and .safetensors MODEL is
the file itself. Code is written of module:name or file.py:name, a module or a function that makes one, with the
numbers of --weights and the shapes of an example.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from .. import export as forms
from ..compiler.codegen.c.printer import identifier
from ..errors import ConfigError, message, printable
from ..safetensors import Tensors
from ..serialize import load, save
from . import model

EXAMPLES: Final = """\
  python -m tinygrad_nn export model.npz --to safetensors
  python -m tinygrad_nn export net.py:build --to c --weights iris.npz --before scaler --data iris.csv
  python -m tinygrad_nn export net:build --to wasm --example 30,4 --out page/net.wasm"""
CODE: Final[Mapping[str, Callable[..., Path]]] = {"c": forms.c, "onnx": forms.onnx, "wasm": forms.wasm}
NUMBERS: Final = ("safetensors", "npz")


def add(parser: argparse.ArgumentParser) -> None:
    """What to write, of what."""
    parser.add_argument("model", metavar="MODEL", help=f"a .npz or .safetensors file, or {model.FORM}")
    parser.add_argument("--to", required=True, choices=(*NUMBERS, *CODE), help="the form")
    parser.add_argument("--out", metavar="PATH", help="the file to write (default: beside MODEL, or model.c and so on)")
    model.add(parser)
    model.add_example(parser)
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
    module, examples = model.with_example("export", options)
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
