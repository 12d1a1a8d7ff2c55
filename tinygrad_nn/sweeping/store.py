"""A sweep in a folder: what is finished is written as it comes, and a sweep that is started again goes on from there.

    sweep.npz         what the sweep is: a fingerprint of data, settings, seeds and shares
    part-000012.npz   columns and states of some models, written whole or not at all

A folder belongs to one sweep. A part that cannot be read is an error: nothing in it is guessed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import ConfigError, DataError, FileError, message
from ..fitting.resume import fingerprint
from ..serialize import load, packed
from ..support.files import as_path, remove_leftovers, write_atomic
from .request import Trial
from .results import Finished

KIND: Final = "sweep of tg.sweep"
SECONDS: Final = 5.0  # after which what is finished is written
MODELS: Final = 1000  # finished ones that are written at once


def described(trials: Sequence[Trial], columns: Sequence[Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """What a sweep is, part by part, as far as that can be told from outside of the step."""
    models = hashlib.blake2b(digest_size=16)
    for trial in trials:
        models.update(f"{trial.number} {trial.seed} {sorted(trial.settings.items(), key=str)!r}".encode())
        for rows in (trial.share.rows, trial.share.held):
            models.update(b"all" if rows is None else np.ascontiguousarray(rows, np.int64).tobytes())
    return {
        "data": fingerprint(columns),
        "models": models.hexdigest(),
        **{name: json.dumps(value, default=str) for name, value in settings.items()},
    }


class Store:
    """The folder of a sweep."""

    def __init__(self, path: Any, description: Mapping[str, str]) -> None:
        self.folder = as_path("sweep", path)
        self.waiting: list[Finished] = []
        self.written, self.number = time.perf_counter(), 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FileError(
                message("sweep", f"store={str(path)!r}: {reason}", "a folder that can be written")
            ) from None
        head = self.folder / "sweep.npz"
        if not head.exists():
            others = [one.name for one in self.folder.iterdir()]
            if others:
                got = f"store={str(path)!r}, a folder with {others[0]!r} in it"
                raise ConfigError(message("sweep", got, "an empty folder, or one of this sweep"))
            write_atomic(head, packed({"kind": KIND, "sweep": dict(description)}), "sweep")
            return
        then = self._read(head)["sweep"]
        differing = [name for name in description if then.get(name) != description[name]]
        if differing:
            got = f"store={str(path)!r} of another sweep: its {', '.join(differing)} differ"
            raise ConfigError(message("sweep", got, "the folder of this sweep, or an empty one"))

    def _read(self, path: Path) -> dict[str, Any]:
        content = load(path)
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise DataError(message("sweep", f"{path}, which holds something else", "what a sweep wrote"))
        return content

    def finished(self) -> list[Finished]:
        """What is there."""
        found = []
        remove_leftovers(self.folder / "part.npz")
        for path in sorted(self.folder.glob("part-*.npz")):
            number = path.stem.removeprefix("part-")
            self.number = max(self.number, int(number) + 1 if number.isdecimal() else 0)
            content = self._read(path)
            try:
                found += [Finished(*one) for one in content["models"]]
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(message("sweep", f"{path}, which is damaged ({error})", "what a sweep wrote")) from None
        return found

    def add(self, one: Finished) -> None:
        """A model is finished."""
        self.waiting.append(one)
        if len(self.waiting) >= MODELS or time.perf_counter() - self.written > SECONDS:
            self.write()

    def write(self) -> None:
        """Write what is waiting. Raises FileError where the disk is full: what was written before stays."""
        if not self.waiting:
            return
        models = [
            [one.number, dict(one.columns), dict(one.scores), one.epochs, one.stopped, one.state]
            for one in self.waiting
        ]
        path = self.folder / f"part-{self.number:06d}.npz"
        try:
            write_atomic(path, packed({"kind": KIND, "models": models}), "sweep", self.folder / "part.npz")
        except FileError as error:
            got = f"store={str(self.folder)!r}, which cannot be written ({error.strerror or error})"
            hint = "what was written before is whole, and a sweep that is started again goes on from there"
            raise FileError(message("sweep", got, "room on the disk", hint)) from None
        self.number, self.waiting, self.written = self.number + 1, [], time.perf_counter()
