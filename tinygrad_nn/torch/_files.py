"""`torch.save` and `torch.load`: the files of `tg.save` under any name, and pickles of what those cannot hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from ..errors import DataError, message
from ..nn import Module
from ..serialize import packed, unpacked
from ..support.files import read, write_atomic
from ..support.pytree import flatten
from ..support.settings import check_device


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = pickle.DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write tensors, numbers, texts, and dicts and lists of them to a path or an open file, in the format of `tg.save`,
    which carries no code. What it cannot hold, as a whole module, is pickled.
    """
    content = _content(obj, pickle_module, pickle_protocol)
    if hasattr(f, "write"):
        f.write(content)
    else:
        write_atomic(Path(f), content, "torch.save")


def _content(obj: Any, pickle_module: Any, protocol: int) -> bytes:
    leaves, _ = flatten(obj)
    if not any(isinstance(leaf, Module) for leaf in leaves):  # of which `tg.save` keeps the state alone
        try:
            return packed(obj)
        except DataError:
            pass
    found: bytes = pickle_module.dumps(obj, protocol)
    return found


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = pickle,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """What `save` wrote. A pickle is read with weights_only=False alone: it may carry code.

    Raises DataError for a file that is missing, damaged, or a pickle; ConfigError for a device other than the CPU.
    """
    if not callable(map_location) and not isinstance(map_location, dict):
        check_device("torch.load", map_location)
    content: bytes = f.read() if hasattr(f, "read") else read(Path(f), "torch.load", "a file written by torch.save")
    if not content.startswith(b"\x80"):
        return unpacked(content, str(getattr(f, "name", f)))
    if weights_only is not False:
        hint = "save model.state_dict(), or trust the file and load it with weights_only=False"
        raise DataError(message("torch.load", f"{f}, a pickle, which could carry code", "tensors and numbers", hint))
    return pickle_module.loads(content, **pickle_load_args)
