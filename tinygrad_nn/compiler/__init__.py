"""The compiler: a Python function to one native function. Stages in the order data passes.

trace -> rewrite -> fusion, lower -> schedule -> llvm -> native, runtime. `jit` drives them; `interp` says what a
program means.
"""

from ..libm import arc, area, error, exponential, logarithm, power, trigonometric  # noqa: F401  loaded here, once
from .run.jit import Jitted as Jitted
from .run.jit import explain as explain
from .run.jit import jit as jit
