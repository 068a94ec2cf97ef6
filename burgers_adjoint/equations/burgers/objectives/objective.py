"""The objective: a weighted sum of terms."""

from collections.abc import Mapping

import numpy as np

from burgers_adjoint.equations.burgers.objectives.term import Term
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import N_BINS, rounded_sums


class Objective:
    """J = sum of weight times term.

    What the terms have seen so far is kept in an array of bins, one row per term, that the caller
    holds: so a run that is stopped and continued somewhere else can take it along.

    Args:
        terms: to weight.
        decomposition: of the ranks that share the grid.

    Attributes:
        parts: value of each term, weighted, as `value` found them last.
    """

    def __init__(self, terms: Mapping[Term, float], decomposition: Decomposition) -> None:
        self.terms = dict(terms)
        self.parts: dict[str, float] = {}
        self._comm = decomposition.comm

    def new_bins(self) -> np.ndarray:
        """Bins of sums that have seen no state yet."""
        return np.zeros((len(self.terms), N_BINS + 1), dtype=np.int64)

    def looks_at(self, n: int, last: bool) -> bool:
        """Whether the state after n steps matters to any term."""
        return any(term.looks_at(n, last) for term in self.terms)

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None:
        """Show a state to every term that looks at it; see `Term`."""
        # a state that is about to blow up: the sum says so, on all ranks
        with np.errstate(over="ignore", invalid="ignore"):
            for row, term in zip(bins, self.terms, strict=True):
                if term.looks_at(n, last):
                    term.add_value(state, n, last, row)

    def add_derivative(self, state: np.ndarray, n: int, last: bool, out: np.ndarray) -> None:
        """Add dJ/d(state after n steps) to the tile's own points of `out`."""
        for term, weight in self.terms.items():
            if term.looks_at(n, last):
                term.add_derivative(state, n, last, weight, out)

    def add_second_derivative(
        self, state: np.ndarray, direction: np.ndarray, n: int, last: bool, out: np.ndarray
    ) -> None:
        """Add the derivative of what `add_derivative` adds, along a direction of the state."""
        for term, weight in self.terms.items():
            if term.looks_at(n, last):
                term.add_second_derivative(state, direction, n, last, weight, out)

    def value(self, bins: np.ndarray) -> float:
        """J of all states shown so far, on every rank alike; nan or inf after a bad one."""
        totals = rounded_sums(self._comm, bins)
        self.parts = {
            term.name: weight * term.value(total)
            for (term, weight), total in zip(self.terms.items(), totals, strict=True)
        }
        J = 0.0
        for part in self.parts.values():  # `sum` has other bits since Python 3.12
            J += part
        return J

    def close(self) -> None:
        """Release what the terms hold."""
        for term in self.terms:
            term.close()
