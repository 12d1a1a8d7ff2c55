"""What a checkpoint holds of a running `fit`, and how a fit goes on from it as if it had never been stopped.

A checkpoint is one nesting for `tg.save`: the history, the place in the order of samples, and of all that the step, the
evaluation and the callbacks reach (`reach.py`) what can differ from one epoch to another. Objects are saved by their
`state_dict()`; tensors that are in none of them by themselves, those that nobody trains where they changed since the
fit began. Python's own data (a counter, a list of losses) is left alone: it belongs in an object with a `state_dict()`,
or among what `Checkpoint(path, state={...})` names.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..callbacks import Checkpoint
from ..data.feed import Feed
from ..errors import ConfigError, DataError, TinygradError, message
from ..history import History
from ..nn import Module
from ..random import Generator, default_generator
from ..serialize import StrPath, checkpoint_path, load, packed, unpacked
from ..tensor import no_grad
from .reach import Reached, put_back, same_type, tensors_in

KIND: Final = "checkpoint of tg.fit"
SHARED: Final = {"numpy.random": np.random.mtrand._rand, "random": random._inst}
SMALL: Final = 2**16  # bytes of data that are copied sooner than hashed
HINT: Final = "continue with the same program, or leave out resume to start anew"


def fingerprint(columns: Iterable[Any]) -> str:
    """A hash of the data: shapes, dtypes and all values."""
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        for array in [column] if isinstance(column, np.ndarray) else column:
            digest.update(f"{array.shape} {array.dtype.str}".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        digest.update(b"end of column")
    return digest.hexdigest()


def data_print(columns: Iterable[Any], feed: Feed | None) -> str:
    """A hash of the data of a fit: of columns, or of chunks."""
    return fingerprint(columns) if feed is None else feed.chunks.fingerprint()


def known_later(columns: tuple[Any, ...], feed: Feed | None) -> Callable[[], str]:
    """The same of the data as it is now, for who asks later: of small data the hash is not worked out before."""
    arrays = [column for column in columns if isinstance(column, np.ndarray)]
    if feed is None and len(arrays) == len(columns) and sum(column.nbytes for column in arrays) <= SMALL:
        copies = tuple(column.copy() for column in arrays)
        return lambda: data_print(copies, None)
    found = data_print(columns, feed)
    return lambda: found


def read(path: StrPath, settings: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The checkpoint in a file, for a fit with these settings. Raises DataError for another file and for other data,
    ConfigError for settings that differ.
    """
    content = load(path)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        got = f"resume={str(path)!r}, which holds something else"
        raise DataError(message("fit", got, "a file of callbacks.Checkpoint"))
    then = content["settings"]
    faults = [f"{name} {then[name]!r}, and {now!r} here" for name, now in settings.items() if then[name] != now]
    if then["data"] != settings["data"]:
        got = f"resume={str(path)!r} of a run on other samples, or on the same ones in another order or dtype"
        raise DataError(message("fit", got, "the same data", HINT))
    if faults:
        got = f"resume={str(path)!r} of a run with {'; '.join(faults)}"
        raise ConfigError(message("fit", got, "the same settings", HINT))
    if epochs > content["epoch"] and "before" in content:  # its last evaluation was one that a longer run has not
        return unpacked(content["before"].tobytes(), str(path))  # type: ignore[no-any-return]
    return content


def roots_of(step: Any, evaluate: Any, callbacks: Sequence[Any]) -> dict[str, Any]:
    """Where the search for the state of a fit begins, by name."""
    roots = {"": step, "evaluate": evaluate}
    for callback in callbacks:
        if not isinstance(callback, Checkpoint):
            name = "callbacks." + getattr(callback, "__name__", type(callback).__name__)
            while name in roots:
                name += "'"
            roots[name] = callback
    return roots


@contextmanager
def understood(path: StrPath) -> Iterator[None]:
    """Say that a file is not what it seems where its content cannot be followed."""
    try:
        yield
    except TinygradError:
        raise
    except Exception as error:  # what somebody wrote there can break anything
        got = f"resume={str(path)!r}, whose content is not that of a checkpoint ({type(error).__name__}: {error})"
        raise DataError(message("fit", got, "a file of callbacks.Checkpoint")) from error


