"""Makes the snapshot store that a configuration asks for, on all ranks or on none."""

import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.assembly.device_stores import (
    FEWER,
    FEWER_BUFFERS,
    Room,
    device_of,
    pinned_store,
    resident,
)
from burgers_adjoint.assembly.encoding import encoding_of
from burgers_adjoint.checkpointing.schedule import Slotted
from burgers_adjoint.config import Config
from burgers_adjoint.config.registry import STORES
from burgers_adjoint.errors import (
    BurgersAdjointError,
    ConfigError,
    StorageError,
    agreed_error,
)
from burgers_adjoint.files.whole import reason
from burgers_adjoint.parallel.agreement import (
    Comm,
    from_rank,
    largest,
    largest_each,
    of_every_rank,
    ranks_of_node,
    smallest,
    total,
)
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.library import calls_from_threads
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.snapshots.agreed import AgreedStore
from burgers_adjoint.snapshots.block import Block
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.snapshots.tiered import TieredStore
from burgers_adjoint.snapshots.write_behind import Transfer

Store = SnapshotStore[Any]
LARGEST_STATE = 1.125  # times a snapshot's bytes, for states to be used as snapshots


@dataclass(frozen=True)
class StoreKind:
    """What stores of one name are.

    Attributes:
        near_slots: how many of a schedule's slots are in memory.
        make_far: makes a store for so many other slots, with buffers in front of it or without;
            it raises on all ranks or on none. None where all slots are in memory.
        asynchronous: whether it has buffers unless the configuration says.
    """

    near_slots: "Callable[[StoreMaker, Slotted], int]"
    make_far: "Callable[[StoreMaker, int, bool], Store] | None"
    asynchronous: bool = True


