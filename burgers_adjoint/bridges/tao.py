"""PETSc TAO: J and its gradient as the callback of an optimiser that the user sets up."""

from typing import Any

import numpy as np

from burgers_adjoint.bridges.differentiable import Differentiable
from burgers_adjoint.inverse.vector import ControlVector


class TaoObjective:
    """What `TAO.setObjectiveGradient` takes: J of a vector, with the gradient put into another.

    The vector is shared like the grid: a rank has the values of its own tile, rank 0 the numbers,
    too; all of them over `controls.scale`.

    Args:
        problem: whose J it is.

    Attributes:
        size: entries of this rank.
    """

    def __init__(self, problem: Differentiable) -> None:
        self._problem = problem
        self._vector = ControlVector(problem.comm, problem.case.controls)
        self.size = self._vector.size

    def put_controls(self, x: Any) -> None:
        """Write the configured values to a PETSc vector of these sizes."""
        self._vector.put_values(self._problem.controls(), x.array)

    def controls(self, x: Any) -> dict[str, Any]:
        """Controls by name, copies, from a PETSc vector. Collective."""
        return {name: np.copy(value) for name, value in self._vector.values(x.array_r).items()}

    def __call__(self, tao: Any, x: Any, gradient: Any) -> float:
        """J at x. Collective.

        Raises:
            BurgersAdjointError: see `Problem.value_and_gradient`.
        """
        J, found = self._problem.value_and_gradient(self._vector.values(x.array_r))
        self._vector.put_gradient(found, gradient.array)
        return J
