"""Where nodes come from: the module and the user's line of each node of a trace, and of what passes make of it.

A trace that somebody asked to be followed (`placed.placed`) has one such record, which only grows; its Graph holds it
(`Graph.places`), and whoever makes nodes out of nodes says so (`follow`). No other graph has one, and nobody else pays.

    graph.places.place(node)        of a node as traced, or of any that a pass made: a `Place`, or None
    graph.places.origins(node)      the nodes as traced that it computes
    kernel.origins                  the same of a kernel of loops, in every stage: those nodes, each with its Place

Nodes are anything with a `serial` and `inputs`: this file stands below `graph.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

_serial = attrgetter("serial")
Role = Literal["forward", "gradient", "optimizer"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node comes from.

    `file`, `line` and `text` are the innermost line of the user's code, "", 0 and "" where there is none; of a module
    that is ours all through it is the line that had it traced, without a text. `module` is
    the path of the module that ran, as `named_modules` has it ("" is the outermost one), `kind` its class, "" outside
    of modules. A node of a gradient has the place of what it is the gradient of; one of an optimizer the line of the
    step.
    """

    file: str
    line: int
    text: str
    module: str = ""
    kind: str = ""
    role: Role = "forward"

    @property
    def owner(self) -> str:
        """The module in words: `layers.0 Linear`."""
        return f"{self.module} {self.kind}".strip()

    @property
    def where(self) -> str:
        """The line in words: `iris.py:12`."""
        return f"{os.path.basename(self.file)}:{self.line}" if self.file else ""

    def __str__(self) -> str:
        role = "" if self.role == "forward" else self.role
        return ", ".join(filter(None, (self.owner, self.where, role)))


class Places:
    """The record: `known` are the nodes of traces, `made` those that passes made, with the ones that they compute."""

    def __init__(self) -> None:
        self.known: dict[Any, Place] = {}
        self.made: dict[Any, tuple[Any, ...]] = {}

    def origins(self, node: Any) -> tuple[Any, ...]:
        """The nodes as traced that a node computes: itself, if no pass has made it."""
        return self.made.get(node, (node,))

    def place(self, node: Any) -> Place | None:
        """The place of a node, which is that of the first one it computes that has one."""
        return next((self.known[one] for one in self.origins(node) if one in self.known), None)

    def of(self, nodes: Iterable[Any]) -> Mapping[Any, Place]:
        """The nodes as traced behind some, oldest first, with their places."""
        origins = {one for node in nodes for one in self.origins(node) if one in self.known}
        return {one: self.known[one] for one in sorted(origins, key=_serial)}

    def follow(self, new: Any, old: Any, since: int) -> None:
        """`new` is in the place of `old`: it computes the same, and so does what was made for it after the serial
        `since`.
        """
        origins = self.origins(old)
        for one in self._fresh(new, since):
            self.made[one] = origins
        if new is not old:
            self.made[new] = tuple(dict.fromkeys((*self.origins(new), *origins)))

    def again(self, new: Any, old: Any, since: int) -> None:
        """A trace has made `old` again, as `new`, which is another node as traced at the same place."""
        place = self.place(old)
        if place is not None:
            for one in self._fresh(new, since):
                self.known[one] = place

    def _fresh(self, new: Any, since: int) -> Iterator[Any]:
        """What a node needs that was made after a serial, as far as nothing is known of it."""
        stack = [new]
        while stack:
            one = stack.pop()
            if one.serial > since and one not in self.made and one not in self.known:
                yield one
                stack += one.inputs

    def watch(self, recorder: Any) -> None:
        """A recorder begins; a record that is over takes no notice."""

    def settle(self, nodes: Iterable[Any]) -> None:
        """Nodes that no operation of the user's made, as copies for a flag, have the place of an operand."""
        for node in nodes:
            if self.place(node) is None:
                places = (self.place(operand) for operand in node.inputs)
                found = next((place for place in places if place is not None), None)
                if found is not None:
                    self.known[node] = found
