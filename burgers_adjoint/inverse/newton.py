"""What TAO's Newton methods want beyond J and its gradient: products, and a preconditioner."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

NEWTON = ("nls", "ntr", "bnls", "bntr")
# How exactly a Newton step is solved for, over the gradient: the curvature changes in a step.
TOLERANCE = 0.3

# Ways to the first trust region: PETSc's own evaluates J at several points more.
FIRST_REGIONS = {f"tao_{prefix}_init_type": "direction" for prefix in ("bnk", "nls", "ntr")}

Multiply = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
Precondition = Callable[[np.ndarray], np.ndarray]


class SecondOrder:
    """The second derivative in a search by PETSc TAO, known by its products alone.

    Args:
        petsc: the module petsc4py.PETSc.
        tao: of the search.
        x: a vector like its points.
        multiply: (entries, direction, product out), of the Hessian there; None for none.
        precondition: what is close to the inverse of the Hessian, times a vector.
    """

    def __init__(
        self,
        petsc: Any,
        tao: Any,
        x: Any,
        multiply: Multiply | None,
        precondition: Precondition = np.copy,
    ) -> None:
        self._tao, self._precondition, self._matrix = tao, precondition, None
        if multiply is not None:
            self._matrix = hessian_matrix(petsc, x.comm, x.getLocalSize(), multiply)
            tao.setHessian(move, self._matrix)

    def begin(self) -> None:
        """Let Newton steps be solved for as far as they are worth it; the method is known now."""
        if self._matrix is not None and self._tao.getType() in NEWTON:
            ksp = self._tao.getKSP()
            ksp.setTolerances(rtol=TOLERANCE)
            ksp.getPC().setType("python")
            shell = self._matrix.getPythonContext()
            ksp.getPC().setPythonContext(_Preconditioner(self._precondition, shell))
            ksp.setFromOptions()

    def destroy(self) -> None:
        """Release the matrix."""
        if self._matrix is not None:
            self._matrix.destroy()


def hessian_matrix(petsc: Any, comm: Any, size: int, multiply: Multiply) -> Any:
    """A PETSc matrix that is known by its products alone; `move` takes it to a point.

    Args:
        petsc: the module petsc4py.PETSc.
        comm: the ranks.
        size: entries of this rank.
        multiply: (entries, direction, product out), of the Hessian there.
    """
    sizes = size, petsc.DETERMINE
    matrix = petsc.Mat().createPython((sizes, sizes), _Shell(multiply), comm=comm)
    matrix.setOption(petsc.Mat.Option.SYMMETRIC, True)
    matrix.setUp()
    return matrix


def move(tao: Any, point: Any, matrix: Any, preconditioner: Any) -> None:
    """Take a `hessian_matrix` to a vector: what `TAO.setHessian` takes."""
    matrix.getPythonContext().move(point.array_r)


class _Shell:
    """A matrix of the type "python", at the point that TAO is at."""

    def __init__(self, multiply: Multiply) -> None:
        self._multiply = multiply
        self._point, self._shift = np.empty(0), 0.0
        self._instead: Precondition | None = None

    def move(self, point: np.ndarray) -> None:
        self._point, self._shift = point.copy(), 0.0

    def shift(self, matrix: Any, number: float) -> None:
        """Add a number to the diagonal, where the Hessian is not positive."""
        self._shift += number

    def mult(self, matrix: Any, direction: Any, product: Any) -> None:
        with product as out:
            if self._instead is not None:
                out[...] = self._instead(direction.array_r)
                return
            self._multiply(self._point, direction.array_r, out)
            out += self._shift * direction.array_r

    @contextmanager
    def multiplying_by(self, function: Precondition) -> Iterator[None]:
        """Take a function for the matrix."""
        self._instead = function
        try:
            yield
        finally:
            self._instead = None


class _Preconditioner:
    """A preconditioner of the type "python"; of the other entries where bounds hold some.

    PETSc then wraps the matrix in one that masks the entries that are held: multiplying through it
    masks the preconditioner alike.
    """

    def __init__(self, function: Precondition, shell: _Shell) -> None:
        self._function, self._shell = function, shell

    def apply(self, preconditioner: Any, x: Any, y: Any) -> None:
        matrix = preconditioner.getOperators()[0]
        if matrix.getType() == "python":
            y.array[...] = self._function(x.array_r)
            return
        with self._shell.multiplying_by(self._function):
            matrix.mult(x, y)
