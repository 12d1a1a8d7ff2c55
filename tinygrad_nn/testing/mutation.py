"""Gradient rules made wrong on purpose: what a change does to a rule, and a process in which one rule has it.

A rule is known by its op and operand, so that another process finds it again. A change is a function of what the rule
gives, and of what it would give with its operands swapped (None where that has no meaning).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..adjoint import SCAN
from ..graph.graph import Op
from ..ops import TABLE

OURS: Final = frozenset((*TABLE.values(), SCAN))
FACTOR: Final = 1 + 1e-5
Change = Callable[[Any, Any], Any]

CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {
        "sign": lambda right, swapped: -right,
        "factor 1 + 1e-5": lambda right, swapped: right * FACTOR,
        "dropped": lambda right, swapped: right.new_zeros(right.shape),
        "operands swapped": lambda right, swapped: right if swapped is None else swapped,
    }
)
SWAPPED: Final = "operands swapped"


class Rule(NamedTuple):
    """The gradient rule of one operand. `own`: of an op outside of the table, as a user's tg.Function."""

    op: str
    own: bool
    operand: int

    @classmethod
    def of(cls, op: Op, operand: int) -> Rule | None:
        """The rule of an operand of a node; None for rules that only hand on what other rules made."""
        if op.relays:
            return None
        return cls(op.name, op not in OURS, operand)

    def __str__(self) -> str:
        return f"{self.op}.backward, gradient {self.operand}" if self.own else f"{self.op}, operand {self.operand}"


class Mutation(NamedTuple):
    """One change of one rule."""

    rule: Rule
    change: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.change}"


_vjp: Any = Op.__dict__["vjp"]  # the slot, which is hidden while a mutation is applied


def swapped(op: Op, operand: int, g: Any, out: Any, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """What the rule of an operand gives when it is mistaken for that of another one; for an op of one operand, when its
    operand and its result change places. None where shapes forbid that, or there is nothing to swap.
    """
    rules = _vjp.__get__(op)
    own = inputs[operand]
    others = [(operand + k) % len(inputs) for k in range(1, len(inputs))]
    try:
        if not isinstance(rules, tuple):
            needs = attrs.get("needs", others)
            alike = [k for k in others if k in needs and (inputs[k].shape, inputs[k].dtype) == (own.shape, own.dtype)]
            return rules(g, out, *inputs, wanted=(alike[0],), **attrs)[alike[0]] if alike else None
        if not others:
            ends = op.kind == "elementwise" and not op.linear
            result = rules[0](g, own, out, **attrs) if ends else None
        else:
            others = [k for k in others if rules[k] is not None]
            result = rules[others[0]](g, out, *inputs, **attrs) if others else None
    except Exception:  # whatever a rule makes of operands that are not its own
        return None
    return result if result is not None and (result.shape, result.dtype) == (own.shape, own.dtype) else None


@contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    """Within the block every use of the rule, recorded, compiled or run on plain values, has the change."""
    rule, change = mutation.rule, CHANGES[mutation.change]

    def rules(op: Op) -> Any:
        found = _vjp.__get__(op)
        if Rule.of(op, rule.operand) != rule or not found:
            return found

        def wrong(right: Any, g: Any, out: Any, inputs: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
            other = swapped(op, rule.operand, g, out, inputs, attrs) if mutation.change == SWAPPED else None
            return change(right, other)

        def one(g: Any, out: Any, *inputs: Any, **attrs: Any) -> Any:
            return wrong(found[rule.operand](g, out, *inputs, **attrs), g, out, inputs, attrs)

        def together(g: Any, out: Any, *inputs: Any, wanted: Sequence[int], **attrs: Any) -> Any:
            right = dict(found(g, out, *inputs, wanted=wanted, **attrs))
            if rule.operand in right:
                right[rule.operand] = wrong(right[rule.operand], g, out, inputs, attrs)
            return right

        return (*found[: rule.operand], one, *found[rule.operand + 1 :]) if isinstance(found, tuple) else together

    type.__setattr__(Op, "vjp", property(rules, _vjp.__set__))  # the door that every walk takes a rule from
    try:
        yield
    finally:
        type.__setattr__(Op, "vjp", _vjp)
