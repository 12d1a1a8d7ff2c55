"""`torch.nn`."""

from typing import Any

from ...nn import *
from ...nn import Module
from .._door import door

__getattr__, __dir__ = door(__name__, "nn", files="parallel parameter")


class DataParallel(Module):
    """A module around another, on the one device that there is; in its state are the names of `module`."""

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0, **more: Any):
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        return self.module(*args, **kwargs)


DistributedDataParallel = DataParallel
