"""WebAssembly: a model, a step and a training run give in Node what they give in Python."""

from __future__ import annotations

import gzip
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


class Attending(nn.Module):
    """Two blocks of a GPT over characters."""

    def __init__(self) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(7, 8), nn.Embedding(6, 8)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True) for _ in range(2))
        self.head = nn.Linear(8, 7)

    def forward(self, text: tg.Tensor) -> tg.Tensor:
        x = self.characters(text) + self.places.weight[: text.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(text.shape[1], dtype=x.dtype)
        for block in self.blocks:
            x = block(x, src_mask=mask)
        return self.head(x).reshape(-1, 7)


class Recurrent(nn.Module):
    """The last output of a recurrent layer, as a number."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.out = layer, nn.Linear(width, 1)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.out(self.layer(x)[0][:, -1])


def labels(count: int, rows: int) -> Any:
    return np.random.default_rng(2).integers(0, count, rows)


def iris() -> Any:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (batch(50, 4), labels(3, 50)), 16


def titanic() -> Any:
    return nn.Sequential(nn.Linear(7, 1)), (batch(40, 7), labels(2, 40)[:, None].astype(float)), 40


def digits() -> Any:
    layers = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4))
    return nn.Sequential(*layers), (batch(12, 1, 8, 8), labels(4, 12)), 5


def fraud() -> Any:
    return Recurrent(nn.RNN(3, 5, nonlinearity="relu", batch_first=True), 5), (batch(6, 5, 3), batch(6, 1)), 1


def payments() -> Any:
    return Recurrent(nn.RNN(9, 10, batch_first=True), 10), (batch(20, 10, 9), batch(20, 1)), 8


def lstm() -> Any:
    return Recurrent(nn.LSTM(3, 5, batch_first=True), 5), (batch(9, 40, 3), batch(9, 1)), 4


def gpt() -> Any:
    text = np.random.default_rng(0).integers(0, 7, (10, 7))
    return Attending(), (text[:, :-1].copy(), text[:, 1:].copy()), 4


LOSSES: dict[Any, Any] = {
    titanic: F.binary_cross_entropy_with_logits,
    gpt: lambda found, y: F.cross_entropy(found, y.reshape(-1)),
    **dict.fromkeys((fraud, payments, lstm), F.mse_loss),
}


def trained(optimizer: str, make: Any = iris, dtype: str = "float32", lr: float = 0.05) -> Any:
    """A model with its step and evaluation, its data, and the rows of a batch."""
    tg.manual_seed(4)
    model, data, rows = make()
    model = model.to(tg.float64) if dtype == "float64" else model
    data = tuple(one.astype(dtype) if one.dtype.kind == "f" else one for one in data)
    opt = getattr(optim, optimizer)(model.parameters(), lr=lr)
    criterion = LOSSES.get(make, F.cross_entropy)

    @tg.jit
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        opt.step()
        return loss

    x, y = map(tg.tensor, data)

    def evaluate() -> dict[str, tg.Tensor]:
        return {"score": criterion(model(x), y)}

    return step, evaluate, data, rows


CURVES = "{ loss: Array.from(h.loss), score: Array.from(h.score) }"


@pytest.mark.parametrize(
    ("make", "optimizer", "dtype"),
    [(iris, "SGD", "float64"), (iris, "Adam", "float32"), (titanic, "SGD", "float64"), (digits, "AdamW", "float64"),
     (fraud, "SGD", "float64"), (payments, "RMSprop", "float32"), (lstm, "Adam", "float64"), (gpt, "AdamW", "float64")],
)  # fmt: skip
def test_a_training_run_is_that_of_fit(make: Any, optimizer: str, dtype: str, tmp_path: Path) -> None:
    step, evaluate, data, rows = trained(optimizer, make, dtype, 0.01)
    example = [one[:rows] for one in data]
    tg.export.wasm(step, *example, path=tmp_path / "m.wasm", data=data, evaluate=evaluate)
    found = node(tmp_path, f"const m = await load(), h = m.train(20); console.log(JSON.stringify({CURVES}));")
    settings: Any = {"epochs": 20, "batch_size": rows, "shuffle": False, "progress": False}
    history = tg.fit(step, data, evaluate=evaluate, **settings)
    for name in ("loss", "score"):
        np.testing.assert_allclose(found[name], history[name], rtol=1e-12 if dtype == "float64" else 1e-4)


def dropping() -> Any:
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 3)), (batch(50, 4), labels(3, 50)), 16


@pytest.mark.parametrize("seed", [None, 5])
def test_a_step_that_draws_too_has_the_numbers_of_fit(seed: int | None, tmp_path: Path) -> None:
    """Without a seed, order and step draw from one generator in turns: then the run itself draws the order."""
    found = []
    for exports in (True, False):
        step, _, data, rows = trained("SGD", dropping, "float64")
        tg.manual_seed(21)
        settings: Any = {"shuffle": True, "seed": seed}
        if exports:
            tg.export.wasm(step, *(one[:rows] for one in data), path=tmp_path / "m.wasm", data=data, **settings)
            found.append(node(tmp_path, "console.log(JSON.stringify([...(await load()).train(9).loss]));"))
        else:
            found.append(tg.fit(step, data, 9, rows, progress=False, **settings)["loss"].tolist())
    np.testing.assert_allclose(*found, rtol=1e-12)


@pytest.mark.parametrize("seed", [None, 5])
def test_many_samples_come_in_the_order_of_fit(seed: int | None, tmp_path: Path) -> None:
    """The ES module draws it, where ranks would cost too much."""
    step, _, _, _ = trained("SGD", dtype="float64")
    x, y = batch(1111, 4).astype(float), labels(3, 1111)
    tg.manual_seed(2**33 + 7)
    tg.export.wasm(step, x[:100], y[:100], path=tmp_path / "m.wasm", data=(x, y), shuffle=True, seed=seed)
    found = node(tmp_path, "console.log(JSON.stringify([...(await load()).train(7).loss]));")
    history = tg.fit(step, (x, y), 7, 100, seed=seed, progress=False)
    np.testing.assert_allclose(found, history["loss"], rtol=1e-12)


@pytest.mark.parametrize("seed", [None, 0, 2**40 + 3])
def test_samples_come_in_the_order_of_fit(seed: int | None, tmp_path: Path) -> None:
    step, evaluate, data, rows = trained("SGD", dtype="float64")
    example = [one[:rows] for one in data]
    tg.manual_seed(11)
    tg.export.wasm(step, *example, path=tmp_path / "m.wasm", data=data, evaluate=evaluate, shuffle=True, seed=seed)
    found = node(tmp_path, f"const m = await load(), h = m.train(20); console.log(JSON.stringify({CURVES}));")
    tg.manual_seed(11)
    settings: Any = {"epochs": 20, "batch_size": rows, "seed": seed, "progress": False}
    history = tg.fit(step, data, evaluate=evaluate, **settings)
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-12)
    np.testing.assert_allclose(found["score"], history["score"], rtol=1e-12)


def test_settings_data_and_weights_can_be_changed(tmp_path: Path) -> None:
    """What the page sets is what Python computes with: the learning rate, the first weights, the rows of the data, of
    which the evaluation has a copy.
    """
    step, evaluate, data, rows = trained("SGD", dtype="float64")
    example = [one[:rows] for one in data]
    tg.export.wasm(step, *example, path=tmp_path / "m.wasm", data=data, evaluate=evaluate)
    x, weight = data[0][::-1] * 2, np.linspace(-0.5, 0.5, 32).reshape(8, 4)
    script = "const m = await load(); m.set('lr', 0.125);\n"
    script += f"m.set('data0', {json.dumps(x.reshape(-1).tolist())});\n"
    script += f"m.set('0.weight', new Float64Array({json.dumps(weight.reshape(-1).tolist())}));\n"
    script += "m.memory.grow(3); const h = m.train(9);\n"
    script += f"const found = {CURVES}; Object.assign(found, {{ state: m.state, weight: [...m.get('0.weight')] }});\n"
    found = node(tmp_path, script + "console.log(JSON.stringify(found));")
    assert set(found["state"]) == {"0.weight", "0.bias", "2.weight", "2.bias", "lr", "x", "y"}

    step, _, data, rows = trained("SGD", dtype="float64", lr=0.125)
    model = step.function.__closure__[step.function.__code__.co_freevars.index("model")].cell_contents
    with tg.no_grad():
        model[0].weight.copy_(tg.tensor(weight))
    y = tg.tensor(data[1])
    history = tg.fit(
        step, (x, data[1]), 9, rows, shuffle=False, progress=False,
        evaluate=lambda: {"score": F.cross_entropy(model(tg.tensor(x)), y)},
    )  # fmt: skip
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-12)
    np.testing.assert_allclose(found["score"], history["score"], rtol=1e-12)
    np.testing.assert_allclose(found["weight"], model[0].weight.detach().numpy().reshape(-1), rtol=1e-11)


def test_runs_do_not_share_anything(tmp_path: Path) -> None:
    step, _, data, rows = trained("Adam")
    tg.export.wasm(step, *(one[:rows] for one in data), path=tmp_path / "m.wasm", data=data)
    script = """import { readFileSync } from "node:fs";
    const bytes = readFileSync("m.wasm"), module = await WebAssembly.compile(bytes);
    const [a, b, c] = [await load(), await load(bytes), await load(module)];
    const half = [...a.train(4).loss];
    const loss = [[...half, ...a.train(5).loss], [...b.train(9).loss], [...c.train(9).loss]];
    const imports = WebAssembly.Module.imports(module), exports = WebAssembly.Module.exports(module);
    console.log(JSON.stringify({ loss, imports, exports }));"""
    found = node(tmp_path, script)
    assert found["loss"][0] == found["loss"][1] == found["loss"][2]
    assert found["imports"] == [{"module": "env", "name": "memory", "kind": "memory"}]
    assert found["exports"] == [{"name": "run", "kind": "function"}]


def test_a_label_out_of_range_ends_the_run(tmp_path: Path) -> None:
    step, evaluate, (x, y), rows = trained("SGD")
    tg.export.wasm(step, x[:rows], y[:rows], path=tmp_path / "m.wasm", data=(x, y), evaluate=evaluate)
    script = """const m = await load(), said = [];
    m.train(3);
    const before = [...m.get("0.weight")], y = [...m.get("data1")];
    m.set("data1", y.with(20, 3));
    try { m.train(3); } catch (error) { said.push(error.name, error.code, error.message); }
    m.set("data1", y);
    console.log(JSON.stringify([...said, m.train(1).loss[0] > 0]));"""
    name, code, said, goes_on = node(tmp_path, script)
    assert (name, code, goes_on) == ("RangeError", 1, True)
    assert "label 3 at 4 in epoch 4, batch 1; expected 0 <= label < 3" in said


HOSTILE = ["constructor", "</script><b>", "-->", "'); alert(1); ('", "a\u2028b", "\ud800", "data0", "x" * 10**4]


def test_hostile_names_are_names(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in HOSTILE:
                self.register_parameter(name, nn.Parameter(tg.tensor([1.0, 2.0])))

        def forward(self, x: tg.Tensor) -> Any:
            return {"__proto__": sum((getattr(self, name) for name in HOSTILE), x)}

    tg.export.wasm(Odd(), np.zeros(2), path=tmp_path / "m.wasm")
    script = f"const m = await load(), names = {json.dumps(HOSTILE)};\n"
    script += "for (const name of names) m.set(name, [1, 3]);\n"
    script += "const found = names.map((name) => Array.from(m.get(name))), wrong = ['valueOf', 'toString'];\n"
    script += "for (const one of wrong) { try { m.get(one); } catch (e) { found.push(e.name); } }\n"
    script += "console.log(JSON.stringify([found, Array.from(m.run([0, 0])['__proto__']), m.state]));"
    found, out, state = node(tmp_path, script)
    assert found == [*([[1, 3]] * len(HOSTILE)), "RangeError", "RangeError"]
    assert out == [len(HOSTILE), 3 * len(HOSTILE)]
    assert state == HOSTILE


def test_small_code_and_small_files(tmp_path: Path) -> None:
    """The whole run of Iris, with its data: what a page has to load."""
    step, _, _, _ = trained("SGD")
    rng = np.random.default_rng(0)
    x, y = rng.integers(10, 80, (120, 4)) / 10, labels(3, 120)
    file = tg.export.wasm(step, x[:32], y[:32], path=tmp_path / "m.wasm", data=(x, y))
    assert len(gzip.compress(file.read_bytes())) < 3600


def test_names_and_wrong_numbers_are_said(tmp_path: Path) -> None:
    step, _, (x, y), _ = trained("SGD")
    tg.export.wasm(step, x, y, path=tmp_path / "m.wasm")
    values = f"{json.dumps(x.reshape(-1).tolist())}, {json.dumps([7, *y[1:].tolist()])}"
    tries = (f"m.run({values})", "m.get('nothing')", "m.set('0.bias', [1, 2])", "m.set('y', Array(50).fill(0.5))")
    script = "const m = await load(), said = [], tries = ["
    script += ", ".join(f"() => {one}" for one in tries) + "];\n"
    script += "for (const one of tries) { try { one(); said.push(''); } catch (e) { said.push(e.message); } }\n"
    script += "said.push(Array.from(m.get('0.bias'))); console.log(JSON.stringify(said));"
    label, name, length, part, bias = node(tmp_path, script)
    assert "[cross_entropy] got label 7 at 0; expected 0 <= label < 3 (check 1)" in label
    assert "y: 0.5 is no number of int64" in part
    assert "nothing" in name
    assert "0.bias" in name
    assert "2 numbers" in length
    assert len(bias) == 8


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    step, evaluate, (x, y), _ = trained("SGD")

    def reads() -> dict[str, tg.Tensor]:
        found = evaluate()
        return found if found["score"] > 0 else {"score": tg.tensor(0.0)}

    for call, words in (
        (lambda: tg.export.wasm(nn.Linear(4, 2), x, path=tmp_path / "m.wasm", data=(x,)), "a step"),
        (lambda: tg.export.wasm(step, x, y, path=tmp_path / "m.wasm", data=(x, y[:7])), "lengths"),
        (lambda: tg.export.wasm(step, x, y, path=tmp_path / "m.wasm", data=(x, y), evaluate=reads), "reads values"),
    ):
        with pytest.raises((ExportError, tg.errors.TraceError), match=words):
            call()
    assert not [*tmp_path.iterdir()]
