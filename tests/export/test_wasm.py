"""WebAssembly: a model, a step and a training run give in Node what they give in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_nn as tg
from tests.export.cases import Outputs, batch
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import ExportError

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no program `node` (apt install nodejs)")


def node(folder: Path, script: str) -> Any:
    """What a script that imports `./m.js` writes as JSON to its standard output."""
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "main.js").write_text('import { load } from "./m.js";\n' + script)
    found = subprocess.run(["node", "main.js"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr[:3000]
    return json.loads(found.stdout)


MODELS = {
    "iris": lambda: (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(-1)), batch(30, 4)),
    "lstm": lambda: (Outputs(nn.LSTM(5, 6, batch_first=True)), batch(2, 40, 5)),
    "cnn": lambda: (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), batch(2, 1, 8, 8)),
    "double": lambda: (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4)).double(), batch(3, 3).astype(float)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_models_give_the_same_numbers(kind: str, tmp_path: Path) -> None:
    tg.manual_seed(0)
    model, x = MODELS[kind]()
    tg.export.wasm(model, x, path=tmp_path / "m.wasm")
    call = f"(await load()).run({json.dumps(x.reshape(-1).tolist())})"
    found = node(tmp_path, f"console.log(JSON.stringify(Array.from(({call}).out)));")
    wanted = model(x).detach().numpy().reshape(-1)
    np.testing.assert_allclose(np.array(found, wanted.dtype), wanted, rtol=2e-6, atol=1e-6)


def trained(optimizer: str) -> Any:
    """A model with its step, and data."""
    tg.manual_seed(4)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = getattr(optim, optimizer)(model.parameters(), lr=0.05)
    x, y = batch(50, 4), np.random.default_rng(2).integers(0, 3, 50)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    def evaluate() -> dict[str, tg.Tensor]:
        return {"accuracy": (model(tg.tensor(x)).argmax(-1) == tg.tensor(y)).float().mean()}

    return step, evaluate, x, y


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("rows", [50, 16])
def test_a_training_run_is_that_of_fit(optimizer: str, rows: int, tmp_path: Path) -> None:
    step, evaluate, x, y = trained(optimizer)
    tg.export.wasm(step, x[:rows], y[:rows], path=tmp_path / "m.wasm", data=(x, y), evaluate=evaluate)
    show = "{ loss: Array.from(h.loss), accuracy: Array.from(h.accuracy) }"
    script = f"const m = await load(), h = m.train(30); console.log(JSON.stringify({show}));"
    found = node(tmp_path, script)
    history = tg.fit(step, (x, y), epochs=30, batch_size=rows, shuffle=False, evaluate=evaluate, progress=False)
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-4)
    np.testing.assert_allclose(found["accuracy"], history["accuracy"], atol=0.021)


def test_names_and_wrong_numbers_are_said(tmp_path: Path) -> None:
    step, _, x, y = trained("SGD")
    tg.export.wasm(step, x, y, path=tmp_path / "m.wasm")
    values = f"{json.dumps(x.reshape(-1).tolist())}, {json.dumps([7, *y[1:].tolist()])}"
    tries = (f"m.run({values})", "m.get('nothing')", "m.set('0.bias', [1, 2])")
    script = "const m = await load(), said = [], tries = ["
    script += ", ".join(f"() => {one}" for one in tries) + "];\n"
    script += "for (const one of tries) { try { one(); said.push(''); } catch (e) { said.push(e.message); } }\n"
    script += "said.push(Array.from(m.get('0.bias'))); console.log(JSON.stringify(said));"
    label, name, length, bias = node(tmp_path, script)
    assert "cross_entropy" in label
    assert "nothing" in name
    assert "0.bias" in name
    assert "2 numbers" in length
    assert len(bias) == 8


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    step, evaluate, x, y = trained("SGD")

    def reads() -> dict[str, tg.Tensor]:
        found = evaluate()
        return found if found["accuracy"] > 0 else {"accuracy": tg.tensor(0.0)}

    for call, words in (
        (lambda: tg.export.wasm(nn.Linear(4, 2), x, path=tmp_path / "m.wasm", data=(x,)), "a step"),
        (lambda: tg.export.wasm(step, x, y, path=tmp_path / "m.wasm", data=(x, y[:7])), "lengths"),
        (lambda: tg.export.wasm(step, x, y, path=tmp_path / "m.wasm", data=(x, y), evaluate=reads), "reads values"),
    ):
        with pytest.raises((ExportError, tg.errors.TraceError), match=words):
            call()
    assert not [*tmp_path.iterdir()]
