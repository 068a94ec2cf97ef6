"""The viscous Burgers equation: rate, tangent and adjoint at one point, term beside term.

    du/dt = -u u_x - v u_y + nu (u_xx + u_yy) + f_u,        the same for v,

with a viscosity nu, a number or a field nu(x, y), and a forcing f, steady and piecewise linear in
time. A scheme gives the weights with which a point reads its line of neighbours, `weights(speed, w,
smooth)`, and their derivative with respect to the speed, `weights_by_speed`; tangent and adjoint
follow from these two. Diffusion is second-order central.

Formulas are specialised: what is a number is no stream, and what there is not is not computed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from burgers_adjoint.equations.burgers.lines import Line, along_x, along_y, dot
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.formula import fma
from burgers_adjoint.stepping.equation import Cross, Crosses, Streams, Value

KNOTS = ("knot0", "knot1")  # those around a time
FIELDS = ("viscosity_field", "forcing", "forcing_in_time")


class Scheme(Protocol):
    """An advection scheme: weights times points are speed times derivative, times the spacing.

    `w` is 1 where all five points are there, and 0 beside the boundary of the domain, where the
    outer two are not; a scheme of reach 1 does not look at it. largest_rate and largest_damping are
    the largest imaginary and real parts of its symbol, times the spacing, over the speed.
    """

    name: str
    reach: int
    largest_rate: float
    largest_damping: float

    def weights(self, speed: Any, w: Any, smooth: Any) -> Line: ...

    def weights_by_speed(self, speed: Any, w: Any, smooth: Any) -> Line: ...


class Numbers(NamedTuple):
    """1 / dx, 1 / dy, their squares, a scheme's `smooth`, nu, and weights of two knots."""

    x: Any
    y: Any
    xx: Any
    yy: Any
    smooth: Any
    nu: Any
    knot0: Any
    knot1: Any


def laplacian(c: Numbers, q: Cross) -> Any:
    """q_xx + q_yy."""
    x, y = fma(-2.0, q.here, q.east + q.west), fma(-2.0, q.here, q.north + q.south)
    return fma(c.xx, x, c.yy * y)


