"""Finds the restart data of a run and reads it, whatever ranks have written it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.errors import RestartError
from burgers_adjoint.parallel.agreement import Comm, from_rank
from burgers_adjoint.parallel.decomposition import Decomposition, blocks
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.restart.manifest import (
    DamagedManifestError,
    Manifest,
    generations,
    path_of,
    read_manifest,
)
from burgers_adjoint.restart.parts import PartFile


def manifests(folder: Path) -> tuple[list[Manifest], list[str]]:
    """All generations in a folder, newest first, and what was wrong with others.

    Raises:
        RestartError: the newest one is no manifest or one of another version, or all are damaged.
    """
    found: list[Manifest] = []
    damages: list[str] = []
    for generation in generations(folder):
        try:
            manifest = read_manifest(path_of(folder, generation))
        except DamagedManifestError as error:
            damages.append(str(error))
        else:
            found.append(manifest)
    if damages and not found:
        raise RestartError(f"{folder} holds no whole restart data: {damages[0]}")
    return found, damages


def shared_manifests(comm: Comm, folder: Path) -> tuple[list[Manifest], list[str]]:
    """`manifests` as rank 0 sees them, on all ranks. Collective."""
    found: tuple[list[Manifest], list[str]] = [], []
    with agreed(comm):
        if comm.rank == 0:
            found = manifests(folder)
    return from_rank(comm, found)


def require_identity(folder: Path, manifest: Manifest, identity: dict[str, Any]) -> None:
    """See that restart data is of the run that wants to go on from it.

    Raises:
        RestartError: naming the first key that differs, with both values.
    """
    there, here = dict(_leaves(manifest.identity, "")), dict(_leaves(identity, ""))
    for key in [*here, *(key for key in there if key not in here)]:
        if there.get(key) != here.get(key):
            raise RestartError(
                f"{folder} holds the restart data of another run: {key} = {there.get(key)} there, "
                f"{here.get(key)} here"
            )


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else key)
    else:
        yield name, value


def read_part(
    folder: Path, manifest: Manifest, name: str, decomposition: Decomposition
) -> dict[str, np.ndarray]:
    """This rank's tile of all fields of a part, name to (k, ny, nx); verified as it is read.

    Raises:
        RestartError: a file is missing, damaged or not the one that belongs there.
    """
    part = manifest.parts[name]
    py, px = part.process_grid
    row_blocks, column_blocks = blocks(manifest.shape[0], py), blocks(manifest.shape[1], px)
    own_rows, own_columns = decomposition.rows, decomposition.columns
    fields: dict[str, np.ndarray] = {}
    for rank, seal in enumerate(part.seals):
        rows, columns = row_blocks[rank // px], column_blocks[rank % px]
        common_rows, common_columns = _overlap(rows, own_rows), _overlap(columns, own_columns)
        if common_rows is None or common_columns is None:
            continue
        with PartFile(folder, name, rank, seal) as file:
            for entry in file.index.fields:
                theirs = file.read(entry.name)
                if entry.name not in fields:
                    fields[entry.name] = np.empty((entry.n_fields, *decomposition.tile_shape))
                mine = fields[entry.name]
                mine[:, _within(common_rows, own_rows), _within(common_columns, own_columns)] = (
                    theirs[:, _within(common_rows, rows), _within(common_columns, columns)]
                )
    return fields


def _overlap(one: slice, other: slice) -> slice | None:
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    return slice(start, stop) if start < stop else None


def _within(points: slice, whole: slice) -> slice:
    return slice(points.start - whole.start, points.stop - whole.start)
