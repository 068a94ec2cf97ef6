"""The formulas of one point, in exact rational arithmetic: they are plain Python."""

from fractions import Fraction

import numpy as np
import pytest

from burgers_adjoint.equations.burgers import stencil
from burgers_adjoint.equations.burgers.stencil import Coefficients, Star, coefficients

NU, DT, DX, DY = map(Fraction, ("0.03", "0.02", "0.25", "0.4"))
SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))  # of here, east, west, north, south
Pair = tuple[Fraction, Fraction]


def exact(d_nu: Fraction = Fraction(0), nu: Fraction = NU) -> Coefficients:
    """The coefficients without rounding."""
    rx, ry = DT / DX**2, DT / DY**2
    kx, ky = nu * rx, nu * ry
    return Coefficients(DT / (2 * DX), DT / (2 * DY), kx, ky, 1 - 2 * (kx + ky), rx, ry, d_nu)


def stars(seed: int, n_stars: int) -> list[Star]:
    """Stars of rational numbers, all different."""
    values = np.random.default_rng(seed).normal(size=(n_stars, 5))
    return [Star(*map(Fraction, map(float, row))) for row in values]


def discretised_equation(u: Star, v: Star, nu: Fraction = NU) -> Pair:
    """The step as the discretised equation reads."""

    def moved(q: Star) -> Fraction:
        advection = u.here * (q.east - q.west) / (2 * DX) + v.here * (q.north - q.south) / (2 * DY)
        along_x = (q.east - 2 * q.here + q.west) / DX**2
        along_y = (q.north - 2 * q.here + q.south) / DY**2
        return q.here + DT * (nu * (along_x + along_y) - advection)

    return moved(u), moved(v)


def plus(star: Star, change: Star, size: int | Fraction) -> Star:
    return Star(*(q + size * dq for q, dq in zip(star, change, strict=True)))


def test_coefficients_have_their_documented_values() -> None:
    rounded = coefficients(float(NU), float(DT), float(DX), float(DY), d_viscosity=0.5)
    assert rounded == pytest.approx(tuple(map(float, exact(Fraction("0.5")))), rel=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_step_is_the_discretised_equation(seed: int) -> None:
    u, v = stars(seed, 2)
    assert stencil.step(exact(), u, v) == discretised_equation(u, v)


@pytest.mark.parametrize("seed", range(3))
def test_tangent_is_the_derivative(seed: int) -> None:
    """The step is quadratic in (u, v, nu) together, so its central differences are exact."""
    u, v, du, dv = stars(seed, 4)
    d_nu = Fraction("0.7")
    ahead, behind = (
        discretised_equation(plus(u, du, sign), plus(v, dv, sign), NU + sign * d_nu)
        for sign in (1, -1)
    )
    # the diffusion of the perturbation by the perturbed viscosity cancels in the difference
    derivative = tuple((more - less) / 2 for more, less in zip(ahead, behind, strict=True))
    assert stencil.tangent(exact(d_nu), u, v, du, dv) == derivative


@pytest.mark.parametrize("component", range(2))
def test_adjoint_gathers_what_the_tangents_of_five_points_read(component: int) -> None:
    """Perturb u or v of one point and weigh the perturbations of the five points that read it."""
    numbers = np.random.default_rng(11).normal(size=(4, 5, 5))
    u, v, p, q = ([[Fraction(float(x)) for x in row] for row in field] for field in numbers)

    def around(field: list[list[Fraction]], row: int, column: int) -> Star:
        return Star(*(field[row + j][column + i] for j, i in SHIFTS))

    moved = [[[Fraction(0)] * 5 for _ in range(5)] for _ in range(2)]
    moved[component][2][2] = Fraction(1)
    expected = Fraction(0)
    for j, i in SHIFTS:
        at = 2 + j, 2 + i
        new_du, new_dv = stencil.tangent(
            exact(), *(around(field, *at) for field in (u, v, moved[0], moved[1]))
        )
        expected += p[at[0]][at[1]] * new_du + q[at[0]][at[1]] * new_dv
    gathered = stencil.adjoint(exact(), *(around(field, 2, 2) for field in (u, v, p, q)))
    assert gathered[component] == expected


def test_viscosity_is_the_transpose_of_the_tangent_in_its_direction() -> None:
    u, v = stars(7, 2)
    still = Star(*[Fraction(0)] * 5)
    p, q, d_nu = Fraction("0.3"), Fraction("-0.7"), Fraction("0.5")
    new_du, new_dv = stencil.tangent(exact(d_nu), u, v, still, still)
    assert stencil.viscosity(exact(), u, v, p, q) * d_nu == p * new_du + q * new_dv
