"""The discrete Burgers step at one grid point: primal, tangent and adjoint, term beside term.

One forward Euler step with second-order central differences in advective form,

    u' = u + dt (-u u_x - v u_y + nu (u_xx + u_yy)),        the same for v,

is a weighted sum of the five points of the stencil,

    u' = centre u + east u_E + west u_W + north u_N + south u_S,

whose weights u and v share: east, west = kx -+ cx u, north, south = ky -+ cy v and
centre = 1 - 2 kx - 2 ky, with cx = dt / (2 dx), kx = nu dt / dx^2 (y alike).

Every multiply-add is one explicit fused operation with a single rounding. The order of operations
is thus fixed by the source, not by the compiler, and all tilings of a grid give the same bits.
"""

from typing import Any, NamedTuple

from numba.core import types
from numba.extending import intrinsic

from burgers_adjoint.compilation import inlined


class Coefficients(NamedTuple):
    """Weights of the Euler step, all dimensionless but the last two (dt / dx^2: per viscosity)."""

    cx: float
    cy: float
    kx: float
    ky: float
    centre: float
    rx: float
    ry: float


def coefficients(viscosity: float, dt: float, dx: float, dy: float) -> Coefficients:
    """Weights for viscosity [length^2/time], dt [time], dx and dy [length]."""
    rx, ry = dt / dx**2, dt / dy**2
    kx, ky = viscosity * rx, viscosity * ry
    return Coefficients(dt / (2 * dx), dt / (2 * dy), kx, ky, 1.0 - 2.0 * (kx + ky), rx, ry)


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once (IEEE 754 fusedMultiplyAdd), on every machine."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@inlined
def weigh(centre, east, west, north, south, q, q_east, q_west, q_north, q_south):
    """Sum of the five stencil points of a field, each times its weight."""
    total = fma(west, q_west, centre * q)
    total = fma(east, q_east, total)
    total = fma(south, q_south, total)
    return fma(north, q_north, total)


@inlined
def laplacian_weigh(rx, ry, q, q_east, q_west, q_north, q_south):
    """dt (q_xx + q_yy): what one step adds to q per unit of viscosity."""
    along_x = fma(-2.0, q, q_east + q_west)
    along_y = fma(-2.0, q, q_north + q_south)
    return fma(rx, along_x, ry * along_y)


@inlined
def step_point(c, u, u_east, u_west, u_north, u_south, v, v_east, v_west, v_north, v_south):
    """u and v after one step."""
    east, west = fma(-c.cx, u, c.kx), fma(c.cx, u, c.kx)
    north, south = fma(-c.cy, v, c.ky), fma(c.cy, v, c.ky)
    return (
        weigh(c.centre, east, west, north, south, u, u_east, u_west, u_north, u_south),
        weigh(c.centre, east, west, north, south, v, v_east, v_west, v_north, v_south),
    )


@inlined
def tangent_point(
    c,
    d_nu,
    u, u_east, u_west, u_north, u_south,
    v, v_east, v_west, v_north, v_south,
    du, du_east, du_west, du_north, du_south,
    dv, dv_east, dv_west, dv_north, dv_south,
):  # fmt: skip
    """Derivative of `step_point` in the direction (du, dv, d_nu)."""
    # the weights, as in the primal, times the perturbed points ...
    east, west = fma(-c.cx, u, c.kx), fma(c.cx, u, c.kx)
    north, south = fma(-c.cy, v, c.ky), fma(c.cy, v, c.ky)
    new_du = weigh(c.centre, east, west, north, south, du, du_east, du_west, du_north, du_south)
    new_dv = weigh(c.centre, east, west, north, south, dv, dv_east, dv_west, dv_north, dv_south)
    # ... plus the perturbed weights times the points: -cx du (u_E - u_W) - cy dv (u_N - u_S)
    new_du = fma(-c.cx * du, u_east - u_west, fma(-c.cy * dv, u_north - u_south, new_du))
    new_dv = fma(-c.cx * du, v_east - v_west, fma(-c.cy * dv, v_north - v_south, new_dv))
    return (
        fma(d_nu, laplacian_weigh(c.rx, c.ry, u, u_east, u_west, u_north, u_south), new_du),
        fma(d_nu, laplacian_weigh(c.rx, c.ry, v, v_east, v_west, v_north, v_south), new_dv),
    )


@inlined
def adjoint_point(
    c,
    u_east, u_west, u_north, u_south,
    v_east, v_west, v_north, v_south,
    p, p_east, p_west, p_north, p_south,
    q, q_east, q_west, q_north, q_south,
):  # fmt: skip
    """Row of the transposed Jacobian of `step_point`: gathers, so nothing is scattered.

    (p, q) is the cotangent of (u', v'). The weight with which a neighbour reads this point stands
    in the neighbour's own row: the west neighbour has this point to its east, and so weighs it
    with its own east weight, kx - cx u_W.
    """
    from_west, from_east = fma(-c.cx, u_west, c.kx), fma(c.cx, u_east, c.kx)
    from_south, from_north = fma(-c.cy, v_south, c.ky), fma(c.cy, v_north, c.ky)
    new_p = weigh(c.centre, from_east, from_west, from_north, from_south,
                  p, p_east, p_west, p_north, p_south)  # fmt: skip
    new_q = weigh(c.centre, from_east, from_west, from_north, from_south,
                  q, q_east, q_west, q_north, q_south)  # fmt: skip
    # the point's own u and v set its own weights: transpose of the last two terms of the tangent
    along_x = fma(v_east - v_west, q, (u_east - u_west) * p)
    along_y = fma(v_north - v_south, q, (u_north - u_south) * p)
    return fma(-c.cx, along_x, new_p), fma(-c.cy, along_y, new_q)


@inlined
def viscosity_point(
    c,
    u, u_east, u_west, u_north, u_south,
    v, v_east, v_west, v_north, v_south,
    p, q,
):  # fmt: skip
    """This point's part of dJ/d(nu): transpose of the tangent's d_nu terms."""
    return fma(
        p,
        laplacian_weigh(c.rx, c.ry, u, u_east, u_west, u_north, u_south),
        q * laplacian_weigh(c.rx, c.ry, v, v_east, v_west, v_north, v_south),
    )
