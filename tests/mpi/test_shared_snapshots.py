"""Snapshots in one file of all ranks, by each of its drivers: what stores of other kinds lack."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.errors import SnapshotError, StorageError
from burgers_adjoint.snapshots.file_layout import create
from burgers_adjoint.snapshots.hdf5_places import HDF5Places, has_mpi, open_shared
from tests.mpi.store_cases import (
    COMM,
    ON_DISK,
    SLOTS,
    loaded,
    make,
    named,
    no_more_writes,
    save,
    values,
)

SHARED = [kind for kind in ON_DISK if kind["store"] == "hdf5_shared" and "buffers" not in kind]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all ranks."""
    return COMM.bcast(tmp_path_factory.mktemp("stores") if COMM.rank == 0 else None, root=0)


@pytest.mark.parametrize("first_rank", {0, COMM.size - 1})
@pytest.mark.parametrize("kind", SHARED, ids=named)
def test_a_write_of_a_shared_file_that_fails_ends_on_all_ranks_and_gives_no_wrong_state(
    folder, kind, first_rank
):
    """MPI-IO says so, or, as Open MPI's own, does not: then the checksums do."""
    with closed_at_end(make(folder, kind)) as store:
        for slot in range(SLOTS):
            save(store, slot, slot)
        try:
            with no_more_writes(first_rank):
                save(store, 2, 20)
            np.testing.assert_array_equal(loaded(store, 2, 20), values(20))
        except (SnapshotError, StorageError) as error:
            assert error.agreed  # noqa: PT017
            assert re.search(r"cannot write the snapshot|is damaged", str(error))  # noqa: PT017
        else:
            assert first_rank > 0  # another rank writes for it
        np.testing.assert_array_equal(loaded(store, 3, 3), values(3))
        save(store, 2, 21)
        np.testing.assert_array_equal(loaded(store, 2, 21), values(21))


@pytest.mark.skipif(not has_mpi(), reason="h5py is built without MPI")
@pytest.mark.parametrize("idle", {0, COMM.size - 1})
def test_ranks_with_nothing_to_transfer_make_the_same_calls(folder, idle):
    path, shape = folder / "file.h5", (5, 4 * COMM.size)
    if COMM.rank == 0:
        create(path, 3, shape, np.dtype(float), {})
    COMM.Barrier()
    columns = slice(4 * COMM.rank, 4 * COMM.rank + (0 if COMM.rank == idle else 4))
    places = HDF5Places(open_shared(path, COMM), "snapshots", (slice(1, 5), columns))
    whole = np.arange(3.0 * 5 * 4 * COMM.size).reshape(3, *shape)
    for number in (0, 2, 1):
        mine = np.ascontiguousarray(whole[number, 1:, columns])
        found = np.zeros_like(mine)
        places.write(number, mine)
        places.read(number, found)
        np.testing.assert_array_equal(found, mine)
    places.close()
    whole[:, 0] = whole[:, :, 4 * idle : 4 * idle + 4] = 0
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["snapshots"], whole)


@pytest.mark.parametrize("kind", SHARED, ids=named)
def test_snapshots_begin_where_the_alignment_says(folder, kind):
    with closed_at_end(make(folder, {**kind, "alignment": "256 KiB"}, keep=True), keep=True):
        pass
    COMM.Barrier()
    with h5py.File(next(folder.iterdir())) as file:
        assert file["snapshots"].id.get_offset() % 2**18 == 0
    COMM.Barrier()
