"""A store in front of a slow one: a few buffers, written behind and fetched ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from time import perf_counter, thread_time
from typing import Generic, Protocol, TypeVar

from burgers_adjoint.checkpointing.residency import Move, Order, Residency
from burgers_adjoint.protocols import SnapshotStore, bytes_of
from burgers_adjoint.snapshots.slots import Slots

Snapshot = TypeVar("Snapshot")
Snapshot_contra = TypeVar("Snapshot_contra", contravariant=True)

LEAST_BUFFERS = 2
PATIENCE = 0.1  # seconds of sleep in transfers, beyond those of work, before a thread makes them

Transfer = tuple[Move, int, float]
"""A move, its slot, and its seconds."""


class SlowStore(Protocol[Snapshot_contra]):
    """A store that takes and gives snapshots in its caller's buffers."""

    def put(self, slot: int, step: int, buffer: Snapshot_contra) -> None:
        """Write the snapshot of `step` that is in `buffer`."""
        ...

    def get(self, slot: int, step: int, buffer: Snapshot_contra) -> None:
        """Read the snapshot of `step` into `buffer`; raises SnapshotError."""
        ...

    def close(self) -> None:
        """Give back what the store holds."""
        ...

    def abandon(self) -> None:
        """Remove what would be left behind, without waiting for anybody."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that the store holds in memory."""
        ...


class _Job(Generic[Snapshot]):
    """One transfer, done or not; what it raised is raised where it is waited for."""

    def __init__(self, move: Move, slot: int, step: int, buffer: Snapshot) -> None:
        self.move, self.slot, self.step, self.buffer = move, slot, step, buffer
        self.done = threading.Event()
        self.failure: BaseException | None = None
        self.seconds = 0.0
        self.seconds_worked = 0.0


