"""Controls in an HDF5 file: a group with a dataset (ny, nx) per field and a number per scalar."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from burgers_adjoint.equations.burgers.controls import tiles_of
from burgers_adjoint.equations.burgers.initial import read_tile
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.inverse.vector import Values
from burgers_adjoint.output.results import write_results
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.grid import Grid


def split(
    group: str, values: Mapping[str, np.ndarray | float]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Tiles and numbers of controls, by the paths of their datasets."""
    fields: dict[str, np.ndarray] = {}
    numbers: dict[str, float] = {}
    for name, value in values.items():
        array = np.asarray(value)
        if array.ndim:
            fields |= {f"/{group}/{path}": tile for path, tile in tiles_of(name, array).items()}
        else:
            numbers[f"/{group}/{name}"] = float(array)
    return fields, numbers


def write_values(
    path: Path,
    group: str,
    values: Mapping[str, np.ndarray | float],
    grid: Grid,
    decomposition: Decomposition,
    attributes: Mapping[str, Any],
) -> None:
    """Write controls, whole and durable or not at all. Collective.

    Raises:
        BurgersAdjointError: on all ranks, when the file cannot be written.
    """
    fields, numbers = split(group, values)
    write_results(path, decomposition, grid.x, grid.y, fields, numbers, attributes)


def read_values(
    path: str | Path,
    group: str,
    like: Mapping[str, np.ndarray | float],
    decomposition: Decomposition,
) -> Values:
    """Read those controls that the group has, laid out like the given ones. Collective.

    Raises:
        ConfigError: on all ranks: a dataset has another shape, or holds no finite numbers.
    """
    values: Values = {}
    with agreed(decomposition.comm):
        try:
            with h5py.File(path, "r") as file:
                for name, value in like.items():
                    if f"{group}/{name}" not in file:
                        continue
                    found = np.array(value)
                    if found.ndim:
                        for place, tile in tiles_of(name, found).items():
                            dataset = f"{group}/{place}"
                            tile[...] = read_tile(file, dataset, str(path), decomposition)
                        values[name] = found
                    else:
                        values[name] = float(file[f"{group}/{name}"][()])
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read as HDF5: {error}") from error
    return values
