"""Vector code from formulas: readable Python functions become the inner loops of a sweep.

A compiler's own vectoriser gives up on loops with many streams, and must guard against streams that
overlap, row by row. Here a formula is run, at compile time, on values that stand for as many
neighbouring points each as fit a vector register. Every point of a row is computed by the same
operations, so the bits depend neither on its place in the row nor on the machine's vector width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from burgers_adjoint.kernels.formula import Traced
from burgers_adjoint.kernels.programs import Kind, Row
from burgers_adjoint.kernels.tile_layout import LINE

DOUBLE = ir.DoubleType()
# points of a vector: wider ones than the registers are spilled to the stack
WIDTH = LINE if binding.get_host_cpu_features().get("avx512f") else LINE // 2
VECTOR = ir.VectorType(DOUBLE, WIDTH)
WORD = ir.IntType(64)
DOUBLE_BYTES = 8
# Few results are computed side by side, which hides how long each takes; more, as of a batch of
# directions, one after the other, which spills fewer registers.
MOST_AT_ONCE = 8


class Lanes(Traced):
    """The values of `WIDTH` neighbouring points; arithmetic on it emits vector instructions.

    Lazy ones are emitted when the value is first asked for, so that results which are asked for one
    after the other have few values in registers at a time; others at once.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        make: Callable[[], ir.Value],
        operands: Sequence[Any] = (),
        lazy: bool = False,
    ) -> None:
        self.builder, self._make, self._made, self._lazy = builder, make, False, lazy
        self._operands = [one for one in operands if isinstance(one, Lanes)]
        if not lazy:
            self.make()

    @property
    def value(self) -> ir.Value:
        """What instructions have made, those of its operands first."""
        waiting = [self]  # no recursion: a formula may be a long chain
        while waiting:
            missing = [one for one in waiting[-1]._operands if not one._made]
            if not missing:
                waiting.pop().make()
            waiting += reversed(missing)
        return self._value

    def make(self) -> None:
        """Emit the value, once, when its operands are there."""
        if not self._made:
            self._value, self._made = self._make(), True

    def of(self, other: Any) -> ir.Value:
        """Lanes of a traced value or a number."""
        if isinstance(other, Lanes):
            return other.value
        return ir.Constant(VECTOR, [float(other)] * WIDTH)

    def emit(self, operation: str, *operands: Any) -> Lanes:
        return Lanes(
            self.builder, partial(self._emitted, operation, operands), operands, self._lazy
        )

    def _emitted(self, operation: str, operands: Sequence[Any]) -> ir.Value:
        values = [self.of(operand) for operand in operands]
        if operation in ("sqrt", "fma"):
            kind = ir.FunctionType(VECTOR, [VECTOR] * len(values))
            name = f"llvm.{operation}.v{WIDTH}f64"
            function = cgutils.get_or_insert_function(self.builder.module, kind, name)
            return self.builder.call(function, values)
        return getattr(self.builder, f"f{operation}")(*values)


