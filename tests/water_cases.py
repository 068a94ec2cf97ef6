"""The shallow water example on a small grid, with a state that has currents everywhere."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.composition import model_of
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import random_field
from burgers_adjoint.stepping.model import Model
from tests.examples import FOLDER, load_example

EXAMPLE = FOLDER / "shallow_water.py"
CASES = list(product(("euler", "ssprk3", "rk4"), (False, True)))
N_STEPS, DT = 9, 0.004


def case_name(case: Any) -> str:
    return f"{case[0]}-{'closed' if case[1] else 'periodic'}"


WATER = load_example("shallow_water")


def water(case: tuple[str, bool], comm: MPI.Comm, equation: Any = None, **options: Any) -> Model:
    """A model of 19 x 14 cells."""
    integrator, closed = case
    grid = Grid(19, 14, (0.0, 1.9), (0.3, 2.1), periodic=not closed)
    equation = equation or WATER.ShallowWater
    return model_of(equation, grid, comm, integrator, DT, N_STEPS, WATER.energy, **options)


def open_faces(model: Model) -> np.ndarray:
    """1 where h, u and v of the tile move, 0 on land and at shores, (3, ny, nx)."""
    tile, ny, nx = model.decomposition, *model.grid.shape
    found = np.ones((3, ny, nx))
    if not model.grid.periodic:
        found[:] = 0.0
        found[0, 1:-1, 1:-1] = found[1, 1:-1, 1:-2] = found[2, 1:-2, 1:-1] = 1.0
    return found[:, tile.rows, tile.columns]


def start(model: Model) -> np.ndarray:
    """Depths and currents, the same at a point whoever owns it; none through shores."""
    fields = np.array([0.1, 0.3, 0.2])[:, None, None] * random_field(model.decomposition, 5, 3)
    return np.array([1.0, 0.0, 0.0])[:, None, None] + fields * open_faces(model)


def run_engine(model: Model, n_steps: int = 4) -> Iterator[np.ndarray]:
    """States of single steps, a cotangent and its density, a perturbation: the tile's points."""
    engine, own = model.stepper, model.layout.interior
    states = [model.state_of(start(model)), *(model.new_state() for _ in range(n_steps))]
    for n in range(n_steps):
        engine.advance(states[n], states[n + 1], n, n + 1)
    yield from map(own, states)
    cotangent = engine.new_cotangent()
    own(cotangent.field)[...] = random_field(model.decomposition, 6, 3)
    engine.adjoint(cotangent, states[-2::-1], n_steps - 1)
    yield own(cotangent.field)
    yield own(cotangent.densities["friction"])
    perturbation = model.state_of(random_field(model.decomposition, 7, 3))
    for n in range(n_steps):
        perturbation = engine.tangent(perturbation, states[n], {"friction": 0.7}, n)
    yield own(perturbation)


def tangent_gap(model: Model) -> float:
    """Difference of the two sides of the dot product, over what is added up in them."""
    *_, cotangent, density, perturbation = run_engine(model)
    tile = model.decomposition
    left = random_field(tile, 6, 3) * perturbation
    right = [*(cotangent * random_field(tile, 7, 3)).ravel(), *(0.7 * density).ravel()]
    terms = [*left.ravel(), *(-one for one in right)]
    return abs(math.fsum(terms)) / math.fsum(map(abs, terms))
