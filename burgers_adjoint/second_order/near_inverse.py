"""What is close to the inverse of a Hessian: the prior, and observations as if of each value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.equations.burgers.controls import Control
from burgers_adjoint.inverse.covariance import Covariance
from burgers_adjoint.inverse.vector import ControlVector
from burgers_adjoint.second_order.entries import EntryProducts
from burgers_adjoint.stepping.stepper import Value

SEED = 7  # of the directions by which observations are weighed
SEED_OF_SHARES = 8  # of which points are each knot's
LEAST = 1e-3  # of precisions, over the largest: an estimate may miss, and need not be positive


class NearInverse:
    """(B^-1 + D)^-1 by the entries of a control vector, control by control. Collective.

    B is the covariance of the background. D is what the data say of each value of a control on
    average: a number; of values at knots a matrix between these, as what one knot forces the others
    can undo. One product with random numbers gives it by Hutchinson's estimate of a trace (A
    stochastic estimator of the trace of the influence matrix, 1989); each knot has them at points
    of its own (Tang, Saad, A probing method for computing the diagonal of a matrix inverse, 2012).

    Args:
        case: whose J it is.
        vector: where the entries lie.
        products: at the point of the search.
    """

    def __init__(self, case: Case, vector: ControlVector, products: EntryProducts) -> None:
        self._case, self._vector, self._products = case, vector, products
        self._made: dict[str, Coupled] = {}

    def __call__(self, entries: np.ndarray) -> np.ndarray:
        """Times the derivatives by entries, entries."""
        controls, found = self._case.controls, dict[str, Value]()
        for name, value in self._vector.values(entries).items():
            if name not in self._made:
                self._made[name] = self._with_data(name)
            # values are entries times the scale, and derivatives by them those by entries over it
            found[name] = self._made[name].applied(value / controls[name].scale ** 2)
        out = np.empty_like(entries)
        self._vector.put_values(found, out)
        return out

    def _with_data(self, name: str) -> Coupled:
        controls = self._case.controls
        control, direction = controls[name], {key: one.zeros() for key, one in controls.items()}
        shares = shares_of(control)
        for share in shares:
            direction[name] = direction[name] + share
        product = self._products.of_data(direction)[name]
        # what each knot's share does to each of the knots, at the share's own points
        precisions = [
            [control.dot(share if i == j else np.roll(share, j - i, axis=0), product)
             for j in range(len(shares))]
            for i, share in enumerate(shares)
        ]  # fmt: skip
        squares = [control.dot(share, share) for share in shares]
        coupling = np.array(precisions) / np.array(squares)[:, None]
        eigenvalues, eigenvectors = np.linalg.eigh(0.5 * (coupling + coupling.T))
        if eigenvalues[-1] <= 0.0:  # the Hessian need not be positive
            eigenvalues[:] = control.scale**-2
        known = self._case.prior.what_is_known(name)
        least = LEAST * eigenvalues[-1]
        observed = [known.observed(max(precision, least)) for precision in eigenvalues.tolist()]
        return Coupled(eigenvectors, observed)


@dataclass(frozen=True)
class Coupled:
    """Knots whose values depend on each other: independent along some vectors of weights.

    Attributes:
        weights: of the knots, a column for each vector.
        covariances: of the values along each.
    """

    weights: np.ndarray
    covariances: Sequence[Covariance]

    def applied(self, value: Value) -> Value:
        """The covariance of all times values."""
        if len(self.covariances) == 1:
            return self.covariances[0].applied(value, 1.0)
        values, found = np.asarray(value), np.zeros_like(value)
        for column, covariance in zip(self.weights.T, self.covariances, strict=True):
            # elementwise, for the same bits on tiles of any shape
            along = sum(weight * part for weight, part in zip(column, values, strict=True))
            image = covariance.applied(along, 1.0)
            for weight, part in zip(column, found, strict=True):
                part += weight * image
        return found


def shares_of(control: Control) -> list[Value]:
    """Random values of a control, each knot's at points of its own; one share if it has none."""
    random = control.masked(control.random(SEED))
    if np.ndim(random) < 4:
        return [random]
    values, others = np.asarray(random), np.asarray(control.random(SEED_OF_SHARES))
    numbers = np.floor(0.5 * (others[0, 0] + 1.0) * len(values))
    shares: list[Value] = []
    for knot, value in enumerate(values):
        share = np.zeros_like(values)
        share[knot] = np.where(numbers == knot, value, 0.0)
        shares.append(share)
    return shares
