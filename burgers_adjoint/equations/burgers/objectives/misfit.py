"""The misfit to observations."""

import numpy as np

from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.observing.observations import Observations
from burgers_adjoint.observing.sensors import Sensors
from burgers_adjoint.parallel.reductions import add_to_bins


class Misfit:
    """J = 1/2 sum over observations of ((seen in the run - observed) / noise)^2.

    The negative logarithm of the likelihood when the noise is independent and normal (Tarantola
    2005, section 1.5): at the truth its expectation is half the number of observations.

    Args:
        observations: with the part of this rank.
        steps: which of them belong to which state; see `observations.steps_of`.
        layout: of the states.
        sensors: at the observations' positions; None when whole fields are observed.
    """

    name = "misfit"

    def __init__(
        self,
        observations: Observations,
        steps: dict[int, list[int]],
        layout: Layout,
        sensors: Sensors | None,
    ) -> None:
        self.observations = observations
        self._steps = steps
        self._layout = layout
        self._sensors = sensors

    @property
    def steps(self) -> list[int]:
        """After how many steps the states are compared, in order."""
        return sorted(self._steps)

    def looks_at(self, n: int, last: bool) -> bool:
        return n in self._steps

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        for residual in self._residuals(state, n):
            mine = residual if self._sensors is None else residual[:, self._sensors.owned]
            add_to_bins(np.square(mine), bins)

    def add_derivative(
        self, state: np.ndarray, n: int, last: bool, weight: float, out: np.ndarray
    ) -> None:
        for residual in self._residuals(state, n):
            self._add_seen(residual, weight, out)

    def add_second_derivative(
        self,
        state: np.ndarray,
        direction: np.ndarray,
        n: int,
        last: bool,
        weight: float,
        out: np.ndarray,
    ) -> None:
        seen = self._seen(direction)
        for _ in self._steps[n]:
            self._add_seen(seen, weight, out)

    def _add_seen(self, values: np.ndarray, weight: float, out: np.ndarray) -> None:
        """Add the transpose of what is seen of a state, over the variance, to a state."""
        noise = self.observations.noise
        factor = weight / (noise * noise)
        if self._sensors is None:
            self._layout.interior(out)[...] += factor * values
        else:
            self._sensors.transpose(factor * values, out)

    def value(self, total: float) -> float:
        noise = self.observations.noise
        return total / (2.0 * noise * noise)

    def close(self) -> None:
        if self._sensors is not None:
            self._sensors.close()

    def _residuals(self, state: np.ndarray, n: int) -> list[np.ndarray]:
        """Seen minus observed, (2, ny, nx) of the tile or (2, n) of the sensors' entries."""
        numbers, seen = self._steps[n], self._seen(state)
        if self._sensors is None:
            return [seen - self.observations.fields[number] for number in numbers]
        entries = self._sensors.numbers
        return [seen - self.observations.values[number][:, entries] for number in numbers]

    def _seen(self, state: np.ndarray) -> np.ndarray:
        """What is observed of a state: the tile's points, or (2, n) of the sensors' entries."""
        if self._sensors is None:
            return self._layout.interior(state)
        return self._sensors.interpolate(state)
