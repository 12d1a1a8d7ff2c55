"""`torch.func`: functions of functions."""

from typing import TYPE_CHECKING

from ._door import door

if TYPE_CHECKING:
    from ..transforms import *

__getattr__, __dir__ = door(__name__, "transforms")
