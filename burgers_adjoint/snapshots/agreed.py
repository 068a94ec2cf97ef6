"""A store of several ranks: what fails on one of them fails on all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from burgers_adjoint.protocols import SnapshotStore

Snapshot = TypeVar("Snapshot")
Together = Callable[[], AbstractContextManager[None]]


class AgreedStore(SnapshotStore[Snapshot]):
    """Makes the failure of any rank's part of a store the failure of all ranks.

    The executor goes on after a damaged snapshot, so all ranks have to do it together.

    Args:
        store: this rank's part. Calls of it that communicate have to make the same communication
            whether they fail or not.
        together: makes a block that ends with the same exception on all ranks, or with none.
    """

    def __init__(self, store: SnapshotStore[Snapshot], together: Together) -> None:
        self.store = store
        self.exchanges = store.exchanges
        self._together = together

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        with self._together():
            self.store.save(slot, step, fill)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        with self._together():
            self.store.load(slot, step, read)

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        with self._together():
            given = self.store.hand_over(slot, step, state)
        return given

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        with self._together():
            lent = self.store.lend(places)
        return lent

    def fills(self, slot: int) -> bool:
        return self.store.fills(slot)

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        with self._together():
            lent = self.store.lend_to_fill(places)
        return lent

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        # A rank that succeeded would have freed the slot: so first see that all of them will.
        self.lend([(slot, step)])
        return self.store.take_over(slot, step, state)

    def fetch(self, slot: int, step: int) -> None:
        """Fetch ahead; errors are left to the load."""
        self.store.fetch(slot, step)

    def free(self, slot: int) -> None:
        with self._together():
            self.store.free(slot)

    def flush(self) -> None:
        with self._together():
            self.store.flush()

    def abandon(self) -> None:
        """Abandon this rank's part alone: the others are not waited for."""
        self.store.abandon()

    def close(self) -> None:
        with self._together():
            self.store.close()

    @property
    def nbytes(self) -> int:
        return self.store.nbytes
