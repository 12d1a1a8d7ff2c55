"""`torch.distributions.constraints`."""

from ...distributions.constraints import *
