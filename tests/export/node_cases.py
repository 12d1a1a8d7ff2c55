"""The node cases of the package `onnx`, each as a module: it gives what the case expects, or there is a reason.

python -m tests.export.node_cases           the table: how many cases pass, and why others do not
python -m tests.export.node_cases resize    what these cases say
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn.support.extras import require

PRECISION = {"float16": 2.0**-9, "bfloat16": 2.0**-6}  # of what expects results that are rounded to these


class Case(NamedTuple):
    """A case: its operators, the element types of all values that are declared, and itself."""

    name: str
    operators: frozenset[str]
    elements: frozenset[str]
    own: Any


class Reason(NamedTuple):
    """Why some cases do not pass."""

    why: str
    holds: Callable[[Case], bool]


def strings(case: Case) -> bool:
    return "string" in case.elements


def pictures(case: Case) -> bool:
    return "ImageDecoder" in case.operators


def drawn(case: Case) -> bool:
    """Also where the operator stands as its function, of RandomUniformLike."""
    return case.name.startswith("test_bernoulli") or (
        case.name.startswith("test_training_dropout") and "zero_ratio" not in case.name
    )


REASONS = (
    Reason("text: tensors hold numbers", strings),
    Reason("files of pictures: to decode them is the work of other packages", pictures),
    Reason("random numbers: the case expects those of NumPy's generator and its seed", drawn),
)


def cases() -> Iterator[Case]:
    """All of them."""
    onnx = require("onnx", "export")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the numbers that the cases are made from
        found = require("onnx.backend.test.case.node", "export").collect_testcases()
    for one in found:
        nodes = [*nodes_of(one.model.graph)]
        tensors = [tensor_type(value.type) for value in (*one.model.graph.input, *one.model.graph.output)]
        names = {onnx.TensorProto.DataType.Name(t.elem_type).lower() for t in tensors if t is not None}
        yield Case(one.name, frozenset(node.op_type for node in nodes), frozenset(names), one)


def tensor_type(kind: Any) -> Any:
    """The tensors that a type holds."""
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        kind = getattr(kind, kind.WhichOneof("value")).elem_type
    return kind.tensor_type if kind.WhichOneof("value") == "tensor_type" else None


def nodes_of(graph: Any) -> Iterator[Any]:
    """All nodes, with those of branches and bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


def array(value: Any) -> Any:
    """Data of a case."""
    onnx = require("onnx", "export")
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def failure(case: Case, path: Path) -> str:
    """What is wrong with the module that a case becomes; nothing where it gives what is expected."""
    path.write_bytes(case.own.model.SerializeToString())
    try:
        module = tg.import_onnx(path)
        for inputs, outputs in case.own.data_sets:
            found = module(*map(array, inputs))
            several = found if isinstance(found, tuple) else (found,)
            for got, expected in zip(several, map(array, outputs), strict=True):
                check(got, expected, case.own.rtol, case.own.atol)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def check(got: Any, expected: Any, rtol: float, atol: float) -> None:
    """An AssertionError where a result is another one. Narrow types are held by wider dtypes."""
    if expected is None or isinstance(expected, list | tuple):
        assert (got is None) == (expected is None)
        for one, other in zip(got or (), expected or (), strict=True):
            check(one, other, rtol, atol)
        return
    got, expected = got.detach().numpy(), np.asarray(expected)
    name = expected.dtype.name
    kind = "b" if name == "bool" else "i" if "int" in name else "f"
    assert (got.shape, got.dtype.kind) == (expected.shape, kind)
    if kind != "f":
        wide = expected.view(np.int64) if name == "uint64" else expected.astype(got.dtype)
        np.testing.assert_array_equal(got, wide)
        return
    wide = expected.astype(np.float64)
    largest = float(np.abs(wide[np.isfinite(wide)]).max(initial=0))
    near = max(rtol, PRECISION.get(name, 0)), max(atol, 2.0**-23 * largest)
    np.testing.assert_allclose(got.astype(np.float64), wide, *near)


def verdicts(wanted: str = "") -> Iterator[tuple[Case, str, str]]:
    """Each case, the reason why it need not pass, and what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        for case in cases():
            if wanted in case.name:
                reason = next((one.why for one in REASONS if one.holds(case)), "")
                yield case, reason, failure(case, Path(folder) / "case.onnx")


def main(wanted: str = "") -> None:
    """Print the table, or what some cases say."""
    counts: Counter[str] = Counter()
    unexplained: dict[str, list[str]] = defaultdict(list)
    for case, reason, wrong in verdicts(wanted):
        counts[reason if wrong else "pass"] += 1
        if (wrong and not reason) or (wanted and wrong):
            unexplained[wrong].append(case.name)
    for why, count in counts.most_common():
        print(f"{count:5}  {why or 'UNEXPLAINED'}")
    for wrong, names in unexplained.items():
        print(f"\n{', '.join(names[:5])}{' ...' if len(names) > 5 else ''}\n    {wrong}")


if __name__ == "__main__":
    main(*sys.argv[1:])
