"""Third-order upwind-biased differences, for low viscosity.

speed q_x dx = speed (q_-2 - 8 q_-1 + 8 q_+1 - q_+2) / 12
             + |speed| (q_-2 - 4 q_-1 + 6 q - 4 q_+1 + q_+2) / 12,

a fourth-order central difference and the dissipation that makes it biased towards where the flow
comes from (Leonard 1979; Kawamura and Kuwahara 1984 take three times that dissipation). |speed| is
sqrt(speed^2 + smooth), whose derivative exists at rest too. Beside the boundary of the domain it
becomes the second-order central difference.
"""

from collections.abc import Sequence
from typing import Any

from burgers_adjoint.equations.burgers.lines import Line
from burgers_adjoint.kernels.formula import fma, square_root


class Upwind:
    """Dissipates what the grid resolves badly, in proportion to the speed."""

    name = "upwind"
    reach = 2
    largest_rate = 1.372  # of the imaginary part of the symbol, times spacing / speed
    largest_damping = 4 / 3  # of the real part, likewise
    n_numbers = 2

    def numbers(self, spacing: float) -> Sequence[float]:
        return 0.5 / spacing, 1 / (12 * spacing)

    def weights(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any, k: Any) -> Line:
        magnitude = square_root(fma(speed, speed, smooth))
        return _weights(c, speed, magnitude, w, fma(c[0], speed, k), fma(-c[0], speed, k))

    def slopes(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line:
        magnitude = square_root(fma(speed, speed, smooth))
        return _weights(c, 1.0, speed / magnitude, w, c[0], -c[0])

    def curvatures(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line | None:
        square = fma(speed, speed, smooth)
        biased = w * c[1] * (smooth / (square * square_root(square)))
        return Line(-biased, 4.0 * biased, -6.0 * biased, 4.0 * biased, -biased)


def _weights(c: Sequence[Any], speed: Any, magnitude: Any, w: Any, before: Any, after: Any) -> Line:
    """What is third order, beside what is second order before and after the point."""
    twelfth = w * c[1]
    centred, biased = twelfth * speed, twelfth * magnitude
    return Line(
        -(biased + centred),
        fma(4.0, biased, fma(2.0, centred, before)),
        -6.0 * biased,
        fma(4.0, biased, fma(-2.0, centred, after)),
        centred - biased,
    )
