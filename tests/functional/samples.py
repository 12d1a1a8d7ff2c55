"""PyTorch's own sample inputs, run here: every operation of its test suite that we have, values and gradients.

    python -m tests.functional.samples                  # a table: operation, samples passed, the first that fails
    python -m tests.functional.samples gather linalg    # operations whose name contains one of these
    python -m tests.functional.samples --errors         # what PyTorch refuses is refused, with an error of ours
    python -m tests.functional.samples --sharing        # what PyTorch copies is a copy, and its views are views
    python -m tests.functional.samples --absent         # operations that we do not have

A sample that needs what is left out on purpose (complex numbers, half floats, sparse tensors, memory formats) is not
counted. Gradients are those of a fixed cotangent, in float64.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn.errors import TinygradError

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
op_db = importlib.import_module("torch.testing._internal.common_methods_invocations").op_db

DTYPES: Final = {getattr(torch, name): getattr(tg, name) for name in ("bool", "int32", "int64", "float32", "float64")}
_RANDOM: Final = """
    bernoulli cauchy empty empty_like empty_permuted empty_strided exponential geometric log_normal multinomial
    new_empty new_empty_strided normal rand rand_like randint randint_like randn randn_like uniform resize_ resize_as_
    nn.functional.alpha_dropout nn.functional.dropout nn.functional.dropout2d nn.functional.dropout3d
    nn.functional.feature_alpha_dropout nn.functional.rrelu nn.functional.fractional_max_pool2d
    nn.functional.fractional_max_pool3d nn.functional.multi_head_attention_forward
"""
RANDOM: Final = frozenset(_RANDOM.split())  # what is drawn is not what PyTorch draws: shapes and dtypes are compared
TIES: Final = {
    "argsort": 0,
    "kthvalue": 1,
    "topk": 1,
    "mode": 0,
    "sort": 0,
}  # and where `dim` stands among the arguments
TOLERANCES: Final = {np.dtype(np.float64): (1e-7, 1e-9), np.dtype(np.float32): (2e-4, 2e-5)}


class LeftOut(Exception):
    """A sample that needs what is absent on purpose."""


@dataclass
class Outcome:
    """What became of the samples of one operation."""

    name: str
    passed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)  # the sample, and what is wrong

    @property
    def count(self) -> int:
        """How many samples counted."""
        return self.passed + len(self.failures)


def full_name(op: Any) -> str:
    """`nn.functional.pad.constant`: the operation and its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


class Names:
    """PyTorch's names here: those of the package that goes by them, if it is there, then the others."""

    def __init__(self, *roots: Any) -> None:
        self._roots = roots

    def __getattr__(self, name: str) -> Any:
        found = [getattr(root, name) for root in self._roots if hasattr(root, name)]
        if not found:
            raise AttributeError(name)
        return Names(*found) if isinstance(found[0], (ModuleType, SimpleNamespace)) else found[0]


@functools.cache
def names() -> Any:
    """What PyTorch's `torch` stands for; a function that is missing may be a method."""
    older = SimpleNamespace(nn=SimpleNamespace(functional=tg.functional), special=tg)
    try:
        return Names(importlib.import_module("tinygrad_nn.torch"), tg, older, tg.Tensor)
    except ImportError:
        return Names(tg, older, tg.Tensor)


def ours(op: Any) -> Any:
    """Our operation of that name; None where there is none."""
    try:
        found = functools.reduce(getattr, op.name.split("."), names())
    except AttributeError:
        return None
    if isinstance(op.op, functools.partial):
        return functools.partial(found, *map(converted, op.op.args), **_kwargs(op.op.keywords, {}))
    if op.op.__name__ == "<lambda>":  # arguments in another order, a property, a seed: the same of ours
        return FunctionType(op.op.__code__, {**op.op.__globals__, "torch": names()}, closure=op.op.__closure__)
    return found


def converted(value: Any, made: dict[int, Any] | None = None) -> Any:
    """An argument as we take it. `made` are the tensors so far: what is one tensor there is one here."""
    if isinstance(value, torch.Tensor):
        if value.dtype not in DTYPES or value.layout is not torch.strided:
            raise LeftOut(f"{value.dtype} {value.layout}")
        made = {} if made is None else made
        if id(value) not in made:
            if value.ndim > 64:
                raise LeftOut(f"{value.ndim} axes")
            made[id(value)] = tg.tensor(value.detach().numpy(), requires_grad=value.requires_grad)
        return made[id(value)]
    if isinstance(value, torch.dtype):
        if value not in DTYPES:
            raise LeftOut(str(value))
        return DTYPES[value]
    if isinstance(value, torch.nn.PairwiseDistance):
        return tg.nn.PairwiseDistance(value.norm, value.eps, value.keepdim)
    if isinstance(value, (complex, torch.memory_format, torch.Generator)) or value in (
        torch.sparse_coo,
        torch.sparse_csr,
    ):
        raise LeftOut(str(value))
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)):
        return type(value)(converted(one, made) for one in value)
    return value


