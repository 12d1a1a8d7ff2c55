"""`tg.import_onnx`: files of ours, of PyTorch and by hand as modules; the node cases of `onnx`; files that are none."""

from __future__ import annotations

import copy
import pickle
import random
import re
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tests.export import node_cases
from tests.export.cases import batch, stepping
from tinygrad_nn import nn, optim
from tinygrad_nn.errors import DTypeError, ExportError, FileError, ShapeError, TinygradError, TooLarge
from tinygrad_nn.support.extras import require

onnx = require("onnx", "export")
make, T = onnx.helper, onnx.TensorProto
node = make.make_node
OPSET = 18


def place(name: str, shape: Any = (2,), element: int = T.FLOAT) -> Any:
    return make.make_tensor_value_info(name, element, shape)


def numbers(name: str, value: Any) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(value), name)


def model_of(
    nodes: Sequence[Any],
    inputs: Any = None,
    outputs: Any = None,
    weights: Sequence[Any] = (),
    opset: int = OPSET,
    **more: Any,
) -> Any:
    """A model from x to y, unless it is said otherwise."""
    graph = make.make_graph(list(nodes), "g", inputs or [place("x")], outputs or [place("y", None)], list(weights))
    domains = [make.make_opsetid("", opset), make.make_opsetid("ours", 1)]
    return make.make_model(graph, opset_imports=domains, **more)


@pytest.fixture
def module(tmp_path: Path) -> Callable[[Any], Any]:
    """The module that a model, or some bytes, become."""

    def made(model: Any) -> Any:
        path = tmp_path / "m.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return tg.import_onnx(path)

    return made


X = np.array([1, -2], np.float32)


# ---- there and back -------------------------------------------------------------------------------------------------


ROWS = np.random.default_rng(0).normal(size=(37, 4)).astype(np.float32)
CLASSES = np.random.default_rng(1).integers(0, 3, 37)
MODELS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "rows": (
        lambda: nn.Sequential(nn.StandardScaler().fit(ROWS), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)),
        ROWS,
    ),
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
        ).eval(),
        batch(2, 1, 8, 8),
    ),
    "words": (lambda: nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2)), np.arange(9).reshape(3, 3)),
    "LSTM": (lambda: nn.LSTM(3, 5, batch_first=True), batch(2, 7, 3)),
    "GRU": (lambda: nn.GRU(3, 5, num_layers=2, bidirectional=True), batch(7, 2, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), batch(2, 5, 8)),
}  # fmt: skip


def flat(found: Any) -> list[Any]:
    return [one for part in found for one in flat(part)] if isinstance(found, tuple | list) else [found]


@pytest.mark.parametrize("name", MODELS)
def test_what_was_exported_comes_back(name: str, tmp_path: Path) -> None:
    """Names, bits and, but for the order of sums, gradients; compiled too."""
    tg.manual_seed(0)
    build, x = MODELS[name]
    first = build()
    second = tg.import_onnx(tg.export.onnx(first, x, path=tmp_path / "m.onnx"))
    state, again = first.state_dict(), second.state_dict()
    assert [*dict(second.named_parameters())] == [*dict(first.named_parameters())]
    assert {*again} == {one for one in state if not one.endswith("num_batches_tracked")}
    assert all((state[one].numpy() == again[one].numpy()).all() for one in again)
    results = [flat(one(tg.as_tensor(x))) for one in (first, second)]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
    for found in results:
        sum((one * one).sum() for one in found).backward()
    grads = [{key: one.grad.numpy() for key, one in net.named_parameters()} for net in (first, second)]
    largest = max(np.abs(one).max() for one in grads[0].values())
    for key, one in grads[0].items():
        np.testing.assert_allclose(grads[1][key], one, rtol=1e-5, atol=1e-6 * largest)
    with tg.no_grad():
        compiled = flat(tg.jit(lambda x: second(x))(tg.as_tensor(x)))
    for one, other in zip(compiled, results[1], strict=True):
        np.testing.assert_allclose(one.numpy(), other.detach().numpy(), rtol=1e-5, atol=2e-6)


