"""`torch.nn.utils.parametrizations`."""

from typing import TYPE_CHECKING

from ..._door import door

if TYPE_CHECKING:
    from ....nn.utils.parametrizations import *

__getattr__, __dir__ = door(__name__, "nn.utils.parametrizations")
