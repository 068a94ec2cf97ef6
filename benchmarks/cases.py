"""The problem that benchmarks solve: the published spacing, step and viscosity on any grid."""

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.equations.burgers.initial import gaussian
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.time_steps import TimeSteps

SPACING = 0.1
VISCOSITY = 0.01
DT = 1e-3


def grid_of(nx: int, ny: int) -> Grid:
    """A grid with a kept boundary, whose points lie as far apart as the published problem's."""
    return Grid(nx, ny, (0.0, SPACING * (nx - 1)), (0.0, SPACING * (ny - 1)), periodic=False)


def model_on(
    grid: Grid,
    controls: Sequence[str] = ("initial",),
    steps_per_sweep: int | None = None,
    comm: MPI.Comm = MPI.COMM_SELF,
) -> Model:
    """A model of the grid on the ranks of comm, on this process alone unless told otherwise."""
    decomposition = Decomposition(comm, grid.shape, grid.periodic)
    recipe = Recipe(tuple(controls), VISCOSITY, steps_per_exchange=steps_per_sweep)
    return recipe.model(grid, decomposition, TimeSteps(DT))


def fields_of(grid: Grid, decomposition: Decomposition) -> np.ndarray:
    """Two bells that differ in u and v, (2, ny, nx) of the tile."""
    (_, x1), (_, y1) = grid.x_range, grid.y_range
    return gaussian(grid, decomposition, (0.45 * x1, 0.55 * y1), (0.17 * x1, 0.15 * y1), (1.0, 0.8))
