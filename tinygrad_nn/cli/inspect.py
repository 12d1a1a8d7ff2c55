"""What a file holds, drawn as a tree: names, dtypes, shapes, bytes, numbers that are NaN or infinite, metadata, and who
wrote the file; of a model what it takes, gives and computes. FILE is one of tg.save (.npz), a .safetensors or an .onnx
file. Nothing in a file is ever run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import printable
from ..nn.preprocessing import KINDS
from ..onnx.elements import size_of
from ..onnx.model import Model, Node, all_nodes, read_model
from ..onnx.operators import is_known
from ..safetensors import entries_of
from ..safetensors import unpacked as safe_unpacked
from ..serialize import FORMAT, OURS, SAFE, content_of, own_path, unpacked
from ..tensor import Tensor
from .model import ONNX

EXAMPLES: Final = """\
  python -m tinygrad_nn inspect iris.npz
  python -m tinygrad_nn inspect model.safetensors | less
  python -m tinygrad_nn inspect model.onnx"""
WIDEST: Final = 72  # characters of a name or a value
DEEPEST: Final = 20  # parts of a name that become branches


@dataclass(slots=True)
class Branch:
    """A name in the tree, what is known of it, and what is below it."""

    text: str = ""
    below: dict[Any, Branch] = field(default_factory=dict)


def add(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("file", metavar="FILE", help="a .npz file of tg.save, a .safetensors or an .onnx file")


def run(options: argparse.Namespace) -> None:
    """Print what is in the file."""
    for line in inspected(options.file):
        print(line)


def inspected(path: str | os.PathLike[str]) -> Iterator[str]:
    """The page, line by line. DataError for a file that is missing, damaged or of another format."""
    source = own_path("inspect", path, SAFE, ONNX)
    safe, network = (source.suffix.lower() == one for one in (SAFE, ONNX))
    content = content_of("inspect", source, "a safetensors file" if safe else "an ONNX file" if network else OURS)
    stored: dict[str, tuple[str, int]] = {}
    lines: Iterator[str] = iter(())
    value: Any
    if network:
        found = read_model(content, source.parent)
        value = {name: one.array for name, one in found.graph.constants.items()}
        stored = {
            name: (one.element.name, size_of(one.element, one.array.shape))
            for name, one in found.graph.constants.items()
        }
        what = (
            f"an ONNX model, opset {found.opsets.get('', 1)}{f', of {short(found.producer)}' if found.producer else ''}"
        )
        lines = model_lines(found)
    elif safe:
        value = safe_unpacked(content, str(path))
        stored = {name: (kind, end - start) for start, end, kind, _, name in entries_of(content, str(path))[0]}
        writer = {"pt": "of PyTorch"}.get(value.metadata.get("format", ""), "")
        what = f"a safetensors file {writer}".rstrip()
    else:
        value = unpacked(content, str(path))
        what = f"a file of tg.save, format {FORMAT}"
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(source.stat().st_mtime))
    yield f"{short(Path(source).name)}: {what}, {len(content):,} bytes, written {written}"
    root, tensors, numbers = tree_of(value, stored)
    yield f"{tensors:,} array{'s' * (tensors != 1)} of {numbers:,} number{'s' * (numbers != 1)}"
    if safe and value.metadata:
        yield "metadata"
        for name, text in value.metadata.items():
            yield f"  {short(name)}  {short(text)}"
    yield from lines
    yield ""
    yield from drawn(root)


def model_lines(model: Model) -> Iterator[str]:
    """What a model takes, gives and computes."""
    for title, side in (("inputs", model.graph.inputs), ("outputs", model.graph.outputs)):
        yield title
        yield from (f"  {short(str(place))}" for place in side)
    kinds = Counter(node.operator for node in all_nodes(model.graph.nodes))
    yield f"{sum(kinds.values()):,} node{'s' * (sum(kinds.values()) != 1)}"
    for kind, count in sorted(kinds.items()):
        known = is_known(kind) or any(
            kind == Node("", own, where, (), (), {}).operator for where, own in model.functions
        )
        yield f"  {short(kind)}  {count:,}{'' if known else '  (not known here)'}"
    if model.metadata:
        yield "metadata"
        yield from (f"  {short(name)}  {short(text)}" for name, text in model.metadata.items())


def tree_of(value: Any, stored: Mapping[str, tuple[str, int]]) -> tuple[Branch, int, int]:
    """A value as branches, the number of its arrays, and of their elements; `stored`: dtypes
    and bytes as they are in the file."""
    root, tensors, numbers = Branch(), 0, 0
    stack: list[tuple[Branch, Any, Any]] = [(root, value, None)]
    while stack:
        branch, one, kept = stack.pop()
        if isinstance(one, Tensor | np.ndarray | np.generic):
            array = np.asarray(one.detach().numpy() if isinstance(one, Tensor) else one)
            branch.text = array_text(array, *(kept or (str(array.dtype), array.nbytes)))
            tensors, numbers = tensors + 1, numbers + array.size
        elif isinstance(one, dict) and one:
            named = all(isinstance(part, Tensor | np.ndarray) for part in one.values())
            for name, part in one.items():
                below = branch
                for step in name.split(".", DEEPEST) if named and isinstance(name, str) else [name]:
                    below = below.below.setdefault(step, Branch())
                stack.append((below, part, stored.get(name) if one is value else None))
        elif isinstance(one, list | tuple) and not all(isinstance(part, int | float | str | None) for part in one):
            for number, part in enumerate(one):
                stack.append((branch.below.setdefault(number, Branch()), part, None))
        elif isinstance(one, KINDS):
            branch.text = short(repr(one))
        else:
            branch.text = short(str(one) if isinstance(one, Path) else repr(one))
    return root, tensors, numbers


def array_text(array: Any, dtype: str, size: int) -> str:
    """Dtype, shape and bytes of an array, and the numbers in it that are none."""
    text = f"{dtype} {array.shape}  {size:,} B"
    if array.dtype.kind in "fc":
        missing, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        text += f"  {missing:,} NaN" * bool(missing) + f"  {infinite:,} infinite" * bool(infinite)
    return text


def drawn(root: Branch) -> Iterator[str]:
    """The lines of a tree."""
    if root.text or not root.below:
        yield root.text or "nothing"
    stack = [(name, one, "", "") for name, one in reversed(root.below.items())]
    while stack:
        name, one, first, rest = stack.pop()
        label = name if isinstance(name, str) else repr(name)
        yield f"{first}{short(label) or repr(label)}  {one.text}".rstrip()
        for position, (inner, below) in reversed(list(enumerate(one.below.items()))):
            last = position == len(one.below) - 1
            branch, trunk = ("└─ ", "   ") if last else ("├─ ", "│  ")
            stack.append((inner, below, rest + branch, rest + trunk))


def short(text: str) -> str:
    """A text from a file in a part of one line, with its length where it is cut."""
    shown = printable(text[: WIDEST + 1], keep="")
    return shown if len(shown) <= WIDEST else f"{shown[:WIDEST]}... ({len(text):,} characters)"
