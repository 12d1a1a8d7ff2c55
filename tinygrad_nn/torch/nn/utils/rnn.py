"""`torch.nn.utils.rnn`."""

from ....nn.utils.rnn import *
from ..._door import door

__getattr__, __dir__ = door(__name__, "nn.utils.rnn")
