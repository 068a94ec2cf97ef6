"""A new advection scheme is its two formulas: everything else follows from them."""

from types import SimpleNamespace
from typing import Any

import pytest
from burgers_adjoint.equations.burgers.advection.sweeps import sweeps_of
from burgers_adjoint.equations.burgers.rates import Line
from test_staged import (
    test_adjoint_is_the_transposed_tangent_and_that_the_derivative as check_derivatives,
)
from test_staged import test_orders_in_space as check_order

from burgers_adjoint.config.registry import ADVECTION


class FourthOrder:
    """speed (q_-2 - 8 q_-1 + 8 q_+1 - q_+2) / 12; second order beside the boundary."""

    def weights(self, speed: Any, w: Any, smooth: Any) -> Line:
        far, near = speed * (w * (1 / 12)), speed * (w * (1 / 6) + 0.5)
        return Line(far, -near, None, near, -far)

    def weights_by_speed(self, speed: Any, w: Any, smooth: Any) -> Line:
        return self.weights(1.0, w, smooth)


@pytest.fixture(scope="module", autouse=True)
def fourth_order() -> Any:
    sweeps = sweeps_of(FourthOrder())
    # 1.372: largest of sin k (4 - cos k) / 3
    scheme = SimpleNamespace(REACH=2, LARGEST_RATE=1.372, LARGEST_DAMPING=0.0, **sweeps._asdict())
    ADVECTION.add("fourth_order", scheme)
    yield sweeps
    ADVECTION.remove("fourth_order")


@pytest.mark.parametrize("periodic", [False, True])
def test_tangent_and_adjoint_follow_from_the_formulas(periodic: bool) -> None:
    check_derivatives(periodic, "ssprk3", "fourth_order")


def test_order_is_that_of_the_formulas() -> None:
    check_order("fourth_order", 4)


def test_kernels_of_formulas_that_the_cache_cannot_watch_are_not_cached(fourth_order: Any) -> None:
    known = ADVECTION["central"]
    assert [one.stats.cache_path is None for one in (fourth_order.rate, known.rate)] == [
        True,
        False,
    ]
