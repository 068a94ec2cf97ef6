"""Makes what encodes snapshots as a configuration says."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from burgers_adjoint.config.checks import NO_CODEC
from burgers_adjoint.config.registry import CODECS
from burgers_adjoint.config.sections import Snapshots
from burgers_adjoint.parallel.agreement import Comm, anywhere, largest, largest_each, total
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.snapshots.block import HEAD
from burgers_adjoint.snapshots.codecs.codec import Codec
from burgers_adjoint.snapshots.codecs.verbatim import Verbatim
from burgers_adjoint.snapshots.compressed import CompressedStore
from burgers_adjoint.snapshots.tiered import TieredStore


class Encoding:
    """A codec and all that stores of encoded snapshots need beside it; collective.

    Args:
        section: names the codec.
        comm: all ranks.
        new_snapshot: returns a new snapshot of the model, an array to NumPy.
        name: of the codec, in place of the configured one.

    Attributes:
        codec: the one.
        buffer_bytes: of the snapshot that is encoded or decoded, on the rank that has most.
        room: bytes of a place for any encoded snapshot, on the rank that has most.
        tolerance: largest error of a point, of a bounded codec; None as long as it is not known.
        limited: whether snapshots in memory must not take more than they may; not where their
            number was found by what states of the run take.

    Raises:
        ConfigError: on all ranks: a package of the codec is not installed.
    """

    def __init__(
        self, section: Snapshots, comm: Comm, new_snapshot: Callable[[], Any], name: str
    ) -> None:
        self._section, self._comm, self._new_snapshot = section, comm, new_snapshot
        self._relative = section.tolerance_kind == "relative"
        with agreed(comm):
            self.codec: Codec = CODECS[name](section)
        self.tolerance, self.limited = section.tolerance, True
        array = np.asarray(new_snapshot())
        self.buffer_bytes = int(largest(comm, array.nbytes))
        bound = max(array.nbytes, self.codec.bound(array.shape, array.dtype))
        self.room = int(largest(comm, HEAD.size + bound))

    def before(self, store: SnapshotStore[Any], near: int, limit: int | None) -> CompressedStore:
        """A store that encodes what goes to this one.

        Args:
            store: of blocks.
            near: its slots in memory.
            limit: bytes that these may take, with the buffer; None for no limit.
        """
        section, comm = self._section, self._comm
        if limit is not None:
            limit = limit - self.buffer_bytes if self.limited else None
        return CompressedStore(
            store,
            self.codec,
            CODECS["lossless"](section),
            Verbatim(),
            self._new_snapshot,
            self._tolerances,
            partial(agreed, comm),
            partial(anywhere, comm),
            near,
            limit,
        )

    def _tolerances(self, array: np.ndarray) -> np.ndarray:
        """The tolerance of each field of an array, the same on all ranks. Collective."""
        assert self.tolerance is not None
        if not self._relative:
            return np.full(len(array), self.tolerance)
        flat = array.reshape(len(array), -1)
        sizes: Any = np.maximum(flat.max(axis=1), -flat.min(axis=1))
        sizes = largest_each(self._comm, np.where(np.isfinite(sizes), sizes, np.inf))
        return self.tolerance * np.where(sizes == 0, 1.0, sizes)

    @property
    def error_bound(self) -> str:
        """How far a value of a snapshot can be from what it was, in words."""
        if self.codec.lossless:
            return "0"
        if not self.codec.bounded:
            return self.codec.error
        of = " of its field's largest magnitude" if self._relative else ""
        return f"{self.tolerance:.3g}{of}"


def encoding_of(section: Snapshots, comm: Comm, new_snapshot: Callable[[], Any]) -> Encoding | None:
    """What encodes snapshots as configured; None where they are kept as they are."""
    if section.codec == NO_CODEC:
        return None
    return Encoding(section, comm, new_snapshot, section.codec)


def packed_ratio(comm: Comm, store: SnapshotStore[Any]) -> float:
    """How many times smaller a store has made its snapshots, of all ranks. Collective."""
    part = encoded_part(store)
    if part is None:
        return 1.0
    told = part.compression
    raw, packed = total(comm, told.raw_bytes), total(comm, told.packed_bytes)
    return float(raw / packed) if packed else 1.0


def encoded_part(store: SnapshotStore[Any]) -> CompressedStore | None:
    """What of a store encodes its snapshots; None where they are all kept as they are."""
    part = store.far if isinstance(store, TieredStore) else store
    return part if isinstance(part, CompressedStore) else None
