"""`torch.optim.optimizer`."""

from ...optim.optimizer import *
