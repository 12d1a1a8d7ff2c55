"""A sweep whose models are trained by other processes, here or on other machines: `workers="joblib"` and its back ends.

Tasks are numbers of models, at least `LEAST` seconds of work each as soon as it is known how long a model takes, and
what they leave is recorded as it comes. A worker may die at any time: its tasks are given to others. Where none is left
that could take them, where they have another version or cannot import the builder, an error says so, and what was
finished stays.

Dask and Ray are asked themselves rather than through joblib: with Dask it waits for ever for a task whose workers have
all died, and what Ray's tasks leave it gives when all of them have ended.
"""

from __future__ import annotations

import math
import queue
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol

import numpy as np

from ..errors import ConfigError, WorkerError, message
from ..fitting.running import bar
from ..graph.graph import Array
from ..support.extras import require
from ..support.interrupt import deferred
from ..support.settings import shown
from ..tensor.creation import get_default_dtype
from .errand import Outcome, Request, Told, packed, process, versions, work
from .plan import Plan
from .request import Share, Trial
from .results import Results, Sweep

LEAST: Final = 0.5  # seconds of work in a task, at least,
USUAL: Final = 1.0  # and as long as there is much to do: docs/scaling.md has the figures
HANDED: Final = 0.004  # seconds that handing out a task and taking what comes back takes here
PROBES: Final = 64  # tasks that are away at most as long as nobody knows how long a model takes
FIRST: Final = 16  # models in a task as long as nobody knows how long one takes; also, as many as lanes can be
TRIES: Final = 3  # times in a row that workers may die without anything being finished
ABSENT: Final = 30.0  # seconds that a sweep waits for workers
_TICK: Final = 0.05
_GATHERED: Final = 64  # outcomes that are fetched at once


class Pool(Protocol):
    """Processes that work."""

    name: str

    def count(self) -> int:
        """How many there are."""

    def outcomes(self, tasks: Tasks, told: Told, content: bytes) -> Iterator[Outcome | None]:
        """What tasks left, as it comes; None now and then. Raises WorkerError where nobody is left to do them."""


