"""The arguments of all commands, and what becomes of errors.

Exit codes: 0 done; 1 a file, a model or a value that cannot be used, said in one line on stderr; 2 wrong arguments; 130
interrupted; 141 nobody reads on, as of every command in a pipe.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final, NoReturn

from ..errors import ConfigError, TinygradError, message, printable
from ..support.settings import is_iterable, shown
from . import bench, doctor, export, inspect, predict, report

PROGRAM: Final = "python -m tinygrad_nn"
COMMANDS: Final[dict[str, tuple[ModuleType, str]]] = {
    "doctor": (doctor, "what is installed, what is missing"),
    "inspect": (inspect, "what a file of tg.save or a .safetensors file holds"),
    "predict": (predict, "a model's results for the rows of a CSV file, as CSV"),
    "export": (export, "a file or a model in another form"),
    "report": (report, "a page on a model: its graph, its code, its time"),
    "bench": (bench, "how much faster compiled training is on this machine"),
}
FAILED: Final = 1
INTERRUPTED: Final = 130
UNREAD: Final = 141


class _Parser(argparse.ArgumentParser):
    """Wrong arguments are answered in one line, too."""

    def error(self, text: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {one_line(text)}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    plain: Any = argparse.RawDescriptionHelpFormatter
    codes = "exit codes: 0 done; 1 something that cannot be used, said on stderr; 2 wrong arguments"
    examples = "\n".join(module.EXAMPLES for module, _ in COMMANDS.values())
    whole = _Parser(
        prog=PROGRAM,
        description="Files on the command line; models are trained in Python. Without a command: doctor.",
        epilog=f"examples:\n{examples}\n\n{codes}",
        formatter_class=plain,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=doctor.version())
    whole.set_defaults(run=doctor.run)
    commands = whole.add_subparsers(metavar="COMMAND", title="commands")
    for name, (module, text) in COMMANDS.items():
        epilog = f"examples:\n{module.EXAMPLES}\n\n{codes}"
        command = commands.add_parser(
            name, help=text, description=module.__doc__, epilog=epilog, formatter_class=plain, allow_abbrev=False
        )
        module.add(command)
        command.set_defaults(run=module.run)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say; the exit code."""
    if argv is not None and not (is_iterable(argv) and all(isinstance(word, str) for word in argv)):
        raise ConfigError(message("main", f"argv {shown(argv)}", "a list of texts"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter
    options = parser().parse_args(None if argv is None else list(argv))
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout()
        return UNREAD
    except KeyboardInterrupt:
        return INTERRUPTED
    except (TinygradError, MemoryError, OSError) as error:
        if not isinstance(error, TinygradError):  # stdout on a full disk
            _give_up_stdout()
        print(f"{PROGRAM}: {one_line(str(error)) or 'not enough memory'}", file=sys.stderr)
        return FAILED
    return 0


def one_line(text: str) -> str:
    """An error in one line; lines of code in it stay code.

    >>> one_line("[load] got x.pt; hint: two lines:\\n    import a\\n    a.b()")
    '[load] got x.pt; hint: two lines: import a; a.b()'
    """
    first, *others = [line.strip() for line in printable(text).splitlines() if line.strip()] or [""]
    return f"{first} {'; '.join(others)}".strip()


def _give_up_stdout() -> None:
    """What is still in its buffer is lost, without another error at the end of Python."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
