"""The compiler: a Python function to one native function.

`trace` makes graphs of functions, `driver` has the list of stages that make machine code of them, `run` calls it, and
`interp` says what a program means.
"""

from ..ops.libm import arc, area, error, exponential, logarithm, power, trigonometric  # noqa: F401  loaded here, once
from .run.fallback import compiled as compiled
from .run.jit import Jitted as Jitted
from .run.jit import explain as explain
from .run.jit import jit as jit
from .run.threads import get_num_threads as get_num_threads
from .run.threads import set_num_threads as set_num_threads
