"""A case: the model, its initial fields, controls and objective, as a configuration has them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from burgers_adjoint.assembly.fingerprints import fingerprints
from burgers_adjoint.assembly.model import initial_fields, recipe_of, require_tiles
from burgers_adjoint.assembly.objective import Setting, build_objective
from burgers_adjoint.assembly.own_objective import OwnObjective
from burgers_adjoint.assembly.prior import Prior
from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.controls import Control, Inputs, split
from burgers_adjoint.equations.burgers.objectives.objective import Objective
from burgers_adjoint.equations.burgers.stability import StepLimits
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.observing.observations import Observations
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import digest
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.stepper import Value
from burgers_adjoint.stepping.time_steps import TimeSteps


@dataclass(frozen=True)
class Case:
    """What a configuration describes, on a tile; all methods are collective.

    Attributes:
        config: what is computed.
        comm: the ranks that share the grid.
        grid, decomposition: the points, and who owns which of them.
        setting: what terms of the objective and observations are made for.
        model: takes the steps.
        objective: J without a background term.
        all_controls: all kinds of controls, by name.
        controls: those that the gradient is taken to.
        inputs: the values of these.
        prior: the background term of J, if there is one.
        files: fingerprints of what was read, by the keys that name the files.
        own: an objective of the user's own, which belongs to these tiles.
    """

    config: Config
    comm: Comm
    grid: Grid
    decomposition: Decomposition
    setting: Setting
    model: Model
    objective: Objective
    all_controls: dict[str, Control]
    controls: dict[str, Control]
    inputs: Inputs
    prior: Prior
    files: dict[str, str]
    own: OwnObjective | None

    def close(self) -> None:
        """Release what the model and the background term hold."""
        self.model.close()
        self.prior.close()

    @property
    def fields(self) -> np.ndarray:
        """Initial (u, v), (2, ny, nx) of the tile."""
        return self.inputs.fields

    @property
    def n_steps(self) -> int:
        """Steps of the run.

        Raises:
            ConfigError: on all ranks: nobody knows before the run.
        """
        if self.model.n_steps is None:
            raise agreed_error(ConfigError("the number of steps is not known before the run"))
        return self.model.n_steps

    def digest(self, final: np.ndarray, gradient: dict[str, Value]) -> str:
        """Fingerprint of the bits of a final state and a gradient, alike for all rank counts."""
        tiles, numbers = split("gradient", self.controls, gradient)
        return digest(self.decomposition, [*final, *tiles.values()], list(numbers.values()))


def assemble(
    config: Config,
    comm: Comm,
    process_grid: tuple[int, int] | None,
    observe_truth: Callable[[tuple[int, int]], Observations],
    own: OwnObjective | None = None,
) -> Case:
    """Make the case of a configuration. Collective.

    Args:
        config: what to compute.
        comm: the ranks that share the grid.
        process_grid: (py, px), in place of the configured one.
        observe_truth: makes the observations of a twin experiment on so many ranks (py, px).
        own: in place of the configured objective.

    Raises:
        ConfigError: on all ranks: the ranks do not fit the grid, or a file the problem.
        NumericalError: on all ranks: the time step is unstable.
    """
    periodic, time = config.grid.boundary == "periodic", config.time
    grid = Grid(config.grid.nx, config.grid.ny, config.grid.x, config.grid.y, periodic)
    process_grid = process_grid or config.parallel.process_grid or (0, 0)
    try:
        decomposition = Decomposition(comm, grid.shape, periodic, process_grid)
    except ConfigError as error:
        raise agreed_error(error) from None
    fields = initial_fields(config, grid, decomposition)
    recipe = recipe_of(config, comm)
    limits = recipe.limits(grid)
    require_stable(config, limits, decomposition, fields, config.physics.viscosity)
    require_tiles(config, decomposition)
    time_steps = TimeSteps(time.dt, time.steps, time.until, time.cfl, time.steady)
    with ExitStack() as undone:
        stepper = recipe.stepper(grid, decomposition, time_steps)
        undone.callback(stepper.close)
        setting = Setting(config, grid, decomposition, stepper.layout, time_steps, observe_truth)
        objective = build_objective(setting, own)
        undone.callback(objective.close)
        model = recipe.compose(grid, decomposition, time_steps, stepper, objective)
        every = recipe.all_controls(decomposition, stepper)
        controls = {name: one for name, one in every.items() if name in recipe.controls}
        inputs = Inputs(every, fields, model)
        files = fingerprints(config, comm)
        prior = Prior(config, grid, decomposition, model.layout, controls, inputs, objective)
        undone.pop_all()
    return Case(
        config, comm, grid, decomposition, setting, model, objective, every, controls, inputs,
        prior, files, own,
    )  # fmt: skip


def require_stable(
    config: Config,
    limits: StepLimits,
    decomposition: Decomposition,
    fields: np.ndarray,
    viscosity: float,
) -> None:
    """See that the steps are small enough, unless any are allowed. Collective.

    Args:
        config: says how long they are.
        limits: of their length.
        decomposition: whose tiles the fields are.
        fields: initial (u, v), (2, ny, nx) of the tile.
        viscosity: where it is highest [length^2/time].

    Raises:
        NumericalError: on all ranks: they are not.
    """
    time = config.time
    if not time.allow_unstable:
        follows = time.cfl is not None
        limits.require_stable(decomposition, fields, viscosity, time.dt, follows)
