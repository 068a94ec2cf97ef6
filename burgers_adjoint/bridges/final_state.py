"""The final state of a run and its pull-back, for what lies behind the solver."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from burgers_adjoint.assembly.own_objective import OwnObjective
from burgers_adjoint.assembly.runs import Gradient
from burgers_adjoint.bridges.differentiable import Differentiable
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.failure import agreed


class Weighted:
    """J = the sum of weights times the final state."""

    def __init__(self) -> None:
        self.weights: np.ndarray | float = 0.0

    def value(self, state: np.ndarray, step: int) -> np.ndarray:
        found: np.ndarray = self.weights * state
        return found

    def derivative(self, state: np.ndarray, step: int) -> np.ndarray:
        return np.broadcast_to(self.weights, state.shape)


class FinalState:
    """The final state as a function of the controls, and the transposed of its derivative.

    All methods are collective.

    Args:
        new_problem: makes the problem of an objective.

    Attributes:
        problem: whose final state it is; to be closed by who made this.
        shape: (2, ny, nx) of the tile.
    """

    def __init__(self, new_problem: Callable[[OwnObjective], Differentiable]) -> None:
        self._objective = Weighted()
        self.problem = new_problem(self._objective)
        self.shape: tuple[int, ...] = self.problem.case.fields.shape

    def state(self, controls: Mapping[str, Any] | None = None) -> np.ndarray:
        """The final state, (2, ny, nx) of the tile; see `Problem.value`."""
        self._objective.weights = 0.0
        self.problem.value(controls)
        return self.problem.case.model.final

    def pull_back(self, controls: Mapping[str, Any] | None, weights: np.ndarray) -> Gradient:
        """The gradient of the sum of weights times the final state, by the controls' names.

        Args:
            controls: see `Problem.value`.
            weights: (2, ny, nx) of the tile.

        Raises:
            ConfigError: on all ranks: the weights have another shape.
        """
        with agreed(self.problem.comm):
            if np.shape(weights) != self.shape:
                raise ConfigError(
                    f"the weights of a final state have its shape {self.shape}, not "
                    f"{np.shape(weights)}"
                )
        self._objective.weights = np.asarray(weights, dtype=np.float64)
        return self.problem.value_and_gradient(controls)[1]
