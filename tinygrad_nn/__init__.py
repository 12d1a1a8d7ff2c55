"""tinygrad_nn: define it like PyTorch, check it like a mathematician, run it faster than hand-written Rust."""

from .tensor import Tensor as Tensor
