"""What code is made for: a value that the driver hands to its stages. None of them asks what machine it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..graph.graph import DType
from ..graph.scalar import FLOAT64

NEVER: Final = 2**62  # multiply-adds that no product has
FIRST: Final = 2**15  # bytes that the first cache of any of today's processors holds
SECOND: Final = 2**19  # that the second one holds
THIRD: Final = 2**21  # that a processor has beside for each core


@dataclass(frozen=True, slots=True)
class Target:
    """A processor in LLVM's words.

    width    bytes of a vector
    fma      whether it multiplies and adds with one rounding; else such steps are written out
    float64  whether it calculates in float64 itself; else a library of its compiler does, which has no such step
    blas     whether its code may call the BLAS of this process
    blas_from  multiply-adds of a product from which that was measured to be faster; 0 where nobody looked
    threads  how many of them run its code together, at most
    plain    whether what comes from outside and what is returned lies in row-major order, and nothing is padded
    compact  whether code has to be small, as it is downloaded or lies in a flash memory: less is written out
    """

    triple: str
    cpu: str
    features: str
    width: int
    fma: bool
    float64: bool = True
    blas: bool = False
    blas_from: int = 0
    threads: int = 1
    plain: bool = False
    compact: bool = False

    @property
    def registers(self) -> int:
        """How many registers hold vectors."""
        return 32 if self.width == 64 or self.triple.startswith(("aarch64", "arm64", "riscv")) else 16

    @property
    def products(self) -> int:
        """Multiply-adds from which large products are left to a BLAS."""
        return self.blas_from if self.blas else NEVER

    def fuses(self, dtype: DType) -> bool:
        """Whether it multiplies and adds numbers of this dtype with one rounding."""
        return self.fma and (self.float64 or dtype != FLOAT64)


TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        "wasm32": Target("wasm32-unknown-unknown", "generic", "+simd128,+nontrapping-fptoint", 16, False, compact=True),
        "aarch64-linux": Target("aarch64-unknown-linux-gnu", "generic", "+neon", 16, True),
        "cortex-m0": Target("thumbv6m-none-eabi", "cortex-m0", "", 8, False, float64=False, compact=True),
        "cortex-m4": Target("thumbv7em-none-eabihf", "cortex-m4", "+vfp4d16sp", 8, True, float64=False, compact=True),
        "cortex-m7": Target("thumbv7em-none-eabihf", "cortex-m7", "+fp-armv8d16", 8, True, compact=True),
        "riscv32": Target("riscv32-unknown-none-elf", "generic-rv32", "+m,+f,+d", 8, True, compact=True),
        "riscv64": Target("riscv64-unknown-linux-gnu", "generic-rv64", "+m,+a,+f,+d,+c", 8, True),
    }
)
"""Other machines that objects are written for: a fixed list, since LLVM's assertions end the process for some."""
