"""`torch.nn.utils`."""

from ....nn.utils import *
from ..._door import door

__getattr__, __dir__ = door(__name__, "nn.utils", files="clip_grad convert_parameters")
