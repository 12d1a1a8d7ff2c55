"""Tensors that a Module owns: parameters are trained, buffers are not."""

from __future__ import annotations

from typing import Any

from ..graph.graph import DType
from ..support.settings import flags
from ..tensor import Tensor
from ..tensor.core import constant
from ..tensor.creation import as_tensor, zeros


class Parameter(Tensor):
    """A tensor that is trained. Copies nothing; operations on it give plain tensors.

    >>> import tinygrad_nn as tg
    >>> tg.nn.Parameter(tg.ones(2)).requires_grad
    True
    """

    __slots__ = ("made",)

    made: DType  # the dtype it was drawn in, where it has another one now

    @flags
    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        node = as_tensor(data).detach().node
        self.node = node if node.value is None else constant(node.value)  # in a function that is traced there is none
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that belongs to a module's state and is not trained; a persistent one is part of state_dict.

    One made of a leaf that requires grad does too: optimizers do not see it, gradients and checks of them do.

    >>> import tinygrad_nn as tg
    >>> module = tg.nn.Module()
    >>> module.count = tg.nn.Buffer(tg.zeros(2))
    >>> [name for name, _ in module.named_buffers()]
    ['count']
    """

    __slots__ = ("persistent",)

    @flags
    def __init__(self, data: Any, persistent: bool = True) -> None:
        given = as_tensor(data)
        self.node = constant(given.detach().node.value)
        self.persistent = persistent
        if given.requires_grad and given.is_leaf:
            self.requires_grad_()


class Statistic(Buffer):
    """A buffer that is learnt from data, and has its length: as long as it has none, it is loaded with any."""

    __slots__ = ()


class UninitializedParameter(Parameter):
    """The parameter of a lazy layer before its first call: no elements yet, loaded with any.

    >>> import tinygrad_nn as tg
    >>> isinstance(tg.nn.LazyLinear(3).weight, tg.nn.UninitializedParameter)
    True
    """

    __slots__ = ()

    @flags
    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(zeros(0, dtype=dtype), requires_grad)


class UninitializedBuffer(Buffer):
    """The same for a buffer.

    >>> import tinygrad_nn as tg
    >>> isinstance(tg.nn.LazyBatchNorm1d().running_mean, tg.nn.UninitializedBuffer)
    True
    """

    __slots__ = ()

    @flags
    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None) -> None:
        super().__init__(zeros(0, dtype=dtype))
