"""Ctrl-C while a native run is under way: pressed when it has come far enough, however busy the machine is."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from tinygrad_nn.compiler.run.training import Training
from tinygrad_nn.support import interrupt


def press_ctrl_c(patch: pytest.MonkeyPatch, after: int = 0) -> None:
    """Press it once, in a native call after so many whole ones, when that has trained a batch. However long the batch
    takes that is running then, it is not taken back.
    """
    patch.setattr(interrupt, "PATIENCE", 600.0)
    call = Training._call
    calls, pressed = 0, False

    def watched(self: Training, *args: Any) -> int:
        nonlocal calls
        calls += 1
        if pressed or calls <= after:
            return call(self, *args)
        over = threading.Event()

        def press() -> None:
            nonlocal pressed
            while not over.wait(0.001):
                if self.now.any():
                    pressed = True
                    os.kill(os.getpid(), signal.SIGINT)
                    return

        thread = threading.Thread(target=press)
        thread.start()
        try:
            return call(self, *args)
        finally:
            over.set()
            thread.join()

    patch.setattr(Training, "_call", watched)
