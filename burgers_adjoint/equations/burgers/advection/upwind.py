"""Third-order upwind-biased differences, for low viscosity.

speed q_x dx = speed (q_-2 - 8 q_-1 + 8 q_+1 - q_+2) / 12
             + |speed| (q_-2 - 4 q_-1 + 6 q - 4 q_+1 + q_+2) / 12,

a fourth-order central difference and the dissipation that makes it biased towards where the flow
comes from (Leonard 1979; Kawamura and Kuwahara 1984 take three times that dissipation). |speed| is
sqrt(speed^2 + smooth), whose derivative exists at rest too. Beside the boundary of the domain it
becomes the second-order central difference.
"""

from typing import Any

from burgers_adjoint.equations.burgers.lines import Line
from burgers_adjoint.kernels.formula import fma, square_root


class Upwind:
    """Dissipates what the grid resolves badly, in proportion to the speed."""

    name = "upwind"
    reach = 2
    largest_rate = 1.372  # of the imaginary part of the symbol, times spacing / speed
    largest_damping = 4 / 3  # of the real part, likewise

    def weights(self, speed: Any, w: Any, smooth: Any) -> Line:
        magnitude = square_root(fma(speed, speed, smooth))
        return _weights(speed, magnitude, w)

    def weights_by_speed(self, speed: Any, w: Any, smooth: Any) -> Line:
        magnitude = square_root(fma(speed, speed, smooth))
        return _weights(1.0, speed / magnitude, w)


def _weights(speed: Any, magnitude: Any, w: Any) -> Line:
    centred, biased = speed * (w * (1 / 12)), magnitude * (w * (1 / 12))
    return Line(
        biased + centred,
        fma(-4.0, biased, fma(-2.0, centred, -0.5 * speed)),
        6.0 * biased,
        fma(-4.0, biased, fma(2.0, centred, 0.5 * speed)),
        biased - centred,
    )
