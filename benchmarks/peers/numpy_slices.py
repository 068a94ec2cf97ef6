"""NumPy: every term of the formula is a pass over slices of whole arrays."""

import numpy as np

from benchmarks.peers.peer import Case, Gradient, Peer


def make(case: Case) -> Peer:
    """The peer for this case."""
    return Peer(f"NumPy {np.__version__}, slices", lambda: primal(case)[-1], lambda: gradient(case))


def neighbours(q: np.ndarray) -> tuple[np.ndarray, ...]:
    """Points that are not on the boundary, and those to their east, west, north and south."""
    return (
        q[..., 1:-1, 1:-1],
        q[..., 1:-1, 2:],
        q[..., 1:-1, :-2],
        q[..., 2:, 1:-1],
        q[..., :-2, 1:-1],
    )


def primal(case: Case, keep: bool = False) -> list[np.ndarray]:
    """The final state; or all states, when they are kept."""
    cx, cy = case.dt / (2 * case.dx), case.dt / (2 * case.dy)
    kx, ky = case.viscosity * case.dt / case.dx**2, case.viscosity * case.dt / case.dy**2
    states = [case.fields]
    for _ in range(case.n_steps):
        state = states[-1]
        here, east, west, north, south = neighbours(state)
        u, v = here
        after = state.copy()
        after[:, 1:-1, 1:-1] += (
            kx * (east - 2 * here + west)
            + ky * (north - 2 * here + south)
            - cx * u * (east - west)
            - cy * v * (north - south)
        )
        states = [*states, after] if keep else [after]
    return states


def gradient(case: Case) -> Gradient:
    """J and its gradient by the transposed steps, written as scatters of whole arrays."""
    cx, cy = case.dt / (2 * case.dx), case.dt / (2 * case.dy)
    kx, ky = case.viscosity * case.dt / case.dx**2, case.viscosity * case.dt / case.dy**2
    *states, final = primal(case, keep=True)
    n_points = final[0].size
    inner = final[:, 1:-1, 1:-1]
    cotangent = np.zeros_like(final)
    cotangent[:, 1:-1, 1:-1] = 2 * inner / n_points
    for state in reversed(states):
        here, east, west, north, south = neighbours(state)
        u, v = here
        own = cotangent[:, 1:-1, 1:-1].copy()
        to_here, to_east, to_west, to_north, to_south = neighbours(cotangent)
        to_here -= 2 * (kx + ky) * own
        to_here[0] -= cx * ((east - west) * own).sum(axis=0)
        to_here[1] -= cy * ((north - south) * own).sum(axis=0)
        to_east += (kx - cx * u) * own
        to_west += (kx + cx * u) * own
        to_north += (ky - cy * v) * own
        to_south += (ky + cy * v) * own
    return float((inner**2).sum() / n_points), cotangent
