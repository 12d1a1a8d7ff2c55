"""`torch.autograd`."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ...anomaly import detect_anomaly
from ...tensor import Tensor
from ...testing.gradcheck import gradients_agree as gradcheck  # noqa: F401
from ...testing.gradcheck import second_gradients_agree as gradgradcheck  # noqa: F401
from .._door import door

if TYPE_CHECKING:
    from ...anomaly import *
    from ...autograd import *
    from ...tensor import *

__getattr__, __dir__ = door(__name__, "autograd", "anomaly", "tensor", "testing", files="function variable")


class _Variable:
    """What tensors were called that had a gradient. Every tensor is one."""

    def __call__(self, data: Tensor, requires_grad: bool = False, volatile: Any = None) -> Tensor:
        """The same elements."""
        return data.detach().requires_grad_() if requires_grad else data

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Tensor)


Variable = _Variable()


def set_detect_anomaly(mode: bool, check_nan: bool = True) -> Any:
    """`detect_anomaly`, or nothing, as a context; alone it changes nothing."""
    return detect_anomaly() if mode else nullcontext()
