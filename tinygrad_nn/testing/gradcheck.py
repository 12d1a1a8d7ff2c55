"""Check gradients against numeric derivatives, to second order, and against the identities that any gradient
satisfies.

Let f be the function of all that is checked (inputs, and the parameters that are reached), x where it is now, and J(x)
its Jacobian. The analytic side is reverse mode, v^T J(x) for a cotangent v; the numeric side differences of f (file
`numeric`). They are compared

    order 1     J(x) element by element ("full"), or <v, J(x) u> for random v and u, two for each leaf ("fast")
    order 2     the same for the function (x, v) -> J(x)^T v, whose Jacobian holds the Hessians of f

An entry fails when |analytic - numeric| > 10 e + atol * slope, where e is the numeric derivative's own error estimate
and the slope the largest of the leaf's derivatives; it is *refused*, and counted, where e > 1e-6 * scale, the largest
of slope and values, or where f has a kink that no shorter step avoids. With the default tolerance a coefficient that is
wrong by 1e-5 is caught. What could not be compared is no agreement: see `gradcheck`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError, GradcheckError, TinygradError, message
from ..support.settings import choice, integer, is_iterable, number, shown
from .comparison import Bounds, Found, Report, Settings, compared, refusal, steps
from .identities import GRADIENT, RECORDED
from .problem import Checkable, Problem, StepProblem, placed
from .subjects import function_problem, step_problem

__tracebackhide__ = True  # pytest shows the user's line, and nothing of this file

REFUSALS = 0.1
MOST_NAMES = 10_000
_HOME = str(Path(__file__).parents[1])
Mode = Literal["auto", "full", "fast"]
Watcher = Callable[["Checked"], None]


@dataclass(frozen=True)
class Checked:
    """What somebody who looks on is told after each order: it was found right, as machine code or not; `replay()` runs
    the function and its gradient once more, eagerly, so that a recorder can be put around it.
    """

    order: int
    compiled: bool
    replay: Callable[[], None]


_watchers: list[Watcher] = []


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Within the block `watcher` is told of every order of every function that was found right."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any = (),
    eps: float | None = None,
    atol: float = 1e-9,
    rtol: float = 10.0,
    order: int = 2,
    mode: Mode = "auto",
    domain: Bounds = (-np.inf, np.inf),
    seed: int = 0,
    *,
    parameters: Any = None,
    unused: Sequence[str] = (),
    refusals: float = REFUSALS,
) -> Report:
    """Compare the gradient of `fn(*inputs)` with numeric derivatives and return a Report, or raise GradcheckError.

    Checked are the inputs that require grad *and* all other leaves that require grad on which the outputs depend: the
    parameters of a module, and what a plain function reaches by itself. They are changed where they are and put back
    afterwards, so closures over parameters work. `parameters` names others: a module, tensors, tensors by name, or
    `()` for none. All must be float64. `fn` returns tensors, or a structure of them; a `tg.jit` function is compiled
    here with its gradient, and both sides of the comparison are machine code. One that calls backward() is a training
    step, and checked as `gradcheck_step` does.

    `eps` is the relative step (6e-4); `rtol` multiplies the numeric error estimate, `atol` the largest derivative by
    the leaf. `order=2` also checks the gradient of the vector-Jacobian product. mode "full" compares whole
    Jacobians, "fast" two random directions for each leaf, "auto" takes what the size allows. `domain` bounds the
    inputs with which `fn` may be called. Then come the identities of `testing.identities`, those that need a recorded
    walk only with `order=2`.

    A checked leaf on which nothing depends is an error, unless its name is in `unused` (patterns as `"*bias_hh*"`). So
    is an entry of the first derivative that cannot be compared, at a kink, and a share of more than `refusals` among
    the entries of all orders; `refusals=1` only counts them.

    >>> import tinygrad_nn as tg
    >>> x = tg.tensor([0.3, 0.7], dtype=tg.float64, requires_grad=True)
    >>> bool(gradcheck(lambda x: x.sin() * x, (x,)))
    True
    >>> model = tg.nn.Linear(2, 1).double()
    >>> gradcheck(model, (x,)).leaves
    ('0', 'weight', 'bias')
    """
    try:
        settings = _settings("gradcheck", eps, atol, rtol, domain, mode, seed, refusals, unused, order)
        problem, depends = function_problem(fn, inputs, parameters, settings.seed)
        with problem.state.begun():
            return _checked(problem, depends, settings, order)
    except TinygradError as error:
        raise error.with_traceback(_users(error.__traceback__)) from None


def gradients_agree(
    func: Callable[..., Any], inputs: Any, *, raise_exception: bool = True, order: int = 1, **settings: Any
) -> bool:
    """What PyTorch calls gradcheck: True, or, unless `raise_exception`, False. Steps and tolerances follow from the
    function, whatever `settings` say of them.
    """
    try:
        return bool(gradcheck(func, inputs, order=order))
    except GradcheckError:
        if raise_exception:
            raise
        return False


second_gradients_agree = functools.partial(gradients_agree, order=2)


def gradcheck_step(
    step: Callable[..., Any],
    batch: Any = (),
    parameters: Any = None,
    eps: float | None = None,
    atol: float = 1e-9,
    rtol: float = 10.0,
    mode: Mode = "auto",
    seed: int = 0,
    *,
    loss: str | None = None,
    unused: Sequence[str] = (),
    refusals: float = REFUSALS,
) -> Report:
    """Check the gradients that a training step takes: `step(*batch)`, eager or under `tg.jit`, which calls backward()
    and an optimizer and returns its loss.

    Compared is what the step leaves in `.grad` of the parameters, when it begins without gradients, with differences of
    the loss that it returns (in a dict: its entry `loss`). A step that clips, scales or accumulates gradients leaves
    others than those of its loss, and fails. `parameters` are those of a module, tensors, or tensors by name; by
    default all that get a gradient. Each run of the step begins with the same optimizer state, buffers and generators,
    and all is put back afterwards. Other arguments are those of `gradcheck`; the order is 1.

    >>> import tinygrad_nn as tg
    >>> model = tg.nn.Linear(2, 1).double()
    >>> opt = tg.optim.SGD(model.parameters(), lr=0.1)
    >>> def step(x, y):
    ...     opt.zero_grad()
    ...     loss = tg.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     opt.step()
    ...     return loss
    >>> x, y = tg.ones(3, 2, dtype=tg.float64), tg.zeros(3, 1, dtype=tg.float64)
    >>> gradcheck_step(tg.jit(step), (x, y), model).leaves
    ('weight', 'bias')
    """
    try:
        settings = _settings("gradcheck_step", eps, atol, rtol, (-np.inf, np.inf), mode, seed, refusals, unused, 1)
        problem, depends = step_problem(step, batch, parameters, loss)
        with problem.state.begun():
            return _checked(problem, depends, settings, 1)
    except TinygradError as error:
        raise error.with_traceback(_users(error.__traceback__)) from None


def _users(traceback: TracebackType | None) -> TracebackType | None:
    """What of a traceback lies in the user's own files."""
    frames = []
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_HOME):
            frames.append(traceback)
        traceback = traceback.tb_next
    for one in reversed(frames):
        traceback = TracebackType(traceback, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return traceback


def _settings(op: str, *given: Any) -> Settings:
    """How to compare; raises GradcheckError for what is out of range."""
    try:
        return _checked_settings(op, *given)
    except ConfigError as error:
        raise GradcheckError(str(error)) from None


def _checked_settings(
    op: str, eps: Any, atol: Any, rtol: Any, domain: Any, mode: Any, seed: Any, refusals: Any, unused: Any, order: Any
) -> Settings:
    integer(op, "order", order, least=1, most=2)
    if not isinstance(domain, (tuple, list)) or len(domain) != 2:
        raise ConfigError(message(op, f"domain {shown(domain)}", "two bounds"))
    bounds = [number(op, "bound of the domain", bound, finite=False) for bound in domain]
    if not bounds[0] < bounds[1]:
        raise ConfigError(message(op, f"domain {shown(domain)}", "a bound below and one above it"))
    if not isinstance(unused, str) and not is_iterable(unused):
        raise ConfigError(message(op, f"unused {shown(unused)}", "the names of leaves"))
    names: list[str] = []
    for name in (unused,) if isinstance(unused, str) else unused:
        if not isinstance(name, (str, int)):
            raise ConfigError(message(op, f"{shown(name)} in unused", "the names of leaves"))
        if len(names) == MOST_NAMES:
            raise ConfigError(message(op, f"more than {MOST_NAMES:,} names in unused", "the names of leaves"))
        names.append(str(name))
    return Settings(
        None if eps is None else number(op, "eps", eps, above=0),
        number(op, "atol", atol, least=0),
        number(op, "rtol", rtol, least=0),
        (bounds[0], bounds[1]),
        choice(op, "mode", mode, ("auto", "full", "fast")),
        integer(op, "seed", seed, least=0),
        number(op, "refusals", refusals, least=0, most=1),
        tuple(names),
    )


def _checked(problem: Checkable, depends: set[int], settings: Settings, order: int) -> Report:
    """Compare all orders; what could not be compared is an error too."""
    rng = np.random.default_rng(settings.seed)
    steps(problem, problem.start(), settings)
    _check_values(problem)
    first, done = problem, []
    if isinstance(problem, StepProblem):
        order = 1
    for level in range(1, order + 1):
        found = compared(problem, settings, rng)
        if level == 1:
            _check_dependence(problem, depends | found.moved, settings.unused)
            if found.refused and settings.refusals < 1:
                count = found.report.checked + found.report.refused
                what = f"{found.report.refused} of {count} entries of the first derivative that cannot be compared"
                raise GradcheckError(refusal(problem, found, what))
        if isinstance(problem, Problem):
            for identity in (*GRADIENT, *RECORDED) if level < order else GRADIENT:
                identity(problem, rng)
        done.append((problem, found))
        if level < order and isinstance(problem, Problem):
            problem = problem.gradient
    total = functools.reduce(operator.add, [found.report for _, found in done])
    _check_refusals(done, total, settings.refusals)
    for one, _ in done:
        for watcher in tuple(_watchers):
            watcher(Checked(one.order, one.compiled, one.replay))
    notes = first.notes if isinstance(first, Problem) else ()
    return replace(total, leaves=tuple(leaf.name for leaf in first.leaves), how=total.how + notes)


def _check_values(problem: Checkable) -> None:
    """The function can be called, gives numbers, and the same ones when it is called again."""
    x = problem.start()
    with placed(problem, x):
        once = problem.call()
        again = problem.call() if isinstance(problem, Problem) else once
    if isinstance(problem, StepProblem):
        again = problem.value(x)
    if once.tobytes() != again.tobytes():
        hint = "seed its generator inside, or switch dropout off: model.eval()"
        raise GradcheckError(
            message("gradcheck", "a function that returns other bits when called again", "a deterministic one", hint)
        )
    if not np.isfinite(once).all():
        k = int(np.argmin(np.isfinite(once)))
        got = f"{once[k]} in element {k} of the outputs"
        raise GradcheckError(message("gradcheck", got, "finite values", "tg.detect_anomaly() says where it begins"))


def _check_dependence(problem: Checkable, depends: set[int], unused: tuple[str, ...]) -> None:
    """Of every leaf something was checked, or its name says that it need not be."""
    for pattern in unused:
        if not any(fnmatchcase(leaf.name, pattern) for leaf in problem.leaves):
            known = ", ".join(leaf.name for leaf in problem.leaves)
            raise GradcheckError(message("gradcheck", f"unused={pattern!r}", f"a name among {known}"))
    idle = [leaf for leaf in problem.leaves if id(leaf.handle) not in depends and leaf.handle.numel()]
    idle = [leaf for leaf in idle if not any(fnmatchcase(leaf.name, pattern) for pattern in unused)]
    if idle:
        got = f"{' and '.join(map(str, idle))}, on which no output depends: nothing was checked"
        hint = f"use it, or say that this is meant: unused=({', '.join(repr(leaf.name) for leaf in idle)},)"
        raise GradcheckError(message("gradcheck", got, "a function of everything that is checked", hint))


def _check_refusals(done: Sequence[tuple[Checkable, Found]], total: Report, share: float) -> None:
    """Raise where too little is left of a comparison."""
    count = total.checked + total.refused
    if total.refused and (total.checked == 0 or total.refused > share * count):
        problem, found = next(pair for pair in done if pair[1].refused)
        what = f"{total.refused} of {count} entries that were refused, more than {share:.0%}"
        raise GradcheckError(refusal(problem, found, what))
