"""One contract for all stores, on all ranks; and whole runs with each of them."""

import copy
import os
import subprocess
from pathlib import Path
from socket import gethostname
from typing import Any

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly import stores
from burgers_adjoint.assembly.runs import reverse
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.config import from_dict
from burgers_adjoint.errors import ConfigError, SnapshotError, StorageError
from burgers_adjoint.problem import Problem
from burgers_adjoint.snapshots.memory import MemoryStore
from tests.mpi.store_cases import (
    COMM,
    ENCODED,
    KINDS,
    ON_DISK,
    SHAPE,
    SLOTS,
    loaded,
    make,
    named,
    no_more_writes,
    save,
    values,
)

over_stores = pytest.mark.parametrize("kind", KINDS, ids=named)
over_all = pytest.mark.parametrize("kind", KINDS + ENCODED, ids=named)
over_files = pytest.mark.parametrize("kind", ON_DISK, ids=named)


WITH_BUFFERS = [kind for kind in KINDS if "buffers" in kind and kind["store"] != "hdf5_shared"]


@pytest.fixture
def swapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are snapshots, however much larger they are."""
    monkeypatch.setattr(stores, "LARGEST_STATE", 100.0)


@pytest.fixture(autouse=True)
def no_idle_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads where the configuration says so, on any machine."""
    monkeypatch.setattr(stores, "idle_share", lambda comm: 0.0)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all ranks."""
    return COMM.bcast(tmp_path_factory.mktemp("stores") if COMM.rank == 0 else None, root=0)


@pytest.fixture
def small_disk(folder: Path) -> Any:
    """A disk of 256 KiB."""
    done = None
    if COMM.rank == 0:
        command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True).returncode
    if COMM.bcast(done, root=0):
        pytest.skip("mounting a small disk takes root")
    yield folder
    COMM.Barrier()
    if COMM.rank == 0:
        subprocess.run(["umount", str(folder)], check=True)


@over_all
def test_what_is_saved_is_loaded_in_any_order_as_often_as_wanted(folder, kind):
    with closed_at_end(make(folder, kind)) as store:
        for turn in range(2):
            for slot in range(SLOTS):
                save(store, slot, 10 * turn + slot)
            order = np.random.default_rng(turn).permutation(2 * SLOTS) % SLOTS
            for slot in map(int, order):
                store.fetch((slot + 1) % SLOTS, 10 * turn + (slot + 1) % SLOTS)
                np.testing.assert_array_equal(
                    loaded(store, slot, 10 * turn + slot), values(10 * turn + slot)
                )
            for slot in range(turn, SLOTS):
                store.free(slot)
    assert os.listdir(folder) == []


@over_all
def test_a_reversal_in_which_slots_come_and_go(folder, kind):
    """Last in, first out, as schedules do, with saves in between."""
    with closed_at_end(make(folder, kind)) as store:
        for slot in range(SLOTS):
            save(store, slot, 10 * slot)
        for slot in reversed(range(SLOTS)):
            np.testing.assert_array_equal(loaded(store, slot, 10 * slot), values(10 * slot))
            for extra in range(slot + 1, SLOTS):
                save(store, extra, 10 * slot + extra)
            for extra in reversed(range(slot + 1, SLOTS)):
                step = 10 * slot + extra
                np.testing.assert_array_equal(loaded(store, extra, step), values(step))
                store.free(extra)
            np.testing.assert_array_equal(loaded(store, slot, 10 * slot), values(10 * slot))
            store.free(slot)
        with pytest.raises(SnapshotError, match="slot 0 is empty"):
            store.free(0)


@over_all
def test_the_caller_is_never_aliased(folder, kind):
    with closed_at_end(make(folder, kind)) as store:
        for slot in range(SLOTS):
            save(store, slot, slot)
        for slot in range(SLOTS):
            loaded(store, slot, slot)[...] = -1
            np.testing.assert_array_equal(loaded(store, slot, slot), values(slot))


@over_all
def test_wrong_calls_are_errors_of_all_ranks(folder, kind):
    with closed_at_end(make(folder, kind)) as store:
        save(store, 0, 5)
        for slot in (0, SLOTS - 1):
            save(store, slot, 6)
            with pytest.raises(SnapshotError, match="holds step 6, not step 5"):
                loaded(store, slot, 5)
            store.free(slot)
            with pytest.raises(SnapshotError, match="is empty: it does not hold step 6"):
                loaded(store, slot, 6)
            with pytest.raises(SnapshotError, match="is empty: there is nothing to free"):
                store.free(slot)
        for wrong in (-1, SLOTS):
            with pytest.raises(SnapshotError, match="there is no slot"):
                save(store, wrong, 0)
        save(store, 1, 7)
        np.testing.assert_array_equal(loaded(store, 1, 7), values(7))


@over_stores
def test_memory_is_what_it_says_and_does_not_grow(folder, kind):
    one = values(0).nbytes
    with closed_at_end(make(folder, kind)) as store:
        sizes = set()
        for turn in range(4):
            for slot in range(SLOTS):
                save(store, slot, turn)
            sizes.add(store.nbytes)
        assert len(sizes) == 1
        if kind["store"].startswith("hdf5"):
            assert store.nbytes == one * (kind.get("buffers", 1))


@over_files
def test_kept_files_have_names_of_run_and_rank_and_are_plain_hdf5(folder, kind):
    strangers = folder / "snapshots-strange-rank0.h5"
    if COMM.rank == 0:
        strangers.write_text("of somebody else")
    COMM.Barrier()
    for _ in range(2):
        with closed_at_end(make(folder, kind, keep=True), keep=True) as store:
            for slot in range(SLOTS):
                save(store, slot, 20 + slot)
            store.free(2)
    COMM.Barrier()
    assert strangers.read_text() == "of somebody else"
    files = sorted(path for path in folder.iterdir() if path != strangers)
    shared = kind["store"] == "hdf5_shared"
    assert len(files) == 2 * (1 if shared else COMM.size)
    for path in files:
        with h5py.File(path) as file:
            assert file.attrs["run"] in path.name
            snapshots, records = file["snapshots"], file["records"]
            assert records["step"][:, 0].tolist()[3:] == [23, 24, 25, 26]
            ny, nx = SHAPE
            whole = np.arange(2.0 * ny * nx).reshape(2, ny, nx) + 1000 * 26
            if not shared:
                rows, columns = file.attrs["rows"], file.attrs["columns"]
                whole = whole[:, slice(*rows), slice(*columns)]
            np.testing.assert_array_equal(snapshots[6], whole)
    COMM.Barrier()


@pytest.mark.parametrize("store", ["hdf5", "hdf5_shared"])
def test_a_disk_that_is_too_small_is_said_before_the_run(small_disk, store):
    with pytest.raises(ConfigError, match=rf"need \d+ bytes in {small_disk} .*are free") as error:
        make(small_disk, {"store": store}, slots=400)
    assert error.value.agreed
    assert os.listdir(small_disk) == []
    COMM.Barrier()


@pytest.mark.parametrize("store", ["hdf5", "hdf5_shared"])
def test_a_folder_that_cannot_be_is_an_error_of_all_ranks(folder, store):
    if COMM.rank == 0:
        (folder / "file").write_text("no folder")
    COMM.Barrier()
    message = rf"^cannot use the snapshot folder {folder}/file/sub on node {gethostname()}, .* Not"
    with pytest.raises(StorageError, match=message) as error:
        make(folder / "file" / "sub", {"store": store})
    assert error.value.agreed
    with closed_at_end(make(folder / "new" / "er", {"store": store})) as made:
        save(made, 0, 1)


@pytest.mark.parametrize("store", ["hdf5", "hdf5_shared"])
def test_a_folder_that_is_read_only_is_an_error_of_all_ranks(small_disk, store):
    if COMM.rank == 0:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    COMM.Barrier()
    message = rf"^cannot use the snapshot folder {small_disk} on node .* Read-only file system; -s "
    with pytest.raises(StorageError, match=message) as error:
        make(small_disk, {"store": store})
    assert error.value.agreed


def problem(comm: MPI.Comm, **snapshots: Any) -> Problem:
    return Problem(
        from_dict(
            {
                "grid": {"nx": 23, "ny": 19, "x": [-1, 2], "y": [-1.5, 3]},
                "initial": {"center": [0.3, 0.9], "width": [0.8, 1.1], "amplitude": [1.0, -0.6]},
                "physics": {"viscosity": 0.05},
                "time": {"dt": 0.02, "steps": 40},
                "checkpointing": {"snapshots": 5},
                "snapshots": snapshots,
            }
        ),
        comm,
    )


def gradient(one: Problem, schedule: Any, observer: Any = None) -> Any:
    with closed_at_end(one.checkpointing.store(schedule)) as store:
        result = reverse(one.case, schedule, store, observer)
    found = one.case.digest(result.final, result.gradient)
    one.close()
    return found, result


@pytest.fixture(scope="module")
def expected() -> str:
    """Digest of one rank, with nothing recomputed and all in memory."""
    return str(gradient(problem(MPI.COMM_SELF), StoreAll(40))[0])


@over_stores
@pytest.mark.parametrize("schedule", [Binomial, StoreAll])
def test_a_run_has_the_same_bits_with_every_store(folder, kind, schedule, expected):
    one = problem(COMM, directory=str(folder), **kind)
    found, _ = gradient(one, schedule(40, 5) if schedule is Binomial else schedule(40))
    assert found == expected
    assert os.listdir(folder) == []
    COMM.Barrier()


@pytest.mark.usefixtures("swapping")
@pytest.mark.parametrize("kind", WITH_BUFFERS, ids=named)
@pytest.mark.parametrize("schedule", [Binomial(40, 7), StoreAll(40), TwoLevel(40, 2, 7)])
def test_swapped_states_have_the_same_bits(folder, kind, schedule, expected):
    one = problem(COMM, directory=str(folder), **kind)
    found, result = gradient(one, copy.deepcopy(schedule))
    assert found == expected
    assert result.damages == []


def damage(folder: Path, how: str, slot: int) -> None:
    """Damage the files of the last rank, or the file of all."""
    path = max(folder.glob("snapshots-*"), key=lambda path: path.name)
    if how == "deleted":
        path.unlink()
        return
    with h5py.File(path) as file:
        dataset = file["snapshots"]
        size = dataset[0].nbytes
        middle = dataset.id.get_offset() + slot * size + size // 2
    if how == "truncated":
        os.truncate(path, middle)
        return
    with open(path, "r+b") as raw:
        raw.seek(middle)
        byte = raw.read(1)[0]
        raw.seek(middle)
        raw.write(bytes([byte ^ 1]))


class Saboteur:
    """Damages the file when the first step has been reversed."""

    def __init__(self, folder: Path, how: str, slot: int) -> None:
        self.act = (folder, how, slot)
        self.done = False

    def __call__(self, action: Any, counts: Any) -> None:
        if counts.reverse_steps == 1 and not self.done:
            self.done = True
            COMM.Barrier()
            if COMM.rank == 0:
                damage(*self.act)
            COMM.Barrier()


@pytest.mark.usefixtures("swapping")
@pytest.mark.parametrize("kind", WITH_BUFFERS[:2], ids=named)
def test_a_damaged_snapshot_that_was_swapped_is_computed_anew(folder, kind, expected):
    one = problem(COMM, directory=str(folder), **{**kind, "buffers": 2})
    found, result = gradient(one, Binomial(40, 12), Saboteur(folder, "flipped", 6))
    assert found == expected
    assert result.counts.damaged == len(result.damages) >= 1


@over_files
@pytest.mark.parametrize("how", ["flipped", "truncated", "deleted"])
def test_a_damaged_snapshot_is_computed_anew_on_all_ranks(folder, kind, how, expected):
    one = problem(COMM, directory=str(folder), **{**kind, "buffers": 2})
    # 12 snapshots and 2 buffers: slot 6 is on disk alone after the first reverse step.
    found, result = gradient(one, Binomial(40, 12), Saboteur(folder, how, 6))
    assert found == expected
    if how == "deleted":
        assert result.damages == []  # whoever has the file open has it until the end
        return
    assert result.counts.damaged == len(result.damages) >= 1
    assert result.counts.recomputed_steps >= 1
    assert "in slot 6 of" in "".join(result.damages)
    assert "is damaged: " in result.damages[0]
    assert "; computed anew from step" in result.damages[0]
    assert result.counts.forward_steps == Binomial(40, 12).predicted_forward_steps


@over_files
def test_nothing_left_to_compute_from_is_exit_code_4_on_all_ranks(folder, kind):
    one = problem(COMM, directory=str(folder), **{**kind, "buffers": 2})
    with pytest.raises(SnapshotError, match="; no earlier snapshot is left to") as error:
        gradient(one, Binomial(40, 12), Saboteur(folder, "flipped", 0))
    assert error.value.exit_code == 4
    assert error.value.agreed
    COMM.Barrier()
    assert os.listdir(folder) == []
    COMM.Barrier()


def test_a_write_that_fails_in_the_background_surfaces_on_all_ranks(folder):
    store = make(folder, {"store": "hdf5", "buffers": 2})

    def save_often() -> None:
        for turn in range(20):
            for slot in range(SLOTS):
                save(store, slot, turn)

    message = r"cannot write the snapshot of step \d+ .*: File too large"
    with no_more_writes(), pytest.raises(StorageError, match=message) as error:
        save_often()
    assert error.value.agreed
    store.abandon()
    COMM.Barrier()
    assert os.listdir(folder) == []
    COMM.Barrier()


def test_a_memory_store_for_a_run_with_no_slots(folder):
    assert isinstance(make(folder, {"store": "hdf5"}, slots=0), MemoryStore)
