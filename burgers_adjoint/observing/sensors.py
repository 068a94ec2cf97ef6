"""Point sensors: bilinear interpolation of the fields, and its transpose."""

import numpy as np

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import Frame, Halo


class Sensors:
    """The sensors whose cell of four grid points has a corner in this rank's tile.

    Every rank interpolates at all of these, so that the transpose gathers at its own points and
    nothing is scattered to other ranks; the owner of the southwest corner owns the sensor. On a
    periodic domain one sensor can appear several times, once for each image of its cell.

    Args:
        grid: the points.
        decomposition: who owns which of them.
        layout: of the states.
        positions: (x, y) of all sensors [length], (n_sensors, 2), the same on every rank.

    Attributes:
        numbers: (n,) which sensor each entry is.
        owned: (n,) whether this rank owns it here.

    Raises:
        ConfigError: a sensor is outside the domain; every rank finds the same.
    """

    def __init__(
        self, grid: Grid, decomposition: Decomposition, layout: Layout, positions: np.ndarray
    ) -> None:
        self._layout = layout
        columns, from_west = _cells(positions[:, 0], grid.x_range, grid.dx, grid.nx, grid, "x")
        rows, from_south = _cells(positions[:, 1], grid.y_range, grid.dy, grid.ny, grid, "y")
        local_rows = _images(rows, decomposition.rows, grid.ny, grid.periodic)
        local_columns = _images(columns, decomposition.columns, grid.nx, grid.periodic)
        entries = [
            (number, row, column)
            for number in range(len(positions))
            for row in local_rows[number]
            for column in local_columns[number]
        ]
        numbers, row, column = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        self.numbers = numbers
        self.owned = (row >= 0) & (column >= 0)
        self._south, self._west = row, column
        a, b = from_west[numbers], from_south[numbers]
        # southwest, southeast, northwest, northeast
        self._weights = np.stack([(1 - b) * (1 - a), (1 - b) * a, b * (1 - a), b * a])
        frame = Frame(layout.rows, layout.columns)
        self._halo = Halo(decomposition, frame, depth=1, n_fields=2, corners=True)

    def interpolate(self, state: np.ndarray) -> np.ndarray:
        """(u, v) at every entry, (2, n). Collective: the state's halo is filled."""
        self._halo.exchange(state)
        values = np.zeros((2, self.numbers.size))
        for weight, row, column in self._corners():
            values += weight * state[:, row + self._layout.halo, column + self._layout.west]
        return values

    def transpose(self, values: np.ndarray, out: np.ndarray) -> None:
        """Add what the entries, (2, n), give to this rank's own points of `out`, like a state."""
        ny, nx = self._layout.ny, self._layout.nx
        for weight, row, column in self._corners():
            own = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
            place = row[own] + self._layout.halo, column[own] + self._layout.west
            for f in range(2):
                # in the order of the entries, which is that of the sensors
                np.add.at(out[f], place, (weight * values[f])[own])

    def _corners(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        steps = ((0, 0), (0, 1), (1, 0), (1, 1))
        return [
            (weight, self._south + north, self._west + east)
            for weight, (north, east) in zip(self._weights, steps, strict=True)
        ]

    def close(self) -> None:
        """Release the messages' requests."""
        self._halo.close()


def _cells(
    places: np.ndarray,
    ends: tuple[float, float],
    spacing: float,
    n_points: int,
    grid: Grid,
    axis: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Index of the point before each place along an axis, and the distance from it in cells."""
    outside = ~((places >= ends[0]) & (places <= ends[1]))
    if outside.any():
        number = int(np.argmax(outside))
        raise ConfigError(
            f"sensor {number} is at {axis} = {places[number]:.6g}, outside of the domain "
            f"[{ends[0]:.6g}, {ends[1]:.6g}]"
        )
    distance = (places - ends[0]) / spacing
    last = n_points - 1 if grid.periodic else n_points - 2
    index = np.clip(np.floor(distance).astype(np.int64), 0, last)
    return index, distance - index


def _images(indices: np.ndarray, span: slice, n_points: int, periodic: bool) -> list[list[int]]:
    """Where in the tile each cell begins, -1 when it begins in the halo; none when out of reach."""
    offsets = (-n_points, 0, n_points) if periodic else (0,)
    length = span.stop - span.start
    return [
        [
            int(index) - span.start + offset
            for offset in offsets
            if -1 <= index - span.start + offset < length
        ]
        for index in indices
    ]
