"""How tensors are printed."""

from __future__ import annotations

from typing import Any, Final

from ..errors import ConfigError, message
from ..support.settings import integer, number, shown, typed
from .tensor import PRINTED


@typed
def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors are printed; a profile sets all of it.

    >>> import tinygrad_nn as tg
    >>> tg.set_printoptions(precision=2)
    >>> tg.tensor([1 / 3])
    tensor([0.33])
    >>> tg.set_printoptions(profile="default")
    """
    if profile not in (None, *_PROFILES):
        raise ConfigError(message("set_printoptions", f"profile {shown(profile)}", " or ".join(_PROFILES)))
    for name, value, least in (("precision", precision, 0), ("edgeitems", edgeitems, 1), ("linewidth", linewidth, 1)):
        if value is not None:
            integer("set_printoptions", name, value, least=least)
    if threshold is not None:
        threshold = float(number("set_printoptions", "threshold", threshold, least=0, finite=False))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "max_line_width": linewidth}
    PRINTED.update(_PROFILES.get(profile, {}))
    PRINTED.update({name: value for name, value in given.items() if value is not None})
    if sci_mode is not None:
        PRINTED["suppress_small"] = not sci_mode


_PROFILES: Final[dict[Any, dict[str, Any]]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "max_line_width": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "max_line_width": 80},
    "full": {"precision": 4, "threshold": 2**62, "edgeitems": 3, "max_line_width": 80},
}
