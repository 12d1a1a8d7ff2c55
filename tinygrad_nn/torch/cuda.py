"""`torch.cuda`, of which there is none: its questions are answered, and what needs such a device is a missing name."""

from . import amp as amp
from ._door import door
from ._system import always

__getattr__, __dir__ = door(__name__)

is_available = is_initialized = is_bf16_supported = always(False)
device_count = memory_allocated = max_memory_allocated = memory_reserved = max_memory_reserved = always(0)
empty_cache = synchronize = manual_seed = manual_seed_all = reset_peak_memory_stats = always(None)
