"""`torch.autograd.variable`."""

from . import Variable as Variable
