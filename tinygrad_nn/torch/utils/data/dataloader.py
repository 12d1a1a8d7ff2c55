"""`torch.utils.data.dataloader`."""

from ....data import *
