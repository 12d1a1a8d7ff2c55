"""The order of the samples in epoch after epoch, as `randperm` draws it, for many epochs at a time.

An order is a pure function of the generator's state, and drawing many at once costs little more than one. So orders are
kept for a while: the folds and candidates of a search have one seed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from ..random import Generator
from ..support.fork import new_lock
from ..tensor.creation import as_tensor

TOGETHER: Final = 2**16  # samples of the epochs that are drawn at once: they stay in the cache of the processor
KEPT: Final = 2**22  # samples of all orders that are kept

_known: Final[OrderedDict[tuple[int, ...], Any]] = OrderedDict()
_lock: Final = new_lock()


def orders(samples: int, generator: Generator, epochs: int) -> Iterator[Any]:
    """What so many calls of `randperm(samples, generator=generator)` give, and leave in the generator.

    >>> from tinygrad_nn import randperm
    >>> a, b = Generator(1), Generator(1)
    >>> [order.tolist() for order in orders(3, a, 2)] == [randperm(3, generator=b).tolist() for _ in range(2)]
    True
    """
    blocks = (2 * samples + 3) // 4  # counters that an order takes: of two words for each sample
    seed, start = tuple(generator.key.tolist()), int(generator.counter.item())
    places = [(*seed, samples, start + k * blocks) for k in range(epochs)]
    generator.counter.assign(as_tensor(np.int64(start + epochs * blocks)))
    at_once = max(1, TOGETHER // samples)
    drawn: dict[tuple[int, ...], Any] = {}
    for k, place in enumerate(places):
        with _lock:
            order = _known.get(place)
        if order is None and place not in drawn:
            coming = places[k : k + at_once]
            drawn = dict(zip(coming, _drawn(samples, seed, place[-1], len(coming)), strict=True))
            _keep(drawn, samples)
        yield drawn[place] if order is None else order


def _drawn(samples: int, seed: tuple[int, ...], counter: int, count: int) -> Any:
    """The orders of `count` epochs, (count, samples): those of the keys that `uniform` makes of two words each."""
    generator = Generator()
    generator.key.assign(as_tensor(np.array(seed)))
    generator.counter.assign(as_tensor(np.int64(counter)))
    words = generator.bits((count, 4 * ((2 * samples + 3) // 4))).numpy()
    words = words[:, : 2 * samples].reshape(count, 2, samples)
    high, low = (words[:, 0] >> 5) & 0x7FFFFFF, (words[:, 1] >> 6) & 0x3FFFFFF
    return as_tensor(high * 2.0**26 + low).argsort(1).numpy().astype(np.int32 if samples < 2**31 else np.int64)


def _keep(drawn: dict[tuple[int, ...], Any], samples: int) -> None:
    """Keep orders for those who come with the same seed; others that were kept go where there are too many."""
    with _lock:
        _known.update(drawn)
        while _known and len(_known) * samples > KEPT:
            _known.popitem(last=False)
