"""results.h5: the fields of all ranks in one plain HDF5 file."""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.files.hdf5 import File, make_room, new_file
from burgers_adjoint.files.whole import faults_named, reason, replaced_when_complete
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.whole_rows import whole_rows

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

    Rank 0 makes the file with room for everything. Then every rank writes its share of the fields
    as whole rows by plain system calls, so that no rank needs more memory than the others, any
    build of h5py will do, and what fails is known: below parallel HDF5, the MPI-IO of Open MPI
    takes a write that failed for one that is done.

    Args:
        path: the file, in a folder that all ranks see; an older one is replaced when the new one
            is complete.
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
    with ExitStack() as stack:
        made: tuple[Path, dict[str, int]] | None = None
        with agreed(comm), faults_named(path):
            if comm.rank == 0:
                partial = stack.enter_context(replaced_when_complete(path))
                with new_file(partial) as file:
                    _write_others(file, x, y, scalars, attributes)
                    made = partial, _make_room(file, sorted(fields), decomposition.shape)
        partial, offsets = from_rank(comm, made)
        failure = _write_fields(partial, offsets, decomposition, fields)
        with agreed(comm), faults_named(path):
            if failure is not None:
                raise failure
        with agreed(comm):
            stack.close()


def _write_others(
    file: File,
    x: ArrayLike,
    y: ArrayLike,
    scalars: Mapping[str, float],
    attributes: Mapping[str, Any],
) -> None:
    file["x"], file["y"] = np.asarray(x), np.asarray(y)
    for axis in ("x", "y"):
        file[axis].make_scale(axis)
    for name, scalar in scalars.items():
        file[name] = scalar
    file.attrs.update(attributes)


def _make_room(file: File, names: Iterable[str], shape: tuple[int, int]) -> dict[str, int]:
    """Make datasets whose fields are written past HDF5; returns where each begins, in bytes."""
    offsets = {}
    for name in names:
        dataset = make_room(file, name, shape)
        for dimension, axis in enumerate(("y", "x")):
            dataset.dims[dimension].attach_scale(file[axis])
        offsets[name] = dataset.id.get_offset()
    return offsets


def _write_fields(
    path: Path,
    offsets: Mapping[str, int],
    decomposition: Decomposition,
    fields: Mapping[str, NDArray[np.float64]],
) -> OSError | None:
    """Write this rank's share to the disk; returns what went wrong, as all ranks have to meet."""
    failure, descriptor = None, -1
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        failure = error
    for name, offset in offsets.items():
        for row, rows in whole_rows(decomposition, fields[name]):
            try:
                if failure is None:
                    _write_at(descriptor, rows, offset + row * rows.shape[1] * rows.itemsize)
            except OSError as error:
                failure = error
    try:
        if failure is None:
            os.fsync(descriptor)
        if descriptor >= 0:
            os.close(descriptor)
    except OSError as error:
        failure = failure or error
    return failure


def _write_at(descriptor: int, rows: NDArray[np.float64], offset: int) -> None:
    data = rows.reshape(-1).view(np.uint8).data
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done


def _check_tiles(decomposition: Decomposition, fields: Mapping[str, NDArray[np.float64]]) -> None:
    for name, tile in fields.items():
        if tile.shape != decomposition.tile_shape:
            raise BurgersAdjointError(
                f"{name} has shape {tile.shape} on rank {decomposition.rank}, "
                f"whose tile has {decomposition.tile_shape}"
            )
