"""Snapshots in memory, in buffers that are made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from burgers_adjoint.errors import SnapshotError

Snapshot = TypeVar("Snapshot")


class MemoryStore(Generic[Snapshot]):
    """A pool of buffers, one for each slot; a `SnapshotStore` that takes no memory as it runs.

    Attributes:
        capacity: number of slots.
    """

    def __init__(self, new_buffer: Callable[[], Snapshot], capacity: int) -> None:
        """Make all buffers.

        Args:
            new_buffer: returns a new buffer, such as a model's `new_snapshot`.
            capacity: number of slots, at least 0; a schedule's `slots` is what it needs.
        """
        self.capacity = capacity
        self._buffers = [new_buffer() for _ in range(capacity)]
        self._steps: list[int | None] = [None] * capacity

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Let `fill` write the snapshot of `step` to `slot`, in place of what the slot holds.

        The slot counts as empty when `fill` fails.

        Raises:
            SnapshotError: there is no such slot.
        """
        buffer = self._buffer(slot)
        self._steps[slot] = None
        fill(buffer)
        self._steps[slot] = step

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Let `read` read the snapshot of `step` from `slot`, which keeps it.

        Raises:
            SnapshotError: there is no such slot, or it does not hold `step`.
        """
        buffer = self._buffer(slot)
        held = self._steps[slot]
        if held is None:
            raise SnapshotError(f"slot {slot} is empty: it does not hold step {step}")
        if held != step:
            raise SnapshotError(f"slot {slot} holds step {held}, not step {step}")
        read(buffer)

    def fetch(self, slot: int, step: int) -> None:
        """Do nothing: all slots are near."""

    def free(self, slot: int) -> None:
        """Forget what `slot` holds.

        Raises:
            SnapshotError: there is no such slot, or it is empty.
        """
        self._buffer(slot)
        if self._steps[slot] is None:
            raise SnapshotError(f"slot {slot} is empty: there is nothing to free")
        self._steps[slot] = None

    def close(self) -> None:
        """Give the buffers back; every later use is an error that says so."""
        self._buffers.clear()
        self._steps.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, full or empty, by their own `nbytes`; 0 where they have none."""
        return sum(getattr(buffer, "nbytes", 0) for buffer in self._buffers)

    def _buffer(self, slot: int) -> Snapshot:
        if len(self._buffers) < self.capacity:
            raise SnapshotError(f"slot {slot} is gone: the store is closed")
        if not 0 <= slot < self.capacity:
            raise SnapshotError(f"there is no slot {slot}: the store has {self.capacity}")
        return self._buffers[slot]
