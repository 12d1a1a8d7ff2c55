"""`torch.optim.lr_scheduler`."""

from typing import TYPE_CHECKING

from .._door import door

if TYPE_CHECKING:
    from ...optim.lr_scheduler import *

__getattr__, __dir__ = door(__name__, "optim.lr_scheduler")
