"""Which step each slot of a store holds, and the errors when it is another one."""

from __future__ import annotations

from burgers_adjoint.errors import SnapshotError


class Slots:
    """The steps in numbered slots; what is asked of a slot that cannot be is a SnapshotError.

    Attributes:
        capacity: number of slots.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._steps: list[int | None] = [None] * capacity

    def require(self, slot: int) -> None:
        """Raise SnapshotError when there is no such slot, or no slot any more."""
        if not 0 <= slot < self.capacity:
            raise SnapshotError(f"there is no slot {slot}: the store has {self.capacity}")
        if not self._steps:
            raise SnapshotError(f"slot {slot} is gone: the store is closed")

    def put(self, slot: int, step: int | None) -> None:
        """Let the slot hold a step, or nothing."""
        if not 0 <= slot < len(self._steps):
            self.require(slot)
        self._steps[slot] = step

    def require_held(self, slot: int, step: int) -> None:
        """Raise SnapshotError when the slot does not hold this step."""
        if not 0 <= slot < len(self._steps):
            self.require(slot)
        held = self._steps[slot]
        if held != step:
            if held is None:
                raise SnapshotError(f"slot {slot} is empty: it does not hold step {step}")
            raise SnapshotError(f"slot {slot} holds step {held}, not step {step}")

    def free(self, slot: int) -> None:
        """Empty a slot; raise SnapshotError when it is empty."""
        if not 0 <= slot < len(self._steps):
            self.require(slot)
        if self._steps[slot] is None:
            raise SnapshotError(f"slot {slot} is empty: there is nothing to free")
        self._steps[slot] = None

    def close(self) -> None:
        """Have no slots any more."""
        self._steps.clear()
