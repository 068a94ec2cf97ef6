"""Scalar functions of a run, with their derivatives."""

from dataclasses import dataclass

import numpy as np

from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.reductions import exact_sum


@dataclass(frozen=True)
class FinalEnergy:
    """J = sum over the non-boundary points of u^2 + v^2 at the end, over nx ny.

    A periodic domain has no boundary: all points count. States are tiles, (2, ny, nx).
    """

    decomposition: Decomposition

    @property
    def _counted(self) -> tuple[slice, slice, slice]:
        """The tile's points that are not on the domain's boundary."""
        inner = [slice(None)]
        for span, n_points in zip(
            (self.decomposition.rows, self.decomposition.columns),
            self.decomposition.shape,
            strict=True,
        ):
            first = max(span.start, 0 if self.decomposition.periodic else 1)
            last = min(span.stop, n_points if self.decomposition.periodic else n_points - 1)
            inner.append(slice(first - span.start, max(last - span.start, first - span.start)))
        return inner[0], inner[1], inner[2]

    @property
    def _n_points(self) -> int:
        ny, nx = self.decomposition.shape
        return ny * nx

    def value(self, state: np.ndarray) -> float:
        """J, the same bits on every rank and decomposition."""
        u, v = state[self._counted]
        return exact_sum(self.decomposition.comm, u * u + v * v) / self._n_points

    def derivative(self, state: np.ndarray, out: np.ndarray) -> None:
        """Write dJ/d(state), Euclidean, to `out`."""
        out[...] = 0.0
        out[self._counted] = 2.0 * state[self._counted] / self._n_points

    def tangent(self, state: np.ndarray, perturbation: np.ndarray) -> float:
        """Derivative of J in the direction of the perturbation."""
        products = state[self._counted] * perturbation[self._counted]
        return exact_sum(self.decomposition.comm, 2.0 * products) / self._n_points
