"""Snapshots in two stores: the first slots in one, such as memory, the others in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TypeVar

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.protocols import SnapshotStore

Snapshot = TypeVar("Snapshot")


class TieredStore(SnapshotStore[Snapshot]):
    """One store of a near and a far one; it exchanges states if both do.

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
        self.exchanges = near.exchanges and far.exchanges
        self.lossy = near.lossy or far.lossy

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        store, place = self._place(slot)
        store.save(place, step, fill)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        store, place = self._place(slot)
        store.load(place, step, read)

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        store, place = self._place(slot)
        return store.hand_over(place, step, state)

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        """Lend the first ones that are in one store."""
        store, _ = self._place(places[0][0])
        found = [(*self._place(slot), step) for slot, step in places]
        here = takewhile(lambda one: one[0] is store, found)
        return store.lend([(place, step) for _, place, step in here])

    def fills(self, slot: int) -> bool:
        store, place = self._place(slot)
        return store.fills(place)

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        lent = []
        for slot, step in places:
            store, place = self._place(slot)
            lent += store.lend_to_fill([(place, step)])
        return lent

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        store, place = self._place(slot)
        return store.take_over(place, step, state)

    def fetch(self, slot: int, step: int) -> None:
        store, place = self._place(slot)
        store.fetch(place, step)

    def free(self, slot: int) -> None:
        store, place = self._place(slot)
        store.free(place)

    def flush(self) -> None:
        self.near.flush()
        self.far.flush()

    def abandon(self) -> None:
        self.near.abandon()
        self.far.abandon()

    def close(self) -> None:
        try:
            self.near.close()
        finally:
            self.far.close()

    @property
    def nbytes(self) -> int:
        return self.near.nbytes + self.far.nbytes

    def _place(self, slot: int) -> tuple[SnapshotStore[Snapshot], int]:
        if slot < 0:
            raise SnapshotError(f"there is no slot {slot}: they are numbered from 0")
        if slot < self.near_slots:
            return self.near, slot
        return self.far, slot - self.near_slots
