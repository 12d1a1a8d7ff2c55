"""Operators of other domains: steps of training, n-grams, and the models of ai.onnx.ml that compute with numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...support.arrays import Array
from ...tensor import Tensor
from ...tensor.joining import cat
from ..model import Constant
from .form import Value, bad, given
from .indexing import gather

# ---- steps of training ----------------------------------------------------------------------------------------------


def each(step: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor], parts: int) -> tuple[Tensor, ...]:
    """A step for each weight. First come all weights, then all gradients, then each state; so do the results."""
    n = len(tensors) // parts
    rows = [step(*tensors[k::n]) for k in range(n)]
    return tuple(one for column in zip(*rows, strict=True) for one in column)


def adagrad(
    rate: Tensor,
    count: Tensor,
    *tensors: Tensor,
    decay_factor: float = 0.0,
    epsilon: float = 0.0,
    norm_coefficient: float = 0.0,
) -> tuple[Tensor, ...]:
    """Duchi et al. 2011."""

    def step(x: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        slow = rate / (1 + count.to(x.dtype) * decay_factor)
        g = norm_coefficient * x + g
        h = h + g * g
        return x - slow * g / (h.sqrt() + epsilon), h

    return each(step, tensors, 3)


def adam(
    rate: Tensor,
    count: Tensor,
    *tensors: Tensor,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 0.0,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Tensor, ...]:
    """Kingma and Ba 2015."""

    def step(x: Tensor, g: Tensor, v: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        g = norm_coefficient * x + g
        v, h = alpha * v + (1 - alpha) * g, beta * h + (1 - beta) * g * g
        t = count.to(x.dtype)
        fair = (rate * (1 - beta**t).sqrt() / (1 - alpha**t)).where(count > 0, rate)
        return (1 - norm_coefficient_post) * (x - fair * v / (h.sqrt() + epsilon)), v, h

    return each(step, tensors, 4)


def momentum(
    rate: Tensor, count: Tensor, *tensors: Tensor, alpha: float, beta: float, mode: str, norm_coefficient: float
) -> tuple[Tensor, ...]:
    """Gradient descent with momentum, or Nesterov's."""

    def step(x: Tensor, g: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        g = norm_coefficient * x + g
        v = alpha * v + (beta * g).where(count > 0, g)
        return x - rate * (v if mode == "standard" else g + alpha * v), v

    return each(step, tensors, 3)


# ---- n-grams --------------------------------------------------------------------------------------------------------


def tfidf(
    x: Tensor,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Any,
    ngram_indexes: Any,
    pool_int64s: Any = (),
    pool_strings: Any = (),
    weights: Any = (),
) -> Tensor:
    """How often n-grams of a pool come in each row, also with gaps."""
    if pool_strings:
        raise bad("a pool of strings", "integers")
    pool: dict[tuple[int, ...], int] = {}
    bounds = [*ngram_counts, len(pool_int64s)]
    for size in range(1, len(ngram_counts) + 1):
        for at in range(bounds[size - 1], bounds[size], size):
            pool[tuple(pool_int64s[at : at + size])] = len(pool)
    rows = np.asarray(x.numpy()).reshape(-1, x.shape[-1] if x.ndim else 1)
    found = np.zeros((len(rows), max(ngram_indexes) + 1), np.float32)
    for row, line in zip(found, rows.tolist(), strict=True):
        for size in range(min_gram_length, max_gram_length + 1):
            for skip in range(1, 1 + (max_skip_count + 1 if size > 1 else 1)):
                grams = (tuple(line[at : at + skip * size : skip]) for at in range(len(line) - skip * (size - 1)))
                for gram, count in Counter(grams).items():
                    if len(gram) == size and gram in pool:
                        row[ngram_indexes[pool[gram]]] += count
    if mode != "TF":
        by = np.ones(found.shape[1], np.float32)
        by[list(ngram_indexes)] = weights or 1
        found = (found if mode == "TFIDF" else (found > 0).astype(np.float32)) * by
    return given(found.reshape(*x.shape[:-1], -1))


# ---- ai.onnx.ml -----------------------------------------------------------------------------------------------------


def features(x: Tensor, index: Tensor) -> Tensor:
    """Some columns."""
    found = gather(x, index.reshape(-1), axis=-1)
    return found.reshape(1, -1) if x.ndim == 1 else found


def binarizer(x: Tensor, *, threshold: float = 0.0) -> Tensor:
    """1 above a threshold, else 0."""
    return (x > threshold).to(x.dtype)


def scaler(x: Tensor, *, offset: Any = (0.0,), scale: Any = (1.0,)) -> Tensor:
    """(x - offset) * scale."""
    x = x if x.dtype.kind == "f" else x.float()
    return (x - x.new_tensor(list(offset))) * x.new_tensor(list(scale))


def normalizer(x: Tensor, *, norm: str = "MAX") -> Tensor:
    """Rows by their norm."""
    x = x if x.dtype.kind == "f" else x.float()
    size = x.abs()
    whole = {"MAX": lambda: size.amax(-1, keepdim=True), "L1": lambda: size.sum(-1, keepdim=True)}
    found = whole.get(norm, lambda: (x * x).sum(-1, keepdim=True).sqrt())()
    return x / found.where(found != 0, found.new_ones(()))


def imputer(
    x: Tensor,
    *,
    imputed_value_floats: Any = None,
    imputed_value_int64s: Any = None,
    replaced_value_float: float = float("nan"),
    replaced_value_int64: int = 0,
) -> Tensor:
    """What is missing, by a number for each column."""
    real = x.dtype.kind == "f"
    gone = replaced_value_float if real else replaced_value_int64
    missing = x.isnan() if real and np.isnan(gone) else x == gone
    return x.new_tensor(list(imputed_value_floats if real else imputed_value_int64s)).where(missing, x)


POST: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "NONE": lambda x: x,
    "LOGISTIC": lambda x: x.sigmoid(),
    "SOFTMAX": lambda x: x.softmax(-1),
}


