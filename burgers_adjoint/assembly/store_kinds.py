"""What stores of one name are: how many slots are in memory, and where the others are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from burgers_adjoint.checkpointing.schedule import Slotted
from burgers_adjoint.protocols import SnapshotStore

HOST, DISK = "host", "disk"  # where tiers behind the memory are


@dataclass(frozen=True)
class Tier:
    """Where slots beyond those in memory are; its functions are called with a `stores.StoreMaker`.

    Attributes:
        make: makes a store for so many of them, with buffers in front of it or without; it raises
            on all ranks or on none.
        fits: how many of them it takes; None for all that are left.
        place: `HOST`, of states on a device, or `DISK`.
    """

    make: Callable[[Any, int, bool], SnapshotStore[Any]]
    fits: Callable[[Any], int] | None = None
    place: str = DISK


@dataclass(frozen=True)
class StoreKind:
    """What stores of one name are; `near_slots` is called with a `stores.StoreMaker`.

    Attributes:
        near_slots: how many of a schedule's slots are in memory.
        far: where the others are, the nearest first; empty where all slots are in memory.
        asynchronous: whether there are buffers in front of those unless the configuration says.
    """

    near_slots: Callable[[Any, Slotted], int]
    far: tuple[Tier, ...] = ()
    asynchronous: bool = True

    def behind(self, maker: Any, n_slots: int) -> list[int]:
        """How many slots of so many beyond the memory's are in each tier. Collective."""
        taken = []
        for tier in self.far:
            taken.append(n_slots if tier.fits is None else min(n_slots, tier.fits(maker)))
            n_slots -= taken[-1]
        return taken
