"""Which nodes of a graph get a buffer. All others are computed where they are used, inside the loops of their users.

A node is evaluated as often as its users read it. Where that is once per element it costs nothing to compute it there;
otherwise `Choice` weighs evaluating it again against a store and the loads. What it says is kept for the listing.

Costs are of a vector of elements, in operations, of which processors begin two a cycle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final, NamedTuple

from ...adjoint import SCAN
from ...errors import TraceError, message
from ...graph.graph import Graph, Node, is_fixed
from ...ops.contract import MATMUL, count_products, inner_length, parts
from ...ops.movement import BROADCAST, CAT, RESHAPE, SLICE, is_squeeze
from ...ops.reduce import SUM
from ...ops.rules import FLOAT64, SELECT_LIMIT, Concatenation, CountingSort, Scatter, op_cost
from ...ops.scan import STACKED
from ..blas import has_blas, is_large
from ..passes.algebra import filled, rewrite, triangle
from ..target import NEVER, SECOND

ONCE: Final = 1.001  # times read; parts add up to a whole but for rounding
CHEAP: Final = 2  # operations that hide beside others, so that evaluating them a few times more costs nothing
LOAD: Final = 0.5  # it runs beside operations, or is part of one
STORE: Final = 6.0  # one begins in a cycle, and it takes a pass of its own
FAR: Final = 8.0  # more for a vector from beyond the second cache, some 2 ns; a store fetches it first
TOGETHER: Final = 4  # rows of a product that one evaluation serves: they run together in registers
DEEP: Final = 16  # products to a sum from which it is worth loading and storing what it is added to
ROWS: Final = 8  # lines of a part from which computing them by themselves is as fast as all parts together
HEAVY: Final = ("reduce", "contract")  # kinds with loops, which are not run twice
DEPTH: Final = 60  # longest chain that is computed in one place


@dataclass(frozen=True, slots=True)
class Choice:
    """A node that may be stored or computed where it is read: what either costs.

    reads       how often an element is read
    evaluated   how often it is evaluated if it is not stored, which loops do once for several reads
    operations  of an evaluation
    loads       what the loads of an evaluation cost
    far         what a vector costs more to load because of the size of the node
    store       what a store costs: where an operand with loops would be stored in its place, less by the load of that
    """

    reads: float
    evaluated: float
    operations: float
    loads: float
    far: float
    store: float = STORE

    @property
    def again(self) -> float:
        """The cost of computing it wherever it is read."""
        return self.evaluated * (self.operations + self.loads)

    @property
    def stored(self) -> float:
        """The cost of computing it once, storing it, and loading it."""
        return self.operations + self.loads + self.store + self.evaluated * (LOAD + self.far)

    @property
    def is_stored(self) -> bool:
        """Whether that is cheaper."""
        return self.stored < self.again

    def __str__(self) -> str:
        few, many = sorted((self.stored, self.again))
        return f"read {self.reads:g} times, {few:.3g} operations instead of {many:.3g}"


class PlannedBody(NamedTuple):
    """The body of a scan: the numbers of the outputs that are wanted, the graph of these alone, and its plan."""

    left: tuple[int, ...]
    graph: Graph
    plan: Plan


class Decision(NamedTuple):
    """What became of a node of a graph, by its number there, and why; with the `body` of a scan that it stands in."""

    node: int
    op: str
    shape: tuple[int, ...]
    stored: bool
    why: str
    body: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The nodes with a buffer, in order, with the reason; and those whose buffer must be in row-major order.

    Products of `blas` multiply-adds or more are left to a BLAS. `choices` are the nodes of which cost alone decided,
    `bodies` the plans of scans.
    """

    stored: dict[Node, str]
    row_major: frozenset[Node]
    blas: int = 0
    choices: Mapping[Node, Choice] = field(default_factory=dict)
    bodies: Mapping[Node, PlannedBody] = field(default_factory=dict)

    def multiplies(self, node: Node) -> bool:
        """Whether a BLAS computes a node."""
        return _multiplies(node, self.blas)

    def decisions(self, graph: Graph, body: str = "") -> list[Decision]:
        """What has a buffer, then what costs alone left without one; then those of the bodies."""
        position = {node: k for k, node in enumerate(graph.nodes)}
        again = [(node, str(choice)) for node, choice in self.choices.items() if node not in self.stored]
        found = [
            Decision(position[node], node.op.name, node.shape, node in self.stored, why, body)
            for node, why in (*self.stored.items(), *reversed(again))
        ]
        for node, inner in self.bodies.items():
            found += inner.plan.decisions(inner.graph, f"{body}b{position[node]} ")
        return found