def finished(x: Tensor, post: str) -> Tensor:
    """What comes after the last sum."""
    if post not in POST:
        raise bad(f"post_transform {post}", ", ".join(POST))
    return POST[post](x)


def linear_regressor(
    x: Tensor, *, coefficients: Any, intercepts: Any = (), post_transform: str = "NONE", targets: int = 1
) -> Tensor:
    """A line for each target."""
    x = x if x.dtype.kind == "f" else x.float()
    weights = np.array(coefficients, x.dtype).reshape(targets, -1)
    found = x @ given(np.ascontiguousarray(weights.T))
    return finished(found + x.new_tensor(list(intercepts)) if intercepts else found, post_transform)


def linear_classifier(
    x: Tensor,
    *,
    classlabels_ints: Any = None,
    classlabels_strings: Any = None,
    coefficients: Any,
    intercepts: Any = (),
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> tuple[Tensor, Tensor]:
    """The class of the largest score, and the scores."""
    if classlabels_strings:
        raise bad("classes that are strings", "integers")
    labels = list(classlabels_ints or ())
    rows = len(coefficients) // x.shape[-1]
    scores = linear_regressor(x, coefficients=coefficients, intercepts=intercepts, targets=rows)
    if rows == 1 and len(labels) == 2:
        single = finished(scores, post_transform) if post_transform == "LOGISTIC" else scores
        other = 1 - single if post_transform == "LOGISTIC" else -single
        limit = 0.5 if post_transform == "LOGISTIC" else 0.0
        best = (single[:, 0] > limit).long()
        return given(np.array(labels, np.int64)).index_select(0, best), cat([other, single], 1)
    return given(np.array(labels, np.int64)).index_select(0, scores.argmax(-1)), finished(scores, post_transform)


def label_encoder(
    x: Value,
    *,
    default_float: float = 0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: Constant | None = None,
    keys_floats: Any = None,
    keys_int64s: Any = None,
    keys_strings: Any = None,
    keys_tensor: Constant | None = None,
    values_floats: Any = None,
    values_int64s: Any = None,
    values_strings: Any = None,
    values_tensor: Constant | None = None,
) -> Tensor:
    """Numbers by other numbers."""
    if keys_strings or values_strings:
        raise bad("labels that are strings", "numbers")
    keys = keys_tensor.array if keys_tensor is not None else np.array(keys_floats or keys_int64s)
    if values_tensor is not None:
        values, usual = values_tensor.array, default_tensor.array if default_tensor is not None else np.zeros(1)
    elif values_floats is not None:
        values, usual = np.array(values_floats, np.float32), np.array(default_float)
    else:
        values, usual = np.array(values_int64s, np.int64), np.array(default_int64)
    found = given(usual.reshape(-1)[0].astype(values.dtype)).broadcast_to(x.tensor.shape)
    for key, value in zip(keys.tolist(), values, strict=True):
        same = x.tensor.isnan() if key != key else x.tensor == key
        found = given(value).where(same, found)
    return found


COMPARE: Final[tuple[Callable[[Array, Array], Array], ...]] = (
    np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal,
)  # fmt: skip


def tree_ensemble(
    x: Tensor,
    *,
    aggregate_function: int = 1,
    leaf_targetids: Any,
    leaf_weights: Constant,
    membership_values: Any = None,
    n_targets: int = 1,
    nodes_falseleafs: Any,
    nodes_falsenodeids: Any,
    nodes_featureids: Any,
    nodes_hitrates: Any = None,
    nodes_missing_value_tracks_true: Any = None,
    nodes_modes: Constant,
    nodes_splits: Constant,
    nodes_trueleafs: Any,
    nodes_truenodeids: Any,
    post_transform: int = 0,
    tree_roots: Any,
) -> Tensor:
    """Trees whose leaves are summed, averaged, or of which the least or the largest counts."""
    rows = np.asarray(x.detach().numpy())
    modes, splits = nodes_modes.array.astype(int), nodes_splits.array
    sets: dict[int, list[float]] = {}
    members = iter([] if membership_values is None else membership_values.array.tolist())
    for k in np.flatnonzero(modes == 6):
        sets[int(k)] = []
        for one in members:
            if np.isnan(one):
                break
            sets[int(k)].append(one)
    weights, targets = leaf_weights.array, np.array(leaf_targetids)
    start = {0: 0.0, 1: 0.0, 2: np.inf, 3: -np.inf}[aggregate_function]
    found = np.full((len(rows), n_targets), start, rows.dtype)
    fold = {0: np.add, 1: np.add, 2: np.minimum, 3: np.maximum}[aggregate_function]
    for root in tree_roots:
        single = (
            nodes_trueleafs[root] and nodes_falseleafs[root] and nodes_truenodeids[root] == nodes_falsenodeids[root]
        )
        for line, row in enumerate(rows):
            at, leaf = int(root), bool(single)
            for _ in range(len(modes) + 1):
                if leaf:
                    break
                value = row[nodes_featureids[at]]
                holds = value in sets[at] if modes[at] == 6 else COMPARE[modes[at]](value, splits[at])
                if nodes_missing_value_tracks_true is not None and nodes_missing_value_tracks_true[at]:
                    holds = holds or np.isnan(value)
                leaf = bool((nodes_trueleafs if holds else nodes_falseleafs)[at])
                at = int((nodes_truenodeids if holds else nodes_falsenodeids)[at])
            else:
                raise bad("a tree that goes round in circles", "one with leaves")
            own = weights[at] / len(tree_roots) if aggregate_function == 0 else weights[at]
            found[line, targets[at]] = fold(found[line, targets[at]], own)
    return finished(given(found), {0: "NONE", 1: "SOFTMAX", 2: "LOGISTIC"}.get(post_transform, str(post_transform)))


OPERATORS: Final[Mapping[str, Any]] = {
    "TfIdfVectorizer": tfidf,
    "ai.onnx.ml.ArrayFeatureExtractor": features,
    "ai.onnx.ml.Binarizer": binarizer,
    "ai.onnx.ml.Imputer": imputer,
    "ai.onnx.ml.LabelEncoder": label_encoder,
    "ai.onnx.ml.LinearClassifier": linear_classifier,
    "ai.onnx.ml.LinearRegressor": linear_regressor,
    "ai.onnx.ml.Normalizer": normalizer,
    "ai.onnx.ml.Scaler": scaler,
    "ai.onnx.ml.TreeEnsemble": tree_ensemble,
    "ai.onnx.preview.training.Adagrad": adagrad,
    "ai.onnx.preview.training.Adam": adam,
    "ai.onnx.preview.training.Momentum": momentum,
}
