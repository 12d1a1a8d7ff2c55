"""`torch.nn.init`, with the names that its functions had before they ended in `_`."""

from functools import partial

from ...nn import init
from ...nn.init import *
from .._door import door

__getattr__, __dir__ = door(__name__, "nn.init")
_calculate_fan_in_and_fan_out = partial(init._fans, "fans")
constant, dirac, kaiming_normal = init.constant_, init.dirac_, init.kaiming_normal_
kaiming_uniform, normal, orthogonal = init.kaiming_uniform_, init.normal_, init.orthogonal_
uniform, xavier_normal, xavier_uniform = init.uniform_, init.xavier_normal_, init.xavier_uniform_
