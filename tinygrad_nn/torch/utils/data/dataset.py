"""`torch.utils.data.dataset`."""

from typing import TYPE_CHECKING

from ..._door import door

if TYPE_CHECKING:
    from ....data import *

__getattr__, __dir__ = door(__name__, "data")
