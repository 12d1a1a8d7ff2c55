"""Models in the lanes of vectors: each is what it would be alone, whatever the program and the width of the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tinygrad_nn.compiler import interp
from tinygrad_nn.compiler.driver import build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.loopir.program import Program
from tinygrad_nn.compiler.lower.lanes import in_lanes
from tinygrad_nn.errors import DivisionByZero
from tinygrad_nn.testing import agreement
from tinygrad_nn.testing.agreement import ANYWHERE, REFUSED, WIDTHS, compare, expected, same_bits
from tinygrad_nn.testing.programs import generate

SMALL = 1500  # elements that a program computes


def others(values: Sequence[Any], own: set[int], rng: np.random.Generator) -> list[Any]:
    """The inputs of a model that differs from another in some of them."""
    changed = [np.array(value) for value in values]
    for k in own:
        if changed[k].dtype.kind == "f":
            changed[k] = (changed[k] * rng.uniform(0.5, 1.5, changed[k].shape)).astype(changed[k].dtype)
        else:
            changed[k] = rng.permuted(changed[k].reshape(-1)).reshape(changed[k].shape)
    return changed


def results(run: Any, *args: Any) -> list[Any] | type:
    """What a run leaves, or the error it ends with."""
    try:
        outputs, updates = run(*args)
    except REFUSED as error:
        return type(error)
    return [*outputs, *updates]


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_random_programs_in_lanes_do_for_each_model_what_they_do_alone(first: int) -> None:
    for number in range(first, first + 10):
        graph, values = generate((14, number))
        if sum(int(np.prod(node.shape)) for node in graph.nodes) > SMALL:
            continue
        try:
            program: Program = build(Job((Part(graph),)), ANYWHERE, last="legalize").made["legalize"]
        except DivisionByZero:  # by a 0 that stands in the code
            continue
        rng = np.random.default_rng([14, number])
        count, inputs = int(rng.choice((1, 2, 3, 4, 8))), range(len(program.inputs))
        own = {k for k in inputs if rng.random() < 0.6} or set(inputs[:1])
        made, wider = in_lanes(program, [program.inputs[k] for k in own], count)
        made.verify()
        differ = {k for k in inputs if program.inputs[k] in wider}  # with new values, also what shared the old one
        assert differ >= own
        models = [others(values, differ, rng) for _ in range(count)]
        given = [np.stack([one[k] for one in models], -1) if k in differ else values[k] for k in inputs]
        alone = [results(interp.run, program, one) for one in models]
        refused = [one for one in alone if isinstance(one, type)]
        places = [*program.outputs, *(old for old, _ in program.updates)]

        together = results(interp.run, made, given)
        every = {lanes: results(agreement.in_lanes, made, lanes, given) for lanes in WIDTHS}
        if refused:
            assert all(one in refused for one in (together, *every.values()))
            continue
        assert not isinstance(together, type)
        for lane, (one, wanted) in enumerate(zip(alone, (expected(graph, model) for model in models), strict=True)):
            assert not isinstance(one, type)
            for place, found, exact in zip(places, together, one, strict=True):
                assert same_bits(np.asarray(found[..., lane] if place in wider else found), np.asarray(exact))
            for wide in every.values():
                assert not isinstance(wide, type)
                for place, found, due in zip(places, wide, wanted, strict=True):
                    verdict = compare(np.asarray(found[..., lane] if place in wider else found), due)
                    assert not verdict.bad, (number, lane, verdict.first)
