"""`torch.distributions.multivariate_normal`."""

from ...distributions import *
