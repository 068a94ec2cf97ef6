"""The numbers that the formulas of steps are given: coefficients of the equation and the method."""

from collections.abc import Hashable, Sequence

import numpy as np

from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.time_steps import TimeSteps

MOST_TABLES = 64


class StepNumbers:
    """Tables of numbers, a row for each level of a sweep, kept for steps of the same lengths."""

    def __init__(self, kinds: StepKinds, time_steps: TimeSteps) -> None:
        self._kinds, self._time_steps = kinds, time_steps
        self._tables: dict[Hashable, np.ndarray] = {}

    def forget(self) -> None:
        """Make all tables anew: the equation's numbers are others."""
        self._tables.clear()

    def forward(self, n0: int, n_steps: int) -> np.ndarray:
        """For each of so many steps from n0 on, a row for each stage."""
        return self._table("forward", range(n0, n0 + n_steps))

    def backward(self, n: int, n_steps: int) -> np.ndarray:
        """For steps n, n-1, ..., the rows of stages computed anew, and those of their adjoint."""
        return self._table("backward", range(n, n - n_steps, -1))

    def _table(self, direction: str, steps: Sequence[int]) -> np.ndarray:
        times, kinds = self._time_steps, self._kinds
        key: Hashable = None
        if not kinds.equation.changing:
            even = times.even
            key = direction, len(steps) if even else tuple(times.length(n) for n in steps)
            if key in self._tables:
                return self._tables[key]
        rows: list[list[float]] = []
        for n in steps:
            step = times.time(n), times.length(n)
            if direction == "forward":
                rows += [kinds.forward_numbers(s, *step) for s in range(kinds.n_stages)]
            else:
                rows += [kinds.forward_numbers(s, *step, end=False) for s in range(kinds.n_stages)]
                rows += [kinds.backward_numbers(s, *step) for s in range(kinds.n_stages)]
        table = np.zeros((len(rows), max(map(len, rows))))
        for place, row in zip(table, rows, strict=True):
            place[: len(row)] = row
        if key is not None:
            if len(self._tables) >= MOST_TABLES:
                self._tables.clear()
            self._tables[key] = table
        return table