class WriteBehindStore(SnapshotStore[Snapshot]):
    """A store in front of a slow one, with a few buffers and a thread.

    `Residency` says what is in the buffers. Its orders are carried out one after the other, in the
    order in which they were given, which is the same on all ranks.

    A thread gains nothing where no core is idle and the file system answers at once: it only takes
    the core from the steps, at the wrong moments for the other ranks. So there the caller makes
    the transfers itself, when they are needed, until it has slept in them for longer than it
    worked; from then on the thread makes them.

    A write that failed is raised by the next call, whatever it is; a read that failed by the call
    that wants it.

    Attributes:
        capacity: number of slots.
        transfers: list to which every transfer is added, if there is one.
    """

    def __init__(
        self,
        store: SlowStore[Snapshot],
        new_buffer: Callable[[], Snapshot],
        capacity: int,
        buffers: int,
        *,
        threaded: bool = True,
        exchanges: bool = False,
    ) -> None:
        """Make the buffers.

        Args:
            store: the slow one, with `capacity` slots; closed with this one.
            new_buffer: returns a new buffer, such as a model's `new_snapshot`.
            capacity: number of slots.
            buffers: number of buffers, at least 2; never more are made than there are slots.
            threaded: whether the thread makes the transfers from the start.
            exchanges: what `new_buffer` returns are states, which change hands.
        """
        self.capacity = capacity
        self.exchanges = exchanges
        self.transfers: list[Transfer] | None = None
        self._store = store
        self._slots = Slots(capacity)
        n_buffers = max(LEAST_BUFFERS, min(buffers, capacity))
        self._buffers = [new_buffer() for _ in range(n_buffers)]
        self._residency = Residency(n_buffers, threaded)
        self._jobs: queue.SimpleQueue[_Job[Snapshot] | None] = queue.SimpleQueue()
        self._last: dict[int, _Job[Snapshot]] = {}
        self._failed: _Job[Snapshot] | None = None
        self._slept = 0.0
        self._thread: threading.Thread | None = None
        if threaded:
            self._start()

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Let `fill` write the snapshot to a buffer; it is written to the slow store in time.

        Raises:
            SnapshotError: there is no such slot.
            StorageError: an earlier snapshot could not be written.
        """
        buffer = self._place(slot, step)
        try:
            fill(self._buffers[buffer])
        except BaseException:
            self._residency.free(slot)
            raise
        self._placed(slot, step)

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        buffer = self._place(slot, step)
        given, self._buffers[buffer] = self._buffers[buffer], state
        self._residency.lent.add(buffer)
        self._placed(slot, step)
        return given

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Let `read` read the snapshot from its buffer, once it is there.

        Raises:
            SnapshotError: the slot does not hold `step`, or what the slow store has is damaged.
            StorageError: an earlier snapshot could not be written.
        """
        self._raise_failure()
        read(self._buffers[self._bring(slot, step)])

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        self._raise_failure()
        self._residency.lent.clear()
        # One buffer is kept for whatever else is loaded meanwhile.
        places = places[: len(self._buffers) - 1]
        buffers = [self._begin_to_bring(slot, step, lend=True) for slot, step in places]
        for buffer in buffers:
            self._await(buffer)
        return [self._buffers[buffer] for buffer in buffers]

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        """Take over; it cannot fail where the snapshot has just been lent."""
        self._residency.lent.clear()
        buffer = self._bring(slot, step)
        # A write of it may be on its way, from the memory that is given away.
        self._wait(buffer)
        given, self._buffers[buffer] = self._buffers[buffer], state
        self._slots.free(slot)
        self._residency.free(slot)
        self._give(self._residency.settle())
        return given

    def fetch(self, slot: int, step: int) -> None:
        """Begin to read the snapshot, where there is a buffer for it."""
        self._give(self._residency.fetch(slot))

    def free(self, slot: int) -> None:
        """Forget what `slot` holds; what is not written yet never will be.

        Raises:
            SnapshotError: there is no such slot, or it is empty.
            StorageError: a snapshot could not be written.
        """
        self._raise_failure()
        self._residency.lent.clear()
        self._slots.free(slot)
        self._residency.free(slot)
        self._give(self._residency.settle())

    def flush(self) -> None:
        """Write all that is alive, and wait until it is written."""
        self._give(self._residency.flush())
        for buffer in range(len(self._buffers)):
            self._wait(buffer)
        self._raise_failure()

    def close(self) -> None:
        """Finish what has been begun, stop the thread and close the slow store.

        Raises:
            StorageError: a snapshot could not be written, and no call has said so yet.
        """
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        self._last.clear()
        self._buffers.clear()
        self._slots.close()
        self._store.close()
        self._raise_failure()

    def abandon(self) -> None:
        self._store.abandon()

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, and what the slow store holds in memory."""
        return bytes_of(self._buffers) + self._store.nbytes

    def _place(self, slot: int, step: int) -> int:
        """A buffer for a new snapshot, which nobody uses any more."""
        self._raise_failure()
        self._slots.put(slot, None)
        self._residency.lent.clear()
        buffer, orders = self._residency.save(slot, step)
        self._give(orders)
        self._wait(buffer)
        self._last.pop(buffer, None)
        return buffer

    def _placed(self, slot: int, step: int) -> None:
        self._slots.put(slot, step)
        self._give(self._residency.settle())

    def _bring(self, slot: int, step: int) -> int:
        """The buffer in which a snapshot is."""
        buffer = self._begin_to_bring(slot, step)
        self._await(buffer)
        return buffer

    def _begin_to_bring(self, slot: int, step: int, lend: bool = False) -> int:
        """The buffer in which a snapshot will be."""
        self._slots.require_held(slot, step)
        buffer, orders = self._residency.load(slot)
        if lend:
            self._residency.lent.add(buffer)
        self._give(orders + self._residency.settle())
        return buffer

    def _await(self, buffer: int) -> None:
        """Wait until the snapshot is in the buffer."""
        job = self._last.get(buffer)
        if job is not None and job.move is Move.READ:
            self._wait(buffer)
            if job.failure is not None:
                # The slot keeps its buffer, so that the moves stay the same on all ranks.
                raise job.failure

    def _give(self, orders: list[Order]) -> None:
        for move, slot, buffer in orders:
            job = _Job(move, slot, self._residency.held[slot].step, self._buffers[buffer])
            self._last[buffer] = job
            if self._thread is not None:
                self._jobs.put(job)
                continue
            self._carry_out(job)
            self._slept = max(0.0, self._slept + job.seconds - 2 * job.seconds_worked)
            if self._slept > PATIENCE:
                self._start()

    def _wait(self, buffer: int) -> None:
        """Wait for the last transfer of a buffer."""
        job = self._last.get(buffer)
        if job is not None:
            job.done.wait()

    def _raise_failure(self) -> None:
        job, self._failed = self._failed, None
        if job is not None and job.failure is not None:
            raise job.failure

    def _start(self) -> None:
        self._residency.ahead = True
        self._thread = threading.Thread(target=self._work, name="snapshots", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._carry_out(job)

    def _carry_out(self, job: _Job[Snapshot]) -> None:
        start, worked = perf_counter(), thread_time()
        try:
            if job.move is Move.WRITE:
                self._store.put(job.slot, job.step, job.buffer)
            else:
                self._store.get(job.slot, job.step, job.buffer)
        except Exception as error:
            job.failure = error
            if job.move is Move.WRITE:
                self._failed = self._failed or job
        finally:
            job.seconds = perf_counter() - start
            job.seconds_worked = thread_time() - worked
            if self.transfers is not None:
                self.transfers.append((job.move, job.slot, job.seconds))
            job.done.set()
