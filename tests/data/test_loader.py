"""Datasets, samplers and the DataLoader, against PyTorch's where the order does not depend on random bits."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.data as ours_in_torch

import tinygrad_nn as tg
from tinygrad_nn import data
from tinygrad_nn.errors import ConfigError, DataError, DTypeError, IndexOutOfRange, ShapeError, TinygradError

Point = namedtuple("Point", ["x", "label"])


class Squares(data.Dataset[int]):
    def __init__(self, n: int = 10) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.n:
            raise IndexError(index)
        return index * index


class Stream(data.IterableDataset[int]):
    def __init__(self, n: int = 10, shared: bool = True) -> None:
        self.n, self.shared = n, shared

    def __iter__(self) -> Iterator[int]:
        info = data.get_worker_info() if self.shared else None
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


def plain(value: Any) -> Any:
    """A batch with tensors, ours or PyTorch's, as (dtype, numbers)."""
    if isinstance(value, (tg.Tensor, torch.Tensor)):
        return str(value.dtype).replace("torch.", ""), value.tolist()
    if isinstance(value, dict):
        return type(value).__name__, {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(one) for one in value]
    return value


BATCHES: dict[str, list[Any]] = {
    "ints": [1, 2],
    "bools": [True, False],
    "floats": [1.5, 2.0],
    "float and int": [1.5, 2],
    "texts": ["a", "b"],
    "bytes": [b"a", b"b"],
    "arrays": [np.arange(3.0), np.ones(3)],
    "float32 arrays": [np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)],
    "numpy numbers": [np.float32(1), np.float32(2)],
    "numpy int64": [np.int64(1), np.int64(2)],
    "tuples": [(1, "a", 2.0), (3, "b", 4.0)],
    "lists": [[1, 2], [3, 4]],
    "named": [Point(np.zeros(2), 1), Point(np.ones(2), 0)],
    "dicts": [{"x": 1, "y": {"z": "a"}}, {"x": 2, "y": {"z": "b"}}],
    "ordered dicts": [OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)],
    "nested": [((1, 2), [3.0]), ((4, 5), [6.0])],
    "ranges": [range(2), range(2, 4)],
}


@pytest.mark.parametrize("name", BATCHES)
def test_collate_and_convert_as_pytorch(name: str) -> None:
    batch = BATCHES[name]
    assert plain(data.default_collate(batch)) == plain(ours_in_torch.default_collate(batch))
    assert plain(data.default_convert(batch)) == plain(ours_in_torch.default_convert(batch))


