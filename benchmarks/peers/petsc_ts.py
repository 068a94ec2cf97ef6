"""PETSc: TS (rk) and TSAdjoint, trajectory in memory, right-hand side and Jacobian in Numba.

The Jacobian is an assembled sparse matrix, as TSAdjoint is mostly used, or its transposed product.
The trajectory keeps the states of stages beside those of steps, or they are computed anew.
"""

import atexit
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from petsc4py import PETSc

from benchmarks.peers.case import Case, Gradient, Peer


@numba.njit(error_model="numpy", fastmath={"contract"})
def rates(state: Any, ax: float, ay: float, nx: float, ny: float, out: Any) -> None:
    """du/dt and dv/dt, (2, ny, nx); zero on the boundary."""
    u, v = state[0], state[1]
    for f in range(2):
        q, to = state[f], out[f]
        to[0], to[-1] = 0.0, 0.0
        to[:, 0], to[:, -1] = 0.0, 0.0
        for j in range(1, q.shape[0] - 1):
            for i in range(1, q.shape[1] - 1):
                to[j, i] = (
                    nx * (q[j, i + 1] - 2 * q[j, i] + q[j, i - 1])
                    + ny * (q[j + 1, i] - 2 * q[j, i] + q[j - 1, i])
                    - ax * u[j, i] * (q[j, i + 1] - q[j, i - 1])
                    - ay * v[j, i] * (q[j + 1, i] - q[j - 1, i])
                )


@numba.njit(error_model="numpy", fastmath={"contract"})
def transposed(state: Any, w: Any, ax: float, ay: float, nx: float, ny: float, out: Any) -> None:
    """The transposed Jacobian of `rates` times w, all (2, ny, nx), as a gather."""
    rows, columns = state.shape[1], state.shape[2]
    u, v = state[0], state[1]
    for j in range(rows):
        for i in range(columns):
            inside = 0 < j < rows - 1 and 0 < i < columns - 1
            for f in range(2):
                total = 0.0
                if inside:
                    total -= 2 * (nx + ny) * w[f, j, i]
                if 0 < j < rows - 1:
                    if i > 1:
                        total += (nx - ax * u[j, i - 1]) * w[f, j, i - 1]
                    if i < columns - 2:
                        total += (nx + ax * u[j, i + 1]) * w[f, j, i + 1]
                if 0 < i < columns - 1:
                    if j > 1:
                        total += (ny - ay * v[j - 1, i]) * w[f, j - 1, i]
                    if j < rows - 2:
                        total += (ny + ay * v[j + 1, i]) * w[f, j + 1, i]
                out[f, j, i] = total
            if inside:
                for f in range(2):
                    q = state[f]
                    out[0, j, i] -= ax * (q[j, i + 1] - q[j, i - 1]) * w[f, j, i]
                    out[1, j, i] -= ay * (q[j + 1, i] - q[j - 1, i]) * w[f, j, i]


@numba.njit(error_model="numpy")
def pattern(starts: Any, columns: Any, rows: int, width: int) -> None:
    """Columns of the Jacobian's entries, row by row; boundary points have a zero diagonal."""
    k, size = 0, rows * width
    for f in range(2):
        for j in range(rows):
            for i in range(width):
                here = f * size + j * width + i
                if 0 < j < rows - 1 and 0 < i < width - 1:
                    if f == 1:
                        columns[k] = here - size
                        k += 1
                    for column in (here - width, here - 1, here, here + 1, here + width):
                        columns[k] = column
                        k += 1
                    if f == 0:
                        columns[k] = here + size
                        k += 1
                else:
                    columns[k] = here
                    k += 1
                starts[here + 1] = k


@numba.njit(error_model="numpy")
def entries(state: Any, ax: float, ay: float, nx: float, ny: float, values: Any) -> None:
    """Entries of the Jacobian of `rates` in the order of `pattern`."""
    k = 0
    u, v = state[0], state[1]
    rows, width = u.shape
    for f in range(2):
        q = state[f]
        for j in range(rows):
            for i in range(width):
                if 0 < j < rows - 1 and 0 < i < width - 1:
                    by_u = -ax * (q[j, i + 1] - q[j, i - 1])
                    by_v = -ay * (q[j + 1, i] - q[j - 1, i])
                    if f == 1:
                        values[k] = by_u
                        k += 1
                    values[k] = ny + ay * v[j, i]
                    values[k + 1] = nx + ax * u[j, i]
                    values[k + 2] = -2 * (nx + ny) + (by_u if f == 0 else by_v)
                    values[k + 3] = nx - ax * u[j, i]
                    values[k + 4] = ny - ay * v[j, i]
                    k += 5
                    if f == 0:
                        values[k] = by_v
                        k += 1
                else:
                    values[k] = 0.0
                    k += 1


class Assembled:
    """The Jacobian as a sparse matrix of PETSc's own."""

    def __init__(self, shape: tuple[int, ...], weights: tuple[float, ...]) -> None:
        self.shape, self.weights = shape, weights
        _, rows, width = shape
        size = 2 * rows * width
        n_entries = 2 * (6 * (rows - 2) * (width - 2) + 2 * (rows + width) - 4)
        self.starts = np.zeros(size + 1, dtype=PETSc.IntType)
        self.columns = np.zeros(n_entries, dtype=PETSc.IntType)
        self.values = np.zeros(n_entries)
        pattern(self.starts, self.columns, rows, width)
        self.matrix = PETSc.Mat().createAIJ(
            (size, size), csr=(self.starts, self.columns, self.values), comm=PETSc.COMM_SELF
        )

    def linearise(self, state: np.ndarray) -> None:
        """Let the matrix be the Jacobian at a state, (2, ny, nx)."""
        entries(state, *self.weights, self.values)
        self.matrix.setValuesCSR(self.starts, self.columns, self.values)
        self.matrix.assemble()