def advection(c: Numbers, x_weights: Line, y_weights: Line, q: Cross) -> Any:
    """u q_x + v q_y."""
    return fma(c.x, dot(x_weights, along_x(q)), c.y * dot(y_weights, along_y(q)))


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
    n_numbers: int = len(Numbers._fields)

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
        self._spacing, self._shape, self._smooth = spacing, shape, smooth_speed**2
        self._viscosity_field: np.ndarray | None = None
        self._forces = ["forcing"] * forcing + [*KNOTS] * bool(self.knots)
        forces = dict.fromkeys(self._forces, 2)
        self.streams: Mapping[str, int] = {"viscosity": 1} | forces if viscosity_field else forces
        self.varied: Mapping[str, int] = {"viscosity": 1} | forces
        self.around: Sequence[str] = ("viscosity",) if viscosity_field else ()
        self.profiles: Mapping[str, str] = {}
        if self.reach > 1 and shape is not None:
            self.profiles = {"inner_x": "x", "inner_y": "y"}
        parts = (scheme.name, *self.streams, *self.profiles)
        self.key = f"{type(self).__name__}.{'.'.join(parts)}"
        self.cached = type(scheme).__module__.split(".")[0] == __name__.split(".")[0]

    @property
    def changing(self) -> bool:
        """Whether there is a forcing in time."""
        return bool(self.knots)

    def numbers(self, time: float, dt: float) -> Sequence[float]:
        """See `Numbers`."""
        (dx, dy), (_, weight) = self._spacing, self._at(time)
        return Numbers(
            1 / dx, 1 / dy, 1 / dx**2, 1 / dy**2, self._smooth, self.viscosity, 1.0 - weight, weight
        )

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

    def _nu(self, c: Numbers, s: Streams) -> Any:
        return s["viscosity"][0].here if "viscosity" in self.streams else c.nu

    def _inner(self, s: Streams) -> tuple[Sequence[Any], Sequence[Any]]:
        """`w` of the points along x and y, of a scheme that looks at it."""
        if not self.profiles:
            return [1.0] * 5, [1.0] * 5
        return s["inner_x"], s["inner_y"]

    def _weights(self, c: Numbers, q: Crosses, s: Streams) -> tuple[Line, Line]:
        w_x, w_y = self._inner(s)
        u, v = q
        return (
            self.scheme.weights(u.here, w_x[2], c.smooth),
            self.scheme.weights(v.here, w_y[2], c.smooth),
        )

    def _slopes(self, c: Numbers, q: Crosses, s: Streams) -> tuple[Line, Line]:
        w_x, w_y = self._inner(s)
        u, v = q
        return (
            self.scheme.weights_by_speed(u.here, w_x[2], c.smooth),
            self.scheme.weights_by_speed(v.here, w_y[2], c.smooth),
        )

    def _forcing(self, c: Numbers, f: int, s: Streams) -> Any:
        """The forcing of a field; None where there is none."""
        force = s["forcing"][f].here if "forcing" in self._forces else None
        if self.knots:
            in_time = fma(c.knot1, s["knot1"][f].here, c.knot0 * s["knot0"][f].here)
            force = in_time if force is None else force + in_time
        return force

    def rate(self, c: Sequence[Any], q: Crosses, s: Streams) -> Sequence[Any]:
        """(du/dt, dv/dt)."""
        c = Numbers(*c)
        weights = self._weights(c, q, s)
        rates = []
        for f, one in enumerate(q):
            force = self._forcing(c, f, s)
            moved = advection(c, *weights, one)
            rest = -moved if force is None else force - moved
            rates.append(fma(self._nu(c, s), laplacian(c, one), rest))
        return rates

    def tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, s: Streams, ds: Streams
    ) -> Sequence[Any]:
        """Derivative of `rate`."""
        c = Numbers(*c)
        weights, (x_slopes, y_slopes) = self._weights(c, q, s), self._slopes(c, q, s)
        du, dv = dq
        # a perturbation has the shape of the value: those of the forcing add up as it does
        forces = {name: [Cross(one) for one in ds[name]] for name in self._forces}
        rates = []
        for f, (one, d_one) in enumerate(zip(q, dq, strict=True)):
            # the weights times the perturbed points, plus the perturbed weights times the points
            moved = (
                advection(c, *weights, d_one)
                + c.x * du.here * dot(x_slopes, along_x(one))
                + c.y * dv.here * dot(y_slopes, along_y(one))
            )
            force = self._forcing(c, f, forces)
            rest = -moved if force is None else force - moved
            rest = fma(ds["viscosity"][0], laplacian(c, one), rest)
            rates.append(fma(self._nu(c, s), laplacian(c, d_one), rest))
        return rates

    def adjoint(self, c: Sequence[Any], q: Crosses, p: Crosses, s: Streams) -> Sequence[Any]:
        """The weight with which a neighbour reads this point stands in the neighbour's own line."""
        c = Numbers(*c)
        u, v = q
        w_x, w_y = self._inner(s)
        x_weights = self._opposite(along_x(u), w_x, c.smooth)
        y_weights = self._opposite(along_y(v), w_y, c.smooth)
        x_slopes, y_slopes = self._slopes(c, q, s)
        gathered = [
            self._diffused(c, one, s) - advection(c, x_weights, y_weights, one) for one in p
        ]
        # the point's own u and v set its own weights, with which it reads both fields
        first, second = (one.here for one in p)
        own_x = fma(dot(x_slopes, along_x(v)), second, dot(x_slopes, along_x(u)) * first)
        own_y = fma(dot(y_slopes, along_y(v)), second, dot(y_slopes, along_y(u)) * first)
        return fma(-c.x, own_x, gathered[0]), fma(-c.y, own_y, gathered[1])

    def sensitivities(
        self, c: Sequence[Any], q: Crosses, p: Sequence[Any], s: Streams
    ) -> Mapping[str, Sequence[Any]]:
        """Transposes of the tangent's terms in the viscosity and the forcings."""
        c = Numbers(*c)
        u, v = q
        found: dict[str, Sequence[Any]] = {
            "viscosity": [fma(p[0], laplacian(c, u), p[1] * laplacian(c, v))]
        }
        for name in self._forces:
            weight = {"knot0": c.knot0, "knot1": c.knot1}.get(name)
            found[name] = p if weight is None else [weight * one for one in p]
        return found

    def _opposite(self, speeds: Line, w: Sequence[Any], smooth: Any) -> Line:
        """Weights with which the points of a line read the one in its middle."""
        weights: list[Any] = [None] * 5
        for k in range(2 - self.reach, 3 + self.reach):
            w_k = w[k - 2 + len(w) // 2]
            weights[k] = self.scheme.weights(speeds[k], w_k, smooth)[4 - k]
        return Line(*weights)

    def _diffused(self, c: Numbers, r: Cross, s: Streams) -> Any:
        """Transpose of nu times the Laplacian."""
        if "viscosity" not in self.streams:
            return c.nu * laplacian(c, r)
        nu = s["viscosity"][0]
        lines = [
            fma(-2.0 * n.here, one.here, fma(n.before, one.before, n.after * one.after))
            for n, one in ((along_x(nu), along_x(r)), (along_y(nu), along_y(r)))
        ]
        return fma(c.xx, lines[0], c.yy * lines[1])
