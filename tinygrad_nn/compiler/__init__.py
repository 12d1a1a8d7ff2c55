"""The compiler: a Python function to one native function. Stages in the order data passes.

trace -> rewrite -> fusion, lower -> schedule -> llvm -> native, runtime. `jit` drives them; `interp` says what a
program means.
"""

from .jit import Jitted as Jitted
from .jit import explain as explain
from .jit import jit as jit
