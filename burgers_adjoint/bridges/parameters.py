"""Controls that are functions of few numbers, such as the amplitude and the place of a bump."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from burgers_adjoint.assembly.runs import Gradient
from burgers_adjoint.bridges.differentiable import Differentiable
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.reductions import exact_sum

Controls = Callable[[np.ndarray], Mapping[str, Any]]
PullBack = Callable[[np.ndarray, Gradient], Any]


class Parameters:
    """J and its gradient as functions of a vector of numbers. All methods are collective.

    Args:
        problem: whose J it is.
        controls: makes this rank's controls, by name, of the numbers.
        pull_back: of the numbers and the gradient by these controls: for each number what this
            tile's points have to do with its derivative, (n, ...), whose sum counts. What is given
            point by point is added up exactly, with the same bits on any number of ranks.
    """

    def __init__(self, problem: Differentiable, controls: Controls, pull_back: PullBack) -> None:
        self._problem, self._controls, self._pull_back = problem, controls, pull_back

    def value(self, numbers: Any) -> float:
        """J, at the numbers of rank 0."""
        return self._problem.value(self._at(self._agreed(numbers)))

    def value_and_gradient(self, numbers: Any) -> tuple[float, np.ndarray]:
        """J and its derivatives by the numbers, (n,), at those of rank 0.

        Raises:
            ConfigError: on all ranks: the pull-back has another number of rows.
        """
        at, comm = self._agreed(numbers), self._problem.comm
        J, gradient = self._problem.value_and_gradient(self._at(at))
        shares = np.empty(0)
        with agreed(comm):
            shares = np.asarray(self._pull_back(at, gradient), dtype=np.float64)
            if shares.shape[:1] != at.shape:
                raise ConfigError(
                    f"the pull-back of {at.size} numbers has the shape ({at.size}, ...), not "
                    f"{shares.shape}"
                )
        return J, np.array([exact_sum(comm, np.ascontiguousarray(share)) for share in shares])

    def _agreed(self, numbers: Any) -> np.ndarray:
        return np.array(from_rank(self._problem.comm, numbers), dtype=np.float64).reshape(-1)

    def _at(self, numbers: np.ndarray) -> Mapping[str, Any]:
        found: Mapping[str, Any] = {}
        with agreed(self._problem.comm):
            found = self._controls(numbers)
        return found
