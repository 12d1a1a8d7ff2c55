"""`torch.optim.optimizer`."""

from ...optim.optimizer import *
from .._door import door

__getattr__, __dir__ = door(__name__, "optim.optimizer")
