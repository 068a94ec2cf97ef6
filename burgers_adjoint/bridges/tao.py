"""PETSc TAO: J, its gradient and its Hessian as callbacks of an optimiser that the user sets up."""

from typing import Any

import numpy as np

from burgers_adjoint.bridges.differentiable import Differentiable
from burgers_adjoint.inverse.newton import hessian_matrix, move
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

    def hessian(self, petsc: Any, gauss_newton: bool = False) -> Any:
        """A PETSc matrix of J's Hessian, or its Gauss-Newton part, at the configured values.

        `TAO.setHessian(objective.at, matrix)` takes it to where TAO is.

        Args:
            petsc: the module petsc4py.PETSc.
            gauss_newton: which of the two.
        """
        problem, vector = self._problem, self._vector
        product = problem.gauss_newton_product if gauss_newton else problem.hessian_product

        def multiply(point: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
            found = product(vector.values(point), vector.values(direction))
            assert isinstance(found, dict)  # one direction, not a batch
            vector.put_gradient(found, out)

        matrix = hessian_matrix(petsc, problem.comm, self.size, multiply)
        start = np.zeros(self.size)
        vector.put_values(problem.controls(), start)
        matrix.getPythonContext().move(start)
        return matrix

    def at(self, tao: Any, x: Any, matrix: Any, preconditioner: Any) -> None:
        """Take a matrix of `hessian` to the vector x. Collective."""
        move(tao, x, matrix, preconditioner)
