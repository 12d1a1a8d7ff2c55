"""A thermostat that learns its house in Python, and goes on learning in another one, on a microcontroller.

    python examples/embedded/thermostat.py               train, and write thermostat.c and thermostat.h
    python examples/embedded/thermostat.py --run         compile all for a Cortex-M4 and run it in qemu

From indoor and outdoor temperature and the heater's power it predicts how much warmer the room will be in ten minutes.
In Python it learns a simulated house. `main.c` puts the same network, weights and training step into a draughtier one,
where it switches the heater by its own predictions and does one update every ten minutes, on the last 16 of them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import ConfigError, message

HERE = Path(__file__).parent
WINDOW = 16  # measurements that an update is made on
DEVICE = ("-Os", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
TOOLS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")


def house(rows: int, loss: float = 0.02, gain: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Ten minutes of a house, so many times: (indoor, outdoor, heater 0..1), and by how many degrees it got warmer.

    Of each degree that it is warmer than outside it loses `loss`; the heater gives `gain`.
    """
    rng = np.random.default_rng(0)
    indoor, outdoor, heater = rng.uniform(14, 24, rows), rng.uniform(-10, 18, rows), rng.integers(0, 2, rows)
    warmer = gain * heater - loss * (indoor - outdoor) + rng.normal(0, 0.01, rows)
    return np.stack([indoor, outdoor, heater], 1).astype(np.float32), warmer[:, None].astype(np.float32)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, export, and where asked to compile and run."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where thermostat.c goes (default: here)")
    p.add_argument("--run", action="store_true", help="compile it for a Cortex-M4 and run it in qemu")
    options = p.parse_args(argv)

    tg.manual_seed(0)
    x, y = house(2000)
    scaler = nn.StandardScaler().fit(x).float()
    model = nn.Sequential(scaler, nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    learned = optim.Adam(model.parameters(), lr=0.01)
    learning = optim.SGD(model.parameters(), lr=0.05)  # what goes on on the device: no memory but the weights

    def update(opt: optim.Optimizer, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        return loss

    history = tg.fit(tg.jit(lambda x, y: update(learned, x, y)), (x, y), epochs=60, batch_size=50, progress=False)
    print(f"in Python: {history['loss'][-1] ** 0.5:.3f} degrees off in ten minutes")

    step = tg.jit(lambda x, y: update(learning, x, y))
    options.out.mkdir(parents=True, exist_ok=True)
    source = tg.export.c(
        model, x[:1], path=options.out / "thermostat.c", name="thermostat", train=(step, x[:WINDOW], y[:WINDOW])
    )
    print(f"wrote {source} and {source.with_suffix('.h')}")
    if options.run:
        print(run(source), end="")


def run(source: Path) -> str:
    """What the device says. Raises ConfigError where a tool is missing, or the program does not end well."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        hint = "apt install gcc-arm-none-eabi qemu-system-arm"
        raise ConfigError(message("--run", f"no program {missing[0]}", "a compiler and an emulator", hint))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "thermostat.elf"
        sources = [source, HERE / "main.c", HERE / "board.c"]
        linked = ["-nostdlib", "-T", HERE / "board.ld", "-I", source.parent, "-o", program]
        subprocess.run([TOOLS[0], *STRICT, *DEVICE, *sources, *linked, "-lgcc"], check=True)
        size = subprocess.run([TOOLS[1], program], check=True, capture_output=True, text=True).stdout.split()[6]
        machine = ["-M", "mps2-an386", "-cpu", "cortex-m4", "-nographic", "-semihosting", "-kernel", program]
        done = subprocess.run([TOOLS[2], *machine], capture_output=True, text=True, timeout=120, check=False)
    told = done.stdout + done.stderr  # emulators differ in where a program's words go
    if done.returncode:
        raise ConfigError(message("--run", f"{done.returncode} from the program, and: {told}", "one that learns"))
    return f"{int(size):,} bytes of code and constants on a Cortex-M4\n{told}"


if __name__ == "__main__":
    main()
