"""Edges of tiles on their way: between a device and messages on the host, and around a tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from burgers_adjoint.devices.device import Device, Event
from burgers_adjoint.devices.staging import Staging
from burgers_adjoint.devices.view import View
from burgers_adjoint.errors import ConfigError

THREADS = 256  # of a block
MOST_BLOCKS = 64  # of a region
MOST_PARCELS = 64  # kept of a device

_COPY = """\
ENTRY void {name}(int blocks_x, int blocks_y, int threads, int shared_doubles,
    int64 n_fields, const int64* table, {const}double* array, int64 field, int64 row, int64 column,
    {other}double* message) {{
  FOR_BLOCKS(bx, by) {{
    const int64* const region = table + 5 * by;
    const int64 height = region[2] - region[1], width = region[4] - region[3];
    {{ FOR_THREADS(t) {{
      for (int64 e = (int64)bx * threads + t; e < n_fields * height * width;
           e += (int64)blocks_x * threads) {{
        const int64 c = region[3] + e % width, r = region[1] + e / width % height;
        const int64 f = e / (width * height), at = f * field + r * row + c * column;
        {copy}
      }}
    }} }}
  }}
}}
"""
PACK = _COPY.format(
    name="pack", const="const ", other="", copy="message[region[0] + e] = array[at];"
)
UNPACK = _COPY.format(
    name="unpack", const="", other="const ", copy="array[at] = message[region[0] + e];"
)

# from own points of a tile to its halo, which no region shares with another one
WRAP = """\
ENTRY void wrap(int blocks_x, int blocks_y, int threads, int shared_doubles,
    int64 n_fields, const int64* table, double* array, int64 field, int64 row, int64 column) {
  FOR_BLOCKS(bx, by) {
    const int64* const from = table + 8 * by;
    const int64* const to = from + 4;
    const int64 height = from[1] - from[0], width = from[3] - from[2];
    { FOR_THREADS(t) {
      for (int64 e = (int64)bx * threads + t; e < n_fields * height * width;
           e += (int64)blocks_x * threads) {
        const int64 c = e % width, r = e / width % height, f = e / (width * height);
        array[f * field + (to[0] + r) * row + (to[2] + c) * column] =
            array[f * field + (from[0] + r) * row + (from[2] + c) * column];
      }
    } }
  }
}
"""

Kept = TypeVar("Kept")
_kept: WeakKeyDictionary[Device, dict[Any, Any]] = WeakKeyDictionary()


def _of(device: Device, key: Any, make: Callable[[], Kept]) -> Kept:
    """The object for a key, made at its first use; at MOST_PARCELS of them all are dropped."""
    known = _kept.setdefault(device, {})
    if key not in known:
        if len(known) >= MOST_PARCELS:
            # what the device still does with them comes first
            device.synchronize()
            known.clear()
        known[key] = make()
    found: Kept = known[key]
    return found


def _on_device(device: Device, table: np.ndarray) -> Any:
    """Memory of a device with integers."""
    memory = device.allocate(table.nbytes)
    numbers = np.ascontiguousarray(table).view(np.float64)
    Staging.of(device).upload(device, numbers, memory.address, View.whole(table.shape))
    return memory


def _geometry(address: int, view: View) -> list[Any]:
    field, row, column = view.strides
    return [
        np.uint64(address + view.offset * 8), np.int64(field), np.int64(row), np.int64(column),
    ]  # fmt: skip


class Parcel:
    """What arrays of some fields have in regions, with memory for it on both sides.

    Use `of`; the device is an argument of every call, for which it lives.

    Args:
        device: that has the arrays.
        regions: (n, 5) int64; see `parallel.halo.pack`.
        n_fields: of an array.
    """

    def __init__(self, device: Device, regions: np.ndarray, n_fields: int) -> None:
        cells = (regions[:, 2] - regions[:, 1]) * (regions[:, 4] - regions[:, 3])
        self._n_fields = n_fields
        self._cells = [int(n) for n in cells]
        self._offsets = [int(offset) for offset in regions[:, 0]]
        ends = np.cumsum(n_fields * cells)
        table = np.ascontiguousarray(regions)
        table[:, 0] = ends - n_fields * cells
        self._starts = [int(start) for start in table[:, 0]]
        self._n_bytes = int(ends[-1]) * 8
        self._table = _on_device(device, table)
        self._message = device.allocate(self._n_bytes)
        self._host = device.pinned(self._n_bytes).view(np.float64)
        most = max(1, n_fields * max(self._cells))
        self._blocks = min(MOST_BLOCKS, -(-most // THREADS)), len(regions)
        self._read: Event | None = None  # by the device, of the host's memory

    @staticmethod
    def of(device: Device, regions: np.ndarray, n_fields: int) -> Parcel:
        """That of these regions, made at the first call for them."""
        key = regions.tobytes(), n_fields
        return _of(device, key, lambda: Parcel(device, regions.copy(), n_fields))

    def pack(
        self, device: Device, address: int, view: View, first_field: int, buffer: np.ndarray
    ) -> None:
        """Copy the regions of an array to a message, when the main stream has got that far.

        Args:
            device: that has the array.
            address: of the array.
            view: (n_fields, rows, columns) of it.
            first_field: of the message that the array's first one is.
            buffer: the message, float64.
        """
        self._launch(device, PACK, "pack", address, view)
        here = self._host.ctypes.data
        n_bytes = self._n_bytes
        device.copy(here, n_bytes, self._message.address, n_bytes, n_bytes, 1, "to host")
        device.synchronize()
        for theirs, ours in self._parts(first_field):
            buffer[theirs] = self._host[ours]

    def unpack(
        self, device: Device, buffer: np.ndarray, first_field: int, address: int, view: View
    ) -> None:
        """Copy a message to the regions of an array, in the order of the main stream.

        The message may be changed when this returns. Arguments as of `pack`.
        """
        if self._read is not None:
            device.synchronize(self._read)
        for theirs, ours in self._parts(first_field):
            self._host[ours] = buffer[theirs]
        here = self._host.ctypes.data
        n_bytes = self._n_bytes
        device.copy(self._message.address, n_bytes, here, n_bytes, n_bytes, 1, "to device")
        self._read = device.record(device.main)
        self._launch(device, UNPACK, "unpack", address, view)

    def _parts(self, first_field: int) -> list[tuple[slice, slice]]:
        """Where the regions' values lie in a message for all fields, and in the memory here."""
        parts = []
        for offset, start, cells in zip(self._offsets, self._starts, self._cells, strict=True):
            there, n = offset + first_field * cells, self._n_fields * cells
            parts.append((slice(there, there + n), slice(start, start + n)))
        return parts

    def _launch(self, device: Device, source: str, name: str, address: int, view: View) -> None:
        device.launch(
            device.function(source, name), self._blocks, THREADS, 0,
            [
                np.int64(self._n_fields), np.uint64(self._table.address),
                *_geometry(address, view), np.uint64(self._message.address),
            ],
        )  # fmt: skip


