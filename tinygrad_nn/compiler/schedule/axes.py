"""The vector axis and the jam of each kernel, and the innermost axis of each buffer: a cost model and a descent.

The cost of a kernel is a count of what its innermost statements do, one vector at a time: a load from consecutive
places or of one place costs 1, one from scattered places as many as there are lanes. Each buffer in turn takes the
innermost axis that makes its kernels cheapest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, prod
from types import MappingProxyType
from typing import Final

from ...graph.graph import Shape
from ...graph.scalar import walk
from ..loopir.ir import (
    Access,
    Affine,
    Assign,
    Buffer,
    Check,
    Kernel,
    Let,
    Loop,
    Register,
    Statement,
    Store,
    Var,
    expressions,
    leaves,
    nest,
)
from ..loopir.program import Program, Repeat, paths, spans

GATHER: Final = 1.5  # cost of one lane of a scattered load
BROADCAST: Final = 0.5  # cost of a load of one place for all lanes: it is part of an instruction
FOLD: Final = 8.0  # cost of folding the lanes of a register at the end
LATENCY: Final = 4.0  # operations that begin while one is done
WAITS_FROM: Final = 64  # rounds of a fold from which that counts
JAM: Final = 5  # iterations run together
LONG: Final = 16  # vectors in a line from which several are folded at a time
FEW: Final = 12  # scalar operations of a fold that leaves registers for four vectors
NO_COPIES: Final[Mapping[Buffer, float]] = MappingProxyType({})
NO_AXES: Final[Mapping[Buffer, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Work:
    """One statement: its scalar operations, and the loops around it, of which the last ones fold its register."""

    operations: int
    around: tuple[Var, ...]
    folding: int

    def waits(self, vector: Var | None, lanes: int) -> float:
        """How often as long it takes where each round of a long fold waits for the one before: no other chain runs."""
        folds = self.around[len(self.around) - self.folding :]
        if vector in folds or iterations(folds, vector, lanes) < WAITS_FROM:
            return 1.0
        chains = iterations(self.around[: len(self.around) - self.folding], vector, lanes)
        return LATENCY / min(LATENCY, max(chains, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """What a kernel costs with one vector axis: `fixed` whatever the layouts, and for each axis of a buffer along which
    its lanes lie, how often they are loaded, and how often `stored`: a vector where that is the innermost axis,
    scattered where not.
    """

    fixed: float
    along: Mapping[tuple[Buffer, int], float]
    stored: Mapping[tuple[Buffer, int], float]
    scattered: float

    def total(self, inner: Mapping[Buffer, int], copies: Mapping[Buffer, float] = NO_COPIES) -> float:
        """The cost with these innermost axes, where a kernel may have `copies` in another order for what these cost."""
        total = self.fixed
        for (buffer, axis), often in self.along.items():
            if inner[buffer] == axis:
                total += often
            else:
                total += min(often * self.scattered, often + copies.get(buffer, inf))
        for (buffer, axis), often in self.stored.items():
            total += often if inner[buffer] == axis else often * self.scattered
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What the scheduler has to know of a kernel: what it touches, and what each vector axis that it may have costs."""

    buffers: tuple[Buffer, ...]
    written: frozenset[Buffer]
    costs: Mapping[Var | None, Cost]
    itemsize: int
    operations: int


def choose(
    program: Program,
    profiles: Sequence[Profile],
    loose: Mapping[Buffer, float] = NO_COPIES,
    copies: Mapping[Buffer, float] = NO_COPIES,
    begun: Mapping[Buffer, int] = NO_AXES,
) -> tuple[dict[Buffer, int], list[Var | None]]:
    """The innermost axis of every buffer, found from those it has `begun` with, and the vector axis of every kernel.
    Kernels may get `copies` in another order of what they read, for what these cost. Last come the axes of `loose`
    buffers, whose copies cost next to nothing: till then each kernel reads them as it likes.
    """
    rounds = times(program)
    updates = [pair for span, _ in spans(program.regions) for pair in span.updates]
    same = {new: old for old, new in updates if not (new.row_major or old.row_major)}
    tied: dict[Buffer, list[Buffer]] = {}
    for new, old in same.items():
        tied.setdefault(old, [old]).append(new)
    inner = {buffer: begun.get(buffer, last_long(buffer.shape)) for buffer in program.buffers}
    users: dict[Buffer, dict[int, None]] = {}
    for position, one in enumerate(profiles):
        for buffer in one.buffers:
            users.setdefault(same.get(buffer, buffer), {})[position] = None
    free = [b for b in users if len(b.shape) > 1 and not b.row_major and sum(n > 1 for n in b.shape) > 1]
    free.sort(key=lambda b: -prod(b.shape))
    first, last = ([b for b in free if (b in loose) == late] for late in (False, True))
    for buffers, given in ((first, {**copies, **loose}), (last, copies)):
        again = set(buffers)  # whose kernels have something that was changed since
        for _ in range(2):
            changed = False
            for buffer in buffers:
                if buffer not in again:
                    continue
                again.discard(buffer)
                linked = tied.get(buffer, [buffer])
                before, held = inner[buffer], [inner[one] for one in linked]
                options: list[tuple[float, int, int]] = []
                for axis in range(len(buffer.shape)):
                    if buffer.shape[axis] == 1:
                        continue
                    inner |= dict.fromkeys(linked, axis)
                    total = sum(rounds[k] * best(profiles[k], inner, given)[0] for k in users[buffer])
                    options.append((total, abs(axis - before), axis))
                _, _, axis = min(options, key=lambda option: option[:2])
                inner |= dict.fromkeys(linked, axis)
                changed |= axis != before
                if held != [axis] * len(linked):
                    again.update(linked)
                    around = {k for one in linked for k in users.get(same.get(one, one), ())}
                    again.update(same.get(one, one) for k in around for one in profiles[k].buffers)
            if not changed:
                break
    return inner, [best(one, inner)[1] for one in profiles]


