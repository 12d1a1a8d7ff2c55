"""Object code: a library that Python and C call, and objects for each machine that say what they need."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tinygrad_nn import nn
from tinygrad_nn.compiler.target import TARGETS
from tinygrad_nn.errors import ExportError

CALLER = """#include <stdio.h>
#include "m.h"
int main(void) {
    static model_state s;
    float x[12], out[9];
    for (int k = 0; k < 12; k++) x[k] = 0.25f * k - 1;
    model_init(&s);
    if (model_run(x, out, &s)) return 1;
    for (int k = 0; k < 9; k++) printf("%.9g\\n", out[k]);
    return 0;
}
"""


def model() -> nn.Module:
    """A small one."""
    tg.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(-1))


def numbers() -> Any:
    """What the caller in C gives it."""
    return (0.25 * np.arange(12, dtype=np.float32) - 1).reshape(3, 4)


needs_cc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no program `gcc` (apt install gcc)")


@needs_cc
def test_the_loader_needs_numpy_alone(tmp_path: Path) -> None:
    net, x = model(), numbers()
    tg.export.object(net, x, path=tmp_path / "m.so")
    text = (tmp_path / "m.py").read_text()
    assert "tinygrad_nn." not in text.replace("by tinygrad_nn", "")
    found = importlib.util.spec_from_file_location("m", tmp_path / "m.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    np.testing.assert_allclose(module.run(x), net(x).detach().numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"expected \(3, 4\)"):
        module.run(x[:2])


@needs_cc
def test_c_calls_the_object_of_this_machine(tmp_path: Path) -> None:
    net, x = model(), numbers()
    library = tg.export.object(net, x, path=tmp_path / "m.so")
    (tmp_path / "main.c").write_text(CALLER)
    program = tmp_path / "main"
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, str(tmp_path / "main.c"), str(library), "-o", str(program)], check=True)
    found = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose([float(one) for one in found.split()], net(x).detach().numpy().reshape(-1), rtol=1e-6)


@pytest.mark.parametrize("target", [one for one in TARGETS if one != "wasm32"])
def test_every_machine_has_its_object(target: str, tmp_path: Path) -> None:
    made = tg.export.object(model(), numbers(), path=tmp_path / "m.o", target=target).read_bytes()
    assert made[:4] == b"\x7fELF"
    assert b"model_run" in made
    assert b"memcpy" not in made


def test_a_machine_that_is_not_known_is_refused(tmp_path: Path) -> None:
    for target in ("avr", "", "../x", 3):
        with pytest.raises(ExportError, match="cortex-m4"):
            tg.export.object(model(), numbers(), path=tmp_path / "m.o", target=target)
    assert not [*tmp_path.iterdir()]
