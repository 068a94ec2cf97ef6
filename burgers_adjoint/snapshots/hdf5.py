"""Snapshots on disk: numbered places of a plain HDF5 file that is allocated once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np

from burgers_adjoint.errors import SnapshotError, StorageError
from burgers_adjoint.snapshots.layout import RECORD, Layout, checksum, create, needed_bytes
from burgers_adjoint.snapshots.slots import Slots

Snapshot = TypeVar("Snapshot")


class SlotFile(Protocol):
    """Moves bytes between memory and the places of a snapshot file.

    A file that ranks share communicates in `write` and `read`, and then in the same way whether
    they raise or not.
    """

    path: Path
    layout: Layout

    def write(self, slot: int, data: np.ndarray, record: np.ndarray) -> None:
        """Write a snapshot and its record; raises OSError."""
        ...

    def read(self, slot: int, data: np.ndarray, record: np.ndarray) -> None:
        """Read a snapshot and its record; raises OSError, EOFError where bytes are missing."""
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
        try:
            self.layout = create(path, capacity, shape, dtype, attributes or {})
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            needed = needed_bytes(capacity, int(np.prod(shape)) * dtype.itemsize)
            raise cannot_make(path, needed, error) from error

    def write(self, slot: int, data: np.ndarray, record: np.ndarray) -> None:
        """Write a snapshot and its record."""
        _write(self._descriptor, data, self.layout.data + slot * self.layout.slot_bytes)
        _write(self._descriptor, record, self.layout.record(slot, 0))

    def read(self, slot: int, data: np.ndarray, record: np.ndarray) -> None:
        """Read a snapshot and its record."""
        _read(self._descriptor, data, self.layout.data + slot * self.layout.slot_bytes)
        _read(self._descriptor, record, self.layout.record(slot, 0))

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class HDF5Store(Generic[Snapshot]):
    """A `SnapshotStore` in a snapshot file, with a checksum of every snapshot verified on load.

    Snapshots are what NumPy can make an array of without a copy, such as arrays.

    Args:
        file: with the places for all slots; the store closes it.
        new_buffer: returns a new buffer, such as a model's `new_snapshot`.
        keep: whether the file stays when the store is closed.
        owner: whether it is this process that removes it.
    """

    def __init__(
        self,
        file: SlotFile,
        new_buffer: Callable[[], Snapshot],
        keep: bool = False,
        owner: bool = True,
    ) -> None:
        self.file = file
        self._new_buffer = new_buffer
        self._made: Snapshot | None = None
        self._slots = Slots(file.layout.capacity)
        self._record = np.zeros(1, RECORD)
        self._remove = owner and not keep
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
        data = _bytes(buffer)
        self._record["step"], self._record["checksum"] = step, checksum(data)
        try:
            self.file.write(slot, data, self._record)
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
        data, damage = _bytes(buffer), None
        try:
            self.file.read(slot, data, self._record)
        except (OSError, EOFError) as error:
            damage = f"it cannot be read: {getattr(error, 'strerror', None) or error}"
        else:
            found, written = checksum(data), int(self._record["checksum"][0])
            if int(self._record["step"][0]) != step:
                damage = f"it says that it is step {int(self._record['step'][0])}"
            elif found != written:
                damage = f"its checksum is {found:016x}, not {written:016x}"
        if damage is not None:
            raise SnapshotError(
                f"the snapshot of step {step} in slot {slot} of {self.file.path} is damaged: "
                f"{damage}"
            )

    def fetch(self, slot: int, step: int) -> None:
        """Do nothing: it is `BackgroundStore` that fetches ahead."""

    def free(self, slot: int) -> None:
        """Forget what `slot` holds.

        Raises:
            SnapshotError: there is no such slot, or it is empty.
        """
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
        if self._remove:
            self._remove = False
            self.file.path.unlink(missing_ok=True)

    @property
    def nbytes(self) -> int:
        """Bytes of the one buffer, which is there once it is used."""
        return 0 if self._made is None else _bytes(self._made).nbytes

    @property
    def _buffer(self) -> Snapshot:
        if self._made is None:
            self._made = self._new_buffer()
        return self._made


def cannot_make(path: Path, n_bytes: int, error: OSError) -> StorageError:
    """The error of a snapshot file that cannot be made."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(f"cannot make the snapshot file {path}, {n_bytes} bytes: {reason}")


def _bytes(buffer: Any) -> np.ndarray:
    """The bytes of a buffer, not a copy of them."""
    array = np.asarray(buffer)
    if not array.flags.c_contiguous:
        raise TypeError("snapshots on disk need contiguous buffers")
    return cast(np.ndarray, array.reshape(-1).view(np.uint8))


def _write(descriptor: int, data: np.ndarray, offset: int) -> None:
    view = memoryview(data.view(np.uint8))  # type: ignore[arg-type]
    while len(view):
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


def _read(descriptor: int, data: np.ndarray, offset: int) -> None:
    view = memoryview(data.view(np.uint8))  # type: ignore[arg-type]
    while len(view):
        done = os.preadv(descriptor, [view], offset)
        if done == 0:
            raise EOFError("the file is cut short")
        view, offset = view[done:], offset + done
