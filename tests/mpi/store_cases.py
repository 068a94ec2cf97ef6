"""Stores of all kinds and what they are filled with, for the tests of their contract."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.stores import StoreMaker
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.config import from_dict
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.snapshots.hdf5_places import has_mpi

COMM = MPI.COMM_WORLD
SHAPE = (13, 9)
SLOTS = 7
KINDS = [
    {"store": "memory"},
    {"store": "hdf5", "asynchronous": False},
    {"store": "hdf5", "asynchronous": True, "buffers": 3},
    {"store": "hdf5", "buffers": 3},
    {"store": "hdf5_shared"},
    {"store": "hdf5_shared", "asynchronous": True, "buffers": 3},
    {"store": "hdf5_shared", "driver": "auto", "alignment": "64 KiB"},
    {"store": "hdf5_shared", "driver": "mpio"},
    {"store": "tiered", "asynchronous": True, "buffers": 2},
]
# What values() has comes back from all of these as it was.
ENCODED = [
    {"store": "memory", "codec": "lossless"},
    {"store": "hdf5", "asynchronous": True, "buffers": 3, "codec": "lossless"},
    {"store": "hdf5_shared", "codec": "float32"},
    {"store": "hdf5_shared", "driver": "mpio", "codec": "lossless"},
    {"store": "tiered", "asynchronous": True, "buffers": 2, "codec": "float32"},
]
if COMM.size in (1, 6):
    # The pair that differs most from what other rank counts try.
    KINDS = [KINDS[2], KINDS[3], KINDS[5], KINDS[7]]
if not has_mpi():
    KINDS, ENCODED = (
        [kind for kind in kinds if kind.get("driver") != "mpio"] for kinds in (KINDS, ENCODED)
    )
ON_DISK = [kind for kind in KINDS if kind["store"].startswith("hdf5")]


def named(kind: dict[str, Any]) -> str:
    return "-".join(str(value) for value in kind.values())


def values(step: int) -> np.ndarray:
    """A global field that no other step has, as this rank's tile."""
    ny, nx = SHAPE
    field = np.arange(2.0 * ny * nx).reshape(2, ny, nx) + 1000 * step
    grid = Decomposition(COMM, SHAPE, False)
    return field[:, grid.rows, grid.columns]


def make(folder: Path, kind: dict[str, Any], slots: int = SLOTS, **more: Any) -> Any:
    section = {"directory": str(folder), **kind, **more}
    config = from_dict({"snapshots": section, "checkpointing": {"snapshots": 3}})
    grid = Decomposition(COMM, SHAPE, False)
    maker = StoreMaker(config, grid, lambda: np.zeros((2, *grid.tile_shape)))
    return maker.make(StoreAll(slots + 1))


def save(store: Any, slot: int, step: int) -> None:
    def fill(buffer: np.ndarray) -> None:
        buffer[...] = values(step)

    store.save(slot, step, fill)


def loaded(store: Any, slot: int, step: int) -> np.ndarray:
    found: list[np.ndarray] = []
    store.load(slot, step, lambda buffer: found.append(buffer.copy()))
    return found[0]


@contextmanager
def no_more_writes(first_rank: int = COMM.size - 1) -> Iterator[None]:
    """The system refuses whatever this rank and those after it write to files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if COMM.rank >= first_rank:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
