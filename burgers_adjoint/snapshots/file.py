"""Snapshots on disk: numbered places of a plain HDF5 file that is allocated once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import xxhash

from burgers_adjoint.errors import SnapshotError, StorageError
from burgers_adjoint.protocols import SnapshotStore, bytes_of
from burgers_adjoint.snapshots.file_layout import (
    FileLayout,
    create,
    needed_bytes,
    new_record,
    read_record,
)
from burgers_adjoint.snapshots.guard import Guard
from burgers_adjoint.snapshots.slots import Slots

Snapshot = TypeVar("Snapshot")

# A piece is hashed, and gathered from a state's rows, in the second-level cache on its way.
PIECE = 2**18


class SlotFile(Protocol):
    """Moves arrays of one shape, contiguous or not, between memory and places of a snapshot file.

    Both directions return the checksum of the data, which is cheapest while they pass. A file that
    ranks share communicates in all calls, and then in the same way whether they raise or not.
    """

    path: Path
    layout: FileLayout

    def write(self, slot: int, step: int, data: np.ndarray) -> None:
        """Write a snapshot, its step and its checksum; raises OSError."""
        ...

    def read(self, slot: int, data: np.ndarray) -> tuple[int, int, int]:
        """Read a snapshot; raises OSError, EOFError where bytes are missing.

        Returns:
            The step and the checksum that were written, and the checksum of what was read.
        """
        ...

    def close(self) -> None:
        """Let go of the file; it stays."""
        ...


class LocalFile:
    """A snapshot file that one process has for itself.

    Raises:
        StorageError: the file cannot be made, or there is no room for all of it.
    """

    def __init__(
        self,
        path: Path,
        capacity: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self._descriptor = -1
        self._room = np.empty(0, dtype)
        try:
            self.layout = create(path, capacity, shape, dtype, attributes or {})
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            needed = needed_bytes(capacity, int(np.prod(shape)) * dtype.itemsize)
            raise cannot_make(path, needed, error) from error

    def write(self, slot: int, step: int, data: np.ndarray) -> None:
        """Write a snapshot, its step and its checksum."""
        offset = self.layout.data + slot * self.layout.slot_bytes
        hashing = xxhash.xxh3_64()
        for piece in _pieces(data):
            dense = self._dense(piece)
            if dense is not piece:
                dense[...] = piece
            view = dense.data.cast("B")
            hashing.update(view)
            _write(self._descriptor, view, offset)
            offset += len(view)
        record = new_record(step, hashing.intdigest())
        _write(self._descriptor, record.data, self.layout.record(slot, 0))

    def read(self, slot: int, data: np.ndarray) -> tuple[int, int, int]:
        """Read a snapshot; returns step and checksum as written, and checksum as found."""
        offset = self.layout.data + slot * self.layout.slot_bytes
        hashing = xxhash.xxh3_64()
        for piece in _pieces(data):
            dense = self._dense(piece)
            view = dense.data.cast("B")
            _read(self._descriptor, view, offset)
            hashing.update(view)
            if dense is not piece:
                piece[...] = dense
            offset += len(view)
        record = new_record()
        _read(self._descriptor, record.data, self.layout.record(slot, 0))
        return (*read_record(record), hashing.intdigest())

    def _dense(self, piece: np.ndarray) -> np.ndarray:
        """The piece if it is contiguous, else room for it that is."""
        if piece.flags.c_contiguous:
            return piece
        if self._room.size < piece.size:
            self._room = np.empty(piece.size, piece.dtype)
        return self._room[: piece.size].reshape(piece.shape)

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class HDF5Store(SnapshotStore[Snapshot]):
    """Snapshots in a snapshot file, with a checksum of every snapshot verified on load.

    Args:
        file: with the places for all slots; the store closes it.
        new_buffer: returns a new buffer, such as a model's `new_snapshot`.
        own_points: returns the array that is kept of a buffer, a view; the buffer's own when not
            given, which may be what NumPy can make an array of without a copy.
        keep: whether the file stays when the store is closed.
        owner: whether it is this process that removes it.
    """

    def __init__(
        self,
        file: SlotFile,
        new_buffer: Callable[[], Snapshot],
        keep: bool = False,
        owner: bool = True,
        own_points: Callable[[Snapshot], np.ndarray] = np.asarray,
    ) -> None:
        self.file = file
        self._own_points = own_points
        self._new_buffer = new_buffer
        self._made: Snapshot | None = None
        self._slots = Slots(file.layout.capacity)
        self._guard = Guard(file.path) if owner and not keep else None
        self._closed = False

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Let `fill` make the snapshot of `step`, and write it to `slot`.

        Raises:
            SnapshotError: there is no such slot.
            StorageError: it cannot be written.
        """
        self._slots.put(slot, None)
        fill(self._buffer)
        self.put(slot, step, self._buffer)

    def put(self, slot: int, step: int, buffer: Snapshot) -> None:
        """Write the snapshot of `step` that is in the caller's own buffer.

        Raises:
            SnapshotError: there is no such slot.
            StorageError: it cannot be written.
        """
        self._slots.put(slot, None)
        data = np.asarray(self._own_points(buffer))  # what is on a device comes to the host
        try:
            self.file.write(slot, step, data)
        except OSError as error:
            raise StorageError(
                f"cannot write the snapshot of step {step} ({data.nbytes} bytes) to "
                f"{self.file.path}: {error.strerror or error}"
            ) from error
        self._slots.put(slot, step)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Let `read` read the snapshot of `step` from `slot`, which keeps it.

        Raises:
            SnapshotError: there is no such slot, it does not hold `step`, or what it holds cannot
                be read or has another checksum than the one that was written.
        """
        self.get(slot, step, self._buffer)
        read(self._buffer)

    def get(self, slot: int, step: int, buffer: Snapshot) -> None:
        """Read the snapshot of `step` into the caller's own buffer.

        Raises:
            SnapshotError: as for `load`.
        """
        self._slots.require_held(slot, step)
        points, damage = self._own_points(buffer), None
        # not `np.asarray`, which would bring what is on a device here first
        data = points if isinstance(points, np.ndarray) else np.empty(points.shape, points.dtype)
        try:
            held, written, found = self.file.read(slot, data)
        except (OSError, EOFError) as error:
            damage = f"it cannot be read: {getattr(error, 'strerror', None) or error}"
        else:
            if held != step:
                damage = f"it says that it is step {held}"
            elif found != written:
                damage = f"its checksum is {found:016x}, not {written:016x}"
            elif data is not points:
                points[...] = data
        if damage is not None:
            raise SnapshotError(
                f"the snapshot of step {step} in slot {slot} of {self.file.path} is damaged: "
                f"{damage}"
            )

    def free(self, slot: int) -> None:
        self._slots.free(slot)

    def close(self) -> None:
        """Close the file, and remove it unless it is to be kept."""
        if self._closed:
            return
        self.abandon()
        self.file.close()

    def abandon(self) -> None:
        """Remove the file unless it is to be kept, without a word to the other ranks."""
        self._closed = True
        self._slots.close()
        if self._guard is not None:
            self._guard.end()
            self._guard = None

    @property
    def nbytes(self) -> int:
        """Bytes of the one buffer, which is there once it is used."""
        return bytes_of([self._made])

    @property
    def _buffer(self) -> Snapshot:
        if self._made is None:
            self._made = self._new_buffer()
        return self._made


def cannot_make(path: Path, n_bytes: int, error: OSError) -> StorageError:
    """The error of a snapshot file that cannot be made."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(f"cannot make the snapshot file {path}, {n_bytes} bytes: {reason}")


def _pieces(data: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of an array (..., rows, columns), in its order."""
    if data.flags.c_contiguous:
        flat, length = data.reshape(-1), max(1, PIECE // data.itemsize)
        for begin in range(0, flat.size, length):
            yield flat[begin : begin + length]
    elif data.ndim > 2:
        for plane in data:
            yield from _pieces(plane)
    else:
        length = max(1, PIECE // (data.itemsize * data.shape[-1]))
        for begin in range(0, len(data), length):
            yield data[begin : begin + length]


def _write(descriptor: int, view: memoryview, offset: int) -> None:
    while len(view):
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


def _read(descriptor: int, view: memoryview, offset: int) -> None:
    while len(view):
        done = os.preadv(descriptor, [view], offset)
        if done == 0:
            raise EOFError("the file is cut short")
        view, offset = view[done:], offset + done
