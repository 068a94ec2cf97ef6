"""A store whose snapshots are encoded: fewer bytes, for the time that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from burgers_adjoint.errors import StorageError
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.snapshots.agreed import Together
from burgers_adjoint.snapshots.block import HEAD, Block
from burgers_adjoint.snapshots.codecs.codec import Codec, CodecCannot

BY_CODEC, INSTEAD, VERBATIM = range(3)  # ways


@dataclass
class Compression:
    """What this process's part of a store has encoded.

    Attributes:
        saves: encoded snapshots; one that is written anew counts again.
        raw_bytes: before.
        packed_bytes: after.
        instead: step to why the codec could not, of those that are stored losslessly instead.
        seconds_encode, seconds_decode: that it took.
        memory_bytes: the most that encoded snapshots in memory have taken.
    """

    saves: int = 0
    raw_bytes: int = 0
    packed_bytes: int = 0
    instead: dict[int, str] = field(default_factory=dict)
    seconds_encode: float = 0.0
    seconds_decode: float = 0.0
    memory_bytes: int = 0


class CompressedStore(SnapshotStore[Any]):
    """Encodes what is saved, and decodes what is loaded, in front of a store of blocks.

    Args:
        store: of `Block`s; it raises on all ranks or on none.
        codec: makes bytes of a snapshot's array.
        instead: the lossless one that takes what the first one cannot.
        verbatim: takes what these would make larger.
        new_buffer: returns a new snapshot of the model, an array to NumPy.
        tolerances: returns a bounded codec's, the same on all ranks, for an array. Collective.
        together: makes a block that ends with the same exception on all ranks, or with none.
        anywhere: whether something holds on any rank. Collective.
        near_slots: slots below it are in memory.
        limit: bytes that these may take together; None for no limit.

    Attributes:
        lossy: whether what is loaded may differ from what was saved.
        compression: what was encoded so far.
    """

    def __init__(
        self,
        store: SnapshotStore[Block],
        codec: Codec,
        instead: Codec,
        verbatim: Codec,
        new_buffer: Callable[[], Any],
        tolerances: Callable[[np.ndarray], np.ndarray],
        together: Together,
        anywhere: Callable[[bool], bool],
        near_slots: int,
        limit: int | None,
    ) -> None:
        self.store, self.codec = store, codec
        self.lossy = not codec.lossless
        self.compression = Compression()
        self._ways = (codec, instead, verbatim)
        self._buffer = new_buffer()
        self._tolerances, self._together, self._anywhere = tolerances, together, anywhere
        self._near_slots, self._limit = near_slots, limit
        self._near_bytes: dict[int, int] = {}
        self._near_total = 0

    def save(self, slot: int, step: int, fill: Callable[[Any], None]) -> None:
        """Let `fill` make the snapshot of `step`, and save what the codec makes of it.

        Raises:
            SnapshotError: there is no such slot.
            StorageError: it cannot be written, or is more than the memory given holds.
        """
        fill(self._buffer)
        array, told = np.asarray(self._buffer), self.compression
        if self.codec.bounded:
            self.codec.tolerances = self._tolerances(array)
        start = perf_counter()
        with self._together():
            data, why = self._by_codec(array)
        if self.codec.pointwise and self._anywhere(bool(why)):
            why = why or "another rank's part of it is"
        with self._together():
            way, data = self._encoded(step, array, data, why)
            self._count(slot, HEAD.size + len(data))
        told.saves += 1
        told.raw_bytes += array.nbytes
        told.packed_bytes += len(data)
        told.seconds_encode += perf_counter() - start
        self.store.save(slot, step, lambda block: block.put(way, data))

    def _by_codec(self, array: np.ndarray) -> tuple[memoryview, str]:
        """An array's bytes, or why the codec cannot make them."""
        try:
            data = bytes_of(self.codec.encode(array))
        except CodecCannot as why:
            return memoryview(b""), str(why)
        # how many bytes a tile takes must not decide about what is rounded value by value
        if self.lossy and not self.codec.pointwise and len(data) > array.nbytes:
            return data, "it would take more bytes than it has"
        return data, ""

    def _encoded(
        self, step: int, array: np.ndarray, data: memoryview, why: str
    ) -> tuple[int, memoryview]:
        """The way that an array is encoded in, and its bytes."""
        told, way = self.compression, BY_CODEC
        told.instead.pop(step, None)
        if why:
            told.instead[step] = why
            way, data = INSTEAD, bytes_of(self._ways[INSTEAD].encode(array))
        if len(data) > array.nbytes and (way == INSTEAD or not self.lossy):
            way, data = VERBATIM, bytes_of(self._ways[VERBATIM].encode(array))
        return way, data

    def _count(self, slot: int, n_bytes: int) -> None:
        if not 0 <= slot < self._near_slots:
            return
        total = self._near_total + n_bytes - self._near_bytes.get(slot, 0)
        if self._limit is not None and total > self._limit:
            raise StorageError(
                f"the encoded snapshots take {total} bytes of memory per rank, snapshots.memory "
                f"allows {self._limit}: use fewer (checkpointing.snapshots), or, with a codec that "
                "has one, a larger snapshots.tolerance"
            )
        self._near_total, self._near_bytes[slot] = total, n_bytes
        self.compression.memory_bytes = max(self.compression.memory_bytes, total)

    def load(self, slot: int, step: int, read: Callable[[Any], None]) -> None:
        """Let `read` read what is decoded of the snapshot in `slot`, which keeps it.

        Raises:
            SnapshotError: the slot does not hold `step`, or what it holds is damaged.
        """
        found: list[tuple[int, np.ndarray]] = []

        def take(block: Block) -> None:
            way, data = block.get()
            found.append((way, data.copy()))

        self.store.load(slot, step, take)
        start = perf_counter()
        with self._together():
            ((way, data),) = found
            self._ways[way].decode(data.data, np.asarray(self._buffer))
        self.compression.seconds_decode += perf_counter() - start
        read(self._buffer)

    def fetch(self, slot: int, step: int) -> None:
        """Begin to bring the bytes near."""
        self.store.fetch(slot, step)

    def free(self, slot: int) -> None:
        self.store.free(slot)

    def flush(self) -> None:
        self.store.flush()

    def abandon(self) -> None:
        self.store.abandon()

    def close(self) -> None:
        self.store.close()

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, and the most that encoded snapshots in memory have taken."""
        beyond = self.store.nbytes - self._near_total
        buffer: int = np.asarray(self._buffer).nbytes
        return beyond + self.compression.memory_bytes + buffer


def bytes_of(encoded: bytes | bytearray | memoryview | np.ndarray) -> memoryview:
    """What a codec has returned, as bytes to look at."""
    return encoded.data if isinstance(encoded, np.ndarray) else memoryview(encoded)