class StoreMaker:
    """Makes stores for the snapshots of one configuration; all methods are collective.

    Args:
        config: [snapshots] says where they live.
        decomposition: whose tiles they are.
        new_buffer: returns a new buffer for this rank's part, an array or what is one to NumPy.
        new_state: returns a new working state, which holds this rank's part with its halo and
            padding, on the host or on a device; None where snapshots are more than states.
        own_points: returns the view of a state's own points, of a buffer's shape.

    Attributes:
        room: memory for snapshots.
        encoding: what encodes snapshots; None where they are kept as they are.
        exchanges: whether stores swap states instead of copying to buffers, on all ranks: where
            halo and padding are small, or where states are on a device.
        slot_bytes: of this rank's part of a snapshot, on disk.
        memory_bytes: of it in memory.
        largest_slot_bytes, largest_memory_bytes: of the rank that has most.
    """

    def __init__(
        self,
        config: Config,
        decomposition: Decomposition,
        new_buffer: Callable[[], Any],
        new_state: Callable[[], Any] | None = None,
        own_points: Callable[[Any], np.ndarray] = np.asarray,
    ) -> None:
        self.config = config
        self.comm: Any = decomposition.comm
        self._decomposition = decomposition
        self._new_plain = resident(new_buffer)
        self.encoding = encoding_of(config.snapshots, self.comm, new_buffer)
        if self.encoding is not None:
            new_buffer, new_state = partial(Block, self.encoding.room), None
        self.new_buffer = self._new_place = resident(new_buffer)
        self._own_points: Callable[[Any], np.ndarray] = np.asarray
        sample = np.asarray(new_buffer())
        self._shape, self._dtype = sample.shape, sample.dtype
        self.slot_bytes = self.memory_bytes = sample.nbytes
        state = sample if new_state is None else new_state()
        state_bytes, self._device = state.nbytes, device_of(state)
        self.room = Room(self.comm, config.snapshots, self._device)
        # copies to the host would cost more than any halo on the device
        costly = self._device is None and state_bytes > LARGEST_STATE * sample.nbytes
        sizes = np.array([sample.nbytes, state_bytes, costly])
        agreed_sizes = largest_each(self.comm, sizes)
        self.largest_slot_bytes, self.largest_memory_bytes, too_large = map(int, agreed_sizes)
        self.exchanges = False
        if new_state is not None and not too_large:
            self.exchanges = True
            self._new_place, self._own_points = resident(new_state), own_points
            self.memory_bytes = state_bytes
        else:
            self.largest_memory_bytes = self.largest_slot_bytes

    def make(self, schedule: Slotted, kind: str | None = None) -> Store:
        """A new store with the slots of the schedule, the configured kind or the named one.

        Raises:
            ConfigError: on all ranks: the memory or the disk is too small for it.
            StorageError: on all ranks: the folder or a file cannot be made.
        """
        kind, slots = kind or self.config.snapshots.store, schedule.slots
        near = self.near_slots(schedule, kind)
        plain = min(schedule.memory_slots, slots)
        if self.encoding is not None and near == slots > plain:
            return self._half_encoded(plain, slots - plain)
        buffers = 0
        if near < slots:
            buffers = max(1, min(self.buffers_of(kind), max(2, slots - near)))
        # encoded snapshots take what they take: the store looks at it as it fills
        known = buffers + (near if self.encoding is None else 0)
        self.room.require(
            known * self.memory_bytes,
            known * self.largest_memory_bytes,
            FEWER if near else FEWER_BUFFERS,
        )
        new_place = self._new_place if self.encoding is None else Block
        with agreed(self.comm):  # a device may have less than it said
            memory: Store = MemoryStore(new_place, near, self.exchanges)
        if near == slots:
            return self._encoded(memory, near, buffers * self.largest_memory_bytes)
        make_far = self._kind(kind).make_far
        assert make_far is not None
        disk = make_far(self, slots - near, self.asynchronous(kind))
        store = TieredStore(memory, disk, near) if near else disk
        return self._encoded(store, near, buffers * self.largest_memory_bytes)

    def _half_encoded(self, near: int, far: int) -> Store:
        """Snapshots that come and go often as they are, the others encoded, all in memory."""
        plain_bytes = int(largest(self.comm, near * np.asarray(self._new_plain()).nbytes))
        self.room.require_limit(plain_bytes)
        blocks = self._encoded(MemoryStore(Block, far), far, plain_bytes)
        return TieredStore(MemoryStore(self._new_plain, near), blocks, near)

    def _encoded(self, store: Store, near: int = 0, other_bytes: int = 0) -> Store:
        """The store, and in front of it what encodes its snapshots, if anything does."""
        if self.encoding is None:
            return store
        limit = self.room.limit()
        if limit is not None:
            limit -= other_bytes
        return self.encoding.before(store, near, limit)

    def sample(self, schedule: Slotted) -> tuple[Store, list[Transfer]]:
        """A new store of a file per rank with few buffers, and a list of what will be moved."""
        from burgers_adjoint.snapshots.write_behind import LEAST_BUFFERS, WriteBehindStore

        front = WriteBehindStore(
            self._slow(schedule.slots, shared=False, swapped=self.exchanges, keep=False),
            self._new_place,
            schedule.slots,
            LEAST_BUFFERS,
            threaded=False,
            exchanges=self.exchanges,
        )
        front.transfers = []
        store = self._encoded(AgreedStore(front, partial(agreed, self.comm)))
        return store, front.transfers

    def free_disk_slots(self, share: float) -> int:
        """Snapshots per rank that fit into a share of the free disk.

        Raises:
            StorageError: on all ranks: there is no folder that could be written to.
        """
        folder = self._folder(1, shared=False)
        with ranks_of_node(self.comm) as node:
            n_ranks = node.size
        with agreed(self.comm):
            free = shutil.disk_usage(folder).free
        return int(smallest(self.comm, int(share * free / (n_ranks * self.largest_slot_bytes))))

    def near_slots(self, schedule: Slotted, kind: str | None = None) -> int:
        """How many of a schedule's slots are in memory."""
        return self._kind(kind or self.config.snapshots.store).near_slots(self, schedule)

    def slots_that_fit(self, schedule: Slotted) -> int:
        """How many of a schedule's slots go to memory where others can go to disk."""
        if schedule.memory_slots < schedule.slots:
            return schedule.memory_slots
        limit = self.room.limit()
        if limit is None:
            # a number: "as many as fit" is for stores in memory
            return min(schedule.slots, int(self.config.checkpointing.snapshots))
        fitting = limit // self.largest_memory_bytes - self.config.snapshots.buffers
        return max(0, min(schedule.slots, fitting))

    def asynchronous(self, kind: str) -> bool:
        """Whether buffers, and a thread where cores are idle, stand before stores of this kind."""
        wanted = self.config.snapshots.asynchronous
        return self._kind(kind).asynchronous if wanted is None else wanted

    def buffers_of(self, kind: str) -> int:
        """Buffers before a store of this kind."""
        on_disk = self._kind(kind).make_far is not None and self.asynchronous(kind)
        return self.config.snapshots.buffers if on_disk else 0

    def _kind(self, name: str) -> StoreKind:
        kind: StoreKind = STORES[name]
        return kind

    def in_files(self, capacity: int, asynchronous: bool) -> Store:
        """A new store of a file per rank."""
        return self._disk(capacity, False, asynchronous)

    def in_shared_file(self, capacity: int, asynchronous: bool) -> Store:
        """A new store of one file for all ranks."""
        return self._disk(capacity, True, asynchronous)

    def in_pinned_memory(self, capacity: int, asynchronous: bool) -> Store:
        """A new store of page-locked memory, of states on a device."""
        sizes, section = (self.memory_bytes, self.largest_memory_bytes), self.config.snapshots
        return pinned_store(self.comm, section, self._device, self._new_place, capacity, sizes)

    def _disk(self, capacity: int, shared: bool, asynchronous: bool) -> Store:
        from burgers_adjoint.snapshots.write_behind import WriteBehindStore

        comm, section = self.comm, self.config.snapshots
        if shared and asynchronous and not calls_from_threads():
            raise agreed_error(
                ConfigError(
                    "snapshots.asynchronous = true with hdf5_shared needs an MPI that allows calls "
                    "from several threads (MPI_THREAD_MULTIPLE); this one does not"
                )
            )
        swapped = self.exchanges and asynchronous and not shared
        store: Any = self._slow(capacity, shared, swapped, section.keep)
        if asynchronous:
            # The moves of a file that ranks share have to be the same on all of them.
            threaded = shared or bool(section.asynchronous) or idle_share(comm) > 0
            new_buffer = self._new_place if swapped else self.new_buffer
            with agreed(comm):
                store = WriteBehindStore(
                    store, new_buffer, capacity, section.buffers, threaded=threaded,
                    exchanges=swapped,
                )  # fmt: skip
        return AgreedStore(store, partial(agreed, comm))

    def _slow(self, capacity: int, shared: bool, swapped: bool, keep: bool) -> Any:
        """A store in new files; swapped says whether its snapshots are states."""
        from burgers_adjoint.snapshots.block_file import BlockFile
        from burgers_adjoint.snapshots.file import HDF5Store

        comm = self.comm
        # Files are named by run; whoever starts two at a time gets two names.
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self.run = from_rank(comm, stamp)
        folder = self._folder(capacity, shared)
        if shared:
            from burgers_adjoint.assembly.shared_snapshots import shared_file

            path, tile = folder / f"snapshots-{self.run}-shared.h5", np.asarray(self.new_buffer())
            section = self.config.snapshots
            file: Any = shared_file(path, self.run, capacity, tile, self._part(tile), comm, section)
        else:
            with agreed(comm):
                file = self._local_file(folder, capacity)
        if self.encoding is not None:
            # HDF5's own driver moves what its dataset has, and no less
            file = BlockFile(file, whole=shared and not file.divisible)
        new_place = self._new_place if swapped else self.new_buffer
        own_points = self._own_points if swapped else np.asarray
        return HDF5Store(file, new_place, keep, not shared or comm.rank == 0, own_points)

    def _part(self, tile: np.ndarray) -> tuple[tuple[int, ...], tuple[slice, ...]]:
        """Shape of what all ranks have together of a snapshot, and which part of it is here."""
        decomposition = self._decomposition
        if self.encoding is not None:
            rank = self.comm.rank
            return (self.comm.size, len(tile)), (slice(rank, rank + 1), slice(0, len(tile)))
        fields = tuple(slice(0, n) for n in tile.shape[:-2])
        whole = (*tile.shape[:-2], *decomposition.shape)
        return whole, (*fields, decomposition.rows, decomposition.columns)

    def _folder(self, capacity: int, shared: bool) -> Path:
        """Make the folder, and see that it has room for the files of all ranks of the node."""
        from burgers_adjoint.snapshots.file_layout import needed_bytes

        config, comm = self.config, self.comm
        folder = Path(config.snapshots.directory or config.output.directory)
        needed = needed_bytes(capacity, self.slot_bytes)
        with nullcontext(comm) if shared else ranks_of_node(comm) as writers:
            of_all, n_ranks = int(total(writers, needed)), writers.size
        with agreed(comm):
            try:
                if not shared or comm.rank == 0:
                    folder.mkdir(parents=True, exist_ok=True)
                    free = shutil.disk_usage(folder).free
                    # A real try: root passes every test of permissions, and disks are read-only.
                    tempfile.TemporaryFile(dir=folder).close()
                    if free < of_all:
                        raise ConfigError(
                            f"the snapshots need {of_all} bytes in {folder} of node "
                            f"{socket.gethostname()} ({n_ranks} ranks), "
                            f"{free} are free there: use fewer (checkpointing.snapshots) or "
                            "another folder (snapshots.directory)"
                        )
            except OSError as error:
                raise StorageError(
                    f"cannot use the snapshot folder {folder} on node {socket.gethostname()}, "
                    f"which is to hold {of_all} bytes: {reason(error)}; "
                    "-s snapshots.directory=DIR names another one, for resume, too"
                ) from error
        return folder

    def _local_file(self, folder: Path, capacity: int) -> Any:
        from burgers_adjoint.snapshots.file import LocalFile

        rank = self.comm.rank
        rows, columns = self._decomposition.rows, self._decomposition.columns
        attributes = {
            "run": self.run,
            "rank": rank,
            "rows": (rows.start, rows.stop),
            "columns": (columns.start, columns.stop),
        }
        path = folder / f"snapshots-{self.run}-rank{rank}.h5"
        return LocalFile(path, capacity, self._shape, self._dtype, attributes)


