"""A model that is the running mean of another one: of all its states (SWA: Izmailov et al., UAI 2018), or of the latest
ones (EMA). PyTorch has it in `torch.optim.swa_utils`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from ..errors import ConfigError, message
from ..ops.rules import INT64
from ..support.settings import flags, number, shown
from ..tensor import Tensor, no_grad
from ..tensor.creation import zeros
from .module import Module

Average = Callable[[Tensor, Tensor, Any], Tensor]
Averages = Callable[[list[Tensor], list[Tensor], Any], None]


def get_swa_avg_fn() -> Average:
    """The mean of all: mean + (new - mean) / (n + 1)."""
    return lambda averaged, new, n: averaged + (new - averaged) / (n + 1)


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The mean of the latest: decay * mean + (1 - decay) * new."""
    share = number("get_ema_avg_fn", "decay", decay, least=0, most=1)
    return lambda averaged, new, n: averaged * share + new * (1 - share)


def get_swa_multi_avg_fn() -> Averages:
    """`get_swa_avg_fn` for lists of parameters, in place."""
    return _for_lists(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """`get_ema_avg_fn` for lists of parameters, in place."""
    return _for_lists(get_ema_avg_fn(decay))


def _for_lists(average: Average) -> Averages:
    def update(averaged: list[Tensor], new: list[Tensor], n: Any) -> None:
        for p, q in zip(averaged, new, strict=True):
            p.copy_(average(p, q, n))

    return update


class AveragedModel(Module):
    """A copy of a model, `module`, to which `update_parameters(model)` adds how the model is now; by default the mean
    of all states. The first is copied. With `use_buffers` buffers are averaged too, else they are the latest.

    >>> import tinygrad_nn as tg
    >>> model = tg.nn.Linear(1, 1, bias=False)
    >>> mean = AveragedModel(model)
    >>> for value in (1.0, 3.0):
    ...     model.weight.data.fill_(value)
    ...     mean.update_parameters(model)
    tensor([[1.]])
    tensor([[3.]])
    >>> mean.module.weight.item()
    2.0
    """

    _whole = True

    @flags
    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(model, Module):
            raise ConfigError(message("AveragedModel", f"model {shown(model)}", "a module"))
        if avg_fn is not None and multi_avg_fn is not None:
            raise ConfigError(message("AveragedModel", "avg_fn and multi_avg_fn", "one of the two"))
        self.module = deepcopy(model)
        self.register_buffer("n_averaged", zeros(dtype=INT64))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def reset_parameters(self) -> None:
        """Draw the copy again; it is a mean of nothing yet."""
        count: Any = self.n_averaged
        self.module.reset_parameters()
        count.zero_()

    def update_parameters(self, model: Module) -> None:
        """Take another state of the model into the mean."""
        count: Any = self.n_averaged
        with no_grad():
            averaged, new = list[Tensor](self.module.parameters()), list[Tensor](model.parameters())
            own, others = list[Tensor](self.module.buffers()), list[Tensor](model.buffers())
            if self.use_buffers:
                averaged, new, own, others = averaged + own, new + others, [], []
            if len(averaged) != len(new) or any(p.shape != q.shape for p, q in zip(averaged, new, strict=True)):
                raise ConfigError(message("AveragedModel", "another model", "parameters of the same shapes"))
            plain = [q.detach() for q in new]
            kept = [p.detach() for p in averaged]
            if self.multi_avg_fn is not None:
                self.multi_avg_fn(kept, plain, count)
            else:
                _for_lists(self.avg_fn or get_swa_avg_fn())(kept, plain, count)
            for p, q in zip([*kept, *(b.detach() for b in own)], [*plain, *others], strict=True):
                p.copy_(q if any(q is one for one in others) else q.where(count == 0, p))
            count.add_(1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Work the running statistics of normalization layers out again, as the mean over the batches of a loader; of a
    batch that is a list or a tuple the first entry is the input.
    """
    layers = [layer for layer in model.modules() if hasattr(layer, "reset_running_stats")]
    if not layers:
        return
    momenta = [getattr(layer, "momentum", None) for layer in layers]
    training = model.training
    model.train()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    with no_grad():
        for batch in loader:
            model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(training)
