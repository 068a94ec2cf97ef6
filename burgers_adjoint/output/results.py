"""results.h5: the fields of all ranks in one plain HDF5 file."""

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from posixpath import dirname
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.files.hdf5 import (
    Dataset,
    File,
    Group,
    attach_scales,
    describe,
    link,
    make_room,
    make_scale,
    new_file,
)
from burgers_adjoint.files.whole import faults_named, reason, replaced_when_complete
from burgers_adjoint.output.conventions import AXES, OF_A_STATE, ROOT, attributes_of
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.whole_rows import whole_rows

RESULTS = "results.h5"
XDMF = "results.xdmf"  # for ParaView
BEST = "controls.h5"  # of an optimisation, the best ones so far
POSTERIOR = "uncertainty.h5"  # of the controls of an optimisation
POSTERIOR_PICTURE = "uncertainty.png"
# Drawn from a results.h5.
PICTURES = ("gradient.png", "recovery.png")
GROUPS_OF_A_SCALE = 100  # a scale notes its fields: 4095 at most, and each one takes longer


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
    scalars: Mapping[str, ArrayLike],
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
        scalars: HDF5 path to number, or array of them, as rank 0 has it; "time" and "step" are
            coordinates of the fields in their group, those of the root group of all fields.
        attributes: of the root group, as rank 0 has them, beside those of the CF conventions.

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
                axes, shape = {"y": np.asarray(y), "x": np.asarray(x)}, decomposition.shape
                with new_file(partial) as file:
                    offsets = _make_file(file, shape, axes, fields, scalars, attributes)
                made = partial, offsets
        partial, offsets = from_rank(comm, made)
        failure = _write_fields(partial, offsets, decomposition, fields)
        with agreed(comm), faults_named(path):
            if failure is not None:
                raise failure
        with agreed(comm):
            stack.close()


def _make_file(
    file: File,
    shape: tuple[int, int],
    axes: Mapping[str, NDArray[Any]],
    names: Iterable[str],
    scalars: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> dict[str, int]:
    """Write all but the fields, which are written past HDF5; returns where each begins, in bytes.

    netCDF's readers look for the coordinates of a field in its group. So each group has links to
    those of the root group, or of one of the groups before it.
    """
    describe(file, ROOT)
    file.attrs.update(attributes)
    numbers = {name: file.create_dataset(name, data=scalar) for name, scalar in scalars.items()}
    for name, dataset in numbers.items():
        describe(dataset, attributes_of(name))
    scales = _make_scales(file, axes)
    shared = {name: numbers[f"/{name}"] for name in OF_A_STATE if f"/{name}" in numbers}
    offsets = {}
    for number, (path, members) in enumerate(groupby(sorted(names, key=dirname), dirname)):
        group = file.require_group(path)
        if number and number % GROUPS_OF_A_SCALE == 0:
            scales = _make_scales(group, axes)
        elif path != "/":
            _link_all(group, scales)
        if path != "/":
            _link_all(group, shared)
        own = [one for one in OF_A_STATE if one in shared or f"{path}/{one}" in numbers]
        coordinates = {"coordinates": " ".join(own)} if own else {}
        for name in members:
            dataset = make_room(file, name, shape)
            attach_scales(dataset, scales.values())
            describe(dataset, attributes_of(name) | coordinates)
            offsets[name] = dataset.id.get_offset()
    return offsets


def _make_scales(group: Group, axes: Mapping[str, NDArray[Any]]) -> dict[str, Dataset]:
    scales = {name: make_scale(group, name, values) for name, values in axes.items()}
    for name, scale in scales.items():
        describe(scale, AXES[name])
    return scales


def _link_all(group: Group, datasets: Mapping[str, Dataset]) -> None:
    for name, dataset in datasets.items():
        link(dataset, group, name)


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
