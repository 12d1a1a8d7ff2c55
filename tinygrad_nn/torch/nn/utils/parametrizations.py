"""`torch.nn.utils.parametrizations`."""

from ....nn.utils.parametrizations import *
from ..._door import door

__getattr__, __dir__ = door(__name__, "nn.utils.parametrizations")