class Progress:
    """The state of a fit, to be taken and put back. `roots` are what reaches it, `named` what the user adds to that.
    `first` is what they reach at the beginning, where that is known.
    """

    def __init__(
        self,
        roots: Mapping[str, Any],
        named: Mapping[str, Any],
        settings: Mapping[str, Any],
        order: Generator | None,
        first: Reached | None = None,
    ) -> None:
        self.roots, self.named = {**roots, "default_generator": default_generator}, named
        self.settings, self.order = dict(settings), order
        self.before: bytes | None = None
        self.restored: set[str] = set()
        self.first = first or self.reached()
        self.begun = {name: _nodes(value) for name, (value, _) in self.first.values.items()}
        self.shared = {name: _mark(stream) for name, stream in SHARED.items()}

    def reached(self) -> Reached:
        """What is reached now."""
        return Reached(self.roots, self.named)

    def take(self, history: History, epoch: int, irregular: int | None) -> dict[str, Any]:
        """What a checkpoint holds after an epoch.

        `irregular` is the last epoch where that is evaluated only because it is the last. A longer run goes on from the
        epoch before, whose checkpoint that of the last one holds too.
        """
        content = self._taken(history, epoch)
        if irregular == epoch + 1:
            self.before = packed(content)
        elif irregular == epoch and self.before is not None:
            content["before"] = np.frombuffer(self.before, np.uint8)
        return content

    def _taken(self, history: History, epoch: int) -> dict[str, Any]:
        own = {"kind": KIND, "epoch": epoch, "settings": self.settings, "history": history.state_dict()}
        return own | self.state(self.reached())

    def state(self, reached: Reached) -> dict[str, Any]:
        """All that can differ from one epoch to another, but for the history."""
        values = {name: value for name, (value, _) in reached.values.items() if self._is_state(reached, name, value)}
        used = [name for name in SHARED if name in self.restored or _mark(SHARED[name]) != self.shared[name]]
        return {
            "state": {name: value.state_dict() for name, value in reached.objects.items()},
            "kinds": {name: _kind(value) for name, value in reached.objects.items()},
            "tensors": {name: value.detach().clone() for name, value in reached.tensors.items()},
            "values": values,
            "gradients": {name: g.detach().clone() for name, p in reached.leaves.items() if (g := p.grad) is not None},
            "trained": {name: leaf.requires_grad for name, leaf in reached.leaves.items() if leaf.is_leaf},
            "training": {name: module._training for name, module in reached.modules.items()},
            "streams": {name: _stream_state(stream) for name, stream in reached.streams.items()},
            "shared streams": {name: _stream_state(SHARED[name]) for name in used},
            "order": None if self.order is None else self.order.get_state(),
        }

    def _is_state(self, reached: Reached, name: str, value: Any) -> bool:
        """Whether plain data is the user's to keep, or has tensors which may not be those that a new process makes."""
        if name in self.named:
            return True
        nodes = _nodes(value)
        return bool(nodes) and (name in reached.built or name in self.restored or nodes != self.begun.get(name))

    def restore(self, content: Mapping[str, Any], what: str, op: str = "fit") -> None:
        """Give everything the state that it had, for messages `what`. Raises ConfigError where that is of another
        program.
        """
        reached = self.reached()
        expected, hint = "the state of the same step and callbacks", HINT if op == "fit" else ""
        kinds = {name: _kind(value) for name, value in reached.objects.items()}
        objects = matched(content["kinds"], kinds)
        types = [{name: repr(value.node) for name, value in t.items()} for t in (content["tensors"], reached.tensors)]
        tensors = matched(*types)
        gone = [name for name in content["kinds"] if name not in objects]
        gone += [name for name in content["tensors"] if name not in tensors and reached.tensor(name) is None]
        gone += [name for name in content["streams"] if name not in reached.streams]
        extra = ("callbacks.", "evaluate.")  # what only looks on may be new
        new = [name for name in kinds if name not in objects.values() and not name.startswith(extra)]
        if gone or new:
            other = [name for name in gone if name in kinds and name in content["kinds"]]
            gone, new = ([name for name in names if name not in other] for names in (gone, new))
            faults = [f"in which {name!r} is of kind {content['kinds'][name]}, not {kinds[name]}" for name in other]
            faults += [f"which holds {_listed(gone)} that this fit does not reach"] if gone else []
            faults += [f"which does not hold {_listed(new)}"] if new else []
            got = f"{what}, " + ", and ".join(faults)
            raise ConfigError(message(op, got, expected, hint))
        with no_grad():
            for name, here in objects.items():
                try:
                    reached.objects[here].load_state_dict(content["state"][name])
                except TinygradError as error:
                    got = f"{what}, whose {name!r} does not fit: {error}"
                    raise ConfigError(message(op, got, expected, hint)) from error
            for name, value in content["tensors"].items():
                tensor = reached.tensor(tensors.get(name, name))
                if tensor is not None:
                    tensor.assign(value)
            lost = [name for name, value in content["values"].items() if not _put_back(reached, name, value)]
        if lost:
            got = f"{what}, which holds {_listed(lost)} that this fit does not reach"
            raise ConfigError(message(op, got, expected, hint))
        _restore_gradients(reached, content)
        for name, training in content["training"].items():
            if name in reached.modules:
                reached.modules[name].training = training
        for name, state in content["streams"].items():
            _set_stream(reached.streams[name], state)
        for name, state in content["shared streams"].items():
            _set_stream(SHARED[name], state)
        if self.order is not None:
            self.order.set_state(content["order"])
        self.restored = {*content["values"], *content["shared streams"]}

    def check_reaches(self, changing: Sequence[Any]) -> None:
        """Raise ConfigError for a tensor that compiled code changes and no checkpoint would hold."""
        held = self.first.holds()
        if not held.issuperset(map(id, changing)):
            held = self.reached().holds()
        own = () if self.order is None else (self.order.key, self.order.counter)
        for tensor in changing:
            if id(tensor) not in held and not any(tensor is one for one in own):
                got = f"a step that changes a tensor {tensor.node!r} which no variable that it names leads to"
                hint = "callbacks.Checkpoint(path, state={'name': tensor})"
                raise ConfigError(message("Checkpoint", got, "state that can be found and saved", hint))


