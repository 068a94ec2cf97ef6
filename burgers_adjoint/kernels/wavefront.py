"""Sweeps: the levels of a program, a row or more behind each other, in one pass over memory.

While level 0 is at row j, level l is at row j - lag(l), and the rows in between live in rings that
stay in the cache. Every point is computed by the same operations wherever a level's rows lie: the
bits do not depend on how many steps, or which tiles, share a sweep.

Rows are handed to the formulas in whole cache lines, which makes them compute up to a line of
points too many on either side. Those lie in the padding or the halo, or on the boundary or beyond
it, where a kind's fixes take the place of what is computed.
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from burgers_adjoint.kernels.compilation import compiled_copy
from burgers_adjoint.kernels.lanes import DOUBLE_BYTES, row_kernel
from burgers_adjoint.kernels.programs import Buffer, Kind, Level
from burgers_adjoint.kernels.tile_layout import LINE, Layout, aligned_zeros

# Columns of the table of levels. Rows of a level: [ROW0, ROW1) are in the domain, SOUTH and NORTH
# of them on its boundary, [OWN0, OWN1) the tile's own; the rest of [CLEAR0, CLEAR1) is beyond it.
LAG, CLEAR0, ROW0, OWN0, OWN1, ROW1, CLEAR1, SOUTH, NORTH = range(9)
# three each: own rows, rows of the halo, beyond the boundary
KIND, STREAMS = 9, 12
NUMBERS, N_LINES, INSIDE = range(15, 18)
NOWHERE = 2**40  # a row or column that no tile has
INSIDE_ROW = 255 << 16


# Numba compiles both: it finds the types, and does not read annotations.
def _row(kind, r, numbers, streams, pitch, n_lines, inside):  # type: ignore[no-untyped-def]
    """Stand for the row kernel of a program in the sweep below."""
    raise NotImplementedError("a sweep is compiled with the kinds of a program")


def _sweep(levels, entries, origins, which, offsets, numbers, pitch, waves):  # type: ignore[no-untyped-def]
    """Make one sweep.

    Args:
        levels: (n_levels, INSIDE + 1), see above.
        entries: (n,) work space: masks and bases of streams.
        origins: (n_origins,) addresses of arrays; the first one is 0, for masks.
        which, offsets: (n,): an entry is origins[which] + offset.
        numbers: (n_rows, n) of the levels.
        pitch: bytes from a row to the next one.
        waves: first wave, and the one after the last.
    """
    for k in range(entries.shape[0]):
        entries[k] = origins[which[k]] + offsets[k]
    streams = np.int64(entries.ctypes.data)
    first_number = np.int64(numbers.ctypes.data)
    number_bytes = numbers.shape[1] * 8
    for wave in range(waves[0], waves[1]):
        for q in range(levels.shape[0]):
            r = wave - levels[q, LAG]
            if r < levels[q, CLEAR0] or r >= levels[q, CLEAR1]:
                continue
            inside = levels[q, INSIDE]
            if levels[q, OWN0] <= r < levels[q, OWN1]:
                variant = 0
            else:
                variant = 1 if levels[q, ROW0] <= r < levels[q, ROW1] else 2
            if r == levels[q, SOUTH] or r == levels[q, NORTH]:
                inside &= ~INSIDE_ROW
            _row(
                levels[q, KIND + variant],
                r,
                first_number + levels[q, NUMBERS] * number_bytes,
                streams + levels[q, STREAMS + variant] * 8,
                pitch,
                levels[q, N_LINES],
                inside,
            )


@dataclass(frozen=True)
class Frame:
    """A tile, or part of it, in its array, and where the domain ends.

    Attributes:
        layout: of the array.
        rows, columns: of the points to compute.
        south, north, west, east: rows and columns of the domain's boundary, also those far from
            the tile; None where there is none.
    """

    layout: Layout
    rows: slice
    columns: slice
    south: int | None = None
    north: int | None = None
    west: int | None = None
    east: int | None = None

    def of_rows(self, rows: slice) -> "Frame":
        """Some of the tile's rows."""
        return replace(self, rows=rows)


