"""`torch.random`."""

from ..random import manual_seed as manual_seed
from ._system import get_rng_state as get_rng_state
from ._system import initial_seed as initial_seed
from ._system import seed as seed
from ._system import set_rng_state as set_rng_state