def times(program: Program, rows: bool = False) -> dict[int, float]:
    """How often each kernel runs; with `rows`, for how many blocks of one batch."""
    return {
        position: prod(
            (float(one.var.extent) for one in around if isinstance(one, Repeat) and one.rows >= rows), start=1.0
        )
        for span, around in paths(program.regions)
        for position in range(span.start, span.stop)
    }


def last_long(shape: Shape) -> int:
    """The last axis with more than one element, or the last one."""
    return max((axis for axis, n in enumerate(shape) if n > 1), default=len(shape) - 1)


def profile(kernel: Kernel, width: int) -> Profile:
    """Look through a kernel once."""
    work = []
    began: dict[Register, int] = {}
    for one, around in kernel.statements:
        if isinstance(one, Let):
            began[one.register] = len(around)
        operations = sum(part.op not in ("param", "const") for root in expressions(one) for part in walk(root))
        folding = len(around) - began[one.register] if isinstance(one, Assign) else 0
        work.append(Work(operations, around, folding))
    variables = dict.fromkeys(var for part in work for var in part.around)
    folded: dict[Var, tuple[Var, ...]] = {}
    given = kernel.vector  # of many models it is the loop over these
    candidates = [given] if given else [var for var in variables if may_be_vector(kernel, var, folded)]
    sizes = [access.buffer.dtype.itemsize for access, _, _ in kernel.accesses if access.buffer.dtype.kind == "f"]
    itemsize = max(sizes, default=8)
    lanes = width // itemsize
    choices = (*candidates, *(() if given else (None,)))
    costs = {var: _cost(kernel, work, var, folded.get(var) if var else None, lanes) for var in choices}
    buffers = tuple(dict.fromkeys(access.buffer for access, _, _ in kernel.accesses))
    written = frozenset(access.buffer for access, written, _ in kernel.accesses if written)
    return Profile(buffers, written, costs, itemsize, sum(part.operations for part in work))


def _cost(kernel: Kernel, work: Sequence[Work], vector: Var | None, folded: tuple[Var, ...] | None, lanes: int) -> Cost:
    """What a kernel costs with a vector axis; `folded` are the loops around which its lanes are folded."""
    trips = {part.around: iterations(part.around, vector, lanes) for part in work}
    fixed = sum(trips[part.around] * part.operations * part.waits(vector, lanes) for part in work)
    if folded is not None:
        fixed += iterations(folded, None, 1) * FOLD
    along: dict[tuple[Buffer, int], float] = {}
    stored: dict[tuple[Buffer, int], float] = {}
    for access, is_written, around in kernel.accesses:
        often = trips[around]
        if vector is None or vector not in around:
            fixed += often
            continue
        axis, scatters = lanes_of(access, vector)
        if scatters:
            fixed += often * lanes * GATHER
        elif axis is None:
            fixed += often * BROADCAST
        else:
            places = stored if is_written else along
            places[access.buffer, axis] = places.get((access.buffer, axis), 0.0) + often
    return Cost(fixed, along, stored, lanes * GATHER)


def lanes_of(access: Access, vector: Var) -> tuple[int | None, bool]:
    """The axis along which the lanes of an access lie, None where they are one element; and whether they are scattered
    whatever the layout.
    """
    found: int | None = None
    for axis, index in enumerate(access.index):
        if isinstance(index, Affine):
            step = index.coefficient(vector)
            if step and (step != 1 or found is not None):
                return None, True
            found = axis if step else found
        elif any(reads(leaf, vector) for leaf in leaves(index)):
            return None, True
    return found, False


