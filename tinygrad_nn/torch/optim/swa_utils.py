"""`torch.optim.swa_utils`."""

from typing import TYPE_CHECKING

from .._door import door

if TYPE_CHECKING:
    from ...nn.averaged import *
    from ...optim.lr_scheduler import SWALR as SWALR

__getattr__, __dir__ = door(__name__, "nn.averaged", "optim.lr_scheduler")
