"""`torch.nn.utils.parametrize`."""

from ....nn.utils.parametrize import *
