"""Which slots of a schedule are empty, however many there are."""

from __future__ import annotations

from collections.abc import Collection


class FreeSlots:
    """Empty slots of so many; memory grows with the number of slots that were ever used."""

    def __init__(self, slots: int, used: Collection[int] = ()) -> None:
        """Have all slots empty but the used ones."""
        self._slots = slots
        self._fresh = max(used, default=-1) + 1  # from here on none has been used
        self._returned = [slot for slot in range(self._fresh - 1, -1, -1) if slot not in used]

    def __len__(self) -> int:
        return len(self._returned) + self._slots - self._fresh

    def take(self) -> int:
        """An empty slot, the one that was given back last, or the lowest; it counts as used.

        Raises:
            IndexError: there is none.
        """
        if self._returned:
            return self._returned.pop()
        if self._fresh == self._slots:
            raise IndexError(f"none of {self._slots} slots is empty")
        self._fresh += 1
        return self._fresh - 1

    def give_back(self, slot: int) -> None:
        """Let a used slot be empty."""
        self._returned.append(slot)
