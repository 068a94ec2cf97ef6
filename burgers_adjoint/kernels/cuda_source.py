"""CUDA C of a march: the formulas of its levels, written down operation by operation.

Each thread computes one point of a row, or two neighbours, which are loaded and stored at once.
What it has read of its own columns it remembers for as many rows as a level reads, in `windows`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from burgers_adjoint.kernels.formula import Traced
from burgers_adjoint.kernels.marching import PAD, March
from burgers_adjoint.kernels.programs import Buffer, Fix, Level, Row

# Integers that every kernel is given, in this order. Rows and columns are those of arrays: the
# tile's own [row0, row1) x [column0, column1); the domain ends at south, north, west and east; a
# block has `span` columns and `height` rows.
GEOMETRY = (
    "pitch", "n_rows", "row0", "row1", "column0", "column1", "south", "north", "west", "east",
    "span", "height",
)  # fmt: skip
BIAS = 2**20  # makes numbers of rows positive, whatever ring they are taken in
HELPERS = """
INLINE int within(int value, int end) { return value < 0 ? 0 : (value < end ? value : end - 1); }
"""


class Written(Traced):
    """A value that writes the operations that make it."""

    def __init__(self, lines: list[str], name: str, prefix: str = "x") -> None:
        self.lines, self.name, self.prefix = lines, name, prefix

    def emit(self, operation: str, *operands: Any) -> Written:
        names = ", ".join(text_of(one) for one in operands)
        result = Written(self.lines, f"{self.prefix}{len(self.lines)}", self.prefix)
        value = f"-{names}" if operation == "neg" else f"{operation}_({names})"
        self.lines.append(f"const double {result.name} = {value};")
        return result


def text_of(value: Any) -> str:
    """A value or a number in C."""
    return value.name if isinstance(value, Written) else f"({float(value)!r})"


class Source:
    """Writes the kernel of a march.

    Args:
        march: of it.
        threads: of a block.
        points: of a row that a thread computes, 1 or 2.
        ahead: rows that are loaded before they are needed, while others are computed.

    Attributes:
        arrays: what the kernel is given addresses of, in this order: buffers, and whether it is
            the array that is written to.
        numbers_shape: of the table of numbers, a row for each level's; it is given by value, last.
        text: the kernel, named `sweep`, for the prelude of the machine.
    """

    def __init__(self, march: March, threads: int, points: int, ahead: int) -> None:
        self._march, self._ahead, self._n = march, ahead, points
        self._width = points * threads + 2 * PAD
        n_columns = max(level.kind.n_numbers for level in march.levels)
        self.numbers_shape = 1 + max(level.numbers for level in march.levels), max(1, n_columns)
        self.arrays: list[tuple[Buffer, bool]] = []
        for place in march.places.values():
            if place.old:
                self.arrays.append((place.buffer, False))
            if place.new and not place.in_place:
                self.arrays.append((place.buffer, True))
        self._touched: set[Buffer] = set()  # by the levels before, where they add to the boundary
        self._members: list[str] = []
        levels = [line for q in range(len(march.levels)) for line in self._level(q)]
        self.text = self._kernel(levels)

    # ---- the frame

    def _kernel(self, levels: Sequence[str]) -> str:
        march = self._march
        given = [f"const int {name}" for name in GEOMETRY]
        for number, (buffer, new) in enumerate(self.arrays):
            if march.places[buffer].in_place:
                # may be the same array as another level's
                given.append(f"double* a{number}")
            else:
                given.append(f"{'' if new else 'const '}double* RESTRICT a{number}")
        given.append("const Numbers numbers")
        lags, extents, depths = march.lags, march.extents, march.depths
        starts = min(lag - e - d for lag, e, d in zip(lags, extents, depths, strict=True))
        starts -= self._ahead
        ends = max(lag + e for lag, e in zip(lags, extents, strict=True))
        ring = bool(march.n_ring_rows)
        lines = [
            HELPERS,
            f"struct alignas({8 * self._n}) Group {{ double at[{self._n}]; }};",
            f"struct Numbers {{ double c[{math.prod(self.numbers_shape)}]; }};",
            f"struct Windows {{ {' '.join(self._members)} }};",
            "ENTRY void sweep(int blocks_x, int blocks_y, int threads, int shared_doubles,",
            "    " + ",\n    ".join(given) + ") {",
            "  const long long field = (long long)n_rows * pitch;",
            "  FOR_BLOCKS(bx, by) {",
            "    SHARED(shared)" if ring else "",
            "    THREAD_STATES(Windows, windows)",
            "    const int start = row0 + by * height;",
            "    const int stop = start + height < row1 ? start + height : row1;",
            "    const int west_end = column0 + bx * span;",
            "    const int east_end = west_end + span < column1 ? west_end + span : column1;",
            f"    for (int wave = start + ({starts}); wave < stop + {ends}; ++wave) {{",
            "      { FOR_THREADS(t) {",
            f"        const int column = west_end - {march.pad} + {self._n} * t;",
            # all columns of a thread lie in the array, or none
            f"        const int aside = column < 0 ? 0 : within(column, pitch - {self._n - 1});",
            *(
                f"        const bool own{v} = column >= west_end && column + {v} < east_end;"
                for v in range(self._n)
            ),
            *(f"        {line}" for line in levels),
            "      } }",
            "      BARRIER" if ring else "",
            "    }",
            "  }",
            "}",
        ]
        return "\n".join(line for line in lines if line) + "\n"

    # ---- a level

    def _level(self, q: int) -> list[str]:
        march, level = self._march, self._march.levels[q]
        body: list[str] = [f"{{ const int row = wave - {march.lags[q]};"]
        points = self._points(q, body)
        place = level.numbers * self.numbers_shape[1]
        for v in range(self._n):
            operations: list[str] = []
            numbers = [
                Written(operations, f"numbers.c[{place + k}]", f"x{v}_")
                for k in range(level.kind.n_numbers)
            ]
            values = [Written(operations, name, f"x{v}_") for name in points[v]]
            results = [text_of(one) for one in level.kind.formula(numbers, values)]
            body += operations
            body += [f"double o{v}_{k} = {one};" for k, one in enumerate(results)]
        body += self._fixed(q)
        body += self._stored(q)
        return [*body, "}"]

    def _points(self, q: int, body: list[str]) -> list[list[str]]:
        """Read what the formula is given; returns its names for each of a thread's points."""
        level = self._march.levels[q]
        windows: dict[tuple[str, int], list[int]] = {}
        for row, east in level.kind.points:
            if east == 0 and not self._special(level, row):
                windows.setdefault((row.stream, row.field), []).append(row.north)
        started = {
            (stream, f): self._window(q, stream, f, min(norths), max(norths), body)
            for (stream, f), norths in windows.items()
        }
        loaded: dict[tuple[Row, int | None], str] = {}
        names: list[list[str]] = [[] for _ in range(self._n)]
        for row, east in level.kind.points:
            norths = windows.get((row.stream, row.field), ())
            for v in range(self._n):
                place = None if east is None else v + east
                if (row, place) not in loaded:
                    value = self._load(q, row, place)
                    if row.north in norths and place is not None and 0 <= place < self._n:
                        window = started[row.stream, row.field]
                        value = f"STATE(windows, t).{window}[{row.north - min(norths)}].at[{place}]"
                    loaded[row, place] = f"p{len(loaded)}"
                    body.append(f"const double {loaded[row, place]} = {value};")
                names[v].append(loaded[row, place])
        return names

    @staticmethod
    def _special(level: Level, row: Row) -> bool:
        buffer = level.bound[row.stream]
        return buffer.column or (buffer.source is not None and buffer.n_rows == 1)

    def _window(self, q: int, stream: str, f: int, low: int, high: int, body: list[str]) -> str:
        """Rows of a thread's own columns that move on with the wave; one is loaded at a time."""
        buffer = self._march.levels[q].bound[stream]
        ahead = 0 if self._march.from_ring(q, buffer) else self._ahead
        size = high + ahead - low + 1
        name = f"w{len(self._members)}"
        self._members.append(f"Group {name}[{size}];")
        here = f"STATE(windows, t).{name}"
        body += [f"{here}[{k}] = {here}[{k + 1}];" for k in range(size - 1)]
        place = self._place(q, Row(stream, f, high + ahead), None)
        body.append(f"{here}[{size - 1}] = *(const Group*)&{place};")
        return name

    def _load(self, q: int, row: Row, place: int | None) -> str:
        """A point so many columns from the first one of a thread; None for a number of the row."""
        buffer = self._march.levels[q].bound[row.stream]
        if buffer.column:
            array = self._array(buffer, new=False)
            return f"{array}[within(row + {row.north}, n_rows)]"
        return self._place(q, row, place or 0)

    def _place(self, q: int, row: Row, place: int | None) -> str:
        """Where a point is; None for all of a thread's points."""
        level = self._march.levels[q]
        buffer = level.bound[row.stream]
        if self._march.from_ring(q, buffer):
            return self._ring(buffer, row.field, row.north, place or 0)
        array = self._array(buffer, new=False)
        column = "aside" if place is None else f"within(column + {place}, pitch)"
        if buffer.n_rows == 1:
            return f"{array}[{column}]"
        there = f"within(row + {row.north}, n_rows)"
        return f"{array}[{row.field} * field + (long long){there} * pitch + {column}]"

    def _array(self, buffer: Buffer, new: bool) -> str:
        if new and self._march.places[buffer].in_place:
            new = False
        return f"a{self.arrays.index((buffer, new))}"

    def _ring(self, buffer: Buffer, f: int, north: int = 0, place: int = 0) -> str:
        ring = self._march.places[buffer]
        slot = f"(unsigned)(row + {BIAS + north}) % {ring.ring_rows}u"
        row = f"{ring.offset} + ({slot}) * {buffer.n_fields} + {f}"
        return f"shared[({row}) * {self._width} + {self._n} * t + {PAD + place}]"

    # ---- what becomes of the results

    def _fixed(self, q: int) -> list[str]:
        """Give what lies on the boundary, or beyond it, its values."""
        march, level = self._march, self._march.levels[q]
        lines = ["const bool mine = row >= start && row < stop;"]
        if not march.bounded:
            return lines
        kind = level.kind
        outputs = list(kind.outputs)
        lines += [
            "if (row <= south || row >= north || column <= west",
            f"    || column + {self._n - 1} >= east) {{",
        ]
        for v in range(self._n):
            column = f"(column + {v})"
            lines += [
                f"{{ const bool beyond = row < south || row > north || {column} < west",
                f"    || {column} > east;",
                f"const bool edge = row == south || row == north || {column} == west",
                f"    || {column} == east;",
                # rows that warm up may lie outside the array
                "const long long here =",
                f"    (long long)within(row, n_rows) * pitch + within{column[:-1]}, pitch);",
            ]
            for fix, row in kind.fixed_rows():
                lines.append(f"if (edge && !beyond) {{ {self._fix(q, v, fix, row, outputs)} }}")
            lines += [f"if (beyond) o{v}_{k} = 0.0;" for k in range(len(outputs))]
            lines.append("}")
        lines.append("}")
        self._touched |= {
            level.bound[fix.other if fix.how == "add" else fix.stream]
            for fix in kind.fixes
            if fix.how in ("add", "add_here")
        }
        return lines

    def _fix(self, q: int, v: int, fix: Fix, row: Row, outputs: list[Row]) -> str:
        level, result = self._march.levels[q], f"o{v}_{outputs.index(row)}"
        if fix.how == "zero":
            return f"{result} = 0.0;"
        at = f"[{row.field} * field + here]"
        if fix.how == "keep":
            return f"{result} = {self._array(level.bound[fix.other], new=False)}{at};"
        buffer = level.bound[fix.other if fix.how == "add" else fix.stream]
        before = f"{self._array(buffer, new=buffer in self._touched)}{at}"
        if fix.how == "add_here":
            return f"if (mine && own{v}) {result} = add_({before}, {result});"
        after = f"{self._array(buffer, new=True)}{at}"
        return f"if (mine && own{v}) {after} = add_({before}, {result}); {result} = 0.0;"

    def _stored(self, q: int) -> list[str]:
        march, level = self._march, self._march.levels[q]
        lines = []
        for k, row in enumerate(level.kind.outputs):
            buffer = level.bound[row.stream]
            place = march.places[buffer]
            group = f"Group{{{{{', '.join(f'o{v}_{k}' for v in range(self._n))}}}}}"
            if place.ring_rows:
                lines.append(f"*(Group*)&{self._ring(buffer, row.field)} = {group};")
            if place.new:
                at = f"{row.field} * field + (long long)row * pitch + column"
                array = self._array(buffer, new=True)
                lines.append(f"if (mine && own{self._n - 1}) *(Group*)&{array}[{at}] = {group};")
                if self._n > 1:
                    lines.append(f"else if (mine && own0) {array}[{at}] = o0_{k};")
        return lines
