"""Products with the Hessian by the entries of a control vector, for a search."""

import time

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.inverse.vector import ControlVector
from burgers_adjoint.second_order.products import Direction, LatestProducts, Product


class EntryProducts:
    """Products at a point with a direction, this rank's entries of both. Collective.

    Args:
        case: whose J it is; its inputs are set to each point.
        vector: where the entries of its controls lie.
        full: of the Hessian; else of its Gauss-Newton part.

    Attributes:
        count: how many there were.
        seconds: that they took.
        forward_steps: in them, of states and tangents.
    """

    def __init__(self, case: Case, vector: ControlVector, full: bool) -> None:
        self._case, self._vector, self._full = case, vector, full
        self._latest = LatestProducts(case)
        self.count = self.forward_steps = 0
        self.seconds = 0.0

    def multiply(self, point: np.ndarray, direction: np.ndarray, out: np.ndarray) -> None:
        """Write the product of a direction to out.

        Raises:
            ConfigError, NumericalError, SnapshotError, StorageError: see `SecondOrder.of`.
        """
        self._case.inputs.set_all(self._vector.values(point))
        self._vector.put_gradient(self._product(self._vector.values(direction), True), out)

    def of_data(self, direction: Direction) -> Product:
        """The product of values at the latest point, without the background's part."""
        return self._product(direction, False)

    def _product(self, direction: Direction, prior: bool) -> Product:
        start = time.perf_counter()
        found = self._latest.of(1, self._full).of([direction], prior)
        self.count += 1
        self.forward_steps += found.counts.forward_steps
        self.seconds += time.perf_counter() - start
        return found.products[0]

    def close(self) -> None:
        """Release what products have needed."""
        self._latest.close()
