"""What the methods record is a legal graph that means what they computed: rules, executor and values agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.tensor.parity import flatten, values
from tests.tensor.test_elementwise import BINARY, UNARY
from tests.tensor.test_reduce import ALONG_AXIS, OVER_AXES, WHOLE
from tinygrad_nn.executor import run
from tinygrad_nn.graph.graph import Graph

CALLS: dict[str, Callable[[tg.Tensor, tg.Tensor], Any]] = {
    **{name: lambda x, y, call=call: call(tg, x) for name, call in {**UNARY, **WHOLE}.items()},
    **{name: lambda x, y, call=call: call(tg, x, y) for name, call in BINARY.items()},
    **{f"{name} over axes": lambda x, y, call=call: call(tg, x, (0, 1), True) for name, call in OVER_AXES.items()},
    **{f"{name} along 0": lambda x, y, call=call: call(tg, x, 0) for name, call in ALONG_AXIS.items()},
}
NOT_FOR_FLOATS = ("bitwise", "~x", "x & y", "x | y", "x ^ y", "x <<", "x >>", "norm nuclear")


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith(NOT_FOR_FLOATS)])
def test_recorded_graphs_are_legal_and_mean_the_values(name: str) -> None:
    for shapes in (((3, 2), (3, 2)), ((3, 1), (2,))):
        x, y = (tg.tensor(values(*shape, low=0.1, seed=k), requires_grad=True) for k, shape in enumerate(shapes))
        outputs = [out for out in flatten(CALLS[name](x, y)) if isinstance(out, tg.Tensor)]
        graph = Graph.of([out.node for out in outputs]).verify()
        again, _ = run(graph)
        for out, value in zip(outputs, again, strict=True):
            np.testing.assert_array_equal(value, out.detach().numpy())
