"""What a scheme for the advection terms offers."""

from collections.abc import Sequence
from typing import Any, Protocol

from burgers_adjoint.equations.burgers.lines import Line


class Scheme(Protocol):
    """An advection scheme: the weights with which a point reads its line of neighbours.

    They are those of -speed q_x + nu q_xx along one axis, but for the point's own part of the
    diffusion, -2 k: `k`, nu over the spacing squared, is the weight of diffusion of the points
    before and after. `w` is 1 where all five points are there, and 0 beside the boundary of the
    domain, where the outer two are not; a scheme of reach 1 does not look at it.

    Attributes:
        largest_rate, largest_damping: largest imaginary and real part of the symbol of speed q_x,
            times the spacing, over the speed.
        n_numbers: of `numbers`.
    """

    name: str
    reach: int
    largest_rate: float
    largest_damping: float
    n_numbers: int

    def numbers(self, spacing: float) -> Sequence[float]:
        """What weights are computed of, along an axis with points so far apart."""
        ...

    def weights(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any, k: Any) -> Line: ...

    def slopes(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line:
        """Derivative of the weights by the speed."""
        ...

    def curvatures(self, c: Sequence[Any], speed: Any, w: Any, smooth: Any) -> Line | None:
        """Second derivative of the weights by the speed; None where it is zero."""
        ...
