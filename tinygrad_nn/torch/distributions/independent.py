"""`torch.distributions.independent`."""

from ...distributions import *