def may_be_vector(kernel: Kernel, var: Var, folded: dict[Var, tuple[Var, ...]]) -> bool:
    """Whether the iterations of a loop may lie in lanes: they write to different places, and what they share folds.
    Then `folded` says around which loops the lanes are folded.
    """
    began: dict[Register, tuple[Var, ...]] = {}
    for one, around in kernel.statements:
        if isinstance(one, Let):
            began[one.register] = around
        if var not in around:
            continue
        if isinstance(one, Assign) and var not in began[one.register]:
            if one.register.combine is None:
                return False
            outside = began[one.register]
            folded[var] = around[: around.index(var)]
            if folded[var] != outside:
                fold = (statement for statement in kernel.statements if around[len(outside)] in statement[1])
                if all(isinstance(other, Assign) and loops == around for other, loops in fold):
                    folded[var] = outside  # `outermost` moves the loop there
        if isinstance(one, Store) and not any(
            isinstance(index, Affine) and index.coefficient(var) for index in one.target.index
        ):
            return False
    return True


def best(
    one: Profile, inner: Mapping[Buffer, int], copies: Mapping[Buffer, float] = NO_COPIES
) -> tuple[float, Var | None]:
    """The cheapest vector axis of a kernel and its cost; of equal ones the first."""
    least, cheapest = inf, None
    for var, cost in one.costs.items():
        if cost.fixed < least:
            total = cost.total(inner, copies)
            if total < least:
                least, cheapest = total, var
    return least, cheapest


def iterations(around: tuple[Var, ...], vector: Var | None, lanes: int) -> float:
    """How often something runs, a vector of lanes counting once."""
    total = 1
    for var in around:
        total *= ceil(var.extent / lanes) if var is vector else var.extent
    return float(total)


def reads(leaf: object, var: Var) -> bool:
    """Whether an expression's leaf depends on a variable."""
    if isinstance(leaf, Access):
        return any(isinstance(i, Affine) and i.coefficient(var) for i in leaf.index)
    return isinstance(leaf, Affine) and bool(leaf.coefficient(var))


def outermost(body: Sequence[Statement], vector: Var) -> tuple[Statement, ...]:
    """The vector loop moved to the outside of the loops that hold nothing else and fold the same registers."""
    result: list[Statement] = []
    for one in body:
        if not isinstance(one, Loop):
            result.append(one)
            continue
        chain = [one]
        while len(chain[-1].body) == 1 and isinstance(chain[-1].body[0], Loop):
            chain.append(chain[-1].body[0])
        variables = [loop.var for loop in chain]
        inside: tuple[Statement, ...] = chain[-1].body
        if vector in variables and all(isinstance(s, Assign) for s in inside):
            variables = [vector, *(var for var in variables if var is not vector)]
            result += nest(variables, inside)
        else:
            result.append(Loop(one.var, outermost(one.body, vector)))
    return tuple(result)


def jam_count(var: Var) -> int:
    """How many iterations of a loop to run together: the largest divisor up to `JAM`, a short loop as a whole, or else
    so many that few are left over.
    """
    limit = min(var.extent, 2 * JAM - 2)
    divisors = [n for n in range(2, limit + 1) if var.extent % n == 0 and (var.tail or 0) % n == 0]
    rest = 4 if var.tail is None and var.extent > limit else 1
    return max((n for n in divisors if n <= JAM), default=min(divisors, default=rest))


def together(kernel: Kernel, width: int) -> int:
    """How many vectors a fold takes at a time: with one, each addition would wait for the one before."""
    var = kernel.vector
    folded: dict[Var, tuple[Var, ...]] = {}
    if var is None or not may_be_vector(kernel, var, folded) or var not in folded:
        return 1
    one = profile(kernel, width)
    if min(var.extent, var.tail or var.extent) < LONG * width // one.itemsize:
        return 1
    return 4 if one.operations <= FEW else 2


def jams(kernel: Kernel) -> dict[Var, int]:
    """Which loops run several iterations together: those around a fold, so that it loads less for each result."""
    began: dict[Register, tuple[Var, ...]] = {}
    around_fold: tuple[Var, ...] = ()
    for one, around in kernel.statements:
        if isinstance(one, Let):
            began[one.register] = around
        if isinstance(one, Assign) and len(around) > len(began[one.register]):
            around_fold = max(around_fold, began[one.register], key=len)
    if not around_fold or any(isinstance(one, Check) for one, _ in kernel.statements):
        return {}
    carrying = {
        var
        for one, around in kernel.statements
        if isinstance(one, Assign)
        for var in around[len(began[one.register]) :]
    }
    result: dict[Var, int] = {}
    together = 1
    for var in reversed(around_fold):
        if var is kernel.vector or var in carrying:
            continue
        count = jam_count(var)
        if count * together > 8:
            continue
        if count > 1:
            result[var] = count
            together *= count
    return result
