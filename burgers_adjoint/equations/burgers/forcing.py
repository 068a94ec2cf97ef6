"""Forcing of the equation: a steady field, and one that is piecewise linear in time."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from burgers_adjoint.parallel.decomposition import Shape


class Forcing:
    """f(x, y, t) = steady(x, y) + a linear interpolation in time of fields at the knots.

    Before the first knot and after the last one their fields hold.

    Args:
        shape: (ny, nx) of the tile.
        knots: increasing times [time].

    Attributes:
        steady: (2, ny, nx) of the tile; None for zeros [length/time^2].
        at_knots: (n_knots, 2, ny, nx); None for zeros.
    """

    def __init__(self, shape: Shape, knots: Sequence[float] = ()) -> None:
        self._shape = shape
        self.knots = tuple(knots)
        self.steady: np.ndarray | None = None
        self.at_knots: np.ndarray | None = None

    def weights(self, time: float) -> list[tuple[int, float]]:
        """Which knots count at a time, and how much."""
        knots = self.knots
        after = bisect_right(knots, time)
        if after == 0:
            return [(0, 1.0)]
        if after == len(knots):
            return [(after - 1, 1.0)]
        share = (time - knots[after - 1]) / (knots[after] - knots[after - 1])
        return [(after - 1, 1.0 - share), (after, share)]

    def at(self, time: float, out: np.ndarray) -> None:
        """Write the forcing at a time to out, (2, ny, nx)."""
        out[...] = 0.0 if self.steady is None else self.steady
        if self.at_knots is not None:
            for knot, weight in self.weights(time):
                out += weight * self.at_knots[knot]

    def add_transposed(
        self,
        time: float,
        cotangent: np.ndarray,
        steady: np.ndarray | None,
        at_knots: np.ndarray | None,
    ) -> None:
        """Add what a cotangent of the forcing at a time gives to those of its parts.

        A point's sums go backwards in time: an order that no decomposition changes.

        Args:
            time: of the forcing.
            cotangent: (2, ...).
            steady, at_knots: cotangents of the parts, (2, ...) and (n_knots, 2, ...), or None.
        """
        if steady is not None:
            steady += cotangent
        if at_knots is not None:
            for knot, weight in self.weights(time):
                at_knots[knot] += weight * cotangent
