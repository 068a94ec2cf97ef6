"""A model of an equation of your own, without a configuration: stepped, reversed, with a gradient.

J is a function of the final state; the gradient is that by the initial state and by the equation's
parameters.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.config.registry import INTEGRATORS
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import (
    N_BINS,
    add_to_bins,
    digest,
    exact_sum,
    norm,
    rounded_sums,
)
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.equation_base import EquationBase
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.parts import Parts, PullBack
from burgers_adjoint.stepping.stepper import Cotangent, Value
from burgers_adjoint.stepping.tableaux import Tableau
from burgers_adjoint.stepping.time_steps import TimeSteps

OfFields = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class FinalSum:
    """J = the sum over all points of a function of the fields at the end.

    Args:
        comm: the ranks that share the grid.
        layout: of the states.
        function: of the fields (n_fields, ny, nx) of a tile: returns its values (ny, nx), and its
            derivatives by the fields (n_fields, ny, nx).
    """

    def __init__(self, comm: Any, layout: Layout, function: OfFields) -> None:
        self._comm, self._layout, self._function = comm, layout, function

    def new_bins(self) -> np.ndarray:
        return np.zeros((1, N_BINS + 1), dtype=np.int64)

    def looks_at(self, n: int, last: bool) -> bool:
        return last

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        if last:
            with np.errstate(over="ignore", invalid="ignore"):  # the sum says so, on all ranks
                values, _ = self._function(np.asarray(self._layout.interior(state)))
            add_to_bins(values, bins[0])

    def add_derivative(self, state: np.ndarray, n: int, last: bool, out: np.ndarray) -> None:
        if last:
            _, derivatives = self._function(np.asarray(self._layout.interior(state)))
            self._layout.interior(out)[...] += derivatives

    def value(self, bins: np.ndarray) -> float:
        return rounded_sums(self._comm, bins)[0]

    def close(self) -> None:
        pass


class InitialState:
    """The initial state as what a gradient is taken to: (n_fields, ny, nx) of the tile."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def pull_back(self, cotangent: Cotangent) -> np.ndarray:
        return np.array(self._layout.interior(cotangent.field))


class Parameter:
    """A parameter of the equation as what a gradient is taken to: a number. Collective."""

    def __init__(self, name: str, comm: Any, layout: Layout) -> None:
        self._name, self._comm, self._layout = name, comm, layout

    def pull_back(self, cotangent: Cotangent) -> float:
        return exact_sum(self._comm, self._layout.interior(cotangent.densities[self._name]))


def model_of(
    new_equation: Callable[[Grid], EquationBase],
    grid: Grid,
    comm: Any,
    integrator: str,
    dt: float,
    n_steps: int,
    function: OfFields,
    **options: Any,
) -> Model:
    """A model of an equation, with the gradient by "initial" and each parameter. Collective.

    Args:
        new_equation: makes the equation for a grid.
        grid: the points, shared by the ranks of `comm`.
        comm: an MPI communicator.
        integrator: a name of `config.registry.INTEGRATORS`.
        dt, n_steps: length of the steps, and how many the run has.
        function: whose sum J is; see `FinalSum`.
        options: further arguments of the `Engine`.

    Raises:
        ConfigError: there is no such integrator, or the tiles are too small for the equation; every
            rank finds the same.
    """
    tableau: Tableau = INTEGRATORS[integrator]

    def compose(grid: Grid, decomposition: Decomposition, time_steps: TimeSteps) -> Model:
        equation = new_equation(grid)
        wanted = tuple(equation.varied)
        engine = Engine(equation, tableau, decomposition, time_steps, wanted, **options)
        layout = engine.layout
        controls: dict[str, PullBack] = {"initial": InitialState(layout)}
        controls |= {name: Parameter(name, decomposition.comm, layout) for name in wanted}
        objective = FinalSum(decomposition.comm, layout, function)
        parts = Parts(
            grid, decomposition, time_steps, engine, None, objective, controls, equation.fields
        )
        like = partial(compose, time_steps=TimeSteps(0.0))
        return Model(parts, dict(equation.parameters), like)

    return compose(grid, Decomposition(comm, grid.shape, grid.periodic), TimeSteps(dt, n_steps))


def coordinates(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """x (nx,) and y (ny, 1) of the tile's points."""
    grid, tile = model.grid, model.decomposition
    return grid.x[tile.columns], grid.y[tile.rows, None]


def gradient_of(
    model: Model, schedule: Schedule, fields: np.ndarray, store: SnapshotStore[Any] | None = None
) -> dict[str, Value]:
    """The gradient of J by name; `model.value` is J, `model.final` the final state. Collective.

    Args:
        model: of a run of as many steps as the schedule has.
        schedule: when snapshots are taken, at its start.
        fields: the initial state, (n_fields, ny, nx) of the tile.
        store: of the snapshots; memory when not given.
    """
    store = store or MemoryStore(model.new_snapshot, schedule.slots)
    executor = Executor(model, schedule, store)
    executor.run(model.initial_state(fields))
    assert executor.cotangent is not None
    return model.gradient(executor.cotangent)


def print_gradient(model: Model, gradient: Mapping[str, Value]) -> None:
    """Print J, a number or a norm for each part of its gradient, and a digest of all bits.

    Collective; the first rank prints.
    """
    tile = model.decomposition
    values = {"J": model.value}
    fields: list[np.ndarray] = [*model.final]
    for name, part in gradient.items():
        if isinstance(part, np.ndarray):
            values[f"|dJ/d({name})|"] = norm(tile.comm, part)
            fields += [*part]
        else:
            values[f"dJ/d({name})"] = part
    bits = digest(tile, fields, [*values.values()])
    if tile.rank == 0:
        for name, value in values.items():
            print(f"{name:16} {value:.15g}")
        print(f"{'digest':16} {bits}")
