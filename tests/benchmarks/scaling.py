"""`python -m tests.benchmarks.scaling`: what a sweep costs on one core, on many, on a cluster.

Costs are measured here: of a model, of a process that begins, of a task, of a megabyte. `simulate` is a simulation of
events in which the sweep's own `Tasks` cuts the work, a driver hands it out and takes what comes back, one thing at a
time, and workers do it. It is checked against real runs of 1, 2 and 4 worker processes of Dask, and then says what a
million models on a hundred machines would take. `--quick` leaves the runs out.
"""

from __future__ import annotations

import argparse
import heapq
import math
import multiprocessing
import os
import pickle
import random
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np

import tinygrad_nn as tg
from tinygrad_nn import functional as F
from tinygrad_nn import nn, optim
from tinygrad_nn.sweeping import away
from tinygrad_nn.sweeping.away import Dask, Tasks
from tinygrad_nn.sweeping.errand import Outcome
from tinygrad_nn.sweeping.plan import Plan
from tinygrad_nn.sweeping.request import Share, all_trials
from tinygrad_nn.sweeping.results import Finished, Results

ROWS, EPOCHS = 150, 1000
X = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


@dataclass(frozen=True)
class Costs:
    """Seconds of a core; megabytes.

    model     training a model, all its epochs
    start     a process: its first task, with imports, plan, and what the compiler's cache has not
    trip      a worker, of a task: until it has it, and what it does around the training
    task      the driver, with the scheduler: handing out a task and taking what comes back
    kept      the driver, of a model: its columns and its state
    received  the driver, of a megabyte
    planned   the driver, of a model, before anything begins; the workers make the same list
    size      megabytes that a model leaves
    """

    model: float
    start: float
    trip: float
    task: float
    kept: float
    received: float
    planned: float
    size: float


@dataclass(frozen=True)
class Run:
    """What a simulation says. Shares are of all the time of all workers, but for that of the driver."""

    seconds: float
    tasks: int
    training: float
    starting: float
    around: float
    waiting: float
    driver: float


def simulate(
    costs: Costs,
    models: int,
    workers: int,
    *,
    speed: float = 1.0,
    least: float = away.LEAST,
    handed: float = away.HANDED,
    lifetime: float = math.inf,
    seed: int = 0,
) -> Run:
    """A sweep as a sequence of events: ends of tasks, in the order of time, each handled by the one driver.

    `speed` is the part of a core that a process has, `lifetime` the mean time after which a worker dies, its task is
    lost, and another process begins.
    """
    luck = random.Random(seed)
    tasks = Tasks(np.arange(models), np.zeros(models, np.int32), workers, least, handed)
    clock = costs.planned * models / speed  # the driver's
    busy = clock
    given: list[deque[tuple[float, int, int]]] = [deque() for _ in range(workers)]  # when, number, models
    ends: list[tuple[float, int]] = []
    begun = [False] * workers
    training = starting = around = 0.0

    def hand_out(worker: int) -> bool:
        nonlocal clock, busy
        task = next(tasks, None)
        if task is not None:
            clock += 0.5 * costs.task / speed
            busy += 0.5 * costs.task / speed
            given[worker].append((clock, task[0], len(task[1])))
        return task is not None

    def begin(worker: int, now: float) -> None:
        nonlocal training, starting, around
        when, _, count = given[worker][0]
        now = max(now, when)
        begins = 0.0 if begun[worker] else (costs.start + costs.planned * models) / speed
        takes = count * costs.model / speed
        begun[worker] = True
        while luck.random() > math.exp(-(begins + takes) / lifetime):
            lost = luck.random() * (begins + takes)
            begins = (costs.start + costs.planned * models) / speed
            now, starting = now + lost, starting + lost
        starting, training, around = starting + begins, training + takes, around + costs.trip / speed
        heapq.heappush(ends, (now + begins + takes + costs.trip / speed, worker))

    short = deque([*range(workers)] * 2)  # workers that could have a task more

    def fill() -> None:
        while short and len(tasks.away) < tasks.room and hand_out(short[0]):
            worker = short.popleft()
            if len(given[worker]) == 1:
                begin(worker, clock)

    fill()
    last = 0.0
    while ends:
        now, worker = heapq.heappop(ends)
        _, number, count = given[worker].popleft()
        if given[worker]:
            begin(worker, now)
        takes = (0.5 * costs.task + count * (costs.kept + costs.size * costs.received)) / speed
        clock, busy = max(clock, now) + takes, busy + takes
        last = clock
        tasks.settle(Outcome(number, [], {0: costs.model / speed}, [], "", ""))
        short.append(worker)
        fill()
    total = max(last * workers, 1e-12)
    used = training + starting + around
    return Run(
        last,
        tasks.number,
        training / total,
        starting / total,
        around / total,
        1 - used / total,
        busy / max(last, 1e-12),
    )


