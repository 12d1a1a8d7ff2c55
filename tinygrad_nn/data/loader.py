"""`DataLoader`: a dataset in batches, as PyTorch's, with threads for workers.

Task k (the indices of batch k) goes to the workers in turn and every worker has a queue of results of its own, so
batches come in one order however fast who is. A worker has its copy of the dataset and its own stream of random
numbers, of the seed that the loader drew plus the worker's number, so one seed gives one run.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import partial
from itertools import repeat
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from ..errors import ConfigError, DataError, message
from ..random import Generator, fresh_seed, working_with
from ..support.settings import flags, integer, number, shown
from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset, Subset, TensorDataset, samples
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

_END: Final = object()  # what a worker answers that has no more samples
_FIXED: Final = {"batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"}


class WorkerInfo(NamedTuple):
    """Who a worker is: its number, how many there are, its seed and its copy of the dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Current(threading.local):
    worker: WorkerInfo | None = None


_current: Final = _Current()


def get_worker_info() -> WorkerInfo | None:
    """The worker that runs this code; None outside of the workers of a DataLoader.

    >>> get_worker_info() is None
    True
    """
    return _current.worker


class DataLoader:
    """Goes through a dataset in batches: `for x, y in DataLoader(dataset, batch_size=32, shuffle=True)`.

    Arguments as PyTorch's. `num_workers` threads read ahead, `prefetch_factor` batches each; the order is the same with
    them and without. An error of a worker arrives as it was raised, with its traceback. `pin_memory`, `in_order` and
    `multiprocessing_context` change nothing here. Raises ConfigError for what excludes each other.

    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    @flags
    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler[Any] | Iterable[Any] | None = None,
        batch_sampler: Sampler[list[Any]] | Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        self.num_workers = integer("DataLoader", "num_workers", num_workers, least=0)
        self.timeout = number("DataLoader", "timeout", timeout, least=0)
        if not num_workers and (prefetch_factor is not None or persistent_workers):
            got = "persistent_workers" if persistent_workers else f"prefetch_factor {prefetch_factor}"
            raise ConfigError(message("DataLoader", f"{got} without workers", "num_workers of at least 1"))
        ahead = 2 if prefetch_factor is None else integer("DataLoader", "prefetch_factor", prefetch_factor, least=1)
        self.prefetch_factor = ahead if num_workers else None
        for name, given in (("collate_fn", collate_fn), ("worker_init_fn", worker_init_fn)):
            if given is not None and not callable(given):
                raise ConfigError(message("DataLoader", f"{name} {shown(given)}", "a function"))
        if not isinstance(pin_memory_device, str):
            raise ConfigError(message("DataLoader", f"pin_memory_device {shown(pin_memory_device)}", "a text"))
        _check_order(isinstance(dataset, IterableDataset), batch_size, shuffle, sampler, batch_sampler, drop_last)
        if not isinstance(dataset, IterableDataset) and not hasattr(dataset, "__getitem__"):
            got = f"a dataset of type {type(dataset).__name__}"
            raise ConfigError(message("DataLoader", got, "one with __getitem__ and __len__, or an IterableDataset"))
        if batch_sampler is not None:
            batch_size = None
        if sampler is None:
            if isinstance(dataset, IterableDataset):
                sampler = repeat(None)
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None:
            batch_size = integer("DataLoader", "batch_size", batch_size, least=1)
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.pin_memory, self.pin_memory_device, self.in_order = pin_memory, pin_memory_device, in_order
        self.worker_init_fn, self.multiprocessing_context = worker_init_fn, multiprocessing_context
        self.persistent_workers = persistent_workers
        self._workers: list[_Worker] = []  # those that stay from epoch to epoch

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and "_workers" in vars(self):
            raise ConfigError(message("DataLoader", f"another {name}", "what it was made with", "make another loader"))
        object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """The batches of an epoch; of an IterableDataset what its own `__len__` says. TypeError where there is none."""
        if not isinstance(self.dataset, IterableDataset):
            return len(self._indices())  # type: ignore[arg-type]
        length = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        seed = fresh_seed(self.generator)  # now, so that what is drawn later does not depend on how far this one goes
        return Batches(self, self._in_threads(seed) if self.num_workers else self._here())

    def _indices(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def _fetcher(self) -> Callable[[Any], Callable[[Any], Any]]:
        return partial(_fetcher, self.collate_fn, self.batch_sampler is not None, self.drop_last)

    def _here(self) -> Iterator[Any]:
        fetch = self._fetcher()(self.dataset)
        for indices in self._indices():
            batch = fetch(indices)
            if batch is _END:
                return
            yield batch

    def _in_threads(self, seed: int) -> Iterator[Any]:
        """What the workers answer, in the order in which they were asked."""
        workers = self._workers or [_Worker(self, number, seed) for number in range(self.num_workers)]
        if self.persistent_workers:
            self._workers = workers
        results: SimpleQueue[Any]
        turns, asked, indices = deque(workers), deque[SimpleQueue[Any]](), iter(self._indices())
        for worker in workers:
            worker.results = SimpleQueue()  # what an epoch before left unread is nobody's
            worker.tasks.put((worker.results, None))

        def ask() -> None:
            if turns:
                for task in indices:
                    turns[0].tasks.put((turns[0].results, (task,)))
                    asked.append(turns[0].results)
                    turns.rotate(-1)
                    return

        for _ in range(self.prefetch_factor * self.num_workers):  # type: ignore[operator]
            ask()
        while asked:
            results = asked.popleft()
            try:
                answer, error = results.get(timeout=self.timeout or None)
            except Empty:
                hint = "a longer timeout, or 0 for none"
                raise DataError(message("DataLoader", f"no batch after {self.timeout} s", hint=hint)) from None
            if answer is _END:
                turns = deque(worker for worker in turns if worker.results is not results)
            ask()
            if error is not None:
                raise error
            if answer is not _END:
                yield answer


class Batches(Iterator[Any]):
    """One way through a DataLoader."""

    def __init__(self, loader: DataLoader, batches: Iterator[Any]) -> None:
        self._loader, self._batches = loader, batches

    def __next__(self) -> Any:
        return next(self._batches)

    def __len__(self) -> int:
        return len(self._loader)


class _Worker:
    """A thread that answers tasks: (queue, None) to begin an epoch, (queue, (indices,)) for a batch, None to end.
    It ends when nobody refers to this any more.
    """

    def __init__(self, loader: DataLoader, number: int, seed: int) -> None:
        self.tasks: SimpleQueue[Any] = SimpleQueue()
        self.results: SimpleQueue[Any] = SimpleQueue()
        own = copy(loader.dataset) if isinstance(loader.dataset, Dataset) else loader.dataset
        info = WorkerInfo(number, loader.num_workers, seed + number, own)
        work = (info, loader.worker_init_fn, loader._fetcher(), self.tasks)
        threading.Thread(target=_work, args=work, daemon=True).start()

    def __del__(self) -> None:
        self.tasks.put(None)


def _work(
    info: WorkerInfo, begin: Callable[[int], Any] | None, fetcher: Callable[[Any], Any], tasks: SimpleQueue[Any]
) -> None:
    """The life of a worker. Its errors are answers; one at the beginning is the answer to every task."""
    _current.worker = info
    fetch: Callable[[Any], Any] = _nothing
    make = fetcher
    with working_with(Generator(info.seed)):
        try:
            if begin is not None:
                begin(info.id)
        except BaseException as error:
            make = _raiser(error)
        while (task := tasks.get()) is not None:
            results, wanted = task
            try:
                if wanted is None:
                    fetch = make(info.dataset)
                else:
                    results.put((fetch(*wanted), None))
            except BaseException as error:
                if wanted is None:
                    fetch = _raiser(error)
                else:
                    error.add_note(f"in worker {info.id} of a DataLoader")
                    results.put((None, error))


def _nothing(indices: Any) -> Any:
    return _END


def _raiser(error: BaseException) -> Callable[[Any], Any]:
    def fetch(given: Any) -> Any:
        raise error

    return fetch


def _fetcher(collate: Callable[[Any], Any], batched: bool, drop_last: bool, dataset: Any) -> Callable[[Any], Any]:
    """What makes a batch of indices, or of as many samples as there are indices; `_END` where there are no more."""
    if isinstance(dataset, IterableDataset):
        stream = iter(dataset)

        def following(indices: Any) -> Any:
            if not batched:
                sample = next(stream, _END)
                return sample if sample is _END else collate(sample)
            batch = [sample for _, sample in zip(indices, stream)]  # noqa: B905
            if not batch or (drop_last and len(batch) < len(indices)):
                return _END
            return collate(batch)

        return following
    if not batched:
        return lambda index: collate(dataset[index])
    if collate is default_collate and type(_whole(dataset)) is TensorDataset:
        return lambda indices: _rows(dataset, indices)
    return lambda indices: collate(samples(dataset, indices))


def _whole(dataset: Any) -> Any:
    """What a subset is of."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return dataset


def _rows(dataset: Any, indices: list[int]) -> Any:
    """The batch that `default_collate` makes of rows of tensors, all taken at once."""
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    return [tensor[indices] for tensor in dataset.tensors]


def _check_order(
    streamed: bool, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
) -> None:
    """Raise ConfigError for settings of the order that exclude each other."""
    given = {"shuffle": shuffle, "sampler": sampler is not None, "batch_sampler": batch_sampler is not None}
    wrong = [name for name, value in given.items() if value]
    if streamed and wrong:
        got = f"{wrong[0]} for an IterableDataset"
        raise ConfigError(message("DataLoader", got, "a dataset with indices", "let the dataset order its samples"))
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        got = "batch_sampler beside batch_size, shuffle, sampler or drop_last"
        raise ConfigError(message("DataLoader", got, "batch_sampler alone"))
    if sampler is not None and shuffle:
        raise ConfigError(message("DataLoader", "sampler and shuffle=True", "one of the two"))
    if batch_size is None and batch_sampler is None and drop_last:
        raise ConfigError(message("DataLoader", "drop_last with batch_size=None", "batches", "pass a batch_size"))