def _all_slots(maker: StoreMaker, schedule: Slotted) -> int:
    return schedule.slots


def _no_slots(maker: StoreMaker, schedule: Slotted) -> int:
    return 0


MEMORY = StoreKind(_all_slots, None)
HDF5 = StoreKind(_no_slots, StoreMaker.in_files)
HDF5_SHARED = StoreKind(_no_slots, StoreMaker.in_shared_file, asynchronous=False)
TIERED = StoreKind(StoreMaker.slots_that_fit, StoreMaker.in_files)
PINNED = StoreKind(_no_slots, StoreMaker.in_pinned_memory)


def idle_share(comm: Comm) -> float:
    """Share of a thread's work, beside every rank's own, for which there are idle cores."""
    with ranks_of_node(comm) as node:
        cores = len(set().union(*of_every_rank(node, os.sched_getaffinity(0))))
        idle = min(1.0, max(0.0, cores / node.size - 1))
    return float(smallest(comm, idle))


@contextmanager
def closed_at_end(store: Store, keep: bool = False) -> Iterator[Store]:
    """Close a store at the end, and remove its files unless they are to be kept.

    Collective, but after a failure that the other ranks know nothing of: then nobody is waited for.
    """
    try:
        yield store
        if keep:
            store.flush()
    except BaseException as error:
        if isinstance(error, BurgersAdjointError) and error.agreed:
            store.close()
        else:
            store.abandon()
        raise
    store.close()
