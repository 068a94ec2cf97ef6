"""How many steps share a sweep over memory: the same on every rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.step_levels import StepLevels

# Rows of that many bytes in between stay in the cache while a sweep passes over them: sixteen steps
# of forward Euler on rows of 2048 points, more than a second-level cache of 1 MiB holds, are still
# as fast as eight.
SWEEP_BYTES = 2**21
LONGEST_SWEEP = 16
# A sweep of the adjoint needs rows of every step's state too, and k steps need about k (k + 1)
# layers of halo. Measured: more than eight steps gain nothing, and on two ranks more than four.
LONGEST_ADJOINT_SWEEP, LONGEST_WITH_HALO = 8, 4


@dataclass(frozen=True)
class SweepLengths:
    """Chooses them.

    Attributes:
        kinds: of the steps.
        decomposition: who owns which points.
        thinnest: points along the shorter side of the smallest tile; inf where one rank has all.
        most_steps: see `backend.Backend`.
    """

    kinds: StepKinds
    decomposition: Decomposition
    thinnest: float
    most_steps: tuple[int, int] | None

    def forward(self) -> int:
        """Steps whose rows in between stay in the cache, and whose halo the tiles have."""
        n_stages, n_fields = self.kinds.n_stages, self.kinds.n_fields
        if self.most_steps is not None:
            steps = self.most_steps[0] if n_stages == 1 else 1
        else:
            widest = -(-self.decomposition.shape[1] // self.decomposition.process_grid[1])
            rows = 4 if n_stages == 1 else 6 * n_stages
            steps = min(LONGEST_SWEEP, SWEEP_BYTES // (rows * n_fields * 8 * widest))
        layers = n_stages * self.kinds.equation.reach
        return max(1, min(steps, int(min(self.thinnest, 1e6) // layers)))

    def adjoint(self, forward: int, levels: StepLevels) -> int:
        """Steps of the adjoint, at most as many as of the primal."""
        longest = LONGEST_ADJOINT_SWEEP if math.isinf(self.thinnest) else LONGEST_WITH_HALO
        if self.most_steps is not None:
            longest = self.most_steps[1]
        steps = min(forward, longest) if self.kinds.n_stages == 1 else 1
        while steps > 1 and levels.n_layers(steps, adjoint=True) > self.thinnest:
            steps -= 1
        return steps
