"""The grid: how many points, where they are, how far apart."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Equidistant points on a rectangle.

    A dirichlet grid has its end points on the domain's edge; a periodic one does not repeat its
    first point.

    Attributes:
        nx, ny: number of points.
        x_range, y_range: ends of the domain [length].
        periodic: whether opposite edges are identified.
    """

    nx: int
    ny: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    periodic: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx), as fields are stored."""
        return self.ny, self.nx

    @property
    def dx(self) -> float:
        """Distance of columns [length]."""
        return self._spacing(self.x_range, self.nx)

    @property
    def dy(self) -> float:
        """Distance of rows [length]."""
        return self._spacing(self.y_range, self.ny)

    def _spacing(self, ends: tuple[float, float], n_points: int) -> float:
        return (ends[1] - ends[0]) / (n_points if self.periodic else n_points - 1)

    @property
    def x(self) -> np.ndarray:
        """Coordinates of the columns, (nx,)."""
        return np.linspace(*self.x_range, self.nx, endpoint=not self.periodic)

    @property
    def y(self) -> np.ndarray:
        """Coordinates of the rows, (ny,)."""
        return np.linspace(*self.y_range, self.ny, endpoint=not self.periodic)
