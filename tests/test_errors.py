"""The exceptions: what each one also is, and the form of the messages."""

from __future__ import annotations

import inspect

import pytest

from tinygrad_nn import errors
from tinygrad_nn.errors import TinygradError, message

ALSO = {
    "TinygradError": Exception,
    "ShapeError": ValueError,
    "TooLarge": MemoryError,
    "DTypeError": TypeError,
    "IndexOutOfRange": IndexError,
    "UnknownName": KeyError,
    "DivisionByZero": ZeroDivisionError,
    "NotIterable": TypeError,
    "GraphError": RuntimeError,
    "LinAlgError": RuntimeError,
    "NonFiniteError": FloatingPointError,
    "TraceError": RuntimeError,
    "DataError": ValueError,
    "FileError": OSError,
    "MissingExtra": ImportError,
    "MissingName": AttributeError,
    "MissingImport": ImportError,
    "ConfigError": ValueError,
    "WorkerError": RuntimeError,
    "ExportError": ValueError,
    "GradcheckError": AssertionError,
}
CLASSES = dict(inspect.getmembers(errors, inspect.isclass))


def test_every_class_is_listed() -> None:
    assert CLASSES.keys() == ALSO.keys()


@pytest.mark.parametrize("name", ALSO)
def test_class_is_caught_as_ours_and_as_pythons(name: str) -> None:
    for expected in (TinygradError, ALSO[name]):
        with pytest.raises(expected, match=r"^\[op\] got x$"):
            raise CLASSES[name](message("op", "x"))


@pytest.mark.parametrize("name", ALSO)
def test_class_has_a_docstring_of_its_own(name: str) -> None:
    assert (CLASSES[name].__dict__.get("__doc__") or "").endswith(".")


@pytest.mark.parametrize(
    ("expected", "hint", "text"),
    [
        ("", "", "[add] got x"),
        ("y", "", "[add] got x; expected y"),
        ("", "z", "[add] got x; hint: z"),
        ("y", "z", "[add] got x; expected y; hint: z"),
    ],
)
def test_message_leaves_out_what_is_empty(expected: str, hint: str, text: str) -> None:
    assert message("add", "x", expected, hint) == text
