"""`torch.nn.modules.module`."""

from ....nn.module import Module as Module
