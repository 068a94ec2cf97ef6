"""Steps, adjoint steps and gradients of each program: integrator, advection scheme and fields."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mpi4py import MPI

from benchmarks.cases import DT, VISCOSITY, fields_of, grid_of
from benchmarks.measure import Clock, interleave, table
from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.equations.burgers.controls import Traits
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.time_steps import TimeSteps

KNOTS = (0.0, 0.01, 0.03)


@dataclass(frozen=True)
class Program:
    """What is stepped: names of the method's halves, and of the fields that steps depend on."""

    integrator: str
    advection: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [name.replace("_", " ") for name in self.fields]
        return ", ".join([self.integrator, self.advection, *words])

    def model(self, n: int) -> Model:
        """A model of n x n points on this process alone."""
        grid = grid_of(n, n)
        decomposition = Decomposition(MPI.COMM_SELF, grid.shape, grid.periodic)
        recipe = Recipe(
            ("initial", *self.fields), VISCOSITY, self.integrator, self.advection,
            traits=Traits(knots=KNOTS),
        )  # fmt: skip
        model = recipe.model(grid, decomposition, TimeSteps(DT))
        random = np.random.default_rng(1)
        leading = {"viscosity_field": (), "forcing": (2,), "forcing_in_time": (len(KNOTS), 2)}
        for name in self.fields:
            scale = 0.1 * VISCOSITY if name == "viscosity_field" else 1.0
            model.set_value(name, scale * random.uniform(size=(*leading[name], *grid.shape)))
        return model


PROGRAMS = (
    Program("euler", "central"),
    Program("euler", "upwind"),
    Program("ssprk3", "central"),
    Program("rk4", "central"),
    Program("rk4", "upwind"),
    Program("euler", "central", ("viscosity_field", "forcing")),
    Program("rk4", "central", ("forcing_in_time",)),
)
COLUMNS = ("primal", "all kept", "adjoint")


def measure_programs(n: int, rounds: int, least_seconds: float, clock: Clock) -> dict[str, Any]:
    """Seconds per step of all programs on a tile, timed in turn."""
    competitors: dict[str, Callable[[], object]] = {}
    steps: dict[str, int] = {}
    for program in PROGRAMS:
        model = program.model(n)
        fields = fields_of(model.grid, model.decomposition)
        n_states = 4
        states = [model.initial_state(fields) for _ in range(n_states + 1)]
        state, cotangent = model.initial_state(fields), model.new_cotangent()
        n_steps = model.steps_per_sweep * max(1, 8 // model.steps_per_sweep)

        stepper = model.stepper
        calls = (
            ("primal", partial(stepper.advance, state, state, 0, n_steps), n_steps),
            ("all kept", partial(stepper.advance_along, states, 0), n_states),
            (
                "adjoint",
                partial(stepper.adjoint, cotangent, states[-2::-1], n_states - 1),
                n_states,
            ),
        )
        for column, call, taken in calls:
            competitors[f"{program}: {column}"] = call
            steps[f"{program}: {column}"] = taken
    samples = interleave(competitors, rounds, least_seconds, clock)
    return {
        "tile": n,
        "seconds": {name: samples.median(name) / steps[name] for name in competitors},
        "spread": {name: samples.spread(name) for name in competitors},
    }


def report_programs(results: list[dict[str, Any]]) -> None:
    """Print nanoseconds per point and step."""
    rows: list[list[object]] = []
    for program in PROGRAMS:
        for result in results:
            seconds = [result["seconds"][f"{program}: {column}"] for column in COLUMNS]
            points = 1e9 / result["tile"] ** 2
            cells = [f"{one * points:.2f}" for one in (*seconds, seconds[1] + seconds[2])]
            rows.append([str(program), f"{result['tile']}²", *cells, f"{1 / seconds[0]:.0f}"])
    print("\nall programs, nanoseconds per point and step; gradient: all states kept")
    print(table(["program", "tile", *COLUMNS, "gradient", "steps/s"], rows))
