"""`torch.distributions.kl`."""

from ...distributions.kl import *
