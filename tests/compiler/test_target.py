"""Code for other machines: object code in which the function is found, and programs in operations that a target has."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llvmlite import binding

import tinygrad_nn as tg
from tests.compiler.works import iris
from tinygrad_nn.compiler import interp
from tinygrad_nn.compiler.codegen import native
from tinygrad_nn.compiler.driver import Compilation, build
from tinygrad_nn.compiler.job import Job, Part
from tinygrad_nn.compiler.loopir.ir import Gemm, expressions, statements
from tinygrad_nn.compiler.loopir.program import Program
from tinygrad_nn.compiler.lower.legalize import multiply_add
from tinygrad_nn.compiler.run.runtime import Compiled
from tinygrad_nn.compiler.target import TARGETS, Target
from tinygrad_nn.config import config
from tinygrad_nn.errors import ConfigError, GraphError
from tinygrad_nn.graph.scalar import FLOAT32, FLOAT64, evaluate, param, walk

MACHINES = {  # class (64 or 32 bits) and machine of ELF
    "aarch64-linux": (2, 183),
    "cortex-m0": (1, 40),
    "cortex-m4": (1, 40),
    "cortex-m7": (1, 40),
    "riscv32": (1, 243),
    "riscv64": (2, 243),
}


def functions_of_elf(code: bytes) -> dict[str, int]:
    """Name and size of every function that is defined in an ELF object, read by hand."""
    wide = code[4] == 2
    at, size, count = (40, 58, 60) if wide else (32, 46, 48)
    (start,) = struct.unpack_from("<Q" if wide else "<I", code, at)
    (step,), (number,) = struct.unpack_from("<H", code, size), struct.unpack_from("<H", code, count)
    form = "<IIQQQQIIQQ" if wide else "<IIIIIIIIII"
    sections = [struct.unpack_from(form, code, start + k * step) for k in range(number)]
    found = {}
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        names = sections[link][4]
        for place in range(offset, offset + length, entry):
            if wide:
                name, info, _, section, _, extent = struct.unpack_from("<IBBHQQ", code, place)
            else:
                name, _, extent, info, _, section = struct.unpack_from("<IIIBBH", code, place)
            if info & 15 == 2 and section:  # STT_FUNC, not undefined
                found[code[names + name : code.index(b"\0", names + name)].decode()] = extent
    return found


def number(code: bytes, at: int) -> tuple[int, int]:
    """An unsigned number in LEB128, and where it ends."""
    value = shift = 0
    while True:
        byte, at = code[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def functions_of_wasm(code: bytes) -> dict[str, bool]:
    """Name of every function in the linking section of a wasm object, and whether it is defined here."""
    at, found = 8, {}
    while at < len(code):
        kind, (length, start) = code[at], number(code, at + 1)
        at = start + length
        size, place = number(code, start)
        if kind != 0 or code[place : place + size] != b"linking":
            continue
        _, place = number(code, place + size)  # the version
        while place < at:
            part, (length, place) = code[place], number(code, place + 1)
            end = place + length
            if part == 8:  # WASM_SYMBOL_TABLE
                found |= dict(symbols(code, place))
            place = end
    return found


def symbols(code: bytes, at: int) -> Iterator[tuple[str, bool]]:
    """The functions of a symbol table, which stand before everything else here."""
    count, at = number(code, at)
    for _ in range(count):
        kind, (flags, at) = code[at], number(code, at + 1)
        if kind != 0:  # SYMTAB_FUNCTION
            return
        _, at = number(code, at)
        defined = not flags & 0x10
        if not defined and not flags & 0x40:  # undefined, under the name of the import
            continue
        length, at = number(code, at)
        yield code[at : at + length].decode(), defined
        at += length


def small() -> Job:
    """The graph of a function with everything that would need a multiply-add of one rounding."""
    x = tg.tensor(np.linspace(0.5, 2.0, 12))
    function = tg.jit(lambda x: (x.log() + x.sin() + (x @ x)).tanh())
    return Job((Part(function.entry((x,), {}).compiled.stages.made["merge"].parts[0].graph),))


def training(folder: Path) -> Job:
    """The run of the Iris example, with its evaluation."""
    work = iris(folder, "float32")
    step = tg.jit(work.step)
    tg.fit(step, work.data, 1, batch_size=32, evaluate=work.scores, progress=False, seed=0)
    job: Job = step.runs[0][1].stages.made["merge"]
    return job


@pytest.mark.parametrize("name", TARGETS)
def test_the_function_is_found_in_the_object(name: str) -> None:
    check(name, build(small(), TARGETS[name], last="emit"))


@pytest.mark.parametrize("name", TARGETS)
def test_the_training_run_is_found_in_the_object(name: str, shared_data: Path) -> None:
    check(name, build(training(shared_data), TARGETS[name], last="emit"))


def check(name: str, made: Compilation) -> None:
    """The object is for this machine, and the function is in it."""
    code = made.object.code
    if name == "wasm32":
        assert code[:8] == b"\0asm\1\0\0\0"
        found = functions_of_wasm(code)
        assert found.pop("run")
        assert all(found.values())  # nothing is wanted from elsewhere
    else:
        assert code[:4] == b"\x7fELF"
        assert (code[4], struct.unpack_from("<H", code, 18)[0]) == MACHINES[name]
        assert functions_of_elf(code)["run"] > 100
    assert not fused(made) or TARGETS[name].fma


def fused(made: Compilation) -> bool:
    return "llvm.fma" in made.llvm


def test_the_symbol_is_missing_where_the_function_has_another_name() -> None:
    text = "define i32 @walk(ptr %arena) {\n  ret i32 0\n}\n"
    assert set(functions_of_elf(native.object_code(text, TARGETS["riscv32"]).code)) == {"walk"}
    assert set(functions_of_wasm(native.object_code(text, TARGETS["wasm32"]).code)) == {"walk"}


def test_pointers_have_the_size_of_the_target() -> None:
    text = "define ptr @run(ptr %p) {\n  %q = getelementptr ptr, ptr %p, i64 1\n  ret ptr %q\n}\n"
    added = {"wasm32": b"\x41\x04\x6a", "aarch64-linux": b"\x00\x20\x00\x91", "cortex-m4": b"\x04\x30"}  # 4, 8, 4
    for name, instruction in added.items():
        assert instruction in native.object_code(text, TARGETS[name]).code


@pytest.mark.parametrize("name", TARGETS)
def test_ir_that_is_wrong_is_an_error_and_no_end_of_the_process(name: str) -> None:
    with pytest.raises(GraphError, match=f"(?s)refuses for {TARGETS[name].triple}.*expected value token"):
        native.object_code("define i32 @run() {\n  ret i32 %\n}\n", TARGETS[name])


def test_what_ends_the_child_ends_nothing_else() -> None:
    """A triple LLVM knows, for which it has no code generator, or none that works."""
    with pytest.raises(GraphError, match="nowhere"):
        native.object_code("define i32 @run() {\n  ret i32 0\n}\n", Target("nowhere", "generic", "", 16, False))


def test_code_for_another_machine_is_not_run() -> None:
    with pytest.raises(GraphError, match="to run here") as caught:
        build(small(), TARGETS["aarch64-linux"])
    assert caught.value.__notes__ == ["in the stage load"]


@pytest.mark.parametrize("width", [16, 32])
@pytest.mark.parametrize("fma", [True, False])
def test_less_of_this_machine(width: int, fma: bool) -> None:
    """Narrower vectors, and no fused instruction: other text, other code, the same numbers."""
    target = replace(native.host(), width=width, fma=fma)
    job, x = small(), np.linspace(0.5, 2.0, 12)
    graph = job.parts[0].graph
    whole, less = Compiled(graph), Compiled(graph, target=target)
    assert less.stages.schedule.width == width
    assert fused(less.stages) == fma
    if (width, fma) != (native.host().width, True):
        assert less.stages.object.key != whole.stages.object.key
    (expected,), _ = whole.run([x])
    (found,), _ = less.run([x])
    np.testing.assert_allclose(found, expected, rtol=1e-15)


LOOP = """
define void @f(ptr %x, ptr %y, i64 %n) {
entry:
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %head ]
  %far = mul i64 %i, 100
  %from = getelementptr double, ptr %x, i64 %far
  %value = load double, ptr %from
  %to = getelementptr double, ptr %y, i64 %i
  store double %value, ptr %to
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %head, label %exit
exit:
  ret void
}
"""


def test_the_rest_of_the_process_emits_code_as_before() -> None:
    """A pass that our code has no use for is turned off while that is emitted, and no longer, even where that fails."""
    target = native.host()

    def theirs() -> bytes:
        module, machine = binding.parse_assembly(LOOP), native._machine(target)
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        code: bytes = machine.emit_object(module)
        return code

    before = theirs()
    ours = native._emitted(LOOP, target)
    assert (ours == before) is not target.triple.startswith("x86")
    assert theirs() == before
    with pytest.raises(GraphError):
        native._emitted(LOOP + "no more", target)
    assert theirs() == before


@pytest.fixture
def asked_for(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A value of TGNN_CPU, for as long as the test runs."""
    monkeypatch.setenv("TGNN_CPU", request.param)
    config.cache_clear()
    native.host.cache_clear()
    yield request.param
    monkeypatch.undo()
    config.cache_clear()
    native.host.cache_clear()


