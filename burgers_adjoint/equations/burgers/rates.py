"""Rates of change at one grid point: primal, tangent and adjoint, for any advection scheme.

    du/dt = -u u_x - v u_y + nu (u_xx + u_yy) + f_u,        the same for v,

with a viscosity nu(x, y) and a forcing f. A scheme gives the weights with which a point reads its
line of neighbours, `weights(speed, w, smooth)`, and their derivative with respect to the speed,
`weights_by_speed`; tangent and adjoint follow from these two. Diffusion is second-order central.

Like those of `stencil`, the formulas are plain Python of +, -, *, / and what `lanes` offers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from burgers_adjoint.kernels.lanes import fma, row_kernel


class Line(NamedTuple):
    """Five points, or their weights, along x or y; None is a weight of zero."""

    far_before: Any
    before: Any
    here: Any
    after: Any
    far_after: Any


class Cross(NamedTuple):
    """The nine points that a scheme may read."""

    here: Any
    east: Any
    west: Any
    north: Any
    south: Any
    far_east: Any
    far_west: Any
    far_north: Any
    far_south: Any

    @property
    def along_x(self) -> Line:
        return Line(self.far_west, self.west, self.here, self.east, self.far_east)

    @property
    def along_y(self) -> Line:
        return Line(self.far_south, self.south, self.here, self.north, self.far_north)


class Scheme(Protocol):
    """An advection scheme: weights times points are speed times derivative, times the spacing.

    `w` is 1 where all five points are there, and 0 beside the boundary of the domain, where the
    outer two are not.
    """

    def weights(self, speed: Any, w: Any, smooth: Any) -> Line: ...

    def weights_by_speed(self, speed: Any, w: Any, smooth: Any) -> Line: ...


class Numbers(NamedTuple):
    """1 / dx, 1 / dy, their squares, a scheme's `smooth`, and w of the five rows around."""

    x: Any
    y: Any
    xx: Any
    yy: Any
    smooth: Any
    w_far_south: Any
    w_south: Any
    w_here: Any
    w_north: Any
    w_far_north: Any

    @property
    def w_along_y(self) -> Line:
        return Line(self.w_far_south, self.w_south, self.w_here, self.w_north, self.w_far_north)


def dot(weights: Line, points: Line) -> Any:
    """Sum of weights times points."""
    total = None
    for weight, point in zip(weights, points, strict=True):
        if weight is not None:
            total = weight * point if total is None else fma(weight, point, total)
    return total


def laplacian(c: Numbers, q: Cross) -> Any:
    """q_xx + q_yy."""
    along_x = fma(-2, q.here, q.east + q.west)
    along_y = fma(-2, q.here, q.north + q.south)
    return fma(c.xx, along_x, c.yy * along_y)


def advection(c: Numbers, x_weights: Line, y_weights: Line, q: Cross) -> Any:
    """u q_x + v q_y."""
    return fma(c.x, dot(x_weights, q.along_x), c.y * dot(y_weights, q.along_y))


def rate(scheme: Scheme, c: Numbers, u: Cross, v: Cross, nu: Any, f: Any, w: Line) -> Any:
    """(du/dt, dv/dt); f is the forcing (f_u, f_v), w that of the five columns around."""
    x_weights = scheme.weights(u.here, w.here, c.smooth)
    y_weights = scheme.weights(v.here, c.w_here, c.smooth)
    return tuple(
        fma(nu, laplacian(c, q), force - advection(c, x_weights, y_weights, q))
        for q, force in zip((u, v), f, strict=True)
    )


def tangent(
    scheme: Scheme,
    c: Numbers,
    u: Cross, v: Cross, du: Cross, dv: Cross,
    nu: Any, d_nu: Any, df: Any,
    w: Line,
) -> Any:  # fmt: skip
    """Derivative of `rate` in the direction (du, dv, d_nu, df)."""
    x_weights = scheme.weights(u.here, w.here, c.smooth)
    y_weights = scheme.weights(v.here, c.w_here, c.smooth)
    x_slopes = scheme.weights_by_speed(u.here, w.here, c.smooth)
    y_slopes = scheme.weights_by_speed(v.here, c.w_here, c.smooth)
    return tuple(
        fma(nu, laplacian(c, dq), fma(d_nu, laplacian(c, q), force))
        # the weights times the perturbed points, plus the perturbed weights times the points
        - advection(c, x_weights, y_weights, dq)
        - c.x * du.here * dot(x_slopes, q.along_x)
        - c.y * dv.here * dot(y_slopes, q.along_y)
        for q, dq, force in zip((u, v), (du, dv), df, strict=True)
    )


