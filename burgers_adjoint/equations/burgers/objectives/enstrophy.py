"""The enstrophy, added up over a run."""

import numpy as np

from burgers_adjoint.equations.burgers.objectives.term import Quadratic, Setting, counted
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.parallel.reductions import add_to_bins
from burgers_adjoint.stepping.time_steps import TimeSteps


class RunningEnstrophy(Quadratic):
    """J = integral over time of the sum of w^2 over nx ny, w = v_x - u_y, by the trapezoidal rule.

    w is a central difference at the non-boundary points (periodic: all), and they alone count.
    """

    name = "running_enstrophy"

    def __init__(
        self, grid: Grid, decomposition: Decomposition, layout: Layout, time_steps: TimeSteps
    ) -> None:
        self._time_steps = time_steps
        self._n_points = grid.nx * grid.ny
        self._layout = layout
        self._counted = counted(decomposition)
        self._half_x, self._half_y = 0.5 / grid.dx, 0.5 / grid.dy
        frame = Frame(layout.rows, layout.columns)
        self._fields = Halo(decomposition, frame, depth=1, n_fields=2, corners=False)
        self._scalar = Halo(decomposition, frame, depth=1, n_fields=1, corners=False)
        self._vorticity = layout.new_array(1)

    @classmethod
    def of(cls, setting: Setting) -> "RunningEnstrophy":
        """The enstrophy of a setting's states."""
        return cls(setting.grid, setting.decomposition, setting.layout, setting.time_steps)

    def looks_at(self, n: int, last: bool) -> bool:
        return True

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        vorticity = self._evaluate(state)
        add_to_bins(self._time_steps.share(n, last) * np.square(vorticity), bins)

    def add_derivative(
        self, state: np.ndarray, n: int, last: bool, weight: float, out: np.ndarray
    ) -> None:
        self._evaluate(state)
        self._scalar.exchange(self._vorticity)
        south, north, west, east = self._neighbours(self._vorticity[0])
        factor = 2.0 * self.value(weight * self._time_steps.share(n, last))
        d_u, d_v = self._layout.interior(out)
        # a point is to the east of its west neighbour, which counts it with 1 / (2 dx), and so on
        d_v += factor * self._half_x * (west - east)
        d_u += factor * self._half_y * (north - south)

    def value(self, total: float) -> float:
        return total * self._time_steps.dt / self._n_points

    def close(self) -> None:
        self._fields.close()
        self._scalar.close()

    def _evaluate(self, state: np.ndarray) -> np.ndarray:
        """Vorticity of the counted points of the tile; kept in `_vorticity`."""
        self._fields.exchange(state)
        _, _, v_west, v_east = self._neighbours(state[1])
        u_south, u_north, _, _ = self._neighbours(state[0])
        everywhere = self._half_x * (v_east - v_west) - self._half_y * (u_north - u_south)
        if type(self._vorticity) is not type(state):  # to where the states are
            self._vorticity = state[:1].copy()
            self._vorticity.fill(0.0)  # for good where nothing counts
        places = self._counted[1:]
        vorticity = self._layout.interior(self._vorticity)[0]
        vorticity[places] = everywhere[places]
        return vorticity[places]

    def _neighbours(self, field: np.ndarray) -> tuple[np.ndarray, ...]:
        """Views (ny, nx) of a field's points to the south, north, west and east of the tile's."""
        rows, columns = self._layout.rows, self._layout.columns
        return (
            field[rows.start - 1 : rows.stop - 1, columns],
            field[rows.start + 1 : rows.stop + 1, columns],
            field[rows, columns.start - 1 : columns.stop - 1],
            field[rows, columns.start + 1 : columns.stop + 1],
        )
