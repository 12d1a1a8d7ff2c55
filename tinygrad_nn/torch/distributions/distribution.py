"""`torch.distributions.distribution`."""

from ...distributions import *
