"""A store of several ranks: what fails on one of them fails on all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, TypeVar, cast

from burgers_adjoint.protocols import ExchangingStore, SnapshotStore

Snapshot = TypeVar("Snapshot")
Together = Callable[[], AbstractContextManager[None]]


class AgreedStore(Generic[Snapshot]):
    """Makes the failure of any rank's part of a store the failure of all ranks.

    The executor goes on after a damaged snapshot, so all ranks have to do it together.

    Args:
        store: this rank's part. Calls of it that communicate have to make the same communication
            whether they fail or not.
        together: makes a block that ends with the same exception on all ranks, or with none.
    """

    def __init__(self, store: SnapshotStore[Snapshot], together: Together) -> None:
        self.store = store
        self._together = together

    @property
    def exchanges(self) -> bool:
        """Whether the store swaps states; see `protocols.ExchangingStore`."""
        return bool(getattr(self.store, "exchanges", False))

    @property
    def _exchanging(self) -> ExchangingStore[Snapshot]:
        return cast(ExchangingStore[Snapshot], self.store)

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Save on all ranks or raise on all ranks."""
        with self._together():
            self.store.save(slot, step, fill)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Load on all ranks or raise on all ranks."""
        with self._together():
            self.store.load(slot, step, read)

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        """Hand over on all ranks or raise on all ranks; see `protocols.ExchangingStore`."""
        with self._together():
            given = self._exchanging.hand_over(slot, step, state)
        return given

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        """Lend on all ranks or raise on all ranks; see `protocols.ExchangingStore`."""
        with self._together():
            lent = self._exchanging.lend(places)
        return lent

    def fills(self, slot: int) -> bool:
        """Whether the store can lend the slot to be filled."""
        return self._exchanging.fills(slot)

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        """Lend on all ranks or raise on all ranks; see `protocols.ExchangingStore`."""
        with self._together():
            lent = self._exchanging.lend_to_fill(places)
        return lent

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        """Take over on all ranks or raise on all ranks; see `protocols.ExchangingStore`."""
        # A rank that succeeded would have freed the slot: so first see that all of them will.
        self.lend([(slot, step)])
        return self._exchanging.take_over(slot, step, state)

    def fetch(self, slot: int, step: int) -> None:
        """Fetch ahead; errors are left to the load."""
        self.store.fetch(slot, step)

    def free(self, slot: int) -> None:
        """Free on all ranks or raise on all ranks."""
        with self._together():
            self.store.free(slot)

    def close(self) -> None:
        """Close every rank's part."""
        with self._together():
            self.store.close()

    @property
    def nbytes(self) -> int:
        """Bytes that this rank's part holds in memory."""
        return self.store.nbytes
