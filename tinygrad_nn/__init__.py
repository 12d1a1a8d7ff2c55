"""tinygrad_nn: define it like PyTorch, check it like a mathematician, run it faster than hand-written Rust."""

from . import autograd as autograd
from .anomaly import detect_anomaly as detect_anomaly
from .autograd import Function as Function
from .checkpoint import checkpoint as checkpoint
from .tensor import Tensor as Tensor
from .tensor import enable_grad as enable_grad
from .tensor import no_grad as no_grad
from .tensor import set_grad_enabled as set_grad_enabled
