"""Dual numbers: the derivative of a formula in one direction, by running the formula itself.

A dual number is a value and its slope, the derivative along the direction; arithmetic carries both
(Griewank and Walther 2008, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from burgers_adjoint.kernels.formula import Traced, fma, square_root
from burgers_adjoint.stepping.equation import Cross


class Dual(Traced):
    """A value and its slope; None is a slope of zero, of which nothing is computed.

    Both may be numbers or traced values. Formulas see dual numbers and plain numbers alone.
    """

    def __init__(self, value: Any, slope: Any = None) -> None:
        self.value, self.slope = value, slope

    def emit(self, operation: str, *operands: Any) -> Dual:
        values = [one.value if isinstance(one, Dual) else one for one in operands]
        slopes = [one.slope if isinstance(one, Dual) else None for one in operands]
        return _RULES[operation](values, slopes)


def _plus(*terms: Any) -> Any:
    """Sum of the terms that are not None."""
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


def _times(slope: Any, factor: Any) -> Any:
    return None if slope is None else slope * factor


def _minus(slope: Any) -> Any:
    return None if slope is None else -slope


def _div(x: Sequence[Any], dx: Sequence[Any]) -> Dual:
    quotient = x[0] / x[1]
    slope = _plus(dx[0], _minus(_times(dx[1], quotient)))
    return Dual(quotient, None if slope is None else slope / x[1])


def _sqrt(x: Sequence[Any], dx: Sequence[Any]) -> Dual:
    root = square_root(x[0])
    return Dual(root, None if dx[0] is None else dx[0] / (2.0 * root))


_RULES: dict[str, Callable[[Sequence[Any], Sequence[Any]], Dual]] = {
    "add": lambda x, dx: Dual(x[0] + x[1], _plus(*dx)),
    "sub": lambda x, dx: Dual(x[0] - x[1], _plus(dx[0], _minus(dx[1]))),
    "mul": lambda x, dx: Dual(x[0] * x[1], _plus(_times(dx[0], x[1]), _times(dx[1], x[0]))),
    "div": _div,
    "neg": lambda x, dx: Dual(-x[0], _minus(dx[0])),
    "sqrt": _sqrt,
    "fma": lambda x, dx: Dual(
        fma(*x), _plus(_times(dx[0], x[1]), _times(dx[1], x[0]), dx[2])
    ),
}  # fmt: skip


def duals(values: Iterable[Any]) -> list[Dual]:
    """Dual numbers that do not depend on the direction."""
    return [Dual(one) for one in values]


def dual_cross(q: Cross, dq: Cross | None = None) -> Cross:
    """A cross of dual numbers, with the slopes of another one at the points that it has."""
    slopes = dq or [None] * len(q)
    return Cross(
        *(None if one is None else Dual(one, slope) for one, slope in zip(q, slopes, strict=True))
    )


def slopes_of(values: Iterable[Any]) -> list[Any]:
    """Slopes of what a formula has returned; 0 where it does not depend on the direction."""
    slopes = [one.slope if isinstance(one, Dual) else None for one in values]
    return [0.0 if slope is None else slope for slope in slopes]
