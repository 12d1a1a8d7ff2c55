"""A test session that is looked at: pytest's hooks around the recorder of `coverage` and the runs of `mutants`."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..errors import message
from .callers import PACKAGE
from .coverage import Recorder
from .found import ANY_TEST, Found
from .mutants import Verdict, chosen, possible, try_all
from .report import Line, coverage_summary, coverage_table, lines_of, mutation_summary, mutation_table

KEY = "tinygrad_nn_gradients"  # in what a worker of xdist sends home


class Sources:
    """Which files are the user's code, and which of them are tests."""

    def __init__(self, config: pytest.Config) -> None:
        named = config.getoption("gradient_coverage_source")
        self.folders = [_existing(config.invocation_params.dir, path) for path in named or ()] or [config.rootpath]
        self.named = bool(named)
        self.patterns = [*config.getini("python_files"), "conftest.py"]
        self.libraries = (f"{PACKAGE}{os.sep}", os.path.join(sys.prefix, ""))

    def __contains__(self, name: str) -> bool:
        """Whether a file is the user's code, a test or not."""
        if not os.path.isabs(name):
            return False
        path = Path(name)
        within = any(path.is_relative_to(folder) for folder in self.folders)
        return within and (self.named or not ("site-packages" in path.parts or name.startswith(self.libraries)))

    def is_test(self, name: str) -> bool:
        """Whether a file holds tests: by the names pytest looks for, or in a folder called test or tests."""
        path = Path(name)
        if path in self.folders:
            return False
        inside = next(path.relative_to(folder) for folder in self.folders if path.is_relative_to(folder))
        return bool({"test", "tests"}.intersection(inside.parts[:-1])) or any(
            fnmatch.fnmatch(path.name, pattern) for pattern in self.patterns
        )


def _existing(directory: Path, given: str) -> Path:
    path = Path(os.path.abspath(directory / given))
    if not path.exists():
        raise _usage("--gradient-coverage-source", f"{given}, which is not there", "a file or a folder of your code")
    return path


def _usage(option: str, got: str, expected: str) -> pytest.UsageError:
    return pytest.UsageError(message(option, got, expected))


