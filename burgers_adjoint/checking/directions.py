"""Directions in which a gradient is tested."""

from dataclasses import dataclass

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.parallel.agreement import from_rank, largest
from burgers_adjoint.stepping.stepper import Value

CANDIDATES_PER_POINT = 50
LEAST_SHARE = 0.1  # of the largest gradient entry, for a grid point to be differenced


@dataclass(frozen=True)
class Direction:
    """A perturbation of one control: J as a function of its size, and its slope.

    Attributes:
        value: perturbation, laid out like the control's gradient.
        slope: derivative of J in this direction, by the gradient.
    """

    control: str
    value: np.ndarray | float
    slope: float


def drawn_points(case: Case, gradient: Value, amplitude: float) -> tuple[dict[str, Direction], int]:
    """Seeded grid points where the gradient is not so small that round-off hides it. Collective.

    Args:
        case: whose initial state is perturbed.
        gradient: by the initial state, (2, ny, nx) of the tile.
        amplitude: of the perturbations.

    Returns:
        Directions by names of points; and how many are missing.
    """
    assert isinstance(gradient, np.ndarray)
    ny, nx = case.grid.shape
    threshold = LEAST_SHARE * largest(case.comm, float(np.abs(gradient).max()))
    wanted = case.config.check.points
    draw = np.random.default_rng(case.config.check.seed)
    points: dict[str, Direction] = {}
    for number in draw.integers(2 * ny * nx, size=CANDIDATES_PER_POINT * wanted):
        field, row, column = (int(k) for k in np.unravel_index(number, (2, ny, nx)))
        direction = _point(case, gradient, (field, row, column), amplitude)
        if abs(direction.slope) >= threshold * amplitude:
            points[f"{'uv'[field]} at [{row}, {column}]"] = direction
        if len(points) == wanted:
            break
    return points, wanted - len(points)


def _point(
    case: Case, gradient: np.ndarray, place: tuple[int, int, int], amplitude: float
) -> Direction:
    decomposition, (field, row, column) = case.decomposition, place
    fields = np.zeros_like(gradient)
    slope = 0.0
    owner = decomposition.owner(row, column)
    if owner == case.comm.rank:
        own = field, row - decomposition.rows.start, column - decomposition.columns.start
        fields[own] = amplitude
        slope = float(gradient[own]) * amplitude
    return Direction("initial", fields, from_rank(case.comm, slope, owner))
