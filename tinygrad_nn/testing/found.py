"""What a recorder of `coverage` found: plain sets, which can be sent from one process to another and united."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .mutation import Rule

ANY_TEST: Final = ""  # where no test runs: while a file is imported, or in a fixture


class Use(NamedTuple):
    """An op at a line, and what its operands' shapes were: array, scalar, broadcast or empty."""

    file: str
    line: int
    op: str
    shapes: str


class Check(NamedTuple):
    """A use that took part in a gradient check."""

    use: Use
    order: int
    compiled: bool


@dataclass(slots=True)
class RuleUse:
    """Which tests used a gradient rule, at which lines, and which changes of it would have changed a number."""

    tests: set[str] = field(default_factory=set)
    places: set[tuple[str, int]] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    tries: int = 0


@dataclass(slots=True)
class Found:
    """What ran, what was checked, and which gradient rules were used."""

    ran: set[Use] = field(default_factory=set)
    checked: set[Check] = field(default_factory=set)
    rules: dict[Rule, RuleUse] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Take in what another process found."""
        self.ran |= other.ran
        self.checked |= other.checked
        for rule, use in other.rules.items():
            mine = self.rules.setdefault(rule, RuleUse())
            mine.tests |= use.tests
            mine.places |= use.places
            mine.changes |= use.changes

    def packed(self) -> Any:
        """As plain tuples and lists."""
        rules = [(tuple(rule), list(u.tests), list(u.places), list(u.changes)) for rule, u in self.rules.items()]
        checked = [(tuple(check.use), check.order, check.compiled) for check in self.checked]
        return [tuple(use) for use in self.ran], checked, rules

    @classmethod
    def unpacked(cls, packed: Any) -> Found:
        """The reverse of `packed`."""
        ran, checked, rules = packed
        return cls(
            {Use(*use) for use in ran},
            {Check(Use(*use), order, compiled) for use, order, compiled in checked},
            {
                Rule(*rule): RuleUse(set(tests), {(file, line) for file, line in places}, set(changes))
                for rule, tests, places, changes in rules
            },
        )
