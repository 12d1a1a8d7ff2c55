"""The exceptions of the project and the one form of their messages.

Every error a user can cause is a `TinygradError` and, where Python has a class for it, that class too: code that
catches `ValueError` for a bad shape goes on working. A message says what came, what was expected and what to do.
"""

from __future__ import annotations


class TinygradError(Exception):
    """Base of every error raised on purpose by the project."""


class ShapeError(TinygradError, ValueError):
    """Shapes that do not fit the operation."""


class NotIterable(ShapeError, TypeError):
    """A 0-d tensor as if it were a sequence. Libraries that take both ask by TypeError."""


class TooLarge(ShapeError, MemoryError):
    """Sizes that need more memory than the machine has."""


class DTypeError(TinygradError, TypeError):
    """A dtype the operation does not take."""


class IndexOutOfRange(TinygradError, IndexError):
    """An index, label or axis outside its range. `lookup` is what `ops.lookup` knows of a number from data."""

    lookup: object = None


class UnknownName(TinygradError, KeyError):
    """A name that nothing has: a column of a history, a module of a ModuleDict."""

    __str__ = Exception.__str__  # that of KeyError shows the message quoted


class DivisionByZero(TinygradError, ZeroDivisionError):
    """An integer divided by 0, or its remainder: there is no number for it. `lookup`: as that of IndexOutOfRange."""

    lookup: object = None


class GraphError(TinygradError, RuntimeError):
    """A graph that breaks an invariant, or a backward pass that has nothing to walk."""


class LinAlgError(TinygradError, RuntimeError):
    """A matrix that has no inverse, or not the factor that is asked for."""


class TraceError(TinygradError, RuntimeError):
    """A traced value read as if it had been computed."""


class ExportError(TinygradError, ValueError):
    """A function or a file that cannot be carried over to another form."""


class DataError(TinygradError, ValueError):
    """A file or a table that cannot be used as data."""


class FileError(DataError, OSError):
    """A file that cannot be read or written: a full disk, a missing folder, a pipe. `strerror` is the reason alone."""


class MissingExtra(TinygradError, ImportError):
    """An optional package that is not installed."""


class MissingName(TinygradError, AttributeError):
    """A name that PyTorch has, or that nothing has, and `tinygrad_nn.torch` has not."""


class MissingImport(TinygradError, ImportError):
    """Such a name in a `from` import."""


class ConfigError(TinygradError, ValueError):
    """A setting outside its legal values."""


class NonFiniteError(GraphError, FloatingPointError):
    """A NaN or an infinity in training: what (`name`), where, which `op` at which `line`; the `history` so far."""

    name = line = op = ""
    epoch: int = 0
    batch: int | None = None
    rows: tuple[int, ...] = ()  # of the user's data
    history: object = None


class WorkerError(TinygradError, RuntimeError):
    """Processes that train for this one and died, or cannot do what they are asked."""


class GradcheckError(TinygradError, AssertionError):
    """A derivative that disagrees with its numeric estimate."""


def printable(text: str, keep: str = "\n") -> str:
    """Text for a terminal: characters that would steer it, or hide, are shown by their escapes, but for those to keep.

    >>> print(printable("red \\x1b[31m"))
    red \\x1b[31m
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def message(op: str, got: str, expected: str = "", hint: str = "") -> str:
    """Return the text of an error; empty parts are left out.

    >>> message("add", "shapes (3, 4) and (5,)", "shapes that broadcast", "reshape one of them")
    '[add] got shapes (3, 4) and (5,); expected shapes that broadcast; hint: reshape one of them'
    >>> message("backward", "a tensor without a graph")
    '[backward] got a tensor without a graph'
    """
    parts = [f"[{op}] got {got}"]
    if expected:
        parts.append(f"expected {expected}")
    if hint:
        parts.append(f"hint: {hint}")
    return printable("; ".join(parts))
