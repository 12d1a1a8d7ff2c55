"""The vector axis and the jam of each kernel, and the innermost axis of each buffer: a cost model and a descent.

The cost of a kernel is a count of what its innermost statements do, one vector at a time: a load from consecutive
places or of one place costs 1, one from scattered places as many as there are lanes. Each buffer in turn takes the
innermost axis that makes its kernels cheapest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Final

from ...graph import Shape
from ...scalar import Expr, walk
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
    accesses,
    expressions,
    leaves,
    nest,
    statements,
)
from ..loopir.program import Program, spans

GATHER: Final = 1.5  # cost of one lane of a scattered load
FOLD: Final = 8.0  # cost of folding the lanes of a register at the end
LATENCY: Final = 4.0  # operations that begin while one is done
WAITS_FROM: Final = 64  # rounds of a fold from which that counts
JAM: Final = 5  # iterations run together
LONG: Final = 16  # vectors in a line from which several are folded at a time
FEW: Final = 12  # scalar operations of a fold that leaves registers for four vectors


@dataclass(frozen=True, slots=True)
class Use:
    """One access as the cost model sees it."""

    buffer: Buffer
    index: tuple[Affine | Expr, ...]
    written: bool
    around: tuple[Var, ...]


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
class Profile:
    """What the cost of a kernel depends on."""

    uses: tuple[Use, ...]
    work: tuple[Work, ...]
    fixed: Mapping[Var | None, Fixed]  # of each loop that may be the vector axis, and of none
    itemsize: int


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """What a vector axis costs whatever the layouts: how often each nest of loops runs, and the arithmetic."""

    trips: Mapping[tuple[Var, ...], float]
    cost: float


def choose(
    program: Program, profiles: Sequence[Profile], width: int
) -> tuple[dict[Buffer, int], list[Var | None]]:
    """The innermost axis of every buffer and the vector axis of every kernel."""
    rounds = times(program)
    updates = [pair for span, _ in spans(program.regions) for pair in span.updates]
    same = {new: old for old, new in updates if not (new.plain or old.plain)}
    inner = {buffer: last_long(buffer.shape) for buffer in program.buffers}
    users: dict[Buffer, set[int]] = {}
    for position, one in enumerate(profiles):
        for use in one.uses:
            users.setdefault(same.get(use.buffer, use.buffer), set()).add(position)
    free = [b for b in users if len(b.shape) > 1 and not b.plain and sum(n > 1 for n in b.shape) > 1]
    for _ in range(2):
        changed = False
        for buffer in sorted(free, key=lambda b: -prod(b.shape)):
            linked = [buffer, *(new for new, old in same.items() if old is buffer)]
            before = inner[buffer]
            options: list[tuple[float, int, int]] = []
            for axis in range(len(buffer.shape)):
                if buffer.shape[axis] == 1:
                    continue
                for tied in linked:
                    inner[tied] = axis
                total = sum(rounds[k] * best(profiles[k], inner, width)[0] for k in users[buffer])
                options.append((total, abs(axis - before), axis))
            _, _, axis = min(options, key=lambda option: option[:2])
            for tied in linked:
                inner[tied] = axis
            changed |= axis != before
        if not changed:
            break
    return inner, [best(one, inner, width)[1] for one in profiles]


def times(program: Program) -> dict[int, float]:
    """How often each kernel runs."""
    return {
        position: prod((float(var.extent) for var in around), start=1.0)
        for span, around in spans(program.regions)
        for position in range(span.start, span.stop)
    }


def last_long(shape: Shape) -> int:
    """The last axis with more than one element, or the last one."""
    return max((axis for axis, n in enumerate(shape) if n > 1), default=len(shape) - 1)


def profile(kernel: Kernel, width: int) -> Profile:
    """Look through a kernel once."""
    uses = tuple(Use(access.buffer, access.index, written, around) for access, written, around in accesses(kernel))
    work = []
    began: dict[Register, int] = {}
    for one, around in statements(kernel.body):
        if isinstance(one, Let):
            began[one.register] = len(around)
        operations = sum(part.op not in ("param", "const") for root in expressions(one) for part in walk(root))
        folding = len(around) - began[one.register] if isinstance(one, Assign) else 0
        work.append(Work(operations, around, folding))
    variables = dict.fromkeys(var for _, around in statements(kernel.body) for var in around)
    folded: dict[Var, tuple[Var, ...]] = {}
    candidates = [var for var in variables if may_be_vector(kernel, var, folded)]
    sizes = [access.buffer.dtype.itemsize for access, _, _ in accesses(kernel) if access.buffer.dtype.kind == "f"]
    itemsize = max(sizes, default=8)
    nests = frozenset(around for _, around in statements(kernel.body))
    fixed: dict[Var | None, Fixed] = {}
    for vector in (*candidates, None):
        trips = {around: iterations(around, vector, width // itemsize) for around in nests}
        total = sum(trips[part.around] * part.operations * part.waits(vector, width // itemsize) for part in work)
        if vector in folded:
            total += iterations(folded[vector], None, 1) * FOLD
        fixed[vector] = Fixed(trips, total)
    return Profile(uses, tuple(work), fixed, itemsize)


def may_be_vector(kernel: Kernel, var: Var, folded: dict[Var, tuple[Var, ...]]) -> bool:
    """Whether the iterations of a loop may lie in lanes: they write to different places, and what they share folds."""
    began: dict[Register, tuple[Var, ...]] = {}
    for one, around in statements(kernel.body):
        if isinstance(one, Let):
            began[one.register] = around
        if var not in around:
            continue
        if isinstance(one, Assign) and var not in began[one.register]:
            if one.register.combine is None:
                return False
            folded[var] = around[: around.index(var)]
        if isinstance(one, Store) and not any(
            isinstance(index, Affine) and index.coefficient(var) for index in one.target.index
        ):
            return False
    return True


def best(one: Profile, inner: Mapping[Buffer, int], width: int) -> tuple[float, Var | None]:
    """The cheapest vector axis of a kernel and its cost."""
    lanes = width // one.itemsize
    options = [(cost(one, var, inner, lanes), k, var) for k, var in enumerate(one.fixed)]
    total, _, var = min(options, key=lambda option: option[:2])
    return total, var


def cost(one: Profile, vector: Var | None, inner: Mapping[Buffer, int], lanes: int) -> float:
    """What a kernel does, in vectors."""
    trips, total = one.fixed[vector].trips, one.fixed[vector].cost
    for use in one.uses:
        total += trips[use.around] * (stride_cost(use, vector, inner, lanes) if vector in use.around else 1.0)
    return total


def iterations(around: tuple[Var, ...], vector: Var | None, lanes: int) -> float:
    """How often something runs, a vector of lanes counting once."""
    total = 1
    for var in around:
        total *= ceil(var.extent / lanes) if var is vector else var.extent
    return float(total)


def stride_cost(use: Use, vector: Var | None, inner: Mapping[Buffer, int], lanes: int) -> float:
    """A load of places in a row costs 1, of one place for all lanes half of that: it is part of an instruction."""
    varies = False
    for axis, index in enumerate(use.index):
        if isinstance(index, Expr):
            if any(reads(leaf, vector) for leaf in leaves(index)):
                return lanes * GATHER
        else:
            step = index.coefficient(vector) if vector else 0
            varies = varies or step != 0
            if step and (axis != inner[use.buffer] or step != 1):
                return lanes * GATHER
    return 1.0 if varies else 0.5


def reads(leaf: object, var: Var | None) -> bool:
    """Whether an expression's leaf depends on a variable."""
    if var is None:
        return False
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
    return 4 if sum(part.operations for part in one.work) <= FEW else 2


def jams(kernel: Kernel) -> dict[Var, int]:
    """Which loops run several iterations together: those around a fold, so that it loads less for each result."""
    began: dict[Register, tuple[Var, ...]] = {}
    around_fold: tuple[Var, ...] = ()
    for one, around in statements(kernel.body):
        if isinstance(one, Let):
            began[one.register] = around
        if isinstance(one, Assign) and len(around) > len(began[one.register]):
            around_fold = max(around_fold, began[one.register], key=len)
    if not around_fold or any(isinstance(one, Check) for one, _ in statements(kernel.body)):
        return {}
    carrying = {
        var
        for one, around in statements(kernel.body)
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
