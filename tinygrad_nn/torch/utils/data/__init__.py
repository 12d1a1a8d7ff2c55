"""`torch.utils.data`: datasets, samplers and loaders, which are those of `tinygrad_nn.data`."""

from ....data import *
from ..._door import door

__getattr__, __dir__ = door(__name__, "data", files="dataloader dataset sampler")
