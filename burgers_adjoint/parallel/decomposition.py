"""Cartesian decomposition of a 2D grid into one rectangular tile per rank."""

from dataclasses import dataclass, field
from itertools import pairwise

from mpi4py import MPI

from burgers_adjoint.errors import ConfigError

Shape = tuple[int, int]


def blocks(n_points: int, n_blocks: int) -> list[slice]:
    """Split ``range(n_points)`` into contiguous blocks whose lengths differ by one at most."""
    length, longer = divmod(n_points, n_blocks)
    starts = [b * length + min(b, longer) for b in range(n_blocks + 1)]
    return [slice(start, stop) for start, stop in pairwise(starts)]


def choose_process_grid(shape: Shape, size: int) -> Shape:
    """Choose (py, px) with py * px == size that exchanges the fewest halo points.

    Of two grids with equal halos the one with more rows of tiles wins: its messages are contiguous
    and its rows long, which the kernels like.

    Raises:
        ConfigError: when no such grid gives every rank at least one point.
    """
    ny, nx = shape
    fitting = [
        (py, size // py)
        for py in range(1, size + 1)
        if size % py == 0 and py <= ny and size // py <= nx
    ]
    if not fitting:
        raise ConfigError(
            f"{size} ranks cannot each own a rectangle of the {ny} x {nx} (ny x nx) grid points: "
            f"use a number of ranks py * px with py <= {ny} and px <= {nx}"
        )
    return min(fitting, key=lambda grid: ((grid[0] - 1) * nx + (grid[1] - 1) * ny, -grid[0]))


@dataclass(frozen=True)
class Decomposition:
    """Who owns which points.

    Rank r sits at row r // px and column r % px of the process grid; row 0 is the southmost
    (smallest y), column 0 the westmost (smallest x).

    Attributes:
        comm: communicator of the ranks that share the grid.
        shape: global number of points (ny, nx).
        periodic: whether opposite edges of the domain are neighbours.
        process_grid: (py, px); chosen for the fewest halo points when not given.

    Raises:
        ConfigError: when the process grid does not fit the number of ranks or the grid points.
    """

    comm: MPI.Comm
    shape: Shape
    periodic: bool
    process_grid: Shape = (0, 0)
    row_blocks: list[slice] = field(init=False, repr=False)
    column_blocks: list[slice] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ny, nx = self.shape
        if self.process_grid == (0, 0):
            object.__setattr__(self, "process_grid", choose_process_grid(self.shape, self.size))
        py, px = self.process_grid
        if py * px != self.size:
            raise ConfigError(
                f"parallel.process_grid = [{py}, {px}] needs {py * px} ranks, but there are "
                f"{self.size}"
            )
        if py > ny or px > nx:
            raise ConfigError(
                f"parallel.process_grid = [{py}, {px}] leaves ranks without a point of the "
                f"{ny} x {nx} (ny x nx) grid"
            )
        object.__setattr__(self, "row_blocks", blocks(ny, py))
        object.__setattr__(self, "column_blocks", blocks(nx, px))

    @property
    def rank(self) -> int:
        """This rank's number."""
        return self.comm.rank

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.comm.size

    def tile_of(self, rank: int) -> tuple[slice, slice]:
        """Global (rows, columns) that a rank owns."""
        row, column = divmod(rank, self.process_grid[1])
        return self.row_blocks[row], self.column_blocks[column]

    @property
    def rows(self) -> slice:
        """Global rows of this rank's tile."""
        return self.tile_of(self.rank)[0]

    @property
    def columns(self) -> slice:
        """Global columns of this rank's tile."""
        return self.tile_of(self.rank)[1]

    @property
    def tile_shape(self) -> Shape:
        """(ny, nx) of this rank's own tile."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def smallest_tile(self) -> Shape:
        """Least number of rows and of columns that any rank owns."""
        return self.shape[0] // self.process_grid[0], self.shape[1] // self.process_grid[1]

    def owner(self, row: int, column: int) -> int:
        """Rank that owns the point with these global indices."""
        process_row = next(b for b, rows in enumerate(self.row_blocks) if row < rows.stop)
        process_column = next(b for b, cols in enumerate(self.column_blocks) if column < cols.stop)
        return process_row * self.process_grid[1] + process_column

    def neighbour(self, north: int, east: int) -> int | None:
        """Rank of the tile that is `north` tiles up and `east` tiles right, each -1, 0 or 1.

        None beyond the edge of a domain that is not periodic. A periodic domain that is one tile
        wide has this rank as its own neighbour.
        """
        py, px = self.process_grid
        row, column = divmod(self.rank, px)
        row, column = row + north, column + east
        if self.periodic:
            row, column = row % py, column % px
        elif not (0 <= row < py and 0 <= column < px):
            return None
        return row * px + column
