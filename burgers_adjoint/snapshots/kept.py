"""A store that goes back, reversal after reversal, to how one forward sweep has left it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from burgers_adjoint.checkpointing.forward_part import Places
from burgers_adjoint.errors import SnapshotError
from burgers_adjoint.protocols import SnapshotStore

Snapshot = TypeVar("Snapshot")


class KeptStore(SnapshotStore[Snapshot]):
    """Another store, in which what a forward sweep has saved stays when it is freed or replaced.

    Its life is `begin`, a forward sweep, `settle`, a reverse sweep, and then `rewind` and a reverse
    sweep as often as one likes.

    Args:
        store: has the places.
        places: of the schedule's slots.
        copy: copies a snapshot, the first argument, to another one.
    """

    def __init__(
        self,
        store: SnapshotStore[Snapshot],
        places: Places,
        copy: Callable[[Snapshot, Snapshot], None],
    ) -> None:
        self.exchanges, self.lossy = store.exchanges, store.lossy
        self._store, self._places, self._copy = store, places, copy
        self._where: dict[int, int] = {}  # slot to the place that it is at
        self._kept: dict[int, int] | None = None  # the same at the end of the forward sweep

    def begin(self) -> None:
        """Forget everything: a forward sweep is next."""
        for place in {*self._where.values(), *(self._kept or {}).values()}:
            self._store.free(place)
        self._where, self._kept = {}, None

    def settle(self) -> None:
        """Keep what is there: a reverse sweep is next."""
        self._kept = dict(self._where)

    def rewind(self) -> None:
        """Be again as at the end of the forward sweep."""
        kept = self._kept or {}
        for place in set(self._where.values()) - set(kept.values()):
            self._store.free(place)
        self._where = dict(kept)

    def save(self, slot: int, step: int, fill: Callable[[Snapshot], None]) -> None:
        place = self._emptied(slot)
        self._store.save(place, step, fill)
        self._where[slot] = place

    def load(self, slot: int, step: int, read: Callable[[Snapshot], None]) -> None:
        self._store.load(self._place(slot), step, read)

    def fetch(self, slot: int, step: int) -> None:
        if slot in self._where:
            self._store.fetch(self._where[slot], step)

    def free(self, slot: int) -> None:
        place = self._place(slot)
        del self._where[slot]
        if not self._is_kept(slot, place):
            self._store.free(place)

    def hand_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        place = self._emptied(slot)
        other = self._store.hand_over(place, step, state)
        self._where[slot] = place
        return other

    def lend(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        return self._store.lend([(self._place(slot), step) for slot, step in places])

    def fills(self, slot: int) -> bool:
        """Whether it can be filled in either sweep: actions are made ahead of their time."""
        again = self._places.place_again.get(slot)
        first = self._store.fills(self._places.first[slot])
        return first and (again is None or self._store.fills(again))

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[Snapshot]:
        new = [(slot, self._emptied(slot), step) for slot, step in places]
        lent = self._store.lend_to_fill([(place, step) for _, place, step in new])
        self._where.update((slot, place) for slot, place, _ in new)
        return lent

    def take_over(self, slot: int, step: int, state: Snapshot) -> Snapshot:
        place = self._place(slot)
        if self._is_kept(slot, place):
            (lent,) = self._store.lend([(place, step)])
            self._copy(lent, state)
            taken = state
        else:
            taken = self._store.take_over(place, step, state)
        del self._where[slot]
        return taken

    def flush(self) -> None:
        self._store.flush()

    def abandon(self) -> None:
        self._store.abandon()

    def close(self) -> None:
        self._store.close()

    @property
    def nbytes(self) -> int:
        return self._store.nbytes

    def _place(self, slot: int) -> int:
        """Where the slot is.

        Raises:
            SnapshotError: nowhere.
        """
        if slot not in self._where:
            raise SnapshotError(f"slot {slot} is empty")
        return self._where[slot]

    def _emptied(self, slot: int) -> int:
        """The place for what comes to the slot, which is empty from now on."""
        before = self._where.pop(slot, None)
        place = self._places.first[slot] if self._kept is None else self._places.place_again[slot]
        if before is not None and before != place and not self._is_kept(slot, before):
            self._store.free(before)
        return place

    def _is_kept(self, slot: int, place: int) -> bool:
        return self._kept is not None and self._kept.get(slot) == place
