"""What the observations of a twin experiment are made from: the truth that [truth] describes."""

from collections.abc import Mapping

import msgspec
import numpy as np

from burgers_adjoint.config import Config, Truth
from burgers_adjoint.equations.burgers import initial
from burgers_adjoint.parallel.decomposition import Decomposition
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
    section: Truth, grid: Grid, decomposition: Decomposition, fields: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Shape the true values of the controls that are fields besides the initial one.

    Args:
        section: where the bumps are, how wide and how high.
        grid: where the points are.
        decomposition: which of them are this rank's.
        fields: an array of each of these controls, for its number of knots.

    Returns:
        The same controls: (ny, nx) of the tile for the viscosity field, (2, ny, nx) for the
        forcing, (n_knots, 2, ny, nx) for the forcing in time.
    """
    shape = initial.gaussian(
        grid, decomposition, section.bump_center, section.bump_width, (1.0, 1.0)
    )
    bumps = {}
    for name, zeros in fields.items():
        if name == "viscosity_field":
            bumps[name] = section.viscosity_bump * shape[0]
            continue
        bump = np.array(section.forcing_bump)[:, None, None] * shape
        if name == "forcing_in_time":
            # rising from knot to knot
            shares = np.arange(1, len(zeros) + 1) / len(zeros)
            bump = shares[:, None, None, None] * bump
        bumps[name] = bump
    return bumps
