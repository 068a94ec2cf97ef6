"""The step at one point, against exact rational arithmetic."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from burgers_adjoint.burgers import stencil
from burgers_adjoint.burgers.stencil import Coefficients, coefficients
from burgers_adjoint.compilation import compiled

NU, DT, DX, DY = 0.03, 0.02, 0.25, 0.4
NEIGHBOURS = ("", "_east", "_west", "_north", "_south")


@compiled
def fused(a: Any, b: Any, c: Any) -> Any:
    return stencil.fma(a, b, c)


@compiled
def fused_rows(a: Any, b: Any, c: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = stencil.fma(a[i], b[i], c[i])


@pytest.fixture(scope="module")
def c() -> Coefficients:
    return coefficients(NU, DT, DX, DY)


def points(seed: int) -> dict[str, float]:
    """u, u_east, ..., v, v_east, ..., all different."""
    values = iter(np.random.default_rng(seed).normal(size=10).tolist())
    return {name + where: next(values) for name in "uv" for where in NEIGHBOURS}


def exact_step(at: dict[str, float]) -> tuple[Fraction, Fraction]:
    """The step as the discretised equation reads, without any rounding."""
    q = {name: Fraction(value) for name, value in at.items()}
    nu, dt, dx, dy = map(Fraction, (NU, DT, DX, DY))

    def moved(name: str) -> Fraction:
        here, east, west, north, south = (q[name + where] for where in NEIGHBOURS)
        advection = q["u"] * (east - west) / (2 * dx) + q["v"] * (north - south) / (2 * dy)
        diffusion = (east - 2 * here + west) / dx**2 + (north - 2 * here + south) / dy**2
        return here + dt * (nu * diffusion - advection)

    return moved("u"), moved("v")


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, finite)
@example(1 + 2**-52, 1 - 2**-52, -1.0)  # two roundings give 2^-53 less a bit: 0 or 2^-52
@example(1e200, 1e200, -math.inf)
@example(5e-324, 0.5, 5e-324)
@settings(max_examples=500, deadline=None)
def test_multiply_add_rounds_once(a: float, b: float, c: float) -> None:
    if math.isinf(c):
        assert fused(a, b, c) == c
        return
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    assume(abs(exact) < Fraction(2) ** 1023)
    assert fused(a, b, c) == float(exact)


def test_multiply_add_gives_the_same_bits_in_a_vectorised_loop() -> None:
    a, b, c = np.random.default_rng(1).normal(size=(3, 1003))
    out = np.empty_like(a)
    fused_rows(a, b, c, out)
    assert out.tolist() == [fused(*row) for row in zip(a, b, c, strict=True)]
    # separate roundings would differ
    assert (out != a * b + c).sum() > 100


def test_weights_have_their_documented_values(c: Coefficients) -> None:
    assert c.cx == pytest.approx(DT / (2 * DX), rel=1e-15)
    assert c.cy == pytest.approx(DT / (2 * DY), rel=1e-15)
    assert c.kx == pytest.approx(NU * DT / DX**2, rel=1e-15)
    assert c.ky == pytest.approx(NU * DT / DY**2, rel=1e-15)
    assert c.rx == pytest.approx(DT / DX**2, rel=1e-15)
    assert c.ry == pytest.approx(DT / DY**2, rel=1e-15)
    # the five weights of a point add up to 1: a constant field stays
    assert c.centre + 2 * c.kx + 2 * c.ky == pytest.approx(1, rel=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_step_point_is_the_exact_step_but_for_rounding(c: Coefficients, seed: int) -> None:
    at = points(seed)
    for result, exact in zip(stencil.step_point(c, **at), exact_step(at), strict=True):
        assert abs(Fraction(result) - exact) < 1e-15


def test_constant_field_stays(c: Coefficients) -> None:
    at = {name: 2.0 if name.startswith("u") else -3.0 for name in points(0)}
    assert stencil.step_point(c, **at) == pytest.approx((2.0, -3.0), rel=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_tangent_point_is_the_exact_derivative(c: Coefficients, seed: int) -> None:
    """The step is quadratic in (u, v), so central differences of it are exact."""
    at, direction = points(seed), points(seed + 100)
    ahead, behind = (
        exact_step({n: Fraction(at[n]) + sign * Fraction(direction[n]) for n in at})
        for sign in (1, -1)
    )
    perturbed = {"d" + name: value for name, value in direction.items()}
    result = stencil.tangent_point(c, 0.0, **at, **perturbed)
    for derivative, more, less in zip(result, ahead, behind, strict=True):
        assert abs(Fraction(derivative) - (more - less) / 2) < 4e-15


def test_tangent_point_in_the_direction_of_the_viscosity_is_the_laplacian(c: Coefficients) -> None:
    at = points(7)
    still = {"d" + name: 0.0 for name in at}
    laplacians = [
        DT * ((at[q + "_east"] - 2 * at[q] + at[q + "_west"]) / DX**2
              + (at[q + "_north"] - 2 * at[q] + at[q + "_south"]) / DY**2)
        for q in "uv"
    ]  # fmt: skip
    result = stencil.tangent_point(c, 0.5, **at, **still)
    assert result == pytest.approx([0.5 * one for one in laplacians], rel=1e-13)
    part = stencil.viscosity_point(c, **at, p=0.3, q=-0.7)
    assert part == pytest.approx(0.3 * laplacians[0] - 0.7 * laplacians[1], rel=1e-13)


def test_adjoint_point_gathers_what_the_tangents_of_five_points_read(c: Coefficients) -> None:
    """Perturb u and v of one point and weigh the perturbation of the five points that read it."""
    random = np.random.default_rng(11)
    u, v = random.normal(size=(2, 5, 5))
    p, q = random.normal(size=(2, 5, 5))
    shifts = dict(zip(NEIGHBOURS, ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)), strict=True))

    def around(name: str, field: np.ndarray, row: int, column: int) -> dict[str, float]:
        return {name + w: float(field[row + j, column + i]) for w, (j, i) in shifts.items()}

    expected = []
    for component in range(2):
        moved = np.zeros((2, 5, 5))
        moved[component, 2, 2] = 1.0
        total = 0.0
        for j, i in shifts.values():
            row, column = 2 + j, 2 + i
            state = around("u", u, row, column) | around("v", v, row, column)
            change = around("du", moved[0], row, column) | around("dv", moved[1], row, column)
            new_du, new_dv = stencil.tangent_point(c, 0.0, **state, **change)
            total += p[row, column] * new_du + q[row, column] * new_dv
        expected.append(total)
    state = around("u", u, 2, 2) | around("v", v, 2, 2)
    del state["u"], state["v"]
    result = stencil.adjoint_point(c, **state, **around("p", p, 2, 2), **around("q", q, 2, 2))
    assert result == pytest.approx(expected, abs=1e-15)
