"""Elementary functions of arrays, rounded correctly: the same bits on every machine.

NumPy's differ in the last bit from version to version and from processor to processor, and with
them every number of a run that starts from their values. These are computed number by number with
40 digits and rounded once: slower, but a field that is a product takes no more than nx + ny values.
"""

from collections.abc import Callable
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext

import numpy as np

# 40 digits decide the rounding of a double unless the 24 after its own are all 0 or all 9.
EXACT = Context(prec=40, Emax=MAX_EMAX, Emin=MIN_EMIN)
TWO_PI = Decimal("6.283185307179586476925286766559005768394338798750")
SMALLEST = Decimal(10) ** -50


def exponential(values: np.ndarray) -> np.ndarray:
    """e to the power of each value, none of which is nan."""
    return _each(lambda value: Decimal(value).exp(), values)


def sine(turns: np.ndarray) -> np.ndarray:
    """sin(2 pi t) of each t, which is finite."""
    return _each(lambda value: _sine(Decimal(value)), turns)


def cosine(turns: np.ndarray) -> np.ndarray:
    """cos(2 pi t) of each t, which is finite."""
    return _each(lambda value: _sine(Decimal(value) + Decimal("0.25")), turns)


def _each(function: Callable[[float], Decimal], values: np.ndarray) -> np.ndarray:
    with localcontext(EXACT):
        found = [float(function(float(value))) for value in values.flat]
    return np.array(found, dtype=np.float64).reshape(values.shape)


def _sine(turns: Decimal) -> Decimal:
    """Taylor's series within an eighth of a turn around the nearest quarter, which is exact."""
    quarters = (4 * turns).to_integral_value()
    angle = TWO_PI * (turns - quarters / 4)
    quadrant = int(quarters) % 4
    # 1 - x^2/2! + ... at odd quarters, x - x^3/3! + ... at even ones
    term, n = (Decimal(1), 0) if quadrant % 2 else (angle, 1)
    total = term
    while abs(term) > SMALLEST:
        term *= -angle * angle / ((n + 1) * (n + 2))
        total += term
        n += 2
    return -total if quadrant in (2, 3) else total
