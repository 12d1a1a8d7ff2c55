"""`torch.nn.modules`."""

from ....nn import *