class Tasks:
    """The models that are waiting, and those that are on their way: an iterator over tasks, each of them numbers."""

    def __init__(
        self, waiting: Array, classes: Array, workers: int, least: float = LEAST, handed: float = HANDED
    ) -> None:
        self.least, self.handed = least, handed
        self.waiting, self.classes, self.workers = (
            waiting[np.argsort(classes[waiting], kind="stable")],
            classes,
            workers,
        )
        self.away: dict[int, Array] = {}
        self.again: list[Array] = []
        self.seconds: dict[int, float] = {}
        self.at = self.number = 0

    def __iter__(self) -> Iterator[tuple[int, Array]]:
        return self

    def __next__(self) -> tuple[int, Array]:
        if self.again:
            numbers = self.again.pop()
        else:
            numbers = self.waiting[self.at : self.at + self._size()]
            self.at += len(numbers)
        if not len(numbers):
            raise StopIteration
        self.number += 1
        self.away[self.number] = numbers
        return self.number, numbers

    def _size(self) -> int:
        """How many models make a task: few as long as nobody knows how long one takes, and when there are few left."""
        left = len(self.waiting) - self.at
        even = -(-left // (2 * max(1, self.workers)))
        if not left or not self.seconds:
            return min(FIRST, even)
        usual = sum(self.seconds.values()) / len(self.seconds)
        of_one = max(self.seconds.get(int(self.classes[self.waiting[self.at]]), usual), 1e-9)
        size = int(max(self._least(left * of_one) / of_one, min(USUAL / of_one, even))) + 1
        return -(-size // FIRST) * FIRST if size > FIRST else size

    def _least(self, work: float) -> float:
        """Seconds of a task with which neither this process, which hands them out, nor the last one of them is what all
        wait for, when so many seconds of work are left.
        """
        return max(self.least, min(self.handed * self.workers, math.sqrt(self.handed * work)))

    @property
    def room(self) -> int:
        """How many tasks may be away: two for each worker, one that it has and one that waits there."""
        most = max(2, 2 * self.workers)
        return most if self.seconds else min(most, PROBES)

    def settle(self, outcome: Outcome) -> bool:
        """Take what came back; whether anybody waited for it."""
        for one, seconds in outcome.seconds.items():
            self.seconds[one] = min(seconds, self.seconds.get(one, seconds))
        return self.away.pop(outcome.task, None) is not None

    def lost(self) -> None:
        """Those that were on their way have to be done again."""
        self.again += self.away.values()
        self.away.clear()

    def left(self) -> str:
        """What is not finished, in words."""
        count = sum(map(len, self.away.values())) + sum(map(len, self.again)) + len(self.waiting) - self.at
        return f"{count:,} model{'s' * (count != 1)} left"


class Dask:
    """The workers of a Dask cluster."""

    name = "dask"

    def __init__(self, client: Any) -> None:
        self.client = client

    def count(self) -> int:
        """How many threads its workers have."""
        try:
            return sum(self.client.nthreads().values())
        except Exception as error:  # of sockets, of the event loop, of the cluster: it is not there
            raise _gone(f"a Dask cluster that does not answer ({type(error).__name__}: {error})", "") from None

    def outcomes(self, tasks: Tasks, told: Told, content: bytes) -> Iterator[Outcome | None]:
        """What tasks left, as it comes. The content is what a task returns: if its last copy dies, it is made again."""
        client = self.client
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is large
            shared = client.submit(bytes, content, key=f"sweep-{told.digest}-{process()}-{time.time_ns()}")
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        running: dict[Any, tuple[int, Array]] = {}
        seen = time.monotonic()
        looked = seen - ABSENT
        try:
            while True:
                now = time.monotonic()
                if now - looked > min(1.0, ABSENT):
                    tasks.workers, looked = self.count(), now
                    seen = now if tasks.workers else seen
                    if now - seen > ABSENT:
                        raise _gone(f"no worker for {ABSENT:.0f} s", tasks.left())
                while len(running) < tasks.room:
                    task = next(tasks, None)
                    if task is None:
                        break
                    future = client.submit(work, told, shared, *task, pure=False)
                    running[future] = task
                    future.add_done_callback(done.put)
                if not running:
                    return
                finished = _drained(done)
                for future in finished:
                    if future.status != "finished":
                        raise _dask_error(future, running[future][1], tasks.left())
                for future, outcome in zip(finished, client.gather(finished) if finished else [], strict=True):
                    del running[future]
                    yield outcome
                if not finished:
                    yield None
        finally:
            if running and client.status == "running":
                client.cancel(list(running))
            shared.release()


def _drained(done: queue.SimpleQueue[Any]) -> list[Any]:
    """What is in a queue; waits a little for the first."""
    found = []
    try:
        found.append(done.get(timeout=_TICK))
        while len(found) < _GATHERED:
            found.append(done.get_nowait())
    except queue.Empty:
        pass
    return found


def _dask_error(future: Any, numbers: Array, left: str) -> WorkerError:
    """Why a task of Dask's did not end: the task itself never raises."""
    if future.status == "cancelled":
        return _gone("a Dask cluster that gave up a task", left)
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        which = f"models {numbers.min()} to {numbers.max()}" if len(numbers) > 1 else f"model {numbers[0]}"
        return _gone(f"workers that died one after the other while they trained {which}", left)
    return _broken(error, left)


class Ray:
    """The workers of a Ray cluster, which itself gives the tasks of a worker that died to others."""

    name = "ray"

    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def count(self) -> int:
        """How many processors they have."""
        return int(self.ray.cluster_resources().get("CPU", 0))

    def outcomes(self, tasks: Tasks, told: Told, content: bytes) -> Iterator[Outcome | None]:
        """What tasks left, as it comes."""
        ray = self.ray
        begin = ray.remote(max_retries=TRIES)(work).remote
        shared = ray.put(content)
        running: dict[Any, tuple[int, Array]] = {}
        try:
            while True:
                while len(running) < tasks.room and (task := next(tasks, None)) is not None:
                    running[begin(told, shared, *task)] = task
                if not running:
                    return
                finished, rest = ray.wait(list(running), timeout=_TICK)
                finished += ray.wait(rest, num_returns=len(rest), timeout=0)[0] if finished and rest else []
                for one in finished:
                    outcome = ray.get(one)
                    del running[one]
                    yield outcome
                if not finished:
                    yield None
        except ray.exceptions.RayError as error:  # of the cluster: the task itself never raises
            raise _broken(error, tasks.left()) from None
        finally:
            if ray.is_initialized():
                for one in running:
                    ray.cancel(one)


class Joblib:
    """The workers of one of joblib's back ends."""

    def __init__(self, parallel: Any, name: str) -> None:
        self.parallel, self.name = parallel, name

    def count(self) -> int:
        """How many there are."""
        found: int = self.parallel._effective_n_jobs()
        return found

    def outcomes(self, tasks: Tasks, told: Told, content: bytes) -> Iterator[Outcome | None]:
        """What tasks left, as it comes; what a worker that died had is given to new ones."""
        shared = np.frombuffer(content, np.uint8)  # an array goes to a file that all of them map, where it is large
        fruitless = 0
        while fruitless < TRIES:
            calls: Any = ((work, (told, shared, *task), {}) for task in tasks)
            outcomes = self.parallel(calls)
            try:
                for outcome in outcomes:
                    fruitless = 0
                    yield outcome
                return
            except Exception as error:  # of the back end: the task itself never raises
                tasks.lost()
                fruitless += 1
                if fruitless == TRIES or not _is_death(error):
                    raise _broken(error, tasks.left()) from None
            finally:
                outcomes.close()


def _is_death(error: Exception) -> bool:
    """Whether an error says that a worker died."""
    names = {one.__name__ for one in type(error).__mro__}
    return bool(names & {"BrokenProcessPool", "TerminatedWorkerError", "WorkerCrashedError", "RayActorError"})


def _gone(got: str, left: str) -> WorkerError:
    there = f", with {left}" if left else ""
    hint = "what is finished is kept, with store= on disk too: look at the logs of the workers, then start it again"
    return WorkerError(message("sweep", f"{got}{there}", "workers that stay", hint))


def _broken(error: BaseException, left: str) -> WorkerError:
    """An error of the back end's own."""
    name = type(error).__name__
    if isinstance(error, (ImportError, AttributeError)):  # the function of the task is not there
        got = f"a worker without this version of tinygrad_nn ({name}: {error})"
        return WorkerError(message("sweep", got, "the same on every worker", "install it there"))
    return _gone(f"workers that died or cannot be reached ({name}: {' '.join(str(error).split())[:200]})", left)


def is_away(workers: Any) -> bool:
    """Whether workers are other processes, and not a number of threads.

    >>> is_away(4), is_away("dask")
    (False, True)
    """
    return isinstance(workers, str) or hasattr(workers, "nthreads") or hasattr(workers, "n_jobs")


def pool(workers: Any) -> Pool:
    """Who works. Raises ConfigError for what is no back end, MissingExtra where joblib is not installed."""
    if hasattr(workers, "submit") and hasattr(workers, "nthreads"):
        return Dask(workers)
    expected = "a number of threads, 'joblib' (as parallel_config says), 'loky', 'dask', 'ray' or a client of Dask"
    joblib = require("joblib", "sweep")
    if workers == "ray" or (workers == "joblib" and _named(joblib.parallel.get_active_backend()[0]) == "ray"):
        return Ray(_ray())
    try:
        parallel = _parallel(joblib, workers)
    except ValueError as error:
        hint = "a client first: client = distributed.Client('address')" if workers == "dask" else ""
        got = f"workers={shown(workers)} ({' '.join(str(error).split())[:100]})"
        raise ConfigError(message("sweep", got, expected, hint)) from None
    backend = parallel._backend
    if hasattr(backend, "client"):
        return Dask(backend.client)
    name = _named(backend)
    if getattr(backend, "supports_sharedmem", False) and name != "sequential":
        raise ConfigError(message("sweep", f"workers={shown(workers)}: threads", "processes", "workers=4 for threads"))
    return Joblib(parallel, name)


def _parallel(joblib: Any, workers: Any) -> Any:
    """What calls functions elsewhere. Raises ValueError for a back end that joblib has not."""
    options = {"return_as": "generator_unordered", "batch_size": 1}
    if not isinstance(workers, str):
        return joblib.Parallel(**options, n_jobs=workers.n_jobs, backend=workers._backend)
    if workers == "joblib":
        return joblib.Parallel(**options)
    if workers == "dask":
        require("distributed", "sweep")
    with joblib.parallel_config(backend=workers, n_jobs=-1):
        return joblib.Parallel(**options)


def _named(backend: Any) -> str:
    """The name of one of joblib's back ends."""
    return type(backend).__name__.removesuffix("Backend").lower()


def _ray() -> Any:
    """Ray, with the cluster it is connected to; on this machine, if there is none."""
    if find_spec("ray") is None:
        raise ConfigError(message("sweep", "workers='ray' without ray", "it to be installed", "pip install ray"))
    ray = import_module("ray")
    if not ray.is_initialized():
        ray.init()
    return ray


def check_sendable(plan: Plan, workers: Any) -> None:
    """Raise ConfigError for what processes elsewhere could not make themselves."""
    got, hint = "", "def build(): ... return step, evaluate"
    if plan.arguments is None:
        got = "a step"
    elif plan.how.evaluate is not None:
        got = "evaluate beside a builder"
    elif plan.how.callbacks:
        got, hint = "callbacks beside a builder", "def build(): ... return {'step': step, 'callbacks': callbacks}"
    if got:
        expected = "a builder that makes all of it, as each worker does so for itself"
        raise ConfigError(message("sweep", f"{got} for workers={shown(workers)}", expected, hint))


def run_away(
    plan: Plan, parts: Sequence[Share], models: Sequence[Trial], results: Results, found: Sweep, progress: bool,
    workers: Pool,
) -> None:  # fmt: skip
    """Train all models that are not finished, elsewhere."""
    waiting = np.array([trial.number for trial in models if trial.number not in results.states], np.int64)
    if not len(waiting):
        return
    classes = np.zeros(len(models), np.int32)
    for k, (_, same) in enumerate(plan.classes(models)):
        classes[[trial.number for trial in same]] = k
    name = f"the builder {getattr(plan.step, '__module__', '')}.{getattr(plan.step, '__qualname__', '')}"
    settings = plan.settings
    content = packed(Request(plan.step, plan.how, settings, plan.given, plan.weights, plan.seeds, parts, classes), name)
    digest = blake2b(content, digest_size=16).hexdigest()
    told = Told(digest, versions(), get_default_dtype(), process(), name)
    tasks = Tasks(waiting, classes, workers.count())
    why: Counter[str] = Counter()
    machines: Counter[str] = Counter()
    processes: set[str] = set()
    with deferred() as interrupted, bar(len(models), progress, len(models) - len(waiting), "model") as advance:
        outcomes = workers.outcomes(tasks, told, content)
        try:
            while not interrupted():
                try:
                    with interrupted.limited():
                        outcome = next(outcomes)
                except (StopIteration, KeyboardInterrupt):
                    break
                if outcome is None or not tasks.settle(outcome):
                    continue
                for one in outcome.finished:
                    results.record(one)
                advance({}, len(outcome.finished))
                processes.add(outcome.process)
                machines[outcome.machine] += len(outcome.finished)
                for count, text in outcome.why:
                    why[text] += count
                if outcome.error is not None:
                    raise outcome.error
        finally:
            outcomes.close()  # type: ignore[attr-defined]
            found.explanation += [f"{count:,} model{'s' * (count != 1)}: {text}" for text, count in why.items()]
            found.explanation.append(_explained(workers.name, processes, tasks.number, machines))
        found.interrupted = interrupted()


def _explained(name: str, processes: set[str], count: int, machines: Counter[str]) -> str:
    """Who did the work, in words."""
    text = f"{count:,} task{'s' * (count != 1)} by {len(processes)} process{'es' * (len(processes) != 1)} ({name})"
    if len(machines) > 1:
        kinds = "; ".join(f"{models:,} models on {kind}" for kind, models in machines.items())
        text += f", on processors of {len(machines)} kinds, whose numbers may differ in the last bit: {kinds}"
    return text
