"""The energy, at the end of a run or added up over it."""

import numpy as np

from burgers_adjoint.equations.burgers.objectives.term import counted
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import add_to_bins


class FinalEnergy:
    """J = sum over the non-boundary points of u^2 + v^2 at the end, over nx ny.

    A periodic domain has no boundary: all points count.
    """

    name = "final_energy"
    _scale = 1.0

    def __init__(self, decomposition: Decomposition, layout: Layout) -> None:
        self._counted = counted(decomposition)
        self._n_points = decomposition.shape[0] * decomposition.shape[1]
        self._layout = layout

    def looks_at(self, n: int, last: bool) -> bool:
        return last

    def _share(self, n: int, last: bool) -> float:
        """Weight of one state in the sum: a power of two, so that weighing is exact."""
        return 1.0

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        u, v = self._layout.interior(state)[self._counted]
        add_to_bins(self._share(n, last) * (u * u + v * v), bins)

    def add_derivative(
        self, state: np.ndarray, n: int, last: bool, weight: float, out: np.ndarray
    ) -> None:
        points = self._layout.interior(state)[self._counted]
        factor = 2.0 * self._share(n, last) * self._scale * weight
        self._layout.interior(out)[self._counted] += factor * points / self._n_points

    def value(self, total: float) -> float:
        return total * self._scale / self._n_points

    def close(self) -> None:
        pass


class RunningEnergy(FinalEnergy):
    """J = integral over time of what `FinalEnergy` takes at the end, by the trapezoidal rule."""

    name = "running_energy"

    def __init__(self, decomposition: Decomposition, layout: Layout, dt: float) -> None:
        super().__init__(decomposition, layout)
        self._scale = dt

    def looks_at(self, n: int, last: bool) -> bool:
        return True

    def _share(self, n: int, last: bool) -> float:
        return 0.5 if n == 0 or last else 1.0
