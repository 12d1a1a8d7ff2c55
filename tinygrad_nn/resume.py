"""What a checkpoint holds of a running `fit`, and how a fit goes on from it as if it had never been stopped.

A checkpoint is one nesting for `tg.save`: the history, the place in the order of samples, and of all that the step, the
evaluation and the callbacks reach (`reach.py`) what can differ from one epoch to another. Objects are saved by their
`state_dict()`; tensors in none of them, numbers and lists where they changed since the fit began.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .errors import ConfigError, DataError, message
from .history import History
from .nn import Buffer, Module, Parameter
from .random import Generator, default_generator
from .reach import Reached, look, put_back
from .serialize import StrPath, load, own_path, packed, unpacked
from .tensor import Tensor, no_grad

KIND: Final = "checkpoint of tg.fit"
SHARED: Final = {"numpy.random": np.random.mtrand._rand, "random": random._inst}
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


def read(path: StrPath, settings: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The checkpoint in a file, for a fit with these settings. Raises DataError for another file, ConfigError for
    settings that differ.
    """
    content = load(path)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        got = f"resume={str(path)!r}, which holds something else"
        raise DataError(message("fit", got, "a file of callbacks.Checkpoint"))
    faults = [
        f"{name} {content['settings'].get(name)!r}, and {value!r} here"
        if name != "data"
        else "other samples, or the same ones in another order or dtype"
        for name, value in settings.items()
        if content["settings"].get(name) != value
    ]
    if faults:
        raise ConfigError(message("fit", f"resume={str(path)!r} of a run with {'; '.join(faults)}", "the same", HINT))
    if epochs > content["epoch"] and "before" in content:  # its last evaluation was one that a longer run has not
        return unpacked(content["before"].tobytes(), str(path))  # type: ignore[no-any-return]
    return content


class Progress:
    """The state of a fit, to be taken and put back. `roots` are what reaches it, by name."""

    def __init__(self, roots: Mapping[str, Any], settings: Mapping[str, Any], order: Generator | None) -> None:
        self.roots = {**roots, "default_generator": default_generator}
        self.settings, self.order = dict(settings), order
        self.before: bytes | None = None
        self.restored: set[str] = set()
        begun = self.begun = Reached(self.roots)
        self.nodes = {name: tensor.node for name, tensor in begun.tensors.items()}
        self.looks = {name: look(value) for name, (value, _) in begun.values.items()}
        self.shared = {name: look(_stream_state(stream)) for name, stream in SHARED.items()}

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
        reached = Reached(self.roots)
        shared = {name: _stream_state(stream) for name, stream in SHARED.items()}
        used = {name for name in shared if name in self.restored or look(shared[name]) != self.shared[name]}
        return {
            "kind": KIND,
            "epoch": epoch,
            "settings": self.settings,
            "history": history.state_dict(),
            "state": {name: value.state_dict() for name, value in reached.objects.items()},
            "kinds": {name: _kind(value) for name, value in reached.objects.items()},
            "tensors": {name: value.detach() for name, value in reached.tensors.items() if self._moves(name, value)},
            "gradients": {name: leaf.grad.detach() for name, leaf in reached.leaves.items() if leaf.grad is not None},
            "trained": {name: leaf.requires_grad for name, leaf in reached.leaves.items() if leaf.is_leaf},
            "streams": {name: _stream_state(stream) for name, stream in reached.streams.items()},
            "shared streams": {name: shared[name] for name in used},
            "values": {
                name: value
                for name, (value, _) in reached.values.items()
                if name in self.restored or look(value) != self.looks.get(name)
            },
            "order": None if self.order is None else self.order.get_state(),
        }

    def _moves(self, name: str, tensor: Tensor) -> bool:
        """Whether a tensor's value may be another one than a new process gives it."""
        own = tensor.requires_grad or isinstance(tensor, (Parameter, Buffer)) or name in self.restored
        return own or self.nodes.get(name) is not tensor.node

    def restore(self, content: Mapping[str, Any], path: StrPath) -> None:
        """Give everything the state that it had. Raises ConfigError where the checkpoint is of another program."""
        reached = self.begun
        kinds = {name: _kind(value) for name, value in reached.objects.items()}
        objects = matched(content["kinds"], kinds)
        types = [{name: repr(value.node) for name, value in t.items()} for t in (content["tensors"], reached.tensors)]
        tensors = matched(*types)
        gone = [name for name in content["kinds"] if name not in objects]
        gone += [name for name in content["tensors"] if name not in tensors]
        gone += [name for name in content["streams"] if name not in reached.streams]
        new = [name for name in kinds if name not in objects.values() and not name.startswith("callbacks.")]
        if gone or new:
            faults = [f"which holds {_listed(gone)} that this fit does not reach"] if gone else []
            faults += [f"which does not hold {_listed(new)}"] if new else []
            got = f"resume={str(path)!r}, " + ", and ".join(faults)
            raise ConfigError(message("fit", got, "the state of the same step and callbacks", HINT))
        with no_grad():
            for name, here in objects.items():
                reached.objects[here].load_state_dict(content["state"][name])
            for name, here in tensors.items():
                reached.tensors[here].assign(content["tensors"][name])
        self._restore_gradients(content)
        for name, state in (*content["streams"].items(), *content["shared streams"].items()):
            _set_stream(SHARED[name] if name in content["shared streams"] else reached.streams[name], state)
        for name, value in content["values"].items():
            self._restore_value(name, value, path)
        if self.order is not None:
            self.order.set_state(content["order"])
        self.restored = {*content["tensors"], *content["values"], *content["shared streams"]}

    def _restore_gradients(self, content: Mapping[str, Any]) -> None:
        for name, leaf in self.begun.leaves.items():
            if leaf.is_leaf and name in content["trained"]:
                leaf.requires_grad_(content["trained"][name])
            if leaf.grad is not None or name in content["gradients"]:
                leaf.grad = content["gradients"].get(name)

    def _restore_value(self, name: str, value: Any, path: StrPath) -> None:
        if name in self.begun.values:
            current, replace = self.begun.values[name]
            put_back(current, value, replace)
            return
        owner, _, label = name.rpartition(".")
        if owner not in self.begun.places:
            got = f"resume={str(path)!r}, which holds {name!r} that this fit does not reach"
            raise ConfigError(message("fit", got, "the state of the same step and callbacks", HINT))
        self.begun.places[owner](label, value)

    def check_reaches(self, changing: Sequence[Any]) -> None:
        """Raise ConfigError for a tensor that compiled code changes and no checkpoint would hold."""
        held = Reached(self.roots).holds()
        own = () if self.order is None else (self.order.key, self.order.counter)
        for tensor in changing:
            if id(tensor) not in held and not any(tensor is one for one in own):
                got = f"a step that changes a tensor {tensor.node!r} which no variable that it names leads to"
                hint = "callbacks.Checkpoint(path, state={'name': tensor})"
                raise ConfigError(message("Checkpoint", got, "state that can be found and saved", hint))


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
    path = written[0] if resume is True else own_path("fit", resume)
    if path.exists():
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


def _set_stream(stream: Any, state: Any) -> None:
    if isinstance(stream, np.random.Generator):
        stream.bit_generator.state = state
    elif isinstance(stream, np.random.RandomState):
        stream.set_state(state)
    else:
        stream.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))
