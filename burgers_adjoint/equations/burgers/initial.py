"""Initial states, each as one rank's tile.

Formulas are products of a function of x and one of y, evaluated on the whole axis by every rank:
vectorised exponentials and sines may round differently at different places of an array, so the
same bits on every decomposition need the same array on every rank.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.grid import Grid

Pair = tuple[float, float]


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
    along_x = np.exp(-(((grid.x - center[0]) / width[0]) ** 2))[decomposition.columns]
    along_y = np.exp(-(((grid.y - center[1]) / width[1]) ** 2))[decomposition.rows]
    bell = along_y[:, None] * along_x[None, :]
    return np.stack([amplitude[0] * bell, amplitude[1] * bell])


def sines(grid: Grid, decomposition: Decomposition, amplitude: Pair) -> np.ndarray:
    """u = a sin(kx) cos(ly), v = b cos(kx) sin(ly) with one wave per side, (2, ny, nx) of the tile.

    x and y count from the domain's corner, k = 2 pi / (x1 - x0), l = 2 pi / (y1 - y0); amplitude
    is (a, b) [length/time].
    """
    (x0, x1), (y0, y1) = grid.x_range, grid.y_range
    phase_x = 2 * np.pi * (grid.x - x0) / (x1 - x0)
    phase_y = 2 * np.pi * (grid.y - y0) / (y1 - y0)
    sin_x, cos_x = (f(phase_x)[decomposition.columns] for f in (np.sin, np.cos))
    sin_y, cos_y = (f(phase_y)[decomposition.rows] for f in (np.sin, np.cos))
    return np.stack(
        [amplitude[0] * (cos_y[:, None] * sin_x), amplitude[1] * (sin_y[:, None] * cos_x)]
    )


def from_file(grid: Grid, decomposition: Decomposition, path: str | Path) -> np.ndarray:
    """Read /u and /v of shape (ny, nx) from an HDF5 file, every rank its own part.

    Raises:
        ConfigError: on all ranks, when the file or a dataset is missing or unreadable, has another
            shape, or holds values that are not finite.
    """
    import h5py

    tile = np.empty((2, *decomposition.tile_shape))
    with agreed(decomposition.comm):
        require_file(path, f"initial.path = {path}")
        try:
            with h5py.File(path, "r") as file:
                for f, name in enumerate("uv"):
                    tile[f] = read_tile(file, name, f"initial.path = {path}", decomposition)
        except OSError as error:
            raise ConfigError(f"initial.path = {path}: cannot be read as HDF5: {error}") from error
    return tile


def require_file(path: str | Path, label: str) -> None:
    """See whether a file can be read, before HDF5 tries: it would wait for a pipe.

    Raises:
        ConfigError: starting with the label, and saying why not.
    """
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"{label}: there is no such file") from None
    except OSError as error:
        raise ConfigError(f"{label}: cannot be read: {error.strerror}") from error
    if not regular:
        raise ConfigError(f"{label}: cannot be read as HDF5: it is no regular file")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{label}: cannot be read: {os.strerror(errno.EACCES)}")


def read_tile(file: Any, name: str, label: str, decomposition: Decomposition) -> np.ndarray:
    """Read this rank's part of a dataset of shape (ny, nx) in an open HDF5 file.

    Raises:
        ConfigError: starting with the label: the dataset is missing, has another shape, or holds
            values that are not finite or no real numbers.
    """
    import h5py

    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise ConfigError(f"{label}: there is no dataset /{name}")
    if dataset.shape != decomposition.shape:
        raise ConfigError(
            f"{label}: /{name} has the shape {dataset.shape}, "
            f"the grid is (ny, nx) = {decomposition.shape}"
        )
    if dataset.dtype.kind not in "fiu":
        raise ConfigError(f"{label}: /{name} holds {dataset.dtype}, not real numbers")
    values = dataset[decomposition.rows, decomposition.columns].astype(np.float64)
    if not np.isfinite(values).all():
        j, i = (int(index[0]) for index in np.nonzero(~np.isfinite(values)))
        raise ConfigError(
            f"{label}: /{name} is {values[j, i]} at point "
            f"[{decomposition.rows.start + j}, {decomposition.columns.start + i}]"
        )
    return values
