"""Halo exchange: every neighbour gets one message with the edges of all fields."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.kernels.compilation import compiled
from burgers_adjoint.parallel.decomposition import Decomposition

# the eight directions as (north, east), corners included; the opposite of number d is 7 - d
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@compiled
def pack(array: Any, regions: Any, first_field: int, buffer: Any) -> None:
    """Copy the regions of all fields to the buffer; a region is (offset, rows, columns)."""
    for d in range(regions.shape[0]):
        offset, row0, row1, column0, column1 = regions[d]
        width = column1 - column0
        at = offset + first_field * (row1 - row0) * width
        for f in range(array.shape[0]):
            for r in range(row0, row1):
                for i in range(width):
                    buffer[at + i] = array[f, r, column0 + i]
                at += width


@compiled
def unpack(buffer: Any, regions: Any, first_field: int, array: Any) -> None:
    """Copy the buffer to the regions of all fields: the inverse of `pack`."""
    for d in range(regions.shape[0]):
        offset, row0, row1, column0, column1 = regions[d]
        width = column1 - column0
        at = offset + first_field * (row1 - row0) * width
        for f in range(array.shape[0]):
            for r in range(row0, row1):
                for i in range(width):
                    array[f, r, column0 + i] = buffer[at + i]
                at += width


def prepare_exchange() -> None:
    """Compile what packs and unpacks messages, or load it from the cache."""
    array, regions = np.zeros((1, 1, 1)), np.zeros((0, 5), dtype=np.int64)
    pack(array, regions, 0, array[0, 0])
    unpack(array[0, 0], regions, 0, array)


@dataclass(frozen=True)
class Frame:
    """Where a tile lies in its array: the tile's rows and columns, halo layers around them."""

    rows: slice
    columns: slice


def strip(side: int, span: slice, depth: int, outside: bool) -> tuple[int, int]:
    """Start and stop, along one axis, of what goes to (or, outside, comes from) a side.

    `side` is -1 (start of the axis), 1 (its end) or 0 (the whole span).
    """
    if side == 0:
        return span.start, span.stop
    if side < 0:
        return (span.start - depth, span.start) if outside else (span.start, span.start + depth)
    return (span.stop, span.stop + depth) if outside else (span.stop - depth, span.stop)


