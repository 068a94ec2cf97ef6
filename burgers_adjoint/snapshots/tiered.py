"""Snapshots in two stores: the first slots in one, such as memory, the others in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Generic, TypeVar, cast

from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.protocols import ExchangingStore, SnapshotStore

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

    @property
    def exchanges(self) -> bool:
        """Whether both stores swap states; see `protocols.ExchangingStore`."""
        return all(getattr(store, "exchanges", False) for store in (self.near, self.far))

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Save in the store that has the slot."""
        store, place = self._place(slot)
        store.save(place, step, fill)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Load from the store that has the slot."""
        store, place = self._place(slot)
        store.load(place, step, read)

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        """Hand over to the store that has the slot; see `protocols.ExchangingStore`."""
        store, place = self._exchanging(slot)
        return store.hand_over(place, step, state)

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        """Lend the first ones that are in one store; see `protocols.ExchangingStore`."""
        store, _ = self._exchanging(places[0][0])
        found = [(*self._exchanging(slot), step) for slot, step in places]
        here = takewhile(lambda one: one[0] is store, found)
        return store.lend([(place, step) for _, place, step in here])

    def fills(self, slot: int) -> bool:
        """Whether the store that has the slot can lend it to be filled."""
        store, place = self._exchanging(slot)
        return store.fills(place)

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        """Let the caller make snapshots in slots of any store that `fills` them."""
        lent = []
        for slot, step in places:
            store, place = self._exchanging(slot)
            lent += store.lend_to_fill([(place, step)])
        return lent

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        """Take over from the store that has the slot; see `protocols.ExchangingStore`."""
        store, place = self._exchanging(slot)
        return store.take_over(place, step, state)

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

    def _exchanging(self, slot: int) -> tuple[ExchangingStore[Snapshot], int]:
        store, place = self._place(slot)
        return cast(ExchangingStore[Snapshot], store), place

    def _place(self, slot: int) -> tuple[SnapshotStore[Snapshot], int]:
        if slot < 0:
            raise SnapshotError(f"there is no slot {slot}: they are numbered from 0")
        if slot < self.near_slots:
            return self.near, slot
        return self.far, slot - self.near_slots
