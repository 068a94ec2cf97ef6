"""Programs: a sweep over memory as levels of row formulas, each a row or more behind the others.

A *kind* is a formula with what it reads and writes, by the names of streams. A *level* is a kind
whose streams are bound to buffers: a working array, a ring of rows that stays in the cache, or one
row. At wave w of a sweep level l works on row w - lag(l), which all it reads is ready for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from burgers_adjoint.kernels.formula import Listed

Formula = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Row:
    """A row of a stream that a formula touches: its field, how many rows to the north."""

    stream: str
    field: int = 0
    north: int = 0


@dataclass(frozen=True)
class Fix:
    """What becomes of an output on the domain's boundary and beyond it, where nothing is computed.

    Attributes:
        stream: the output.
        how: "keep" takes the values of the other stream; "zero" puts zeros; "add" puts zeros too,
            and adds what was computed to the other stream; "add_here" adds it to the output itself.
        other: that stream.
    """

    stream: str
    how: str
    other: str = ""


@dataclass(frozen=True, eq=False)
class Kind:
    """A formula and its streams.

    Attributes:
        formula: (numbers, points) -> new values, in the order of `outputs`.
        points: what it reads: a row, and how many columns to the east; None where the stream is
            a column, with one number for each row.
        outputs: rows that it writes.
        ahead: rows to fetch into the cache meanwhile.
        n_numbers: how many numbers it is given.
        fixes: what becomes of outputs on the domain's boundary and beyond it; see `Fix`.
    """

    formula: Formula
    points: tuple[tuple[Row, int | None], ...]
    outputs: tuple[Row, ...]
    ahead: tuple[Row, ...] = ()
    n_numbers: int = 0
    fixes: tuple[Fix, ...] = ()

    @property
    def fields(self) -> dict[str, int]:
        """Streams, in the order in which they are met, and how many fields of each are touched."""
        found: dict[str, int] = {}
        others = [Row(fix.other, row.field) for fix, row in self.fixed_rows() if fix.other]
        for row in (*(row for row, _ in self.points), *self.outputs, *self.ahead, *others):
            found[row.stream] = max(found.get(row.stream, 0), row.field + 1)
        return found

    def listing(self) -> str:
        """All that compiled code of the kind depends on, as text."""
        lines: list[str] = []
        points = [Listed(lines, f"point{k}") for k in range(len(self.points))]
        numbers = [Listed(lines, f"number{k}") for k in range(self.n_numbers)]
        results = [
            one.name if isinstance(one, Listed) else float(one).hex()
            for one in self.formula(numbers, points)
        ]
        streams = repr((self.points, self.outputs, self.ahead, self.fixes))
        return "\n".join([streams, *lines, *results])

    def fixed_rows(self) -> list[tuple[Fix, Row]]:
        """Fixes, and the outputs that they are of."""
        return [
            (fix, row) for fix in self.fixes for row in self.outputs if row.stream == fix.stream
        ]

    def reach(self, stream: str) -> int:
        """How many rows from its own one the formula reads a stream."""
        return max((abs(r.north) for r, _ in self.points if r.stream == stream), default=0)


class Points:
    """Gathers what a formula reads, while the formula is put together."""

    def __init__(self) -> None:
        self.found: list[tuple[Row, int | None]] = []

    def at(self, stream: str, field: int = 0, north: int = 0, east: int | None = 0) -> int:
        """Number of a point among those that the formula is given."""
        point = (Row(stream, field, north), east)
        if point not in self.found:
            self.found.append(point)
        return self.found.index(point)

    def cross(self, stream: str, field: int, reach: int) -> list[int]:
        """Numbers of a point, and of those to its east, west, north and south, nearest first."""
        numbers = [self.at(stream, field)]
        for distance in range(1, reach + 1):
            numbers += [
                self.at(stream, field, east=distance),
                self.at(stream, field, east=-distance),
                self.at(stream, field, north=distance),
                self.at(stream, field, north=-distance),
            ]
        return numbers


@dataclass(eq=False)
class Buffer:
    """Memory for rows of some fields.

    Attributes:
        n_fields: fields.
        source: key of the array that it is; None for rows that are the sweep's own.
        n_rows: rows of a ring, a power of two, found when the lags are known; 1 for a single row
            that stands for all; of no meaning for a whole array.
        alias: what is the same for two arrays that may share memory.
        column: whether the array has one number for each row.
    """

    n_fields: int
    source: Hashable = None
    n_rows: int = 0
    alias: Hashable = None
    column: bool = False


@dataclass
class Level:
    """A kind at work.

    Attributes:
        kind: what is computed.
        bound: buffer of each stream.
        extent: points computed beyond the tile's own, where the domain does not end.
        numbers: which row of the numbers is its own.
        margin: rows beyond the boundary that are to be zero in what is fixed.
        outside: buffers that take the place of others in rows that are not the tile's own.
        lag: rows behind the first level.
    """

    kind: Kind
    bound: Mapping[str, Buffer]
    extent: int = 0
    numbers: int = 0
    margin: int = 1
    outside: Mapping[str, Buffer] = field(default_factory=dict)
    lag: int = 0

    @property
    def outputs(self) -> list[str]:
        """Streams that it writes."""
        written = [row.stream for row in self.kind.outputs]
        written += [fix.other for fix in self.kind.fixes if fix.how == "add"]
        return list(dict.fromkeys(written))

    @property
    def cleared(self) -> Kind | None:
        """The kind that puts zeros to what is fixed; None where nothing is."""
        fixed = tuple(row for _, row in self.kind.fixed_rows())
        return zeroing(fixed) if fixed else None


@cache
def copying(stream: str, n_fields: int, fixes: tuple[Fix, ...]) -> Kind:
    """The kind that copies "from" so many fields to a stream."""
    outputs = tuple(Row(stream, f) for f in range(n_fields))
    points = tuple((Row("from", f), 0) for f in range(n_fields))
    return Kind(lambda c, points: points, points, outputs, fixes=fixes)


@cache
def zeroing(outputs: tuple[Row, ...]) -> Kind:
    """The kind that puts zeros to rows."""
    return Kind(lambda c, points: [0.0] * len(outputs), (), outputs)


def kinds_of(levels: Iterable[Level]) -> list[Kind]:
    """All kinds that sweeps of these levels call, each once."""
    found: dict[Kind, None] = {}
    for level in levels:
        found[level.kind] = None
        if level.cleared is not None:
            found[level.cleared] = None
    return list(found)
