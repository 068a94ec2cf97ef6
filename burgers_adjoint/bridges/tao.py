"""PETSc TAO: J, its gradient and its Hessian as callbacks of an optimiser that the user sets up."""

from collections.abc import Callable
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

    def hessian(self, petsc: Any, gauss_newton: bool = False) -> Any:
        """A PETSc matrix of J's Hessian, or its Gauss-Newton part, at the configured values.

        `TAO.setHessian(objective.at, matrix)` takes it to where TAO is.

        Args:
            petsc: the module petsc4py.PETSc.
            gauss_newton: which of the two.
        """
        products = self._problem.gauss_newton_product if gauss_newton else None
        context = _Hessian(self._vector, products or self._problem.hessian_product)
        context.point = self._problem.controls()
        sizes = self.size, petsc.DETERMINE
        matrix = petsc.Mat().createPython((sizes, sizes), context, comm=self._problem.comm)
        matrix.setOption(petsc.Mat.Option.SYMMETRIC, True)
        matrix.setUp()
        return matrix

    def at(self, tao: Any, x: Any, matrix: Any, preconditioner: Any) -> None:
        """Take a matrix of `hessian` to the vector x. Collective."""
        matrix.getPythonContext().point = self.controls(x)


class _Hessian:
    """What a PETSc matrix of the type "python" does."""

    def __init__(self, vector: ControlVector, product: Callable[..., Any]) -> None:
        self._vector, self._product = vector, product
        self.point: dict[str, Any] = {}

    def mult(self, matrix: Any, x: Any, y: Any) -> None:
        found = self._product(self.point, self._vector.values(x.array_r))
        self._vector.put_gradient(found, y.array)
