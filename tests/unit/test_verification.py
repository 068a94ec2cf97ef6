"""Orders and differences of functions whose derivatives are known."""

import math

import pytest

from burgers_adjoint.verification import central_differences, orders, taylor_test, windows

SIZES = [1e-2 * 2.0**-k for k in range(8)]


def objective(size: float) -> float:
    """Slope 2 and curvature -3 at 0."""
    return 5 + 2 * size - 1.5 * size**2 + 0.7 * size**3


def test_the_right_slope_has_order_2_and_none_order_1() -> None:
    test = taylor_test(objective, 5.0, 2.0, SIZES)
    assert test.order == pytest.approx(1, abs=1e-2)
    assert test.corrected_order == pytest.approx(2, abs=1e-2)
    assert test.remainders[0] == pytest.approx(2e-2, rel=1e-2)
    assert test.corrected[0] == pytest.approx(1.5e-4, rel=1e-2)


@pytest.mark.parametrize("slope", [2.002, 1.998, 1.99, 1.95, 1.0, -2.0, 0.0])
def test_a_wrong_slope_never_reaches_order_2(slope: float) -> None:
    assert taylor_test(objective, 5.0, slope, SIZES).corrected_order < 1.99


def test_round_off_at_the_small_end_hides_no_order() -> None:
    sizes = [2.0**-k for k in range(4, 40)]
    assert taylor_test(objective, 5.0, 2.0, sizes).corrected_order == pytest.approx(2, abs=1e-2)


def test_remainders_that_vanish_show_no_order() -> None:
    assert math.isnan(orders([1.0, 0.0])[0])
    assert windows(orders([0.0] * 6)) == [[0.0]]
    assert taylor_test(lambda size: 5.0, 5.0, 0.0, SIZES).corrected_order == 0


def test_central_differences_are_relative_to_the_slope() -> None:
    first, second = central_differences(objective, 2.0, [1e-1, 1e-2])
    assert (first, second) == pytest.approx((0.7e-2 / 2, 0.7e-4 / 2), rel=1e-6)
    assert central_differences(objective, 4.0, [1e-4]) == pytest.approx([0.5], rel=1e-6)
    assert central_differences(objective, 0.0, [1e-4]) == [math.inf]
