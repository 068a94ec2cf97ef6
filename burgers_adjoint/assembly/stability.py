"""Whether a time step is small enough, before it is taken."""

import math

import numpy as np
from mpi4py import MPI

from burgers_adjoint.config import Config
from burgers_adjoint.errors import NumericalError, agreed_error
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import largest
from burgers_adjoint.stepping.tableaux import TABLEAUX


def require_stable(config: Config, comm: MPI.Comm, grid: Grid, fields: np.ndarray) -> None:
    """Check the linear limits for constant coefficients, at the fastest point. Collective.

    Of forward Euler, nu dt (1/dx^2 + 1/dy^2) <= 1/2 and dt (u^2 + v^2) <= 2 nu are necessary
    and sufficient with central differences (Hindmarsh, Gresho and Griffiths 1984). Those of
    the other integrators are where they leave the real and the imaginary axis.

    Args:
        config: the time step, the integrator, the scheme and the viscosity.
        comm: the ranks that share the grid.
        grid: its spacings.
        fields: initial (u, v), (2, ny, nx) of the tile.

    Raises:
        NumericalError: on all ranks: the time step exceeds a limit; says which.
    """
    nu, dt = config.physics.viscosity, config.time.dt
    tableau = TABLEAUX[config.time.integrator]
    with np.errstate(over="ignore"):  # the limit of an infinite speed is 0
        speed = math.sqrt(largest(comm, np.square(fields).sum(axis=0)))
    spacings = 1 / grid.dx**2 + 1 / grid.dy**2
    real, most = tableau.real_limit / 4, tableau.imaginary_limit
    advective = ("2 nu / max(u^2 + v^2)", 2 * nu / speed**2 if speed else math.inf)
    if most:
        from burgers_adjoint.equations.burgers.staged import ADVECTION

        most /= ADVECTION[config.physics.advection].LARGEST_RATE
        u, v = np.abs(fields)
        crossing = largest(comm, u / grid.dx + v / grid.dy)
        advective = (
            f"{most:.3g} / max(|u|/dx + |v|/dy)",
            most / crossing if crossing else math.inf,
        )
    limits = {
        "diffusive": (
            f"{real:.3g} / (nu (1/dx^2 + 1/dy^2))" if most else "1 / (2 nu (1/dx^2 + 1/dy^2))",
            real / (nu * spacings) if nu else math.inf,
        ),
        "advective": advective,
    }
    broken = [
        f"the {name} limit {formula} = {limit:.6g}"
        for name, (formula, limit) in limits.items()
        # a dt that was computed as the limit may be a rounding above it
        if dt > limit * (1 + 1e-12)
        # a step that follows the speed keeps to this limit by itself
        and not (name == "advective" and config.time.cfl and nu)
    ]
    if broken:
        message = (
            f"time.dt = {dt:.6g} is unstable: it exceeds {' and '.join(broken)} "
            f"(nu = {nu:.6g}, dx = {grid.dx:.6g}, dy = {grid.dy:.6g}, "
            f"largest speed {speed:.6g}); "
            "-s time.allow_unstable=true goes on all the same"
        )
        raise agreed_error(NumericalError(message))
