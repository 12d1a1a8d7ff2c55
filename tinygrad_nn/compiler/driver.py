"""The driver: one flat list of stages, from graphs to machine code, for every one who has something compiled.

Every stage is a function from one frozen value to the next. It is timed; with TGNN_VERIFY=1 what it made is verified;
what TGNN_DEBUG asks for is printed; an error that leaves it names it in a note. No stage knows who asked, or asks what
machine it runs on: that is in the `Context`. A trace is no stage, since it runs what the user wrote: it comes before.

A job that is described as one before is recognised: it has the image and the code of that one, and the stages are only
passed when somebody looks at what they make. With TGNN_VERIFY=1 or TGNN_DEBUG=2 they are always passed, and have to end
in the same image.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from ..config import config, say
from ..errors import GraphError, message
from ..graph.graph import Graph
from .blas import in_parts
from .codegen import native
from .codegen.llvm.printer import print_llvm
from .codegen.llvm.ranges import Ranges, in_assembly, in_ir, located
from .codegen.native import Code, Object
from .expand.expand import expand
from .expand.verify import verify as verify_expanded
from .image import Image, image_of, written
from .job import Batches, Job, Part
from .loopir.ir import BLOCK, Gemm
from .loopir.program import Program
from .lower.fusion import Decision, Plan
from .lower.lanes import with_lanes
from .lower.legalize import legal
from .lower.parts import Lowered, Planned, lower_parts, plan_parts
from .lower.training_loop import TrainingProgram, training_program
from .notice import announcement
from .passes.algebra import BEFORE_MERGING, rewrite
from .passes.merge import merged
from .recall import Known, key_of, recall, remember
from .schedule.rows import block_runs, in_blocks
from .schedule.schedule import Schedule, schedule
from .schedule.steps import join_steps, joined
from .target import NEVER, Target

RECOGNISE: Final = "recognise"  # what the seconds of a job that was recognised are called


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage may want to know besides the value before: for which machine, and what to call if it takes long."""

    target: Target
    announce: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the way: its function, the verifier of what that makes, and what to print from which level on.

    What is not `kept` is large and wanted by the next stage alone.
    """

    name: str
    make: Callable[[Any, Context], Any]
    verify: Callable[[Any], object]
    shown: tuple[tuple[int, Callable[[Compilation], str]], ...] = ()
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent on each stretch of the way, and whether the machine code came from the cache."""

    lower: float
    generate: float
    machine: float
    cached: bool


