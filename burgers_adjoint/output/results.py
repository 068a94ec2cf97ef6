"""results.h5: the fields of all ranks in one plain HDF5 file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.files.hdf5 import File, replaced
from burgers_adjoint.files.whole import reason
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.tiles import send_tiles, tiles_in_turn

RESULTS = "results.h5"
BEST = "controls.h5"  # of an optimisation, the best ones so far
# Drawn from a results.h5.
PICTURES = ("gradient.png", "recovery.png")


def remove_leftovers(directory: Path, patterns: Iterable[str]) -> None:
    """Remove what an older run has left and what would seem to belong to the new results.h5.

    Raises:
        BurgersAdjointError: naming the file that cannot be removed, and the reason.
    """
    for path in (path for pattern in patterns for path in directory.glob(pattern)):
        try:
            path.unlink()
        except OSError as error:
            raise BurgersAdjointError(
                f"cannot remove {path} of an older run: {reason(error)}"
            ) from error


def write_results(
    path: str | Path,
    decomposition: Decomposition,
    x: ArrayLike,
    y: ArrayLike,
    fields: Mapping[str, NDArray[np.float64]],
    scalars: Mapping[str, float],
    attributes: Mapping[str, Any],
) -> None:
    """Write fields of all ranks into one HDF5 file, whole or not at all. Collective.

    Rank 0 writes, and holds one tile of another rank at a time: the memory that it needs does not
    grow with the number of ranks or fields, and any build of h5py will do.

    Args:
        path: the file; an older one is replaced when the new one is complete.
        decomposition: whose tiles they are.
        x: coordinates of all columns, (nx,).
        y: coordinates of all rows, (ny,).
        fields: HDF5 path ("/state/initial/u") to this rank's tile, (ny_tile, nx_tile); the same
            paths on every rank. Stored as (ny, nx) with y and x as dimension scales.
        scalars: HDF5 path to number, as rank 0 has it.
        attributes: of the root group, as rank 0 has them.

    Raises:
        BurgersAdjointError: on all ranks, when a tile does not fit or the file cannot be written.
    """
    comm = decomposition.comm
    with agreed(comm):
        _check_tiles(decomposition, fields)
    with agreed(comm):
        if comm.rank == 0:
            tiles = tiles_in_turn(decomposition, fields)
            try:
                with replaced(path) as file:
                    file["x"], file["y"] = np.asarray(x), np.asarray(y)
                    for axis in ("x", "y"):
                        file[axis].make_scale(axis)
                    for name, place, tile in tiles:
                        _dataset(file, name, decomposition.shape)[place] = tile
                    for name, scalar in scalars.items():
                        file[name] = scalar
                    file.attrs.update(attributes)
            finally:
                # The ranks whose tiles are still on their way would wait for ever.
                for _ in tiles:
                    pass
        else:
            send_tiles(decomposition, fields)


def _check_tiles(decomposition: Decomposition, fields: Mapping[str, NDArray[np.float64]]) -> None:
    for name, tile in fields.items():
        if tile.shape != decomposition.tile_shape:
            raise BurgersAdjointError(
                f"{name} has shape {tile.shape} on rank {decomposition.rank}, "
                f"whose tile has {decomposition.tile_shape}"
            )


def _dataset(file: File, name: str, shape: tuple[int, int]) -> Any:
    if name not in file:
        dataset = file.create_dataset(name, shape, dtype=np.float64)
        for dimension, axis in enumerate(("y", "x")):
            dataset.dims[dimension].attach_scale(file[axis])
    return file[name]
