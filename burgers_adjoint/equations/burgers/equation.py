"""The viscous Burgers equation: rate, tangent and adjoint at one point, term beside term.

    du/dt = -u u_x - v u_y + nu (u_xx + u_yy) + f_u,        the same for v,

with a viscosity nu, a number or a field nu(x, y), and a forcing f, steady and piecewise linear in
time. A scheme gives the weights with which a point reads its line of neighbours, and their
derivative by the speed; tangent and adjoint follow from these two. Diffusion is second-order
central.

Formulas are specialised: what is a number is no stream, and what there is not is not computed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from burgers_adjoint.equations.burgers.advection.scheme import Scheme
from burgers_adjoint.equations.burgers.lines import Line, along_x, along_y, dot, plus, scaled
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.formula import fma
from burgers_adjoint.stepping.equation import Cross, Crosses, Streams, Value

KNOTS = ("knot0", "knot1")  # those around a time
FIELDS = ("viscosity_field", "forcing", "forcing_in_time")


class Numbers(NamedTuple):
    """1 / dx^2, 1 / dy^2, -2 times their sum; each times nu; smooth; weights of two knots."""

    xx: Any
    yy: Any
    rest: Any
    nu_xx: Any
    nu_yy: Any
    nu_rest: Any
    smooth: Any
    knot0: Any
    knot1: Any


def laplacian(c: Numbers, q: Cross) -> Any:
    """q_xx + q_yy."""
    return fma(c.xx, q.east + q.west, fma(c.yy, q.north + q.south, c.rest * q.here))


class Axis(NamedTuple):
    """What a point has along x or y: `k` and `w` of the points of its line, numbers of a scheme."""

    c: Sequence[Any]
    k: Line
    w: Sequence[Any]


class Burgers:
    """The equation, an `stepping.equation.Equation`, for a scheme and what else there is.

    Args:
        spacing: dx, dy [length].
        shape: (ny, nx) of the grid; None when it is periodic.
        scheme: of the advection terms.
        viscosity: nu [length^2/time]; what a field of it adds to, where there is one.
        smooth_speed: see `advection.upwind` [length/time].
        viscosity_field: whether nu is a field.
        forcing: whether there is a steady one.
        knots: times of the forcing in time, which there is if there are any [time].
    """

    fields: Sequence[str] = ("u", "v")
    whole_step: bool = False

    def __init__(
        self,
        spacing: tuple[float, float],
        shape: tuple[int, int] | None,
        scheme: Scheme,
        viscosity: float,
        smooth_speed: float = 0.01,
        viscosity_field: bool = False,
        forcing: bool = False,
        knots: Sequence[float] = (),
    ) -> None:
        self.scheme, self.viscosity, self.knots = scheme, viscosity, tuple(knots)
        self.reach = scheme.reach
        self.n_numbers = len(Numbers._fields) + 2 * scheme.n_numbers
        self._spacing, self._shape, self._smooth = spacing, shape, smooth_speed * smooth_speed
        self._viscosity_field: np.ndarray | None = None
        self._forces = ["forcing"] * forcing + [*KNOTS] * bool(self.knots)
        forces = dict.fromkeys(self._forces, 2)
        self.streams: Mapping[str, int] = {"viscosity": 1} | forces if viscosity_field else forces
        self.varied: Mapping[str, int] = {"viscosity": 1} | forces
        self.around: Sequence[str] = ("viscosity",) if viscosity_field else ()
        self.profiles: Mapping[str, str] = {}
        if self.reach > 1 and shape is not None:
            self.profiles = {"inner_x": "x", "inner_y": "y"}

    @property
    def changing(self) -> bool:
        """Whether there is a forcing in time."""
        return bool(self.knots)

    def numbers(self, time: float, dt: float) -> Sequence[float]:
        """See `Numbers`; those of the scheme along x and y follow."""
        (dx, dy), (_, weight), nu = self._spacing, self._at(time), self.viscosity
        xx, yy = 1 / (dx * dx), 1 / (dy * dy)
        spaces = xx, yy, -2 * (xx + yy)
        own = *spaces, *(nu * one for one in spaces), self._smooth, 1.0 - weight, weight
        return *own, *self.scheme.numbers(dx), *self.scheme.numbers(dy)

    def sources(self, time: float) -> Mapping[str, Hashable]:
        """Keys of the data; the knots are those around the time."""
        number, _ = self._at(time)
        return {
            "viscosity": "viscosity",
            "forcing": "forcing",
            "knot0": ("forcing_in_time", number),
            "knot1": ("forcing_in_time", number + 1),
        }

    def set_control(self, name: str, value: Value | None) -> Mapping[Hashable, np.ndarray]:
        """Set "viscosity", a number, or one of the fields that there are; None for zeros.

        "viscosity_field" (ny, nx) is added to the number; "forcing" is (2, ny, nx),
        "forcing_in_time" (n_knots, 2, ny, nx).

        Raises:
            ConfigError: steps do not depend on it, or not on a value of its kind.
        """
        if name == "viscosity" and isinstance(value, float | int):
            self.viscosity = float(value)
            return self._viscosity_data()
        if name in FIELDS and value is None:
            return {}
        if isinstance(value, np.ndarray):
            if name == "viscosity_field" and "viscosity" in self.streams:
                self._viscosity_field = value
                return self._viscosity_data()
            if name == "forcing" and "forcing" in self.streams:
                return {"forcing": value}
            if name == "forcing_in_time" and self.knots:
                return {("forcing_in_time", number): one for number, one in enumerate(value)}
        raise ConfigError(f"steps do not depend on {name}, or not on a value of its kind")

    def _viscosity_data(self) -> Mapping[Hashable, np.ndarray]:
        if self._viscosity_field is None:
            return {}
        return {"viscosity": (self.viscosity + self._viscosity_field)[None]}

    def perturbations(
        self, directions: Mapping[str, Value], shape: tuple[int, int]
    ) -> Mapping[Hashable, np.ndarray]:
        d_nu = directions.get("viscosity", 0.0) + np.zeros((1, *shape))
        found: dict[Hashable, np.ndarray] = {
            "viscosity": d_nu + directions.get("viscosity_field", 0.0)
        }
        if "forcing" in self.streams:
            found["forcing"] = directions.get("forcing", 0.0) + np.zeros((2, *shape))
        if self.knots:
            n_knots = max(2, len(self.knots))
            in_time = np.zeros((n_knots, 2, *shape))
            in_time[: len(self.knots)] += directions.get("forcing_in_time", 0.0)
            found |= {("forcing_in_time", k): one for k, one in enumerate(in_time)}
        return found

    def density_shapes(self, wanted: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {
            name: (self.varied[name],) for name in wanted if name not in KNOTS
        }
        if "knot0" in wanted:
            shapes["forcing_in_time"] = (max(2, len(self.knots)), 2)
        return shapes

    def _at(self, time: float) -> tuple[int, float]:
        """The knot before a time, and the weight of the one after it; the outer ones hold on.

        A single knot has one of no weight behind it.
        """
        knots = self.knots
        if len(knots) < 2:
            return 0, 0.0
        after = min(max(bisect_right(knots, time), 1), len(knots) - 1)
        share = (time - knots[after - 1]) / (knots[after] - knots[after - 1])
        return after - 1, min(max(share, 0.0), 1.0)

    def profile(self, name: str, index: np.ndarray) -> np.ndarray:
        """1 where all five points along an axis are in the domain."""
        assert self._shape is not None
        n_points = self._shape[1 if name == "inner_x" else 0]
        return np.where((index >= 2) & (index < n_points - 2), 1.0, 0.0)

    # formulas

    def _split(self, c: Sequence[Any], s: Streams) -> tuple[Numbers, Axis, Axis]:
        """Numbers by name, and what there is along x and y."""
        n_own, n_scheme = len(Numbers._fields), self.scheme.n_numbers
        own, rest = Numbers(*c[:n_own]), c[n_own:]
        lines = Line(*[own.nu_xx] * 5), Line(*[own.nu_yy] * 5)
        if "viscosity" in self.streams:
            nu = s["viscosity"][0]
            lines = scaled(own.xx, along_x(nu)), scaled(own.yy, along_y(nu))
        everywhere = [1.0] * (2 * self.reach + 1)
        inner_x, inner_y = (s.get(name, everywhere) for name in ("inner_x", "inner_y"))
        return (
            own,
            Axis(rest[:n_scheme], lines[0], inner_x),
            Axis(rest[n_scheme:], lines[1], inner_y),
        )

    def _weights(self, c: Numbers, axis: Axis, speed: Any) -> Line:
        k, w = axis.k.here, axis.w[self.reach]
        return self.scheme.weights(axis.c, speed, w, c.smooth, k)

    def _slopes(self, c: Numbers, axis: Axis, speed: Any) -> Line:
        return self.scheme.slopes(axis.c, speed, axis.w[self.reach], c.smooth)

    def _opposite(self, c: Numbers, axis: Axis, speeds: Line) -> Line:
        """Weights with which the points of a line read the one in its middle."""
        weights: list[Any] = [None] * 5
        for place in range(2 - self.reach, 3 + self.reach):
            w, k = axis.w[place - 2 + self.reach], axis.k[place]
            theirs = self.scheme.weights(axis.c, speeds[place], w, c.smooth, k)
            weights[place] = theirs[4 - place]
        return Line(*weights)

    def _opposite_tangent(
        self, c: Numbers, axis: Axis, speeds: Line, d_speeds: Line, d_k: Line | None
    ) -> Line:
        """Derivative of `_opposite`; d_k is that of the weights of diffusion."""
        weights: list[Any] = [None] * 5
        for place in range(2 - self.reach, 3 + self.reach):
            w = axis.w[place - 2 + self.reach]
            slope = self.scheme.slopes(axis.c, speeds[place], w, c.smooth)[4 - place]
            weights[place] = None if slope is None else slope * d_speeds[place]
        near = (None, d_k.before, None, d_k.after, None) if d_k else (None,) * 5
        return plus(Line(*weights), Line(*near))

    def _own(self, c: Numbers, s: Streams) -> Any:
        """Weight of diffusion of the point itself."""
        if "viscosity" in self.streams:
            return c.rest * s["viscosity"][0].here
        return c.nu_rest

    def _forcing(self, c: Numbers, f: int, s: Streams) -> Any:
        """The forcing of a field; None where there is none."""
        force = s["forcing"][f].here if "forcing" in s else None
        if "knot0" in s:
            in_time = fma(c.knot1, s["knot1"][f].here, c.knot0 * s["knot0"][f].here)
            force = in_time if force is None else force + in_time
        return force

    def rate(self, c: Sequence[Any], q: Crosses, s: Streams) -> Sequence[Any]:
        """(du/dt, dv/dt)."""
        own, x, y = self._split(c, s)
        u, v = q
        weights = self._weights(own, x, u.here), self._weights(own, y, v.here)
        here = self._own(own, s)
        return [weigh(here, *weights, one, self._forcing(own, f, s)) for f, one in enumerate(q)]

    def tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, s: Streams, ds: Streams
    ) -> Sequence[Any]:
        """Derivative of `rate`."""
        own, x, y = self._split(c, s)
        (u, v), (du, dv) = q, dq
        weights = self._weights(own, x, u.here), self._weights(own, y, v.here)
        slopes = self._slopes(own, x, u.here), self._slopes(own, y, v.here)
        here = self._own(own, s)
        # a perturbation has the shape of the value: those of the forcing add up as it does
        forces = {name: [Cross(one) for one in ds[name]] for name in self._forces if name in ds}
        rates = []
        for f, (one, d_one) in enumerate(zip(q, dq, strict=True)):
            # the weights times the perturbed points, plus the perturbed weights times the points
            total = weigh(here, *weights, d_one, self._forcing(own, f, forces))
            total = fma(du.here, dot(slopes[0], along_x(one)), total)
            total = fma(dv.here, dot(slopes[1], along_y(one)), total)
            if "viscosity" in ds:
                total = fma(ds["viscosity"][0], laplacian(own, one), total)
            rates.append(total)
        return rates

    def adjoint(self, c: Sequence[Any], q: Crosses, p: Crosses, s: Streams) -> Sequence[Any]:
        """The weight with which a neighbour reads this point stands in the neighbour's own line."""
        own, x, y = self._split(c, s)
        u, v = q
        weights = self._opposite(own, x, along_x(u)), self._opposite(own, y, along_y(v))
        here = self._own(own, s)
        gathered = [weigh(here, *weights, one) for one in p]
        # the point's own u and v set its own weights, with which it reads both fields
        first, second = (one.here for one in p)
        results = []
        for slopes, along, total in (
            (self._slopes(own, x, u.here), along_x, gathered[0]),
            (self._slopes(own, y, v.here), along_y, gathered[1]),
        ):
            by_u, by_v = dot(slopes, along(u)), dot(slopes, along(v))
            results.append(fma(by_u, first, fma(by_v, second, total)))
        return results

    def adjoint_tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, p: Crosses, dp: Crosses,
        s: Streams, ds: Streams,
    ) -> Sequence[Any]:  # fmt: skip
        """Derivative of `adjoint`: neighbours' weights change with their speed and viscosity."""
        own, x, y = self._split(c, s)
        (u, v), (du, dv) = q, dq
        here: Any = None
        d_k: tuple[Line | None, Line | None] = None, None
        if "viscosity" in ds:
            d_nu = ds["viscosity"][0]
            here = own.rest * d_nu.here
            if "viscosity" in self.streams:
                d_k = scaled(own.xx, along_x(d_nu)), scaled(own.yy, along_y(d_nu))
            else:  # a number, the same at all points
                d_k = Line(*[own.xx * d_nu.here] * 5), Line(*[own.yy * d_nu.here] * 5)
        weights = (
            self._opposite_tangent(own, x, along_x(u), along_x(du), d_k[0]),
            self._opposite_tangent(own, y, along_y(v), along_y(dv), d_k[1]),
        )
        results = []
        for axis, along, speed, d_speed, one in (
            (x, along_x, u.here, du.here, p[0]),
            (y, along_y, v.here, dv.here, p[1]),
        ):
            slopes = self._slopes(own, axis, speed)
            curved = self.scheme.curvatures(axis.c, speed, axis.w[self.reach], own.smooth)
            total = weigh(here, *weights, one)
            for field, d_field, read in zip(q, dq, p, strict=True):
                by = dot(slopes, along(d_field))
                if curved is not None:
                    by = fma(d_speed, dot(curved, along(field)), by)
                total = fma(by, read.here, total)
            results.append(total)
        pulled = self.adjoint(c, q, dp, s)
        return [one + more for one, more in zip(pulled, results, strict=True)]

    def sensitivities(
        self, c: Sequence[Any], q: Crosses, p: Sequence[Any], s: Streams
    ) -> Mapping[str, Sequence[Any]]:
        """Transposes of the tangent's terms in the viscosity and the forcings."""
        own = Numbers(*c[: len(Numbers._fields)])
        u, v = q
        found: dict[str, Sequence[Any]] = {
            "viscosity": [fma(p[0], laplacian(own, u), p[1] * laplacian(own, v))]
        }
        for name in self._forces:
            weight = {"knot0": own.knot0, "knot1": own.knot1}.get(name)
            found[name] = p if weight is None else [weight * one for one in p]
        return found

    def sensitivities_tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, p: Sequence[Any], s: Streams, ds: Streams
    ) -> Mapping[str, Sequence[Any]]:
        """Derivative of `sensitivities`: those of the forcings do not depend on the state."""
        own, (du, dv) = Numbers(*c[: len(Numbers._fields)]), dq
        return {"viscosity": [fma(p[0], laplacian(own, du), p[1] * laplacian(own, dv))]}


def weigh(here: Any, x_weights: Line, y_weights: Line, q: Cross, force: Any = None) -> Any:
    """Sum of all points of a field, each times its weight, and of the force where there is one."""
    for weight in (x_weights.here, y_weights.here):
        if weight is not None:
            here = weight if here is None else here + weight
    total = force
    if here is not None:
        total = here * q.here if force is None else fma(here, q.here, force)
    for weights, points in ((x_weights, along_x(q)), (y_weights, along_y(q))):
        for place in (3, 1, 4, 0):  # the near ones first
            if weights[place] is not None:
                part = weights[place]
                total = part * points[place] if total is None else fma(part, points[place], total)
    return total
