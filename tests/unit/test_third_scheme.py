"""A new advection scheme is its two formulas: everything else follows from them."""

from collections.abc import Iterator
from typing import Any

import pytest
from test_staged import (
    test_adjoint_is_the_transposed_tangent_and_that_the_derivative as check_derivatives,
)
from test_staged import test_orders_in_space as check_order

from burgers_adjoint.assembly.model import Recipe
from burgers_adjoint.config.registry import ADVECTION
from burgers_adjoint.equations.burgers.lines import Line
from burgers_adjoint.parallel.grid import Grid


class FourthOrder:
    """speed (q_-2 - 8 q_-1 + 8 q_+1 - q_+2) / 12; second order beside the boundary."""

    name = "fourth_order"
    reach = 2
    largest_rate = 1.372  # largest of sin k (4 - cos k) / 3
    largest_damping = 0.0

    def weights(self, speed: Any, w: Any, smooth: Any) -> Line:
        far, near = speed * (w * (1 / 12)), speed * (w * (1 / 6) + 0.5)
        return Line(far, -near, None, near, -far)

    def weights_by_speed(self, speed: Any, w: Any, smooth: Any) -> Line:
        return self.weights(1.0, w, smooth)


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


def test_kernels_of_formulas_that_the_cache_cannot_watch_are_not_cached() -> None:
    grid = Grid(9, 8, (0.0, 1.0), (0.0, 1.0), periodic=True)
    equations = [
        Recipe(advection=name, integrator="rk4").equation(grid)
        for name in ("fourth_order", "central", "upwind")
    ]
    assert [equation.cached for equation in equations] == [False, True, True]
