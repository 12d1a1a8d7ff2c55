"""`torch.nn.init`, with the names that its functions had before they ended in `_`."""

# ruff: noqa: F401

from ...nn.init import *
from ...nn.init import constant_ as constant
from ...nn.init import dirac_ as dirac
from ...nn.init import kaiming_normal_ as kaiming_normal
from ...nn.init import kaiming_uniform_ as kaiming_uniform
from ...nn.init import normal_ as normal
from ...nn.init import orthogonal_ as orthogonal
from ...nn.init import uniform_ as uniform
from ...nn.init import xavier_normal_ as xavier_normal
from ...nn.init import xavier_uniform_ as xavier_uniform
from .._door import door

__getattr__, __dir__ = door(__name__, "nn.init")
