"""Twin experiments: the true case that [truth] describes, and what is observed of it."""

from collections.abc import Mapping

import msgspec
import numpy as np

from burgers_adjoint.assembly.case import Case, assemble, require_stable
from burgers_adjoint.assembly.model import recipe_of
from burgers_adjoint.assembly.own_objective import OwnObjective
from burgers_adjoint.assembly.runs import new_recorder, sweep
from burgers_adjoint.config import Config, Truth
from burgers_adjoint.equations.burgers import initial
from burgers_adjoint.equations.burgers.controls import Control
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.observing.observations import Observations
from burgers_adjoint.parallel.agreement import Comm, largest
from burgers_adjoint.parallel.grid import Grid


def case_of(
    config: Config,
    comm: Comm,
    process_grid: tuple[int, int] | None = None,
    own: OwnObjective | None = None,
) -> Case:
    """The case of a configuration, with the observations of its twin experiment. Collective.

    Args:
        config: what to compute.
        comm: the ranks that share the grid.
        process_grid: (py, px), in place of the configured one.
        own: in place of the configured objective.

    Raises:
        ConfigError: on all ranks: the ranks do not fit the grid, or a file the problem.
        NumericalError: on all ranks: the time step is unstable.
    """

    def observe_truth(process_grid: tuple[int, int]) -> Observations:
        truth = true_case(config, comm, process_grid)
        try:
            recorder = new_recorder(truth)
            sweep(truth, recorder=recorder)
        finally:
            truth.close()
        return recorder.observations

    return assemble(config, comm, process_grid, observe_truth, own)


def true_case(config: Config, comm: Comm, process_grid: tuple[int, int]) -> Case:
    """The true case of a twin experiment, with the final energy as its objective. Collective.

    Raises:
        BurgersAdjointError: on all ranks; see `case_of`.
    """
    try:
        case = case_of(true_config(config), comm, process_grid)
        try:
            for name, bump in true_bumps(config.truth, case.grid, case.controls).items():
                case.inputs.set(name, bump)
            limits = recipe_of(case.config, case.comm).limits(case.grid)
            viscosity = highest_viscosity(case)
            require_stable(case.config, limits, case.decomposition, case.fields, viscosity)
        except BurgersAdjointError:
            case.close()
            raise
    except BurgersAdjointError as error:
        error.args = (f"the truth of the twin experiment: {error}",)
        raise
    return case


def highest_viscosity(case: Case) -> float:
    """Nu where it is highest [length^2/time]. Collective."""
    values = case.model.values
    nu = np.asarray(values["viscosity"]) + values.get("viscosity_field", 0.0)
    return float(largest(case.comm, nu.max()))


def true_config(config: Config) -> Config:
    """Describe the true problem, with the final energy as its objective and no background."""
    section, replace = config.truth, msgspec.structs.replace
    same = {key: getattr(section, key) for key in config.initial.__struct_fields__}
    return replace(
        config,
        initial=replace(config.initial, **same),
        physics=replace(config.physics, viscosity=section.viscosity),
        objective=type(config.objective)(),
        truth=type(section)(),
        background=type(config.background)(),
    )


def true_bumps(
    section: Truth, grid: Grid, controls: Mapping[str, Control]
) -> dict[str, np.ndarray]:
    """Shape the true values of the controls that are fields besides the initial one.

    Args:
        section: where the bumps are, how wide and how high.
        grid: where the points are.
        controls: of the true problem.

    Returns:
        Those that steps depend on: (ny, nx) of the tile for the viscosity field, (2, ny, nx) for
        the forcing, (n_knots, 2, ny, nx) for the forcing in time.
    """
    bumps: dict[str, np.ndarray] = {}
    for name, control in controls.items():
        if not control.of_steps or not control.shape:
            continue
        shape = initial.gaussian(
            grid, control.decomposition, section.bump_center, section.bump_width, (1.0, 1.0)
        )
        if name == "viscosity_field":
            bumps[name] = section.viscosity_bump * shape[0]
            continue
        bump = np.array(section.forcing_bump)[:, None, None] * shape
        if name == "forcing_in_time":
            # rising from knot to knot
            knots = control.shape[0]
            shares = np.arange(1, knots + 1) / knots
            bump = shares[:, None, None, None] * bump
        bumps[name] = bump
    return bumps
