"""A new advection scheme is its two formulas: everything else follows from them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from test_staged import (
    test_adjoint_is_the_transposed_tangent_and_that_the_derivative as check_derivatives,
)
from test_staged import test_orders_in_space as check_order

from burgers_adjoint.config.registry import ADVECTION
from burgers_adjoint.equations.burgers.equation import Burgers
from burgers_adjoint.equations.burgers.lines import Line
from burgers_adjoint.stepping.runge_kutta import StepKinds
from burgers_adjoint.stepping.tableaux import RK4


class FourthOrder:
    """speed (q_-2 - 8 q_-1 + 8 q_+1 - q_+2) / 12; second order beside the boundary."""

    name = "fourth_order"
    reach = 2
    largest_rate = 1.372  # largest of sin k (4 - cos k) / 3
    largest_damping = 0.0

    n_numbers = 2

    def numbers(self, spacing: float) -> Sequence[float]:
        return 1 / (12 * spacing), 1 / (2 * spacing)

    def weights(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any, k: Any) -> Line:
        far, near = speed * (w * c[0]), speed * (w * (2.0 * c[0]) + c[1])
        return Line(-far, near + k, None, k - near, far)

    def slopes(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line:
        far, near = w * c[0], w * (2.0 * c[0]) + c[1]
        return Line(-far, near, None, -near, far)


@pytest.fixture(scope="module", autouse=True)
def fourth_order() -> Iterator[None]:
    ADVECTION.add(FourthOrder.name, FourthOrder)
    yield
    ADVECTION.remove(FourthOrder.name)


@pytest.mark.parametrize("periodic", [False, True])
def test_tangent_and_adjoint_follow_from_the_formulas(periodic: bool) -> None:
    check_derivatives(periodic, "ssprk3", "fourth_order")


def test_order_is_that_of_the_formulas() -> None:
    check_order("fourth_order", 4)


def test_kernels_are_told_apart_by_their_operations_not_by_names() -> None:
    """Another formula under an old name, in whatever file, never runs an old kernel."""

    def listings(scheme: Any) -> list[str]:
        equation = Burgers((0.1, 0.2), None, scheme, 0.01)
        kinds = StepKinds(equation, RK4, ("viscosity",), bounded=False)
        return [kinds.forward(0).listing(), kinds.backward(3).listing()]

    class Changed(FourthOrder):
        def slopes(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line:
            line = super().slopes(c, speed, w, smooth)
            return line._replace(after=line.after * (1 + 2**-52))

    assert listings(FourthOrder()) == listings(FourthOrder())
    (forward, backward), (same, other) = listings(FourthOrder()), listings(Changed())
    assert forward == same
    assert backward != other
