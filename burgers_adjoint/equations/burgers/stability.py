"""How long a step may be, by the method and the flow."""

import math
from collections.abc import Mapping

import numpy as np

from burgers_adjoint.errors import NumericalError, agreed_error
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import largest_or_inf
from burgers_adjoint.stepping.stepper import Value
from burgers_adjoint.stepping.tableaux import Tableau


class StepLimits:
    """The linear limits for constant coefficients, at the fastest point.

    Of forward Euler, nu dt (1/dx^2 + 1/dy^2) <= 1/2 and dt (u^2 + v^2) <= 2 nu are necessary
    and sufficient with central differences (Hindmarsh, Gresho and Griffiths 1984). Those of
    methods that are stable on part of the imaginary axis are where they leave it and the real one.

    Args:
        grid: its spacings.
        tableau: of the integrator.
        largest_rate, largest_damping: of the advection scheme: largest imaginary and real part of
            its symbol, times spacing over speed.
        smooth_speed: what the scheme takes for the speed at rest, where it damps.
    """

    def __init__(
        self,
        grid: Grid,
        tableau: Tableau,
        largest_rate: float,
        largest_damping: float = 0.0,
        smooth_speed: float = 0.0,
    ) -> None:
        self._grid = grid
        self._damping = largest_damping * smooth_speed * (1 / grid.dx + 1 / grid.dy)
        self._real = tableau.real_limit / 4
        self._crossing = tableau.imaginary_limit / largest_rate

    def speeds(self, fields: np.ndarray) -> np.ndarray:
        """Largest |u| / dx + |v| / dy and u^2 + v^2 of this rank's (2, ny, nx)."""
        u, v = fields
        with np.errstate(over="ignore"):
            crossing = np.abs(u) / self._grid.dx + np.abs(v) / self._grid.dy
            return np.array([crossing.max(), (u * u + v * v).max()])

    def advective(self, speeds: np.ndarray, values: Mapping[str, Value | None]) -> float:
        """Longest step for the largest speeds of all ranks and a viscosity among the values.

        Where forward Euler has no viscosity, none is stable: the flow crosses a cell at most, as it
        does not with any viscosity that its own limit allows.
        """
        crossing, square = map(float, speeds)
        if self._crossing:
            return self._crossing / crossing if crossing else math.inf
        nu = values["viscosity"]
        assert isinstance(nu, float | int)
        rate = max(crossing, _over(square, 2 * nu)) if nu > 0 else crossing
        return 1 / rate if rate else math.inf

    def broken(self, dt: float, nu: float, speeds: np.ndarray, follows: bool) -> list[str]:
        """Limits, as text, that a step of length dt exceeds; none of the speed if it follows it."""
        grid, (crossing, square) = self._grid, map(float, speeds)
        spacings = 1 / (grid.dx * grid.dx) + 1 / (grid.dy * grid.dy)
        if self._crossing:
            formula = f"{self._real:.3g} / (nu (1/dx^2 + 1/dy^2))"
            advective = (f"{self._crossing:.3g} / max(|u|/dx + |v|/dy)",
                         _over(self._crossing, crossing))  # fmt: skip
        else:
            formula = "1 / (2 nu (1/dx^2 + 1/dy^2))"
            advective = ("2 nu / max(u^2 + v^2)", _over(2 * nu, square))
        limits = {
            "diffusive": (formula, _over(self._real, nu * spacings)),
            "advective": advective,
            "damping": (
                "of physics.smooth_speed", _over(4 * self._real, self._damping)
            ),
        }  # fmt: skip
        return [
            f"the {name} limit {formula} = {limit:.6g}"
            for name, (formula, limit) in limits.items()
            # a dt that was computed as the limit may be a rounding above it
            if dt > limit * (1 + 1e-12) and not (name == "advective" and follows)
        ]

    def require_stable(
        self, decomposition: Decomposition, fields: np.ndarray, nu: float, dt: float, follows: bool
    ) -> None:
        """See that a time step is small enough, before it is taken. Collective.

        Args:
            decomposition: the ranks that share the grid.
            fields: initial (u, v), (2, ny, nx) of the tile.
            nu, dt: viscosity, and length of the step.
            follows: whether steps follow the speed, with dt as the longest one.

        Raises:
            NumericalError: on all ranks: the time step exceeds a limit; says which.
        """
        speeds = largest_or_inf(decomposition.comm, self.speeds(fields))
        # Forward Euler has nothing to follow without viscosity.
        broken = self.broken(dt, nu, speeds, follows and bool(nu or self._crossing))
        if broken:
            raise agreed_error(
                NumericalError(
                    f"time.dt = {dt:.6g} is unstable: it exceeds {' and '.join(broken)} "
                    f"(nu = {nu:.6g}, dx = {self._grid.dx:.6g}, dy = {self._grid.dy:.6g}, "
                    f"largest speed {math.sqrt(speeds[1]):.6g}); "
                    "-s time.allow_unstable=true goes on all the same"
                )
            )


def _over(numerator: float, denominator: float) -> float:
    """The quotient; inf where it overflows, or nothing limits."""
    try:
        return numerator / denominator
    except (OverflowError, ZeroDivisionError):
        return math.inf