def _kwargs(kwargs: dict[str, Any], made: dict[int, Any]) -> dict[str, Any]:
    """Named arguments; `layout` says nothing here."""
    return {key: converted(value, made) for key, value in kwargs.items() if value is not torch.strided}


def flat(value: Any) -> list[Any]:
    """What a result consists of."""
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return [leaf for one in value for leaf in flat(one)]
    return [tuple(value) if isinstance(value, torch.Size) else value]


def _array(value: Any) -> Any:
    return value.detach().clone().numpy(force=True) if isinstance(value, torch.Tensor) else _value(value)


def _value(value: Any) -> Any:
    return value.detach().numpy() if isinstance(value, tg.Tensor) else value


def _close(mine: Any, theirs: Any, values: bool) -> str:
    """What is different, or nothing."""
    mine, theirs = _array(mine), _array(theirs)
    if not isinstance(theirs, np.ndarray):
        same = mine == theirs or (isinstance(theirs, float) and math.isclose(mine, theirs, rel_tol=1e-6))
        return "" if same or mine != mine or not values else f"{mine} for {theirs}"
    if not isinstance(mine, np.ndarray):
        return f"a {type(mine).__name__} for a tensor"
    if (mine.shape, mine.dtype) != (theirs.shape, theirs.dtype):
        return f"{mine.dtype} {mine.shape} for {theirs.dtype} {theirs.shape}"
    if not values:
        return ""
    if mine.dtype.kind != "f":
        return "" if np.array_equal(mine, theirs) else f"{_first(mine, theirs, mine != theirs)}"
    relative, absolute = TOLERANCES[mine.dtype]
    finite = np.abs(theirs[np.isfinite(theirs)])
    scale = max(1.0, float(finite.max(initial=0.0)))
    right = np.isclose(mine, theirs, relative, absolute * scale, equal_nan=True)
    return "" if right.all() else _first(mine, theirs, ~right)


def _first(mine: Any, theirs: Any, wrong: Any) -> str:
    return f"{mine[wrong].flat[0]} for {theirs[wrong].flat[0]} ({wrong.sum()} of {wrong.size})"


def _cotangents(outputs: Sequence[Any]) -> list[Any]:
    """An array for each output that has a gradient, else None."""
    rng = np.random.default_rng(0)
    return [
        rng.uniform(0.5, 1.5, tuple(out.shape)) if isinstance(out, torch.Tensor) and out.requires_grad else None
        for out in outputs
    ]


def _difference(op: Any, mine: Callable[..., Any], sample: Any) -> str:
    """What one sample shows to be different, or nothing. Raises LeftOut."""
    made: dict[int, Any] = {}
    args = [converted(one, made) for one in (sample.input, *sample.args)]
    kwargs = _kwargs(sample.kwargs, made)
    expected = op.op(sample.input, *sample.args, **sample.kwargs)
    outputs = flat(expected)
    for out in outputs:
        if isinstance(out, torch.Tensor) and (out.dtype not in DTYPES or out.layout is not torch.strided):
            raise LeftOut(str(out.dtype))
    result = mine(*args, **kwargs)
    if isinstance(expected, torch.Size):
        return "" if result == tuple(expected) else f"{result} for {expected}"
    if isinstance(result, Iterator):
        result = tuple(result)
    values = op.name not in RANDOM and not sample.kwargs.get("dropout_p")
    if op.supports_autograd and any(x.requires_grad for x in made.values()):
        expected, result = _invariant(sample, expected, result)
        outputs = flat(expected)
    found = flat(result)
    if len(found) != len(outputs):
        return f"{len(found)} results for {len(outputs)}"
    for k, (a, b) in enumerate(zip(found, outputs, strict=True)):
        if k == len(found) - 1 and op.name in TIES and not sample.kwargs.get("stable"):
            told = _close(a, b, False) or _points_elsewhere(op.name, sample, _with_values(sample, outputs, found))
        else:
            told = _close(a, b, values)
        if told:
            return told if len(found) == 1 else f"result {k}: {told}"
    doubles = all(x.dtype == tg.float64 for x in made.values() if x.requires_grad)
    return _gradients(sample, made, outputs, found) if values and doubles else ""


def _with_values(sample: Any, outputs: Sequence[Any], found: Sequence[Any]) -> Sequence[Any]:
    """Values and indices; where there are indices alone, the values that PyTorch's point to."""
    if len(found) == 2:
        return found
    given = sample.input.reshape(outputs[0].shape)
    dim = sample.kwargs.get("dim", sample.args[0] if sample.args else -1)
    return torch.take_along_dim(given, outputs[0], dim) if given.ndim else given, found[0]


