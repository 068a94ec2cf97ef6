"""The operator-split example on a small grid, with fields that are everywhere different."""

from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import digest, random_field
from tests.examples import load_example

N_STEPS = 5
CHOICES = {
    "nothing": (),
    "parts": ("step/react", "step/transport/advect", "step/transport/diffuse/block/substep"),
    "wholes": ("step/transport", "step/transport/diffuse", "step/transport/diffuse/block"),
    "all": (
        "step/react", "step/transport", "step/transport/advect", "step/transport/diffuse",
        "step/transport/diffuse/block", "step/transport/diffuse/block/substep", "step/react_again",
    ),
}  # fmt: skip


SPLIT = load_example("operator_split")


def split(comm: MPI.Comm, choice: str = "nothing") -> Any:
    """A model of 19 x 14 points with six sub-steps in three blocks."""
    grid = Grid(19, 14, (0.0, 1.9), (0.3, 2.1), periodic=True)
    return SPLIT.Split(grid, comm, dt=0.03, nu=0.12, recorded=CHOICES[choice])


def start(model: Any) -> np.ndarray:
    """Fields of the tile, the same at a point whoever owns it."""
    return 0.6 * random_field(model.tile.tile, 5, 2) + np.array([0.2, -0.1])[:, None, None]


def bits(model: Any, schedule: Schedule, store: Any = None) -> str:
    gradient = SPLIT.gradient_of(model, schedule, model.state(start(model)), store)
    return digest(model.tile.tile, [*model.final, *gradient], [model.value])
