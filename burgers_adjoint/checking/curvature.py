"""The tests of products with the Hessian: of `check` where they are asked for."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from burgers_adjoint.checking.alone import case_alone, gathered
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.second_order.products import Direction, Product, SecondOrder
from burgers_adjoint.verification import taylor_test

if TYPE_CHECKING:
    from burgers_adjoint.assembly.case import Case
    from burgers_adjoint.checking.checker import Checker

SIZES = tuple(0.08 * 2.0**-k for k in range(9))  # of the control's own size
LEAST_ORDER = 2.95
LARGEST_ASYMMETRY = 1e-13  # relative to the norms
LARGEST_DIFFERENCE = 1e-6
DIFFERENCE_SIZE = 1e-5


class CurvatureChecks:
    """The tests of a problem's second derivative, in the order in which they are reported.

    Args:
        checker: of its gradient.
    """

    def __init__(self, checker: Checker) -> None:
        self._checker, self._case = checker, checker.case
        zeros = {name: control.zeros() for name, control in self._case.controls.items()}
        self._zeros = zeros
        self._both: list[Direction] = []
        for shift in (0, 9):
            one = {}
            for name in zeros:
                value = checker.random_direction(name, shift).value
                one[name] = self._case.controls[name].masked(value)
            self._both.append(one)

    def run(self) -> None:
        """Run all tests."""
        self._checker.count()
        with closing(SecondOrder(self._case, 2, full=True)) as full:
            products = full.of(self._both).products
            name = next(iter(self._zeros))
            of_one = {**self._zeros, name: self._both[0][name]}
            singly = full.of([of_one, self._both[1]]).products[0]
        self._checker.count()
        with closing(SecondOrder(self._case, 2, full=False)) as convex:
            parts = convex.of(self._both).products
        self._symmetry("Hessian", products)
        self._symmetry("Gauss-Newton part", parts)
        self._no_negative(parts)
        self._taylor(products[0])
        self._difference(name, singly)
        self._one_rank(products)

    def _dot(self, left: Direction, right: Direction) -> float:
        return math.fsum(
            one.dot(left[name], right[name]) for name, one in self._case.controls.items()
        )

    def _symmetry(self, what: str, products: list[Product]) -> None:
        first, second = self._both
        left, right = self._dot(first, products[1]), self._dot(second, products[0])
        size = math.sqrt(self._dot(products[1], products[1]) * self._dot(first, first))
        error = abs(left - right) / size if size else abs(left - right)
        self._checker.add(
            f"symmetry, {what}",
            error,
            error <= LARGEST_ASYMMETRY,
            LARGEST_ASYMMETRY,
            f"at most {LARGEST_ASYMMETRY:g} of the norms",
        )

    def _no_negative(self, parts: list[Product]) -> None:
        lowest = min(self._dot(*pair) for pair in zip(self._both, parts, strict=True))
        self._checker.add(
            "curvature of the Gauss-Newton part", lowest, lowest >= 0.0, 0.0, "not negative"
        )

    def _taylor(self, product: Product) -> None:
        """J along all controls at once, without its second derivative."""
        checker, case, along = self._checker, self._case, self._both[0]
        slope = math.fsum(
            case.controls[name].dot(part, along[name])
            for name, part in checker.base.gradient.items()
        )
        curvature = self._dot(along, product)

        def without_curvature(size: float) -> float:
            return checker.moved(along, size) - 0.5 * size * size * curvature

        test = taylor_test(without_curvature, checker.base.objective, slope, SIZES)
        if not any(test.corrected[:2]):
            checker.left_out.append("Taylor order with the Hessian: J is quadratic, to the bit")
            return
        checker.add(
            "Taylor order with the Hessian",
            test.corrected_order,
            test.corrected_order > LEAST_ORDER,
            LEAST_ORDER,
            f"above {LEAST_ORDER}",
        )

    def _difference(self, name: str, product: Product) -> None:
        """The product with a direction of one control, against a difference of gradients."""
        checker, controls = self._checker, self._case.controls
        along = {**self._zeros, name: self._both[0][name]}
        ahead, behind = (checker.gradient_at(along, h) for h in (DIFFERENCE_SIZE, -DIFFERENCE_SIZE))
        error = size = 0.0
        for other, part in product.items():
            slope = (np.asarray(ahead[other]) - behind[other]) / (2 * DIFFERENCE_SIZE)
            error += controls[other].norm(slope - part) ** 2
            size += controls[other].norm(part) ** 2
        found = math.sqrt(error / size) if size else math.sqrt(error)
        checker.add(
            f"difference of gradients along {name}",
            found,
            found <= LARGEST_DIFFERENCE,
            LARGEST_DIFFERENCE,
            f"at most {LARGEST_DIFFERENCE:g} relative",
        )

    def _one_rank(self, products: list[Product]) -> None:
        """All ranks together and rank 0 on its own, one direction at a time, give the same bits."""
        case, checker = self._case, self._checker
        if case.comm.size == 1 or case.own is not None or not checker.fits_one_rank(4):
            checker.left_out.append(
                "products on one rank against several: see that of the gradient above"
            )
            return
        found = ""
        values = gathered(case, case.inputs.copies(case.controls))
        whole = [gathered(case, one) for one in self._both]
        with agreed(case.comm):
            if case.comm.rank == 0:
                with (
                    closing(case_alone(case, values)) as alone,
                    closing(SecondOrder(alone, 1)) as one,
                ):
                    found = _digest(alone, [one.of([part]).products[0] for part in whole])
        checker.compare(
            f"products on one rank against {case.comm.size}",
            from_rank(case.comm, found),
            _digest(case, products),
        )


def _digest(case: Case, products: list[Product]) -> str:
    no_state = np.empty((0, *case.decomposition.tile_shape))
    return " ".join(case.digest(no_state, product) for product in products)
