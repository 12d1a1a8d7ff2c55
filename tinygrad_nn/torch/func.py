"""`torch.func`: functions of functions."""

from ..transforms import *
from ._door import door

__getattr__, __dir__ = door(__name__, "transforms")
