"""Ways between host and device, through page-locked memory of a fixed size."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from weakref import WeakKeyDictionary

import numpy as np

from burgers_adjoint.devices.device import Device, Event, Stream
from burgers_adjoint.devices.view import Sheet, View, sheets

SLOT = 2**19  # doubles that are on their way at once: 4 MiB

_staging: WeakKeyDictionary[Device, Staging] = WeakKeyDictionary()
_beside: WeakKeyDictionary[Device, Staging] = WeakKeyDictionary()


class Staging:
    """Two slots of page-locked memory: one is filled while the other one is emptied.

    Threads take turns. Use `of` or `beside`; the device is an argument of every call, for which it
    lives.

    Args:
        stream: of the copies; the main one when not given.
    """

    def __init__(self, stream: Stream | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._slots: list[np.ndarray] = []
        # what the device may still read from the slots
        self._busy: list[Event | None] = [None, None]

    @staticmethod
    def of(device: Device) -> Staging:
        """That of a device."""
        return _staging.setdefault(device, Staging())

    @staticmethod
    def beside(device: Device) -> Staging:
        """One of a device whose copies go on beside its steps, in a stream of their own."""
        if device not in _beside:
            _beside[device] = Staging(device.stream())
        return _beside[device]

    def download(
        self, device: Device, address: int, view: View, out: np.ndarray, after: Event | None = None
    ) -> None:
        """Copy entries of an array to the host, when the stream has done what it was given.

        Args:
            device: that has the array.
            address: of the array.
            view: which entries.
            out: float64 in C order, as many.
            after: what the stream waits for before.
        """
        flat = out.reshape(-1)
        stream = device.main if self._stream is None else self._stream
        waiting: tuple[np.ndarray, np.ndarray, Event] | None = None
        start = 0
        with self._lock:
            self._grow(device, view.size)
            if after is not None:
                device.wait(stream, after)
            for number, batch in enumerate(_batches(view)):
                slot = self._slots[number % 2]
                n = 0
                for sheet in batch:
                    width = sheet.width * 8
                    device.copy(
                        slot.ctypes.data + n * 8, width, address + sheet.offsets[0] * 8,
                        sheet.pitches[0] * 8, width, sheet.height, "to host", stream,
                    )  # fmt: skip
                    n += sheet.width * sheet.height
                arrived = device.record(stream)
                if waiting is not None:
                    _land(device, *waiting)
                waiting = flat[start : start + n], slot[:n], arrived
                start += n
            if waiting is not None:
                _land(device, *waiting)

    def upload(self, device: Device, values: np.ndarray, address: int, view: View) -> None:
        """Copy values to entries of an array, in the order of the stream.

        The values may be changed when this returns.

        Args:
            device: that has the array.
            values: float64 in C order.
            address: of the array.
            view: which entries, as many.
        """
        flat = values.reshape(-1)
        start = 0
        with self._lock:
            self._grow(device, view.size)
            for number, batch in enumerate(_batches(view)):
                slot, busy = self._slots[number % 2], self._busy[number % 2]
                if busy is not None:
                    device.synchronize(busy)
                n = sum(sheet.width * sheet.height for sheet in batch)
                slot[:n] = flat[start : start + n]
                start += n
                n = 0
                for sheet in batch:
                    width = sheet.width * 8
                    device.copy(
                        address + sheet.offsets[0] * 8, sheet.pitches[0] * 8,
                        slot.ctypes.data + n * 8, width, width, sheet.height, "to device",
                        self._stream,
                    )  # fmt: skip
                    n += sheet.width * sheet.height
                self._busy[number % 2] = device.record(self._stream or device.main)

    def _grow(self, device: Device, size: int) -> None:
        """Have slots for so many doubles, or as large as they get."""
        size = min(SLOT, max(size, 512))
        if self._slots and len(self._slots[0]) >= size:
            return
        for event in self._busy:
            if event is not None:
                device.synchronize(event)
        self._busy = [None, None]
        size = min(SLOT, 1 << (size - 1).bit_length())
        self._slots = [device.pinned(size * 8).view(np.float64) for _ in range(2)]


def _land(device: Device, target: np.ndarray, slot: np.ndarray, arrived: Event) -> None:
    device.synchronize(arrived)
    target[...] = slot


def _batches(view: View) -> Iterator[list[Sheet]]:
    """Sheets in order, together at most `SLOT` doubles in each list."""
    batch: list[Sheet] = []
    n = 0
    for sheet in sheets(view):
        for piece in _pieces(sheet):
            size = piece.width * piece.height
            if n + size > SLOT:
                yield batch
                batch, n = [], 0
            batch.append(piece)
            n += size
    if batch:
        yield batch


def _pieces(sheet: Sheet) -> Iterator[Sheet]:
    """A sheet in parts of at most `SLOT` doubles: of whole rows, or of a part of one."""
    (offset,), (pitch,) = sheet.offsets, sheet.pitches
    if sheet.width > SLOT:
        for row in range(sheet.height):
            for start in range(0, sheet.width, SLOT):
                width = min(SLOT, sheet.width - start)
                yield Sheet((offset + row * pitch + start,), (width,), width, 1)
        return
    most = SLOT // sheet.width
    for row in range(0, sheet.height, most):
        height = min(most, sheet.height - row)
        yield Sheet((offset + row * pitch,), (pitch,), sheet.width, height)
