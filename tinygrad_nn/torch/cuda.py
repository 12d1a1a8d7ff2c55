"""`torch.cuda`, `accelerator`, `mps` and `xpu`, of which there is none: what they are asked has an answer, and what
needs such a device is a missing name.
"""

import sys

from . import amp as amp
from ._door import door, place
from ._system import always

__getattr__, __dir__ = door(__name__)
place(f"{__name__}.amp", amp)
for _name in ("accelerator", "mps", "xpu"):
    place(__name__.replace("cuda", _name), sys.modules[__name__])

is_available = is_initialized = is_bf16_supported = always(False)
device_count = memory_allocated = max_memory_allocated = memory_reserved = max_memory_reserved = always(0)
current_accelerator = empty_cache = synchronize = manual_seed = manual_seed_all = reset_peak_memory_stats = always(None)
