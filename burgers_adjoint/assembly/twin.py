"""What the observations of a twin experiment are made from: the truth that [truth] describes."""

from collections.abc import Mapping

import msgspec
import numpy as np

from burgers_adjoint.config import Config, Truth
from burgers_adjoint.equations.burgers import initial
from burgers_adjoint.equations.burgers.controls import Control
from burgers_adjoint.parallel.grid import Grid


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
