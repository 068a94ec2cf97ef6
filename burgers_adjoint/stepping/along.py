"""What a model of steps beside their derivatives is composed of: objective, limits, controls."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.stepping.directions import parts_of
from burgers_adjoint.stepping.ending import StepLimits
from burgers_adjoint.stepping.parts import Objective, PullBack
from burgers_adjoint.stepping.stepper import Cotangent, Value


class TwiceDifferentiableObjective(Objective, Protocol):
    """An objective with a second derivative by each state that it looks at."""

    def add_second_derivative(
        self, state: np.ndarray, direction: np.ndarray, n: int, last: bool, out: np.ndarray
    ) -> None: ...


class ObjectiveAlong:
    """J of a state beside tangents; its derivatives are those of a cotangent beside its own.

    Args:
        objective: J.
        n_fields: of a state.
        full: whether J's own derivative is there; see `directions.WithDirections`.
    """

    def __init__(self, objective: TwiceDifferentiableObjective, n_fields: int, full: bool) -> None:
        self._objective, self._n_fields, self._full = objective, n_fields, full
        self.new_bins, self.looks_at = objective.new_bins, objective.looks_at
        self.value, self.close = objective.value, objective.close

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        self._objective.add_value(state[: self._n_fields], n, last, bins)

    def add_derivative(self, state: np.ndarray, n: int, last: bool, out: np.ndarray) -> None:
        n_fields, objective = self._n_fields, self._objective
        own = state[:n_fields]
        if self._full:
            objective.add_derivative(own, n, last, out[:n_fields])
        for start in range(n_fields, len(state), n_fields):
            part = slice(start, start + n_fields)
            objective.add_second_derivative(own, state[part], n, last, out[part])


class ObjectiveOfTangents:
    """J whose derivative is its second one along tangents: what drives a Gauss-Newton adjoint.

    Args:
        objective: J.
        layout, n_fields: of the states.

    Attributes:
        tangents: of each state that J looks at, (n_fields, ny, nx) of the tile, by its step.
    """

    def __init__(
        self, objective: TwiceDifferentiableObjective, layout: Layout, n_fields: int
    ) -> None:
        self._objective, self._layout = objective, layout
        self._tangent = layout.new_array(n_fields)
        self.tangents: Mapping[int, np.ndarray] = {}
        self.new_bins, self.looks_at = objective.new_bins, objective.looks_at
        self.add_value, self.value = objective.add_value, objective.value
        self.close = objective.close

    def add_derivative(self, state: np.ndarray, n: int, last: bool, out: np.ndarray) -> None:
        self._layout.interior(self._tangent)[...] = self.tangents[n]
        self._objective.add_second_derivative(state, self._tangent, n, last, out)


class LimitsAlong:
    """Limits of steps that depend on the state alone, not on the tangents beside it."""

    def __init__(self, limits: StepLimits, n_fields: int) -> None:
        self._limits, self._n_fields = limits, n_fields

    def speeds(self, fields: np.ndarray) -> np.ndarray:
        return self._limits.speeds(fields[: self._n_fields])

    def advective(self, speeds: np.ndarray, values: Mapping[str, Value | None]) -> float:
        return self._limits.advective(speeds, values)


class ControlAlong:
    """A control whose pull-backs are stacked: of the cotangent, and of its derivatives."""

    def __init__(self, control: PullBack, n_directions: int) -> None:
        self._control, self._n_directions = control, n_directions

    def pull_back(self, cotangent: Cotangent) -> np.ndarray:
        parts = parts_of(cotangent, self._n_directions)
        return np.stack([self._control.pull_back(part) for part in parts])
