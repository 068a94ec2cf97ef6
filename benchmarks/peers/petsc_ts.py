"""PETSc: TS (rk 1fe) and TSAdjoint, trajectory in memory, right-hand side and Jacobian in Numba."""

import atexit
from typing import Any

import numba
import numpy as np
from petsc4py import PETSc

from benchmarks.peers.peer import Case, Gradient, Peer


@numba.njit(error_model="numpy")
def rates(state: Any, ax: float, ay: float, nx: float, ny: float, out: Any) -> None:
    """du/dt and dv/dt, (2, ny, nx); zero on the boundary."""
    out[:] = 0.0
    u, v = state[0], state[1]
    for f in range(2):
        q, to = state[f], out[f]
        for j in range(1, q.shape[0] - 1):
            for i in range(1, q.shape[1] - 1):
                to[j, i] = (
                    nx * (q[j, i + 1] - 2 * q[j, i] + q[j, i - 1])
                    + ny * (q[j + 1, i] - 2 * q[j, i] + q[j - 1, i])
                    - ax * u[j, i] * (q[j, i + 1] - q[j, i - 1])
                    - ay * v[j, i] * (q[j + 1, i] - q[j - 1, i])
                )


@numba.njit(error_model="numpy")
def transposed(state: Any, w: Any, ax: float, ay: float, nx: float, ny: float, out: Any) -> None:
    """The transposed Jacobian of `rates` times w, all (2, ny, nx), as a gather."""
    out[:] = 0.0
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


class Jacobian:
    """Context of a matrix-free Jacobian: all that TSAdjoint asks for is its transposed product."""

    def __init__(self, shape: tuple[int, ...], weights: tuple[float, ...]) -> None:
        self.shape, self.weights = shape, weights
        self.state = np.zeros(shape)

    def multTranspose(self, matrix: Any, w: Any, out: Any) -> None:  # noqa: N802
        """Called by PETSc."""
        transposed(
            self.state,
            w.getArray(readonly=True).reshape(self.shape),
            *self.weights,
            out.getArray().reshape(self.shape),
        )


class Burgers:
    """The solver, its vectors and its Jacobian."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.shape = case.fields.shape
        self.weights = (
            1 / (2 * case.dx),
            1 / (2 * case.dy),
            case.viscosity / case.dx**2,
            case.viscosity / case.dy**2,
        )
        size = case.fields.size
        self.state = PETSc.Vec().createSeq(size)
        self.cotangent = self.state.duplicate()
        self.jacobian = Jacobian(self.shape, self.weights)
        self.matrix = PETSc.Mat().createPython(
            [size, size], context=self.jacobian, comm=PETSc.COMM_SELF
        )
        self.matrix.setUp()
        self.keeping, self.plain = self._solver(keep=True), self._solver(keep=False)
        # PETSc ends before Python would collect what holds its objects
        atexit.register(self.destroy)

    def destroy(self) -> None:
        """Give everything back to PETSc."""
        for one in (self.keeping, self.plain, self.matrix, self.state, self.cotangent):
            one.destroy()

    def _solver(self, keep: bool) -> Any:
        solver = PETSc.TS().create(comm=PETSc.COMM_SELF)
        solver.setProblemType(PETSc.TS.ProblemType.NONLINEAR)
        solver.setType(PETSc.TS.Type.RK)
        solver.setRKType(PETSc.TS.RKType.RK1FE)
        solver.setRHSFunction(self._rates, self.state.duplicate())
        solver.setRHSJacobian(self._linearise, self.matrix)
        solver.setExactFinalTime(PETSc.TS.ExactFinalTime.STEPOVER)
        if keep:
            options = PETSc.Options()
            options["ts_trajectory_type"] = "memory"
            options["ts_trajectory_solution_only"] = "true"
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
        self.jacobian.state = state.getArray(readonly=True).reshape(self.shape).copy()

    def primal(self, solver: Any = None) -> np.ndarray:
        """The final state."""
        solver = solver or self.plain
        self.state.getArray()[:] = self.case.fields.ravel()
        solver.setTime(0.0)
        solver.setStepNumber(0)
        solver.setTimeStep(self.case.dt)
        solver.setMaxSteps(self.case.n_steps)
        solver.setMaxTime(1e300)
        solver.solve(self.state)
        return self.state.getArray(readonly=True).reshape(self.shape)

    def gradient(self) -> Gradient:
        """J and its gradient by TSAdjoint."""
        final = self.primal(self.keeping)
        inner, n_points = final[:, 1:-1, 1:-1], final[0].size
        cotangent = self.cotangent.getArray().reshape(self.shape)
        cotangent[...] = 0.0
        cotangent[:, 1:-1, 1:-1] = 2 * inner / n_points
        value = float((inner**2).sum() / n_points)
        self.keeping.setCostGradients(self.cotangent)
        self.keeping.adjointSolve()
        return value, self.cotangent.getArray(readonly=True).reshape(self.shape)


def make(case: Case) -> Peer:
    """The peer for this case."""
    burgers = Burgers(case)
    version = ".".join(map(str, PETSc.Sys.getVersion()))
    return Peer(f"PETSc {version}, TS and TSAdjoint", burgers.primal, burgers.gradient)
