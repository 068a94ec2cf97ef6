"""Makes the snapshot store that a configuration asks for, on all ranks or on none."""

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.assembly.device_stores import (
    FEWER,
    FEWER_BUFFERS,
    Room,
    device_of,
    host_slots,
    pinned_store,
    require_pinned,
    resident,
)
from burgers_adjoint.assembly.encoding import encoding_of
from burgers_adjoint.assembly.snapshot_folder import folder_for
from burgers_adjoint.assembly.store_kinds import DISK, HOST, StoreKind, Tier
from burgers_adjoint.checkpointing.schedule import Slotted
from burgers_adjoint.config import Config
from burgers_adjoint.config.registry import STORES
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import (
    Comm,
    from_rank,
    largest,
    largest_each,
    of_every_rank,
    ranks_of_node,
    smallest,
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
        room: memory for snapshots, where states are.
        host_room: page-locked memory of the host for states of a device.
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
        self.host_room = Room(self.comm, config.snapshots, key="host_memory")
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
        near, *far = self.tiers(schedule, kind)
        plain = min(schedule.memory_slots, slots)
        if self.encoding is not None and near == slots > plain:
            return self._half_encoded(plain, slots - plain)
        wanted = self.buffers_of(kind)
        buffers = sum(max(1, min(wanted, max(2, n))) for n in far if n)
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
        stores = [(memory, near)] if near or not any(far) else []
        try:
            for tier, n in zip(self._kind(kind).far, far, strict=True):
                if n:
                    stores.append((tier.make(self, n, self.asynchronous(kind)), n))
        except BurgersAdjointError:  # on all ranks
            for made, _ in stores:
                made.close()
            raise
        store, _ = stores.pop()
        for nearer, n in reversed(stores):
            store = TieredStore(nearer, store, n)
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

    def sample(
        self, schedule: Slotted, place: str = DISK, threaded: bool = False
    ) -> tuple[Store, list[Transfer]]:
        """A new store in one place with few buffers, and a list of what will be moved.

        Args:
            schedule: whose slots it has.
            place: `store_kinds.DISK`, a file per rank, or `HOST`, page-locked memory.
            threaded: whether a thread moves it from the start.
        """
        from burgers_adjoint.snapshots.write_behind import LEAST_BUFFERS, WriteBehindStore

        front = WriteBehindStore(
            self._on_host(schedule.slots)
            if place == HOST
            else self._slow(schedule.slots, shared=False, swapped=self.exchanges, keep=False),
            self._new_place,
            schedule.slots,
            LEAST_BUFFERS,
            threaded=threaded,
            exchanges=self.exchanges,
        )
        front.transfers = []
        store = self._encoded(AgreedStore(front, partial(agreed, self.comm)))
        return store, front.transfers

    def _on_host(self, capacity: int) -> Any:
        """New page-locked memory, without buffers."""
        from burgers_adjoint.assembly.pinned import PinnedStore

        with agreed(self.comm):
            return PinnedStore(self._device, capacity, self.memory_bytes)

    def free_disk_slots(self, share: float) -> int:
        """Snapshots per rank that fit into a share of the free disk.

        Raises:
            StorageError: on all ranks: there is no folder that could be written to.
        """
        folder = folder_for(self.config, self.comm, 1, self.slot_bytes)
        with ranks_of_node(self.comm) as node:
            n_ranks = node.size
        with agreed(self.comm):
            free = shutil.disk_usage(folder).free
        return int(smallest(self.comm, int(share * free / (n_ranks * self.largest_slot_bytes))))

    def tiers(self, schedule: Slotted, kind: str | None = None) -> list[int]:
        """How many of a schedule's slots are in memory, and in each tier of this kind behind it.

        Raises:
            ConfigError: on all ranks: the host's memory given is for what there is not.
        """
        found = self._kind(kind or self.config.snapshots.store)
        near = found.near_slots(self, schedule)
        return [near, *found.behind(self, schedule.slots - near)]

    def far(self, schedule: Slotted, kind: str) -> dict[str, int]:
        """How many of a schedule's slots are in each place behind the memory; see `tiers`."""
        _, *slots = self.tiers(schedule, kind)
        places = (tier.place for tier in self._kind(kind).far)
        return {place: n for place, n in zip(places, slots, strict=True) if n}

    def all_on_host(self) -> int:
        """As many states of a device as there are: all of them go to the host's memory.

        Raises:
            ConfigError: on all ranks: there are none.
        """
        require_pinned(self.config.snapshots, self._device)
        return sys.maxsize

    def host_slots(self) -> int:
        """How many states of a device go to the host's memory where others can go to files.

        Raises:
            ConfigError: on all ranks: there are none, or it does not hold one.
        """
        section = self.config.snapshots
        return host_slots(section, self._device, self.host_room, self.largest_memory_bytes)

    def asynchronous(self, kind: str) -> bool:
        """Whether buffers, and a thread where cores are idle, stand before stores of this kind."""
        wanted = self.config.snapshots.asynchronous
        return self._kind(kind).asynchronous if wanted is None else wanted

    def buffers_of(self, kind: str) -> int:
        """Buffers before each tier behind the memory, in stores of this kind."""
        behind = self._kind(kind).far and self.asynchronous(kind)
        return self.config.snapshots.buffers if behind else 0

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
        room, new_state = self.host_room, self._new_place
        return pinned_store(self.comm, section, self._device, new_state, capacity, sizes, room)

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
        folder = folder_for(self.config, comm, capacity, self.slot_bytes, shared)
        if shared:
            from burgers_adjoint.assembly.shared_snapshots import part_of, shared_file

            path, tile = folder / f"snapshots-{self.run}-shared.h5", np.asarray(self.new_buffer())
            section, encoded = self.config.snapshots, self.encoding is not None
            part = part_of(self._decomposition, tile, encoded)
            file: Any = shared_file(path, self.run, capacity, tile, part, comm, section)
        else:
            with agreed(comm):
                file = self._local_file(folder, capacity)
        if self.encoding is not None:
            # HDF5's own driver moves what its dataset has, and no less
            file = BlockFile(file, whole=shared and not file.divisible)
        new_place = self._new_place if swapped else self.new_buffer
        own_points = self._own_points if swapped else np.asarray
        return HDF5Store(file, new_place, keep, not shared or comm.rank == 0, own_points)

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


def _slots_that_fit(maker: StoreMaker, schedule: Slotted) -> int:
    """Slots in memory where others can go behind it, to what has buffers in this memory."""
    if schedule.memory_slots < schedule.slots:
        return schedule.memory_slots
    limit, section = maker.room.limit(), maker.config.snapshots
    if limit is None:
        # a number: "as many as fit" is for stores in memory
        return min(schedule.slots, int(maker.config.checkpointing.snapshots))
    most, near = limit // maker.largest_memory_bytes, schedule.slots
    for tiers_in_use in range(1, len(TIERED.far) + 1):
        near = max(0, min(schedule.slots, most - tiers_in_use * section.buffers))
        if sum(map(bool, TIERED.behind(maker, schedule.slots - near))) <= tiers_in_use:
            break
    return near


FILES, PAGES = Tier(StoreMaker.in_files), StoreMaker.in_pinned_memory
MEMORY = StoreKind(_all_slots)
HDF5 = StoreKind(_no_slots, (FILES,))
HDF5_SHARED = StoreKind(_no_slots, (Tier(StoreMaker.in_shared_file),), asynchronous=False)
PINNED = StoreKind(_no_slots, (Tier(PAGES, StoreMaker.all_on_host, HOST),))
TIERED = StoreKind(_slots_that_fit, (Tier(PAGES, StoreMaker.host_slots, HOST), FILES))


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
