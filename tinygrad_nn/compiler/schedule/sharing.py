"""Kernels that are equal but for their buffers and numbers, as one function of addresses: what deep models are made of.

A call costs a little whenever it runs and saves the code of a kernel once. So the cheapest calls for the most code are
taken, as long as all of them together are a small part of the work: a small model stays one body, where addresses are
constants.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ...graph.scalar import Expr, param, walk
from ..loopir.canonical import Form, canonical
from ..loopir.ir import Buffer, Kernel, Register, Var, expressions
from ..loopir.program import Program
from ..loopir.substitute import Substitution
from .axes import profile, times
from .memory import Layout

CALL: Final = 20.0  # what a call costs, in vector operations
PART: Final = 0.05  # of all work that calls may cost
SMALL: Final = 4096  # steps written again that are not worth a call
LOOPS: Final = 50  # steps of a kernel besides its operations: loops, addresses, vectors that are left over
NUMBERS: Final = 4  # that calls of a function may differ in


@dataclass(frozen=True, slots=True)
class Call:
    """What a kernel gives to its function: a buffer, variable or number for each of those of `Shared`."""

    buffers: tuple[Buffer, ...]
    variables: tuple[Var, ...]
    numbers: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A function: a kernel of `buffers`, of `variables` of repetitions and of `numbers`, which are registers that it is
    given; with `tail` also of TAIL. `calls` are the kernels of the program that it stands for.
    """

    kernel: Kernel
    buffers: tuple[Buffer, ...]
    variables: tuple[Var, ...]
    numbers: tuple[Expr, ...]
    tail: bool
    calls: Mapping[Kernel, Call]

    def instance(self, kernel: Kernel) -> Kernel:
        """What a call computes: the kernel that it stands for, in the names of the function."""
        call = self.calls[kernel]
        given = Substitution(
            dict(zip(self.variables, call.variables, strict=True)),
            dict(zip(self.buffers, call.buffers, strict=True)),
            dict(zip(self.numbers, call.numbers, strict=True)),
        )
        return replace(self.kernel, body=tuple(given.statement(one) for one in self.kernel.body))


@dataclass(slots=True)
class _Group:
    """Kernels of one form and layout, and how often they run in all."""

    kernels: list[Kernel]
    forms: list[Form]
    rounds: float = 0.0


def shared(
    program: Program, layouts: Mapping[Buffer, Layout], offsets: Mapping[Buffer, int], width: int
) -> tuple[Shared, ...]:
    """The kernels of a program that are one function where that pays."""
    rounds = times(program)
    groups: dict[Hashable, _Group] = {}
    for position, kernel in enumerate(program.kernels):
        form = canonical(kernel)
        key: Hashable = kernel if form is None else (form.key, _memory(form.buffers, layouts, offsets))
        group = groups.setdefault(key, _Group([], []))
        group.kernels.append(kernel)
        group.rounds += rounds[position]
        if form is not None:
            group.forms.append(form)
    candidates = [group for group in groups.values() if len(group.kernels) > 1]
    if sum(map(_saved, candidates)) < SMALL:
        return ()
    inner = {buffer: laid.inner for buffer, laid in layouts.items()}
    left = PART * sum(group.rounds * _work(group.kernels[0], inner, width) for group in groups.values())
    found: list[Shared] = []
    for group in sorted(candidates, key=lambda group: group.rounds / _saved(group)):
        left -= CALL * group.rounds
        if left >= 0:
            found += _functions(group)
    return tuple(found)


def _memory(
    buffers: Sequence[Buffer], layouts: Mapping[Buffer, Layout], offsets: Mapping[Buffer, int]
) -> tuple[Hashable, ...]:
    """How buffers lie, and which of them in one place: an updated state does with its old value."""
    places: dict[int, int] = {}
    return tuple((layouts[one], places.setdefault(offsets[one], len(places))) for one in buffers)


def _work(kernel: Kernel, inner: Mapping[Buffer, int], width: int) -> float:
    costs = profile(kernel, width).costs
    return costs[kernel.vector if kernel.vector in costs else None].total(inner)


def _saved(group: _Group) -> int:
    """The steps that are not written again."""
    size = LOOPS + sum(len(walk(root)) for one, _ in group.kernels[0].statements for root in expressions(one))
    return size * (len(group.kernels) - 1)


def _functions(group: _Group) -> Iterator[Shared]:
    """One function of a group; several where its kernels differ in many numbers."""
    values = [tuple((one.value.tobytes()) for one in form.numbers) for form in group.forms]
    differing = [k for k, column in enumerate(zip(*values, strict=True)) if len(set(column)) > 1]
    if len(differing) <= NUMBERS:
        yield _function(group.kernels, group.forms, differing)
        return
    equal: dict[tuple[bytes, ...], list[int]] = {}
    for k, row in enumerate(values):
        equal.setdefault(row, []).append(k)
    for members in equal.values():
        if len(members) > 1:
            yield _function([group.kernels[k] for k in members], [group.forms[k] for k in members], [])


def _function(kernels: Sequence[Kernel], forms: Sequence[Form], differing: Sequence[int]) -> Shared:
    """The first kernel, with a register for each number in which another differs."""
    kernel, form = kernels[0], forms[0]
    numbers = [form.numbers[k] for k in differing]
    given = [param(Register(f"number{k}", one.dtype), one.dtype) for k, one in enumerate(numbers)]
    if numbers:
        renamed = Substitution(expressions=dict(zip(numbers, given, strict=True)))
        kernel = replace(kernel, body=tuple(renamed.statement(one) for one in kernel.body))
    calls = {
        one: Call(own.buffers, own.variables, tuple(own.numbers[k] for k in differing))
        for one, own in zip(kernels, forms, strict=True)
    }
    return Shared(kernel, form.buffers, form.variables, tuple(given), form.tail, calls)
