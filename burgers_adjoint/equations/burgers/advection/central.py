"""Second-order central differences: speed (q_after - q_before) / 2."""

from collections.abc import Sequence
from typing import Any

from burgers_adjoint.equations.burgers.lines import Line
from burgers_adjoint.kernels.formula import fma


class Central:
    """No dissipation; oscillates where the cell Reynolds number, speed dx / nu, is above 2."""

    name = "central"
    reach = 1
    largest_rate = 1.0  # of the imaginary part of the symbol, times spacing / speed
    largest_damping = 0.0  # of the real part, likewise
    n_numbers = 1

    def numbers(self, spacing: float) -> Sequence[float]:
        return (0.5 / spacing,)

    def weights(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any, k: Any) -> Line:
        return Line(None, fma(c[0], speed, k), None, fma(-c[0], speed, k), None)

    def slopes(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line:
        return Line(None, c[0], None, -c[0], None)

    def curvatures(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line | None:
        return None
