"""`torch.nn.parameter`."""

from typing import TYPE_CHECKING

from .._door import door

if TYPE_CHECKING:
    from ...nn.parameter import *

__getattr__, __dir__ = door(__name__, "nn.parameter")
