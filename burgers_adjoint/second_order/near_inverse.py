"""What is close to the inverse of a Hessian: the prior, and observations as if of each value."""

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.inverse.covariance import Covariance
from burgers_adjoint.inverse.vector import ControlVector
from burgers_adjoint.second_order.entries import EntryProducts
from burgers_adjoint.stepping.stepper import Value

SEED = 7  # of the directions by which observations are weighed


class NearInverse:
    """(B^-1 + d)^-1 by the entries of a control vector, control by control. Collective.

    B is the covariance of the background, and d the mean precision of what the data say of each
    value of a control, by Hutchinson's estimate of a trace from one product.

    Args:
        case: whose J it is.
        vector: where the entries lie.
        products: at the point of the search.
    """

    def __init__(self, case: Case, vector: ControlVector, products: EntryProducts) -> None:
        self._case, self._vector, self._products = case, vector, products
        self._made: dict[str, Covariance] = {}

    def __call__(self, entries: np.ndarray) -> np.ndarray:
        """Times the derivatives by entries, entries."""
        controls, found = self._case.controls, dict[str, Value]()
        for name, value in self._vector.values(entries).items():
            if name not in self._made:
                self._made[name] = self._with_data(name)
            # values are entries times the scale, and derivatives by them those by entries over it
            found[name] = self._made[name].applied(value / controls[name].scale ** 2, 1.0)
        out = np.empty_like(entries)
        self._vector.put_values(found, out)
        return out

    def _with_data(self, name: str) -> Covariance:
        controls = self._case.controls
        direction = {other: control.zeros() for other, control in controls.items()}
        direction[name] = one = controls[name].masked(controls[name].random(SEED))
        product = self._products.of_data(direction)[name]
        mean = controls[name].dot(one, product) / controls[name].dot(one, one)
        if mean <= 0.0:  # the Hessian need not be positive
            mean = controls[name].scale ** -2
        return self._case.prior.what_is_known(name).observed(mean)
