"""`torch.distributed`: one process, which is the first."""

from ._door import door
from ._system import always

__getattr__, __dir__ = door(__name__)
is_available = is_initialized = is_torchelastic_launched = always(False)
get_rank, get_world_size, barrier = always(0), always(1), always(None)
