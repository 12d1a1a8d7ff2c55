"""`torch.accelerator`: there is none."""

from ._system import always

is_available, device_count, current_accelerator, synchronize = always(False), always(0), always(None), always(None)
