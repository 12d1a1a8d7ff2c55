"""`torch.optim.lr_scheduler`."""

from ...optim.lr_scheduler import *
from ...optim.lr_scheduler import LRScheduler as _LRScheduler  # noqa: F401
from .._door import door

__getattr__, __dir__ = door(__name__, "optim.lr_scheduler")
