"""What a run that is to be saved tells of its sweeps, and gives to be saved."""

from typing import Any, Protocol

import numpy as np

from burgers_adjoint.restart.parts import Fields


class Sweeps(Protocol):
    """How far the sweeps of a run are; an executor is one."""

    @property
    def n_steps(self) -> int | None:
        """Steps of the forward sweep, None as long as nobody knows."""
        ...

    @property
    def live(self) -> dict[int, int]:
        """Step to slot of the snapshots that are there."""
        ...

    @property
    def swept_to(self) -> int:
        """Step at whose start the working state is, or, once it is seeded, the cotangent."""
        ...

    @property
    def turned(self) -> bool:
        """Whether the cotangent has been seeded."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing is to be saved at this moment: the sweep is at its end."""
        ...

    def counted(self) -> dict[str, int | float]:
        """What is done: forward_steps, reverse_steps, seconds_forward, seconds_adjoint, others."""
        ...

    def steps_left(self) -> tuple[float, float]:
        """Forward and reverse steps to go; infinite as long as nobody knows."""
        ...

    def limit_runs(self, steps: int) -> None:
        """Take at most so many steps in a row without saying so."""
        ...


class Contents(Protocol):
    """What there is to save of a run at some moment; fields are (k, ny, nx) of the tile."""

    def sweep_fields(self) -> Fields:
        """Working state in the forward sweep, cotangent in the reverse sweep."""
        ...

    def own_points(self, snapshot: np.ndarray) -> np.ndarray:
        """The tile's own points, (k, ny, nx), of a snapshot in the store."""
        ...

    def final_fields(self) -> Fields:
        """The final state, which stays as it is after the turn."""
        ...

    def facts(self) -> dict[str, Any]:
        """Numbers beyond the fields. Collective."""
        ...
