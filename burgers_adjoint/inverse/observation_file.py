"""Observations in an HDF5 file.

The layout: `/times` (n_times), `/noise` (a number), and either the fields `/fields/0000/u`,
`/fields/0000/v`, `/fields/0001/u`, ... of shape (ny, nx), one group per time, or the sensors
`/sensors/x`, `/sensors/y` (n_sensors) with `/sensors/u`, `/sensors/v` (n_times, n_sensors). What
is written here has the time beside the fields, too, for other programs.
`/truth` holds the controls that synthetic observations were made with, laid out like `/controls`
of a recovered control file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.equations.burgers.controls import Control, split
from burgers_adjoint.equations.burgers.initial import read_tile
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.files.hdf5 import LEAST, MOST, File, array, opened
from burgers_adjoint.observing.observations import Observations
from burgers_adjoint.output.results import write_results
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.grid import Grid


def read(path: str | Path, decomposition: Decomposition) -> Observations:
    """Read observations, of fields every rank its own part. Collective.

    Raises:
        ConfigError: on all ranks: a dataset is missing, has another shape or holds values that are
            not finite, or the noise is not positive.
    """
    observations = None
    with agreed(decomposition.comm):
        label = f"observations.path = {path}"
        with opened(path, label) as file:
            observations = _read(file, label, decomposition)
    assert observations is not None
    return observations


def _read(file: File, label: str, decomposition: Decomposition) -> Observations:
    times = array(file, "times", (None,), label)
    noise = float(array(file, "noise", (), label))
    if not LEAST <= noise <= MOST:
        raise ConfigError(
            f"{label}: /noise is {noise}, expected a number from {LEAST:g} to {MOST:g}"
        )
    if times.size == 0:
        raise ConfigError(f"{label}: /times is empty")
    if "sensors" in file:
        x = array(file, "sensors/x", (None,), label)
        if x.size == 0:
            raise ConfigError(f"{label}: /sensors/x is empty: expected a sensor at least")
        y = array(file, "sensors/y", x.shape, label)
        values = [array(file, f"sensors/{f}", (times.size, x.size), label) for f in "uv"]
        return Observations(
            times, noise, positions=np.stack([x, y], axis=1), values=np.stack(values, axis=1)
        )
    fields = np.empty((times.size, 2, *decomposition.tile_shape))
    for number in range(times.size):
        for f, name in enumerate("uv"):
            path = f"fields/{number:04d}/{name}"
            fields[number, f] = read_tile(file, path, label, decomposition)
    return Observations(times, noise, fields)


def write(
    path: str | Path,
    observations: Observations,
    grid: Grid,
    decomposition: Decomposition,
    controls: Mapping[str, Control],
    truth: Mapping[str, np.ndarray | float],
    attributes: Mapping[str, Any],
) -> None:
    """Write observations, whole or not at all. Collective.

    Args:
        path: the file; an older one is replaced.
        observations: with the part of this rank.
        grid, decomposition: of the fields.
        controls: those of the run.
        truth: what it was made with, values of some of them.
        attributes: of the root group.

    Raises:
        BurgersAdjointError: on all ranks, when the file cannot be written.
    """
    fields = {
        f"/fields/{number:04d}/{name}": tile[f]
        for number, tile in enumerate(observations.fields)
        for f, name in enumerate("uv")
    }
    others: dict[str, Any] = {"/times": observations.times, "/noise": observations.noise}
    for number, (time, _) in enumerate(zip(observations.times, observations.fields, strict=False)):
        others[f"/fields/{number:04d}/time"] = time
    if len(observations.positions):
        others |= {"/sensors/x": observations.positions[:, 0]}
        others |= {"/sensors/y": observations.positions[:, 1]}
        others |= {f"/sensors/{name}": observations.values[:, f] for f, name in enumerate("uv")}
    true_fields, numbers = split("truth", controls, truth)
    fields |= true_fields
    others |= numbers
    write_results(path, decomposition, grid.x, grid.y, fields, others, attributes)
