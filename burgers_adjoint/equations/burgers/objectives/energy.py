"""The energy, at the end of a run or added up over it."""

import numpy as np

from burgers_adjoint.equations.burgers.objectives.term import Quadratic, Setting, counted
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import add_to_bins
from burgers_adjoint.stepping.time_steps import TimeSteps


class FinalEnergy(Quadratic):
    """J = sum over the non-boundary points of u^2 + v^2 at the end, over nx ny.

    A periodic domain has no boundary: all points count.
    """

    name = "final_energy"
    _scale = 1.0

    def __init__(self, decomposition: Decomposition, layout: Layout) -> None:
        self._counted = counted(decomposition)
        self._n_points = decomposition.shape[0] * decomposition.shape[1]
        self._layout = layout

    @classmethod
    def of(cls, setting: Setting) -> "FinalEnergy":
        """The energy of a setting's states."""
        return cls(setting.decomposition, setting.layout)

    def looks_at(self, n: int, last: bool) -> bool:
        return last

    def _share(self, n: int, last: bool) -> float:
        """Weight of one state in the sum."""
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

    def __init__(self, decomposition: Decomposition, layout: Layout, time_steps: TimeSteps) -> None:
        super().__init__(decomposition, layout)
        self._time_steps = time_steps
        self._scale = time_steps.dt

    @classmethod
    def of(cls, setting: Setting) -> "RunningEnergy":
        return cls(setting.decomposition, setting.layout, setting.time_steps)

    def looks_at(self, n: int, last: bool) -> bool:
        return True

    def _share(self, n: int, last: bool) -> float:
        return self._time_steps.share(n, last)
