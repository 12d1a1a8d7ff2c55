"""C99: what a schedule says, as loops that can be read.

The loops are those of the schedule, not expanded: the C compiler unrolls them and finds vectors. Nothing of the C
library is called, and nothing has an effect that C leaves undefined.
"""
