"""The sweeps of a gradient, and of the primal alone, as a `restart.keeper.Sweeps`."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.checkpointing.actions import Action
from burgers_adjoint.checkpointing.counts import Counts, Observer
from burgers_adjoint.checkpointing.executor import LONGEST_ADVANCE, LONGEST_REVERSAL, Executor
from burgers_adjoint.problem import Problem
from burgers_adjoint.restart.keeper import Keeper
from burgers_adjoint.restart.parts import Fields
from burgers_adjoint.stepping.stepper import Cotangent


def total_bins(comm: MPI.Comm, bins: np.ndarray) -> list[list[int]]:
    """What all ranks' bins add up to, which one rank alone can go on with. Collective."""
    totals = np.empty_like(bins)
    comm.Allreduce(bins, totals, op=MPI.SUM)
    return [[int(value) for value in row] for row in totals]


@dataclass
class GradientSweeps:
    """Both sweeps of a gradient, as a `keeper.Sweeps`; the executor's observer."""

    problem: Problem
    keeper: Keeper
    past: Callable[[], dict[str, Any]]
    executor: Executor[np.ndarray, Cotangent, Any]
    observer: Observer

    def __call__(self, action: Action, counts: Counts) -> None:
        self.observer(action, counts)
        self.keeper.done(counts.forward_steps + counts.reverse_steps)

    @property
    def n_steps(self) -> int | None:
        """Steps of the run, None as long as nobody knows."""
        return self.problem.model.n_steps

    @property
    def live(self) -> dict[int, int]:
        """Step to slot of the snapshots that are in the store."""
        return {step: slot for slot, step in self.executor.held.items()}

    @property
    def longest_advance(self) -> int:
        """Steps after which a longer `Advance`, or reversal, pauses."""
        return self.executor.longest_advance

    @longest_advance.setter
    def longest_advance(self, steps: int) -> None:
        self.executor.longest_advance = min(steps, LONGEST_ADVANCE)
        self.executor.longest_reversal = min(steps, LONGEST_REVERSAL)

    @property
    def turned(self) -> bool:
        """Whether the cotangent has been seeded."""
        return self.executor.cotangent is not None

    @property
    def complete(self) -> bool:
        """Whether nothing is to be saved: all is reversed, or the cotangent about to be seeded."""
        if not self.turned:
            return self.executor.position == self.n_steps
        return self.executor.counts.reverse_steps == self.n_steps

    @property
    def position(self) -> int:
        """Step at whose start the working state, or later the cotangent is."""
        if self.turned:
            return self.problem.n_steps - self.executor.counts.reverse_steps
        return self.executor.position

    def counts(self) -> dict[str, int | float]:
        """What the executor has counted."""
        return asdict(self.executor.counts)

    def steps_left(self) -> tuple[float, float]:
        """Forward and reverse steps to go; infinite as long as nobody knows."""
        if self.n_steps is None:
            return math.inf, math.inf
        counts = self.executor.counts
        forward = self.executor.schedule.predicted_forward_steps - counts.forward_steps
        return forward, self.n_steps - counts.reverse_steps

    def sweep_fields(self) -> Fields:
        """Working state, or later the cotangent."""
        model, cotangent = self.problem.model, self.executor.cotangent
        if cotangent is not None:
            return model.tile_fields(cotangent)
        state = self.executor.state
        assert state is not None
        return {"state": model.layout.interior(state)}

    def own_points(self, snapshot: np.ndarray) -> np.ndarray:
        """The tile's own points of a snapshot in the store."""
        return self.problem.model.own_points(snapshot)

    def final_fields(self) -> Fields:
        """The final state."""
        return {"state": self.problem.model.final}

    def facts(self) -> dict[str, Any]:
        """What has been gone through, and what the objective has seen. Collective."""
        cotangent = self.executor.cotangent
        facts = {**self.past(), **self.problem.model.time_steps.record()}
        if cotangent is not None:
            facts["bins"] = total_bins(self.problem.comm, cotangent.bins)
        return facts


@dataclass
class ForwardSweep:
    """The primal alone, as a `keeper.Sweeps`."""

    problem: Problem
    past: Callable[[], dict[str, Any]]
    state: np.ndarray
    bins: np.ndarray
    position: int
    longest_advance: int = LONGEST_ADVANCE
    turned: bool = False

    def __post_init__(self) -> None:
        self.live: dict[int, int] = {}

    @property
    def n_steps(self) -> int | None:
        """Steps of the run, None as long as nobody knows."""
        return self.problem.model.n_steps

    @property
    def complete(self) -> bool:
        """Whether every step is taken."""
        return self.position == self.n_steps

    def counts(self) -> dict[str, int | float]:
        """What is done."""
        return asdict(Counts(forward_steps=self.position))

    def steps_left(self) -> tuple[float, float]:
        """Forward and reverse steps to go; infinite as long as nobody knows."""
        return (math.inf if self.n_steps is None else self.n_steps - self.position), 0

    def sweep_fields(self) -> Fields:
        """The working state."""
        return {"state": self.problem.model.layout.interior(self.state)}

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
            **self.problem.model.time_steps.record(),
            "bins": total_bins(self.problem.comm, self.bins),
        }
