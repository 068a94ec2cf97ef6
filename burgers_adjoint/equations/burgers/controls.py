"""Controls: what a gradient can be taken with respect to, by name."""

import numpy as np

# (2, ny, nx) fields at step 0; those of them at the points that keep their values; nu [length^2/
# time]; what is added to nu, (ny, nx); forcing, (2, ny, nx) [length/time^2]; forcing at the knots,
# (n_knots, 2, ny, nx).
CONTROLS = ("initial", "boundary", "viscosity", "viscosity_field", "forcing", "forcing_in_time")
# Those that only `StagedModel` knows.
FIELD_CONTROLS = CONTROLS[3:]


def tiles_of(control: str, part: np.ndarray) -> dict[str, np.ndarray]:
    """Tiles (ny, nx) of a control, or of its gradient, by the path of their dataset in a file."""
    if part.ndim == 2:
        return {control: part}
    if part.ndim == 3:
        return {f"{control}/{name}": part[f] for f, name in enumerate("uv")}
    return {
        path: tile
        for knot, fields in enumerate(part)
        for path, tile in tiles_of(f"{control}/{knot:04d}", fields).items()
    }
