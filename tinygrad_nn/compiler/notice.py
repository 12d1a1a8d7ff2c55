"""Word of a long compilation, before the longest part of it begins.

Whether machine code has to be made is known when the IR is written, since the cache goes by that. How long LLVM will
take is judged by how long the writing took: both grow with the lines and with the slowness of the machine, so the
figure needs no knowledge of either.
"""

from __future__ import annotations

from typing import Final

from ..config import tell

LONG: Final = 0.5  # seconds from which somebody should know
RATIO: Final = 4.2  # seconds of LLVM for a second of writing: the median of 12 programs, which lie between 2.8 and 8
SHORT: Final = 3000  # lines of IR that take less than that on any machine, whatever a busy one may seem to say


def announcement(owner: str, nodes: int, lines: int, lowering: float, writing: float) -> None:
    """To be called before LLVM starts. It says how long all of it takes, if that is long."""
    expected = lowering + (1 + RATIO) * writing
    if lines > SHORT and expected > LONG:
        tell(f"{owner}: {nodes:,} nodes, compiling takes about {expected:.{0 if expected >= 2 else 1}f} s")
