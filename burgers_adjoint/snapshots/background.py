"""A store whose slow part works in a thread: copy now, write later, fetch ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from burgers_adjoint.checkpointing.residency import Move, Order, Residency
from burgers_adjoint.snapshots.slots import Slots

Snapshot = TypeVar("Snapshot")
Snapshot_contra = TypeVar("Snapshot_contra", contravariant=True)

LEAST_BUFFERS = 2


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


class BackgroundStore(Generic[Snapshot]):
    """A `SnapshotStore` in front of a slow one, with a few buffers and one thread.

    `Residency` says what is in the buffers. The thread carries out its orders one after the other,
    in the order in which they were given, which is the same on all ranks.

    A write that failed is raised by the next call, whatever it is; a read that failed by the load
    that wants it.

    Attributes:
        capacity: number of slots.
        seconds_waited: time for which the caller waited for the thread.
    """

    def __init__(
        self,
        store: SlowStore[Snapshot],
        new_buffer: Callable[[], Snapshot],
        capacity: int,
        buffers: int,
    ) -> None:
        """Start the thread.

        Args:
            store: the slow one, with `capacity` slots; closed with this one.
            new_buffer: returns a new buffer, such as a model's `new_snapshot`.
            capacity: number of slots.
            buffers: number of buffers, at least 2; never more are made than there are slots.
        """
        self.capacity = capacity
        self.seconds_waited = 0.0
        self._store = store
        self._slots = Slots(capacity)
        n_buffers = max(LEAST_BUFFERS, min(buffers, capacity))
        self._buffers = [new_buffer() for _ in range(n_buffers)]
        self._residency = Residency(n_buffers)
        self._jobs: queue.SimpleQueue[_Job[Snapshot] | None] = queue.SimpleQueue()
        self._last: dict[int, _Job[Snapshot]] = {}
        self._failed: _Job[Snapshot] | None = None
        self._thread = threading.Thread(target=self._work, name="snapshots", daemon=True)
        self._thread.start()

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Let `fill` write the snapshot to a buffer; it is written to the slow store in time.

        Raises:
            SnapshotError: there is no such slot.
            StorageError: an earlier snapshot could not be written.
        """
        self._raise_failure()
        self._slots.put(slot, None)
        buffer, orders = self._residency.save(slot, step)
        self._give(orders)
        try:
            self._wait(buffer)
            self._last.pop(buffer, None)
            fill(self._buffers[buffer])
        except BaseException:
            self._residency.free(slot)
            raise
        self._slots.put(slot, step)
        self._give(self._residency.settle())

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Let `read` read the snapshot from its buffer, once it is there.

        Raises:
            SnapshotError: the slot does not hold `step`, or what the slow store has is damaged.
            StorageError: an earlier snapshot could not be written.
        """
        self._raise_failure()
        self._slots.require_held(slot, step)
        buffer, orders = self._residency.load(slot)
        self._give(orders)
        job = self._wait(buffer)
        if job is not None and job.move is Move.READ and job.failure is not None:
            # The slot keeps its buffer, so that the moves stay the same on all ranks.
            raise job.failure
        read(self._buffers[buffer])
        self._give(self._residency.settle())

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
        self._slots.free(slot)
        self._residency.free(slot)
        self._give(self._residency.settle())

    def flush(self) -> None:
        """Write all that is alive, and wait until it is written.

        Raises:
            StorageError: a snapshot could not be written.
        """
        self._give(self._residency.flush())
        for buffer in range(len(self._buffers)):
            self._wait(buffer)
        self._raise_failure()

    def close(self) -> None:
        """Finish what has been begun, stop the thread and close the slow store.

        Raises:
            StorageError: a snapshot could not be written, and no call has said so yet.
        """
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._buffers.clear()
        self._slots.close()
        self._store.close()
        self._raise_failure()

    def abandon(self) -> None:
        """Remove what the slow store leaves behind, without waiting for anybody."""
        abandon = getattr(self._store, "abandon", None)
        if abandon is not None:
            abandon()

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, and what the slow store holds in memory."""
        own = sum(getattr(buffer, "nbytes", 0) for buffer in self._buffers)
        return own + self._store.nbytes

    def _give(self, orders: list[Order]) -> None:
        for move, slot, buffer in orders:
            job = _Job(move, slot, self._residency.held[slot].step, self._buffers[buffer])
            self._last[buffer] = job
            self._jobs.put(job)

    def _wait(self, buffer: int) -> _Job[Snapshot] | None:
        """Wait for the last transfer of a buffer, and return it."""
        job = self._last.get(buffer)
        if job is not None and not job.done.is_set():
            start = perf_counter()
            job.done.wait()
            self.seconds_waited += perf_counter() - start
        return job

    def _raise_failure(self) -> None:
        job, self._failed = self._failed, None
        if job is not None and job.failure is not None:
            raise job.failure

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if job.move is Move.WRITE:
                    self._store.put(job.slot, job.step, job.buffer)
                else:
                    self._store.get(job.slot, job.step, job.buffer)
            except Exception as error:
                job.failure = error
                if job.move is Move.WRITE:
                    self._failed = self._failed or job
            job.done.set()
