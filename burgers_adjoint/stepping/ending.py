"""The choice of step lengths on the way, and of the step that ends a run."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from burgers_adjoint.errors import ConfigError, NumericalError, agreed_error
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.agreement import largest
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import largest_or_inf
from burgers_adjoint.stepping.guards import FiniteGuard
from burgers_adjoint.stepping.stepper import Value
from burgers_adjoint.stepping.time_steps import TimeSteps

SHORTEST_STEP = 1e-3  # over the first one
STEPS_BETWEEN_LOOKS = 10  # for a steady state
MOST_STEPS = 2.0**53  # as many as `time.steps` allows

Advance = Callable[[np.ndarray, int, int], None]


class StepLimits(Protocol):
    """How long a step of the method may be, by the state at its start."""

    def speeds(self, fields: np.ndarray) -> np.ndarray:
        """What the limit depends on: largest values at this rank's points (n_fields, ny, nx)."""
        ...

    def advective(self, speeds: np.ndarray, values: Mapping[str, Value | None]) -> float:
        """Longest stable step for the largest speeds of all ranks; inf where none is too long.

        values are those of what steps depend on, by name.
        """
        ...


class Ending:
    """Chooses the lengths of steps, and sees when a run ends. Collective.

    Args:
        time_steps: of the run; what is chosen goes there.
        limits: of the method; None where lengths do not follow the state.
        values: of what steps depend on, by name, as they are at any time.
        layout: of the states.
        decomposition: the ranks that share them.
        guard: of the states.
    """

    def __init__(
        self,
        time_steps: TimeSteps,
        limits: StepLimits | None,
        values: Mapping[str, Value | None],
        layout: Layout,
        decomposition: Decomposition,
        guard: FiniteGuard,
    ) -> None:
        self.time_steps = time_steps
        self._limits, self._values = limits, values
        self._layout, self._decomposition, self._guard = layout, decomposition, guard

    def explore(self, state: np.ndarray, n0: int, n1: int, advance: Advance) -> int:
        """Take the steps from n0 on, up to n1, for the first time, and look out for the end.

        A steady state is looked for after every tenth step: the largest change of a point in that
        step, over its length, has to be below `time_steps.steady`.

        Returns:
            The step reached: n1, or an earlier one as soon as `n_steps` is known.

        Raises:
            ConfigError: on all ranks: nothing will ever end the run.
            NumericalError: on all ranks, when a state is no longer finite.
        """
        steps = self.time_steps
        if steps.endless:
            raise agreed_error(
                ConfigError(
                    "nothing ends this run: its time steps have neither a number (steps) nor a "
                    "time (until) nor a steady state (steady) to stop at"
                )
            )
        self.look_ahead(state, n0)
        while n0 < n1 and steps.n_steps is None:
            look = n0 - n0 % STEPS_BETWEEN_LOOKS + STEPS_BETWEEN_LOOKS
            stop = n0 + 1 if steps.adaptive else min(n1, max(n0 + 1, look - 1))
            if steps.most is not None:
                stop = min(stop, steps.most - 1)
            before = None
            if steps.steady is not None and stop == look:
                before = self._layout.interior(state).copy()
            advance(state, n0, stop)
            if before is not None and self._is_steady(state, before, n0):
                steps.n_steps = stop
            n0 = stop
            self.look_ahead(state, n0)
        return n0

    def _is_steady(self, state: np.ndarray, before: np.ndarray, n: int) -> bool:
        change = float(np.max(np.abs(self._layout.interior(state) - before)))
        change = largest(self._decomposition.comm, change)
        assert self.time_steps.steady is not None
        return change < self.time_steps.steady * self.time_steps.length(n)

    def look_ahead(self, state: np.ndarray, n: int) -> None:
        """See whether step n, from this state, is the last, and choose its length."""
        steps = self.time_steps
        if steps.n_steps is None and n + 1 == steps.most:
            steps.n_steps = steps.most
        if steps.n_steps is None or n < steps.n_steps:
            self.choose_step(state, n)

    def choose_step(self, state: np.ndarray, n: int) -> None:
        """Choose the length of step n by the state at its start, unless it is known.

        Maxima are exact: all ranks, and any number of them, choose the same length.
        """
        steps = self.time_steps
        if steps.chosen > n:
            return
        assert self._limits is not None
        speeds = self._limits.speeds(self._layout.interior(state))
        speeds = largest_or_inf(self._decomposition.comm, speeds)
        if np.isinf(speeds).any():
            self._guard.reached = n
            self._guard.check(state)
            raise agreed_error(NumericalError(f"the speeds before step {n} overflow"))
        steps.choose(self._limits.advective(speeds, self._values))
        if steps.n_steps is None:
            self._require_progress(n)

    def _require_progress(self, n: int) -> None:
        """Refuse a run that would never come to its end."""
        steps = self.time_steps
        length, time = steps.length(n), steps.time(n)
        said = f"step {n} (t = {time:.6g}) would have the length {length:.3g}"
        if time + length == time or (steps.until or 0.0) > MOST_STEPS * length:
            raise agreed_error(
                NumericalError(
                    f"{said}, the stability limit of the method times time.cfl: the run would "
                    "never end; more viscosity or another time.integrator may help"
                )
            )
        # The end has a short last step; else it is the speed that has grown, and no flow of this
        # equation gets faster than its fastest point was.
        if length < SHORTEST_STEP * steps.length(0):
            raise agreed_error(
                NumericalError(
                    f"{said} to follow the flow, the first one had {steps.length(0):.3g}: the "
                    "state grows without bound; more grid points or more viscosity may help"
                )
            )
