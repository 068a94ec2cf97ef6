"""How far the gradient from lossy snapshots is off, found out while the run goes on.

The last steps of the reverse sweep, those of the run's beginning, are reversed once more from the
same cotangent with exact states, which the initial state leads to. The difference is the error that
they alone have made. How it has grown with the steps says what all of them have.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.checkpointing.actions import FusedAction
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.parallel.reductions import norm
from burgers_adjoint.protocols import AdjointModel
from burgers_adjoint.snapshots.memory import MemoryStore
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.stepper import Cotangent

SHARE = 32  # of the steps, one of so many is reversed once more
FEWEST = 4  # of these
SNAPSHOTS = 4  # for them, of the working state's size
# The error of k steps, over that of all n, is (k / n)^(LEVEL + SLOPE p) where it has grown with the
# power p over the second half of the k. Fitted to 107 runs of all integrators, schemes, objectives,
# schedules, float32 and tolerances from 1e-8 to 1e-3: 95 % are estimated to a factor of 3.
LEVEL, SLOPE = 0.09, 0.33

Run = Executor[np.ndarray, Cotangent, Any]


class LossyError:
    """An observer of a reversal, which estimates the error of its gradient.

    Args:
        case: that is reversed, from its initial fields.
        observer: that is told everything, too.
    """

    def __init__(self, case: Case, observer: Callable[[FusedAction, Counts], None]) -> None:
        self._case, self._observer = case, observer
        self._kept: list[tuple[int, Cotangent]] = []
        self._run: Run | None = None

    def follow(self, run: Run) -> None:
        """Say which reversal is next, before it begins."""
        self._run, self._kept = run, []
        follow = getattr(self._observer, "follow", None)
        if follow is not None:
            follow(run)

    def __call__(self, action: FusedAction, counts: Counts) -> None:
        """Keep the cotangent where the last steps begin, and once more half way."""
        self._observer(action, counts)
        run = self._run
        if run is None or run.cotangent is None or run.n_steps is None or len(self._kept) == 2:
            return
        first = min(run.n_steps, max(FEWEST, -(-run.n_steps // SHARE)))
        wanted = self._kept[0][0] // 2 if self._kept else first
        if run.swept_to <= wanted:
            self._kept.append((run.swept_to, deepcopy(run.cotangent)))

    def estimate(self) -> float | None:
        """Relative error, in the Euclidean norm, of the cotangent at the initial state. Collective.

        Returns:
            None where the run was carried on too late, or has too few steps.
        """
        run, model = self._run, self._case.model
        if run is None or run.cotangent is None or run.n_steps is None or len(self._kept) < 2:
            return None
        (whole, _), (half, _) = self._kept
        if not 0 < half < whole:
            return None
        found = model.layout.interior(run.cotangent.field)
        size = norm(model.comm, found)
        if size == 0:
            return 0.0
        errors = [norm(model.comm, found - exact) / size for exact in self._exactly(model)]
        if errors[0] == 0:
            return 0.0
        # errors of round-off grow, too, but shrink where they are none
        power = math.log(errors[0] / max(errors[1], 1e-300)) / math.log(whole / half)
        exponent = LEVEL + SLOPE * min(1.0, max(0.0, power))
        return errors[0] * (run.n_steps / whole) ** exponent

    def _exactly(self, model: Model) -> list[np.ndarray]:
        """Where the kept cotangents lead with exact states, (n_fields, ny, nx) each."""
        viewer, model.viewer = model.viewer, None
        last = _LastSteps(model, self._kept)
        try:
            store = MemoryStore(model.new_state, SNAPSHOTS, exchanges=True)
            n_steps = self._kept[0][0]
            schedule = Binomial(n_steps, min(SNAPSHOTS, max(1, n_steps - 1)))
            Executor(last, schedule, store).run(model.state_of(self._case.fields))
        finally:
            model.viewer = viewer
        return [model.layout.interior(cotangent.field) for _, cotangent in self._kept]


class _LastSteps(AdjointModel[np.ndarray, list[tuple[int, Cotangent]], np.ndarray]):
    """The steps of a model's beginning, from cotangents that are there, each from its step on."""

    exchanges = True

    def __init__(self, model: Model, cotangents: list[tuple[int, Cotangent]]) -> None:
        self._model, self._cotangents = model, cotangents

    def advance(self, state: np.ndarray, n0: int, n1: int) -> None:
        self._model.advance(state, n0, n1)

    def advance_from(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        self._model.advance_from(source, state, n0, n1)

    def seed(self, state: np.ndarray) -> list[tuple[int, Cotangent]]:
        return self._cotangents

    def adjoint_step(
        self, cotangent: list[tuple[int, Cotangent]], state: np.ndarray, n: int
    ) -> None:
        for begin, one in cotangent:
            if n < begin:
                self._model.adjoint_step(one, state, n)

    def new_snapshot(self) -> np.ndarray:
        return self._model.new_state()

    def snapshot(self, state: np.ndarray, out: np.ndarray) -> None:
        self._model.snapshot(state, out)

    def restore(self, snapshot: np.ndarray, state: np.ndarray) -> None:
        self._model.restore(snapshot, state)
