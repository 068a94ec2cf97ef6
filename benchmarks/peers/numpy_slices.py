"""NumPy: every term of the formula is a pass over slices of whole arrays."""

import numpy as np

from benchmarks.peers.case import Case, Gradient, Peer


def make(case: Case, fields: np.ndarray) -> Peer:
    """The peer for this case."""
    slices = Slices(case)

    def gradient() -> Gradient:
        return slices.gradient(fields)

    name = f"NumPy {np.__version__}, slices"
    return Peer(name, {"": lambda: slices.primal(fields)}, {"": gradient})


def neighbours(q: np.ndarray) -> tuple[np.ndarray, ...]:
    """Points that are not on the boundary, and those to their east, west, north and south."""
    return (
        q[..., 1:-1, 1:-1],
        q[..., 1:-1, 2:],
        q[..., 1:-1, :-2],
        q[..., 2:, 1:-1],
        q[..., :-2, 1:-1],
    )


class Slices:
    """Steps of a case with central differences, and the transposed steps."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._cx, self._cy = 0.5 / case.dx, 0.5 / case.dy
        self._kx, self._ky = case.viscosity / case.dx**2, case.viscosity / case.dy**2

    def rates(self, state: np.ndarray) -> np.ndarray:
        """du/dt and dv/dt at the points that are not on the boundary."""
        here, east, west, north, south = neighbours(state)
        u, v = here
        return (
            self._kx * (east - 2 * here + west)
            + self._ky * (north - 2 * here + south)
            - self._cx * u * (east - west)
            - self._cy * v * (north - south)
        )

    def step(self, state: np.ndarray, stages: list[np.ndarray] | None = None) -> np.ndarray:
        """The state after one step; the states of its stages are added to a list."""
        case, after, rate = self._case, state.copy(), np.zeros(())
        for a, b in zip(case.a, case.b, strict=True):
            here = state
            if a:
                here = state.copy()
                here[:, 1:-1, 1:-1] += a * case.dt * rate
            if stages is not None:
                stages.append(here)
            rate = self.rates(here)
            after[:, 1:-1, 1:-1] += b * case.dt * rate
        return after

    def primal(self, state: np.ndarray) -> np.ndarray:
        """The final state."""
        for _ in range(self._case.n_steps):
            state = self.step(state)
        return state

    def transposed(self, state: np.ndarray, own: np.ndarray) -> np.ndarray:
        """The transposed Jacobian of `rates` times a cotangent, as scatters of whole arrays."""
        here, east, west, north, south = neighbours(state)
        u, v = here
        out = np.zeros_like(state)
        to_here, to_east, to_west, to_north, to_south = neighbours(out)
        to_here -= 2 * (self._kx + self._ky) * own
        to_here[0] -= self._cx * ((east - west) * own).sum(axis=0)
        to_here[1] -= self._cy * ((north - south) * own).sum(axis=0)
        to_east += (self._kx - self._cx * u) * own
        to_west += (self._kx + self._cx * u) * own
        to_north += (self._ky - self._cy * v) * own
        to_south += (self._ky + self._cy * v) * own
        return out

    def gradient(self, state: np.ndarray) -> Gradient:
        """J and its gradient by the transposed stages, whose states are all kept."""
        case = self._case
        stages: list[np.ndarray] = []
        for _ in range(case.n_steps):
            state = self.step(state, stages)
        n_points = state[0].size
        inner = state[:, 1:-1, 1:-1]
        cotangent = np.zeros_like(state)
        cotangent[:, 1:-1, 1:-1] = 2 * inner / n_points
        for _ in range(case.n_steps):
            after, later = cotangent.copy(), np.zeros_like(inner)
            for a, b in zip(reversed(case.a), reversed(case.b), strict=True):
                own = b * case.dt * after[:, 1:-1, 1:-1] + later
                of_stage = self.transposed(stages.pop(), own)
                cotangent += of_stage
                later = a * case.dt * of_stage[:, 1:-1, 1:-1]
        return float((inner**2).sum() / n_points), cotangent
