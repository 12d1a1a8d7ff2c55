"""`torch.linalg`."""

from ._door import door

__getattr__, __dir__ = door(__name__, "linalg")
