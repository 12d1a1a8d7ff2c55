"""C on a Cortex-M4: how large it is, and that it passes its own test in an emulator."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.export.cases import stepping
from tinygrad_nn import nn, optim
from tinygrad_nn.export.c import c

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
DEVICE = ("-Os", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
MISSING = [name for name in ("arm-none-eabi-gcc", "arm-none-eabi-size") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no programs {MISSING} (apt install gcc-arm-none-eabi)")

# What runs before main: the stack, the unit for floats, and, behind it, the end of the emulator with main's result.
START = """
extern int main(void);
extern unsigned stack_top[];
void reset(void);
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {stack_top, (const void *)reset};
void reset(void) {
    static unsigned reason[2];
    register unsigned call __asm("r0") = 0x20;
    register unsigned *block __asm("r1") = reason;
    *(volatile unsigned *)0xE000ED88u |= 0xFu << 20;
    __asm volatile("dsb\\n\\tisb");
    reason[0] = 0x20026;
    reason[1] = (unsigned)main();
    call = 0x20;
    block = reason;
    __asm volatile("bkpt 0xAB" : : "r"(call), "r"(block) : "memory");
    for (;;) {
    }
}
"""
LAYOUT = """
MEMORY { rom (rx) : ORIGIN = 0, LENGTH = 4M  ram (rw) : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > rom
  .ARM.exidx : { *(.ARM.exidx*) } > rom
  .data : { *(.data*) *(.bss*) *(COMMON) } > ram
  stack_top = ORIGIN(ram) + LENGTH(ram);
}
"""


def iris() -> tuple[nn.Module, Any, Any, Any]:
    """The model with its scaler, a step, and a batch of flowers and species."""
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(30, 4)) + 4).astype(np.float32), rng.integers(0, 3, 30)
    model = nn.Sequential(nn.StandardScaler().fit(x), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, stepping(model, optim.SGD(model.parameters(), lr=0.01)), x, y


def code(source: Path) -> int:
    """Bytes of code and constants."""
    target = source.with_suffix(".o")
    subprocess.run(["arm-none-eabi-gcc", *STRICT, *DEVICE, "-c", source, "-o", target], check=True)
    told = subprocess.run(["arm-none-eabi-size", target], check=True, capture_output=True, text=True).stdout
    text, data, bss = map(int, told.splitlines()[1].split()[:3])
    assert data == bss == 0
    return text


def arena(source: Path) -> int:
    """Bytes of memory, as the header says."""
    found = re.search(r"ARENA_BYTES (\d+)", source.with_suffix(".h").read_text())
    assert found is not None
    return int(found[1])


def test_iris_is_small(tmp_path: Path) -> None:
    model, step, x, y = iris()
    one = c(model, x[:1], path=tmp_path / "one.c", golden=0)
    assert code(one) <= 1500
    assert arena(one) <= 800
    folded = c(model, x[:1], path=tmp_path / "folded.c", golden=0, fold=True)
    assert code(folded) < code(one)
    trained = c(model, x[:1], path=tmp_path / "trained.c", golden=0, train=(step, x, y))
    assert code(trained) <= 6000


def emulated(source: Path, *flags: str) -> int:
    """What `main` returns on the device."""
    folder = source.parent
    start, layout, program = folder / "start.c", folder / "layout.ld", folder / "program.elf"
    start.write_text(START)
    layout.write_text(LAYOUT)
    compiled = ["arm-none-eabi-gcc", *DEVICE, "-c"]
    subprocess.run([*compiled, start, "-o", folder / "start.o"], check=True)
    subprocess.run([*compiled, *STRICT, *flags, source, "-o", folder / "model.o"], check=True)
    linked = [*DEVICE, "-nostdlib", "-T", layout]
    objects = [folder / "start.o", folder / "model.o", "-lgcc"]
    subprocess.run(["arm-none-eabi-gcc", *linked, *objects, "-o", program], check=True)
    machine = ["-M", "mps2-an386", "-cpu", "cortex-m4", "-nographic", "-semihosting"]
    return subprocess.run(["qemu-system-arm", *machine, "-kernel", program], timeout=120).returncode


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="no qemu-system-arm (apt install qemu-system-arm)")
def test_model_and_step_pass_their_own_test_on_the_device(tmp_path: Path) -> None:
    model, step, x, y = iris()
    source = c(model, x[:1], path=tmp_path / "m.c", train=(step, x, y))
    assert emulated(source, "-DMODEL_MAIN") == 0
    text = source.read_text()
    broken = re.sub(r"(model_run_out0\[\d+\]\[3\] = \{\s*\{\s*)\S+,", r"\g<1>1.0f,", text)
    assert broken != text
    source.write_text(broken)
    assert emulated(source, "-DMODEL_MAIN") == 1
