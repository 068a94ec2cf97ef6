"""Initial states, each as one rank's tile.

Formulas are products of a function of x and one of y, whose values are the same on every machine
and for every decomposition: see `elementary`.
"""

import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from burgers_adjoint.equations.burgers.elementary import cosine, exponential, sine
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.grid import Grid

Pair = tuple[float, float]
END = "state/final"  # in the results of a run

logger = logging.getLogger(__name__)


class Described(Protocol):
    """What a configuration says of an initial state, in a section like [initial]."""

    @property
    def center(self) -> Pair: ...

    @property
    def width(self) -> float | Pair: ...

    @property
    def amplitude(self) -> Pair: ...

    @property
    def path(self) -> str: ...


def described_gaussian(section: Described, grid: Grid, decomposition: Decomposition) -> np.ndarray:
    """See `gaussian`; one width serves both axes."""
    width = section.width if isinstance(section.width, tuple) else (section.width, section.width)
    return gaussian(grid, decomposition, section.center, width, section.amplitude)


def described_sines(section: Described, grid: Grid, decomposition: Decomposition) -> np.ndarray:
    """See `sines`."""
    return sines(grid, decomposition, section.amplitude)


def described_file(section: Described, grid: Grid, decomposition: Decomposition) -> np.ndarray:
    """See `from_file`."""
    return from_file(grid, decomposition, section.path)


def gaussian(
    grid: Grid, decomposition: Decomposition, center: Pair, width: Pair, amplitude: Pair
) -> np.ndarray:
    """(u, v) = amplitude exp(-((x - cx) / wx)^2 - ((y - cy) / wy)^2), (2, ny, nx) of the tile.

    center and width are (x, y) [length], amplitude is (u, v) [length/time].
    """
    x, y = grid.x[decomposition.columns], grid.y[decomposition.rows]
    along_x = exponential(-np.square((x - center[0]) / width[0]))
    along_y = exponential(-np.square((y - center[1]) / width[1]))
    bell = along_y[:, None] * along_x[None, :]
    return np.stack([amplitude[0] * bell, amplitude[1] * bell])


def sines(grid: Grid, decomposition: Decomposition, amplitude: Pair) -> np.ndarray:
    """u = a sin(kx) cos(ly), v = b cos(kx) sin(ly) with one wave per side, (2, ny, nx) of the tile.

    x and y count from the domain's corner, k = 2 pi / (x1 - x0), l = 2 pi / (y1 - y0); amplitude
    is (a, b) [length/time].
    """
    (x0, x1), (y0, y1) = grid.x_range, grid.y_range
    turns_x = (grid.x[decomposition.columns] - x0) / (x1 - x0)
    turns_y = (grid.y[decomposition.rows] - y0) / (y1 - y0)
    sin_x, cos_x = sine(turns_x), cosine(turns_x)
    sin_y, cos_y = sine(turns_y), cosine(turns_y)
    return np.stack(
        [amplitude[0] * (cos_y[:, None] * sin_x), amplitude[1] * (sin_y[:, None] * cos_x)]
    )


def from_file(grid: Grid, decomposition: Decomposition, path: str | Path) -> np.ndarray:
    """Read /u and /v of shape (ny, nx) from an HDF5 file, every rank its own part.

    Of a run's results it takes the state at the end, and says so.

    Raises:
        ConfigError: on all ranks, when the file or a dataset is missing or unreadable, has another
            shape, or holds values that are not finite.
    """
    from burgers_adjoint.files.hdf5 import opened

    tile, label = np.empty((2, *decomposition.tile_shape)), f"initial.path = {path}"
    with agreed(decomposition.comm), opened(path, label) as file:
        group = "" if "u" in file or END not in file else f"{END}/"
        if group and decomposition.rank == 0:
            logger.warning("%s: the run starts from the state at its end, /%s", label, END)
        for f, name in enumerate("uv"):
            tile[f] = read_tile(file, group + name, label, decomposition)
    return tile


def read_tile(file: Any, name: str, label: str, decomposition: Decomposition) -> np.ndarray:
    """Read this rank's part of a field; see `files.hdf5.field`."""
    from burgers_adjoint.files.hdf5 import field

    place = decomposition.rows, decomposition.columns
    return field(file, name, decomposition.shape, place, label)
