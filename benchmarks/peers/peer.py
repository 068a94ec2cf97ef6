"""What is computed, and what a peer offers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import DT, SPACING, VISCOSITY

Gradient = tuple[float, np.ndarray]


@dataclass(frozen=True)
class Case:
    """Forward Euler, central differences, boundary points kept; J is the final energy.

    J = sum over the points that are not on the boundary of u^2 + v^2, over nx ny.

    Attributes:
        fields: initial (u, v), (2, ny, nx).
        n_steps: number of steps.
    """

    fields: np.ndarray
    n_steps: int
    dx: float = SPACING
    dy: float = SPACING
    dt: float = DT
    viscosity: float = VISCOSITY


@dataclass(frozen=True)
class Peer:
    """One way to compute it.

    Attributes:
        name: with its version.
        primal: returns the final state, (2, ny, nx).
        gradient: returns J and dJ/d(initial state), (2, ny, nx), with all states kept; or None.
    """

    name: str
    primal: Callable[[], np.ndarray]
    gradient: Callable[[], Gradient] | None = None
