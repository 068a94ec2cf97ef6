"""The layout of a snapshot file: plain HDF5, with every byte at a place that is known before.

HDF5 writes the file once, without data. Snapshots are then written and read at their places with
plain system calls or MPI-IO: several times as fast as through h5py, free of its global lock, so
that a thread can do it while the main one computes, and any build of h5py will do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PAGE = 4096
RECORD = np.dtype([("step", "<i8"), ("checksum", "<u8")])


@dataclass(frozen=True)
class FileLayout:
    """Places in a snapshot file, in bytes.

    Attributes:
        capacity: number of slots.
        data: where the snapshot of slot 0 begins; the others follow.
        slot_bytes: size of a snapshot.
        records: where the record of slot 0 and part 0 begins: the step that the slot holds, -1
            for none, and the checksum of the part's bytes; the other parts, then slots, follow.
        parts: writers that share a snapshot, each with a record of its own.
        file_bytes: size of the whole file.
    """

    capacity: int
    data: int
    slot_bytes: int
    records: int
    parts: int
    file_bytes: int

    def record(self, slot: int, part: int) -> int:
        """Where a record begins."""
        return self.records + (slot * self.parts + part) * RECORD.itemsize


def needed_bytes(capacity: int, slot_bytes: int, parts: int = 1) -> int:
    """Size of a snapshot file, up to some pages for what HDF5 adds."""
    return capacity * (slot_bytes + parts * RECORD.itemsize) + 4 * PAGE


def create(
    path: Path,
    capacity: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    attributes: Mapping[str, Any],
    parts: int = 1,
    alignment: int = PAGE,
) -> FileLayout:
    """Make a snapshot file: /snapshots, (capacity, *shape), and /records, (capacity, parts).

    Each of them that has at least a page begins at a multiple of `alignment`, in bytes.

    Raises:
        OSError: it is there already, or cannot be made, or there is no room for all of it.
    """
    slot_bytes = int(np.prod(shape)) * dtype.itemsize
    # A file that is there is left alone, and a disk that is too small says so now, not in the
    # middle of the run. HDF5 would say neither as clearly.
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, needed_bytes(capacity, slot_bytes, parts))
        layout = _write_layout(path, capacity, shape, dtype, attributes, parts, alignment)
        os.posix_fallocate(descriptor, 0, layout.file_bytes)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return layout


def _write_layout(
    path: Path,
    capacity: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    attributes: Mapping[str, Any],
    parts: int,
    alignment: int,
) -> FileLayout:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_alignment(PAGE, alignment)
    place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    place.set_layout(h5py.h5d.CONTIGUOUS)
    place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    place.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    identifier = h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, fapl=access)
    with h5py.File(identifier) as file:
        file.attrs.update(attributes)
        offsets = []
        for name, extent, kind in (
            (b"records", (capacity, parts), RECORD),
            (b"snapshots", (capacity, *shape), dtype),
        ):
            space = h5py.h5s.create_simple(extent)
            dataset = h5py.h5d.create(
                file.id, name, h5py.h5t.py_create(kind, logical=True), space, dcpl=place
            )
            offsets.append(dataset.get_offset() or 0)
        empty = np.zeros((capacity, parts), RECORD)
        empty["step"] = -1
        file["records"][...] = empty
    slot_bytes = int(np.prod(shape)) * dtype.itemsize
    end = offsets[1] + capacity * slot_bytes
    return FileLayout(
        capacity, offsets[1], slot_bytes, offsets[0], parts, max(end, path.stat().st_size)
    )


def new_record(step: int = 0, checksum: int = 0) -> np.ndarray:
    """A record, as bytes: the step and the checksum, XXH3 (64 bits), of a snapshot."""
    return np.array([(step, checksum)], RECORD).view(np.uint8)


def read_record(record: np.ndarray) -> tuple[int, int]:
    """The step and the checksum in a record."""
    step, checksum = record.view(RECORD)[0].tolist()
    return step, checksum
