"""Observations: what was seen of the fields, where, when and how well."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.observing.sensors import Sensors
from burgers_adjoint.parallel.agreement import of_every_rank
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import global_indices, normal_numbers
from burgers_adjoint.stepping.time_steps import TimeSteps

# How far from a step, in steps, a time may be and still be that of the step: rounding of t / dt.
SAME_TIME = 1e-6


@dataclass
class Observations:
    """Observed u and v, at all points or at sensors.

    Attributes:
        times: (n_times,) [time].
        noise: standard deviation of every value [length/time], positive.
        fields: (n_times, 2, ny, nx) of the tile; empty when there are sensors.
        positions: (x, y) of the sensors, (n_sensors, 2) [length]; empty when there are fields.
        values: (n_times, 2, n_sensors), the same on every rank.
    """

    times: np.ndarray
    noise: float
    fields: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 0, 0)))
    positions: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 0)))

    def count(self, decomposition: Decomposition) -> int:
        """Number of observed values, over all ranks."""
        ny, nx = decomposition.shape
        return len(self.times) * 2 * (len(self.positions) or ny * nx)


def steps_of(times: Sequence[float], time_steps: TimeSteps, nearest: bool) -> dict[int, list[int]]:
    """Which observations belong to the state after which number of steps.

    Args:
        times: of the observations.
        time_steps: of the run, whose end and lengths are known.
        nearest: whether a time between two steps belongs to the closer one.

    Raises:
        ConfigError: a time is outside of the run, or between steps and not `nearest`.
    """
    steps: dict[int, list[int]] = {}
    n_steps = time_steps.n_steps
    assert n_steps is not None
    for number, time in enumerate(times):
        place = time_steps.find(time, n_steps)
        n = round(place)
        if not -SAME_TIME <= place <= n_steps + SAME_TIME:
            raise ConfigError(
                f"observation {number} is at t = {time:.10g}, outside of the run, which goes from "
                f"0 to {time_steps.time(n_steps):.10g}"
            )
        if abs(place - n) > SAME_TIME and not nearest:
            before = int(place)
            raise ConfigError(
                f"observation {number} is at t = {time:.10g}, between the steps {before} and "
                f"{before + 1} of dt = {time_steps.length(before):.6g}: choose other times, or "
                'take the nearest step with observations.between_steps = "nearest"'
            )
        steps.setdefault(n, []).append(number)
    return steps


class Recorder:
    """Observes a run as it goes: the states at the given times, with noise.

    The noise at a point, or at a sensor, depends on its number, the time's number and the seed
    alone: it is the same for every number of ranks.

    Args:
        empty: what to fill: times, noise and, for sensors, their positions.
        steps: see `steps_of`.
        decomposition, layout: of the states.
        seed: of the noise.
        sensors: at the positions; None records the fields.
    """

    def __init__(
        self,
        empty: Observations,
        steps: dict[int, list[int]],
        decomposition: Decomposition,
        layout: Layout,
        seed: int,
        sensors: Sensors | None,
    ) -> None:
        self.observations = empty
        self._steps = steps
        self._decomposition = decomposition
        self._layout = layout
        self._seed = seed
        self._sensors = sensors
        if sensors is None:
            empty.fields = np.zeros((len(empty.times), 2, *decomposition.tile_shape))
        else:
            empty.values = np.zeros((len(empty.times), 2, len(empty.positions)))

    def looks_at(self, n: int) -> bool:
        """Whether the state after n steps is observed."""
        return n in self._steps

    def record(self, state: np.ndarray, n: int) -> None:
        """Observe the state after n steps. Collective."""
        seen = self.observations
        if self._sensors is None:
            ny, nx = self._decomposition.shape
            keys = np.stack([global_indices(self._decomposition, f) for f in range(2)])
            true = self._layout.interior(state)
            n_values, target = 2 * ny * nx, seen.fields
        else:
            true, keys = self._of_all_sensors(self._sensors, state)
            n_values, target = keys.size, seen.values
        for number in self._steps.get(n, ()):
            noise = normal_numbers(keys + np.uint64(number * n_values), self._seed)
            target[number] = true + seen.noise * noise

    def _of_all_sensors(self, sensors: Sensors, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(u, v) at all sensors, (2, n_sensors) on every rank, and numbers for their noise."""
        mine = sensors.interpolate(state)[:, sensors.owned]
        n_sensors = len(self.observations.positions)
        true = np.zeros((2, n_sensors))
        parts = of_every_rank(self._decomposition.comm, (sensors.numbers[sensors.owned], mine))
        for numbers, values in parts:
            true[:, numbers] = values
        return true, np.arange(2 * n_sensors, dtype=np.uint64).reshape(2, n_sensors)
