"""Errors up to a tolerance at every point, in the time of some copies."""

from __future__ import annotations

import numpy as np

from burgers_adjoint.snapshots.codecs.codec import MARGIN, CodecCannot, bounding
from burgers_adjoint.snapshots.codecs.packed import Packed


class Quantised(Packed):
    """Whole steps of twice the tolerance, as differences from the prediction.

    Each value is looked at as it will come back, and must be within the tolerance.
    """

    name = "quantised"
    bounded = True
    pointwise = True
    orders = (1, 2, 3)  # whole numbers have a noise of their own, which grows with the order

    def _as_good(self, k: int, number: int) -> bool:
        return bool(self.tolerances[k] <= self.tolerances[number])

    def _pack(self, number: int, field: np.ndarray) -> tuple[int, float, int]:
        tolerance, packing = bounding(self.tolerances[number], field), self._packing
        step = 2 * MARGIN * tolerance
        order = self._best_order(
            len(field), lambda order, *rows: packing.quantised_bits(field, order, step, *rows)
        )
        n_words = packing.pack_quantised(field, order, step, tolerance, self._widths, self._words)
        if n_words < 0:
            raise CodecCannot(_why(field, tolerance))
        return order, step, n_words

    def _unpack(self, order: int, step: float, out: np.ndarray) -> None:
        self._packing.unpack_quantised(self._words, order, step, self._widths, out)


def _why(field: np.ndarray, tolerance: float) -> str:
    """Why steps do not come within the tolerance of a field."""
    if not np.isfinite(field).all():
        return "a value is not finite"
    return f"the tolerance {tolerance:.3g} is too small for values up to {np.abs(field).max():.3g}"
