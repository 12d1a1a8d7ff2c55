"""`torch.mps`, of which there is none."""

from ._system import always

device_count, empty_cache, manual_seed, synchronize = always(0), always(None), always(None), always(None)
