"""Fitted preprocessing as layers: scikit-learn's results, one model with what follows, eager and compiled."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygrad_nn as tg
from tinygrad_nn import data, nn, optim
from tinygrad_nn import functional as F
from tinygrad_nn.errors import DataError, DTypeError, IndexOutOfRange, ShapeError, TinygradError

SCALERS = [nn.MaxAbsScaler, nn.MinMaxScaler, nn.StandardScaler]
KINDS = [*SCALERS, nn.MeanImputer]
RNG = np.random.default_rng(0)
TABLE = np.column_stack([RNG.normal(50, 9, 40), RNG.exponential(3e6, 40), np.full(40, 7.1), RNG.integers(0, 3, 40)])
WITH_GAPS = np.where(RNG.random(TABLE.shape) < 0.2, np.nan, TABLE)
FLOATS = ["float32", "float64"]


def peer(kind: Any, train: Any) -> Any:
    """scikit-learn's of the same name, fitted."""
    sklearn = pytest.importorskip("sklearn")
    assert sklearn
    from sklearn import impute, preprocessing

    made = impute.SimpleImputer() if kind is nn.MeanImputer else getattr(preprocessing, kind.__name__)()
    return made.fit(train)


def rows(kind: Any) -> Any:
    return WITH_GAPS if kind is nn.MeanImputer else TABLE


# ---- scikit-learn's results

@pytest.mark.parametrize("kind", KINDS)
def test_as_scikit_learn(kind: Any) -> None:
    train, test = rows(kind)[:30], rows(kind)[30:]
    ours, theirs = kind().fit(train), peer(kind, train)
    np.testing.assert_allclose(ours.transform(test), theirs.transform(test), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kind().fit_transform(train), theirs.transform(train), rtol=1e-12, atol=1e-12)
    if kind is not nn.MeanImputer:
        np.testing.assert_allclose(ours.inverse_transform(test), theirs.inverse_transform(test), rtol=1e-12)


@pytest.mark.parametrize("kind", SCALERS)
@settings(max_examples=40)
@given(train=arrays(np.float64, (6, 2), elements=st.floats(-1e9, 1e9, allow_subnormal=False)))
def test_any_table_is_scaled_as_by_scikit_learn(kind: Any, train: Any) -> None:
    spread = train.std(axis=0) / np.maximum(np.abs(train).max(axis=0), 1e-300)
    kept = train[:, (spread > 1e-6) & (np.abs(train).max(axis=0) > 1e-6)]
    if kept.size:  # what is nearly constant is another matter, on which versions of scikit-learn differ
        np.testing.assert_allclose(kind().fit(kept).transform(kept), peer(kind, kept).transform(kept),
                                   rtol=1e-7, atol=1e-7)


def test_the_encoder_as_scikit_learns() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values, seen = ["b", "a", "c", "a"], [["b"], ["a"], ["c"], ["a"]]
    theirs = preprocessing.OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(seen)
    ours = nn.OneHotEncoder(unknown="zeros").fit(values)
    np.testing.assert_array_equal(ours.transform([*values, "z"]), theirs.transform([*seen, ["z"]]))
    assert ours.inverse_transform(ours.transform(values)) == values
    np.testing.assert_array_equal(nn.OneHotEncoder().fit_transform(values), theirs.transform(seen))


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_fits_a_new_one_and_an_instance_itself(kind: Any) -> None:
    train = rows(kind)
    module = kind()
    assert module.fit(train) is module
    one, other = kind.fit(train), kind.fit(train)
    assert one is not other
    assert one.transform(train).tobytes() == module.transform(train).tobytes()
    module.fit(train[:5] * 2)
    assert module.transform(train).tobytes() == kind.fit(train[:5] * 2).transform(train).tobytes()
    assert module.transform(train).tobytes() != one.transform(train).tobytes()
    assert getattr(data, kind.__name__) is getattr(nn, kind.__name__) is kind


