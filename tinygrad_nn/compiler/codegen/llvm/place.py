"""Where an access lies in memory, and how it is loaded and stored: scalars, vectors, masked and scattered ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....scalar import BOOL
from ...loopir.ir import Access, Affine, Guard, Register, Var
from ...schedule.memory import Layout
from .writer import MEMORY, SUFFIX, Val

if TYPE_CHECKING:
    from .kernel import KernelWriter


@dataclass(slots=True)
class Env:
    """What variables and registers stand for; jammed iterations have one each."""

    variables: dict[Var, Val | int]
    registers: dict[Register, Val]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The vector loop being written: its variable, the value of lane 0, and which lanes are real (None: all)."""

    var: Var
    count: int
    base: Val | int
    mask: Val | None
    outside: frozenset[Register]


class Place:
    """Where an access lies: its address, whether the lanes are next to each other, and which of them count."""

    def __init__(self, kernel: KernelWriter, access: Access, env: Env) -> None:
        self.k, self.access, self.env = kernel, access, env
        self.layout: Layout = kernel.schedule.layouts[access.buffer]
        self.dtype = access.buffer.dtype
        self.type = MEMORY[self.dtype]
        lanes = kernel.lanes
        self.step = 0
        fixed: list[tuple[Affine, int]] = []
        self.dynamic: list[tuple[Val, int]] = []
        for index, stride in zip(access.index, self.layout.strides, strict=True):
            if isinstance(index, Affine):
                fixed.append((index, stride))
                self.step += index.coefficient(lanes.var) * stride if lanes else 0
            else:
                self.dynamic.append((kernel.value(index, env), stride))
        self.base = kernel.flat(fixed, env)
        self.scattered = self.step not in (0, 1) or any(value.lanes for value, _ in self.dynamic)
        self.is_vector = bool(lanes) and (self.step != 0 or self.scattered)

    def guard(self) -> Val | None:
        """Whether the guards hold, in each lane."""
        w, result = self.k.w, None
        for guard in self.access.guards:
            for holds in self._sides(guard):
                result = holds if result is None else w.binary("and", result, holds)
        return result

    def _sides(self, guard: Guard) -> list[Val]:
        low, high = guard.index.bounds()
        number, w = self.k.number(guard.index, self.env), self.k.w
        if not number.text.startswith("%") and not number.lanes:
            number = self.k.anchored(number)
        sides = []
        if low < guard.low:
            sides.append(w.binary("icmp sge", number, Val(str(guard.low), "i64"), "i1"))
        if high >= guard.high:
            sides.append(w.binary("icmp slt", number, Val(str(guard.high), "i64"), "i1"))
        return sides

    def offset(self) -> Val:
        """The element's place in the buffer; a vector where the lanes are scattered."""
        w = self.k.w
        total = self.base if isinstance(self.base, Val) else Val(str(self.base), "i64")
        for value, stride in self.dynamic:
            term = value if stride == 1 else w.binary("mul", value, Val(str(stride), "i64"))
            total = w.binary("add", total, term)
        if self.scattered and self.k.lanes is not None and self.step:
            lanes = ", ".join(f"i64 {k * self.step}" for k in range(self.k.lanes.count))
            total = w.binary("add", total, Val(f"<{lanes}>", "i64", self.k.lanes.count))
        return total

    def address(self, offset: Val) -> Val:
        """The pointer, or vector of pointers."""
        w = self.k.w
        start = self.k.starts[self.access.buffer]
        base = w.pure(f"getelementptr inbounds i8, ptr %arena, i64 {start}", "ptr", 0, 0)
        if offset.text == "0":
            return base
        text = f"getelementptr inbounds {self.type}, ptr {base.text}, {offset.full} {offset.text}"
        return w.pure(text, "ptr", offset.lanes, offset.level)

    def padded(self, writing: bool) -> bool:
        """Whether a whole vector may be touched beyond the end of the loop: the padding of the buffer takes it."""
        lanes = self.k.lanes
        if lanes is None or self.layout.inner < 0:
            return False
        index = self.access.index[self.layout.inner]
        whole = -(-lanes.var.extent // lanes.count) * lanes.count
        if not isinstance(index, Affine) or index.terms != ((lanes.var, 1),):
            return False
        if writing:
            return (
                index.offset == 0
                and lanes.var.extent == self.access.buffer.shape[self.layout.inner]
                and whole <= self.layout.pitch
            )
        return index.offset >= 0 and index.offset + whole <= self.layout.pitch

    def mask(self, guard: Val | None, writing: bool) -> Val | None:
        """Which lanes may touch memory; None for all."""
        lanes = self.k.lanes
        real = lanes.mask if lanes and self.is_vector and not (not self.scattered and self.padded(writing)) else None
        if guard is None or real is None:
            return guard if real is None else real
        return self.k.w.binary("and", guard, real)

    def read(self) -> Val:
        """Load. What the kernel writes is loaded where it is read, all else where its address is known."""
        w, guard = self.k.w, self.guard()
        lanes = self.k.lanes.count if self.k.lanes and self.is_vector else 0
        offset = self.offset()
        align = self.dtype.itemsize
        zero = Val(
            "zeroinitializer" if lanes else ("0x0000000000000000" if self.dtype.kind == "f" else "0"), self.type, lanes
        )
        mask = self.mask(guard, False)
        if not lanes:
            if mask is not None and mask.lanes:
                lanes = mask.lanes
            elif mask is not None:
                offset = w.select(mask, offset, Val("0", "i64"))
            if lanes:  # the same element in each lane that the guard lets pass
                offset = w.splat(offset, lanes)
                zero = Val("zeroinitializer", self.type, lanes)
        kind = f"<{lanes} x {self.type}>" if lanes else self.type
        scattered = self.scattered or (lanes and not self.is_vector)
        address = self.address(w.splat(offset, lanes) if scattered and lanes else offset)
        level = max(address.level, mask.level if mask is not None else 0)
        moves = self.k.schedule.offsets[self.access.buffer] not in self.k.written_at
        level = level if moves else len(w.levels) - 1
        if scattered and lanes:
            every = mask if mask is not None else Val("splat (i1 true)", "i1", lanes)
            every = w.splat(every, lanes)
            text = self._call("gather", f"{kind}", f"<{lanes} x ptr> {address.text}", align, every, zero)
        elif mask is not None and lanes:
            text = self._call("load", f"{kind}", f"ptr {address.text}", align, w.splat(mask, lanes), zero)
        else:
            text = f"load {kind}, ptr {address.text}, align {align}"
        handed = w.levels[-1].stored.get(text)
        if handed is not None:
            value = handed[1]
        else:
            value = w.pure(text, self.type, lanes, level) if moves else w.here(text, self.type, lanes)
        if mask is not None and not lanes:
            value = w.select(mask, value, zero)
        if self.dtype == BOOL:
            value = w.binary("icmp ne", value, Val("0", "i8"), "i1")
        return value

    def _call(self, what: str, kind: str, pointer: str, align: int, mask: Val, zero: Val) -> str:
        lanes = mask.lanes
        suffix = f"v{lanes}{SUFFIX[self.type]}.{f'v{lanes}p0' if what == 'gather' else 'p0'}"
        function = f"llvm.masked.{what}.{suffix}"
        pointers = pointer.rsplit(" ", 1)[0]
        self.k.w.declared[function] = f"declare {kind} @{function}({pointers}, i32 immarg, {mask.full}, {kind})"
        return f"call {kind} @{function}({pointer}, i32 {align}, {mask.full} {mask.text}, {kind} {zero.text})"

    def write(self, value: Val) -> None:
        """Store."""
        w, align = self.k.w, self.dtype.itemsize
        offset = self.offset()
        start = self.k.schedule.offsets[self.access.buffer]
        for level in w.levels:  # what was stored in this buffer before may have changed
            level.stored = {text: known for text, known in level.stored.items() if known[0] != start}
        lanes = self.k.lanes.count if self.k.lanes and self.is_vector else 0
        mask = self.mask(None, True)
        value = w.splat(value, lanes)
        address = self.address(w.splat(offset, lanes) if self.scattered and lanes else offset)
        if self.scattered and lanes:
            every = w.splat(mask if mask is not None else Val("true", "i1"), lanes)
            self._write("scatter", value, f"<{lanes} x ptr> {address.text}", align, every)
        elif mask is not None and lanes:
            self._write("store", value, f"ptr {address.text}", align, mask)
        else:
            w.do(f"store {value.full} {value.text}, ptr {address.text}, align {align}")
            w.levels[-1].stored[f"load {value.full}, ptr {address.text}, align {align}"] = (start, value)

    def _write(self, what: str, value: Val, pointer: str, align: int, mask: Val) -> None:
        lanes = mask.lanes
        function = f"llvm.masked.{what}.v{lanes}{SUFFIX[self.type]}.{f'v{lanes}p0' if what == 'scatter' else 'p0'}"
        pointers = pointer.rsplit(" ", 1)[0]
        self.k.w.declared[function] = f"declare void @{function}({value.full}, {pointers}, i32 immarg, {mask.full})"
        self.k.w.do(
            f"call void @{function}({value.full} {value.text}, {pointer}, i32 {align}, {mask.full} {mask.text})"
        )
