"""How far the gradient from lossy snapshots is off, found out while the run goes on.

The last steps of the reverse sweep, those of the run's beginning, are reversed once more from the
same cotangent with exact states, which the initial state leads to. The difference is the error that
they alone have made. How it has grown with the steps says what all of them have.
"""

from __future__ import annotations

import math
from copy import deepcopy
from time import perf_counter
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.first_steps import Cotangents, FirstSteps
from burgers_adjoint.checkpointing.actions import FusedAction
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.counts import Counts, Observer
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.parallel.reductions import norm
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

    Attributes:
        seconds: that the last estimate took.
    """

    def __init__(self, case: Case, observer: Observer | None = None) -> None:
        self._case, self._observer = case, observer
        self._kept: Cotangents = []
        self._estimate: float | None = None
        self.seconds = 0.0
        self._run: Run | None = None

    def follow(self, run: Run) -> None:
        """Say which reversal is next, before it begins."""
        self._run, self._kept, self._estimate = run, [], None
        follow = getattr(self._observer, "follow", None)
        if follow is not None:
            follow(run)

    def __call__(self, action: FusedAction, counts: Counts) -> None:
        """Keep the cotangent where the last steps begin, and once more half way."""
        if self._observer is not None:
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
        if self._estimate is None:
            start = perf_counter()
            self._estimate = self._estimated()
            self.seconds = perf_counter() - start
        return self._estimate

    def _estimated(self) -> float | None:
        run, model = self._run, self._case.model
        if run is None or run.cotangent is None or run.n_steps is None or len(self._kept) < 2:
            return None
        (whole, _), (half, _) = self._kept
        if not 0 < half < whole:
            return None
        found: Any = model.layout.interior(run.cotangent.field)
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

    def _exactly(self, model: Model) -> list[Any]:
        """Where the kept cotangents lead with exact states, (n_fields, ny, nx) each."""
        first_steps = FirstSteps(model, lambda _: self._kept)
        store = MemoryStore(model.new_state, SNAPSHOTS, exchanges=True)
        n_steps = self._kept[0][0]
        schedule = Binomial(n_steps, min(SNAPSHOTS, max(1, n_steps - 1)))
        Executor(first_steps, schedule, store).run(model.state_of(self._case.fields))
        return [model.layout.interior(cotangent.field) for _, cotangent in self._kept]
