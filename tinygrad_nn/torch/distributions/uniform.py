"""`torch.distributions.uniform`."""

from ...distributions import *