def _multiplies(node: Node, blas: int) -> bool:
    return is_large(node, blas) and has_blas()


def _are_most(graph: Graph, blas: int) -> bool:
    """Whether products for a BLAS are most of the work. It takes whole arrays, so what is around them cannot go over
    the rows in blocks that stay in a cache, and of a net of convolutions that is nearly all.
    """
    sums = [node for node in graph.nodes if node.op.kind == "contract"]
    large = sum(count_products(node) for node in sums if is_large(node, blas))
    return 2 * large >= sum(map(count_products, sums)) if large else True


def plan(graph: Graph, blas: int = 0, turned: Collection[Node] = ()) -> Plan:
    """Decide for every node, users before operands; of those that are `turned`, against what their costs say."""
    blas = blas if _are_most(graph, blas) else NEVER
    users: dict[Node, list[tuple[Node, int]]] = {node: [] for node in graph.nodes}
    inputs = frozenset(graph.inputs)
    for node in graph.nodes:
        if node not in inputs:
            for argnum, operand in enumerate(node.inputs):
                users[operand].append((node, argnum))
    reads: dict[Node, float] = {}
    evaluated: dict[Node, float] = {}  # the same, but what loops share counts once
    choices: dict[Node, Choice] = {}
    reasons: dict[Node, str] = dict.fromkeys(graph.outputs, "output")
    reasons |= {new: "update" for _, new in graph.updates}
    row_major: set[Node] = set()
    viewed: dict[Node, str] = {}  # views that are wanted in memory, which is where their operand is
    cost = _costs(graph, inputs, users)
    for node in reversed(graph.nodes):
        for user, argnum in users[node]:
            reason = _demand(user, argnum, node) or (viewed.get(user, "") if argnum == 0 else "")
            splits = node.op is RESHAPE and not is_squeeze(node.inputs[0].shape, node.shape)
            if reason and is_view(node) and not splits and "body" not in user.attrs:
                viewed.setdefault(node, reason)
            elif reason:
                reasons.setdefault(node, reason)
            if user.op is RESHAPE and not is_view(user):
                reasons.setdefault(node, "reshape")
                row_major.add(node)
                if user in row_major or user in reasons:
                    row_major.add(user)
        if _multiplies(node, blas):
            reasons.setdefault(node, "a large matrix product")
            row_major.add(node)
        if any(_multiplies(user, blas) for user, _ in users[node]):
            reasons.setdefault(node, "operand of a large matrix product")
            row_major.add(node)
        if node in inputs or (node.op.kind == "source" and filled(node) is None and triangle(node) is None):
            reasons[node] = "input" if node in inputs else "constant"
        elif node.op.kind == "source":
            continue
        elif _own_loops(node):
            reasons.setdefault(node, "loops of its own")
        elif node.op is STACKED and node.inputs[0].op is SCAN:
            reasons.setdefault(node, "a result of a scan")
        each = [
            (user, _reads(user, argnum, node), _serves(user))
            for user, argnum in users[node]
            if user.op.kind != "elementwise" or user.inputs.index(node) == argnum  # x * x reads x once
        ]
        reads[node] = sum(often * (1.0 if user in reasons else reads[user]) for user, often, _ in each)
        evaluated[node] = sum(
            (often if often < ONCE else max(1.0, often / serves)) * (1.0 if user in reasons else evaluated[user])
            for user, often, serves in each
        )
        if node in reasons or reads[node] <= ONCE:
            continue
        if _narrows(node):
            reasons[node] = "another width"
            continue
        if node.op.kind in HEAVY:
            reasons[node] = f"read {reads[node]:g} times"
        elif cost[node].operations and (node.op.kind != "movement" or isinstance(node.op.emit, Concatenation)):
            own = cost[node]
            often = evaluated[node] if own.operations <= CHEAP else reads[node]
            far = _far(node)
            instead = [operand for operand in node.inputs if operand.op.kind in HEAVY and len(users[operand]) == 1]
            store = -(LOAD + _far(instead[0])) if instead else STORE + 2 * far
            choices[node] = choice = Choice(reads[node], often, own.operations, own.loads, far, store)
            if choice.is_stored is not (node in turned):
                reasons[node] = str(choice)
    _limit_depth(graph, reasons)
    ordered = {node: reasons[node] for node in graph.nodes if node in reasons}
    bodies = {node: _body(node, users, blas) for node in graph.nodes if node.op is SCAN and node.attrs["length"]}
    return Plan(ordered, frozenset(row_major), blas, choices, bodies)