def test_it_trains_as_the_original(tmp_path: Path) -> None:
    def losses(net: Any) -> Any:
        step = stepping(net, optim.Adam(net.parameters(), lr=0.01))
        return tg.fit(step, (ROWS, CLASSES), epochs=4, batch_size=8, seed=1, progress=False)["loss"]

    first = MODELS["rows"][0]()
    second = tg.import_onnx(tg.export.onnx(first, ROWS, path=tmp_path / "m.onnx"))
    np.testing.assert_array_equal(losses(first), losses(second))
    np.testing.assert_array_equal(first(ROWS).detach().numpy(), second(ROWS).detach().numpy())


def test_frozen_weights_stay_frozen(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    net[0].requires_grad_(False)
    again = tg.import_onnx(tg.export.onnx(net, ROWS, path=tmp_path / "m.onnx"))
    assert [one for one, _ in again.named_parameters()] == ["1.weight", "1.bias"]
    assert {one for one, _ in again.named_buffers()} == {"0.weight", "0.bias"}


class Recurrent(torch.nn.Module):
    """Two directions, of which the last step counts."""

    def __init__(self) -> None:
        super().__init__()
        self.loop, self.out = torch.nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True), torch.nn.Linear(10, 2)

    def forward(self, x: Any) -> Any:
        return self.out(self.loop(x)[0][:, -1])


