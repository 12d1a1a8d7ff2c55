"""From a schedule to LLVM IR: one function, kernel after kernel, loops as loops, vectors as vectors.

The text is written here and not by a library of instruction objects because that costs ten times as long, and compile
time is a promise. What LLVM's passes would do is done on the way, where it is cheap: every instruction goes to the
outermost loop where its operands are known, and equal ones are one (`Writer.pure`). Loads are moved like that unless
the kernel writes their buffer.

Invariants: no fast-math flags on elementwise arithmetic, so each operation rounds as the interpreter's does; only the
folding of a register's lanes is in an order of its own, which is fixed by the IR.
"""

from .function import write_function as write_function