# ---- as layers

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_layer_gives_what_transform_gives(kind: Any, dtype: str) -> None:
    module, x = kind.fit(rows(kind)), rows(kind).astype(dtype)
    result = module(tg.tensor(x))
    assert result.dtype.name == dtype
    assert not result.requires_grad
    assert result.numpy().tobytes() == module.transform(x).tobytes()
    assert module.transform(tg.tensor(x)).numpy().tobytes() == result.numpy().tobytes()
    assert module(tg.tensor(x).reshape(8, 5, 4)).numpy().tobytes() == result.numpy().tobytes()
    assert module(tg.tensor(x[0])).numpy().tobytes() == result[0].numpy().tobytes()
    if kind is not nn.MeanImputer:
        np.testing.assert_allclose(module.inverse(result).numpy(), x, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("form", ["array", "list", "tensor", "integers"])
def test_a_pipeline_takes_what_its_model_takes(kind: Any, dtype: str, form: str) -> None:
    """Arrays stay data up to the first layer with weights, in full precision; tensors keep their dtype."""
    scaler, net = kind.fit(rows(kind)), nn.Linear(4, 3).to(dtype)
    raw = np.nan_to_num(np.round(rows(kind))).astype(int) if form == "integers" else rows(kind)
    x: Any = tg.tensor(raw.astype(dtype)) if form == "tensor" else raw.tolist() if form == "list" else raw
    found = nn.Sequential(scaler, net)(x).detach()
    assert found.dtype.name == dtype
    scaled = scaler.transform(raw.astype(dtype) if form == "tensor" else raw).astype(dtype)
    assert found.numpy().tobytes() == net(tg.tensor(scaled)).detach().numpy().tobytes()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_what_was_an_array_keeps_its_dtype(compiled: bool) -> None:
    for kind in KINDS:
        module = kind.fit(rows(kind))
        layer = tg.jit(module) if compiled else module
        for dtype in FLOATS:
            found = layer(rows(kind).astype(dtype))
            assert found.dtype.name == dtype
            assert found.numpy().tobytes() == module.transform(rows(kind).astype(dtype)).tobytes()
            assert (found + 1).dtype.name == dtype


def test_large_numbers_lose_nothing_before_a_float32_model() -> None:
    seconds = 1.7e9 + np.arange(8.0)[:, None]
    scaler = nn.StandardScaler.fit(seconds)
    assert len(set(scaler(seconds).numpy().ravel().tolist())) == 8
    np.testing.assert_allclose(nn.Sequential(scaler, nn.ReLU())(seconds).numpy(),
                               np.maximum(scaler.transform(seconds), 0), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("argument", ["tensor", "array"])
def test_compiled_as_eager(kind: Any, dtype: str, argument: str) -> None:
    tg.manual_seed(0)
    pipe = nn.Sequential(kind.fit(rows(kind)), nn.Linear(4, 3), nn.Tanh()).requires_grad_(False)
    pipe[1].to(dtype)
    raw = rows(kind).astype(dtype)
    x: Any = tg.tensor(raw) if argument == "tensor" else raw
    compiled = tg.jit(pipe)
    for _ in range(2):
        found = compiled(x)
        assert found.dtype.name == dtype
        np.testing.assert_allclose(found.numpy(), pipe(x).numpy(), rtol=1e-5, atol=1e-6)
    pipe[0].fit(rows(kind) * 3)  # what is learnt anew counts
    np.testing.assert_allclose(compiled(x).numpy(), pipe(x).numpy(), rtol=1e-5, atol=1e-6)
    pipe[0].fit(rows(kind)[:, :2])
    with pytest.raises(ShapeError, match=rf"\[{kind.__name__}\] got shape \(40, 4\); expected \(..., 2\)"):
        compiled(x)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through(kind: Any) -> None:
    x = tg.tensor(np.nan_to_num(rows(kind)), requires_grad=True)
    module = kind.fit(rows(kind))
    module(x).sum().backward()
    assert x.grad is not None
    expected = 1 / module.scale.numpy() if kind is not nn.MeanImputer else np.ones(4)
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(expected, x.shape))
    pipe = nn.Sequential(module, nn.Sigmoid())
    tg.testing.gradcheck(lambda x: pipe(x).sum(), tg.tensor(TABLE[:2], requires_grad=True))


def test_the_gradient_of_a_gap_is_zero() -> None:
    x = tg.tensor([[1.0, float("nan")]], requires_grad=True)
    nn.MeanImputer([5.0, 7.0])(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_training_with_a_scaler_inside(compiled: bool) -> None:
    """Only the net is trained; the losses are those of training on rows that were scaled before."""
    x, y = TABLE.astype(np.float32), (TABLE[:, 0] > 50).astype(np.int64)

    def history(inside: bool) -> tuple[list[float], Any]:
        tg.manual_seed(0)
        scaler, net = nn.StandardScaler.fit(x), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        pipe = nn.Sequential(scaler, net) if inside else net
        opt = optim.SGD(pipe.parameters(), lr=0.1)

        def step(x: Any, y: Any) -> Any:
            opt.zero_grad()
            loss = F.cross_entropy(pipe(x), y)
            loss.backward()
            opt.step()
            return loss

        given = (x if inside else scaler.transform(x), y)
        found = tg.fit(tg.jit(step) if compiled else step, given, 3, batch_size=16, seed=0, progress=False)
        return list(found["loss"]), pipe

    losses, pipe = history(True)
    np.testing.assert_allclose(losses, history(False)[0], rtol=1e-5)
    assert pipe[0].scale.numpy().tobytes() == nn.StandardScaler.fit(x).scale.numpy().tobytes()
    assert pipe[0].scale.grad is None


def test_a_run_with_a_scaler_inside_goes_on(tmp_path: Path) -> None:
    def run(epochs: int, **options: Any) -> Any:
        tg.manual_seed(0)
        pipe = nn.Sequential(nn.StandardScaler.fit(TABLE, list("abcd")), nn.Linear(4, 1))
        opt = optim.SGD(pipe.parameters(), lr=0.1)

        @tg.jit
        def step(x: Any) -> Any:
            opt.zero_grad()
            loss = pipe(x).square().mean()
            loss.backward()
            opt.step()
            return loss

        tg.fit(step, TABLE.astype(np.float32), epochs, batch_size=8, seed=0, progress=False, **options)
        return [value.tolist() for value in pipe.state_dict().values()]

    whole = run(4)
    run(2, callbacks=[tg.callbacks.Checkpoint(tmp_path)])
    assert run(4, resume=tmp_path) == whole


# ---- one model: state, copies, pictures

def pipeline() -> nn.Sequential:
    return nn.Sequential(nn.MeanImputer(), nn.StandardScaler(), nn.Linear(4, 2)).requires_grad_(False)


def test_one_state_dict(tmp_path: Path) -> None:
    pipe = pipeline()
    pipe[0].fit(WITH_GAPS)
    pipe[1].fit(pipe[0].transform(WITH_GAPS))
    state = pipe.state_dict()
    assert list(state) == ["0.mean", "1.offset", "1.scale", "2.weight", "2.bias"]
    assert {key: value.dtype.name for key, value in state.items()}["1.scale"] == "float64"
    tg.save(pipe, tmp_path / "pipe.npz")
    again = pipeline()  # not fitted: what it learns comes with the file
    again.load_state_dict(tg.load(tmp_path / "pipe.npz"))
    assert again(WITH_GAPS).numpy().tobytes() == pipe(WITH_GAPS).numpy().tobytes()
    assert again[1].transform(TABLE).tobytes() == pipe[1].transform(TABLE).tobytes()
    with pytest.raises(ShapeError, match=r"shape \(2,\) for '1.scale' of shape \(4,\)"):
        again.load_state_dict({**state, "1.scale": tg.ones(2)})
    assert [name for name, _ in pipe.named_parameters()] == ["2.weight", "2.bias"]
    assert [name for name, _ in pipe.named_buffers()] == ["0.mean", "1.offset", "1.scale"]


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("again", [copy.deepcopy, pickled])
def test_copies_are_equal_and_their_own(again: Callable[[Any], Any]) -> None:
    pipe = nn.Sequential(nn.StandardScaler.fit(TABLE, ["a", "b", "c", "d"]), nn.OneHotEncoder.fit(["x", "y"], "k"))
    twin = again(pipe)
    before = pipe[0].transform(TABLE)
    assert repr(twin) == repr(pipe)
    assert twin[0].transform(TABLE).tobytes() == before.tobytes()
    assert twin[1].transform(["y"]).tolist() == [[0.0, 1.0]]
    twin[0].fit(TABLE * 2)
    assert pipe[0].transform(TABLE).tobytes() == before.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_modes_and_dtypes(kind: Any) -> None:
    module, x = kind.fit(rows(kind)), rows(kind)
    before = module.transform(x).tobytes()
    for on in (True, False):
        assert module.train(on).transform(x).tobytes() == before
        assert module.fit(rows(kind)).transform(x).tobytes() == before
        assert module.training is on
    module.float()
    assert {buffer.dtype.name for buffer in module.buffers()} == {"float32"}
    assert module(tg.tensor(x.astype(np.float32))).dtype.name == "float32"
    np.testing.assert_allclose(module.transform(x), kind.fit(rows(kind)).transform(x), rtol=1e-4, atol=1e-5)
    assert {buffer.dtype.name for buffer in module.fit(rows(kind)).buffers()} == {"float32"}
    assert module.double().fit(rows(kind)).transform(x).tobytes() == before


def test_what_is_shown() -> None:
    pipe = pipeline()
    assert repr(pipe).startswith("Sequential(\n  (0): MeanImputer(not fitted)\n  (1): StandardScaler(not fitted)")
    pipe[0].fit(TABLE)
    pipe[1].fit(TABLE, names=["age", "fare", "class", "sex"])
    assert "(0): MeanImputer(4 columns)\n  (1): StandardScaler(age, fare, class, sex)" in repr(pipe)
    assert repr(nn.OneHotEncoder.fit([3, 1], "Class")) == "OneHotEncoder('Class', [1, 3], unknown='error')"
    summary = pipe.summary(tg.tensor(TABLE.astype(np.float32)))
    assert (summary.buffers, summary.total) == (12, 10)
    text = str(tg.draw(pipe, tg.tensor(TABLE.astype(np.float32))))
    assert all(name in text for name in ("0.mean", "1.offset", "1.scale", "1: StandardScaler"))


# ---- the encoder as a layer

@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(("values", "unknown"), [
    ([3, 1, 2], 5), ([2.5, -1.0], 0.0), (["S", "C"], "Q"), ([True, False], 2),
])
def test_codes_become_columns(values: list[Any], unknown: Any, compiled: bool) -> None:
    for option in ("error", "zeros"):
        encoder: Any = nn.OneHotEncoder(unknown=option).fit(values, "Port")  # type: ignore[arg-type]
        layer = tg.jit(encoder) if compiled else encoder
        codes = tg.tensor(encoder.codes(values)).float()
        assert codes.shape == (len(values), 1)
        assert layer(codes).tolist() == encoder.transform(values).tolist()
        assert layer(codes).dtype.name == "float32"
        assert layer(codes.reshape(-1)).tolist() == encoder.transform(values).tolist()
        bad = tg.cat([codes, tg.tensor([[99.0]]), tg.tensor([[float("nan")]])])
        if option == "zeros":
            assert layer(bad).tolist() == encoder.transform([*values, unknown, unknown]).tolist()
            assert np.isnan(encoder.codes([unknown, None])).all()
        else:
            n = len(values)
            words = f"place of the category {n} in row {n}" if compiled else f"unknown code 99, row {n}; expected one"
            with pytest.raises(IndexOutOfRange, match=rf"\[OneHotEncoder\] got {words}"):
                layer(bad)
            with pytest.raises(DataError, match=r"\[OneHotEncoder.codes\] got unknown category"):
                encoder.codes([unknown])


def test_numbers_are_their_own_codes() -> None:
    encoder = nn.OneHotEncoder.fit([3, 1, 2])
    assert encoder(tg.tensor([1, 3])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert encoder([[2]]).tolist() == [[0, 1, 0]]
    big = nn.OneHotEncoder.fit([2**53, 2**53 + 1])  # which float64 cannot tell apart
    assert big(big.codes([2**53 + 1])).tolist() == [[0, 1]]


def test_codes_come_with_a_state_dict() -> None:
    loaded = nn.OneHotEncoder()
    loaded.load_state_dict(nn.OneHotEncoder.fit([3, 1]).state_dict())
    assert loaded(tg.tensor([3.0])).tolist() == [[0, 1]]
    assert loaded.transform([1, 3]).tolist() == [[1, 0], [0, 1]]
    assert loaded.inverse([[0.0, 1.0]]) == [3]


# ---- refusals

@pytest.mark.parametrize("kind", [*KINDS, nn.OneHotEncoder])
def test_what_is_not_fitted_says_so(kind: Any) -> None:
    for call, name in ((lambda: kind()(tg.ones(2, 1)), kind.__name__),
                       (lambda: kind().transform(np.ones((2, 1)).tolist() if kind in KINDS else [1]),
                        rf"{kind.__name__}.transform")):
        with pytest.raises(DataError, match=rf"\[{name}\] got data before it was fitted; expected fit\(train\) first"):
            call()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("x", [tg.ones(2, 3), tg.ones(3, 1), tg.tensor(1.0)], ids=["wide", "narrow", "number"])
def test_another_width_is_refused(kind: Any, x: Any) -> None:
    module = kind.fit([[1.0, 2.0], [3.0, 5.0]], names=("a", "b"))
    with pytest.raises(ShapeError, match=rf"{kind.__name__}\] got shape .*; expected .*, 2\) with the columns a, b"):
        module(x)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_learnt_is_not_assigned(kind: Any) -> None:
    module = kind.fit([[1.0, 2.0], [3.0, 5.0]])
    for name in (*module.learnt, "names"):
        with pytest.raises(AttributeError, match=rf"cannot assign to field '{name}': fit\(\) learns it"):
            setattr(module, name, tg.ones(2))


@pytest.mark.parametrize("call", [
    lambda: nn.StandardScaler()(["a"]),
    lambda: nn.StandardScaler.fit(TABLE)([["a"] * 4]),
    lambda: nn.StandardScaler.fit(TABLE)(None),
    lambda: nn.StandardScaler.fit(TABLE, names="abcd"),
    lambda: nn.StandardScaler.fit(TABLE, names=[1, 2, 3, 4]),  # type: ignore[list-item]
    lambda: nn.StandardScaler.fit(TABLE, names=3),  # type: ignore[arg-type]
    lambda: nn.StandardScaler.fit(TABLE, names=["a"]),
    lambda: nn.MinMaxScaler.fit(TABLE, low="0"),  # type: ignore[arg-type]
    lambda: nn.MinMaxScaler.fit(TABLE, low=float("nan")),
    lambda: nn.MeanImputer.fit([[np.nan]], ["a"], fallback={"a": "x"}),  # type: ignore[dict-item]
    lambda: nn.MeanImputer.fit([[np.nan]], ["a"], fallback=3),  # type: ignore[arg-type]
    lambda: nn.OneHotEncoder.fit(3),  # type: ignore[arg-type]
    lambda: nn.OneHotEncoder.fit(["a"], 3),  # type: ignore[arg-type]
    lambda: nn.OneHotEncoder(["a"], unknown="ones"),  # type: ignore[arg-type]
    lambda: nn.OneHotEncoder(3),  # type: ignore[arg-type]
    lambda: nn.OneHotEncoder.fit(["a", "b"])(tg.ones(2, 2)),
    lambda: nn.OneHotEncoder.fit(["a", "b"])(["a"]),
    lambda: nn.OneHotEncoder.fit(["a", "b"])(tg.tensor(1.0)),
    lambda: nn.StandardScaler([1.0, 2.0], [1.0]),
    lambda: nn.StandardScaler([[1.0]], [[1.0]]),
    lambda: nn.StandardScaler(["a"], ["b"]),
    lambda: nn.StandardScaler([1.0], [1.0], ["a", "b"]),
    lambda: nn.StandardScaler([1.0], [0.0]),
    lambda: nn.MeanImputer([np.nan]),
    lambda: nn.StandardScaler.fit([[1e200], [-1e200]]),
    lambda: nn.MinMaxScaler.fit([[1.7e308], [-1.7e308]]),
    lambda: nn.MeanImputer.fit([[1.7e308], [1.7e308]]),
])  # fmt: skip
def test_misuse_is_refused_in_our_words(call: Any) -> None:
    with pytest.raises(TinygradError, match=r"^\[(StandardScaler|MinMaxScaler|MeanImputer|OneHotEncoder)"):
        call()
    assert issubclass(DTypeError, TinygradError)
