"""`torch.special`."""

from typing import TYPE_CHECKING

from ._door import door

if TYPE_CHECKING:
    from .. import *

__getattr__, __dir__ = door(__name__, "")
