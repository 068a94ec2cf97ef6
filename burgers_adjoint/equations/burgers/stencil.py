"""The discrete Burgers step at one grid point: primal, tangent and adjoint, term beside term.

One forward Euler step with second-order central differences in advective form,

    u' = u + dt (-u u_x - v u_y + nu (u_xx + u_yy)),        the same for v,

is a weighted sum of the five points of the stencil,

    u' = centre u + east u_E + west u_W + north u_N + south u_S,

whose weights u and v share: east, west = kx -+ cx u, north, south = ky -+ cy v and
centre = 1 - 2 kx - 2 ky, with cx = dt / (2 dx), kx = nu dt / dx^2 (y alike).

Every multiply-add is one explicit fused operation with a single rounding. The order of operations
is thus fixed by the source, not by the compiler, and all tilings of a grid give the same bits. The
formulas are plain Python of +, -, * and `fma`, so that `lanes.row_kernel` can make vector loops of
them and a test can run them on numbers.
"""

from typing import Any, NamedTuple

from burgers_adjoint.kernels.formula import fma


class Star(NamedTuple):
    """The five points that a second-order stencil reads."""

    here: Any
    east: Any
    west: Any
    north: Any
    south: Any


class Coefficients(NamedTuple):
    """Numbers of a step with viscosity nu: dt / 2 dx, nu dt / dx^2, their sum's rest, dt / dx^2."""

    cx: float
    cy: float
    kx: float
    ky: float
    centre: float
    rx: float
    ry: float
    d_nu: Any


def coefficients(
    viscosity: float, dt: float, dx: float, dy: float, d_viscosity: float = 0.0
) -> Coefficients:
    """Numbers for viscosity [length^2/time], dt [time], dx and dy [length].

    d_viscosity is the perturbation of the viscosity that a tangent step is to see.
    """
    rx, ry = dt / (dx * dx), dt / (dy * dy)
    kx, ky = viscosity * rx, viscosity * ry
    centre = 1.0 - 2.0 * (kx + ky)
    return Coefficients(dt / (2 * dx), dt / (2 * dy), kx, ky, centre, rx, ry, d_viscosity)


def weigh(weights: Star, points: Star) -> Any:
    """Sum of the five points, each times its weight."""
    total = weights.here * points.here
    for weight, point in zip(weights[1:], points[1:], strict=True):
        total = fma(weight, point, total)
    return total


def diffusion(c: Coefficients, q: Star) -> Any:
    """What one step adds to q per unit of viscosity: dt (q_xx + q_yy)."""
    along_x = fma(-2, q.here, q.east + q.west)
    along_y = fma(-2, q.here, q.north + q.south)
    return fma(c.rx, along_x, c.ry * along_y)


def weights_of_step(c: Coefficients, u: Any, v: Any) -> Star:
    """Weights with which a point that moves at (u, v) reads its five points."""
    return Star(
        here=c.centre,
        east=fma(-c.cx, u, c.kx),
        west=fma(c.cx, u, c.kx),
        north=fma(-c.cy, v, c.ky),
        south=fma(c.cy, v, c.ky),
    )


def step(c: Coefficients, u: Star, v: Star) -> tuple[Any, Any]:
    """Return u and v after one step."""
    weights = weights_of_step(c, u.here, v.here)
    return weigh(weights, u), weigh(weights, v)


def tangent(c: Coefficients, u: Star, v: Star, du: Star, dv: Star) -> tuple[Any, Any]:
    """Return the derivative of `step` in the direction (du, dv, c.d_nu)."""
    weights = weights_of_step(c, u.here, v.here)
    by_x, by_y = -c.cx * du.here, -c.cy * dv.here

    def perturbed(q: Star, dq: Star) -> Any:
        # the weights times the perturbed points, plus the perturbed weights times the points
        total = fma(by_x, q.east - q.west, fma(by_y, q.north - q.south, weigh(weights, dq)))
        return total if c.d_nu is None else fma(c.d_nu, diffusion(c, q), total)

    return perturbed(u, du), perturbed(v, dv)


def weights_of_neighbours(c: Coefficients, u: Star, v: Star) -> Star:
    """Weights with which the neighbours of a point read it, and it reads itself.

    The weight with which a neighbour reads this point stands in the neighbour's own row: the west
    neighbour has this point to its east, and so weighs it with its own east weight, kx - cx u_W.
    """
    return Star(
        here=c.centre,
        east=weights_of_step(c, u.east, v.east).west,
        west=weights_of_step(c, u.west, v.west).east,
        north=weights_of_step(c, u.north, v.north).south,
        south=weights_of_step(c, u.south, v.south).north,
    )


def adjoint(c: Coefficients, u: Star, v: Star, p: Star, q: Star) -> tuple[Any, Any]:
    """Return a row of the transposed Jacobian of `step` times the cotangent (p, q) of (u', v').

    It gathers, so nothing is scattered.
    """
    weights = weights_of_neighbours(c, u, v)
    # the point's own u and v set its own weights: transpose of along_x and along_y of the tangent
    along_x = fma(v.east - v.west, q.here, (u.east - u.west) * p.here)
    along_y = fma(v.north - v.south, q.here, (u.north - u.south) * p.here)
    return fma(-c.cx, along_x, weigh(weights, p)), fma(-c.cy, along_y, weigh(weights, q))


def adjoint_tangent(
    c: Coefficients, u: Star, v: Star, du: Star, dv: Star, p: Star, q: Star, dp: Star, dq: Star
) -> tuple[Any, Any]:
    """Return the derivative of `adjoint` in the direction (du, dv, dp, dq, c.d_nu).

    The neighbours' weights change with their own speeds; c.d_nu is None where nothing varies it.
    """
    here = None
    near = [c.cx * du.east, -c.cx * du.west, c.cy * dv.north, -c.cy * dv.south]
    if c.d_nu is not None:
        kx, ky = c.rx * c.d_nu, c.ry * c.d_nu
        here = -2.0 * (kx + ky)
        near = [one + k for one, k in zip(near, (kx, kx, ky, ky), strict=True)]
    weights, changes = weights_of_neighbours(c, u, v), Star(here, *near)

    def gathered(one: Star, d_one: Star) -> Any:
        total = weigh(weights, d_one)
        for change, point in zip(changes, one, strict=True):
            if change is not None:
                total = fma(change, point, total)
        return total

    def along(side: str, other: str) -> Any:
        a, b, da, db = (getattr(one, side) - getattr(one, other) for one in (u, v, du, dv))
        return fma(db, q.here, fma(da, p.here, fma(b, dq.here, a * dp.here)))

    return (
        fma(-c.cx, along("east", "west"), gathered(p, dp)),
        fma(-c.cy, along("north", "south"), gathered(q, dq)),
    )


def viscosity(c: Coefficients, u: Star, v: Star, p: Any, q: Any) -> Any:
    """Return this point's part of dJ/d(nu): transpose of the tangent's d_nu terms."""
    return fma(p, diffusion(c, u), q * diffusion(c, v))
