"""How a tile and its halo lie in memory."""

from dataclasses import dataclass

import numpy as np

LINE = 8  # doubles in a cache line
PAGE = 512  # doubles in a page: rows that lie whole pages apart evict each other from the cache


@dataclass(frozen=True)
class Layout:
    """A tile of ny x nx points with `halo` layers around it, rows padded to whole cache lines.

    Arrays have the shape (n_fields, ny + 2 halo, pitch). Column `west` holds the tile's westmost
    points and starts a cache line in every row, which unaligned vector stores would pay for.
    """

    ny: int
    nx: int
    halo: int

    @property
    def west(self) -> int:
        """Column of the tile's westmost points."""
        return -(-self.halo // LINE) * LINE

    @property
    def pitch(self) -> int:
        """Doubles from one row to the next."""
        pitch = -(-(self.west + self.nx + self.halo) // LINE) * LINE
        return pitch + LINE if pitch % PAGE == 0 else pitch

    @property
    def rows(self) -> slice:
        """The tile's rows in an array."""
        return slice(self.halo, self.halo + self.ny)

    @property
    def columns(self) -> slice:
        """The tile's columns in an array."""
        return slice(self.west, self.west + self.nx)

    @property
    def n_rows(self) -> int:
        """Rows of a field in an array."""
        return self.ny + 2 * self.halo

    def new_array(self, n_fields: int) -> np.ndarray:
        """Zeros of shape (n_fields, n_rows, pitch)."""
        return aligned_zeros((n_fields, self.n_rows, self.pitch))

    def interior(self, array: np.ndarray) -> np.ndarray:
        """View (..., ny, nx) of the tile's own points in an array (..., rows, pitch)."""
        return array[..., self.rows, self.columns]


def aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros (float64, C order) whose first element starts a cache line.

    A line to spare lies before and after it, for the neighbours of the points at its ends.
    """
    size = int(np.prod(shape))
    raw = np.zeros(size + 3 * LINE)
    offset = LINE + -raw.ctypes.data // raw.itemsize % LINE
    return raw[offset : offset + size].reshape(shape)
