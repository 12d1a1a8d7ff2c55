"""`torch.backends`: libraries for devices that there are not. They are asked for and set, and are never available."""

from typing import Any

from ._door import place


class Backend:
    """One library. Its attributes may be set, and mean nothing."""

    enabled = benchmark = deterministic = allow_tf32 = False

    def is_available(self) -> bool:
        """No."""
        return False

    is_built = is_available

    def version(self) -> None:
        """None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        part = vars(self)[name] = Backend()
        return part


for _name in ("cudnn", "mps", "cuda", "mkl", "mkldnn", "openmp", "opt_einsum", "xeon"):
    place(f"{__name__}.{_name}", Backend())