def test_collate_stacks_tensors_and_keeps_gradients() -> None:
    w = tg.ones(2, requires_grad=True)
    batch = data.default_collate([w, w * 2])
    batch.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [3.0, 3.0]
    assert data.default_collate([tg.tensor([1, 2]), tg.tensor([3, 4])]).tolist() == [[1, 2], [3, 4]]


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: data.default_collate([]), DataError, "no samples"),
    (lambda: data.default_collate([object(), object()]), DTypeError, "samples of type object"),
    (lambda: data.default_collate([np.array(["a"]), np.array(["b"])]), DTypeError, "ndarray"),
    (lambda: data.default_collate([None]), DTypeError, "NoneType"),
    (lambda: data.default_collate([[1], [1, 2]]), DataError, r"lengths \[1, 2\]"),
    (lambda: data.default_collate([np.zeros(2), np.zeros(3)]), ShapeError, r"\(2,\) and \(3,\)"),
    (lambda: data.TensorDataset(), DataError, "one or more tensors"),
    (lambda: data.TensorDataset(tg.ones(2), tg.ones(3)), DataError, r"\[2, 3\]"),
    (lambda: data.TensorDataset(np.zeros(3)), DataError, "ndarray"),
    (lambda: data.TensorDataset(tg.tensor(1.0)), DataError, "no axis"),
    (lambda: data.ConcatDataset([]), DataError, "no datasets"),
    (lambda: data.ConcatDataset([Stream()]), DataError, "ChainDataset"),
    (lambda: data.ConcatDataset([Squares(3)])[3], IndexOutOfRange, "3 samples"),
    (lambda: data.ConcatDataset([Squares(3)])[-4], IndexOutOfRange, "index -4"),
    (lambda: list(data.ChainDataset([Squares()])), DataError, "Squares"),
    (lambda: data.StackDataset(), DataError, "no datasets"),
    (lambda: data.StackDataset(Squares(), x=Squares()), DataError, "with names and without"),
    (lambda: data.StackDataset(Squares(2), Squares(3)), DataError, r"\[2, 3\]"),
    (lambda: data.random_split(Squares(), [5, 4]), DataError, "sum 9 for 10"),
    (lambda: data.random_split(Squares(), [0.5, 0.6]), DataError, "fractions that sum to 1"),
    (lambda: data.random_split(Squares(), [-1, 11]), DataError, "none below 0"),
    (lambda: data.Dataset()[0], NotImplementedError, "__getitem__"),
    (lambda: data.RandomSampler(Squares(), num_samples=0), ConfigError, "num_samples 0"),
    (lambda: data.RandomSampler(Squares(), replacement=1), TinygradError, "replacement 1"),
    (lambda: data.WeightedRandomSampler([1.0], 0), ConfigError, "num_samples 0"),
    (lambda: data.WeightedRandomSampler([[1.0]], 2), ConfigError, r"\(1, 1\)"),
    (lambda: list(data.WeightedRandomSampler([-1.0, 1.0], 2)), ConfigError, "negative"),
    (lambda: data.BatchSampler(range(3), 0, False), ConfigError, "batch_size 0"),
    (lambda: data.BatchSampler(3, 1, False), ConfigError, "sampler 3"),
    (lambda: data.DataLoader(Squares(), batch_size=0), ConfigError, "batch_size 0"),
    (lambda: data.DataLoader(Squares(), batch_size=2.0), ConfigError, "batch_size 2.0"),
    (lambda: data.DataLoader(Squares(), num_workers=-1), ConfigError, "num_workers -1"),
    (lambda: data.DataLoader(Squares(), timeout=-1), ConfigError, "timeout -1"),
    (lambda: data.DataLoader(Squares(), prefetch_factor=2), ConfigError, "without workers"),
    (lambda: data.DataLoader(Squares(), persistent_workers=True), ConfigError, "without workers"),
    (lambda: data.DataLoader(Squares(), sampler=range(3), shuffle=True), ConfigError, "one of the two"),
    (lambda: data.DataLoader(Squares(), batch_sampler=[[1]], batch_size=2), ConfigError, "batch_sampler alone"),
    (lambda: data.DataLoader(Squares(), batch_sampler=[[1]], drop_last=True), ConfigError, "batch_sampler alone"),
    (lambda: data.DataLoader(Squares(), batch_size=None, drop_last=True), ConfigError, "drop_last"),
    (lambda: data.DataLoader(Stream(), shuffle=True), ConfigError, "IterableDataset"),
    (lambda: data.DataLoader(Stream(), sampler=range(3)), ConfigError, "sampler for an IterableDataset"),
    (lambda: data.DataLoader(3), ConfigError, "type int"),
    (lambda: data.DataLoader(Squares(), collate_fn=3), ConfigError, "collate_fn 3"),
    (lambda: data.DataLoader(Squares(), generator=3), ConfigError, "generator 3"),
    (lambda: setattr(data.DataLoader(Squares()), "batch_size", 3), ConfigError, "another batch_size"),
    (lambda: len(data.DataLoader(Stream())), TypeError, "len"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=[f"{k}" for k in range(len(WRONG))])
def test_what_is_refused(wrong: tuple[Callable[[], Any], type[Exception], str]) -> None:
    call, kind, words = wrong
    with pytest.raises(kind, match=words):
        call()


def torch_stream(n: int) -> Any:
    class Theirs(ours_in_torch.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[int]:
            return iter(range(n))

    return Theirs()


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("options", [
    {}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}, {"batch_size": 20},
    {"sampler": [3, 1, 2], "batch_size": 2}, {"batch_sampler": [[1, 2], [5]]}, {"batch_size": 4, "collate_fn": sum},
])  # fmt: skip
def test_batches_as_pytorch_with_and_without_workers(options: dict[str, Any], workers: int) -> None:
    loader = data.DataLoader(Squares(), num_workers=workers, **options)
    theirs = ours_in_torch.DataLoader(Squares(), **options)
    assert [plain(batch) for batch in loader] == [plain(batch) for batch in theirs]
    assert [plain(batch) for batch in loader] == [plain(batch) for batch in theirs]
    assert len(loader) == len(theirs)
    assert (loader.batch_size, loader.drop_last) == (theirs.batch_size, theirs.drop_last)
    if "sampler" not in options and "batch_sampler" not in options:
        flow = data.DataLoader(Stream(), num_workers=min(workers, 1), **options)
        assert [plain(b) for b in flow] == [plain(b) for b in ours_in_torch.DataLoader(torch_stream(10), **options)]


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 3, "prefetch_factor": 1}])
def test_shuffled_order_is_of_the_seed_alone(options: dict[str, Any]) -> None:
    def orders(**more: Any) -> list[Any]:
        loader = data.DataLoader(Squares(50), 7, shuffle=True, **more)
        return [[batch.tolist() for batch in loader] for _ in range(2)]

    tg.manual_seed(3)
    plain_orders = orders()
    tg.manual_seed(3)
    assert orders(**options) == plain_orders
    assert plain_orders[0] != plain_orders[1]
    assert sorted(number for batch in plain_orders[0] for number in batch) == [i * i for i in range(50)]
    own = orders(generator=tg.Generator(5), **options)
    assert own == orders(generator=tg.Generator(5)) != plain_orders


