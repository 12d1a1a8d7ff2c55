"""`torch.nn.parameter`."""

from ...nn.parameter import *
from .._door import door

__getattr__, __dir__ = door(__name__, "nn.parameter")
