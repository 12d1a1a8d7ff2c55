"""`torch.distributions.categorical`."""

from ...distributions import *
