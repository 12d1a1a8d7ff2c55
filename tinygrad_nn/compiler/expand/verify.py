"""Checks expanded code: what `TGNN_VERIFY=1` runs after `expand`.

Every operand is a literal or was made before, in a body that is still open; a part knows what it is given and no more.
Operations have operands of the dtypes that `scalar.OPERATIONS` asks for, and of equal lanes. Masks and conditions are
booleans, indices int64. What is reached without a mask, at a constant place, lies in the buffer or its padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ...errors import GraphError, message
from ...graph.scalar import BOOL, INT64, OPERATIONS
from .code import (
    Alone,
    Barrier,
    Block,
    Call,
    Check,
    Expanded,
    Function,
    Gemm,
    Loop,
    Part,
    Statement,
    Store,
    Value,
    When,
    show,
)

LITERALS: Final = ("const", "steps")
ADDRESSES: Final = ("start", "address")


def verify(expanded: Expanded) -> Expanded:
    """Check the invariants and return the code. Raises GraphError that shows the statement."""
    Verifier(expanded).body(expanded.body, set(expanded.given), 0)
    return expanded


class Verifier:
    """The code that is checked."""

    def __init__(self, expanded: Expanded) -> None:
        self.schedule = expanded.schedule
        self.functions: set[Function] = set()

    def body(self, body: Sequence[Statement], known: set[Value], depth: int) -> set[Value]:
        """Statements in order, which know these values, `depth` loops deep in their block. What is known at the end."""
        known = set(known)
        for one in body:
            if isinstance(one, Value):
                _require(one.depth == depth, one, f"depth {one.depth}, {depth} loops deep")
                self.value(one, known)
                known.add(one)
            else:
                _VERIFY[type(one)](self, one, known, depth)
        return known

    def uses(self, one: Statement, known: set[Value], *values: Value) -> None:
        """Each value is there."""
        for value in values:
            _require(value.op in LITERALS or value in known, one, f"{value.op}, which is not known here")

    def value(self, one: Value, known: set[Value]) -> None:
        """An operation: its operands, and what it gives."""
        self.uses(one, known, *one.args)
        operation = OPERATIONS.get(one.op)
        if operation is None:
            rule = _RULES.get(one.op)
            _require(rule is not None and rule(one), one, "operands that do not fit")
        else:
            found = operation.dtype(*(arg.dtype for arg in one.args)) if len(one.args) == operation.arity else None
            _require(found is not None and found == one.dtype, one, f"a result of {found}")  # a dtype equals None
            rest = one.args[1:] if one.op == "where" and not one.args[0].lanes else one.args
            _require(all(arg.lanes == one.lanes for arg in rest), one, "operands of other lanes")
            _require(not any(arg.op in ADDRESSES for arg in one.args), one, "an address as a number")
        if one.op == "load" and len(one.args) == 1 and not one.args[0].lanes:
            self.address(one, one.args[0], max(1, one.lanes))

    def address(self, one: Statement, address: Value, lanes: int) -> None:
        """What is reached without a mask lies in the buffer, as far as that is known here."""
        layout = self.schedule.layouts[address.buffer]
        first, places = 0, (0,)
        while address.args:
            address, offset = address.args
            if offset.op not in LITERALS:
                return
            first, places = (first, offset.data) if offset.op == "steps" else (first + int(offset.data), places)
        last = first + max(places) + (1 if len(places) > 1 else lanes)
        _require(first + min(places) >= 0 and last <= layout.size, one, f"places up to {last - 1} of {layout.size}")

    def store(self, one: Store, known: set[Value], depth: int) -> None:
        """A value at an address of its dtype."""
        masks = () if one.mask is None else (one.mask,)
        self.uses(one, known, one.address, one.value, *masks)
        fits = one.address.op in ADDRESSES and one.address.dtype == one.value.dtype
        _require(fits and one.address.lanes in (0, one.value.lanes), one, "a value that does not fit its address")
        _require(all(_is_mask(mask, one.value.lanes) for mask in masks), one, "a mask that does not fit")
        _require(one.mask is not None or not one.address.lanes, one, "a scatter without a mask")
        if one.mask is None:
            self.address(one, one.address, max(1, one.value.lanes))

    def check(self, one: Check, known: set[Value], depth: int) -> None:
        """A scalar condition."""
        self.uses(one, known, one.wrong)
        _require(_is_mask(one.wrong, 0), one, "a condition that is no scalar bool")
        _require(one.code > 0, one, "the number of a program that went well")

    def gemm(self, one: Gemm, known: set[Value], depth: int) -> None:
        """Matrices that fit their buffers."""
        self.uses(one, known, one.function, one.target, one.x, one.y)
        if one.part is not None:
            self.uses(one, known, *one.part[1:])
            _require(all((value.dtype, value.lanes) == (INT64, 0) for value in one.part[1:]), one, "no numbers")
        m, n, k = one.sizes
        for part, size in ((one.target, m * n), (one.x, m * k), (one.y, k * n)):
            fits = part.op == "start" and self.schedule.layouts[part.data].size >= size
            _require(fits and part.dtype == one.target.dtype, one, "matrices that do not fit")

    def loop(self, one: Loop, known: set[Value], depth: int) -> None:
        """A loop: what is made in it is not known after it, but for its results."""
        starts = () if one.start is None else (one.start,)
        self.uses(one, known, one.stop, *starts, *(carried.before for carried in one.carried))
        _require(one.stop.dtype == INT64 and not one.stop.lanes and one.step > 0, one, "bounds that are no numbers")
        _require(not (one.may_be_empty and one.carried), one, "something carried though there may be no round")
        inside = {one.counter, *(carried.inside for carried in one.carried)}
        deeper = one.counter.depth if one.may_be_empty else depth + 1  # repetitions of blocks are none of a block's
        made = self.body(one.body, known | inside, deeper)
        for carried in one.carried:
            self.uses(one, made, carried.after)
            kinds = {(value.dtype, value.lanes, value.op in ADDRESSES) for value in carried}
            _require(len(kinds) == 1, one, "something carried that changes its kind")
            known.add(carried.result)

    def block(self, one: Block, known: set[Value], depth: int) -> None:
        """The values of a kernel are known in it only."""
        _require(depth == 0, one, "a block in a loop of a block")
        self.body(one.body, known, 0)

    def part(self, one: Part, known: set[Value], depth: int) -> None:
        """What is given to a part is there, and all it knows."""
        self.uses(one, known, *one.known)
        self.body(one.body, set(one.known), 0)

    def call(self, one: Call, known: set[Value], depth: int) -> None:
        """A function is given what it expects, and knows no more. Buffers lie as those of the function do."""
        self.uses(one, known, *one.given)
        function, layouts = one.function, self.schedule.layouts
        pairs = zip(one.buffers, function.starts, strict=False)
        fits = all((of.dtype, layouts[of]) == (start.dtype, layouts[start.data]) for of, start in pairs)
        _require(fits and len(one.buffers) == len(function.starts), one, "buffers that do not fit")
        inside = [(value.dtype, value.lanes) for value in function.given]
        _require([(value.dtype, value.lanes) for value in one.given] == inside, one, "values that do not fit")
        if function not in self.functions:
            self.functions.add(function)
            self.body(function.body, {*function.starts, *function.given}, 0)

    def when(self, one: When, known: set[Value], depth: int) -> None:
        """A scalar condition."""
        self.uses(one, known, one.condition)
        _require(_is_mask(one.condition, 0), one, "a condition that is no scalar bool")
        self.body(one.body, known, depth)

    def alone(self, one: Alone, known: set[Value], depth: int) -> None:
        """The first thread does not wait for the others while these wait for it."""
        self.uses(one, known, one.first)
        _require(_is_mask(one.first, 0), one, "a condition that is no scalar bool")
        _require(not any(isinstance(step, Barrier) for step in _steps(one.part.body)), one, "a barrier for one thread")
        self.part(one.part, known, depth)

    def barrier(self, one: Barrier, known: set[Value], depth: int) -> None:
        """All threads come here, as none is in a loop of its own."""
        self.uses(one, known, one.threads, one.calm)
        _require(self.schedule.meeting is not None, one, "no place to meet")
        _require({(value.dtype, value.lanes) for value in (one.threads, one.calm)} == {(INT64, 0)}, one, "no numbers")
        _require(depth == 0, one, "a barrier in a loop of a block")


def _steps(body: Sequence[Statement]) -> Iterator[Statement]:
    """All statements, those inside of others too."""
    for one in body:
        yield one
        yield from _steps(getattr(one, "body", ()))


def _require(holds: Any, one: Statement, what: str) -> None:
    if not holds:
        raise GraphError(message("expand", what) + "\n" + show((one,)))


def _is_mask(value: Value, lanes: int) -> bool:
    return value.dtype == BOOL and value.lanes == lanes and value.op not in ADDRESSES


def _load(one: Value) -> bool:
    address, *masks = one.args
    fits = address.op in ADDRESSES and address.dtype == one.dtype and address.lanes in (0, one.lanes)
    return fits and all(_is_mask(mask, one.lanes) for mask in masks) and (bool(masks) or not address.lanes)


def _address(one: Value) -> bool:
    start, offset = one.args
    fits = start.op in ADDRESSES and not start.lanes
    return fits and (offset.dtype, offset.lanes, one.dtype) == (INT64, one.lanes, start.dtype)


_RULES: Final[dict[str, Callable[[Value], bool]]] = {
    "splat": lambda v: v.lanes > 0 and (v.args[0].dtype, v.args[0].lanes) == (v.dtype, 0),
    "half": lambda v: (v.args[0].dtype, v.args[0].lanes) == (v.dtype, 2 * v.lanes) and v.data in (0, v.lanes),
    "first": lambda v: v.lanes == 0 < v.args[0].lanes and v.args[0].dtype == v.dtype,
    "any": lambda v: _is_mask(v, 0) and _is_mask(v.args[0], v.args[0].lanes) and v.args[0].lanes > 0,
    "start": lambda v: v.dtype == v.data.dtype and v.lanes == 0,
    "address": _address,
    "load": _load,
}
_VERIFY: Final[dict[type, Callable[[Verifier, Any, set[Value], int], None]]] = {
    Store: Verifier.store,
    Check: Verifier.check,
    Gemm: Verifier.gemm,
    Loop: Verifier.loop,
    Block: Verifier.block,
    Part: Verifier.part,
    Call: Verifier.call,
    When: Verifier.when,
    Alone: Verifier.alone,
    Barrier: Verifier.barrier,
}