def adjoint(
    scheme: Scheme, c: Numbers, u: Cross, v: Cross, p: Cross, q: Cross, nu: Cross, w: Line
) -> Any:
    """A row of the transposed Jacobian of `rate` times the cotangent (p, q) of (du/dt, dv/dt).

    It gathers: the weight with which a neighbour reads this point stands in the neighbour's own
    line, on the opposite side of it.
    """
    x_weights = _opposite(scheme, u.along_x, w, c.smooth)
    y_weights = _opposite(scheme, v.along_y, c.w_along_y, c.smooth)
    x_slopes = scheme.weights_by_speed(u.here, w.here, c.smooth)
    y_slopes = scheme.weights_by_speed(v.here, c.w_here, c.smooth)
    gathered = tuple(
        c.xx * _diffused(nu.along_x, r.along_x)
        + c.yy * _diffused(nu.along_y, r.along_y)
        - advection(c, x_weights, y_weights, r)
        for r in (p, q)
    )
    # the point's own u and v set its own weights, with which it reads both fields
    own_x = fma(dot(x_slopes, v.along_x), q.here, dot(x_slopes, u.along_x) * p.here)
    own_y = fma(dot(y_slopes, v.along_y), q.here, dot(y_slopes, u.along_y) * p.here)
    return fma(-c.x, own_x, gathered[0]), fma(-c.y, own_y, gathered[1])


def viscosity(c: Numbers, u: Cross, v: Cross, p: Any, q: Any) -> Any:
    """This point's part of dJ/d(nu): transpose of the tangent's d_nu terms."""
    return fma(p, laplacian(c, u), q * laplacian(c, v))


def _opposite(scheme: Scheme, speeds: Line, w: Line, smooth: Any) -> Line:
    """Weights with which the points of a line read the one in its middle."""
    theirs = [scheme.weights(a, b, smooth) for a, b in zip(speeds, w, strict=True)]
    return Line(*(theirs[k][4 - k] for k in range(5)))


def _diffused(nu: Line, r: Line) -> Any:
    return fma(-2 * nu.here, r.here, fma(nu.before, r.before, nu.after * r.after))


def row_kernels(scheme: Scheme) -> tuple[Any, Any, Any]:
    """Loops over a row for `lanes.row_kernel`: rate, tangent, and adjoint with its density.

    Streams in: the nine points of each field, then what a formula needs at fewer points, in its
    order, w of five columns last; of the adjoint nu at nine points, and the density that is added
    to. Streams out: one per field, and the density.
    """

    def rate_row(c: Numbers, *points: Any) -> Any:
        u, v = Cross(*points[:9]), Cross(*points[9:18])
        return rate(scheme, c, u, v, points[18], points[19:21], Line(*points[21:26]))

    def tangent_row(c: Numbers, *points: Any) -> Any:
        u, v, du, dv = (Cross(*points[k : k + 9]) for k in range(0, 36, 9))
        nu, d_nu, force, w = points[36], points[37], points[38:40], Line(*points[40:45])
        return tangent(scheme, c, u, v, du, dv, nu, d_nu, force, w)

    def adjoint_row(c: Numbers, *points: Any) -> Any:
        u, v, p, q, nu = (Cross(*points[k : k + 9]) for k in range(0, 45, 9))
        density = points[50] + viscosity(c, u, v, p.here, q.here)
        return (*adjoint(scheme, c, u, v, p, q, nu, Line(*points[45:50])), density)

    formulas: tuple[Callable[..., tuple[Any, ...]], ...] = (rate_row, tangent_row, adjoint_row)
    kernels = tuple(row_kernel(formula, Numbers) for formula in formulas)
    return kernels[0], kernels[1], kernels[2]
