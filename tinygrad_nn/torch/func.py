"""`torch.func`: functions of functions, and modules as functions of their parameters."""

from ..nn.utils.stateless import functional_call as functional_call
from ..nn.utils.stateless import stack_module_state as stack_module_state
from ..transforms import *
from ..transforms import jacobian
from ._door import door

__getattr__, __dir__ = door(__name__, "transforms")
jacrev = jacfwd = jacobian
