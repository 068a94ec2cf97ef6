"""Whether the states of a run stay finite."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from burgers_adjoint.errors import NumericalError, agreed_error
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.agreement import smallest
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.time_steps import TimeSteps

STEPS_BETWEEN_CHECKS = 256


class FiniteGuard:
    """Checks the states of steps that are taken for the first time, now and then. Collective.

    Args:
        grid, decomposition, layout: of the states.
        time_steps: of the run.
        names: of the fields, for the message.
        new_array: makes an array like a state, of so many fields.
        advance: takes steps n0 .. n1-1 of a state in place.

    Attributes:
        reached: step at which the last state was that arrived.
    """

    def __init__(
        self,
        grid: Grid,
        decomposition: Decomposition,
        layout: Layout,
        time_steps: TimeSteps,
        names: Sequence[str],
        new_array: Callable[[int], np.ndarray],
        advance: Callable[[np.ndarray, int, int], None],
    ) -> None:
        self._grid, self._decomposition, self._layout = grid, decomposition, layout
        self._time_steps, self._names, self._advance = time_steps, names, advance
        self._last_finite = layout.interior(new_array(len(names)))
        self._finite_until = 0
        self.reached = 0

    def begin(self, state: np.ndarray, step: int = 0) -> None:
        """Begin at a step with a state, which counts as finite."""
        self._last_finite[...] = self._layout.interior(state)
        self._finite_until = self.reached = step

    def furthest(self, n1: int) -> int:
        """How far to go on the way to n1 before the state has to be shown to `arrive`."""
        if n1 > self._finite_until:
            return min(n1, self._finite_until + STEPS_BETWEEN_CHECKS)
        return n1

    def arrive(self, state: np.ndarray, n: int) -> None:
        """Note that the state after n steps is reached, and check it if it is time to."""
        self.reached = n
        if n == self._finite_until + STEPS_BETWEEN_CHECKS:
            self.check(state)

    def check(self, state: np.ndarray) -> None:
        """See that the state that was just reached is finite on all ranks, and remember it.

        Raises:
            NumericalError: on all ranks, naming the first step whose result is not finite, the
                point and the rank that owns it; found by repeating the steps since the last check.
        """
        if self._find_not_finite(state) is None:
            self._last_finite[...] = self._layout.interior(state)
            self._finite_until = self.reached
            return
        step = self._finite_until
        self._layout.interior(state)[...] = self._last_finite
        while (place := self._find_not_finite(state)) is None:
            self._advance(state, step, step + 1)
            step += 1
        field, row, column = place
        owner = self._decomposition.owner(row, column)
        raise agreed_error(
            NumericalError(
                f"the state is no longer finite after step {step} "
                f"(t = {self._time_steps.time(step):.6g}): {self._names[field]} at point "
                f"[{row}, {column}], x = {self._grid.x[column]:.6g}, "
                f"y = {self._grid.y[row]:.6g}, on rank {owner} of {self._decomposition.size}; "
                "a smaller time.dt may help"
            )
        )

    def _find_not_finite(self, state: np.ndarray) -> tuple[int, int, int] | None:
        """First (field, row, column) in global order that is not finite on any rank."""
        ny, nx = self._grid.shape
        place = _first_not_finite(self._layout.interior(state))
        first = end = len(self._names) * ny * nx
        if place is not None:
            # points of a tile are in the same order among all as among themselves
            field, row, column = place
            row += self._decomposition.rows.start
            column += self._decomposition.columns.start
            first = (field * ny + row) * nx + column
        first = smallest(self._decomposition.comm, first)
        if first == end:
            return None
        return first // (ny * nx), first // nx % ny, first % nx


def _first_not_finite(values: Any) -> tuple[int, ...] | None:
    """Indices of the first value in C order that is not finite; arrays may find it themselves."""
    if not isinstance(values, np.ndarray):
        found: tuple[int, ...] | None = values.first_not_finite()
        return found
    bad = ~np.isfinite(values)
    if not bad.any():
        return None
    return tuple(int(place) for place in np.unravel_index(np.argmax(bad), bad.shape))
