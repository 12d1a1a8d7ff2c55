"""What a process elsewhere does for a sweep: it makes the plan from what it is told and trains models by number.

It is told once what the sweep is (a builder, data, settings, shares, seeds), packed as bytes, and with each task which
models are wanted. A model is what it would be in one process, bit for bit on a processor of the same kind: it is
trained as one among all models of its shape, whichever task it comes in. Errors come back as what was returned, with
the models that were finished before, so that nothing is lost on the way.
"""

from __future__ import annotations

import os
import pickle
import platform
import socket
import threading
import traceback
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..compiler.codegen import native
from ..config import config
from ..errors import ConfigError, TinygradError, WorkerError, message
from ..graph.graph import Array
from ..support.extras import require
from ..tensor.creation import get_default_dtype, set_default_dtype
from .plan import Plan
from .request import Settings, Share, Trial, all_trials
from .results import Finished, Results, Sweep
from .running import How

KEPT: Final = 2  # sweeps that a process remembers
_known: OrderedDict[str, tuple[Plan, list[Trial], Array]] = OrderedDict()
_alone: Final = threading.RLock()  # a plan is trained by one thread: its tensors are those of the process


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What a sweep is."""

    build: Any
    how: How
    settings: Sequence[Settings]
    rows: Any
    weights: tuple[Any, Any]
    seeds: Sequence[int]
    parts: Sequence[Share]
    classes: Array  # of each model: those of a number have one source and shape


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What is told with each task. `digest` names the request; the rest has to be the same everywhere."""

    digest: str
    versions: Mapping[str, str]
    dtype: Any
    process: str
    builder: str


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a task left. `seconds` are those that training a model takes, by class; `why` it was trained so."""

    task: int
    finished: list[Finished]
    seconds: dict[int, float]
    why: list[tuple[int, str]]
    process: str
    machine: str
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class _Records:
    found: list[Finished] = field(default_factory=list)

    def record(self, one: Finished) -> None:
        self.found.append(one)


@cache
def versions() -> Mapping[str, str]:
    """What numbers and pickles depend on: releases, and the package's own files."""
    own, digest = Path(__file__).parents[1], blake2b(digest_size=6)
    for path in sorted(own.rglob("*.py")):
        digest.update(path.relative_to(own).as_posix().encode() + path.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    return {"tinygrad_nn": digest.hexdigest(), "Python": python, "NumPy": np.__version__}


@cache
def machine() -> str:
    """The processor that code is compiled for."""
    target = native.host()
    return f"{target.cpu}, vectors of {target.width} bytes"


def process() -> str:
    """This process among all of all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


def packed(request: Request, builder: str) -> bytes:
    """A request as bytes: what can be imported goes by name, what cannot by value."""
    try:
        content: bytes = require("cloudpickle", "sweep").dumps(request)
    except TinygradError:
        raise
    except Exception as error:  # whatever the user's objects raise
        got = f"{builder}, which cannot be sent to workers ({error})"
        hint = "a builder that makes its own files, locks and connections, in a module or the script itself"
        raise ConfigError(message("sweep", got, "a builder, settings and data that can be pickled", hint)) from None
    return content


def work(told: Told, content: Any, task: int, numbers: Array) -> Outcome:
    """Train models. Never raises: an error is part of what is returned."""
    records = _Records()
    seconds: dict[int, float] = {}
    why: list[tuple[int, str]] = []
    error: BaseException | None = None
    with _alone:
        before = get_default_dtype()
        try:
            _check(told)
            set_default_dtype(told.dtype)
            plan, models, classes = _plan(told, content)
            wanted, own = frozenset(numbers.tolist()), classes[numbers]
            for one in dict.fromkeys(own.tolist()):
                members = [models[k] for k in np.flatnonzero(classes == one)]
                found = Sweep([], Results(0, 0, np.zeros(0)), plan, "by")
                plan.run(members, wanted, records, found, progress=False)
                count = int((own == one).sum())
                seconds[one] = found.metadata["training"] / count
                why += [(count, text.partition(": ")[2]) for text in found.explanation]
                if found.interrupted:
                    raise KeyboardInterrupt
        except BaseException as caught:  # what a task raises would be all that comes back of it
            _known.pop(told.digest, None)
            error = portable(caught)
        finally:
            set_default_dtype(before)
    return Outcome(task, records.found, seconds, why, process(), machine(), error)


def _check(told: Told) -> None:
    """Raise WorkerError where this process would train other models than the one that asks, and let one thread work."""
    here = versions()
    differing = [name for name in told.versions if here[name] != told.versions[name]]
    if differing:
        name = differing[0]
        got = f"the worker {process()} with {name} {here[name]}"
        raise WorkerError(message("sweep", got, f"{told.versions[name]} as here", "install the same on every worker"))
    if process() != told.process and config().threads > 1:
        os.environ["TGNN_THREADS"] = "1"
        config.cache_clear()


def _plan(told: Told, content: Any) -> tuple[Plan, list[Trial], Array]:
    """The plan of a request and all its models, made once in a process."""
    if told.digest not in _known:
        try:
            given: Request = pickle.loads(content)
        except Exception as error:
            got = f"{told.builder}, which the worker {process()} cannot load ({type(error).__name__}: {error})"
            hint = "its module on every worker, or the builder in the script itself, which is sent along"
            raise WorkerError(message("sweep", got, "a builder and data that workers can import", hint)) from None
        plan = Plan(given.build, None, given.how, given.settings, given.rows, given.weights, given.seeds)
        models = all_trials(given.settings, given.parts, given.seeds)
        _known[told.digest] = plan, models, given.classes
        while len(_known) > KEPT:
            _known.popitem(last=False)
    _known.move_to_end(told.digest)
    return _known[told.digest]


def portable(error: BaseException) -> BaseException:
    """An error that can be sent, with the lines that it came from as a note."""
    lines = "".join(traceback.format_exception(error))
    sent: BaseException = WorkerError(message("sweep", f"{type(error).__name__}: {error}"))
    if isinstance(error, TinygradError):
        sent = type(error)(*error.args)
    else:
        try:
            pickle.loads(pickle.dumps(error))
            sent = error.with_traceback(None)
            sent.__cause__ = sent.__context__ = None
        except Exception:  # an error of the user's that cannot
            pass
    sent.add_note(f"in the worker {process()}:\n{lines}")
    return sent