def _body(node: Node, users: Mapping[Node, list[tuple[Node, int]]], blas: int) -> PlannedBody:
    """The body of a scan: its carries, and of the results of its steps those that are read."""
    whole, read = node.attrs["body"], {user.attrs["k"] for user, _ in users[node] if user.op is STACKED}
    left = tuple(k for k in range(len(whole.outputs)) if k < node.attrs["carries"] or k in read)
    graph = rewrite(Graph.of([whole.outputs[k] for k in left], whole.inputs, places=whole.places))
    return PlannedBody(left, graph, plan(graph, blas))


def is_split(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a reshape only splits axes, so that an index of the result is one of the operand."""
    if 0 in shape or not own or not is_fixed(own, shape):
        return False
    rest = list(shape)
    for n in own:
        size = 1
        while size < n and rest:
            size *= rest.pop(0)
        if size != n:
            return False
    return all(n == 1 for n in rest)


def is_view(node: Node) -> bool:
    """Whether a node is another order of its operand's elements."""
    if node.op is RESHAPE:
        own = node.inputs[0].shape
        return is_squeeze(own, node.shape) or is_split(own, node.shape)
    return node.op.view


def behind(node: Node) -> Node:
    """What a piece of a cat is, without the axis that only counts pieces."""
    return node.inputs[0] if node.op is RESHAPE and node.shape == (1, *node.inputs[0].shape) else node


def pieces(graph: Graph, plan: Plan) -> dict[Node, tuple[Node, int]]:
    """Stored nodes that are computed right where a cat along the first axis wants them: the cat, and the place."""
    kept = {*graph.outputs, *(new for _, new in graph.updates)}
    found: dict[Node, tuple[Node, int]] = {}
    for node in plan.stored:
        if node.op is not CAT or node.attrs["axis"] != 0 or node in plan.row_major:
            continue
        for start, operand in enumerate(node.inputs):
            piece = behind(operand)
            if operand.shape[0] != 1:
                break
            if piece is not operand and piece not in kept and is_placeable(piece, graph, plan):
                found.setdefault(piece, (node, start))
    return found


def is_placeable(node: Node, graph: Graph, plan: Plan) -> bool:
    """Whether a node is stored element by element, so that it may be stored in a part of another buffer."""
    if node not in plan.stored or node in plan.row_major or node in graph.inputs or node.op is STACKED:
        return False
    moves = node.op.kind == "movement" and node.op is not RESHAPE
    return moves or (node.op.kind in ("elementwise", "reduce", "contract") and not plan.multiplies(node))


def _own_loops(node: Node) -> bool:
    """Whether the node's elements cannot be computed one by one."""
    emit = node.op.emit
    if "body" in node.attrs:
        return True
    if node.op.kind == "contract":
        return node.op is not MATMUL and len(parts(node)) > 1
    if emit is None and node.op is not RESHAPE:
        hint = "see docs/compile.md for what compiles, or take this part out of the compiled function"
        raise TraceError(message("compile", f"the op {node.op.name}", "an op with a compiled form", hint))
    if isinstance(emit, CountingSort):
        return True
    if isinstance(emit, Scatter):
        return not inlines(node)
    return node.op.kind == "control"


def streams(node: Node, plan: Plan) -> bool:
    """Whether a node is a sum over steps, and over rows of what a scan leaves at each, or of products that are large
    together, but each fits the caches.
    """
    if node.op is not SUM:
        return False
    product = node.inputs[0]
    if product.op is STACKED and product.inputs[0].op is SCAN:
        size = prod(product.shape) * product.dtype.itemsize
        rows = node.attrs["axis"][:1] == (0,) and len(node.attrs["axis"]) > 1 and not node.attrs["keepdims"]
        return rows and size > SECOND and node.dtype.kind == "f" and is_fixed(product.shape)
    if product.op is not MATMUL or product in plan.stored:
        return False
    if node.attrs != {"axis": (0,), "keepdims": False} or len(product.shape) != 3 or node.dtype.kind != "f":
        return False
    read = sum(prod(x.shape) * x.dtype.itemsize for x in product.inputs)
    deep = min(inner_length(product), *product.shape[1:]) >= DEEP
    return read > SECOND and deep and is_fixed(product.shape)


def inlines(node: Node) -> bool:
    """Whether a Scatter is written as an expression."""
    return bool(node.op.emit.inlines(*(operand.shape for operand in node.inputs), **node.attrs))


def _demand(user: Node, argnum: int, node: Node) -> str:
    """Why a user needs an operand in memory."""
    if "body" in user.attrs:
        return "" if argnum < user.attrs["carries"] else "operand of a scan"
    if user.op.divides and argnum == 1 and user.dtype.kind == "i":
        return "divisors"
    if user.op.kind == "contract" and node.op.cost:
        return "moved once for all products"
    if user.op.kind != "index":
        return ""
    if isinstance(user.op.emit, CountingSort):
        return "" if is_view(node) else "ordered"
    if argnum == min(1, len(user.inputs) - 1):
        return "positions"
    if argnum == 0 and not isinstance(user.op.emit, Scatter):
        return "read at positions" if node.shape[user.attrs["axis"]] > SELECT_LIMIT else ""
    return ""


def _reads(user: Node, argnum: int, node: Node) -> float:
    """How often an element of the node is read for each element of a user, on average."""
    own = max(1, prod(node.shape))
    if user.op.kind == "contract":
        return count_products(user) / own
    if user.op.kind == "reduce":
        return 1.0
    if isinstance(user.op.emit, CountingSort):
        return float(user.shape[user.attrs["axis"]])
    if isinstance(user.op.emit, Scatter):
        return max(1.0, prod(user.shape) / own) if inlines(user) else 1.0
    if user.op.kind == "index":
        length = user.inputs[0].shape[user.attrs["axis"]] if argnum == 0 and len(user.inputs) > 1 else 1
        return max(1.0, prod(user.shape) * min(length, SELECT_LIMIT) / own)
    if isinstance(user.op.emit, Concatenation):
        return 1.0
    if user.op is SLICE and prod(user.shape) >= ROWS * max(user.shape, default=1):
        return prod(user.shape) / own
    return max(1.0, prod(user.shape) / own)


def _narrows(node: Node) -> bool:
    """Whether a node is made of a float64 number, but is none: a kernel that knows both has lanes for float64 only."""
    wide = max((x.dtype.itemsize for x in node.inputs if x.dtype.kind == "f"), default=0)
    return (
        node.op.kind == "elementwise"
        and prod(node.shape) == 1
        and node.dtype.kind in "fb"
        and (node.dtype.itemsize < wide == FLOAT64.itemsize)
    )


def _serves(user: Node) -> float:
    """How many of its reads one evaluation serves: rows that run together, and loops that an element is the same in."""
    if user.op.kind == "contract":
        return TOGETHER
    if user.op is not BROADCAST:
        return 1.0
    own = list(user.inputs[0].shape)
    serves = 1
    for axis in reversed(range(len(user.shape))):
        n = user.shape[axis]
        if axis not in user.attrs["axes"] and own.pop() == n != 1:
            break
        serves *= n
    return float(max(1, serves))


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of evaluating a node: operations, and what loads cost."""

    operations: float = 0.0
    loads: float = 0.0


def _far(node: Node) -> float:
    """What a vector of a node costs more to load because it does not stay in the cache."""
    return FAR if prod(node.shape) * node.dtype.itemsize > SECOND else 0.0


def _costs(graph: Graph, inputs: frozenset[Node], users: Mapping[Node, list[tuple[Node, int]]]) -> dict[Node, _Cost]:
    """What a node's own op costs, with those operands that will be evaluated with it; other operands are loaded."""
    cost: dict[Node, _Cost] = {}

    def of(operand: Node) -> _Cost:
        own = cost[operand]
        kept = not own.operations or (own.operations > CHEAP and len(users[operand]) > 1)
        if not kept or operand.op.kind == "source":
            return own
        moved = operand.op.kind == "movement" and not own.operations  # it is loaded from where it was
        return _Cost(0, max(LOAD, own.loads) if moved else LOAD + _far(operand))

    for node in graph.nodes:
        if node in inputs or node.op.kind == "source":
            cost[node] = _Cost()
            continue
        parts = [of(operand) for operand in dict.fromkeys(node.inputs)]
        loads = sum(part.loads for part in parts)
        if node.op.kind == "elementwise" and node.op.emit is not None:
            cost[node] = _Cost(op_cost(node) + sum(part.operations for part in parts), loads)
        elif node.op.kind == "movement":
            places = 3 * len(node.inputs) if isinstance(node.op.emit, Concatenation) else node.op.cost
            serves = _serves(node)  # what is the same in a loop is computed before it
            cost[node] = _Cost(max(part.operations for part in parts) / serves + places, loads / serves)
        else:
            cost[node] = _Cost()  # what has loops gets a buffer as soon as it would be repeated
    return cost


def _limit_depth(graph: Graph, reasons: dict[Node, str]) -> None:
    """Break chains that are too long to be computed in one place."""
    depth: dict[Node, int] = {}
    for node in graph.nodes:
        deepest = 1 + max((depth[operand] for operand in node.inputs), default=0) if node.op.kind != "source" else 0
        if deepest > DEPTH and not is_view(node):
            reasons.setdefault(node, "a long chain")
        depth[node] = 0 if node in reasons else deepest
