"""Datasets as PyTorch's `torch.utils.data` has them: samples by index (`Dataset`) or one after another
(`IterableDataset`), and what is made of them. `DataLoader` (`loader.py`) cuts them into batches.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

from ..errors import DataError, IndexOutOfRange, message
from ..random import Generator, randperm
from ..support.settings import is_iterable, is_number, is_whole, shown
from ..tensor import Tensor
from .sampler import check_indices

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Samples by index: a subclass has `__getitem__`, and `__len__` where it is finite. `a + b` is one after the other.

    A subclass that reads many samples at once faster than one by one may have `__getitems__(indices)` too.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, k):
    ...         return k * k
    >>> squares = Squares()
    >>> [squares[k] for k in range(len(squares))]
    [0, 1, 4, 9]
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(message(type(self).__name__, "no __getitem__", "a dataset that has one"))

    def __add__(self, other: Dataset[Any]) -> Any:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T], Iterable[T]):
    """Samples one after another, from `__iter__`: streams, and what has no index. `a + b` is one after the other.

    With several workers each of them has a copy and goes through all of it, unless `__iter__` asks `get_worker_info`
    for its share.

    >>> import tinygrad_nn as tg
    >>> class Count(IterableDataset):
    ...     def __iter__(self):
    ...         return iter([1, 2, 3])
    >>> [batch.tolist() for batch in tg.data.DataLoader(Count(), batch_size=2)]
    [[1, 2], [3]]
    """

    def __add__(self, other: Dataset[Any]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """The rows of tensors that agree in their first axis.

    >>> import tinygrad_nn as tg
    >>> TensorDataset(tg.tensor([[1, 2], [3, 4]]), tg.tensor([5, 6]))[1]
    (tensor([3, 4]), tensor(6))
    """

    def __init__(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor) or not tensor.ndim:
                got = f"a {type(tensor).__name__}" + " of no axis" * isinstance(tensor, Tensor)
                raise DataError(message("TensorDataset", got, "tensors with one row per sample", "use tg.as_tensor"))
        if len({len(tensor) for tensor in tensors}) != 1:
            got = f"tensors of {[len(tensor) for tensor in tensors]} rows"
            raise DataError(message("TensorDataset", got, "one or more tensors of one length"))
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset[T]):
    """The samples of a dataset at some indices.

    >>> Subset("abcdef", [5, 0])[0]
    'f'
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        check_indices("Subset", indices)
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]  # type: ignore[no-any-return]
        return self.dataset[self.indices[index]]  # type: ignore[no-any-return]

    def __getitems__(self, indices: list[int]) -> list[T]:
        return samples(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T]):
    """Datasets one after another, as one. Raises DataError for none, and for those without indices.

    >>> ConcatDataset(["abc", "de"])[3]
    'd'
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        if not is_iterable(datasets):
            raise DataError(message("ConcatDataset", f"datasets {shown(datasets)}", "datasets"))
        self.datasets: list[Any] = list(datasets)
        if not self.datasets:
            raise DataError(message("ConcatDataset", "no datasets", "one or more"))
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise DataError(message("ConcatDataset", "an IterableDataset", "datasets with indices",
                                        "ChainDataset takes it"))  # fmt: skip
            _check_sized("ConcatDataset", dataset)
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T:
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexOutOfRange(message("ConcatDataset", f"index {index} for {len(self)} samples", "one of them"))
        number = bisect_right(self.cumulative_sizes, place)
        before = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][place - before]  # type: ignore[no-any-return]


class ChainDataset(IterableDataset[Any]):
    """Iterable datasets one after another, as one.

    >>> class Count(IterableDataset):
    ...     def __iter__(self):
    ...         return iter([1, 2])
    >>> list(ChainDataset([Count(), Count()]))
    [1, 2, 1, 2]
    """

    def __init__(self, datasets: Iterable[Dataset[Any]]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            yield from _iterable(dataset)

    def __len__(self) -> int:
        return sum(len(_iterable(dataset)) for dataset in self.datasets)


class StackDataset(Dataset[Any]):
    """Datasets of one length side by side: a sample is a tuple of theirs, or a dict for named ones.

    >>> StackDataset(image="ab", label=[1, 0])[1]
    {'image': 'b', 'label': 0}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            got = "datasets with names and without" if args else "no datasets"
            raise DataError(message("StackDataset", got, "one or more, all with names or none"))
        self.datasets: Any = args or kwargs
        for dataset in args or kwargs.values():
            _check_sized("StackDataset", dataset)
        lengths = [len(dataset) for dataset in args or kwargs.values()]
        if len(set(lengths)) > 1:
            raise DataError(message("StackDataset", f"datasets of {lengths} samples", "one length"))
        self._length = lengths[0]

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        named = self.datasets if isinstance(self.datasets, dict) else dict(enumerate(self.datasets))
        columns = [samples(dataset, indices) for dataset in named.values()]
        for column in columns:
            if len(column) != len(indices):
                got = f"{len(column)} samples for {len(indices)} indices"
                raise DataError(message("StackDataset", got, "one sample for each"))
        rows = zip(*columns, strict=True)
        return [dict(zip(named, row, strict=True)) if isinstance(self.datasets, dict) else row for row in rows]

    def __len__(self) -> int:
        return self._length


def samples(dataset: Any, indices: list[int]) -> list[Any]:
    """Several samples of a dataset: at once if it knows how, else one by one."""
    at_once = getattr(dataset, "__getitems__", None)
    return at_once(indices) if callable(at_once) else [dataset[i] for i in indices]


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None) -> list[Subset[T]]:
    """Disjoint random parts: so many samples in each, or fractions that sum to 1 (rounded down; the samples that are
    left go to the first parts, one each). Raises DataError for lengths that do not sum to the dataset's.

    >>> [len(part) for part in random_split(range(10), [0.65, 0.2, 0.15])]
    [7, 2, 1]
    """
    _check_sized("random_split", dataset)
    total, wanted = len(dataset), list(lengths) if is_iterable(lengths) else []
    if not is_iterable(lengths) or not all(is_number(length) and length >= 0 for length in wanted):
        raise DataError(message("random_split", f"lengths {shown(lengths)}", "counts or fractions, none below 0"))
    if math.isclose(sum(wanted), 1) and sum(wanted) <= 1:
        counts = [math.floor(total * fraction) for fraction in wanted]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
        for i, count in enumerate(counts):
            if count == 0:
                warnings.warn(f"[random_split] part {i} of {total} samples is empty", stacklevel=2)
    elif all(map(is_whole, wanted)) and sum(wanted) == total:
        counts = [int(count) for count in wanted]
    else:
        got = f"lengths {shown(wanted)} with sum {sum(wanted):g} for {total} samples"
        raise DataError(message("random_split", got, f"counts that sum to {total}, or fractions that sum to 1"))
    order = randperm(total, generator=generator).tolist()
    return [Subset(dataset, order[end - count : end]) for end, count in zip(accumulate(counts), counts, strict=True)]


def _check_sized(owner: str, dataset: Any) -> None:
    """Raise DataError for what has no samples that can be counted and chosen."""
    if isinstance(dataset, type) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(message(owner, f"a dataset {shown(dataset)}", "one with __getitem__ and __len__"))


def _iterable(dataset: Any) -> Any:
    if not isinstance(dataset, IterableDataset):
        raise DataError(message("ChainDataset", f"a {type(dataset).__name__}", "IterableDatasets"))
    return dataset
