"""`python -m tinygrad_nn`: the command line does files, Python does training.

`main.py` reads the arguments and answers errors, in one line and an exit code. Every other file is a command: `add`
declares its arguments, `run` does it, EXAMPLES stand below its `--help`; and `model.py` finds the MODEL that commands
are given. What a command finds goes to stdout, plain text without colours; what it says about that goes to stderr.
"""

from .main import main

__all__ = ("main",)
