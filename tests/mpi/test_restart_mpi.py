"""Runs that were stopped go on with the same bits, on other ranks, in every kind of store."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from burgers_adjoint.assembly import stores
from burgers_adjoint.commands import gradient
from burgers_adjoint.config import Config, load
from burgers_adjoint.errors import ConfigError, InterruptedRunError
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import RunSummary
from burgers_adjoint.restart import keeper
from tests.interruptions import At, stopping

COMM = MPI.COMM_WORLD
PROBLEM = [
    *("grid.nx=31", "grid.ny=23", "grid.x=[-4.0, 4.0]", "initial.amplitude=[1.0, 0.6]"),
    *("time.steps=120", "checkpointing.snapshots=5", "output.plots=false"),
    "gradient.controls=['initial', 'viscosity']",
]
DURABLE = ["restart.enabled=true", "restart.overhead=1.0"]
FORWARD, REVERSE = 70, 330

STORES = {
    "memory": [],
    "states": [],
    "tiered": [
        *("snapshots.store=tiered", "checkpointing.snapshots=2"),
        *("checkpointing.schedule=two_level", "checkpointing.snapshots_on_disk=3"),
    ],
    "hdf5": ["snapshots.store=hdf5"],
    "hdf5_shared": ["snapshots.store=hdf5_shared"],
    "lossless": ["snapshots.store=hdf5", "snapshots.codec=lossless"],
    "foreign": [
        "checkpointing.schedule=checkpoint_schedules:HRevolve",
        "checkpointing.arguments={ snapshots_in_ram = 3, snapshots_on_disk = 2 }",
    ],
    "stages": [
        *("time.integrator=rk4", "controls.knots=[0.04, 0.09]"),
        "gradient.controls=['initial', 'viscosity_field', 'forcing', 'forcing_in_time']",
    ],
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all ranks share."""
    name = tempfile.mkdtemp() if COMM.rank == 0 else None
    path = Path(COMM.bcast(name, root=0))
    yield path
    COMM.Barrier()
    if COMM.rank == 0:
        shutil.rmtree(path)


def configured(folder: Path, *overrides: str) -> Config:
    return load(None, [*PROBLEM, *overrides], str(folder))


@cache
def expected(*overrides: str) -> str:
    """Digest of the uninterrupted run on one rank."""
    name = None
    if COMM.rank == 0:
        with tempfile.TemporaryDirectory() as name:
            config = configured(Path(name), *overrides)
            digest = gradient.gradient(config, MPI.COMM_SELF, Progress(False)).digest
    return COMM.bcast(digest if name else None, root=0)


def final_state(folder: Path) -> np.ndarray:
    """What a run has written; on rank 0."""
    with h5py.File(folder / "results.h5") as file:
        return np.array([file[f"state/final/{name}"] for name in "uv"])


def on_ranks(number: int, config: Config, stop: int = 10**9) -> RunSummary | None:
    """A gradient on the first ranks alone, the others wait; None when it was stopped."""
    summary = None
    comm = COMM.Split(0 if COMM.rank < number else MPI.UNDEFINED)
    if comm != MPI.COMM_NULL:
        # The last rank alone is asked to stop.
        progress = At(stop if comm.rank == comm.size - 1 else 10**9)
        try:
            summary = gradient.gradient(config, comm, progress, "auto")  # type: ignore[arg-type]
        except InterruptedRunError:
            assert stop < 10**9
        comm.Free()
    return COMM.bcast(summary, root=0)


def few(number: int) -> int:
    """Another number of ranks."""
    return max(1, number // 2)


@pytest.mark.parametrize("kind", STORES)
def test_other_ranks_go_on_with_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    stopping(monkeypatch)
    monkeypatch.setattr(keeper, "WORTH", 0.0)
    if kind == "states":
        # Small tiles have large halos: states are swapped all the same.
        monkeypatch.setattr(stores, "LARGEST_STATE", 100.0)
    store = [f"snapshots.directory={folder}", *STORES[kind]]
    config = configured(folder, *DURABLE, *store)
    try:
        assert on_ranks(COMM.size, config, FORWARD) is None
    except ConfigError as error:
        if kind == "hdf5_shared" and "built without MPI" in str(error):
            pytest.skip(str(error))
        raise
    assert on_ranks(few(COMM.size), config, REVERSE) is None
    # The other way round: columns of tiles in place of rows.
    grid = f"parallel.process_grid=[1, {COMM.size}]"
    summary = on_ranks(COMM.size, configured(folder, *DURABLE, *store, grid))
    assert summary is not None
    assert summary.restart.resumed == 2
    assert summary.restart.lost_steps == 0
    alike = tuple(text for text in store if text.startswith(("time.", "controls.", "gradient.")))
    assert summary.digest == expected(*alike)


def test_restart_data_has_no_bits_of_a_lossy_codec(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(monkeypatch)
    monkeypatch.setattr(keeper, "WORTH", 0.0)
    config = configured(folder, *DURABLE, "snapshots.codec=float32")
    assert on_ranks(COMM.size, config, FORWARD) is None
    if COMM.rank == 0:
        parts = [path.name for path in (folder / "restart").rglob("*")]
        assert any("sweep" in name for name in parts)
        assert not any("snapshot" in name for name in parts)
    assert on_ranks(few(COMM.size), config, REVERSE) is None
    if COMM.rank == 0:
        # what the final state is computed anew from has all its bits
        for path in (folder / "restart").rglob("final-*"):
            path.write_bytes(b"damaged")
    summary = on_ranks(COMM.size, config)
    assert summary is not None
    assert summary.restart.resumed == 2
    if COMM.rank == 0:
        with tempfile.TemporaryDirectory() as name:
            gradient.gradient(configured(Path(name)), MPI.COMM_SELF, Progress(False))
            exact = final_state(Path(name))
        np.testing.assert_array_equal(final_state(folder), exact)
