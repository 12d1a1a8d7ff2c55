"""`import tinygrad_nn.torch as torch`: a PyTorch script runs with nothing changed but its imports.

Every module here has the names of its counterpart. What is natural it takes from `tinygrad_nn`, when it is first asked
for (`_door.py`); what only PyTorch needs stands in the files of this package: constructors of a dtype (`_typed.py`),
what there is to know and to set of the machine (`_system.py`), files (`_files.py`), `compile` (`_compile.py`). What
differs from PyTorch is listed in docs/from_pytorch.md.
"""

from typing import TYPE_CHECKING

from ..tensor.functions import mm as spmm  # noqa: F401  tensors are dense
from ..transforms import vmap as vmap
from . import cuda as cuda
from ._compile import compile as compile
from ._door import door
from ._files import load as load
from ._files import save as save
from ._system import *
from ._typed import *
from .amp import GradScaler as GradScaler
from .amp import autocast as autocast

if TYPE_CHECKING:
    from .. import *  # type: ignore[assignment]

# as PyTorch, which has many of `F` here too
__getattr__, __dir__ = door(__name__, "", "functional", "random", files="random special")
