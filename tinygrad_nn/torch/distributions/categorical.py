"""`torch.distributions.categorical`."""

from typing import TYPE_CHECKING

from .._door import door

if TYPE_CHECKING:
    from ...distributions import *

__getattr__, __dir__ = door(__name__, "distributions")
