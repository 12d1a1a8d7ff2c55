"""`torch.nn.parameter`."""

from ...nn.parameter import *
