"""The discrete equations in JAX, as the formulas say, and their gradients by JAX.

    python -m benchmarks.against_ad.by_jax FOLDER...

Runs in the environment of the peer `jax_scan`, and reads and writes the files of `setup`. Written
for being read: whole arrays with all points, neighbours by rolling them, boundary points held by a
mask. Nothing of the package is imported.
"""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.against_ad.setup import OBJECTIVES, OF_FIELDS, Setup, load

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

# a few steps of a small grid: what takes time is compilation
jax.config.update("jax_disable_most_optimizations", True)

# Butcher tables a, b, c: forward Euler; Shu and Osher (1988); Kutta (1901).
Table = tuple[list[list[float]], list[float], list[float]]
TABLES: dict[str, Table] = {
    "euler": ([[0.0]], [1.0], [0.0]),
    "ssprk3": (
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.25, 0.25, 0.0]],
        [1 / 6, 1 / 6, 2 / 3],
        [0.0, 1.0, 0.5],
    ),
    "rk4": (
        [[0.0] * 4, [0.5, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
        [1 / 6, 1 / 3, 1 / 3, 1 / 6],
        [0.0, 0.5, 0.5, 1.0],
    ),
}
X, Y = -1, -2  # axes of fields (2, ny, nx)


def inner(setup: Setup) -> np.ndarray:
    """(ny, nx): 1 at the points that move, and that objectives count; 0 on the boundary."""
    moving = np.ones((setup.ny, setup.nx))
    if not setup.periodic:
        moving[[0, -1]] = moving[:, [0, -1]] = 0.0
    return moving


def rate(setup: Setup, q: Any, nu: Any, force: Any) -> Any:
    """-u q_x - v q_y + nu (q_xx + q_yy) + f for q = u and v; 0 on the boundary."""
    change = force
    for axis, speed, h in ((X, q[0], setup.spacing[0]), (Y, q[1], setup.spacing[1])):
        west, east = jnp.roll(q, 1, axis), jnp.roll(q, -1, axis)
        change = change + nu * (east - 2 * q + west) / h**2
        advected = speed * (east - west) / (2 * h)
        if setup.advection == "upwind":
            far_west, far_east = jnp.roll(q, 2, axis), jnp.roll(q, -2, axis)
            magnitude = jnp.sqrt(speed**2 + setup.smooth_speed**2)
            upwind = speed * (far_west - 8 * west + 8 * east - far_east) / (12 * h)
            upwind += magnitude * (far_west - 4 * west + 6 * q - 4 * east + far_east) / (12 * h)
            advected = jnp.where(whole_lines(setup, axis), upwind, advected)
        change = change - advected
    return change * inner(setup)


def whole_lines(setup: Setup, axis: int) -> np.ndarray:
    """Whether two points on either side are within the domain, (nx,) or (ny, 1)."""
    n = setup.nx if axis == X else setup.ny
    number = np.arange(n)
    inside = setup.periodic | ((number >= 2) & (number < n - 2))
    return inside if axis == X else inside[:, None]


def forcing(setup: Setup, m: dict[str, Any], time: Any) -> Any:
    """Steady, plus linear in time between the knots, constant outside of them."""
    hats = jnp.eye(len(setup.knots))
    shares = jax.vmap(lambda hat: jnp.interp(time, jnp.array(setup.knots), hat))(hats)
    return m["forcing"] + jnp.tensordot(shares, m["forcing_in_time"], 1)


def states(setup: Setup, m: dict[str, Any]) -> Any:
    """All states of a run, (n_steps + 1, 2, ny, nx)."""
    a, b, c = (jnp.array(part) for part in TABLES[setup.integrator])
    nu = m["viscosity"] + m["viscosity_field"]

    def step(q: Any, n: Any) -> Any:
        def stage(rates: Any, i: Any) -> Any:
            here = q + setup.dt * jnp.tensordot(a[i], rates, 1)
            force = forcing(setup, m, (n + c[i]) * setup.dt)
            return rates.at[i].set(rate(setup, here, nu, force)), None

        rates, _ = jax.lax.scan(stage, jnp.zeros((len(b), *q.shape)), jnp.arange(len(b)))
        after = q + setup.dt * jnp.tensordot(b, rates, 1)
        return after, after

    start = m["initial"] + m["boundary"]
    _, later = jax.lax.scan(step, start, jnp.arange(setup.n_steps))
    return jnp.concatenate([start[None], later])


def interpolated(setup: Setup, positions: Any, q: Any) -> Any:
    """Bilinear interpolation of states (n, 2, ny, nx) at (x, y) of sensors, (n, 2, n_sensors)."""
    index, share = [], []
    for along, ends, h, n in zip(
        positions.T, (setup.x, setup.y), setup.spacing, (setup.nx, setup.ny), strict=True
    ):
        place = (along - ends[0]) / h
        first = jnp.floor(place).astype(int)
        index.append((first, (first + 1) % n))
        share.append(place - first)
    (west, east), (south, north) = index
    a, b = share
    return (1 - b) * ((1 - a) * q[..., south, west] + a * q[..., south, east]) + b * (
        (1 - a) * q[..., north, west] + a * q[..., north, east]
    )


def objectives(setup: Setup, arrays: dict[str, Any], m: dict[str, Any]) -> Any:
    """All of OBJECTIVES at controls."""
    q = states(setup, m)
    counted, n_points = inner(setup), setup.nx * setup.ny
    energies = jnp.sum(q**2 * counted, axis=(1, 2, 3)) / n_points
    dx, dy = setup.spacing
    v_x = (jnp.roll(q[:, 1], -1, X) - jnp.roll(q[:, 1], 1, X)) / (2 * dx)
    u_y = (jnp.roll(q[:, 0], -1, Y) - jnp.roll(q[:, 0], 1, Y)) / (2 * dy)
    enstrophies = jnp.sum((v_x - u_y) ** 2 * counted, axis=(1, 2)) / n_points
    seen = q[jnp.array(setup.observed)]
    residuals = (
        seen - arrays["fields"],
        interpolated(setup, arrays["positions"], seen) - arrays["sensors"],
    )
    values = {
        "final_energy": energies[-1],
        "running_energy": jnp.trapezoid(energies, dx=setup.dt),
        "running_enstrophy": jnp.trapezoid(enstrophies, dx=setup.dt),
        "misfit of fields": jnp.sum((residuals[0] / setup.noise) ** 2) / 2,
        "misfit of sensors": jnp.sum((residuals[1] / setup.noise) ** 2) / 2,
    }
    return jnp.stack([values[name] for name in OBJECTIVES])


@cache
def derivatives_of(setup: Setup) -> Any:
    """Compile what returns the gradients of OBJECTIVES by each control, and their values.

    And, forward over reverse, the derivatives of all these along a direction.
    """

    def derivatives(m: dict[str, Any], along: dict[str, Any], arrays: dict[str, Any]) -> Any:
        def values(m: dict[str, Any]) -> Any:
            found = objectives(setup, arrays, m)
            return found, found

        return jax.jvp(jax.jacrev(values, has_aux=True), (m,), (along,))

    return jax.jit(derivatives)


def differentiate(folder: Path) -> None:
    """Write what `references` finds to reference.npz."""
    np.savez(folder / "reference.npz", **references(*load(folder)))


def references(setup: Setup, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The "objective"s, their gradients by each control, and products with their Hessians."""
    moving, with_fields = inner(setup), "forcing" in setup.controls
    m = {
        "initial": arrays["initial"] * moving,
        "boundary": arrays["initial"] * (1 - moving),
        "viscosity": np.float64(setup.viscosity),
        **{name: arrays[name] * with_fields for name in OF_FIELDS},
    }
    along = {name: np.zeros_like(value) for name, value in m.items()}
    along |= {name: arrays[f"along {name}"] for name in setup.controls}
    # a point has one value: that of the other control has no derivative in this one
    own: dict[str, Any] = {"initial": moving, "boundary": 1 - moving}
    along = {name: value * own.get(name, 1.0) for name, value in along.items()}
    derive = derivatives_of(replace(setup, controls=()))
    (gradients, values), (products, _) = derive(m, along, arrays)
    found = {"objective": np.asarray(values)}
    for name in setup.controls:
        found[name] = np.asarray(gradients[name] * own.get(name, 1.0))
        found[f"product {name}"] = np.asarray(products[name] * own.get(name, 1.0))
    return found


if __name__ == "__main__":
    print(f"JAX {jax.__version__}")
    for path in sys.argv[1:]:
        differentiate(Path(path))
