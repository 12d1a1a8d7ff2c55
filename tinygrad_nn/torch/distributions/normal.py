"""`torch.distributions.normal`."""

from ...distributions import *
