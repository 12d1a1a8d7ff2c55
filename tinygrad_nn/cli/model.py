"""MODEL: the module that a command works with.

An .onnx file is one. Other files hold numbers and no code, so the architecture comes from Python: `module:name` or
`file.py:name`, found from the working folder, a module or what makes one without arguments. What it prints goes to
stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from ..data.table import read_csv, to_matrix
from ..errors import ConfigError, DataError, TinygradError, message
from ..nn import Module, Sequential
from ..nn.preprocessing import KINDS, MeanImputer, OneHotEncoder
from ..onnx import import_onnx
from ..onnx.model import Place
from ..ops.rules import DTYPES, FLOAT32
from ..serialize import SAFE, load
from ..support.arrays import Array
from ..support.settings import shown
from ..tensor import Tensor

R = TypeVar("R")
FILES: Final = (".npz", SAFE)
ONNX: Final = ".onnx"
_SHAPE: Final = re.compile(r"(\d{1,9}(?:,\d{1,9})*)(?::([a-z0-9]+))?", re.ASCII)
FORM: Final = "an .onnx file, or module:name or file.py:name, which is a module or makes one"


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what the model is."""
    parser.add_argument(
        "--weights", metavar="FILE", help="its numbers, a .npz or .safetensors file (default: those it has)"
    )
    parser.add_argument("--key", metavar="NAME", help="where in FILE they are (default: the whole, or 'model')")
    parser.add_argument(
        "--before",
        metavar="NAME",
        action="append",
        default=[],
        help="where in FILE fitted preprocessing is that comes before the model, as --before scaler; may be repeated",
    )


def add_example(parser: argparse.ArgumentParser) -> None:
    """The arguments that say with what the model is called."""
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


def with_example(op: str, options: argparse.Namespace) -> tuple[Module, list[Array]]:
    """The module, and arguments of one call: those of --example, the first rows of --data, or of an .onnx file the
    lengths that it says, 1 where it says none.
    """
    if is_file(options.model):
        got = f"{options.model}, which holds numbers and no architecture"
        raise ConfigError(message(op, got, FORM, f"and --weights {options.model}"))
    if options.data is None and (options.columns is not None or options.rows != 1):
        raise ConfigError(message(op, "--columns or --rows without a file", "--data FILE, whose they are"))
    if options.data is None and options.example is None and not options.model.lower().endswith(ONNX):
        raise ConfigError(message(op, "no shapes", "--example 30,4 or --data file.csv"))
    given = [example(op, one) for one in options.example or ()]
    module = found(op, options)
    if options.data is not None:
        rows = table(op, module, options.data, options.columns)
        if not 1 <= options.rows <= len(rows):
            raise ConfigError(message(op, f"--rows {options.rows}", f"1 to {len(rows)}, the rows of the file"))
        given = [rows[: options.rows]]
    elif not given:
        given = [like(one) for one in import_onnx(options.model).inputs]
    return module, given


def like(place: Place) -> Array:
    """Zeros for an input of an .onnx file; a length that it leaves open is 1."""
    lengths = [n if isinstance(n, int) else 1 for n in place.shape or ()]
    return np.zeros(lengths, FLOAT32 if place.element is None else place.element.dtype)


def example(op: str, text: str) -> Array:
    """An argument of this shape."""
    match = _SHAPE.fullmatch(text)
    dtypes = {str(dtype): dtype for dtype in DTYPES}
    if match is None or (match[2] or str(FLOAT32)) not in dtypes:
        raise ConfigError(message(op, f"the shape {text}", f"30,4 or 30,4:int64, of {', '.join(dtypes)}"))
    try:
        return np.zeros([int(length) for length in match[1].split(",")], dtypes[match[2] or str(FLOAT32)])
    except (MemoryError, ValueError):
        raise ConfigError(message(op, f"the shape {text}", "one that fits in memory")) from None


def is_file(text: str) -> bool:
    """Whether MODEL is a file of numbers."""
    return text.lower().endswith(FILES)


def found(op: str, options: argparse.Namespace) -> Module:
    """The module of `options.model` with its weights, ready to predict."""
    module = built(op, options.model)
    if options.weights is None and (options.key is not None or options.before):
        raise ConfigError(message(op, "--key or --before without a file", "--weights FILE, in which they are"))
    if options.weights is not None:
        content = load(options.weights)
        module.load_state_dict(state_in(op, content, options.key, options.weights))
        steps = [part_of(op, content, name, options.weights) for name in options.before]
        if not all(isinstance(step, KINDS) for step in steps):
            raise DataError(message(op, f"--before {', '.join(options.before)}", "names of fitted preprocessing"))
        module = Sequential(*steps, module) if steps else module
    return module.eval()