def _points_elsewhere(name: str, sample: Any, found: Sequence[Any]) -> str:
    """Whether indices point to the values beside them: which of equal elements is chosen is nobody's promise."""
    given, place = np.atleast_1d(_array(sample.input)), TIES[name]
    dim = sample.kwargs.get("dim", sample.args[place] if len(sample.args) > place else -1)
    values, indices = (_array(one) for one in found)
    if values.ndim < given.ndim:
        values, indices = np.expand_dims(values, dim), np.expand_dims(indices, dim)
    placed = np.sort(indices, dim)
    if name in ("argsort", "sort", "topk") and not np.diff(placed, axis=dim).all():
        return "an index twice"
    pointed = np.take_along_axis(given, indices, dim)
    return "" if np.array_equal(pointed, values, equal_nan=given.dtype.kind == "f") else "indices point to other values"


def _invariant(sample: Any, expected: Any, result: Any) -> tuple[Any, Any]:
    """Results without what is arbitrary in them, such as the signs of eigenvectors."""
    there = sample.output_process_fn_grad(expected)
    return (expected, result) if there is expected else (there, sample.output_process_fn_grad(result))


def _gradients(sample: Any, made: dict[int, Any], outputs: Sequence[Any], found: Sequence[Any]) -> str:
    """What is different between gradients, or nothing."""
    leaves = {id(t): t for t in _tensors((sample.input, sample.args, sample.kwargs)) if t.requires_grad}
    pairs = [triple for triple in zip(outputs, found, _cotangents(outputs), strict=True) if triple[2] is not None]
    if not pairs or not leaves:
        return ""
    for k, (_, b, _) in enumerate(pairs):
        if not b.requires_grad:
            return f"result {k} has no gradient"
    seeds = [torch.tensor(g, dtype=out.dtype) for out, _, g in pairs]
    theirs = torch.autograd.grad([out for out, _, _ in pairs], list(leaves.values()), seeds, allow_unused=True)
    total: Any = sum((b * tg.tensor(g, dtype=b.dtype)).sum() for _, b, g in pairs)
    total.backward()
    for k, (key, expected) in enumerate(zip(leaves, theirs, strict=True)):
        leaf = made[key]
        own = np.zeros(leaf.shape, np.dtype(leaf.dtype)) if leaf.grad is None else leaf.grad.numpy()
        other = np.zeros(leaf.shape, np.dtype(leaf.dtype)) if expected is None else expected.numpy(force=True)
        if told := _close(own, other, True):
            return f"gradient {k}: {told}"
    return ""


def _tensors(value: Any) -> Iterable[Any]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return _tensors(list(value.values()))
    if isinstance(value, (list, tuple)):
        return [t for one in value for t in _tensors(one)]
    return []


def _short(value: Any) -> str:
    if isinstance(value, (torch.Tensor, tg.Tensor)):
        return f"{str(value.dtype).removeprefix('torch.')}{tuple(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_short, value))}]"
    return repr(value) if not callable(value) else getattr(value, "__name__", "function")


def words(sample: Any) -> str:
    """A sample as a call."""
    parts = [_short(one) for one in (sample.input, *sample.args)]
    return ", ".join(parts + [f"{key}={_short(value)}" for key, value in sample.kwargs.items()])


def _samples(op: Any, dtypes: Sequence[Any], most: int | None, grad: bool = True) -> Iterator[Any]:
    """Samples of an operation; `most` of each dtype, from all over the list."""
    for dtype in dtypes:
        if dtype in op.supported_dtypes("cpu"):
            torch.manual_seed(0)
            wanted = grad and op.supports_autograd and dtype.is_floating_point
            listed = list(op.sample_inputs_func(op, "cpu", dtype, wanted))  # `sample_inputs` looks long for who calls
            step = 1 if most is None else max(1, math.ceil(len(listed) / most))
            yield from listed[::step]


def run(op: Any, dtypes: Sequence[Any] = tuple(DTYPES), most: int | None = None) -> Outcome | None:
    """All samples of one operation; None where we do not have it, or none of its samples counts."""
    outcome = Outcome(full_name(op))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = ours(op)
        for sample in () if mine is None else _samples(op, dtypes, most):
            try:
                told = _difference(op, mine, sample)
            except LeftOut:
                continue
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
            if told:
                outcome.failures.append((words(sample), told))
            else:
                outcome.passed += 1
    return outcome if outcome.count else None


