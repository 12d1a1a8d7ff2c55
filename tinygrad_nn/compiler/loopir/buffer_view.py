"""Parts of buffers under which nodes are known: an entry of a series, the states before the steps, a piece of a cat."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .ir import Access, Affine, Buffer, Guard, Index


@dataclass(frozen=True, slots=True)
class BufferView:
    """`buffer[place, index of the node]`, the first number of the index shifted, or left out where it says nothing."""

    buffer: Buffer
    place: tuple[Affine, ...] = ()
    shift: int = 0
    final: bool = False

    def access(self, index: tuple[Index, ...], guards: tuple[Guard, ...] = ()) -> Access:
        """An element of the node."""
        if self.final:
            index = index[1:]
        elif self.shift:
            index = (index[0] + self.shift, *index[1:])
        return Access(self.buffer, (*self.place, *index), guards)

    def entry(self, at: Affine) -> BufferView:
        """What lies at one place of the node's first axis."""
        return replace(self, place=(*self.place, at + self.shift), shift=0)
