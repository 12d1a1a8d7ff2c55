"""`torch.nn.utils.parametrize`."""

from ....nn.utils.parametrize import *
from ..._door import door

__getattr__, __dir__ = door(__name__, "nn.utils.parametrize")
