"""`torch.nn.modules`."""

from ....nn import *
from ..._door import door

__getattr__, __dir__ = door(__name__, "nn")
