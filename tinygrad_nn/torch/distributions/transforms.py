"""`torch.distributions.transforms`."""

from typing import TYPE_CHECKING

from .._door import door

if TYPE_CHECKING:
    from ...distributions.transforms import *

__getattr__, __dir__ = door(__name__, "distributions.transforms")
