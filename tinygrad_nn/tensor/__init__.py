"""Tensors: the handle and the gate (`core`), methods in layers, creation, and the functions of the top level."""

from .tensor import Tensor as Tensor
from .tensor import enable_grad as enable_grad
from .tensor import no_grad as no_grad
from .tensor import set_grad_enabled as set_grad_enabled