class Kernel(Protocol):
    """A compiled sweep; see `_sweep`."""

    def __call__(
        self,
        levels: np.ndarray,
        entries: np.ndarray,
        origins: np.ndarray,
        which: np.ndarray,
        offsets: np.ndarray,
        numbers: np.ndarray,
        pitch: np.int64,
        waves: np.ndarray,
    ) -> None: ...


class RowPool:
    """Memory for rows, which grows as sweeps ask for it."""

    def __init__(self) -> None:
        self._rows = aligned_zeros((0,))
        self.address = 0

    def require(self, n_rows: int, pitch: int) -> None:
        """Have room for so many rows of so many doubles, of zeros at first."""
        if self._rows.size < n_rows * pitch:
            self._rows = aligned_zeros((n_rows, pitch))
            self.address = self._rows.__array_interface__["data"][0]


_KERNELS: dict[str, Any] = {}  # of this process, by their names


def kernel_of(kinds: Sequence[Kind]) -> Any:
    """The sweep compiled with these kinds; its name is a hash of their operations."""
    said = "\n\n".join(kind.listing() for kind in kinds)
    name = hashlib.sha256(said.encode()).hexdigest()[:24]
    if name not in _KERNELS:
        _KERNELS[name] = compiled_copy(_sweep, name, _row=row_kernel(kinds))
    return _KERNELS[name]


def settle_lags(levels: Sequence[Level]) -> None:
    """Put every level as few rows behind those that it reads from as that takes."""
    for number, level in enumerate(levels):
        lag = 0
        for before in levels[:number]:
            for stream, buffer in level.bound.items():
                if any(before.bound[name] is buffer for name in before.outputs):
                    lag = max(lag, before.lag + level.kind.reach(stream))
            for name in level.outputs:
                for stream, buffer in before.bound.items():
                    if buffer.alias is not None and buffer.alias == level.bound[name].alias:
                        lag = max(lag, before.lag + before.kind.reach(stream))
        level.lag = lag


