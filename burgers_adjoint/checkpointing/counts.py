"""What an executor has done, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

from burgers_adjoint.checkpointing.actions import FusedAction


@dataclass(slots=True)
class Counts:
    """What has been done so far; the seconds are wall time of the model's and the store's calls.

    The last step, taken by `Turn`, is among `forward_steps`. `seconds_adjoint` has the seeding in
    it; `seconds_snapshots` has every copy of a state, and the waiting for it. What it took to make
    damaged snapshots anew is apart, in `recomputed_steps`, as no schedule has planned it.
    `kept_steps` counts the reverse steps whose stages a snapshot had kept.
    """

    forward_steps: int = 0
    reverse_steps: int = 0
    saves: int = 0
    loads: int = 0
    damaged: int = 0
    recomputed_steps: int = 0
    kept_steps: int = 0
    seconds_forward: float = 0.0
    seconds_adjoint: float = 0.0
    seconds_snapshots: float = 0.0

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


Observer = Callable[[FusedAction, Counts], None]
