"""`torch.distributions.bernoulli`."""

from ...distributions import *
