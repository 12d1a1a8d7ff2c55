"""`torch.utils.data.sampler`."""

from ....data import *
