"""Numbers that tell whether a gradient is right: Taylor orders and central differences.

Nothing here knows of a model: an objective is a function of one number, the size of a perturbation
in a fixed direction.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW = 4  # successive sizes that must show an order


@dataclass(frozen=True)
class TaylorTest:
    """Remainders of J along a direction and the orders at which they vanish.

    Large perturbations see higher terms of the series, small ones see round-off, and the orders
    are those of a run of `WINDOW` successive sizes in between. Without the gradient it is the run
    where they are closest to theory. With it, it is the run where they are most alike: the
    remainder of a wrong gradient settles at order 1 too, and on its way there, where the error
    cancels the quadratic term, it may sink faster than any right one.

    Attributes:
        sizes: perturbation sizes h, each half of the one before.
        remainders: |J(m + h dm) - J(m)| (order 1).
        corrected: |J(m + h dm) - J(m) - h dJ(m) dm| (order 2 if, and only if, the gradient is
            right).
    """

    sizes: Sequence[float]
    remainders: Sequence[float]
    corrected: Sequence[float]

    @property
    def order(self) -> float:
        """Order without the gradient: in the best window, the one furthest from 1."""
        worst = [max(run, key=_distance_from_1) for run in windows(orders(self.remainders))]
        return min(worst, key=_distance_from_1)

    @property
    def corrected_order(self) -> float:
        """Order with the gradient: in the window where the orders are most alike, the lowest."""
        steadiest = min(windows(orders(self.corrected)), key=_spread)
        return min(steadiest)


def _distance_from_1(order: float) -> float:
    return abs(order - 1)


def _spread(run: Sequence[float]) -> float:
    return max(run) - min(run)


def orders(remainders: Sequence[float]) -> list[float]:
    """Observed orders between successive remainders whose sizes halve.

    A remainder that vanishes has sunk below round-off and shows no order: nan.
    """
    return [
        math.log2(coarse / fine) if coarse > 0 and fine > 0 else math.nan
        for coarse, fine in pairwise(remainders)
    ]


def windows(values: Sequence[float]) -> list[Sequence[float]]:
    """Runs of `WINDOW` - 1 successive orders without a nan; one of 0 if there is none."""
    runs = [values[k : k + WINDOW - 1] for k in range(len(values) - WINDOW + 2)]
    return [run for run in runs if not any(map(math.isnan, run))] or [[0.0]]


def taylor_test(
    objective: Callable[[float], float],
    value: float,
    slope: float,
    sizes: Sequence[float],
) -> TaylorTest:
    """Evaluate an objective at halving sizes.

    Args:
        objective: h -> J(m + h dm).
        value: J(m).
        slope: dJ(m) dm by the gradient that is tested.
        sizes: at least `WINDOW`, each half of the one before.
    """
    differences = [objective(h) - value for h in sizes]
    return TaylorTest(
        sizes,
        [abs(difference) for difference in differences],
        [abs(d - h * slope) for h, d in zip(sizes, differences, strict=True)],
    )


def central_differences(
    objective: Callable[[float], float], slope: float, sizes: Sequence[float]
) -> list[float]:
    """Relative differences between a slope and (J(m + h dm) - J(m - h dm)) / (2 h), per size."""
    return [
        abs((objective(h) - objective(-h)) / (2 * h) - slope) / abs(slope) if slope else math.inf
        for h in sizes
    ]