class Halo:
    """Exchange of the outer `depth` layers of a tile with its up to eight neighbours.

    Messages are persistent requests on packed buffers. A tile that is its own neighbour (a
    periodic domain, one tile wide) copies in memory: by way of the buffers, or, where arrays are
    on a device, from place to place there.

    Args:
        decomposition: who the neighbours are.
        frame: where the tile lies in the arrays.
        depth: layers to exchange, at most the extent of the smallest tile.
        n_fields: fields in all arrays of one exchange together.
        corners: whether the diagonal neighbours' points are needed.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        frame: Frame,
        depth: int,
        n_fields: int,
        corners: bool,
    ) -> None:
        assert depth <= min(decomposition.smallest_tile), "a halo reaches beyond the neighbour"
        self.seconds = 0.0
        self.n_fields = n_fields
        outgoing, incoming = [], []
        self._requests: list[MPI.Prequest] = []
        # Some MPI libraries complain of requests that are left at the end, so they are released on
        # every way there: with this object, or at the end of the process, if nobody has closed it.
        self._direct: list[MPI.Prequest] = []
        self._release = weakref.finalize(self, _release, self._requests, self._direct)
        sides = []
        size = 0
        for number, (north, east) in enumerate(DIRECTIONS):
            neighbour = decomposition.neighbour(north, east)
            if neighbour is None or (north and east and not corners):
                continue
            out_box = [
                *strip(north, frame.rows, depth, outside=False),
                *strip(east, frame.columns, depth, outside=False),
            ]
            in_box = [
                *strip(north, frame.rows, depth, outside=True),
                *strip(east, frame.columns, depth, outside=True),
            ]
            count = n_fields * (out_box[1] - out_box[0]) * (out_box[3] - out_box[2])
            outgoing.append([size, *out_box])
            incoming.append([size, *in_box])
            sides.append((number, neighbour, size, count))
            size += count
        offset_of = {number: offset for number, _, offset, _ in sides}
        for region, (number, neighbour, _, _) in zip(incoming, sides, strict=True):
            if neighbour == decomposition.rank:
                # what comes from the east is what this tile itself sends to the west
                region[0] = offset_of[7 - number] - size
        self._outgoing = np.array(outgoing, dtype=np.int64).reshape(-1, 5)
        self._incoming = np.array(incoming, dtype=np.int64).reshape(-1, 5)
        # For devices, apart: what goes to others, and what goes around, whose opposite number is in
        # the other half of the directions.
        own = np.array([neighbour == decomposition.rank for _, neighbour, _, _ in sides], bool)
        self._far_out, self._far_in = self._outgoing[~own], self._incoming[~own]
        self._around = np.hstack([self._outgoing[own][::-1, 1:], self._incoming[own][:, 1:]])
        # received first, sent after it: a self-neighbour's region points into the sent half
        self._buffer = np.zeros(2 * size)
        self._incoming[:, 0] += np.where(self._incoming[:, 0] < 0, 2 * size, 0)
        received, self._sent = self._buffer[:size], self._buffer[size:]
        self._far = [side for side, here in zip(sides, own, strict=True) if not here]
        self._comm = decomposition.comm
        self._requests += _messages(self._comm, self._far, _slices(received), _slices(self._sent))
        self._posts: tuple[Any, Any] | None = None
        self._by_host = not self._far

    def exchange(self, *arrays: Any) -> None:
        """Fill the halo of all arrays, each (n_fields of it, rows, pitch).

        Those that are not NumPy's pack, unpack and wrap themselves; all of a call are on one side.
        """
        self.start(*arrays)
        self.finish(*arrays)

    def start(self, *arrays: Any) -> None:
        """Send the edges of all arrays, which may be changed afterwards, but for their halo."""
        if not len(self._outgoing):
            return
        start = perf_counter()
        if isinstance(arrays[0], np.ndarray):
            first_field = 0
            for array in arrays:
                pack(array, self._outgoing, first_field, self._sent)
                first_field += array.shape[0]
            assert first_field == self.n_fields
            if self._requests:
                MPI.Prequest.Startall(self._requests)
        else:
            self._start_on_device(arrays)
        self.seconds += perf_counter() - start

    def finish(self, *arrays: Any) -> None:
        """Fill the halo of the arrays of `start` with what the neighbours have sent."""
        if not len(self._outgoing):
            return
        start = perf_counter()
        if isinstance(arrays[0], np.ndarray):
            if self._requests:
                MPI.Prequest.Waitall(self._requests)
            first_field = 0
            for array in arrays:
                unpack(self._buffer, self._incoming, first_field, array)
                first_field += array.shape[0]
        else:
            self._finish_on_device(arrays)
        self.seconds += perf_counter() - start

    def _start_on_device(self, arrays: Sequence[Any]) -> None:
        (sent, _), requests = self._messages_of(arrays[0])
        first_field = 0
        for array in arrays:
            array.pack(self._far_out, first_field, sent)
            first_field += array.shape[0]
        assert first_field == self.n_fields
        if requests is self._direct:
            sent.ready()
        if requests:
            MPI.Prequest.Startall(requests)
        for array in arrays:
            array.wrap(self._around)

    def _finish_on_device(self, arrays: Sequence[Any]) -> None:
        (_, received), requests = self._messages_of(arrays[0])
        if requests:
            MPI.Prequest.Waitall(requests)
        first_field = 0
        for array in arrays:
            array.unpack(received, self._far_in, first_field)
            first_field += array.shape[0]

    def _messages_of(self, array: Any) -> tuple[tuple[Any, Any], list[MPI.Prequest]]:
        """Messages that are sent and received of arrays of a device, and their requests.

        They are in the device's memory where `post` of the first array gives some, else the host's.
        """
        if not (self._by_host or self._posts):
            sent, received = (array.post(len(self._sent)) for _ in range(2))
            self._by_host = sent is None or received is None
            if not self._by_host:
                places = _memory(received.address), _memory(sent.address)
                self._direct += _messages(self._comm, self._far, *places)
                self._posts = sent, received
        if self._posts is None:
            return (self._sent, self._buffer), self._requests
        return self._posts, self._direct

    def close(self) -> None:
        """Release the requests."""
        self._release()


Place = Callable[[int, int], Any]
"""A buffer for MPI, from where a message starts and how many doubles it has."""


def _slices(values: np.ndarray) -> Place:
    return lambda start, count: values[start : start + count]


def _memory(address: int) -> Place:
    """Buffers in memory that this process may be unable to read, of a device."""

    def place(start: int, count: int) -> Any:
        return [MPI.memory.fromaddress(address + 8 * start, 8 * count), count, MPI.DOUBLE]

    return place


def _messages(
    comm: MPI.Comm, sides: Sequence[tuple[int, int, int, int]], received: Place, sent: Place
) -> Iterator[MPI.Prequest]:
    """Requests of one message each way, per side: direction, neighbour, offset and count."""
    for number, neighbour, *part in sides:
        yield comm.Recv_init(received(*part), source=neighbour, tag=7 - number)
        yield comm.Send_init(sent(*part), dest=neighbour, tag=number)


def _release(*several: list[MPI.Prequest]) -> None:
    for requests in several:
        if not MPI.Is_finalized():
            for request in requests:
                request.Free()
        requests.clear()