def state_in(op: str, content: Any, key: str | None, file: Any) -> dict[str, Tensor]:
    """The tensors by name in what a file holds: under `key`, else the whole, else under 'model'."""
    whole = content if key is None else part_of(op, content, key, file)
    for state in (whole, whole.get("model") if isinstance(whole, dict) and key is None else None):
        if isinstance(state, dict) and state and all(isinstance(one, Tensor) for one in state.values()):
            return state
    got = f"{file}, in which {f'{key!r} is' if key else 'there are'} no tensors by name"
    raise DataError(message(op, got, f"--key with one of {keys_of(whole if key is None else content)}"))


def part_of(op: str, content: Any, key: str, file: Any) -> Any:
    """What is under a key, `a.b` for one in another."""
    part = content
    for name in [key] if isinstance(content, dict) and key in content else key.split("."):
        if not isinstance(part, dict) or name not in part:
            raise DataError(message(op, f"{file} without {key!r}", f"one of {keys_of(content)}"))
        part = part[name]
    return part


def keys_of(content: Any) -> str:
    """The names at the top of a file, as many as a message bears."""
    names = [shown(name) for name in content] if isinstance(content, dict) else []
    return ", ".join(names[:8]) + ", ..." * (len(names) > 8) or "none: it holds no names"


def built(op: str, text: str) -> Module:
    """The module that MODEL names."""
    if text.lower().endswith(ONNX):
        return import_onnx(text)
    place, _, name = text.rpartition(":")
    if not place or not name:
        hint = f"a file of numbers has no architecture: net.py:build --weights {text}" if is_file(text) else ""
        raise ConfigError(message(op, f"the model {text}", FORM, hint))
    value: Any = called(op, place, lambda: imported(op, place))
    for part in name.split("."):
        if not hasattr(value, part):
            raise ConfigError(message(op, f"{place} without {name}", FORM))
        value = getattr(value, part)
    module = value if isinstance(value, Module) or not callable(value) else called(op, f"{name}()", value)
    if not isinstance(module, Module):
        raise ConfigError(message(op, f"{text}, which gives {shown(module)}", "a tinygrad_nn.nn.Module"))
    return module


def imported(op: str, place: str) -> Any:
    """A Python file, or a module as it is imported in the working folder."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if not place.endswith(".py"):
        if importlib.util.find_spec(place.partition(".")[0]) is None:
            raise ConfigError(message(op, f"no module {place}", FORM))
        return importlib.import_module(place)
    path = Path(place).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(message(op, f"no file {place}", FORM))
    sys.path.insert(0, str(path.parent))  # for what it imports, as where it is run
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


def called(op: str, what: str, call: Callable[[], R]) -> R:
    """The result of somebody's code; what it raises is said with the line where it did."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return call()
    except TinygradError:
        raise
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        got = f"{what}, which raised {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        raise ConfigError(message(op, got, "a model that can be made")) from None


def table(op: str, module: Module, path: str, columns: str | None) -> Array:
    """The rows of a CSV file as a module takes them: the columns that are asked for, else those that its preprocessing
    knows by name, else all.
    """
    first = module
    while isinstance(first, Sequential) and len(first):
        first = first[0]
    known = first.names if isinstance(first, KINDS) and not isinstance(first, OneHotEncoder) else None
    names = columns.split(",") if columns is not None else list(known) if known else None
    dtype = next((one.dtype for one in module.parameters() if one.dtype.kind == "f"), FLOAT32)
    missing: Any = "nan" if any(isinstance(one, MeanImputer) for one in module.modules()) else "error"
    try:
        return to_matrix(read_csv(path, names), names, dtype, missing=missing, op=op)
    except DataError as error:
        if names is None and "expected a numeric column" in str(error):
            raise DataError(f"{error}; or take other columns: --columns A,B") from None
        raise


def left_out(content: Mapping[Any, Any], state: Any) -> list[str]:
    """The names at the top of a file whose values are not the state that is taken from it."""
    return [] if state is content else [str(name) for name, value in content.items() if value is not state]
