"""The order of samples: indices one by one, or in lists of a batch each (`BatchSampler`), as PyTorch's samplers.

Random ones draw from their generator, or from the default one, when somebody begins to go through them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from ..errors import ConfigError, message
from ..random import Generator, multinomial, randint, randperm
from ..support.settings import flags, integer, is_whole, shown
from ..tensor.creation import as_tensor

T = TypeVar("T", covariant=True)
_AT_ONCE: Final = 1024  # so many draws with replacement: there may be more to come than memory holds


class Sampler(Generic[T]):
    """Base of the samplers: a subclass has `__iter__`, which gives indices, or lists of them, and `__len__`.

    >>> list(SequentialSampler([10, 20, 30])), isinstance(SequentialSampler([]), Sampler)
    ([0, 1, 2], True)
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(message(type(self).__name__, "no __iter__", "a sampler that has one"))


def check_indices(owner: str, indices: Any) -> None:
    """Raise ConfigError for what is no sequence of whole numbers."""
    if hasattr(indices, "dtype"):
        right = getattr(indices.dtype, "kind", "") in ("i", "u") and len(indices.shape) == 1
    else:
        right = isinstance(indices, Sequence) and not isinstance(indices, (str, bytes)) and all(map(is_whole, indices))
    if not right:
        raise ConfigError(message(owner, f"indices {shown(indices)}", "a sequence of whole numbers"))


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ...: always in the same order.

    >>> list(SequentialSampler([10, 20, 30]))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A permutation, or draws with replacement; `num_samples` of them, by default as many as there are.

    >>> sorted(RandomSampler("abcd"))
    [0, 1, 2, 3]
    """

    @flags
    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if num_samples is not None:
            integer("RandomSampler", "num_samples", num_samples, least=1)
        self.data_source, self.replacement, self._num_samples = data_source, replacement, num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """How many indices there are."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, count = len(self.data_source), self.num_samples
        if n == 0:
            return
        if self.replacement:
            for start in range(0, count, _AT_ONCE):
                yield from randint(n, size=(min(_AT_ONCE, count - start),), generator=self.generator).tolist()
            return
        while count > 0:
            yield from randperm(n, generator=self.generator).tolist()[:count]
            count -= n

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Some indices, in random order.

    >>> sorted(SubsetRandomSampler([1, 3, 5]))
    [1, 3, 5]
    """

    @flags
    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        check_indices("SubsetRandomSampler", indices)
        self.indices, self.generator = indices, generator

    def __iter__(self) -> Iterator[int]:
        for place in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[place]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` draws with probabilities that are proportional to the weights, which need not sum to 1.

    >>> list(WeightedRandomSampler([0.0, 3.0, 0.0], 4))
    [1, 1, 1, 1]
    """

    @flags
    def __init__(
        self,
        weights: Sequence[float] | Any,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        self.num_samples = integer("WeightedRandomSampler", "num_samples", num_samples, least=1)
        self.weights = as_tensor(weights, dtype="float64")
        if self.weights.ndim != 1:
            got = f"weights of shape {self.weights.shape}"
            raise ConfigError(message("WeightedRandomSampler", got, "one number for each sample"))
        self.replacement, self.generator = replacement, generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The indices of a sampler in lists of `batch_size`; the last one shorter, or left out with `drop_last`.

    >>> list(BatchSampler(range(5), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    @flags
    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not hasattr(sampler, "__iter__") and not hasattr(sampler, "__getitem__"):
            raise ConfigError(message("BatchSampler", f"sampler {shown(sampler)}", "a sampler, or indices"))
        self.batch_size = integer("BatchSampler", "batch_size", batch_size, least=1)
        self.sampler, self.drop_last = sampler, drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(islice(indices, self.batch_size)):
            if len(batch) < self.batch_size and self.drop_last:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
