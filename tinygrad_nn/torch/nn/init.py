"""`torch.nn.init`."""

from ...nn.init import *
from .._door import door

__getattr__, __dir__ = door(__name__, "nn.init")