class Shapes(torch.nn.Module):
    """Lengths that are computed from lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.table = torch.nn.Linear(6, 3), torch.nn.Embedding(10, 6)

    def forward(self, x: Any) -> Any:
        wide = torch.where(x.unsqueeze(-1) > 3, self.table(x), self.table(x).cumsum(1))
        return self.line(wide.view(x.shape[0], -1, 6).transpose(0, 1)).reshape(x.shape[1], -1).softmax(-1).topk(2)[0]


TORCH: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "images": (
        lambda: torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.SiLU(), torch.nn.MaxPool2d(2),
            torch.nn.Upsample(scale_factor=2, mode="bilinear"), torch.nn.ConvTranspose2d(4, 2, 3, 2, 1, 1),
            torch.nn.GroupNorm(2, 2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(2, 3),
        ),
        lambda: torch.randn(2, 1, 8, 8),
    ),
    "recurrent": (Recurrent, lambda: torch.randn(2, 7, 3)),
    "attention": (
        lambda: torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"), 1
        ),
        lambda: torch.randn(2, 5, 8),
    ),
    "shapes": (Shapes, lambda: torch.arange(10).reshape(2, 5) % 7),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_a_model_of_pytorch(name: str, tmp_path: Path) -> None:
    """Values, and gradients of the weights that keep their names."""
    torch.manual_seed(0)
    build, example = TORCH[name]
    net, x = build().eval(), example()
    with torch.no_grad():
        for one in net.parameters():  # equal ones would become one weight in the file
            one += 0.1 * torch.randn_like(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), tmp_path / "m.onnx", dynamo=False, do_constant_folding=False)
    again = tg.import_onnx(tmp_path / "m.onnx")
    expected, got = net(x), again(x.numpy())
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    compiled = tg.jit(lambda x: again(x))(x.numpy())
    np.testing.assert_allclose(compiled.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    (expected**2).sum().backward()
    (got**2).sum().backward()
    weights = dict(net.named_parameters())
    shared = [(key, one) for key, one in again.named_parameters() if key in weights]
    assert shared
    largest = max(one.grad.abs().max().item() for one in weights.values() if one.grad is not None)
    for key, one in shared:
        np.testing.assert_allclose(one.grad.numpy(), weights[key].grad.numpy(), rtol=1e-4, atol=1e-5 * largest)


# ---- the node cases of the package ----------------------------------------------------------------------------------


def test_every_node_case_passes_or_has_a_reason() -> None:
    found = [(case.name, reason, wrong) for case, reason, wrong in node_cases.verdicts()]
    assert [(name, wrong) for name, reason, wrong in found if wrong and not reason] == []
    assert Counter(not wrong for _, _, wrong in found)[True] >= 800
    used = {reason for _, reason, wrong in found if wrong}
    assert used <= {one.why for one in node_cases.REASONS}


# ---- what a module is -----------------------------------------------------------------------------------------------


def test_it_reads_as_a_program(module: Any) -> None:
    weights = [numbers("0.weight", np.ones((2, 3), np.float32)), numbers("0.bias", np.zeros(3, np.float32))]
    net = module(
        model_of([node("Gemm", ["x", "0.weight", "0.bias"], ["h"], alpha=0.1), node("Relu", ["h"], ["y"])],
                 [place("x", ("n", 2))], [place("y", ("n", 3))], weights)
    )  # fmt: skip
    assert repr(net) == (
        "Imported(\n"
        "  x: float[n, 2] -> y: float[n, 3]\n"
        "  h = Gemm(x, 0.weight, 0.bias, alpha=0.1)\n"
        "  y = Relu(h)\n"
        "  (0): Weights()\n"
        ")"
    )
    x = np.ones((4, 2), np.float32)
    assert "9 parameters" in str(net.summary(x))
    assert "0.weight" in str(tg.draw(net, x))
    assert [str(one) for one in (*net.inputs, *net.outputs)] == ["x: float[n, 2]", "y: float[n, 3]"]
    np.testing.assert_array_equal(net(x).detach().numpy(), net(x=x).detach().numpy())
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(net(x).detach().numpy(), other(x).detach().numpy())


def test_names_that_modules_use_themselves_get_a_line(module: Any) -> None:
    names = ["train", "a", "a.b", "a..b", "_given", "__class__", "x" * 1000, ".".join("z" * 40)]
    ones = np.ones(2, np.float32)
    net = module(model_of([node("Sum", ["x", *names], ["y"])], weights=[numbers(one, ones) for one in names]))
    assert len([*net.parameters()]) == len(names)
    assert {"train_", "a", "a_.b", "a_._.b"} <= {*net.state_dict()}
    assert net.train().training
    assert net(X).tolist() == [9, 6]


def test_which_numbers_are_trained(module: Any) -> None:
    """Weights are; statistics are kept; lengths, integers and single numbers belong to the program."""
    ones = np.ones(2, np.float32)
    weights = [numbers(one, ones) for one in ("scale", "bias", "mean", "var")]
    weights += [numbers("shape", [1, 2]), numbers("low", np.float32(0)), numbers("unread", ones)]
    nodes = [
        node("Reshape", ["x", "shape"], ["r"]),
        node("BatchNormalization", ["r", "scale", "bias", "mean", "var"], ["n"]),
        node("Clip", ["n", "low"], ["y"]),
    ]
    net = module(model_of(nodes, weights=weights))
    assert {one for one, _ in net.named_parameters()} == {"scale", "bias"}
    assert {one for one, _ in net.named_buffers()} == {"mean", "var"}
    net.load_state_dict({**net.state_dict(), "scale": tg.tensor([3.0, 3.0])})
    assert net(X)[0, 1].item() == 0


def test_arrays_take_the_dtype_of_the_file_and_tensors_keep_theirs(module: Any) -> None:
    net = module(model_of([node("Relu", ["x"], ["y"])]))
    assert net([1.0, 2.0]).dtype == net(X.astype(np.float64)).dtype == net(np.array([1, 2])).dtype == tg.float32
    with pytest.raises(ShapeError, match=re.escape("[import_onnx] got x of shape (3,); expected x: float[2]")):
        net(np.ones(3))
    with pytest.raises(ShapeError, match=re.escape("got 0 inputs; expected one for each of x: float[2]")):
        net()
    with pytest.raises(ShapeError, match="got 1 inputs and z"):
        net(X, z=3)
    whole = module(model_of([node("Neg", ["x"], ["y"])], [place("x", (2,), T.INT64)]))
    assert whole(np.array([1, 2], np.int32)).tolist() == [-1, -2]
    with pytest.raises(DTypeError, match="got x of dtype float64; expected x: int64"):
        whole(np.ones(2))


def test_narrow_integers_wrap_where_their_type_does(module: Any) -> None:
    for element, dtype in ((T.UINT8, np.uint8), (T.INT8, np.int8), (T.UINT32, np.uint32), (T.INT16, np.int16)):
        top = np.iinfo(dtype).max
        x = np.array([top, 3], dtype)
        nodes = [node("Add", ["x", "one"], ["a"]), node("Mul", ["a", "a"], ["y"])]
        net = module(
            model_of(nodes, [place("x", (2,), element)], [place("y", (2,), element)], [numbers("one", x // x)])
        )
        with np.errstate(over="ignore"):
            assert net(x).tolist() == ((x + x // x) ** 2).tolist()
        with pytest.raises(DTypeError, match=rf"got 0 to {top + 1} in x; expected "):
            net(np.array([0, int(top) + 1]))


SMALL = {
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
    "FLOAT4E2M1": "float4_e2m1fn",
}


@pytest.mark.parametrize("name", SMALL)
def test_small_floats_are_rounded_to_what_they_can_say(name: str, module: Any) -> None:
    """All codes, what lies half way between two and beside that, and what is beyond all."""
    kind = np.dtype(getattr(require("ml_dtypes", "export"), SMALL[name]))
    codes = np.arange(16 if "4E2" in name else 256, dtype=np.uint8).view(kind).astype(np.float32)
    steps = np.unique(codes[np.isfinite(codes)])
    half = (steps[1:] + steps[:-1]) / 2
    x = np.concatenate([steps, half, *(np.nextafter(half, np.float32(to)) for to in (-np.inf, np.inf)), [1e-9]])
    places = [place("x", ("n",))], [place("y", ("n",), getattr(T, name))]
    net = module(model_of([node("Cast", ["x"], ["y"], to=getattr(T, name))], *places, opset=23))
    with np.errstate(over="ignore"):
        expected = x.astype(np.float32).astype(kind).astype(np.float32)
    np.testing.assert_array_equal(net(x.astype(np.float32)).numpy(), expected)
    np.testing.assert_array_equal(tg.jit(lambda x: net(x))(x.astype(np.float32)).numpy(), expected)
    assert net(np.array([1e30, -1e30], np.float32)).tolist() == [steps[-1], steps[0]]


def test_a_graph_of_lengths_compiles(module: Any) -> None:
    """Shape, Gather, Concat, Range and Reshape with what they compute; also where a loop repeats."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"], axis=0),
        node("Div", ["n", "two"], ["half"]),
        node("Concat", ["half", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["r"]),
        node("ConstantOfShape", ["shape2"], ["z"]),
        node("Add", ["r", "z"], ["a"]),
        node("Loop", ["times", "", "a"], ["y"], body=make.make_graph(
            [node("Identity", ["go"], ["again"]), node("Mul", ["v", "k"], ["w"])], "body",
            [place("i", (), T.INT64), place("go", (), T.BOOL), place("v", None)],
            [place("again", (), T.BOOL), place("w", None)],
        )),
    ]  # fmt: skip
    weights = [
        numbers("first", [0]), numbers("two", [2]), numbers("rest", [-1]), numbers("shape2", [1]),
        numbers("times", np.int64(3)), numbers("k", np.array([2], np.float32)),
    ]  # fmt: skip
    net = module(model_of(nodes, [place("x", ("n", 3))], weights=weights))
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    expected = (x.reshape(2, 6) * 8).tolist()
    assert net(x).tolist() == tg.jit(lambda x: net(x))(x).tolist() == expected


