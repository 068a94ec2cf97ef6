"""Snapshots in two stores: the first slots in one, such as memory, the others in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.protocols import SnapshotStore

Snapshot = TypeVar("Snapshot")


class TieredStore(Generic[Snapshot]):
    """One `SnapshotStore` of a near and a far one.

    Args:
        near: has the slots below `near_slots`.
        far: has slot `near_slots` as its slot 0, and so on.
        near_slots: a schedule's `memory_slots` is what it needs.
    """

    def __init__(
        self, near: SnapshotStore[Snapshot], far: SnapshotStore[Snapshot], near_slots: int
    ) -> None:
        self.near = near
        self.far = far
        self.near_slots = near_slots

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Save in the store that has the slot."""
        store, place = self._place(slot)
        store.save(place, step, fill)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Load from the store that has the slot."""
        store, place = self._place(slot)
        store.load(place, step, read)

    def fetch(self, slot: int, step: int) -> None:
        """Fetch ahead in the store that has the slot."""
        store, place = self._place(slot)
        store.fetch(place, step)

    def free(self, slot: int) -> None:
        """Free the slot in the store that has it."""
        store, place = self._place(slot)
        store.free(place)

    def close(self) -> None:
        """Close both stores."""
        try:
            self.near.close()
        finally:
            self.far.close()

    @property
    def nbytes(self) -> int:
        """Bytes that both stores hold in memory."""
        return self.near.nbytes + self.far.nbytes

    def _place(self, slot: int) -> tuple[SnapshotStore[Snapshot], int]:
        if slot < 0:
            raise SnapshotError(f"there is no slot {slot}: they are numbered from 0")
        if slot < self.near_slots:
            return self.near, slot
        return self.far, slot - self.near_slots
