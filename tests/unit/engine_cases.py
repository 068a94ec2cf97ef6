"""Engines of all programs, and data for them."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.equations.burgers.controls import Traits
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.stepper import Cotangent
from burgers_adjoint.stepping.time_steps import TimeSteps

KNOTS = (0.0, 0.02, 0.09)
FIELDS = ("viscosity_field", "forcing", "forcing_in_time")
INTEGRATORS, SCHEMES = ("euler", "ssprk3", "rk4"), ("central", "upwind")
PROGRAMS = list(product(INTEGRATORS, SCHEMES, (False, True), ((), FIELDS)))


def program_name(case: Any) -> str:
    integrator, scheme, periodic, fields = case
    names = (integrator, scheme, "periodic" if periodic else "dirichlet", *fields[:1])
    return "-".join(names)


def grid_of(periodic: bool, nx: int = 19, ny: int = 13) -> Grid:
    return Grid(nx, ny, (0.0, 0.1 * nx), (0.0, 0.13 * ny), periodic)


class Case:
    """An engine of one program on a tile of a grid, with values of all that it depends on."""

    def __init__(self, case: Any, comm: MPI.Comm, grid: Grid | None = None, **options: Any) -> None:
        integrator, scheme, periodic, fields = case
        self.grid = grid or grid_of(periodic)
        self.decomposition = Decomposition(comm, self.grid.shape, periodic)
        self.controls = ("initial", "viscosity", *fields)
        self.fields = fields
        recipe = Recipe(
            self.controls, 0.02, integrator, scheme, 0.3, Traits(knots=KNOTS),
            steps_per_exchange=options.pop("steps_per_exchange", None),
        )  # fmt: skip
        self.equation = recipe.equation(self.grid)
        self.time_steps = TimeSteps(0.011, 99)
        self.recipe = recipe
        self.engine = Engine(
            self.equation, recipe.tableau, self.decomposition, self.time_steps, recipe.wanted,
            recipe.steps_per_exchange, **options,
        )  # fmt: skip
        for name, value in self.values(1).items():
            self.engine.set_control(name, value)

    def random(self, seed: int, *leading: int) -> np.ndarray:
        """Normal numbers (*leading, ny, nx) of the tile, the same points on any tiles."""
        whole = np.random.default_rng(seed).normal(size=(*leading, *self.grid.shape))
        return whole[..., self.decomposition.rows, self.decomposition.columns].copy()

    def values(self, seed: int) -> dict[str, Any]:
        found: dict[str, Any] = {"viscosity": 0.02 + 0.001 * seed}
        shapes = {"viscosity_field": (), "forcing": (2,), "forcing_in_time": (len(KNOTS), 2)}
        for number, name in enumerate(self.fields):
            scale = 1e-3 if name == "viscosity_field" else 1.0
            found[name] = scale * self.random(100 * seed + number, *shapes[name])
        return found

    def array(self, fields: np.ndarray | None = None) -> np.ndarray:
        new = self.engine.data.new_array(2)
        if fields is not None:
            self.engine.layout.interior(new)[...] = fields
        return new

    def own(self, array: np.ndarray) -> np.ndarray:
        return np.array(self.engine.layout.interior(array))

    def run(self, n_steps: int, singly: bool = False) -> Iterator[np.ndarray]:
        """All that steps give: states, the cotangent and its densities, a perturbation."""
        engine = self.engine
        states = [self.array(0.5 * self.random(7, 2))]
        states += [self.array() for _ in range(n_steps)]
        if singly:
            for n in range(n_steps):
                engine.advance(states[n], states[n + 1], n, n + 1)
        else:
            engine.advance_along(states, 0)
        yield from map(self.own, states)
        moved = self.array(self.own(states[0]))
        engine.advance(moved, moved, 0, n_steps)
        yield self.own(moved)
        cotangent = engine.new_cotangent()
        engine.layout.interior(cotangent.field)[...] = self.random(8, 2)
        parts = [[state] for state in states[:-1]] if singly else [states[:-1]]
        n = n_steps - 1
        for part in reversed(parts):
            engine.adjoint(cotangent, part[::-1], n)
            n -= len(part)
        yield from self.of(cotangent)
        perturbation = self.array(self.random(9, 2))
        for n in range(n_steps):
            perturbation = engine.tangent(perturbation, states[n], self.values(3), n)
        yield self.own(perturbation)

    def of(self, cotangent: Cotangent) -> Iterator[np.ndarray]:
        yield self.own(cotangent.field)
        for density in cotangent.densities.values():
            yield self.own(density.reshape(-1, *density.shape[-2:]))