@pytest.mark.parametrize("asked_for", ["avx2", "sse"], indirect=True)
def test_an_older_processor_is_asked_for(asked_for: str) -> None:
    """Narrower vectors, and no feature that it has not; where this machine is none that came later, an error."""
    here = binding.get_host_cpu_features()
    width, needed, absent = {"avx2": (32, "avx2", "avx512"), "sse": (16, "sse4.2", "avx")}[asked_for]
    if not here.get(needed):
        with pytest.raises(ConfigError, match=rf"\[TGNN_CPU\] got {asked_for} on a processor without {needed}"):
            native.host()
        return
    target = native.host()
    assert (target.width, target.triple, target.blas) == (width, binding.get_default_triple(), True)
    assert not [feature for feature in target.features.split(",") if feature.startswith(f"+{absent}")]
    compiled = Compiled(small().parts[0].graph)
    (found,), _ = compiled.run([np.linspace(0.5, 2.0, 12)])
    (expected,), _ = interp.run(compiled.stages.program, [np.linspace(0.5, 2.0, 12)])
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_blas_is_called_in_this_process_alone() -> None:
    pytest.importorskip("scipy")
    x = tg.ones(320, 320)
    job = Job((Part(tg.jit(lambda x: x @ x).entry((x,), {}).compiled.stages.graph),))

    def calls(target: Target) -> bool:
        program = build(job, target, last="rows").program
        return any(isinstance(one, Gemm) for kernel in program.kernels for one in kernel.body)

    assert calls(native.host())
    assert not calls(replace(native.host(), blas=False))
    assert not any(map(calls, TARGETS.values()))


