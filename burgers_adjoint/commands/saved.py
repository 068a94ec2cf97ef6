"""What a gradient, and the primal alone, tell of their sweeps and give to be saved."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.parallel.agreement import Comm, total_each
from burgers_adjoint.restart.parts import Fields
from burgers_adjoint.stepping.stepper import Cotangent


def total_bins(comm: Comm, bins: np.ndarray) -> list[list[int]]:
    """What all ranks' bins add up to, which one rank alone can go on with. Collective."""
    return [[int(value) for value in row] for row in total_each(comm, bins)]


@dataclass
class GradientContents:
    """Contents of both sweeps of a gradient, whose executor is a `restart.sweeps.Sweeps`."""

    case: Case
    past: Callable[[], dict[str, Any]]
    executor: Executor[np.ndarray, Cotangent, Any]

    def sweep_fields(self) -> Fields:
        """Working state, or later the cotangent."""
        model, cotangent = self.case.model, self.executor.cotangent
        if cotangent is not None:
            return model.tile_fields(cotangent)
        state = self.executor.state
        assert state is not None
        return {"state": model.layout.interior(state)}

    def own_points(self, snapshot: np.ndarray) -> np.ndarray:
        """The tile's own points of a snapshot in the store."""
        return self.case.model.own_points(snapshot)

    def final_fields(self) -> Fields:
        """The final state."""
        return {"state": self.case.model.final_to_save}

    def facts(self) -> dict[str, Any]:
        """What has been gone through, and what the objective has seen. Collective."""
        cotangent = self.executor.cotangent
        facts = {**self.past(), **self.case.model.time_steps.record()}
        if cotangent is not None:
            facts["bins"] = total_bins(self.case.comm, cotangent.bins)
        return facts


@dataclass
class ForwardSweep:
    """The primal alone, as a `restart.sweeps.Sweeps` and its contents."""

    case: Case
    past: Callable[[], dict[str, Any]]
    state: np.ndarray
    bins: np.ndarray
    swept_to: int
    turned: bool = False
    cotangent: None = None

    @property
    def position(self) -> int:
        """Step at whose start the state is."""
        return self.swept_to

    @property
    def live(self) -> dict[int, int]:
        """There are no snapshots."""
        return {}

    @property
    def n_steps(self) -> int | None:
        """Steps of the run, None as long as nobody knows."""
        return self.case.model.n_steps

    @property
    def complete(self) -> bool:
        """Whether every step is taken."""
        return self.swept_to == self.n_steps

    def counted(self) -> dict[str, int | float]:
        """What is done."""
        return asdict(Counts(forward_steps=self.swept_to))

    def steps_left(self) -> tuple[float, float]:
        """Forward and reverse steps to go; infinite as long as nobody knows."""
        return (math.inf if self.n_steps is None else self.n_steps - self.swept_to), 0

    def limit_runs(self, steps: int) -> None:
        """Do nothing: `assembly.runs.sweep` tells of its steps often enough."""

    def sweep_fields(self) -> Fields:
        """The working state."""
        return {"state": self.case.model.layout.interior(self.state)}

    def own_points(self, snapshot: np.ndarray) -> np.ndarray:
        """There are no snapshots."""
        return snapshot

    def final_fields(self) -> Fields:
        """None before the end."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What has been gone through, and what the objective has seen. Collective."""
        return {
            **self.past(),
            **self.case.model.time_steps.record(),
            "bins": total_bins(self.case.comm, self.bins),
        }