def test_workers_share_a_stream_or_repeat_it() -> None:
    seen = [batch.tolist() for batch in data.DataLoader(Stream(10), 2, num_workers=3)]
    assert seen == [[0, 3], [1, 4], [2, 5], [6, 9], [7], [8]]
    assert len(list(data.DataLoader(Stream(4, shared=False), None, num_workers=3))) == 12


def test_rows_of_tensors_are_those_of_one_by_one() -> None:
    x, y = tg.randn(7, 2), tg.arange(7)
    whole = data.TensorDataset(x, y)
    part = data.Subset(data.Subset(whole, [6, 4, 2, 0]), range(1, 4))

    class Slow(data.TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            return super().__getitem__(index)

    for dataset, slow in ((whole, Slow(x, y)), (part, data.Subset(Slow(x, y), [4, 2, 0]))):
        fast = [plain(batch) for batch in data.DataLoader(dataset, 2)]
        assert fast == [plain(batch) for batch in data.DataLoader(slow, 2)]
    for batch, _ in data.DataLoader(whole, 7):
        batch.zero_()
    assert x.abs().sum().item() > 0


def test_random_numbers_of_workers_follow_the_seed() -> None:
    class Noisy(Squares):
        def __getitem__(self, index: int) -> Any:
            time.sleep(0.001 * (index % 3))
            return tg.rand(1)

    def drawn(seed: int) -> list[Any]:
        tg.manual_seed(seed)
        return [batch.tolist() for batch in data.DataLoader(Noisy(), 2, num_workers=3)]

    assert drawn(1) == drawn(1) != drawn(2)
    seeds: dict[int, tuple[int, int]] = {}

    def start(number: int) -> None:
        info = data.get_worker_info()
        assert info is not None
        assert info.dataset.n == 10
        seeds[number] = info.seed, tg.random.initial_seed()
        tg.manual_seed(1)

    tg.manual_seed(1)
    list(data.DataLoader(Noisy(), num_workers=2, worker_init_fn=start))
    assert seeds[0][0] == seeds[0][1] == seeds[1][0] - 1
    after = tg.rand(3).tolist()
    tg.manual_seed(1)
    list(data.DataLoader(Squares(), num_workers=2))
    assert tg.rand(3).tolist() == after
    assert data.get_worker_info() is None


def test_an_error_of_a_worker_comes_with_its_traceback() -> None:
    class Broken(Squares):
        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise KeyError("sample 3")
            return index

    for workers in (0, 2):
        batches = iter(data.DataLoader(Broken(), 2, num_workers=workers))
        assert next(batches).tolist() == [0, 1]
        with pytest.raises(KeyError, match="sample 3") as caught:
            next(batches)
        assert any(frame.name == "__getitem__" for frame in traceback.extract_tb(caught.value.__traceback__))
    assert caught.value.__notes__ == ["in worker 1 of a DataLoader"]

    def start(number: int) -> None:
        raise OSError("no file")

    with pytest.raises(OSError, match="no file"):
        list(data.DataLoader(Squares(), num_workers=2, worker_init_fn=start))

    class NoStream(data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            raise OSError("no stream")

    with pytest.raises(OSError, match="no stream"):
        list(data.DataLoader(NoStream(), num_workers=2))


def test_timeout() -> None:
    go_on = threading.Event()

    class Slow(Squares):
        def __getitem__(self, index: int) -> int:
            go_on.wait(60)
            return index

    with pytest.raises(DataError, match=r"no batch after 0\.01 s"):
        list(data.DataLoader(Slow(), num_workers=1, timeout=0.01))
    go_on.set()


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "_work" in thread.name]


def test_workers_end_with_their_epoch_or_stay() -> None:
    before = set(workers())
    batches = iter(data.DataLoader(Squares(100), num_workers=2))
    next(batches)
    started = set(workers()) - before
    assert len(started) == 2
    del batches  # left half way
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()
    calls: list[int] = []
    loader = data.DataLoader(Squares(6), 2, num_workers=2, persistent_workers=True, worker_init_fn=calls.append)
    next(iter(loader))
    assert [batch.tolist() for batch in loader] == [[0, 1], [4, 9], [16, 25]]
    assert sorted(calls) == [0, 1]
    started = set(workers()) - before
    del loader
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


def test_datasets_of_datasets() -> None:
    both = Squares(3) + Squares(2)
    assert [both[i] for i in range(-5, 5)] == [0, 1, 4, 0, 1] * 2
    assert both.cumulative_sizes == [3, 5]
    assert list(Stream(2) + Stream(3)) == [0, 1, 0, 1, 2]
    stacked = data.StackDataset(Squares(3), list("abc"))
    assert stacked[2] == (4, "c")
    assert stacked.__getitems__([0, 2]) == [(0, "a"), (4, "c")]
    named = data.StackDataset(x=data.Subset(Squares(), [3, 1]), y=[5, 6])
    assert named.__getitems__([1, 0]) == [{"x": 1, "y": 6}, {"x": 9, "y": 5}]
    assert plain(next(iter(data.DataLoader(named, 2)))) == plain({"x": tg.tensor([9, 1]), "y": tg.tensor([5, 6])})
    array = data.Subset(np.arange(10), [4, 2])
    assert array[[0, 1]].tolist() == [4, 2]


@pytest.mark.parametrize("lengths", [[7, 3], [0.5, 0.3, 0.2], [0.33, 0.33, 0.34], [1], [1.0], [10, 0]])
def test_random_split(lengths: list[float]) -> None:
    parts = data.random_split(Squares(10), lengths, generator=tg.Generator(0))
    theirs = ours_in_torch.random_split(Squares(10), lengths)  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [len(part) for part in theirs]
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    again = data.random_split(Squares(10), lengths, generator=tg.Generator(0))
    assert [list(part.indices) for part in again] == [list(part.indices) for part in parts]


def test_a_part_of_no_samples_is_worth_a_warning() -> None:
    with pytest.warns(UserWarning, match="part 1 of 3 samples is empty"):
        data.random_split(Squares(3), [0.9, 0.1])


def test_samplers() -> None:
    g = tg.Generator(1)
    assert sorted(data.RandomSampler(Squares(), generator=g)) == list(range(10))
    more = list(data.RandomSampler(Squares(), num_samples=25, generator=g))
    assert len(more) == 25
    assert sorted(more[:10]) == sorted(more[10:20]) == list(range(10))
    drawn = list(data.RandomSampler(Squares(4), replacement=True, num_samples=200, generator=g))
    assert set(drawn) == {0, 1, 2, 3}
    assert sorted(data.SubsetRandomSampler([5, 7, 9], generator=g)) == [5, 7, 9]
    heavy = list(data.WeightedRandomSampler([1, 0, 3], 4000, generator=g))
    assert heavy.count(1) == 0
    assert heavy.count(2) / 4000 == pytest.approx(0.75, abs=0.03)
    assert sorted(data.WeightedRandomSampler([1, 2, 3], 3, replacement=False, generator=g)) == [0, 1, 2]
    assert list(data.RandomSampler([], generator=g)) == []
    for n, size, drop in ((5, 2, False), (5, 2, True), (4, 2, False), (0, 3, False), (2, 5, True)):
        ours, theirs = data.BatchSampler(range(n), size, drop), ours_in_torch.BatchSampler(range(n), size, drop)
        assert (list(ours), len(ours)) == (list(theirs), len(theirs))


def test_ctrl_c_ends_the_wait() -> None:
    go_on = threading.Event()

    class Stuck(Squares):
        def __getitem__(self, index: int) -> int:
            if index == 0:
                os.kill(os.getpid(), signal.SIGINT)
                go_on.wait(60)
            return index

    with pytest.raises(KeyboardInterrupt):
        list(data.DataLoader(Stuck(), num_workers=1))
    go_on.set()


def test_draws_with_replacement_are_made_as_they_are_needed() -> None:
    endless = data.RandomSampler(range(7), replacement=True, num_samples=10**10)
    assert set(islice(endless, 2000)) == set(range(7))
    assert len(list(data.RandomSampler(range(7), replacement=True, num_samples=1500))) == 1500
