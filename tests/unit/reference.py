"""What the compiled code has to compute, written in plain NumPy as in a textbook.

Works on complex fields as well, so that complex steps give derivatives without cancellation.
"""

from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.time_steps import TimeSteps


def rates(fields: np.ndarray, viscosity: Any, grid: Grid) -> np.ndarray:
    """du/dt and dv/dt, (2, ny, nx); zero on the boundary of a grid that is not periodic."""
    points = np.pad(fields, ((0, 0), (1, 1), (1, 1)), mode="wrap" if grid.periodic else "edge")
    here = points[:, 1:-1, 1:-1]
    west, east = points[:, 1:-1, :-2], points[:, 1:-1, 2:]
    south, north = points[:, :-2, 1:-1], points[:, 2:, 1:-1]
    u, v = here
    advection = u * (east - west) / (2 * grid.dx) + v * (north - south) / (2 * grid.dy)
    diffusion = (east - 2 * here + west) / grid.dx**2 + (north - 2 * here + south) / grid.dy**2
    result = viscosity * diffusion - advection
    if not grid.periodic:
        result[:, [0, -1], :] = 0
        result[:, :, [0, -1]] = 0
    return result


def euler_step(fields: np.ndarray, viscosity: Any, dt: float, grid: Grid) -> np.ndarray:
    return fields + dt * rates(fields, viscosity, grid)


def final_energy(fields: np.ndarray, grid: Grid) -> Any:
    counted = fields if grid.periodic else fields[:, 1:-1, 1:-1]
    return (counted**2).sum() / (grid.nx * grid.ny)


def oblong_grid(nx: int, ny: int, periodic: bool) -> Grid:
    """A grid whose dx and dy differ."""
    return Grid(nx, ny, (-1.0, 0.25 * nx - 1.0), (0.5, 0.4 * ny + 0.5), periodic)


def model_on(
    grid: Grid, viscosity: float = 0.02, dt: float = 0.03, steps_per_exchange: int | None = None
) -> Model:
    """A model of the whole grid in this process."""
    whole = Decomposition(MPI.COMM_SELF, grid.shape, grid.periodic)
    recipe = Recipe(viscosity=viscosity, steps_per_exchange=steps_per_exchange)
    return recipe.model(grid, whole, TimeSteps(dt))


def random_fields(grid: Grid, seed: int) -> np.ndarray:
    """Fields (2, ny, nx) with nothing smooth or symmetric about them."""
    return np.random.default_rng(seed).normal(size=(2, *grid.shape))
