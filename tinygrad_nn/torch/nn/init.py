"""`torch.nn.init`."""

from typing import TYPE_CHECKING

from .._door import door

if TYPE_CHECKING:
    from ...nn.init import *

__getattr__, __dir__ = door(__name__, "nn.init")
