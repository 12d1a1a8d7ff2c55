"""pytest plugin: the fixture `gradcheck`, and the options that say what gradient checks reach. Imports nothing of the
package before the fixture or one of these options is used.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

COVERAGE = ("gradient_coverage", "gradient_coverage_source", "gradient_coverage_fail_under")
MUTATION = ("gradient_mutation", "gradient_mutation_fail_under")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("tinygrad_nn")
    group.addoption(
        "--gradcheck-order", type=int, choices=(1, 2), default=2, help="order to which the gradcheck fixture checks"
    )
    group.addoption(
        "--gradient-coverage",
        action="store_true",
        help="say which lines' operations took part in a gradient check, and which never did",
    )
    group.addoption(
        "--gradient-coverage-source",
        action="append",
        metavar="PATH",
        help="measure the files under PATH (default: those under rootdir but for tests); may be given several times",
    )
    group.addoption(
        "--gradient-coverage-fail-under",
        type=float,
        metavar="PERCENT",
        help="fail where a smaller share of the lines took part in a gradient check",
    )
    group.addoption(
        "--gradient-mutation",
        type=int,
        metavar="N",
        help="make N gradient rules wrong, one after the other, and say which changes the tests did not notice",
    )
    group.addoption(
        "--gradient-mutation-seed", type=int, default=0, metavar="SEED", help="other changes for another number"
    )
    group.addoption(
        "--gradient-mutation-fail-under",
        type=float,
        metavar="PERCENT",
        help="fail where the tests noticed a smaller share of the changes",
    )
    group.addoption("--gradient-mutant", help=argparse.SUPPRESS)  # how a run with a changed rule is started


def pytest_configure(config: pytest.Config) -> None:
    """Bring in what the options ask for."""
    if config.getoption("gradient_mutant"):
        session = importlib.import_module("tinygrad_nn.testing.mutants")
        config.pluginmanager.register(session.Mutant(config.getoption("gradient_mutant")), "gradient_mutant")
    elif any(_given(config.getoption(name)) for name in COVERAGE + MUTATION):
        session = importlib.import_module("tinygrad_nn.testing.session")
        config.pluginmanager.register(session.Gradients(config), "gradients")


def _given(value: Any) -> bool:
    return value is not None and value is not False


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`tg.testing.gradcheck` with the order of the command line."""
    check = importlib.import_module("tinygrad_nn.testing.gradcheck").gradcheck
    return partial(check, order=request.config.getoption("--gradcheck-order"))
