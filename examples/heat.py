"""Your own model: a rod that conducts and radiates heat, with nothing of Burgers in it.

du/dt = d2u/dx2 - c u^4 on (0, 1), both ends kept at their temperatures, forward Euler in time.
The objective is half the sum of the squares of the final temperatures.
"""

import numpy as np
from numpy.typing import NDArray

from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.protocols import AdjointModel
from burgers_adjoint.snapshots.memory import MemoryStore

Vector = NDArray[np.float64]


class Rod(AdjointModel[Vector, Vector, Vector]):
    """All that the checkpointing half asks of a model: six methods."""

    def __init__(self, n_points: int, dt: float, radiation: float) -> None:
        """Space `n_points` evenly, the ends included; stable for dt up to half their spacing^2."""
        self.n_points = n_points
        self.conduction = dt * (n_points - 1) ** 2
        self.radiation = dt * radiation
        self.objective = float("nan")

    def advance(self, state: Vector, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1 - 1 in place."""
        for _ in range(n0, n1):
            west, here, east = state[:-2], state[1:-1], state[2:]
            here += self.conduction * (west - 2 * here + east) - self.radiation * here**4

    def seed(self, state: Vector) -> Vector:
        """Evaluate the objective at the final state and return its derivative there."""
        self.objective = 0.5 * float(state @ state)
        return state.copy()

    def adjoint_step(self, cotangent: Vector, state: Vector, n: int) -> None:
        """Apply the transposed Jacobian of step n, at the state at its start."""
        inner = cotangent[1:-1].copy()
        cotangent[1:-1] -= (2 * self.conduction + 4 * self.radiation * state[1:-1] ** 3) * inner
        cotangent[:-2] += self.conduction * inner
        cotangent[2:] += self.conduction * inner

    def new_snapshot(self) -> Vector:
        """Return a buffer for one state."""
        return np.empty(self.n_points)

    def snapshot(self, state: Vector, out: Vector) -> None:
        """Copy the state to a buffer."""
        out[:] = state

    def restore(self, snapshot: Vector, state: Vector) -> None:
        """Copy a buffer to the state."""
        state[:] = snapshot


def gradient(model: Rod, initial: Vector, schedule: Schedule) -> tuple[float, Vector, Counts]:
    """Return the objective, its derivative by the initial temperatures, and what it took."""
    executor = Executor(model, schedule, MemoryStore(model.new_snapshot, schedule.slots))
    counts = executor.run(initial.copy())
    assert executor.cotangent is not None
    return model.objective, executor.cotangent, counts


def objective(model: Rod, initial: Vector, n_steps: int) -> float:
    """Return the objective alone."""
    state = initial.copy()
    model.advance(state, 0, n_steps)
    model.seed(state)
    return model.objective


def main() -> None:
    """Print the gradient's derivative in a random direction beside a central difference."""
    n_steps, snapshots = 1000, 10
    model = Rod(n_points=41, dt=2e-4, radiation=5.0)
    x = np.linspace(0.0, 1.0, model.n_points)
    initial = 1.0 + np.exp(-(((x - 0.3) / 0.1) ** 2)) - 0.5 * x
    value, slope, counts = gradient(model, initial, Binomial(n_steps, snapshots))

    direction = np.random.default_rng(0).standard_normal(model.n_points)
    h = 1e-6
    ahead = objective(model, initial + h * direction, n_steps)
    behind = objective(model, initial - h * direction, n_steps)
    difference = (ahead - behind) / (2 * h)
    print(f"objective            {value:.15g}")
    print(f"adjoint derivative   {slope @ direction:.15g}")
    print(f"central difference   {difference:.15g}")
    print(f"relative difference  {abs(difference / (slope @ direction) - 1):.1e}")
    print(f"forward steps        {counts.forward_steps} for {n_steps}, {snapshots} snapshots")


if __name__ == "__main__":
    main()
