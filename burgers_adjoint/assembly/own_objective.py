"""Objectives of a user's own: a class with a value and a derivative, as a term of J."""

from collections.abc import Callable, Container
from typing import Protocol, runtime_checkable

import numpy as np

from burgers_adjoint.equations.burgers.objectives.term import Setting
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.reductions import add_to_bins


class OwnObjective(Protocol):
    """What a user's objective offers: J is a sum over points, and over the states it looks at.

    It may have an attribute `steps`: a container of the numbers of steps after which it looks at
    the state, 0 for the initial one; without it, or with None, it looks at the final state alone.
    Products with a Hessian need `CurvedObjective.second_derivative`, too.
    Each state is shown in any order, several times maybe. No call is collective.
    """

    def value(self, state: np.ndarray, step: int) -> np.ndarray | float:
        """What this tile's points have to do with J: numbers in any shape, whose sum counts.

        Given one by one they are added up exactly: J has the same bits on any number of ranks.

        Args:
            state: (2, ny, nx) of the tile, to be read.
            step: number of steps done.
        """
        ...

    def derivative(self, state: np.ndarray, step: int) -> np.ndarray:
        """The derivative of the sum of `value` by the state, (2, ny, nx) of the tile."""
        ...


@runtime_checkable
class CurvedObjective(OwnObjective, Protocol):
    """An objective of a user's whose products with the Hessian can be had."""

    def second_derivative(self, state: np.ndarray, direction: np.ndarray, step: int) -> np.ndarray:
        """The derivative of `derivative` along a direction of the state, all (2, ny, nx)."""
        ...


class OwnTerm:
    """A user's objective as an `objectives.term.Term`. All methods are collective.

    Args:
        objective: the user's.
        setting: of the states.
    """

    name = "own"

    def __init__(self, objective: OwnObjective, setting: Setting) -> None:
        self._objective, self._layout = objective, setting.layout
        self._comm = setting.decomposition.comm
        self._steps: Container[int] | None = getattr(objective, "steps", None)

    def looks_at(self, n: int, last: bool) -> bool:
        return last if self._steps is None else n in self._steps

    def _fields(self, state: np.ndarray) -> np.ndarray:
        fields = np.array(self._layout.interior(state))
        fields.flags.writeable = False
        return fields

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        values = np.empty(0)
        with agreed(self._comm):
            values = np.asarray(self._objective.value(self._fields(state), n), dtype=np.float64)
        add_to_bins(values.reshape(1, -1), bins)

    def add_derivative(
        self, state: np.ndarray, n: int, last: bool, weight: float, out: np.ndarray
    ) -> None:
        fields = self._fields(state)
        self._add("derivative", lambda: self._objective.derivative(fields, n), n, weight, out)

    def add_second_derivative(
        self,
        state: np.ndarray,
        direction: np.ndarray,
        n: int,
        last: bool,
        weight: float,
        out: np.ndarray,
    ) -> None:
        fields, along, objective = self._fields(state), self._fields(direction), self._objective
        assert isinstance(objective, CurvedObjective)
        self._add(
            "second derivative", lambda: objective.second_derivative(fields, along, n), n, weight,
            out,
        )  # fmt: skip

    def _add(
        self, what: str, evaluate: Callable[[], np.ndarray], n: int, weight: float, out: np.ndarray
    ) -> None:
        """Add a derivative of the user's to a state, if it has the shape."""
        place, found = self._layout.interior(out), np.empty(0)
        with agreed(self._comm):
            found = np.asarray(evaluate(), dtype=np.float64)
            if found.shape != place.shape:
                raise ConfigError(
                    f"the objective's {what} after step {n} has the shape {found.shape}, not that "
                    f"of the state, {place.shape}"
                )
        place += weight * found

    def value(self, total: float) -> float:
        return total

    def close(self) -> None:
        pass
