"""What a term of the objective offers: its value and its derivative, state by state."""

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.time_steps import TimeSteps


class Setting(Protocol):
    """What a term is made for: a grid that ranks share, states on it, and the steps of a run."""

    @property
    def grid(self) -> Grid: ...

    @property
    def decomposition(self) -> Decomposition: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def time_steps(self) -> TimeSteps: ...


class Term(Protocol):
    """One part of J: a scale times a sum over the states of a run of numbers at points.

    Every state is shown once, in any order, in a forward sweep or during the reversal: the sum is
    exact, so that the order does not show. States are working arrays (2, rows, pitch) with a halo
    that may be stale; what a term needs of it, it exchanges. All calls are collective.
    """

    name: str

    def looks_at(self, n: int, last: bool) -> bool:
        """Whether the state after n steps matters; `last` says that the run ends with it."""
        ...

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        """Add this rank's part of the sum to bins; see `reductions.add_to_bins`."""
        ...

    def add_derivative(
        self, state: np.ndarray, n: int, last: bool, weight: float, out: np.ndarray
    ) -> None:
        """Add weight dJ/d(state), Euclidean, to the tile's own points of `out`, like the state."""
        ...

    def add_second_derivative(
        self,
        state: np.ndarray,
        direction: np.ndarray,
        n: int,
        last: bool,
        weight: float,
        out: np.ndarray,
    ) -> None:
        """Add the derivative of what `add_derivative` adds, along a direction of the state.

        The direction is like the state. What is added is symmetric in it, and a square where it is
        multiplied with itself: of a sum of squares of what is linear in the state.
        """
        ...

    def value(self, total: float) -> float:
        """This part of J from the sum over all states and ranks."""
        ...

    def close(self) -> None:
        """Release what the term holds."""
        ...


class Quadratic(ABC):
    """What a term has that is quadratic in the state: a derivative that is linear in it."""

    @abstractmethod
    def add_derivative(
        self, state: np.ndarray, n: int, last: bool, weight: float, out: np.ndarray
    ) -> None: ...

    def add_second_derivative(
        self,
        state: np.ndarray,
        direction: np.ndarray,
        n: int,
        last: bool,
        weight: float,
        out: np.ndarray,
    ) -> None:
        """See `Term`."""
        self.add_derivative(direction, n, last, weight, out)


def counted(decomposition: Decomposition) -> tuple[slice, slice, slice]:
    """The tile's points that are not on the domain's boundary; all, when it is periodic."""
    inner = [slice(None)]
    spans = (decomposition.rows, decomposition.columns)
    for span, n_points in zip(spans, decomposition.shape, strict=True):
        first = max(span.start, 0 if decomposition.periodic else 1)
        last = min(span.stop, n_points if decomposition.periodic else n_points - 1)
        inner.append(slice(first - span.start, max(last - span.start, first - span.start)))
    return inner[0], inner[1], inner[2]
