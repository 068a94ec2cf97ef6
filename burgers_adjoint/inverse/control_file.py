"""Controls in an HDF5 file: a group with a dataset (ny, nx) per field and a number per scalar."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.equations.burgers.controls import Control, split
from burgers_adjoint.equations.burgers.initial import read_tile
from burgers_adjoint.files.hdf5 import array, opened
from burgers_adjoint.inverse.vector import Values
from burgers_adjoint.output.results import write_results
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.grid import Grid


def write_values(
    path: Path,
    group: str,
    controls: Mapping[str, Control],
    values: Mapping[str, np.ndarray | float],
    grid: Grid,
    decomposition: Decomposition,
    attributes: Mapping[str, Any],
) -> None:
    """Write the values of controls, whole and durable or not at all. Collective.

    Raises:
        BurgersAdjointError: on all ranks, when the file cannot be written.
    """
    fields, numbers = split(group, controls, values)
    write_results(path, decomposition, grid.x, grid.y, fields, numbers, attributes)


def read_values(
    path: str | Path, group: str, controls: Mapping[str, Control], decomposition: Decomposition
) -> Values:
    """Read the values of those controls that the group has. Collective.

    Raises:
        ConfigError: on all ranks: a dataset has another shape, or holds no finite numbers.
    """
    values: Values = {}
    with agreed(decomposition.comm), opened(path, str(path)) as file:
        for name, control in controls.items():
            if f"{group}/{name}" not in file:
                continue
            if not control.shape:
                values[name] = float(array(file, f"{group}/{name}", (), str(path)))
                continue
            found = control.zeros()
            for place, tile in control.tiles(found).items():
                tile[...] = read_tile(file, f"{group}/{place}", str(path), decomposition)
            values[name] = control.masked(found)
    return values