def size_rings(levels: Sequence[Level]) -> list[Buffer]:
    """Give every ring the rows that are alive at a time; returns the rings."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for level in levels:
        written = set(level.outputs)
        for stream, buffer in level.bound.items():
            if buffer.source is None and buffer.n_rows != 1:
                if stream in written:
                    first[buffer] = min(first.get(buffer, level.lag), level.lag)
                end = level.lag + level.kind.reach(stream)
                last[buffer] = max(last.get(buffer, end), end)
    for buffer, start in first.items():
        buffer.n_rows = 2
        while buffer.n_rows < last[buffer] - start + 1:
            buffer.n_rows *= 2
    return list(first)


class Sweep:
    """A program on a tile: its levels' tables, and their memory.

    Args:
        levels: of the program, in an order in which each reads what those before it have written.
        kinds: those of the kernel.
        kernel: see `kernel_of`.
        frame: of the tile.
        memory: for the rows in between; sweeps that are not made at a time may share it.

    Attributes:
        keys: of the arrays whose addresses `run` is given, in this order.
        ring_bytes: of the rows in between.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        kinds: Sequence[Kind],
        kernel: Kernel,
        frame: Frame,
        memory: "RowPool",
    ) -> None:
        self._kernel, self._frame, self._kinds = kernel, frame, list(kinds)
        self._memory = memory
        self.keys: list[Hashable] = []
        self._which: list[int] = []
        self._offsets: list[int] = []
        pitch = frame.layout.pitch
        settle_lags(levels)
        own = size_rings(levels)
        single = {b: None for one in levels for b in self._buffers(one) if b.n_rows == 1}
        self._places: dict[Buffer, int] = {}
        n_rows = 0
        for buffer in [*own, *single]:
            self._places[buffer] = n_rows * pitch * DOUBLE_BYTES
            n_rows += buffer.n_fields * buffer.n_rows
        self.ring_bytes = n_rows * pitch * DOUBLE_BYTES
        memory.require(n_rows, pitch)
        self._table = np.array([self._row_of(level) for level in levels], dtype=np.int64)
        self._entries = np.zeros(len(self._which), dtype=np.int64)
        self._which_array = np.array(self._which, dtype=np.int64)
        self._offset_array = np.array(self._offsets, dtype=np.int64)
        self._pitch = np.int64(pitch * DOUBLE_BYTES)
        self._origins = np.zeros(len(self.keys) + 2, dtype=np.int64)
        lags = self._table[:, LAG]
        self._waves = np.array(
            [(self._table[:, CLEAR0] + lags).min(), (self._table[:, CLEAR1] + lags).max()],
            dtype=np.int64,
        )

    @staticmethod
    def _buffers(level: Level) -> list[Buffer]:
        return [*level.bound.values(), *level.outside.values()]

    def _stream(self, buffer: Buffer, n_fields: int, first: int) -> int:
        """Add the entries of a stream; returns the number of the first one."""
        layout, pitch = self._frame.layout, self._frame.layout.pitch
        here = len(self._which)
        self._which.append(0)
        if buffer.source is not None:
            self._offsets.append(0 if buffer.n_rows == 1 else -1)
            if buffer.source not in self.keys:
                self.keys.append(buffer.source)
            origin, rows = 2 + self.keys.index(buffer.source), layout.n_rows
            if buffer.n_rows == 1:
                rows = 1
            start = 0
        else:
            self._offsets.append(buffer.n_rows - 1)
            origin, rows, start = 1, buffer.n_rows, self._places[buffer]
        for f in range(n_fields):
            self._which.append(origin)
            column = 0 if buffer.column else f * rows * pitch + first
            self._offsets.append(start + column * DOUBLE_BYTES)
        return here

    def _streams(self, kind: Kind, bound: Mapping[str, Buffer], first: int) -> int:
        here = len(self._which)
        for stream, n_fields in kind.fields.items():
            self._stream(bound[stream], n_fields, first)
        return here

    def _row_of(self, level: Level) -> list[int]:
        frame, kind, clear = self._frame, level.kind, level.cleared

        def limits(own: slice, low: int | None, high: int | None) -> tuple[int, int, int, int]:
            """Start and stop of what is computed, and the boundary's places if they are near."""
            start, stop = own.start - level.extent, own.stop + level.extent
            near = NOWHERE if low is None or low < start else low
            far = NOWHERE if high is None or high >= stop else high
            if low is not None:
                start = max(start, low)
            if high is not None:
                stop = min(stop, high + 1)
            return start, stop, near, far

        row = [0] * (INSIDE + 1)
        row[LAG], row[NUMBERS] = level.lag, level.numbers
        row[ROW0], row[ROW1], row[SOUTH], row[NORTH] = limits(frame.rows, frame.south, frame.north)
        margin = 0 if clear is None else level.margin
        row[CLEAR0] = row[ROW0] - (margin if row[SOUTH] != NOWHERE else 0)
        row[CLEAR1] = row[ROW1] + (margin if row[NORTH] != NOWHERE else 0)
        row[OWN0], row[OWN1] = frame.rows.start, frame.rows.stop
        column0, column1, west, east = limits(frame.columns, frame.west, frame.east)
        first = column0 // LINE * LINE
        row[N_LINES] = -(-(column1 - first) // LINE)
        last = first + (row[N_LINES] - 1) * LINE
        lanes = range(LINE)
        at_first = sum(1 << k for k in lanes if west == NOWHERE or first + k > west)
        at_last = sum(1 << k for k in lanes if last + k < east)
        row[INSIDE] = at_first | at_last << 8 | INSIDE_ROW
        own = dict(level.bound)
        variants = [(kind, own), (kind, own | dict(level.outside)), (clear or kind, own)]
        for number, (one, bound) in enumerate(variants):
            row[KIND + number] = self._kinds.index(one)
            row[STREAMS + number] = self._streams(one, bound, first)
        return row

    def run(self, origins: Sequence[int] | np.ndarray, numbers: np.ndarray) -> None:
        """Make the sweep on arrays at these addresses, in the order of `keys`."""
        self._origins[1] = self._memory.address
        self._origins[2:] = origins
        self._kernel(
            self._table, self._entries, self._origins, self._which_array, self._offset_array,
            numbers, self._pitch, self._waves,
        )  # fmt: skip
