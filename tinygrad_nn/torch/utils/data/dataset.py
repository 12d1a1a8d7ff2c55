"""`torch.utils.data.dataset`."""

from ....data import *
