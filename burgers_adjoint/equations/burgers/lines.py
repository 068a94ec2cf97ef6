"""Lines of points along x or y, and what they are weighed with."""

from typing import Any, NamedTuple

from burgers_adjoint.kernels.formula import fma
from burgers_adjoint.stepping.equation import Cross


class Line(NamedTuple):
    """Five points, or their weights, along x or y; None is a weight of zero."""

    far_before: Any
    before: Any
    here: Any
    after: Any
    far_after: Any


def along_x(q: Cross) -> Line:
    """A field's points from west to east."""
    return Line(q.far_west, q.west, q.here, q.east, q.far_east)


def along_y(q: Cross) -> Line:
    """A field's points from south to north."""
    return Line(q.far_south, q.south, q.here, q.north, q.far_north)


def dot(weights: Line, points: Line) -> Any:
    """Sum of weights times points."""
    total = None
    for weight, point in zip(weights, points, strict=True):
        if weight is not None:
            total = weight * point if total is None else fma(weight, point, total)
    return total


def scaled(factor: Any, line: Line) -> Line:
    """A line times a factor."""
    return Line(*(None if one is None else factor * one for one in line))


def plus(line: Line, other: Line) -> Line:
    """Sum of two lines."""
    pairs = zip(line, other, strict=True)
    return Line(*(b if a is None else a if b is None else a + b for a, b in pairs))