class Post:
    """Memory for messages on a device, where MPI reads and writes it.

    Args:
        device: that has it.
        size: doubles in it.

    Attributes:
        address: of the first one.
    """

    def __init__(self, device: Device, size: int) -> None:
        self._device, self._memory = device, device.allocate(8 * size)
        self.address = self._memory.address

    @staticmethod
    def of(device: Device, size: int) -> Post | None:
        """New memory for messages; None where MPI is not to use it, or there is no room.

        Then `direct` is no more: the summary says which way halos go.
        """
        if device.direct:
            try:
                return Post(device, size)
            except ConfigError:
                device.direct = False
        return None

    def copy(
        self, name: str, address: int, view: View, regions: np.ndarray, first_field: int
    ) -> None:
        """Ask for a copy between regions of an array and messages, in the order of the main stream.

        Args:
            name: "pack", or "unpack" for the other way.
            address: of the array.
            view: (n_fields, rows, columns) of it.
            regions: (n, 5) int64; see `parallel.halo.pack`.
            first_field: of the messages that the array's first one is.
        """
        n_fields = view.shape[0]
        if not len(regions) or not n_fields:
            return
        cells = (regions[:, 2] - regions[:, 1]) * (regions[:, 4] - regions[:, 3])
        table = regions.copy()
        table[:, 0] += first_field * cells
        device = self._device
        memory = _of(device, (name, table.tobytes()), lambda: _on_device(device, table))
        blocks = min(MOST_BLOCKS, max(1, -(-n_fields * int(cells.max()) // THREADS))), len(regions)
        device.launch(
            device.function({"pack": PACK, "unpack": UNPACK}[name], name), blocks, THREADS, 0,
            [
                np.int64(n_fields), np.uint64(memory.address), *_geometry(address, view),
                np.uint64(self.address),
            ],
        )  # fmt: skip

    def ready(self) -> None:
        """Wait until what was packed is there."""
        self._device.synchronize()


class Wrap:
    """Copies from regions of an array to others of it, of which none overlaps with any.

    Use `of`; the device is an argument of every call, for which it lives.

    Args:
        device: that has the arrays.
        pairs: (n, 8) int64: (start, stop) of rows and of columns, from where and to where.
    """

    def __init__(self, device: Device, pairs: np.ndarray) -> None:
        self._table = _on_device(device, pairs)
        self._n_regions = len(pairs)
        self._most = int(((pairs[:, 1] - pairs[:, 0]) * (pairs[:, 3] - pairs[:, 2])).max())

    @staticmethod
    def of(device: Device, pairs: np.ndarray) -> Wrap:
        """That of these regions, made at the first call for them."""
        return _of(device, pairs.tobytes(), lambda: Wrap(device, pairs))

    def copy(self, device: Device, address: int, view: View) -> None:
        """Copy the regions of all fields, in the order of the main stream; see `Parcel.pack`."""
        n_fields = view.shape[0]
        blocks = min(MOST_BLOCKS, max(1, -(-n_fields * self._most // THREADS))), self._n_regions
        device.launch(
            device.function(WRAP, "wrap"), blocks, THREADS, 0,
            [np.int64(n_fields), np.uint64(self._table.address), *_geometry(address, view)],
        )  # fmt: skip
