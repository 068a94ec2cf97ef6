"""Snapshots in memory, in buffers that are made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from burgers_adjoint.protocols import SnapshotStore, bytes_of
from burgers_adjoint.snapshots.slots import Slots

Snapshot = TypeVar("Snapshot")


class MemoryStore(SnapshotStore[Snapshot]):
    """A pool of buffers, one for each slot, that takes no memory as it runs.

    Attributes:
        capacity: number of slots.
    """

    def __init__(
        self, new_buffer: Callable[[], Snapshot], capacity: int, exchanges: bool = False
    ) -> None:
        """Make all buffers.

        Args:
            new_buffer: returns a new buffer, such as a model's `new_snapshot`.
            capacity: number of slots, at least 0; a schedule's `slots` is what it needs.
            exchanges: the buffers are states, and change hands.
        """
        self.exchanges = exchanges
        self.capacity = capacity
        self._buffers = [new_buffer() for _ in range(capacity)]
        self._slots = Slots(capacity)

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        self._slots.put(slot, None)
        fill(self._buffers[slot])
        self._slots.put(slot, step)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        self._slots.require_held(slot, step)
        read(self._buffers[slot])

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        self._slots.put(slot, step)
        buffer, self._buffers[slot] = self._buffers[slot], state
        return buffer

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        buffers, require_held = self._buffers, self._slots.require_held
        lent = []
        for slot, step in places:
            require_held(slot, step)
            lent.append(buffers[slot])
        return lent

    def fills(self, slot: int) -> bool:
        """Every slot can be filled where it is."""
        return True

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        buffers, put = self._buffers, self._slots.put
        lent = []
        for slot, step in places:
            put(slot, step)
            lent.append(buffers[slot])
        return lent

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        self._slots.require_held(slot, step)
        self._slots.put(slot, None)
        buffer, self._buffers[slot] = self._buffers[slot], state
        return buffer

    def free(self, slot: int) -> None:
        self._slots.free(slot)

    def close(self) -> None:
        """Give the buffers back; every later use is an error that says so."""
        self._buffers.clear()
        self._slots.close()

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, full or empty, by their own `nbytes`; 0 where they have none."""
        return bytes_of(self._buffers)