def test_a_step_knows_the_numbers_around_it(module: Any) -> None:
    """A shape that is computed inside of a loop from constants outside of it."""
    body = make.make_graph(
        [
            node("Concat", ["two", "one"], ["shape"], axis=0),
            node("Reshape", ["e", "shape"], ["r"]),
            node("ReduceSum", ["r"], ["s"], keepdims=0),
            node("Add", ["c", "s"], ["next"]),
            node("Identity", ["next"], ["row"]),
        ],
        "body",
        [place("c", ()), place("e", (2,))],
        [place("next", ()), place("row", ())],
    )
    nodes = [node("Scan", ["zero", "x"], ["last", "y"], body=body, num_scan_inputs=1)]
    weights = [numbers("two", [2]), numbers("one", [1]), numbers("zero", np.float32(0))]
    net = module(model_of(nodes, [place("x", (3, 2))], weights=weights))
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert net(x).tolist() == tg.jit(lambda x: net(x))(x).tolist() == [1, 6, 15]


def test_functions_of_the_file(module: Any) -> None:
    opset = [make.make_opsetid("", OPSET)]
    inner = node("LeakyRelu", ["a"], ["t"])
    inner.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
    leaky = make.make_function("ours", "Leaky", ["a"], ["t"], [inner], opset, ["slope"])
    twice = make.make_function(
        "ours", "Twice", ["a", "w"], ["c"],
        [node("Leaky", ["a"], ["b"], domain="ours", slope=0.5), node("Mul", ["b", "w"], ["c"])],
        [*opset, make.make_opsetid("ours", 1)],
    )  # fmt: skip
    nodes = [node("Twice", ["x", "w"], ["y"], domain="ours")]
    net = module(model_of(nodes, weights=[numbers("w", np.ones(2, np.float32) * 3)], functions=[leaky, twice]))
    assert net(X).tolist() == [3, -3]
    assert [one for one, _ in net.named_parameters()] == ["w"]


