"""Sources: nodes without operands. A constant carries its value; an input is given one when the graph runs."""

from __future__ import annotations

from typing import Any

from ..errors import GraphError, message
from ..graph.graph import DType, Op, Shape


def _shape(**attrs: Any) -> Shape:
    raise GraphError(message("source", "a request for its shape by rule", hint="a source carries its own shape"))


def _dtype(**attrs: Any) -> DType:
    raise GraphError(message("source", "a request for its dtype by rule", hint="a source carries its own dtype"))


def _numpy(**attrs: Any) -> Any:
    raise GraphError(message("source", "a request to compute it", hint="give the graph's inputs to executor.run"))


CONSTANT = Op("constant", "source", _shape, _dtype, _numpy)
INPUT = Op("input", "source", _shape, _dtype, _numpy)

OPS = (CONSTANT, INPUT)