# ---- measured --------------------------------------------------------------------------------------------------------


def build(lr: float = 0.1) -> Any:
    """The model of the measurements: Iris, 4-8-3, in one batch."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = optim.SGD(model.parameters(), lr=lr)

    @tg.jit
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return {"step": step, "init": model.reset_parameters}


def swept(count: int, **given: Any) -> Any:
    """So many models. Arenas, so that every task runs the same code however few models it has."""
    return tg.sweep(build, (X, Y), EPOCHS, seeds=range(count), how="arenas", progress=False, **given)


def nothing(told: Any, content: Any, task: int, numbers: Any) -> Outcome:
    """What a task without work leaves: with each model 1 MB if the content says so."""
    state = [np.zeros(2**17)] if bytes(content) == b"large" else []
    return Outcome(task, [Finished(int(k), {}, {}, 0, None, state) for k in numbers], {0: 1e9}, [], "", "")


def of_tasks(client: Any, count: int, content: bytes) -> tuple[float, float]:
    """Seconds of the clock and of the processor of this process, which is driver and scheduler, for tasks of one model
    each without work.
    """
    told = away.Told(os.urandom(8).hex(), {}, np.float32, "", "")
    tasks = Tasks(np.arange(count), np.zeros(count, np.int32), 1)
    tasks.seconds = {0: 1e9}
    with patch.object(away, "work", nothing):
        begun, cpu = time.perf_counter(), time.process_time()
        for outcome in Dask(client).outcomes(tasks, told, content):
            if outcome is not None:
                tasks.settle(outcome)
        return (time.perf_counter() - begun) / count, (time.process_time() - cpu) / count


def _spin(seconds: float, ready: Any, found: Any) -> None:
    ready.wait()
    end, cpu = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        pass
    found.put((time.process_time() - cpu) / seconds)


def part_of_a_core(processes: int, seconds: float = 1.0) -> float:
    """What this machine gives each of so many processes that work now: 1 where it has a core for each."""
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    ready, found = context.Barrier(processes), context.Queue()
    running = [context.Process(target=_spin, args=(seconds, ready, found)) for _ in range(processes)]
    for one in running:
        one.start()
    parts = [found.get() for _ in running]
    for one in running:
        one.join()
    return sum(parts) / processes


def cluster(processes: int) -> Any:
    """A Dask cluster of so many processes on this machine."""
    from distributed import Client, LocalCluster

    local = LocalCluster(n_workers=processes, threads_per_worker=1, processes=True, dashboard_address=":0")
    return Client(local)


def shut(client: Any) -> None:
    """End a cluster."""
    client.close()
    client.cluster.close()


def measure() -> Costs:
    """The costs here, least times of several."""
    swept(4)
    model = math.inf
    for _ in range(5):
        begun = time.process_time()
        found = swept(200)
        model = min(model, (time.process_time() - begun) / 200)
    states = [Finished(k, {"loss": found["loss"][k]}, {}, EPOCHS, None, found._results.states[k]) for k in range(200)]
    packed = pickle.dumps(states)
    size = len(packed) / len(states) / 1e6
    kept = planned = math.inf
    for _ in range(5):
        begun, results = time.process_time(), Results(200, EPOCHS, np.zeros(0))
        for one in states:
            results.record(one)
        kept = min(kept, (time.process_time() - begun) / 200)
        begun = time.process_time()
        plan = Plan(build, None, found._plan.how, [{}], (X, Y), (None, None), range(20_000))
        list(plan.classes(all_trials([{}], [Share()], range(20_000))))
        planned = min(planned, (time.process_time() - begun) / 20_000)
    client = cluster(1)
    try:
        mine = part_of_a_core(2)
        begun = time.perf_counter()
        swept(1, workers=client)
        start = (time.perf_counter() - begun) * mine
        task, trip, large = math.inf, math.inf, math.inf
        for _ in range(3):
            wall, cpu = of_tasks(client, 200, b"small")
            task, trip = min(task, cpu), min(trip, wall)
            large = min(large, of_tasks(client, 40, b"large")[1])
        again = math.inf
        for _ in range(3):
            begun = time.perf_counter()
            swept(1, workers=client)
            again = min(again, time.perf_counter() - begun)
    finally:
        shut(client)
    received = max(large - task, 0.0) / (2**20 / 1e6)
    return Costs(
        model, max(start - again, 0.0), max(again - model - task, 0.0) * mine, task, kept, received, planned, size
    )


def real(processes: int, models: int) -> tuple[float, float, int]:
    """Seconds of a real sweep on fresh processes, the part of a core that each had, and its tasks."""
    client = cluster(processes)
    try:
        before = part_of_a_core(processes)
        begun = time.perf_counter()
        found = swept(models, workers=client)
        taken = time.perf_counter() - begun
        speed = 0.5 * (before + part_of_a_core(processes))
    finally:
        shut(client)
    return taken, speed, int(found.explanation[-1].split()[0])


def main() -> None:
    """Measure, check, predict."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling", description=__doc__)
    parser.add_argument("--models", type=int, default=2000, help="of the runs that check the simulation")
    parser.add_argument("--quick", action="store_true", help="no such runs")
    options = parser.parse_args()
    costs = measure()
    print(f"a model of {EPOCHS} epochs      {costs.model * 1e3:9.3f} ms, {costs.model / EPOCHS * 1e6:.2f} us an epoch")
    print(f"a process that begins      {costs.start * 1e3:9.0f} ms")
    print(f"a task, for its worker     {costs.trip * 1e3:9.1f} ms")
    print(f"a task, for the driver     {costs.task * 1e3:9.2f} ms")
    print(f"a model, for the driver    {costs.kept * 1e6:9.1f} us, and {costs.planned * 1e6:.1f} us to plan")
    print(f"a megabyte, for the driver {costs.received * 1e3:9.2f} ms; a model leaves {costs.size * 1e3:.2f} kB")
    if not options.quick:
        print("\nprocesses   part of a core   predicted    measured   ratio   tasks predicted, measured")
        for processes in (1, 2, 4):
            taken, speed, count = real(processes, options.models)
            said = simulate(costs, options.models, processes, speed=speed)
            ratio = said.seconds / taken
            print(
                f"{processes:9} {speed:16.2f} {said.seconds:9.2f} s {taken:9.2f} s {ratio:7.2f}   {said.tasks}, {count}"
            )
    print("\na million models      workers  seconds   training  starting  around tasks  waiting  driver busy   tasks")
    for name, workers in (("one core", 1), ("one machine", 32), ("10 machines", 320), ("100 machines", 3200)):
        show(name, workers, simulate(costs, 1_000_000, workers))
    print("\non 100 machines, by the size of a task")
    for least in (0.1, 0.5, 2.0, 5.0, 20.0):
        show(f"tasks of {least} s", 3200, simulate(costs, 1_000_000, 3200, least=least, handed=0.0))
    print("\non 100 machines, other sweeps")
    show("models 100 times as long", 3200, simulate(replace(costs, model=100 * costs.model), 1_000_000, 3200))
    show("1 MB left by a model", 3200, simulate(replace(costs, size=1.0), 1_000_000, 3200))
    dying = replace(costs, model=100 * costs.model)
    show("... a worker lives 10 min", 3200, simulate(dying, 1_000_000, 3200, lifetime=600))


def show(name: str, workers: int, run: Run) -> None:
    """A row."""
    shares = "".join(f"{100 * one:9.0f}%" for one in (run.training, run.starting, run.around, run.waiting, run.driver))
    print(f"{name:24} {workers:4} {run.seconds:9.1f} {shares} {run.tasks:9,}")


if __name__ == "__main__":
    main()
