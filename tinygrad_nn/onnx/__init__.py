"""Into Python: an ONNX file as a module that trains.

`wire.py` takes the bytes apart, `model.py` says what they mean and refuses what is no model, `operators/` has a
function for each operator, `program.py` runs nodes, and `module.py` is what users get. Nothing in a file is code, and
nothing is made of a size that the file does not have. NumPy is all that it takes.
"""

from __future__ import annotations

from typing import Any

from ..nn import Module
from ..support.files import as_path, read
from .model import NAME, read_model
from .module import Imported
from .program import program_of


def import_onnx(path: Any) -> Module:
    """The model in an ONNX file, as a module.

    Weights are parameters under their names in the file and can be trained; statistics that a file fixes are buffers,
    integers and single numbers part of the program. Call it with the inputs of the file, in order or by name, as
    tensors or arrays; several outputs are a tuple. float16 and bfloat16 are float32 here, narrow integers have a
    wider dtype and wrap around where their own does.

    >>> import tempfile
    >>> import numpy as np
    >>> from tinygrad_nn import export, nn
    >>> file = export.onnx(nn.Linear(2, 1), np.zeros((3, 2)), path=tempfile.mkdtemp())
    >>> [name for name, _ in import_onnx(file).named_parameters()]
    ['weight', 'bias']

    Raises ExportError for a file that is damaged or no program, or has operators or element types that are not known
    here; FileError for one that cannot be read. Nothing outside of its folder is read.
    """
    source = as_path(NAME, path)
    content = read(source, NAME, "an ONNX file")
    return Imported(program_of(read_model(content, source.parent)))
