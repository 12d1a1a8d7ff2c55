"""Splits: every row once, the same rows for the same seed, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_nn import data
from tinygrad_nn.data import kfold, split_indices, train_test_split
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
