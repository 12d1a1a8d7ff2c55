"""`import tinygrad_nn.torch as torch`: its modules have PyTorch's names, and a name that is missing says so."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
import tinygrad_nn.torch as ours
from tinygrad_nn.errors import MissingImport, MissingName, TinygradError

FOLDER = Path(ours.__file__).parent
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages([str(FOLDER)], "tinygrad_nn.torch.")
    if not found.name.rpartition(".")[2].startswith("_")
)
IMPORTS = """
import tinygrad_nn.torch as torch
import tinygrad_nn.torch.nn as nn
import tinygrad_nn.torch.nn.functional as F
import tinygrad_nn.torch.optim as optim
from tinygrad_nn.torch import nn, optim
from tinygrad_nn.torch.autograd import Variable, grad
from tinygrad_nn.torch.nn import Parameter, functional, init
from tinygrad_nn.torch.nn.functional import cross_entropy, relu
from tinygrad_nn.torch.nn.utils import clip_grad_norm_, parameters_to_vector
from tinygrad_nn.torch.nn.utils.rnn import pad_sequence
from tinygrad_nn.torch.optim.lr_scheduler import StepLR
from tinygrad_nn.torch.utils.checkpoint import checkpoint
import tinygrad_nn.torch.distributed as dist
from tinygrad_nn.torch.amp import GradScaler, autocast
from tinygrad_nn.torch.autograd.function import Function
from tinygrad_nn.torch.cuda.amp import GradScaler, autocast
from tinygrad_nn.torch.distributions.multivariate_normal import MultivariateNormal
from tinygrad_nn.torch.nn.modules.linear import Linear
from tinygrad_nn.torch.nn.modules.loss import _Loss, _WeightedLoss
from tinygrad_nn.torch.nn.modules.batchnorm import _BatchNorm
from tinygrad_nn.torch.nn.parallel import DataParallel
from tinygrad_nn.torch.nn.parameter import Parameter
from tinygrad_nn.torch.optim.adam import Adam
from tinygrad_nn.torch.optim.optimizer import Optimizer
from tinygrad_nn.torch.utils.data.dataloader import default_collate
"""


@pytest.mark.parametrize("line", IMPORTS.strip().splitlines())
def test_a_line_of_imports_finds_what_pytorch_has_there(line: str) -> None:
    here: dict[str, Any] = {}
    there: dict[str, Any] = {}
    exec(line, here)
    exec(line.replace("tinygrad_nn.torch", "torch"), there)
    assert here.keys() == there.keys()
    for name in here.keys() - {"__builtins__"}:
        assert getattr(here[name], "__name__", name).removeprefix("tinygrad_nn.") == there[name].__name__


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_one_of_pytorchs(name: str) -> None:
    importlib.import_module(name)
    importlib.import_module(name.removeprefix("tinygrad_nn."))


def test_what_stands_for_small_files_is_named_as_they_are() -> None:
    for name in MODULES:
        importlib.import_module(name)
    placed = [name for name in sys.modules if name.startswith(f"{ours.__name__}.") and "._" not in name]
    assert len(placed) > len(MODULES) + 70
    for name in placed:
        importlib.import_module(name.removeprefix("tinygrad_nn."))


def test_subclasses_are_written_on_the_bases_of_losses_and_norms() -> None:
    class Halved(ours.nn.modules.loss._WeightedLoss):
        def forward(self, input: Any, target: Any) -> Any:
            return ours.nn.functional.nll_loss(input, target, self.weight, reduction=self.reduction) / 2

    scores, labels, weight = ours.randn(4, 3), ours.tensor([0, 1, 2, 1]), ours.tensor([1.0, 2.0, 3.0])
    expected = ours.nn.NLLLoss(weight, reduction="sum")(scores, labels) / 2
    assert Halved(weight, reduction="sum")(scores, labels).item() == expected.item()
    assert isinstance(ours.nn.BatchNorm2d(3), ours.nn.modules.batchnorm._BatchNorm)
    assert isinstance(ours.nn.Conv1d(3, 3, 1), ours.nn.modules.conv._ConvNd)
    assert not isinstance(ours.nn.ConvTranspose1d(3, 3, 1), ours.nn.Conv1d)
    with pytest.raises(TinygradError, match="reduction"):
        Halved(reduction="half")


def test_a_parallel_module_is_the_module_itself_under_a_name_more() -> None:
    module = ours.nn.Linear(3, 2)
    wrapped = ours.nn.DataParallel(module, device_ids=None)
    x = ours.randn(4, 3)
    assert (wrapped(x) == module(x)).all()
    assert list(wrapped.state_dict()) == list(torch.nn.DataParallel(torch.nn.Linear(3, 2)).state_dict())


def test_every_module_is_reached_from_the_first_without_its_import() -> None:
    code = "import tinygrad_nn.torch as torch\n" + "\n".join(name.removeprefix("tinygrad_nn.") for name in MODULES)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_stays_thin() -> None:
    assert sum(len(path.read_text().splitlines()) for path in FOLDER.rglob("*.py")) <= 800


@pytest.mark.parametrize(
    ("code", "error", "near"),
    [
        ("ours.nn.Liner", MissingName, "Linear"),
        ("ours.tensr", MissingName, "tensor"),
        ("ours.optim.Adm", MissingName, "Adam"),
        ("from tinygrad_nn.torch.nn import Liner", MissingImport, "Linear"),
        ("from tinygrad_nn.torch.nn.functional import relu, sofmax", MissingImport, "softmax"),
        ("from tinygrad_nn.torch import Tensr", MissingImport, "Tensor"),
    ],
)
def test_a_missing_name_says_so_with_the_nearest_one_and_the_page(code: str, error: type, near: str) -> None:
    with pytest.raises(error, match=rf"^\[torch.*\] got the name .*did you mean {near}\?.*docs/from_pytorch.md"):
        exec(code, {"ours": ours})


def test_a_missing_name_is_no_attribute() -> None:
    assert not hasattr(ours, "no_such_name")
    assert getattr(ours.nn, "no_such_name", 3) == 3
    assert "Linear" in dir(ours.nn)
    assert not [name for name in ours.nn.functional.__all__ if name.startswith("_")]


def test_names_are_those_of_the_core() -> None:
    assert ours.nn.Linear is tg.nn.Linear
    assert ours.Tensor is tg.Tensor
    assert ours.nn.functional.relu is tg.functional.relu
    model = ours.nn.Sequential(ours.nn.Linear(2, 3), ours.nn.ReLU())
    assert pickle.loads(pickle.dumps(model))(tg.ones(2)).tolist() == model(tg.ones(2)).tolist()


# ---- compile ---------------------------------------------------------------------------------------------------------


def test_compile_is_jit_also_with_settings() -> None:
    def double(x: Any) -> Any:
        return 2 * x

    for made in (ours.compile(double), ours.compile(mode="max-autotune")(double), ours.compile(double, fullgraph=True)):
        assert made(tg.ones(2)).tolist() == [2, 2]
        assert made.traces == 1
    assert ours.compile(double, disable=True) is double
    assert ours.jit.script(double)(tg.ones(2)).tolist() == [2, 2]


def test_a_compiled_module_trains_and_keeps_pytorchs_names() -> None:
    model = ours.compile(ours.nn.Linear(3, 2))
    assert list(model.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]  # as PyTorch's
    assert model.in_features == 3
    loss = model(tg.ones(4, 3)).sum()
    loss.backward()
    assert model.weight.grad.tolist() == [[4] * 3] * 2
    with tg.no_grad():
        assert model(tg.ones(4, 3)).sum().item() == pytest.approx(loss.item(), rel=1e-6)
    assert not model.eval().training
    assert not model._orig_mod.training


# ---- what only PyTorch has -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["FloatTensor", "DoubleTensor", "LongTensor", "IntTensor", "BoolTensor"])
@pytest.mark.parametrize("data", [([1, 0],), (2, 3), (), ([[1, 2], [3, 0]],)])
def test_constructors_of_a_dtype(name: str, data: Any) -> None:
    made, theirs = getattr(ours, name)(*data), getattr(torch, name)(*data)
    assert (made.shape, made.dtype.name) == (theirs.shape, str(theirs.dtype).removeprefix("torch."))
    assert data in ((2, 3), ()) or made.tolist() == theirs.tolist()
    assert isinstance(made, getattr(ours, name))
    assert not isinstance(made, ours.IntTensor if name != "IntTensor" else ours.LongTensor)


def test_variable() -> None:
    x = ours.autograd.Variable(tg.ones(2), requires_grad=True)
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert isinstance(x, ours.autograd.Variable)


@pytest.mark.parametrize("wrong", ["cuda", "cuda:0", "mps", "meta", "cpu:7", "", 0])
def test_there_is_one_device(wrong: Any) -> None:
    with pytest.raises(TinygradError, match="expected 'cpu', the only one"):
        ours.FloatTensor([1.0], device=wrong)
    with pytest.raises(TinygradError, match="the only one"):
        ours.set_default_device(wrong)
    ours.set_default_device("cpu")
    assert not ours.cuda.is_available()
    assert not ours.backends.mps.is_available()


def test_files(tmp_path: Path) -> None:
    model = ours.nn.Linear(2, 1)
    opt = ours.optim.Adam(model.parameters())
    model(tg.ones(2)).sum().backward()
    opt.step()
    for place in (tmp_path / "a.pt", str(tmp_path / "b.pth")):
        ours.save({"model": model.state_dict(), "opt": opt.state_dict(), "epoch": 3, "loss": 0.5}, place)
        found = ours.load(place, map_location="cpu", weights_only=True)
        assert (found["epoch"], found["loss"]) == (3, 0.5)
        model.load_state_dict(found["model"])
        opt.load_state_dict(found["opt"])
    ours.save(model, tmp_path / "whole.pt")
    with pytest.raises(TinygradError, match="a pickle, which could carry code"):
        ours.load(tmp_path / "whole.pt")
    assert ours.load(tmp_path / "whole.pt", weights_only=False)(tg.ones(2)).tolist() == model(tg.ones(2)).tolist()
    with pytest.raises(TinygradError, match="the only one"):
        ours.load(tmp_path / "a.pt", map_location="cuda")


def test_settings_of_the_system_are_taken() -> None:
    ours.manual_seed(3)
    state = ours.get_rng_state()
    first = ours.rand(3).tolist()
    ours.set_rng_state(state)
    assert ours.rand(3).tolist() == first
    assert ours.initial_seed() == 3
    ours.use_deterministic_algorithms(True)
    ours.backends.cudnn.deterministic = True
    ours.backends.cuda.matmul.allow_tf32 = False
    assert ours.finfo(ours.float32).eps == torch.finfo(torch.float32).eps
    assert ours.iinfo(ours.int64).max == torch.iinfo(torch.int64).max
    assert ours.Size([2, 3]).numel() == 6
    with ours.amp.autocast("cpu"):
        scaler = ours.amp.GradScaler()
        x = tg.ones(2, requires_grad=True)
        scaler.scale(x.sum()).backward()
        assert x.grad.tolist() == [1, 1]


def test_printing() -> None:
    x = tg.tensor([1 / 3, 2.0])
    try:
        ours.set_printoptions(precision=2)
        assert "0.33," in repr(x)
    finally:
        ours.set_printoptions(profile="default")
    assert "0.3333" in repr(x)


# ---- derivatives of functions ----------------------------------------------------------------------------------------


def f(lib: Any) -> Any:
    return lambda x, y: (x.sin() * y).sum() * x.exp().mean()


def plain(value: Any) -> Any:
    return [plain(one) for one in value] if isinstance(value, (tuple, list)) else value.tolist()


@pytest.mark.parametrize("name", ["jacobian", "hessian", "vjp", "jvp", "hvp", "vhp"])
def test_derivatives_at_inputs(name: str) -> None:
    def both(lib: Any, root: Any) -> Any:
        x, y = (lib.tensor(values, dtype=lib.float64) for values in ([0.1, 0.5], [1.0, -2.0]))
        more = {} if name in ("jacobian", "hessian") else {"v": None if name == "vjp" else (y, x)}
        alone = {} if name in ("jacobian", "hessian") else {"v": None if name == "vjp" else y}
        call = getattr(root.autograd.functional, name)
        return plain([call(f(lib), (x, y), **more), call(lambda x: (x**3).sum() * x[0], x, **alone)])

    for a, b in zip(both(tg, ours), both(torch, torch), strict=True):
        np.testing.assert_allclose(np.hstack([np.ravel(v) for v in a]), np.hstack([np.ravel(v) for v in b]), rtol=1e-9)


def test_functional_call_and_vmap() -> None:
    model = ours.nn.Sequential(ours.nn.Linear(2, 3), ours.nn.Tanh(), ours.nn.Linear(3, 1))
    params = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params: Any, x: Any, y: Any) -> Any:
        return ((ours.func.functional_call(model, params, (x.unsqueeze(0),)).squeeze() - y) ** 2).sum()

    x, y = tg.randn(5, 2), tg.randn(5)
    value = loss(params, x[0], y[0])
    grads, again = ours.func.grad_and_value(loss)(params, x[0], y[0])
    assert again.item() == pytest.approx(value.item())
    assert grads["0.weight"].shape == (3, 2)
    other = {name: p * 0 for name, p in params.items()}
    assert ours.func.functional_call(model, other, x).tolist() == [[0]] * 5
    assert model[0].weight.tolist() == params["0.weight"].tolist()
    each = ours.func.vmap(lambda a, b: loss(params, a, b))(x, y)
    assert each.tolist() == [loss(params, a, b).item() for a, b in zip(x, y, strict=True)]
    assert ours.func.vmap(lambda a, b: a * b, in_dims=(0, None), out_dims=1)(x, y[:2]).shape == (2, 5)


def test_backward_of_several_and_anomalies() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    y = x * x
    ours.autograd.backward([y, 3 * y], [tg.tensor([1.0]), tg.tensor([2.0])])
    assert x.grad.tolist() == [28]
    with pytest.raises(RuntimeError, match="inf"), ours.autograd.set_detect_anomaly(True):
        tg.tensor([0.0]).log()
    with ours.autograd.set_detect_anomaly(False):
        assert tg.tensor([0.0]).log().item() == -np.inf
    with pytest.raises(TinygradError, match="grad_tensors"):
        ours.autograd.backward([y], [None, None])
    for name in ("nothing", "nothing.weight"):
        with pytest.raises(TinygradError, match=f"the name '{name}'"):
            ours.func.functional_call(ours.nn.Linear(1, 1), {name: x}, x)
    with pytest.raises(TinygradError, match="in_dims"):
        ours.func.vmap(lambda a: a, in_dims=(None,))(x)
