"""Out of Python: models, and steps that train them, as files that need none of this package.

`model.py` says what is exported, a function with what it reaches; every other file writes it in one form, whole or not
at all. Nothing that users name becomes part of a path, or of the code in a file, but as the letters of an identifier or
inside of a comment.
"""

from .c import c
from .object import object
from .onnx import onnx
from .wasm import wasm

__all__ = ("c", "object", "onnx", "wasm")
