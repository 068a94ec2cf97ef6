"""A store of several ranks: what fails on one of them fails on all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from burgers_adjoint.protocols import SnapshotStore

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

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        """Save on all ranks or raise on all ranks."""
        with self._together():
            self.store.save(slot, step, fill)

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        """Load on all ranks or raise on all ranks."""
        with self._together():
            self.store.load(slot, step, read)

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
