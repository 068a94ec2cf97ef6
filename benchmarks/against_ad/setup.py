"""Problems whose gradients are compared, and the files by which both sides have the same bits.

Imported by both processes: nothing but NumPy and the standard library.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np

INTEGRATORS = ("euler", "ssprk3", "rk4")
ADVECTIONS = ("central", "upwind")
BOUNDARIES = ("dirichlet", "periodic")
OBJECTIVES = (
    "final_energy",
    "running_energy",
    "running_enstrophy",
    "misfit of fields",
    "misfit of sensors",
)
OF_THE_STATE = ("initial", "boundary", "viscosity")
OF_FIELDS = ("viscosity_field", "forcing", "forcing_in_time")


@dataclass(frozen=True)
class Setup:
    """A small problem: u != v, nx != ny, dx != dy, knots within the run.

    Attributes:
        controls: what the gradient is taken with respect to.
        x, y: ends of the domain [length].
        knots: times of the forcing in time [time].
        observed: numbers of the steps after which the misfits look.
        noise: standard deviation of observations [length/time].
    """

    integrator: str
    advection: str
    boundary: str
    controls: tuple[str, ...]
    nx: int = 17
    ny: int = 13
    x: tuple[float, float] = (-1.0, 1.5)
    y: tuple[float, float] = (0.2, 1.7)
    n_steps: int = 12
    dt: float = 0.01
    viscosity: float = 0.02
    smooth_speed: float = 0.05
    knots: tuple[float, ...] = (0.0243, 0.0615, 0.1052)
    observed: tuple[int, ...] = (0, 5, 12)
    noise: float = 0.1

    @property
    def name(self) -> str:
        """A folder's name."""
        kind = "fields" if set(OF_FIELDS) & set(self.controls) else "state"
        return f"{self.integrator}-{self.advection}-{self.boundary}-{kind}"

    @property
    def periodic(self) -> bool:
        """Whether opposite edges are identified."""
        return self.boundary == "periodic"

    @property
    def spacing(self) -> tuple[float, float]:
        """(dx, dy) [length]."""
        cells = (self.nx, self.ny) if self.periodic else (self.nx - 1, self.ny - 1)
        return (self.x[1] - self.x[0]) / cells[0], (self.y[1] - self.y[0]) / cells[1]


def setups(integrators: tuple[str, ...] = INTEGRATORS) -> Iterator[Setup]:
    """Each integrator, advection scheme and boundary, with all controls.

    Those of the state alone come once more by themselves: a solver may have a path of their own.
    """
    for integrator, advection, boundary in product(integrators, ADVECTIONS, BOUNDARIES):
        state = tuple(c for c in OF_THE_STATE if (c, boundary) != ("boundary", "periodic"))
        yield Setup(integrator, advection, boundary, state)
        yield Setup(integrator, advection, boundary, state + OF_FIELDS)


def arrays_of(setup: Setup, seed: int = 7) -> dict[str, np.ndarray]:
    """Values of all controls that are fields, observations of both kinds, and a direction."""
    random = np.random.default_rng(seed)
    shape = setup.ny, setup.nx
    n_times, n_sensors = len(setup.observed), 6
    found = {
        "initial": random.uniform(-1.0, 1.0, (2, *shape)) * np.array([1.0, 0.7])[:, None, None],
        "viscosity_field": random.uniform(0.0, 0.01, shape),
        "forcing": random.uniform(-1.0, 1.0, (2, *shape)),
        "forcing_in_time": random.uniform(-1.0, 1.0, (len(setup.knots), 2, *shape)),
        "fields": random.uniform(-1.0, 1.0, (n_times, 2, *shape)),
        "sensors": random.uniform(-1.0, 1.0, (n_times, 2, n_sensors)),
        "positions": np.stack(
            [random.uniform(*ends, n_sensors) for ends in (setup.x, setup.y)], axis=1
        ),
    }
    # along which the gradient is differentiated once more
    for name in (*OF_THE_STATE, *OF_FIELDS):
        like = {"viscosity": np.float64(0.0), "boundary": found["initial"], **found}[name]
        values = random.uniform(-1.0, 1.0, like.shape)
        found[f"along {name}"] = np.asarray(0.01 * values if "viscosity" in name else values)
    return found


def save(folder: Path, setup: Setup, arrays: dict[str, np.ndarray]) -> None:
    """Write a problem to a new folder."""
    folder.mkdir(parents=True)
    (folder / "setup.json").write_text(json.dumps(asdict(setup)), encoding="utf-8")
    np.savez(folder / "arrays.npz", **arrays)


def load(folder: Path) -> tuple[Setup, dict[str, np.ndarray]]:
    """Read what `save` has written."""
    numbers = json.loads((folder / "setup.json").read_text(encoding="utf-8"))
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in numbers.items()}
    with np.load(folder / "arrays.npz") as file:
        return Setup(**cast(Any, values)), dict(file)