def test_versions_of_operators(module: Any) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    for opset, axes in ((11, (1, 2)), (13, (1,))):
        net = module(model_of([node("Softmax", ["x"], ["y"], axis=1)], [place("x", (2, 2, 2))], opset=opset))
        np.testing.assert_allclose(net(x).numpy().sum(axes), 1, rtol=1e-6)
    old = model_of([node("Add", ["x", "b"], ["y"], axis=0, broadcast=1)], [place("x", (2, 2, 2))],
                   weights=[numbers("b", np.array([1, 2], np.float32))], opset=6)  # fmt: skip
    np.testing.assert_array_equal(module(old)(x).detach().numpy(), x + np.array([1, 2]).reshape(2, 1, 1))
    with pytest.raises(ExportError, match="operators of version 99"):
        module(model_of([node("Relu", ["x"], ["y"])], opset=99))


def test_a_branch_that_is_not_known_is_chosen_element_by_element(module: Any) -> None:
    branches = {
        name: make.make_graph([node(kind, ["x"], [out])], name, [], [place(out)])
        for name, kind, out in (("then_branch", "Neg", "a"), ("else_branch", "Abs", "b"))
    }
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Less", ["s", "zero"], ["c"]),
        node("If", ["c"], ["y"], **branches),
    ]
    net = module(model_of(nodes, weights=[numbers("zero", np.float32(0))]))
    for x in (X, -X):
        assert net(x).tolist() == tg.jit(lambda x: net(x))(x).tolist() == (-x if x.sum() < 0 else abs(x)).tolist()


# ---- files that are no models ---------------------------------------------------------------------------------------


RELU = [node("Relu", ["x"], ["y"])]
ADD = [node("Add", ["x", "w"], ["y"], name="sum")]


def announced(shape: Sequence[int], content: bytes = b"1234") -> Any:
    return T(name="w", data_type=1, dims=shape, raw_data=content)


def function(name: str, *calls: Any) -> Any:
    return make.make_function("ours", name, ["a"], ["b"], calls, [make.make_opsetid("", OPSET)])


def twice(name: str) -> list[Any]:
    """Two calls of a function, one after the other."""
    return [node(name, [one], [two], domain="ours") for one, two in ("at", "tb")]


