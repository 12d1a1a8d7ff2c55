"""Splits: every row once, the same rows for the same seed, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nn import data
from tinygrad_nn.data import KFold, kfold, split_indices, train_test_split
from tinygrad_nn.data.split import take
from tinygrad_nn.data.streams import stream
from tinygrad_nn.errors import DataError


@given(n=st.integers(10, 200), seed=st.integers(0, 100), shuffle=st.booleans())
def test_every_row_is_in_exactly_one_part(n: int, seed: int, shuffle: bool) -> None:
    parts = split_indices(n, (0.6, 0.2, 0.2), seed=seed, shuffle=shuffle)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert abs(len(part) - share * n) <= 1


def test_file_order_and_rounding() -> None:
    train, validation, test = split_indices(891, (0.6, 0.2, 0.2), shuffle=False)
    assert (train[0], train[-1], validation[0], validation[-1], test[0], test[-1]) == (0, 533, 534, 711, 712, 890)


def test_same_seed_same_rows() -> None:
    first, again, other = (split_indices(20, seed=seed)[0].tolist() for seed in (42, 42, 43))
    assert first == again != other
    assert split_indices(8, (4, 4), seed=42)[0].tolist() == [3, 5, 0, 6]  # frozen: what a user has published stays


def test_counts() -> None:
    assert [len(part) for part in split_indices(10, (7, 2, 1))] == [7, 2, 1]


def test_arrays_and_lists_are_divided_alike() -> None:
    x = np.arange(20).reshape(10, 2)
    ragged = [np.full((i + 1, 1), i) for i in range(10)]
    x_train, x_test, r_train, r_test = train_test_split(x, ragged, seed=3)
    assert x_train.shape == (8, 2)
    assert isinstance(r_test, list)
    assert (x_train[:, 0] // 2).tolist() == [int(r[0, 0]) for r in r_train]
    assert (x_test[:, 0] // 2).tolist() == [int(r[0, 0]) for r in r_test]


@given(counts=st.lists(st.integers(10, 40), min_size=2, max_size=4), seed=st.integers(0, 100),
       sizes=st.sampled_from([(0.6, 0.4), (0.5, 0.3, 0.2)]))
def test_stratified_parts_hold_each_class_in_its_share(counts: list[int], seed: int, sizes: Any) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = split_indices(len(labels), sizes, seed=seed, stratify=labels)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part, share in zip(parts, sizes, strict=True):
        assert np.all(np.abs(np.bincount(labels[part], minlength=len(counts)) - share * np.array(counts)) < 2.0)


def test_stratified_order_is_random_within_a_part() -> None:
    labels = np.repeat([0, 1], 50)
    train, _ = split_indices(100, stratify=labels, seed=1)
    assert len(set(labels[train][::2].tolist())) == 2  # the classes do not alternate
    assert train.tolist() != sorted(train.tolist())


@pytest.mark.parametrize(("n", "k"), [(10, 3), (5, 5), (891, 10)])
def test_kfold(n: int, k: int) -> None:
    folds = kfold(n, k, seed=7)
    assert len(folds) == k
    assert sorted(np.concatenate([validation for _, validation in folds]).tolist()) == list(range(n))
    for train, validation in folds:
        assert sorted([*train.tolist(), *validation.tolist()]) == list(range(n))
        assert len(validation) in (n // k, -(-n // k))
    first, again, other = ([fold.tolist() for _, fold in kfold(n, k, seed=seed)] for seed in (7, 7, 8))
    assert first == again != other


@given(counts=st.lists(st.integers(6, 40), min_size=2, max_size=4), k=st.integers(2, 6), seed=st.integers(0, 100))
def test_stratified_folds_hold_each_class_in_its_share(counts: list[int], k: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    folds = kfold(len(labels), k, seed=seed, stratify=labels)
    assert sorted(np.concatenate([fold for _, fold in folds]).tolist()) == list(range(len(labels)))
    for train, fold in folds:
        assert sorted([*train.tolist(), *fold.tolist()]) == list(range(len(labels)))
        assert len(fold) in (len(labels) // k, -(-len(labels) // k))
        share = np.bincount(labels[fold], minlength=len(counts))
        assert np.all(np.abs(share - np.array(counts) * len(fold) / len(labels)) < 2.0)


def test_stratified_folds_are_a_function_of_the_seed() -> None:
    labels = np.repeat([0, 1], 20)
    first, again, other = ([fold.tolist() for _, fold in kfold(40, 4, seed=s, stratify=labels)] for s in (1, 1, 2))
    assert first == again != other
    assert first[0] != sorted(first[0])


def test_a_seed_means_another_order_for_every_purpose() -> None:
    n = 12
    steps = data.Sequences([str(i) for i in range(n)], [np.full((1, 1), i) for i in range(n)], [np.zeros((1, 1))] * n)
    for seed in range(20):
        orders = [
            np.random.default_rng(seed).permutation(n).tolist(),  # what a user's own generator begins with
            np.concatenate(split_indices(n, (4, 4, 4), seed=seed)).tolist(),
            np.concatenate([fold for _, fold in kfold(n, 3, seed=seed)]).tolist(),
            [int(name) for name in steps.shuffle(seed).names],
            *(stream(purpose, seed).permutation(n).tolist() for purpose in ("titanic", "fraud", "payments")),
        ]
        assert len({tuple(order) for order in orders}) == len(orders)


@pytest.mark.parametrize("draw", [
    lambda seed: split_indices(5, seed=seed), lambda seed: kfold(5, seed=seed),
    lambda seed: data.synthetic.fraud(seed=seed), lambda seed: data.synthetic.temperature(seed=seed),
    lambda seed: data.synthetic.fraud().shuffle(seed),
])
@pytest.mark.parametrize("seed", [-1, 1.5, None, "7", True])
def test_what_is_no_seed(draw: Any, seed: Any) -> None:
    with pytest.raises(DataError, match=r"got seed=.*; expected a whole number, at least 0"):
        draw(seed)


def test_take() -> None:
    assert take((1, 2, 3), np.array([2, 0])) == (3, 1)
    assert take(np.array([1, 2, 3]), [2, 0]).tolist() == [3, 1]


@pytest.mark.parametrize(("call", "expected"), [
    (lambda: split_indices(0), r"\[split\] got no rows; expected at least one row per part"),
    (lambda: split_indices(10, (0.6, 0.3)), r"\[split\] got sizes \(0\.6, 0\.3\) with sum 0\.9; expected fractions "
                                            r"that sum to 1, or counts that sum to 10"),
    (lambda: split_indices(10, (8, 3)), r"got sizes \(8, 3\) with sum 11"),
    (lambda: split_indices(10, (1.2, -0.2)), r"got sizes \(1\.2, -0\.2\)"),
    (lambda: split_indices(10, (float("nan"), 1.0)), r"got sizes \(nan, 1\.0\)"),
    (lambda: split_indices(10, ()), r"got sizes \(\) with sum 0"),
    (lambda: split_indices(3, (0.1, 0.9)), r"got an empty part 0 for sizes \(0\.1, 0\.9\) of 3 rows"),
    (lambda: split_indices(10, (10, 0)), r"got an empty part 1"),
    (lambda: split_indices(4, stratify=[0, 1, 0, 1], shuffle=False), r"got stratify with shuffle=False"),
    (lambda: split_indices(4, stratify=[0, 1, 0]), r"got stratify of shape \(3,\); expected one label for each of 4"),
    (lambda: split_indices(10, stratify=["a"] * 9 + ["b"]), r"got no row of class 'b' \(1 in all\) in part "),
    (lambda: train_test_split(), r"\[train_test_split\] got arrays of lengths \[\]"),
    (lambda: train_test_split(np.zeros(3), np.zeros(4)), r"got arrays of lengths \[3, 4\]; expected .* one length"),
    (lambda: kfold(5, 1), r"\[kfold\] got k=1 for 5 rows; expected 2 <= k <= number of rows"),
    (lambda: kfold(5, 6), r"got k=6 for 5 rows"),
    (lambda: kfold(4, 2, stratify=[0, 1, 0, 1], shuffle=False), r"\[kfold\] got stratify with shuffle=False"),
    (lambda: kfold(4, 2, stratify=[0, 1, 0]), r"\[kfold\] got stratify of shape \(3,\); expected one label for each"),
    (lambda: kfold(6, 3, stratify=list("aaaaab")), r"\[kfold\] got no row of class 'b' \(1 in all\) in part "),
])
def test_refusals(call: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        call()


def classes_of(labels: Any, rows: Any) -> list[int]:
    return np.bincount(np.asarray(labels)[rows], minlength=max(labels) + 1).tolist()


def test_a_splitter_gives_the_folds_of_the_function() -> None:
    labels = [0, 1, 2] * 7
    for settings in ({}, {"shuffle": False}, {"seed": 3}, {"stratify": labels}, {"groups": np.arange(21) // 2}):
        splitter = KFold(4, **settings)
        for pairs in (splitter.split(21), splitter.split(np.zeros((21, 2)), labels), splitter.split(labels)):
            expected = kfold(21, 4, **settings)
            assert [[a.tolist(), b.tolist()] for a, b in pairs] == [[a.tolist(), b.tolist()] for a, b in expected]
        assert splitter.get_n_splits() == 4
    again = KFold(3, stratify=labels)
    assert [fold.tolist() for _, fold in again] == [fold.tolist() for _, fold in again.split(21)]


def test_leave_one_out() -> None:
    pairs = list(KFold("loo").split(4))
    assert [fold.tolist() for _, fold in pairs] == [[0], [1], [2], [3]]
    assert [train.tolist() for train, _ in pairs] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    assert KFold("loo").get_n_splits([7, 8, 9]) == 3
    whole = KFold("loo", groups=["b", "a", "b", "c"])
    assert [fold.tolist() for _, fold in whole] == [[1], [0, 2], [3]]
    assert whole.get_n_splits() == 3
    first = next(KFold("loo").split(20_000))  # one fold at a time: all of them are 3 GB
    assert first[0].tolist() == list(range(1, 20_000))


@given(sizes=st.lists(st.integers(1, 9), min_size=6, max_size=30), k=st.integers(2, 6), seed=st.integers(0, 100),
       shuffle=st.booleans())
def test_a_group_is_in_one_fold(sizes: list[int], k: int, seed: int, shuffle: bool) -> None:
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = kfold(len(groups), k, seed=seed, shuffle=shuffle, groups=groups)
    assert sorted(np.concatenate([fold for _, fold in folds]).tolist()) == list(range(len(groups)))
    counts = [len(fold) for _, fold in folds]
    for train, fold in folds:
        assert len(fold)
        assert set(groups[train]).isdisjoint(groups[fold])
        assert shuffle or fold.tolist() == sorted(fold.tolist())
    assert max(counts) - min(counts) <= max(sizes)  # as alike as whole groups allow


def test_groups_and_classes_at_once() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    labels = np.where(groups % 3 == 0, 0, rng.integers(0, 3, 300))
    folds = kfold(300, 5, groups=groups, stratify=labels)
    for train, fold in folds:
        assert set(groups[train]).isdisjoint(groups[fold])
        assert np.all(np.abs(np.array(classes_of(labels, fold)) - np.bincount(labels) / 5) <= 8)
    assert [f.tolist() for _, f in folds] == [f.tolist() for _, f in kfold(300, 5, groups=groups, stratify=labels)]
    other = kfold(300, 5, seed=1, groups=groups, stratify=labels)
    assert [f.tolist() for _, f in folds] != [f.tolist() for _, f in other]


def test_a_splitter_is_a_cv_of_scikit_learn() -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = np.arange(30.0).reshape(30, 1), np.arange(30) % 2
    for cv in (KFold(3), KFold("loo"), KFold(3, stratify=y), KFold(3, groups=np.arange(30) // 4)):
        scores = selection.cross_val_score(linear.LogisticRegression(), x, y, cv=cv)
        assert len(scores) == cv.get_n_splits(x)


def test_how_a_splitter_is_shown() -> None:
    assert repr(KFold(3, stratify=[0, 1], seed=4)) == "KFold(3, shuffle=True, seed=4, stratify=...)"


@pytest.mark.parametrize(("call", "expected"), [
    (lambda: KFold(1), r"\[KFold\] got k=1; expected 2 <= k <= number of rows, or 'loo'"),
    (lambda: KFold("lou"), "got k='lou'"),
    (lambda: KFold(2.5), r"got k=2\.5"),
    (lambda: KFold(True), "got k=True"),
    (lambda: KFold(3, seed=-1), "got seed=-1"),
    (lambda: KFold(3, shuffle="no"), "shuffle"),
    (lambda: KFold(3, shuffle=False, stratify=[0, 1]), "got stratify with shuffle=False"),
    (lambda: KFold("loo", stratify=[0, 1]), "got stratify with 'loo'"),
    (lambda: kfold(4, "loo", stratify=[0, 1, 0, 1]), "got stratify with 'loo'"),
    (lambda: list(KFold(5).split(4)), r"\[KFold\] got k=5 for 4 rows"),
    (lambda: list(KFold("loo").split(1)), "got 1 rows; expected at least 2 rows"),
    (lambda: list(KFold(2).split(None)), "got None; expected data with a length"),
    (lambda: list(KFold(2).split(np.float64(3))), "expected data with a length"),
    (lambda: list(KFold(2)), "got folds of unknown data; expected a call of split"),
    (lambda: list(KFold(2).split([1, 2, 3], [1, 2])), "got 2 targets for 3 rows"),
    (lambda: list(KFold(2, stratify=[0, 1, 0]).split(4)), r"got stratify of shape \(3,\)"),
    (lambda: list(KFold(2, groups=[0, 1, 0]).split(4)), r"got groups of shape \(3,\); expected one label for each"),
    (lambda: list(KFold(3, groups=[0, 1, 0, 1])), "got 2 groups for k=3; expected at least as many groups as folds"),
    (lambda: list(KFold("loo", groups=[1, 1, 1])), "got 1 groups for k='loo'"),
    (lambda: list(KFold(2, groups=[0, 0, 1, 1], stratify=[0, 0, 0, 1])), r"got no row of class 1 \(1 in all\) in "),
    (lambda: kfold(4, "two"), "got k='two' for 4 rows"),
    (lambda: kfold(4, 2, shuffle=False, groups=[0, 1, 2, 3], stratify=[0, 1, 0, 1]), "got stratify with shuffle=False"),
])  # fmt: skip
def test_refusals_of_folds(call: Any, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        call()
