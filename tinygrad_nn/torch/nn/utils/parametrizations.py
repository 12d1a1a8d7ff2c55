"""`torch.nn.utils.parametrizations`."""

from ....nn.utils.parametrizations import *
