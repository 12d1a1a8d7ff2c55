"""`torch.distributions.transforms`."""

from ...distributions.transforms import *