def nested(depth: int) -> bytes:
    """Nodes in the attributes of nodes."""
    inner = b""
    for k in range(3 * depth):
        size, length = len(inner), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        inner = (b"\x32", b"\x2a", b"\x0a")[k % 3] + length + bytes([size]) + inner
    return b"\x3a" + bytes([len(inner) & 127 | 128, len(inner) >> 7 & 127 | 128, len(inner) >> 14]) + inner


WRONG: dict[str, tuple[Any, str]] = {
    "all operators that are not known": (
        model_of([node("Foo", ["x"], ["a"]), node("Bar", ["a"], ["b"], domain="other"), node("Foo", ["b"], ["y"])]),
        "got operators Foo, other.Bar; expected",
    ),
    "an order that is none": (
        model_of([node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"])]),
        "operator Relu with an operand 'a' that is made by it or after it",
    ),
    "a circle": (
        model_of([node("Add", ["x", "b"], ["a"], name="n"), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]),
        "a node 'n' of operator Add with an operand 'b'",
    ),
    "a value that is missing": (model_of([node("Add", ["x", "z"], ["y"])]), "operand 'z' that nothing makes"),
    "a value made twice": (model_of([*RELU, *RELU]), "a second value 'y'"),
    "an output that is missing": (model_of([node("Relu", ["x"], ["z"])]), "an output 'y' that no node makes"),
    "a strange attribute": (model_of([node("Gemm", ["x", "x"], ["y"], beto=1)]), "attribute 'beto'; expected one of"),
    "a missing attribute": (model_of([node("Einsum", ["x"], ["y"])]), "operator Einsum without its attribute equation"),
    "too many operands": (model_of([node("Relu", ["x", "x"], ["y"])]), "Relu with 2 operands; expected at most 1"),
    "too few operands": (model_of([node("Add", ["x"], ["y"])]), "operator Add without its operand 1"),
    "an input without a type": (model_of(RELU, [onnx.ValueInfoProto(name="x")]), "'x' without an element type"),
    "a tensor of text": (
        model_of([node("Identity", ["t"], ["y"])], weights=[make.make_tensor("t", T.STRING, [1], [b"a"])]),
        "a tensor 't' of string",
    ),
    "more than there is": (model_of(ADD, weights=[announced([2**40])]), "'w' of shape (1099511627776,) in 4 bytes"),
    "more than there can be": (model_of(ADD, weights=[announced([2**62, 8, 0], b"")]), "possible lengths"),
    "a length below zero": (model_of(ADD, weights=[announced([-1])]), "possible lengths"),
    "a function that calls itself": (
        model_of([node("F", ["x"], ["y"], domain="ours")], functions=[
            function("F", node("G", ["a"], ["b"], domain="ours")),
            function("G", node("F", ["a"], ["b"], domain="ours")),
        ]),
        "that calls itself",
    ),
    "functions that become a million nodes": (
        model_of([node("F30", ["x"], ["y"], domain="ours")], functions=[
            function("F0", node("Relu", ["a"], ["b"])), *(function(f"F{k}", *twice(f"F{k - 1}")) for k in range(1, 31)),
        ]),
        "nodes in all",
    ),
    "nothing": (b"", "no graph"),
    "other words": (b"hello world, this is no such file", "expected an ONNX model"),
    "nodes without operators": (b"\x3a\x04\x0a\x00\x0a\x00", "without an operator"),
    "a thousand messages inside of each other": (nested(1000), "messages inside of each other"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_is_no_model_is_refused(what: str, module: Any) -> None:
    model, said = WRONG[what]
    with pytest.raises(ExportError, match=re.escape(said)) as caught:
        module(model)
    assert str(caught.value).startswith("[import_onnx] got ")


def test_an_error_says_in_which_node(module: Any) -> None:
    net = module(
        model_of([node("MatMul", ["x", "w"], ["y"], name="conv1")], weights=[numbers("w", np.ones((3, 3), np.float32))])
    )
    with pytest.raises(
        ShapeError, match=r"^\[import_onnx\] got a node 'conv1' of operator MatMul: \[matmul\] got shapes"
    ):
        net(X)
    huge = module(model_of([node("Expand", ["x", "w"], ["y"])], weights=[numbers("w", np.array([2**40, 2]))]))
    with pytest.raises(TooLarge, match="the node that makes 'y' of operator Expand"):
        huge(X)


@pytest.mark.parametrize(
    "where", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", ".", "away/w.bin", "none.bin", "a\0b"]
)
def test_data_outside_of_the_folder_are_not_read(where: str, tmp_path: Path, module: Any) -> None:
    (tmp_path.parent / "w.bin").write_bytes(b"12345678")
    (tmp_path / "away").symlink_to(tmp_path.parent)
    weight = T(name="w", data_type=1, dims=[2], data_location=1)
    weight.external_data.add(key="location", value=where)
    with pytest.raises((ExportError, FileError), match=r"^\[import_onnx\] got a tensor 'w' whose data lie in "):
        module(model_of(ADD, weights=[weight]))


def test_data_beside_the_file(tmp_path: Path, module: Any) -> None:
    (tmp_path / "w.bin").write_bytes(np.array([9, 1, 2], np.float32).tobytes())
    weight = T(name="w", data_type=1, dims=[2], data_location=1)
    for key, value in (("location", "w.bin"), ("offset", "4"), ("length", "8")):
        weight.external_data.add(key=key, value=value)
    assert module(model_of(ADD, weights=[weight]))(X).tolist() == [2, 0]
    weight.external_data[1].value = "8"
    with pytest.raises(ExportError, match="expected a file with 8 bytes there"):
        module(model_of(ADD, weights=[weight]))


def test_damaged_files_are_refused_or_run(tmp_path: Path) -> None:
    """Cut off, or with bits that are wrong: an error of ours, never another one."""
    draw, path = random.Random(0), tmp_path / "m.onnx"
    images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), batch(2, 1, 4, 4)
    seeds = [
        (tg.export.onnx(net, x, path=path).read_bytes(), x) for net, x in (images, (nn.LSTM(3, 4), batch(5, 2, 3)))
    ]
    said: list[str] = []
    for _ in range(400):
        content, x = draw.choice(seeds)
        damaged = bytearray(content[: draw.randrange(len(content))] if draw.random() < 0.2 else content)
        for _ in range(draw.choice((1, 1, 2, 5))):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(damaged))
        try:
            tg.import_onnx(path)(x)
        except TinygradError as error:
            said.append(str(error))
    assert 40 < len(said) < 360
    assert [one for one in said if not one.startswith("[import_onnx] got ")] == []


def test_memory_is_a_small_multiple_of_the_file(tmp_path: Path) -> None:
    weight = numbers("w", np.ones((1000, 1000), np.float32))
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of(ADD, weights=[weight]).SerializeToString())
    size = path.stat().st_size
    tracemalloc.start()
    try:
        net = tg.import_onnx(path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len([*net.parameters()]) == 1
    assert peak < 2.2 * size
    assert kept < 1.2 * size


def test_many_nodes(module: Any) -> None:
    """In bytes, since the package takes longer to make them than we to run them."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([8 * number + 2, len(content)]) + content

    names = [b"x", *(b"v%d" % k for k in range(20_000)), b"y"]
    nodes = (field(1, a) + field(2, b) + field(4, b"Relu") for a, b in pairwise(names))
    model = model_of(RELU)
    model.graph.ClearField("node")
    model.graph.MergeFromString(b"".join(field(1, one) for one in nodes))
    net = module(model)
    assert net(X).tolist() == [1, 0]
    assert len(repr(net)) < 2000


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"\[import_onnx\] got no file"):
        tg.import_onnx(tmp_path / "none.onnx")
    with pytest.raises(FileError, match=r"\[import_onnx\]"):
        tg.import_onnx(tmp_path)
    with pytest.raises(FileError, match=r"\[import_onnx\] got a int as the path"):
        tg.import_onnx(3)