class MatrixFree:
    """Context of a matrix-free Jacobian: all that TSAdjoint asks for is its transposed product."""

    def __init__(self, shape: tuple[int, ...], weights: tuple[float, ...]) -> None:
        self.shape, self.weights = shape, weights
        self.state = np.zeros(shape)
        size = int(np.prod(shape))
        self.matrix = PETSc.Mat().createPython([size, size], context=self, comm=PETSc.COMM_SELF)
        self.matrix.setUp()

    def linearise(self, state: np.ndarray) -> None:
        """Let the products be those at a state, (2, ny, nx)."""
        np.copyto(self.state, state)

    def multTranspose(self, matrix: Any, w: Any, out: Any) -> None:  # noqa: N802
        """Called by PETSc, which names it so."""
        transposed(
            self.state,
            w.getArray(readonly=True).reshape(self.shape),
            *self.weights,
            out.getArray().reshape(self.shape),
        )


class Burgers:
    """The solvers, their vectors and their Jacobian."""

    def __init__(
        self,
        case: Case,
        fields: np.ndarray,
        jacobian: Callable[[tuple[int, ...], tuple[float, ...]], Any],
    ) -> None:
        self.case, self.fields = case, fields
        self.shape = fields.shape
        self.weights = (
            1 / (2 * case.dx),
            1 / (2 * case.dy),
            case.viscosity / case.dx**2,
            case.viscosity / case.dy**2,
        )
        self.state = PETSc.Vec().createSeq(fields.size)
        self.cotangent = self.state.duplicate()
        self.jacobian = jacobian(self.shape, self.weights)
        self.matrix = self.jacobian.matrix
        self.plain = self._solver()
        self.keeping = {
            "stages recomputed": self._solver("true"),
            "stages kept": self._solver("false"),
        }
        # PETSc ends before Python would collect what holds its objects
        atexit.register(self.destroy)

    def destroy(self) -> None:
        """Give everything back to PETSc."""
        for one in (
            self.plain, *self.keeping.values(), self.matrix, self.state, self.cotangent
        ):  # fmt: skip
            one.destroy()

    def _solver(self, solution_only: str = "") -> Any:
        solver = PETSc.TS().create(comm=PETSc.COMM_SELF)
        solver.setProblemType(PETSc.TS.ProblemType.NONLINEAR)
        solver.setType(PETSc.TS.Type.RK)
        kinds = PETSc.TS.RKType
        solver.setRKType(kinds.RK1FE if self.case.integrator == "euler" else kinds.RK4)
        solver.setRHSFunction(self._rates, self.state.duplicate())
        solver.setRHSJacobian(self._linearise, self.matrix)
        solver.setExactFinalTime(PETSc.TS.ExactFinalTime.STEPOVER)
        options = PETSc.Options()
        options["ts_adapt_type"] = "none"
        if solution_only:
            options["ts_trajectory_type"] = "memory"
            options["ts_trajectory_solution_only"] = solution_only
            solver.setSaveTrajectory()
        solver.setFromOptions()
        return solver

    def _rates(self, solver: Any, time: float, state: Any, out: Any) -> None:
        rates(
            state.getArray(readonly=True).reshape(self.shape),
            *self.weights,
            out.getArray().reshape(self.shape),
        )

    def _linearise(self, solver: Any, time: float, state: Any, matrix: Any, other: Any) -> None:
        self.jacobian.linearise(state.getArray(readonly=True).reshape(self.shape))

    def primal(self, solver: Any = None) -> np.ndarray:
        """The final state."""
        solver = solver or self.plain
        self.state.getArray()[:] = self.fields.ravel()
        solver.setTime(0.0)
        solver.setStepNumber(0)
        solver.setTimeStep(self.case.dt)
        solver.setMaxSteps(self.case.n_steps)
        solver.setMaxTime(1e300)
        solver.solve(self.state)
        return self.state.getArray(readonly=True).reshape(self.shape)

    def gradient(self, variant: str) -> Gradient:
        """J and its gradient by TSAdjoint."""
        solver = self.keeping[variant]
        final = self.primal(solver)
        inner, n_points = final[:, 1:-1, 1:-1], final[0].size
        cotangent = self.cotangent.getArray().reshape(self.shape)
        cotangent[...] = 0.0
        cotangent[:, 1:-1, 1:-1] = 2 * inner / n_points
        value = float((inner**2).sum() / n_points)
        solver.setCostGradients(self.cotangent)
        solver.adjointSolve()
        return value, self.cotangent.getArray(readonly=True).reshape(self.shape)


def make(case: Case, fields: np.ndarray) -> Peer:
    """The peer for this case, its Jacobian matrix-free."""
    return _peer(case, fields, MatrixFree, "matrix-free")


def make_assembled(case: Case, fields: np.ndarray) -> Peer:
    """The peer for this case, its Jacobian assembled."""
    return _peer(case, fields, Assembled, "assembled")


def _peer(case: Case, fields: np.ndarray, jacobian: Any, told: str) -> Peer:
    burgers = Burgers(case, fields, jacobian)
    version = ".".join(map(str, PETSc.Sys.getVersion()))
    gradients = {name: partial(burgers.gradient, name) for name in burgers.keeping}
    return Peer(f"PETSc {version}, TSAdjoint, {told}", {"": burgers.primal}, gradients)
