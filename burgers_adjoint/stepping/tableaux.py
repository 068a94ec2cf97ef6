"""Explicit Runge-Kutta methods: their tables, from which step, tangent and adjoint all follow."""

from typing import NamedTuple


class Tableau(NamedTuple):
    """Stage i is the state plus dt sum_j a[i][j] K_j, K_i its rate, the step dt sum_i b[i] K_i.

    Attributes:
        a: one row of the stages before it for each stage.
        b: weights of the rates in the step.
        c: times of the stages within the step, as shares of it.
        real_limit, imaginary_limit: the method is stable for dt lambda on the negative real axis
            down to -real_limit, and on the imaginary one up to imaginary_limit.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    real_limit: float
    imaginary_limit: float


EULER = Tableau(((),), (1.0,), (0.0,), 2.0, 0.0)

# Shu and Osher (1988), written as a Runge-Kutta method.
SSPRK3 = Tableau(((), (1.0,), (0.25, 0.25)), (1 / 6, 1 / 6, 2 / 3), (0.0, 1.0, 0.5), 2.51, 1.73)

# The classical method of Kutta (1901).
RK4 = Tableau(
    ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    (0.0, 0.5, 0.5, 1.0),
    2.78,
    2.82,
)
