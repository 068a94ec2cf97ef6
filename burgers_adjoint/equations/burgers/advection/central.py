"""Second-order central differences: speed (q_after - q_before) / 2."""

from typing import Any

from burgers_adjoint.equations.burgers.lines import Line


class Central:
    """No dissipation; oscillates where the cell Reynolds number, speed dx / nu, is above 2."""

    name = "central"
    reach = 1
    largest_rate = 1.0  # of the imaginary part of the symbol, times spacing / speed
    largest_damping = 0.0  # of the real part, likewise

    def weights(self, speed: Any, w: Any, smooth: Any) -> Line:
        half = 0.5 * speed
        return Line(None, -half, None, half, None)

    def weights_by_speed(self, speed: Any, w: Any, smooth: Any) -> Line:
        return Line(None, -0.5, None, 0.5, None)
