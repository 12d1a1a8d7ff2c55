"""`torch.nn`."""

from typing import TYPE_CHECKING

from .._door import door

if TYPE_CHECKING:
    from ...nn import *
    from ...nn.utils import *

__getattr__, __dir__ = door(__name__, "nn", "nn.utils")