class Later(Mapping[str, Any]):
    """What the stages would make of a job that was recognised: each is passed when it is first looked at."""

    def __init__(self, job: Job, target: Target, image: Image) -> None:
        self.job, self.target, self.image = job, target, image
        self.made: Mapping[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.made:
            with uncollected():
                self.made = _pass(self.job, Compilation(self.target, {}, {}), "", name, 0).made
            if "schedule" in self.made:
                _image(self.job, self.made, self.image)
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(stage.name for stage in STAGES if stage.kept)

    def __len__(self) -> int:
        return sum(stage.kept for stage in STAGES)


@dataclass(frozen=True, slots=True, eq=False)
class Compilation:
    """What each stage made, by its name, and the seconds that took; where the stages end in machine code, also what is
    needed to run it. `seconds` of one that was recognised are those of `recognise` alone.
    """

    target: Target
    made: Mapping[str, Any]
    seconds: Mapping[str, float]
    known: Known | None = None

    @property
    def job(self) -> Job:
        """The graphs, rewritten."""
        job: Job = self.made["rewrite"]
        return job

    @property
    def graph(self) -> Graph:
        """The graph of the first part, rewritten."""
        return self.job.parts[0].graph

    @property
    def plan(self) -> Plan:
        """Which nodes of that have a buffer."""
        planned: Planned = self.made["plan"]
        return planned.plans[0]

    @property
    def decisions(self) -> list[Decision]:
        """Which nodes have a buffer and why, graph by graph."""
        pairs = zip(self.job.parts, self.made["plan"].plans, strict=True)
        return [one for part, planned in pairs for one in planned.decisions(part.graph)]

    @property
    def program(self) -> Program:
        """The loops, in no order yet but that of the graph."""
        program: Program = self.made["rows"]
        return program

    @property
    def training(self) -> TrainingProgram:
        """The program of a run, with what is where."""
        training: TrainingProgram = self.made["lanes"]
        return training

    @property
    def schedule(self) -> Schedule:
        """The loops in order, with vectors and places in memory."""
        planned: Schedule = self.made["schedule"]
        return planned

    @property
    def llvm(self) -> str:
        """The LLVM IR."""
        text: str = self.made["print"]
        return text

    @property
    def object(self) -> Object:
        """The object code."""
        made: Object = self.made["emit"]
        return made

    @property
    def code(self) -> Code:
        """The machine code, in this process."""
        code: Code = self.made["load"] if self.known is None else self.known.code
        return code

    @property
    def image(self) -> Image:
        """What is needed to run the machine code."""
        if self.known is None:
            raise GraphError(message("compile", "stages that end before there is machine code", "all of them"))
        return self.known.image

    @property
    def recognised(self) -> bool:
        """Whether no stage had to be passed."""
        return RECOGNISE in self.seconds

    @property
    def timings(self) -> Timings:
        """The seconds of the stages up to the schedule, of those up to the text, and of LLVM."""
        if self.recognised:
            return Timings(self.seconds[RECOGNISE], 0.0, 0.0, True)
        names = list(self.seconds)
        ends = [names.index(name) + 1 for name in ("schedule", "print")]
        parts = names[: ends[0]], names[ends[0] : ends[1]], names[ends[1] :]
        lower, generate, machine = (sum(self.seconds[name] for name in part) for part in parts)
        return Timings(lower, generate, machine, self.object.cached)

    def assembly(self) -> str:
        """The machine code as text."""
        return native.assembly(self.llvm, self.target)

    def llvm_ranges(self) -> Ranges:
        """The LLVM IR, and which lines of it are which kernel's."""
        return in_ir(self.llvm)

    def assembly_ranges(self) -> Ranges:
        """The machine code as text, and which lines of it are which kernel's."""
        return in_assembly(native.assembly(located(self.llvm), self.target), self.llvm)


def merge(job: Job, context: Context) -> Job:
    """One part in place of a step for whole batches and one for the short last batch, where one graph serves both."""
    parts: list[Part] = []
    for part in job.parts:
        parts += [part] if part.last is None or part.batches is None else _merged(part, part.batches, part.last)
    return replace(job, parts=tuple(parts))


def _merged(part: Part, batches: Batches, last: Part) -> list[Part]:
    same = part.results == last.results  # numbers of Python's may differ where graphs do not
    both = (rewrite(one.graph, BEFORE_MERGING) for one in (part, last))
    common = merged(*both) if same else None
    if common is None or last.batches is None:
        return [replace(part, last=None), last]
    served = replace(batches, rounds=batches.rounds + 1, short=last.batches.rows)
    return [replace(part, graph=common, batches=served, last=None)]


def rewrite_parts(job: Job, context: Context) -> Job:
    """The graphs by the passes of `PASSES`."""
    return replace(job, parts=tuple(replace(part, graph=rewrite(part.graph)) for part in job.parts))


def assemble(lowered: Lowered, context: Context) -> Program | TrainingProgram:
    """The program of a call as it is, those of a run with the loops around them."""
    return training_program(lowered) if lowered.job.epochs is not None else lowered.programs[0]


def legalize(value: Program | TrainingProgram, context: Context) -> Program:
    """The program in operations that the target has."""
    return legal(value.program if isinstance(value, TrainingProgram) else value, context.target)


def may_share(one: Gemm, threads: int) -> bool:
    """Whether threads may share a product by a BLAS."""
    (m, n), k = one.target.shape, one.x.shape[0 if one.tx else 1]
    return in_parts(one.target.dtype, (m, n, k), one.tx, one.ty, one.shared, BLOCK, threads)


def _reasons(made: Compilation) -> str:
    lines = [
        (f"in {one.body}" if one.body else "")
        + (f"b{one.node} {one.op}" if one.stored else f"computed where it is read: {one.node} {one.op}")
        + f": {one.why}"
        for one in made.decisions
    ]
    return "\n".join(["-- why a node has a buffer", *lines])


def _loops(made: Compilation) -> str:
    program: Program = made.made["legalize"]
    lines = [
        f"steps of {late} among those of {early}: {', '.join(names)}"
        for early, others in joined(program, join_steps(program)).items()
        for late, names in others.items()
    ]
    lines += [f"{run.var.extent} blocks of rows: {', '.join(names)}" for run, names in block_runs(made.program)]
    return "\n".join(["-- loops joined, and in blocks of rows", *lines]) if lines else "-- rows: in no blocks"


def _size(image: Image) -> str:
    return f"{image.nodes} nodes, {image.kernels} kernels, {image.size} bytes"


def _summary(made: Compilation) -> str:
    planned = made.schedule
    sizes = f"{made.made['merge'].nodes} nodes, {len(planned.program.kernels)} kernels"
    room = f"{len(planned.program.buffers)} buffers in {planned.size} bytes"
    return f"compiled: {sizes}, {room}, {made.llvm.count(chr(10))} lines of IR"


def _seconds(made: Compilation) -> str:
    each = ", ".join(f"{name} {1e3 * seconds:.1f}" for name, seconds in made.seconds.items())
    return f"milliseconds: {each}" + " (from the cache)" * made.object.cached


STAGES: Final = (
    Stage(
        "merge",
        merge,
        Job.verify,
        ((2, lambda made: "\n".join(f"-- graph\n{part.graph}" for part in made.made["merge"].parts)),),
    ),
    Stage("rewrite", rewrite_parts, Job.verify),
    Stage(
        "plan",
        lambda job, context: plan_parts(job, NEVER if job.lanes else context.target.products, context.target.plain),
        Planned.verify,
        ((4, _reasons),),
    ),
    Stage("lower", lambda planned, context: lower_parts(planned), Lowered.verify),
    Stage("assemble", assemble, lambda value: value.verify()),
    Stage("lanes", lambda program, context: with_lanes(program), lambda value: value.verify()),
    Stage("legalize", legalize, Program.verify),
    Stage("rows", lambda program, context: in_blocks(join_steps(program)), Program.verify, ((4, _loops),)),
    Stage(
        "schedule",
        lambda program, context: schedule(
            program,
            context.target.width,
            context.target.registers,
            context.target.threads,
            may_share,
            not context.target.plain,
            context.target.compact,
        ),
        Schedule.verify,
        ((4, lambda made: f"-- loops\n{made.schedule.program}"),),
    ),
    Stage(
        "expand",
        lambda planned, context: expand(planned),
        verify_expanded,
        ((5, lambda made: f"-- steps\n{made.made['expand']}"),),
        kept=False,
    ),
    Stage(
        "print",
        lambda expanded, context: print_llvm(expanded),
        native.verify,
        (
            (1, _summary),
            (5, lambda made: f"-- LLVM\n{made.llvm}"),
            (6, lambda made: f"-- assembly\n{made.assembly()}"),
        ),
    ),
    Stage("emit", lambda text, context: native.object_code(text, context.target, context.announce), Object.verify),
    Stage("load", lambda made, context: native.load(made, "run", context.target), Code.verify, ((1, _seconds),)),
)


def build(job: Job, target: Target | None = None, owner: str = "", last: str = "load") -> Compilation:
    """All stages, or those up to the `last` one, by default for this machine; none of them where the job is recognised.
    `owner` says so if it takes long.
    """
    start = Compilation(target or native.host(), {}, {})
    if config().verify:
        job.verify()
    with uncollected():
        return _whole(job, start, owner) if last == "load" else _pass(job, start, owner, last, config().debug)


def _whole(job: Job, start: Compilation, owner: str) -> Compilation:
    """What is known of such a job, or what all stages make of it."""
    flags, started = config(), time.perf_counter()
    looking = flags.verify or flags.debug >= 2
    key = key_of(job, start.target)
    known = None if key is None else recall(key, start.target, not looking)
    if known is not None and not looking:
        seconds = time.perf_counter() - started
        if flags.debug:
            say(f"compiled before: {_size(known.image)}, recognised in {1e3 * seconds:.1f} ms")
        return Compilation(start.target, Later(job, start.target, known.image), {RECOGNISE: seconds}, known)
    made = _pass(job, start, owner, "load", flags.debug)
    image = _image(job, made.made, None if known is None else known.image)
    if key is not None and known is None:
        remember(key, image, made.object, made.code, not looking)
    return replace(made, known=Known(image, made.code))


def _image(job: Job, made: Mapping[str, Any], known: Image | None) -> Image:
    """The image of what was made, which has to be the one that is known."""
    image = image_of(job, made["merge"], made["lanes"], made["schedule"])
    if known is not None and written(known) != written(image):
        raise GraphError(message("compile", "two programs for one description", hint="see compiler/description.py"))
    return image


def _pass(job: Job, start: Compilation, owner: str, last: str, debug: int) -> Compilation:
    """The stages up to the last one, without what they do not keep."""
    made = _advance(STAGES[: _position(last) + 1], job, start, owner, debug)
    kept = {stage.name for stage in STAGES if stage.kept} | {last}
    return replace(made, made={name: value for name, value in made.made.items() if name in kept})


def build_schedule(planned: Schedule, target: Target) -> Code:
    """The machine code of loops in order: the last stages alone, without a word."""
    return _advance(STAGES[_position("schedule") + 1 :], planned, Compilation(target, {}, {}), "", 0).code


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for cycles: what traces and stages make is in use to the end."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _position(name: str) -> int:
    return [stage.name for stage in STAGES].index(name)


def _advance(stages: Sequence[Stage], value: Any, sofar: Compilation, owner: str, debug: int) -> Compilation:
    """Stage after stage."""
    for stage in stages:
        started = time.perf_counter()
        try:
            value = stage.make(value, Context(sofar.target, partial(_announce, owner, sofar)))
            seconds = time.perf_counter() - started
            if config().verify:
                stage.verify(value)
        except Exception as error:
            error.add_note(f"in the stage {stage.name}")
            raise
        sofar = Compilation(sofar.target, {**sofar.made, stage.name: value}, {**sofar.seconds, stage.name: seconds})
        for level, text in stage.shown:
            if debug >= level:
                say(text(sofar))
    return sofar


def _announce(owner: str, sofar: Compilation) -> None:
    """Say that it takes long, before the longest part begins."""
    if owner:
        *before, expanding, printing = sofar.seconds.values()
        announcement(owner, sofar.made["merge"].nodes, sofar.llvm.count("\n"), sum(before), expanding + printing)
