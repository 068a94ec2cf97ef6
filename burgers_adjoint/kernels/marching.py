"""Sweeps of a graphics processor: what each block of threads computes, and in which order.

A block has a strip of columns, one or two for each thread, and marches over some rows of it. As in
`wavefront`, every level works a row or more behind those that it reads from; rows in between live
in rings in the block's shared memory, and one barrier at the end of a wave is all that threads wait
for. Blocks do not wait for each other: what a block needs of the points around its own it computes
as well, and where a sweep changes an array that it reads, the new values go to other memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from burgers_adjoint.kernels.programs import Buffer, Level, Row

PAD = 2  # columns on either side of a ring's rows that nobody computes: as far as equations reach
ALIGNED = 4  # columns: blocks whose strips start in such steps store whole sectors of memory


@dataclass(eq=False)
class Place:
    """Where a buffer of a program is.

    Attributes:
        buffer: it.
        first_write: number of the first level that writes to it; None where none does.
        ring_rows: rows of its ring in shared memory; 0 for none.
        old: whether there is an array that is read as it was before the sweep.
        new: whether there is an array that the sweep writes to.
        in_place: whether these two are one: each point is read and written by its owner alone.
        offset: of the ring, in rows of all rings.
    """

    buffer: Buffer
    first_write: int | None = None
    ring_rows: int = 0
    old: bool = False
    new: bool = False
    in_place: bool = False
    offset: int = 0


@dataclass
class March:
    """A program as blocks of threads carry it out.

    Attributes:
        levels: of it.
        places: of all buffers.
        lags: rows behind the first level, for each level.
        extents: points around the block's own that each level computes.
        depths: rows before them from which a level's windows are filled.
        n_ring_rows: rows of all rings.
    """

    levels: Sequence[Level]
    places: dict[Buffer, Place] = field(default_factory=dict)
    lags: list[int] = field(default_factory=list)
    extents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    n_ring_rows: int = 0

    def __post_init__(self) -> None:
        for level in self.levels:
            if any(max(abs(row.north), abs(east)) > PAD for row, east in self.points(level)):
                raise ValueError(f"a level reads further than {PAD} points")
        self._find_places()
        self._settle_lags()
        self._size_rings()
        self._find_extents()

    # ---- what is read and written

    @staticmethod
    def points(level: Level) -> list[tuple[Row, int]]:
        """Points that a level reads of rows: (row, columns to the east)."""
        return [(row, east) for row, east in level.kind.points if east is not None]

    @classmethod
    def loads(cls, level: Level, buffer: Buffer) -> set[tuple[int, int]]:
        """What is read of a buffer in one wave, (north, east).

        Of its own column a thread reads the northmost row alone, and remembers the others.
        """
        found = [
            (row, east) for row, east in cls.points(level) if level.bound[row.stream] is buffer
        ]
        own = {row.stream: row.north for row, east in found if not east}
        for row, east in found:
            if not east:
                own[row.stream] = max(own[row.stream], row.north)
        return {(row.north, east) for row, east in found if east or row.north == own[row.stream]}

    @property
    def pad(self) -> int:
        """Columns on either side of a strip that a block computes for its own points."""
        widest = max(self.extents)
        return -(-widest // ALIGNED) * ALIGNED

    @property
    def bounded(self) -> bool:
        """Whether the domain may end in a tile."""
        return any(level.kind.fixes for level in self.levels)

    def from_ring(self, level: int, buffer: Buffer) -> bool:
        """Whether a level reads a buffer as levels before it have left it, in shared memory."""
        place = self.places[buffer]
        written = place.first_write
        return place.ring_rows > 0 and written is not None and written < level

    def _find_places(self) -> None:
        guarded: dict[Buffer, bool] = {}
        for number, level in enumerate(self.levels):
            written = set(level.outputs)
            for stream, buffer in level.bound.items():
                place = self.places.setdefault(buffer, Place(buffer))
                guarded[buffer] = guarded.get(buffer, True) and stream in level.outside
                if stream in written and place.first_write is None:
                    place.first_write = number
        for number, level in enumerate(self.levels):
            added = {fix.other for fix in level.kind.fixes if fix.how == "add"}
            added |= {fix.stream for fix in level.kind.fixes if fix.how == "add_here"}
            read = {row.stream for row, _ in level.kind.points}
            read |= {fix.other for fix in level.kind.fixes if fix.how == "keep"}
            for stream, buffer in level.bound.items():
                place = self.places[buffer]
                first, is_array = place.first_write, buffer.source is not None
                place.new = is_array and first is not None
                place.in_place = place.new and guarded[buffer]
                if first is None or place.in_place:
                    place.old = is_array
                elif stream in read:
                    after = first < number
                    place.old = place.old or not after
                    place.ring_rows = max(place.ring_rows, int(after or not is_array))
                if is_array and stream in added:
                    place.old = True

    def _settle_lags(self) -> None:
        """Put each level as few rows behind those it reads from as that takes.

        What other threads compute can be read from the wave on that follows a barrier.
        """
        for number, level in enumerate(self.levels):
            lag = 0
            for before in range(number):
                written = {self.levels[before].bound[name] for name in self.levels[before].outputs}
                for row, east in self.points(level):
                    buffer = level.bound[row.stream]
                    if buffer in written and self.from_ring(number, buffer):
                        lag = max(lag, self.lags[before] + row.north + (1 if east else 0))
                if written & set(level.bound.values()):
                    lag = max(lag, self.lags[before])
            self.lags.append(lag)

    def _size_rings(self) -> None:
        n_rows = 0
        for place in self.places.values():
            if not place.ring_rows:
                continue
            writers = [
                self.lags[q]
                for q, level in enumerate(self.levels)
                if place.buffer in {level.bound[name] for name in level.outputs}
            ]
            oldest = max(writers)
            for q, level in enumerate(self.levels):
                if not self.from_ring(q, place.buffer):
                    continue
                for north, _ in self.loads(level, place.buffer):
                    oldest = max(oldest, self.lags[q] - north)
            place.ring_rows = oldest - min(writers) + 1
            place.offset = n_rows
            n_rows += place.ring_rows * place.buffer.n_fields
        self.n_ring_rows = n_rows

    def _find_extents(self) -> None:
        n_levels = len(self.levels)
        self.extents, self.depths = [0] * n_levels, [0] * n_levels
        for q in reversed(range(n_levels)):
            level = self.levels[q]
            for row, east in self.points(level):
                reach = max(abs(row.north), abs(east))
                self.depths[q] = max(self.depths[q], 2 * abs(row.north) + 1)
                if not self.from_ring(q, level.bound[row.stream]):
                    continue
                for p in range(q):
                    before = self.levels[p]
                    if level.bound[row.stream] in {before.bound[name] for name in before.outputs}:
                        self.extents[p] = max(self.extents[p], self.extents[q] + reach)
