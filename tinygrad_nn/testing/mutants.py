"""Runs of the user's tests with one gradient rule made wrong: which changes are tried, how a run is started, and what
happens in it.

Every run is a process of its own, called as the user called pytest, so nothing that was compiled or cached with the
right rule is left. It runs the tests that used the rule and stops at the first that fails. One run without a change
comes first: tests that fail by themselves when they are run again would notice everything.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from .found import ANY_TEST, RuleUse
from .mutation import CHANGES, Mutation, Rule, applied

PATIENCE: Final = 60.0  # seconds a run may take at least, whatever the one without a change took
SLOWER: Final = 10.0  # how many times longer than that one it may take: a wrong gradient may keep a loop from ending
NO_TESTS: Final = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutation: "noticed", "survived", or "not run"."""

    mutation: Mutation
    outcome: str


def possible(rules: Mapping[Rule, RuleUse]) -> list[Mutation]:
    """Every change that alters a number some test sees, in an order of its own."""
    return [Mutation(rule, change) for rule in sorted(rules) for change in CHANGES if change in rules[rule].changes]


def chosen(rules: Mapping[Rule, RuleUse], count: int, seed: int) -> list[Mutation]:
    """Some of the possible changes: rules of the user's own first, then each rule once before any twice."""
    mutations = possible(rules)
    random.Random(seed).shuffle(mutations)
    turns: Counter[Rule] = Counter()
    order = []
    for mutation in mutations:
        turns[mutation.rule] += 1
        order.append((not mutation.rule.own, turns[mutation.rule]))
    ranked = sorted(range(len(mutations)), key=order.__getitem__)
    return [mutations[k] for k in ranked[:count]]


class Mutant:
    """The pytest plugin of such a run: the change is there before tests are imported, and other tests are left out."""

    def __init__(self, order: str) -> None:
        what = json.loads(Path(order).read_text(encoding="utf-8"))
        self.tests: Collection[str] | None = None if what["tests"] is None else set(what["tests"])
        self.stack = ExitStack()
        if what["rule"] is not None:
            self.stack.enter_context(applied(Mutation(Rule(*what["rule"]), what["change"])))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the tests that used the rule."""
        if self.tests is not None:
            kept = [item for item in items if item.nodeid in self.tests]
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in self.tests])
            items[:] = kept

    def pytest_unconfigure(self) -> None:
        """The rule is right again."""
        self.stack.close()


class Runner:
    """Starts the runs, as many at a time as the user's pytest has workers."""

    def __init__(self, config: pytest.Config, folder: str) -> None:
        self.folder = Path(folder)
        self.directory = config.invocation_params.dir
        has = config.pluginmanager.hasplugin
        self.extra = ["-x", "-o", f"cache_dir={folder}/cache"]
        self.extra += ["-n0"] if has("xdist") else []
        self.extra += ["--no-cov"] if has("_cov") else []
        self.extra += [f"--randomly-seed={config.getoption('randomly_seed')}"] if has("randomly") else []
        self.given = [str(arg) for arg in config.invocation_params.args]
        self.workers = max(1, int(config.getoption("numprocesses", 0) or 0))
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/hypothesis",
        }

    def run(
        self, number: int, mutation: Mutation | None, tests: Collection[str], limit: float | None
    ) -> tuple[int, str]:
        """The exit status (-1 where it took too long) and output of one run."""
        order = self.folder / f"{number}.json"
        what = {
            "rule": None if mutation is None else list(mutation.rule),
            "change": None if mutation is None else mutation.change,
            "tests": None if ANY_TEST in tests else sorted(tests),
        }
        order.write_text(json.dumps(what), encoding="utf-8")
        files = self.folder / str(number)
        own = [f"--gradient-mutant={order}", f"--basetemp={files}", f"--junit-xml={files}.xml"]
        try:
            ended = subprocess.run(
                [sys.executable, "-P", "-m", "pytest", *self.given, *self.extra, *own],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, ""
        return ended.returncode, ended.stdout


def try_all(
    config: pytest.Config,
    rules: Mapping[Rule, RuleUse],
    mutations: Sequence[Mutation],
    progress: Callable[[Verdict], Any],
) -> tuple[list[Verdict], str]:
    """The verdicts, in the order of the mutations; or none, and the output of the run without a change that failed."""
    with tempfile.TemporaryDirectory(prefix="gradient-mutation-") as folder:
        runner = Runner(config, folder)
        started = time.monotonic()
        everything = set().union(*(rules[mutation.rule].tests for mutation in mutations))
        status, output = runner.run(0, None, everything, None)
        if status:
            return [], output
        limit = max(PATIENCE, SLOWER * (time.monotonic() - started))

        def one(number: int) -> Verdict:
            mutation = mutations[number - 1]
            status, _ = runner.run(number, mutation, rules[mutation.rule].tests, limit)
            verdict = Verdict(mutation, {0: "survived", NO_TESTS: "not run"}.get(status, "noticed"))
            progress(verdict)
            return verdict

        with ThreadPoolExecutor(runner.workers) as pool:
            return list(pool.map(one, range(1, len(mutations) + 1))), ""
