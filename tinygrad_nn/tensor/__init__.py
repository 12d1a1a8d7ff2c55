"""Tensors: the handle and the gate (`core`), methods in layers, creation, and the functions of the top level."""

from .tensor import Tensor as Tensor
