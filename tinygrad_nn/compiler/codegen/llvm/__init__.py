"""LLVM IR: what expanded code says, as text. Nothing is decided here.

The text is written here and not by a library of instruction objects because that costs ten times as long, and compile
time is a promise. LLVM runs no passes on it: instructions already are where they belong, and equal ones are one.

Invariants: no fast-math flags on arithmetic, so each operation rounds as the interpreter's does; only the folding of a
register's lanes is in an order of its own, which is fixed by the code.
"""
