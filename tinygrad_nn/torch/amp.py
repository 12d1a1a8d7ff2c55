"""`torch.amp`: mixed precision, which on a CPU in full precision means nothing; losses are not scaled."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

from ._system import always


class autocast(ContextDecorator):
    """A block in which numbers keep their precision."""

    def __init__(self, *settings: Any, **more: Any) -> None:
        """What it is told means nothing."""

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing was changed."""


class GradScaler:
    """Scales by 1: `scale(loss).backward(); unscale_(opt); step(opt); update()` is `loss.backward(); opt.step()`."""

    unscale_ = update = load_state_dict = always(None)
    get_scale, is_enabled = always(1.0), always(False)

    def __init__(self, *settings: Any, **more: Any) -> None:
        """What it is told means nothing."""

    def scale(self, outputs: Any) -> Any:
        """The same."""
        return outputs

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """A step of the optimizer."""
        return optimizer.step(*args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}