class Gradients:
    """The pytest plugin: records the session and reports at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.count: int | None = config.getoption("gradient_mutation")
        self.enough: float | None = config.getoption("gradient_coverage_fail_under")
        self.noticed: float | None = config.getoption("gradient_mutation_fail_under")
        self.table = bool(config.getoption("gradient_coverage") or config.getoption("gradient_coverage_source"))
        self.table |= self.enough is not None
        _check_options(self.count, self.enough, self.noticed)
        self.sources = Sources(config)
        self.recorder = Recorder(self.sources.__contains__)
        self.stack = ExitStack()
        self.stack.enter_context(self.recorder.watching())
        self.verdicts: list[Verdict] = []
        self.failures: list[str] = []

    @property
    def found(self) -> Found:
        """What was found so far."""
        return self.recorder.found

    # ---- while tests run ------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Remember which test it is."""
        name = item.nodeid
        if getattr(item.config.option, "loadgroup", False) and item.get_closest_marker("xdist_group"):
            name = name.rpartition("@")[0]  # the group, which xdist adds
        self.recorder.test = name
        try:
            return (yield)
        finally:
            self.recorder.test = ANY_TEST

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """A worker of xdist is done."""
        sent = getattr(node, "workeroutput", {}).get(KEY)
        if sent is None:
            self.failures.append(f"what worker {node.gateway.id} ran is missing: it ended before it could say")
        else:
            self.found.add(Found.unpacked(sent))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Send home what was found, or judge it."""
        self.stack.close()
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput[KEY] = self.found.packed()
        elif not self.config.getoption("collectonly"):
            if self.table:
                self._judge_coverage()
            if self.count is not None:
                self._mutate(self.count, int(exitstatus))
            if self.failures and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """Also where the session never began."""
        self.stack.close()

    # ---- at the end -----------------------------------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """The lines that are measured. A project that is nothing but tests is measured by these."""
        ours = lines_of(self.found.ran, self.found.checked)
        return [line for line in ours if not self.sources.is_test(line.file)] or ours

    def _judge_coverage(self) -> None:
        lines = self.lines()
        if self.enough is None:
            return
        done = sum(line.order > 0 for line in lines)
        if not lines:
            self.failures.append("no line was measured, so the gradient coverage that is asked for is not there")
        elif 100 * done < self.enough * len(lines):
            self.failures.append(f"the gradient coverage is under {self.enough:g} %")

    def _mutate(self, count: int, exitstatus: int) -> None:
        """Run the tests again with one rule after the other made wrong."""
        rules = self.found.rules
        if exitstatus != pytest.ExitCode.OK:
            why = "no test ran" if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED else "the tests fail as they are"
            self.failures.append(f"gradient mutation: not started, because {why}")
            return
        mutations = chosen(rules, count, self.config.getoption("gradient_mutation_seed"))
        if not mutations:
            self.failures.append("gradient mutation: the tests use no gradient rule, so there is nothing to change")
            return
        self._say(f"\ngradient mutation, {len(mutations)} of {len(possible(rules))} changes: ")
        signs = {"noticed": ".", "survived": "S", "not run": "?"}
        self.verdicts, output = try_all(
            self.config, rules, mutations, lambda verdict: self._say(signs[verdict.outcome])
        )
        self._say("\n")
        if not self.verdicts:
            tail = "\n".join(output.splitlines()[-30:])
            self.failures.append(
                f"gradient mutation: not started, because the tests fail when they are run a second time:\n{tail}"
            )
        elif self.noticed is not None:
            tried = [verdict for verdict in self.verdicts if verdict.outcome != "not run"]
            caught = sum(verdict.outcome == "noticed" for verdict in tried)
            if 100 * caught < self.noticed * len(tried) or not tried:
                self.failures.append(f"the share of changes noticed is under {self.noticed:g} %")

    def _say(self, text: str) -> None:
        """Write at once, where there is a terminal."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write(text, flush=True)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The tables."""
        if self.config.getoption("collectonly"):
            return
        root = str(self.config.rootpath)
        if self.table:
            terminalreporter.section("gradient coverage")
            self._write_coverage(terminalreporter, root)
        if self.count is not None and self.verdicts:
            terminalreporter.section("gradient mutation")
            tests = {file for use in self.found.rules.values() for file, _ in use.places if self.sources.is_test(file)}
            for text in mutation_table(self.verdicts, self.found.rules, root, tests):
                terminalreporter.write_line(text, red=True)
            terminalreporter.write_line(mutation_summary(self.verdicts))
        for text in self.failures:
            terminalreporter.write_line(f"FAIL {text}", red=True, bold=True)

    def _write_coverage(self, reporter: Any, root: str) -> None:
        lines = self.lines()
        if not lines:
            where = ", ".join(map(str, self.sources.folders))
            reporter.write_line(f"no operation on floats ran at a line of {where}")
            return
        if all(self.sources.is_test(line.file) for line in lines):
            reporter.write_line("no operation ran at a line outside of tests: these are the lines of the tests")
        for text, never in coverage_table(lines, root, self.config.get_terminal_writer().fullwidth):
            reporter.write_line(text, red=never)
        if any("(" in line.shapes or "(" in line.operations for line in lines):
            reporter.write_line("in brackets: ran, but never in a gradient check")
        reporter.write_line(coverage_summary(lines))


def _check_options(count: int | None, enough: float | None, noticed: float | None) -> None:
    if count is not None and count < 1:
        raise _usage("--gradient-mutation", str(count), "how many changes to try, 1 or more")
    for option, share in (("--gradient-coverage-fail-under", enough), ("--gradient-mutation-fail-under", noticed)):
        if share is not None and not 0 <= share <= 100:
            raise _usage(option, f"{share:g}", "a percentage, from 0 to 100")
    if noticed is not None and count is None:
        raise _usage("--gradient-mutation-fail-under", "no --gradient-mutation", "how many changes to try with it")
