"""JAX: jit of a scan over the steps, and reverse-mode differentiation of it.

How a stencil is written decides its speed, and differently for primal and gradient. The change of
the inner points is padded with zeros, or added to them by `.at[]`; the stages of a step are written
out, or a scan of their own, which keeps XLA from computing a stage anew for each point that reads
it; the reverse sweep computes steps anew (`jax.checkpoint`) or finds all their values stored.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.case import Case, Fields, Gradient, Peer

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

State = tuple[jax.Array, jax.Array]


def padded(q: jax.Array, change: jax.Array) -> jax.Array:
    """A field and the change of its inner points, padded."""
    return q + jnp.pad(change, 1)


def at(q: jax.Array, change: jax.Array) -> jax.Array:
    """A field and the change of its inner points, added in their place."""
    return q.at[1:-1, 1:-1].add(change)


ADDED = {"jnp.pad": padded, ".at[]": at}


def rates(case: Case, u: jax.Array, v: jax.Array) -> State:
    """du/dt and dv/dt at the points that are not on the boundary."""
    speeds = u[1:-1, 1:-1], v[1:-1, 1:-1]
    rows, columns = u.shape

    def rate(q: jax.Array) -> jax.Array:
        here, north, south = q[1:-1, 1:-1], q[2:, 1:-1], q[:-2, 1:-1]
        east, west = q[1:-1, 2:], q[1:-1, :-2]
        diffused = (east - 2 * here + west) / case.dx**2 + (north - 2 * here + south) / case.dy**2
        along_x, along_y = speeds[0] * (east - west) / 2, speeds[1] * (north - south) / 2
        if case.advection == "upwind":
            wide = jnp.pad(q, 1)
            far = wide[2:-2, 4:], wide[2:-2, :-4], wide[4:, 2:-2], wide[:-4, 2:-2]
            beside_x = jnp.arange(columns - 2) % (columns - 3) == 0
            beside_y = (jnp.arange(rows - 2) % (rows - 3) == 0)[:, None]
            x_upwind = upwind(case, speeds[0], far[1], west, here, east, far[0])
            y_upwind = upwind(case, speeds[1], far[3], south, here, north, far[2])
            along_x = jnp.where(beside_x, along_x, x_upwind)
            along_y = jnp.where(beside_y, along_y, y_upwind)
        return case.viscosity * diffused - along_x / case.dx - along_y / case.dy

    return rate(u), rate(v)


def upwind(case: Case, speed: Any, *q: Any) -> Any:
    """Speed times the third-order derivative of five points in a line, times the spacing."""
    magnitude = jnp.sqrt(speed * speed + case.smooth_speed**2)
    centred = q[0] - 8 * q[1] + 8 * q[3] - q[4]
    biased = q[0] - 4 * q[1] + 6 * q[2] - 4 * q[3] + q[4]
    return (speed * centred + magnitude * biased) / 12


def step(case: Case, add: Callable[..., Any], scanned: bool, state: State, _: None) -> Any:
    """One step, in the form of the body of a scan."""

    def moved(base: State, factor: Any, change: State) -> State:
        return add(base[0], factor * change[0]), add(base[1], factor * change[1])

    def stage(carried: tuple[State, State], factors: Any) -> tuple[tuple[State, State], None]:
        after, rate = carried
        rate = rates(case, *moved(state, factors[0], rate))
        return (moved(after, factors[1], rate), rate), None

    factors = case.dt * np.array([case.a, case.b]).T
    if scanned:
        zeros = jnp.zeros_like(state[0][1:-1, 1:-1])
        return jax.lax.scan(stage, (state, (zeros, zeros)), factors)[0][0], None
    after = state
    rate = rates(case, *state)
    after = moved(after, factors[0, 1], rate)
    for pair in factors[1:]:
        (after, rate), _ = stage((after, rate), pair)
    return after, None


def run(case: Case, body: Callable[..., Any], state: State) -> State:
    """The final state."""
    final: State = jax.lax.scan(body, state, None, length=case.n_steps)[0]
    return final


def objective(case: Case, body: Callable[..., Any], state: State) -> jax.Array:
    """J."""
    final = run(case, body, state)
    return sum(jnp.sum(q[1:-1, 1:-1] ** 2) for q in final) / final[0].size


def make(case: Case, fields: np.ndarray) -> Peer:
    """The peer for this case."""
    state = jnp.asarray(fields[0]), jnp.asarray(fields[1])
    primal: dict[str, Callable[[], Fields]] = {}
    gradient: dict[str, Callable[[], Gradient]] = {}
    for (told, add), scanned in product(ADDED.items(), (False, True)):
        if scanned and case.integrator == "euler":
            continue
        name = f"{told}, stages scanned" if scanned else told
        body = partial(step, case, add, scanned)
        compiled = jax.jit(partial(run, case, body))
        primal[name] = partial(_primal, compiled, state)
        kinds: dict[str, Callable[..., Any]] = {
            "rematerialised": jax.checkpoint(body),
            "stored": body,
        }
        for kind, kept in kinds.items():
            reverse = jax.jit(jax.value_and_grad(partial(objective, case, kept)))
            gradient[f"{name}, {kind}"] = partial(_gradient, reverse, state)
    return Peer(f"JAX {jax.__version__}", primal, gradient)


def _primal(compiled: Callable[..., Any], state: State) -> Fields:
    u, v = compiled(state)
    return np.asarray(u), np.asarray(v)


def _gradient(compiled: Callable[..., Any], state: State) -> Gradient:
    value, (by_u, by_v) = compiled(state)
    return float(value), (np.asarray(by_u), np.asarray(by_v))