def has_fma(program: Program) -> set[np.dtype[Any]]:
    """The dtypes of fused operations in a program."""
    every = [one for kernel in program.kernels for one, _ in statements(kernel.body)]
    parts = [part for one in every for root in expressions(one) for part in walk(root)]
    return {part.dtype for part in parts if part.op in ("fma", "muladd")}


def test_each_dtype_is_fused_where_the_target_can() -> None:
    x = np.linspace(0.5, 2.0, 12)
    for dtype in (np.float32, np.float64):
        function = tg.jit(lambda x: x.exp() * x.log())
        graph = function.entry((tg.tensor(x.astype(dtype)),), {}).compiled.stages.graph
        job = Job((Part(graph),))
        programs = {name: build(job, target, last="rows").program for name, target in TARGETS.items()}
        assert not has_fma(programs["wasm32"])
        assert np.dtype(dtype) in has_fma(programs["aarch64-linux"])
        assert (np.dtype(np.float64) in has_fma(programs["cortex-m4"])) is False
        assert (np.dtype(dtype) in has_fma(programs["cortex-m4"])) == (dtype is np.float32)
        values = [x.astype(dtype)]
        (expected,), _ = interp.run(programs["aarch64-linux"], values)
        for program in programs.values():
            (found,), _ = interp.run(program.verify(), values)
            np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
def test_a_product_and_its_error_are_exact(dtype: Any) -> None:
    """What logarithms ask for; and sums come out as with one rounding, but for a bit in few of them."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2, 4000)) * 2.0 ** rng.integers(-20, 20, (2, 4000))).astype(dtype)
    term = param("term", dtype)
    written = multiply_add(param("x", dtype), param("y", dtype), term)

    def both(term: Any) -> tuple[Any, Any]:
        values = {"x": x, "y": y, "term": term}
        fused = param("x", dtype).fma(param("y", dtype), param("term", dtype))
        return evaluate(written, values), evaluate(fused, values)

    np.testing.assert_array_equal(*both(-(x * y)))
    found, expected = both((rng.standard_normal(4000) * x * y).astype(dtype))
    assert (found != expected).mean() < 0.01
    np.testing.assert_allclose(found, expected, rtol=2 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize(
    ("x", "y", "term"),
    [
        (1e300, 1e300, 1.0),
        (1e305, 1.0, -1e305),
        (np.inf, 2.0, -np.inf),
        (np.inf, 0.0, 1.0),
        (np.nan, 1.0, 1.0),
        (-0.0, 1.0, -0.0),
        (0.0, -1.0, -0.0),
        (-0.0, 1.0, 0.0),
        (3.0, 1.0, -3.0),
    ],
)
def test_what_is_special_stays_so(x: float, y: float, term: float) -> None:
    a, b, c = (param(name, FLOAT64) for name in "abc")
    values = {name: np.array([value]) for name, value in zip("abc", (x, y, term), strict=True)}
    with np.errstate(all="ignore"):
        found, expected = evaluate(multiply_add(a, b, c), values), evaluate(a.fma(b, c), values)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
