"""pytest plugin: the fixture `gradcheck` and the option `--gradcheck-order`. Imports nothing of the package before
the fixture is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--gradcheck-order`."""
    group = parser.getgroup("tinygrad_nn")
    group.addoption(
        "--gradcheck-order", type=int, choices=(1, 2), default=2, help="order to which the gradcheck fixture checks"
    )


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`tg.testing.gradcheck` with the order of the command line."""
    check = importlib.import_module("tinygrad_nn.testing.gradcheck").gradcheck
    return partial(check, order=request.config.getoption("--gradcheck-order"))
