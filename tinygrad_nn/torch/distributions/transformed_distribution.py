"""`torch.distributions.transformed_distribution`."""

from ...distributions import *
