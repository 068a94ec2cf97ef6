"""What an equation offers to be stepped in time: formulas at one point, and what they read."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np


class Cross(NamedTuple):
    """A field at a point and at those around it; the far ones where the reach is 2."""

    here: Any
    east: Any = None
    west: Any = None
    north: Any = None
    south: Any = None
    far_east: Any = None
    far_west: Any = None
    far_north: Any = None
    far_south: Any = None


Crosses = Sequence[Cross]
Value = np.ndarray | float
Streams = Mapping[str, Any]


class Steps(Protocol):
    """dq/dt = rate(q) at one point, and its adjoint: what is stepped and reversed.

    The formulas are plain Python of +, -, *, / and what `kernels.formula` offers; they see numbers,
    or values that stand for many points. `c` is a sequence of numbers, those of `numbers`; `s` has
    what is read beside the state: of a stream a list with a `Cross` for each of its fields, which
    has `here` alone unless `around` names the stream; of a profile a list of its values at the
    points within reach, from the lowest to the highest.

    Attributes:
        fields: names of the state's fields.
        reach: how far along x and y the rate reads, 1 or 2.
        streams: fields that the rate reads beside the state, and how many of each.
        around: streams that the adjoint reads around the point.
        profiles: what depends on x, or on y, alone: name to "x" or "y".
        varied: streams, or what else the formulas see perturbed, and how many fields of each: a
            tangent reads their perturbations, a gradient has their `sensitivities`.
        n_numbers: how many numbers the formulas are given.
        whole_step: whether the formulas are not those of a rate but of a step of forward Euler:
            `rate` returns the state after it, `adjoint` the cotangent before it.
    """

    fields: Sequence[str]
    reach: int
    streams: Mapping[str, int]
    around: Sequence[str]
    profiles: Mapping[str, str]
    varied: Mapping[str, int]
    n_numbers: int
    whole_step: bool

    @property
    def changing(self) -> bool:
        """Whether numbers or sources depend on time."""
        ...

    def numbers(self, time: float, dt: float) -> Sequence[float]:
        """The numbers of a rate that is taken at this time, in a step of this length."""
        ...

    def sources(self, time: float) -> Mapping[str, Hashable]:
        """Where streams, and what is varied, are found at this time: keys of the engine's data."""
        ...

    def set_control(self, name: str, value: Value | None) -> Mapping[Hashable, np.ndarray]:
        """Take over what steps depend on; returns the data, (n, ny, nx) of the tile, that it is.

        Raises:
            ConfigError: there is no such name, or not such a value of it.
        """
        ...

    def density_shapes(self, wanted: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
        """Axes before (rows, pitch) of what a gradient is added up in, by name.

        wanted are names of `varied`; keys of `sources` are these names, or a name and a number.
        """
        ...

    def profile(self, name: str, index: np.ndarray) -> np.ndarray:
        """Values of a profile at rows or columns of the grid, also beyond its ends."""
        ...

    def rate(self, c: Sequence[Any], q: Crosses, s: Streams) -> Sequence[Any]:
        """Rates of change of the fields."""
        ...

    def adjoint(self, c: Sequence[Any], q: Crosses, p: Crosses, s: Streams) -> Sequence[Any]:
        """A row of the transposed Jacobian of `rate` times the cotangent p of the rates.

        It gathers: nothing is scattered. p is zero at points that do not move.
        """
        ...

    def sensitivities(
        self, c: Sequence[Any], q: Crosses, p: Sequence[Any], s: Streams
    ) -> Mapping[str, Sequence[Any]]:
        """Transposes of the terms of `tangent` in ds, at the point itself."""
        ...


@runtime_checkable
class Equation(Steps, Protocol):
    """Steps with their tangent: hand-written, term beside term of the adjoint."""

    def perturbations(
        self, directions: Mapping[str, Value], shape: tuple[int, int]
    ) -> Mapping[Hashable, np.ndarray]:
        """Perturbations, (n, ny, nx) of the tile, of what is varied, by the keys of `sources`."""
        ...

    def tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, s: Streams, ds: Streams
    ) -> Sequence[Any]:
        """Derivative of `rate` in the direction (dq, ds); ds has a value for each varied field."""
        ...


def with_tangent(steps: Steps) -> Equation:
    """The steps, if they have a tangent.

    Raises:
        TypeError: they have none.
    """
    if not isinstance(steps, Equation):
        raise TypeError(f"{type(steps).__name__} has no tangent")
    return steps


class TwiceDifferentiable(Equation, Protocol):
    """An equation with the tangent of its adjoint, of which products with a Hessian are made."""

    def adjoint_tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, p: Crosses, dp: Crosses,
        s: Streams, ds: Streams,
    ) -> Sequence[Any]:  # fmt: skip
        """Derivative of `adjoint` in the direction (dq, dp, ds).

        ds has a `Cross` for each field of what is perturbed, as s has of its streams; what is not
        perturbed is not in it.
        """
        ...

    def sensitivities_tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, p: Sequence[Any], s: Streams, ds: Streams
    ) -> Mapping[str, Sequence[Any]]:
        """Derivative of `sensitivities` likewise; names without one are left out."""
        ...
