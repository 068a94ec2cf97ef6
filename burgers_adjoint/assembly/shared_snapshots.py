"""Makes the snapshot file that all ranks share, and chooses who moves its bytes."""

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.config.sizes import parse_size
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.agreement import Comm, everywhere, from_rank, largest, last_arrival
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.library import ends_failed_transfers
from burgers_adjoint.parallel.shared_file import SharedPlaces
from burgers_adjoint.snapshots.file import cannot_make
from burgers_adjoint.snapshots.file_layout import RECORD, FileLayout, create, needed_bytes
from burgers_adjoint.snapshots.hdf5_places import HDF5Places, has_mpi, open_shared
from burgers_adjoint.snapshots.shared import SharedFile

FASTER = 0.9  # times the seconds of "direct": what "auto" takes "mpio" for, past the noise
TRIES = 3
NO_STEP = -1


def part_of(
    decomposition: Decomposition, tile: np.ndarray, encoded: bool
) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """Shape of what all ranks have together of a snapshot, and which part of it is here."""
    if encoded:
        rank, n_ranks = decomposition.comm.rank, decomposition.comm.size
        return (n_ranks, len(tile)), (slice(rank, rank + 1), slice(0, len(tile)))
    fields = tuple(slice(0, n) for n in tile.shape[:-2])
    whole = (*tile.shape[:-2], *decomposition.shape)
    return whole, (*fields, decomposition.rows, decomposition.columns)


def shared_file(
    path: Path,
    run: str,
    capacity: int,
    tile: np.ndarray,
    part: tuple[tuple[int, ...], tuple[slice, ...]],
    comm: Any,
    section: Snapshots,
) -> SharedFile:
    """Make a snapshot file of all ranks. Collective.

    Args:
        path: of the file, which is new.
        run: its name.
        capacity: number of slots.
        tile: an array like this rank's part of a snapshot.
        part: shape of what all ranks have together of a snapshot, and where this rank's part is.
        comm: all ranks.
        section: has the driver. "auto" takes the one that moves a snapshot faster here.

    Raises:
        StorageError: on all ranks: the file cannot be made.
        ConfigError: on all ranks: h5py has no such driver.
    """
    drivers = _drivers(comm, section)
    whole, block = part
    layout: Any = None
    with agreed(comm):
        if comm.rank == 0:
            alignment = parse_size(section.alignment)
            try:
                layout = create(
                    path, capacity, whole, tile.dtype, {"run": run}, comm.size, alignment
                )
            except OSError as error:
                n_bytes = int(np.prod(whole)) * tile.dtype.itemsize
                raise cannot_make(path, needed_bytes(capacity, n_bytes), error) from error
    layout = from_rank(comm, layout)
    files = {driver: _opened(driver, path, layout, whole, block, tile, comm) for driver in drivers}
    chosen = drivers[0]
    if len(files) > 1:
        seconds = {driver: _seconds(comm, file, tile) for driver, file in files.items()}
        chosen = "mpio" if seconds["mpio"] < FASTER * seconds["direct"] else "direct"
    for driver, file in files.items():
        if driver != chosen:
            file.close()
    return files[chosen]


def _drivers(comm: Comm, section: Snapshots) -> tuple[str, ...]:
    """Those to choose from."""
    parallel = everywhere(comm, has_mpi())
    with agreed(comm):
        if section.driver == "mpio" and not parallel:
            raise ConfigError(
                'snapshots.driver = "mpio": this h5py is built without MPI; "direct" needs none'
            )
    if section.driver != "auto":
        return (section.driver,)
    # Threads of a rank that waits in HDF5 stand still, so "mpio" is not for asynchronous stores.
    return ("direct", "mpio") if parallel and not section.asynchronous else ("direct",)


def _opened(
    driver: str,
    path: Path,
    layout: FileLayout,
    whole: tuple[int, ...],
    block: tuple[slice, ...],
    tile: np.ndarray,
    comm: Any,
) -> SharedFile:
    own = slice(comm.rank, comm.rank + 1)
    if driver == "mpio":
        file, collective = open_shared(path, comm), ends_failed_transfers()
        snapshots, records = (
            HDF5Places(file, name, part, collective)
            for name, part in (("snapshots", block), ("records", (own,)))
        )
        return SharedFile(path, layout, snapshots, records, divisible=False)
    size = RECORD.itemsize
    return SharedFile(
        path,
        layout,
        SharedPlaces(comm, str(path), layout.data, whole, block, tile.dtype.itemsize),
        SharedPlaces(comm, str(path), layout.records, (comm.size, size), (own, slice(0, size)), 1),
    )


def _seconds(comm: Comm, file: SharedFile, tile: np.ndarray) -> float:
    """The least that the slowest rank takes to write and read a snapshot; infinite if it fails."""
    taken = []
    for _ in range(TRIES):
        start, failed = last_arrival(comm), False
        for move in (lambda: file.write(0, NO_STEP, tile), lambda: file.read(0, tile)):
            try:
                move()
            except (OSError, EOFError):
                failed = True
        seconds = float("inf") if failed else perf_counter() - start
        taken.append(largest(comm, seconds))
    return float(min(taken))