def sharing(op: Any, most: int = 3) -> Outcome | None:
    """Whether the same operands are written by writing to a result: a view is one, and a copy a copy."""
    outcome = Outcome(full_name(op))
    mine = ours(op)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in () if mine is None else _samples(op, (torch.float64, torch.int64, torch.bool), most, grad=False):
            try:
                made: dict[int, Any] = {}
                args = [converted(one, made) for one in (sample.input, *sample.args)]
                kwargs = _kwargs(sample.kwargs, made)
                operands = {id(one): one for one in _tensors((sample.input, sample.args, sample.kwargs))}
                if not all(one.is_contiguous() for one in operands.values()):
                    continue  # here they are, so more can be a view
                theirs = _written(op.op(sample.input, *sample.args, **sample.kwargs), list(operands.values()))
                found = _written(mine(*args, **kwargs), [made[key] for key in operands])
            except (LeftOut, TinygradError, RuntimeError, TypeError, AttributeError):  # told by the samples themselves
                continue
            if found == theirs:
                outcome.passed += 1
            else:
                outcome.failures.append((words(sample), f"writes to results reach {found}, there {theirs}"))
    return outcome if outcome.count else None


def _written(result: Any, operands: list[Any]) -> list[tuple[int, int]]:
    """Which operand changes when which result is written."""
    found = []
    for k, out in enumerate(flat(result)):
        if isinstance(out, (torch.Tensor, tg.Tensor)) and 0 not in out.shape:
            before = [np.array(one.numpy()) for one in operands]
            try:
                out.copy_(~out if str(out.dtype).endswith("bool") else out + 1)
            except RuntimeError:  # elements that are one element cannot be written
                found.append((k, -1))
                continue
            after = [one.numpy() for one in operands]
            changed = (np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(before, after, strict=True))
            found += [(k, position) for position, same in enumerate(changed) if not same]
    return found


def run_errors(op: Any) -> Outcome | None:
    """What PyTorch refuses: whether we do, with an error of ours."""
    outcome = Outcome(full_name(op))
    mine = ours(op)
    if mine is None or op.error_inputs_func is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for wrong in op.error_inputs("cpu"):
            sample = wrong.sample_input
            if issubclass(wrong.error_type, Warning) or isinstance(sample.input, (bool, int, float)):
                continue  # a number is a tensor here
            try:
                made: dict[int, Any] = {}
                args = [converted(one, made) for one in (sample.input, *sample.args)]
                kwargs = _kwargs(sample.kwargs, made)
            except LeftOut:
                continue
            try:
                mine(*args, **kwargs)
                outcome.failures.append((words(sample), f"no error; there: {wrong.error_regex}"))
            except TinygradError:
                outcome.passed += 1
            except Exception as error:
                outcome.failures.append((words(sample), f"{type(error).__name__}: {error}"))
    return outcome if outcome.count else None


def chosen(names: Sequence[str]) -> Iterator[Any]:
    """The operations of PyTorch's list whose name contains one of these, each variant once."""
    seen: set[str] = set()
    for op in op_db:
        name = full_name(op)
        if name not in seen and (not names or any(part in name for part in names)):
            seen.add(name)
            yield op


def main() -> None:
    """Print the table and, at its end, how many operations pass whole and the share of samples that pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--errors", action="store_true", help="wrong input instead of samples")
    parser.add_argument("--sharing", action="store_true", help="what is a view and what a copy")
    parser.add_argument("--absent", action="store_true", help="the operations that we do not have")
    parser.add_argument("--most", type=int, help="samples of each dtype of an operation")
    parser.add_argument("--failing", action="store_true", help="leave out what passes")
    parser.add_argument("--every", action="store_true", help="every failure, not only the first")
    parser.add_argument("--exact", action="store_true", help="names are whole names")
    given = parser.parse_args()
    listed = [op for op in chosen(given.names) if not given.exact or op.name in given.names]
    if given.absent:
        print("\n".join(full_name(op) for op in listed if ours(op) is None))
        return
    outcomes = []
    for op in listed:
        outcome = run_errors(op) if given.errors else sharing(op) if given.sharing else run(op, most=given.most)
        if outcome is None:
            continue
        outcomes.append(outcome)
        if outcome.failures or not given.failing:
            print(f"{outcome.name:45s} {outcome.passed:5d} of {outcome.count:5d}", flush=True)
        for sample, told in itertools.islice(outcome.failures, None if given.every else 1):
            print(f"    {sample[:160]}\n        {told[:220]}")
    passed, count = sum(one.passed for one in outcomes), sum(one.count for one in outcomes)
    whole = sum(not one.failures for one in outcomes)
    print(f"{whole} of {len(outcomes)} operations whole, {passed} of {count} samples ({passed / max(count, 1):.1%})")


if __name__ == "__main__":
    main()