def row_kernel(kinds: Sequence[Kind]) -> Any:
    """Compile the formulas of some kinds into a loop over a row.

    Returns:
        A function for compiled code, (kind, r, numbers, streams, pitch, n_lines, inside): which
        kind; the row; the address of its numbers; the address of a mask and of the bases of the
        fields of each stream, in the order of `Kind.fields`; bytes from a row to the next one;
        cache lines of points to compute; which lanes of the first line, of the last one, and of
        all are inside the domain, as three bytes from the lowest on. Row r of a stream is at base +
        (r & mask) * pitch. Streams may coincide but not overlap shifted: a line is stored before
        the next one is loaded.
    """

    @intrinsic
    def row(
        typing_context: Any, kind: Any, r: Any, numbers: Any, streams: Any, pitch: Any,
        n_lines: Any, inside: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number, *rest = arguments
            done = builder.append_basic_block("done")
            switch = builder.switch(number, done)
            for k, one in enumerate(kinds):
                block = builder.append_basic_block(f"kind{k}")
                switch.add_case(ir.Constant(WORD, k), block)
                builder.position_at_end(block)
                _emit_row(builder, one, *rest)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(kind, r, numbers, streams, pitch, n_lines, inside), generate

    return row


class _RowEmitter:
    """Emits the loops of one kind over the lines of a row."""

    def __init__(
        self, builder: Any, kind: Kind, r: Any, numbers: Any, streams: Any, pitch: Any
    ) -> None:
        self.builder, self.kind = builder, kind
        self._lazy = len(kind.outputs) > MOST_AT_ONCE
        self._r, self._streams, self._pitch = r, streams, pitch
        self._places: dict[str, int] = {}
        n_entries = 0
        for stream, n_fields in kind.fields.items():
            self._places[stream] = n_entries
            n_entries += 1 + n_fields
        self._offsets: dict[tuple[str, int], Any] = {}
        rows = [row for row, east in kind.points if east is not None]
        rows += [*kind.outputs, *kind.ahead]
        others = [Row(fix.other, row.field) for fix, row in kind.fixed_rows() if fix.other]
        self._addresses = {row: self._address(row) for row in dict.fromkeys([*rows, *others])}
        self._uniform = {row: self._along_y(row) for row, east in kind.points if east is None}
        self._constants = [
            self._known(_splat(builder, self._load(numbers, k, DOUBLE)))
            for k in range(kind.n_numbers)
        ]

    def _load(self, address: Any, place: int, of: Any) -> Any:
        here = self.builder.add(address, WORD(place * DOUBLE_BYTES))
        return self.builder.load(self.builder.inttoptr(here, of.as_pointer()))

    def _address(self, row: Row) -> Any:
        builder, place = self.builder, self._places[row.stream]
        key = row.stream, row.north
        if key not in self._offsets:
            mask = self._load(self._streams, place, WORD)
            wrapped = builder.and_(builder.add(self._r, WORD(row.north)), mask)
            self._offsets[key] = builder.mul(wrapped, self._pitch)
        return builder.add(
            self._load(self._streams, place + 1 + row.field, WORD), self._offsets[key]
        )

    def _along_y(self, row: Row) -> Lanes:
        builder = self.builder
        base = self._load(self._streams, self._places[row.stream] + 1 + row.field, WORD)
        place = builder.mul(builder.add(self._r, WORD(row.north)), WORD(DOUBLE_BYTES))
        value = builder.load(builder.inttoptr(builder.add(base, place), DOUBLE.as_pointer()))
        return self._known(_splat(builder, value))

    def _place(self, row: Row, offset: Any, east: int = 0) -> Any:
        here = self.builder.add(self._addresses[row], offset)
        if east:
            here = self.builder.add(here, WORD(east * DOUBLE_BYTES))
        return self.builder.inttoptr(here, VECTOR.as_pointer())

    def points(self, index: Any, inside: Any = None) -> None:
        """Compute a vector; inside, a bit per point, says where: elsewhere fixes take the place."""
        builder, kind = self.builder, self.kind
        offset = builder.mul(index, WORD(WIDTH * DOUBLE_BYTES))
        points = [
            self._uniform[row]
            if east is None
            else Lanes(builder, partial(self._loaded, row, offset, east), (), self._lazy)
            for row, east in kind.points
        ]
        zero = ir.Constant(VECTOR, [0.0] * WIDTH)
        anything = self._known(zero)
        traced = dict(zip(kind.outputs, kind.formula(self._constants, points), strict=True))
        if inside is None:
            for row in kind.ahead:
                _prefetch(builder, self._place(row, offset))
            for row, one in traced.items():
                value = anything.of(one)
                # streams may coincide: all of the field is loaded before it is stored
                for (other, east), point in zip(kind.points, points, strict=True):
                    if east is not None and other.field == row.field:
                        anything.of(point)
                builder.store(value, self._place(row, offset), align=DOUBLE_BYTES)
        else:
            results = {row: anything.of(one) for row, one in traced.items()}
            lanes = builder.bitcast(inside, ir.VectorType(ir.IntType(1), WIDTH))
            for fix, row in kind.fixed_rows():
                elsewhere = zero
                if fix.how == "add_here":
                    here = builder.load(self._place(row, offset), align=DOUBLE_BYTES)
                    elsewhere = builder.fadd(here, results[row])
                elif fix.how != "zero":
                    place = self._place(Row(fix.other, row.field), offset)
                    other = builder.load(place, align=DOUBLE_BYTES)
                    if fix.how == "keep":
                        elsewhere = other
                    else:
                        total = builder.select(lanes, other, builder.fadd(other, results[row]))
                        builder.store(total, place, align=DOUBLE_BYTES)
                results[row] = builder.select(lanes, results[row], elsewhere)
            for row, value in results.items():
                builder.store(value, self._place(row, offset), align=DOUBLE_BYTES)

    def _known(self, value: ir.Value) -> Lanes:
        return Lanes(self.builder, lambda: value, (), self._lazy)

    def _loaded(self, row: Row, offset: Any, east: int) -> ir.Value:
        return self.builder.load(self._place(row, offset, east), align=DOUBLE_BYTES)


def _emit_row(
    builder: Any, kind: Kind, r: Any, numbers: Any, streams: Any, pitch: Any, n_lines: Any,
    inside: Any,
) -> None:  # fmt: skip
    """Emit a kind's loops: over lines that may lie outside the domain in part, and the others."""
    emitter = _RowEmitter(builder, kind, r, numbers, streams, pitch)
    per_line = WORD(LINE // WIDTH)
    if not kind.fixes:
        with cgutils.for_range(builder, builder.mul(n_lines, per_line)) as loop:
            emitter.points(loop.index)
        return
    byte = ir.IntType(8)
    first, last, everywhere = (
        builder.trunc(builder.lshr(inside, WORD(shift)), byte) for shift in (0, 8, 16)
    )
    end = builder.sub(n_lines, WORD(1))
    wholly = builder.icmp_unsigned("==", everywhere, byte(255))
    # the first and the last line, or all lines of a row on the boundary
    longer = builder.select(builder.icmp_signed(">", end, WORD(1)), end, WORD(1))
    step = builder.select(wholly, longer, WORD(1))
    with cgutils.for_range_slice(builder, WORD(0), n_lines, step, WORD) as (index, _):
        at_first = builder.icmp_signed("==", index, WORD(0))
        at_last = builder.icmp_signed("==", index, end)
        lanes = builder.and_(everywhere, builder.select(at_first, first, byte(255)))
        lanes = builder.and_(lanes, builder.select(at_last, last, byte(255)))
        start = builder.mul(index, per_line)
        with cgutils.for_range(builder, per_line) as loop:
            bits = builder.lshr(lanes, builder.trunc(builder.mul(loop.index, WORD(WIDTH)), byte))
            here = builder.trunc(bits, ir.IntType(WIDTH)) if WIDTH < LINE else bits
            emitter.points(builder.add(start, loop.index), here)
    inner = builder.select(wholly, builder.sub(n_lines, WORD(2)), WORD(0))
    with cgutils.for_range(builder, builder.mul(inner, per_line)) as loop:
        emitter.points(builder.add(loop.index, per_line))


def _prefetch(builder: Any, place: Any) -> None:
    """Begin to load a cache line."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [byte, number, number, number]),
        "llvm.prefetch.p0i8",
    )
    read, keep, data = (ir.Constant(number, value) for value in (0, 2, 1))
    builder.call(function, [builder.bitcast(place, byte), read, keep, data])


def _splat(builder: Any, scalar: Any) -> Any:
    """All lanes equal to one number."""
    first = builder.insert_element(
        ir.Constant(VECTOR, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    pattern = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, ir.Constant(VECTOR, ir.Undefined), pattern)