def without_callbacks(content: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint without what only callbacks reach."""
    return {
        part: {name: value for name, value in names.items() if not str(name).startswith("callbacks.")}
        if part in ("state", "kinds", "tensors", "values", "gradients", "trained", "training", "streams")
        else names
        for part, names in content.items()
    }


def _restore_gradients(reached: Reached, content: Mapping[str, Any]) -> None:
    """Let leaves be trained, or not, as they were, with the gradients they had."""
    for name, trains in content["trained"].items():
        leaf = reached.tensor(name)
        if leaf is not None and leaf.is_leaf:
            leaf.requires_grad_(trains)
            gradient = content["gradients"].get(name)
            if leaf.grad is not None and gradient is not None:
                leaf.grad.assign(gradient)  # compiled code may hold it
            elif leaf.grad is not None or gradient is not None:
                leaf.grad = gradient


def _put_back(reached: Reached, name: str, value: Any) -> bool:
    """Put plain data back where it was, or where its owner has a place for it. Whether there is one."""
    tensor = reached.tensor(name)
    if tensor is not None and same_type(tensor, value):
        tensor.assign(value)
        return True
    owner, _, label = name.rpartition(".")
    if name not in reached.values and owner not in reached.places:
        return False
    current, replace = reached.values.get(name) or (None, partial(reached.places[owner], label))
    if isinstance(current, list) and len(current) != len(value) and name not in reached.named:
        return True  # a list that grows is a record of what happened
    try:
        put_back(current, value, replace)
    except KeyError:  # a variable that this step does not have
        return False
    return True


def _nodes(value: Any) -> list[Any]:
    """What tells whether the tensors of plain data hold what they held."""
    return [tensor.node for tensor in tensors_in(value)]


def _kind(value: Any) -> str:
    """What an object has to be to take over a state."""
    dtypes = {tensor.dtype.name for tensor in value.parameters()} if isinstance(value, Module) else ()
    return " ".join([type(value).__name__, *sorted(dtypes)])


def located(resume: StrPath | bool | None, written: Sequence[Path]) -> Path | None:
    """The file to go on from. None where there is none yet, but a Checkpoint is going to write it."""
    if resume is None or resume is False:
        return None
    if resume is True and not written:
        raise ConfigError(message("fit", "resume=True and no Checkpoint", "the path of a checkpoint, or a Checkpoint"))
    path = written[0] if resume is True else checkpoint_path("fit", resume)
    if os.path.exists(path):
        return path
    if any(path.absolute() == other.absolute() for other in written):
        return None
    raise DataError(message("fit", f"resume={str(path)!r}, and no such file", "a file of callbacks.Checkpoint"))


def matched(saved: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    """Which name here is meant by a name in the file: the same with the same kind, or the only ones left of a kind.

    >>> matched({"net": "Linear", "opt": "SGD"}, {"model": "Linear", "opt": "SGD"})
    {'opt': 'opt', 'net': 'model'}
    """
    found = {name: name for name, kind in saved.items() if own.get(name) == kind}
    rest = {name: kind for name, kind in saved.items() if name not in found}
    left = {name: kind for name, kind in own.items() if name not in found}
    for name, kind in rest.items():
        here = [other for other, its in left.items() if its == kind]
        if len(here) == 1 and list(rest.values()).count(kind) == 1:
            found[name] = here[0]
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


# ---- generators of NumPy and of Python ----------------------------------------------------------------------------


def _stream_state(stream: Any) -> Any:
    """The state of a generator as plain data and arrays."""
    if isinstance(stream, np.random.Generator):
        return stream.bit_generator.state
    if isinstance(stream, np.random.RandomState):
        return stream.get_state(legacy=False)
    version, words, gauss = stream.getstate()
    return {"version": version, "words": np.array(words, np.uint32), "gauss": gauss}


def _mark(stream: Any) -> Any:
    """What tells whether one of the shared generators was used."""
    if isinstance(stream, random.Random):
        return stream.getstate()
    state = stream.get_state(legacy=False)
    return state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"], state["gauss"]


def _set_stream(stream: Any, state: Any) -> None:
    if isinstance(stream, np.random.Generator):
        stream.bit_generator.state = state
    elif isinstance(stream, np.random.RandomState):
        stream.set_state(state)
    else:
        stream.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))
