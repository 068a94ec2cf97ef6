"""Forward Euler with central differences and a constant viscosity, fused to one formula."""

from collections.abc import Mapping, Sequence
from typing import Any

from burgers_adjoint.equations.burgers import stencil
from burgers_adjoint.equations.burgers.advection.central import Central
from burgers_adjoint.equations.burgers.equation import Burgers
from burgers_adjoint.equations.burgers.stencil import Coefficients, Star
from burgers_adjoint.stepping.equation import Crosses, Streams


class FusedBurgers(Burgers):
    """`Burgers` whose formulas are those of a whole step of forward Euler; see `stencil`."""

    whole_step = True

    def __init__(self, spacing: tuple[float, float], viscosity: float) -> None:
        super().__init__(spacing, None, Central(), viscosity)
        self.n_numbers = len(Coefficients._fields)

    def numbers(self, time: float, dt: float) -> Sequence[float]:
        return stencil.coefficients(self.viscosity, dt, *self._spacing)

    def rate(self, c: Sequence[Any], q: Crosses, s: Streams) -> Sequence[Any]:
        u, v = (Star(*one[:5]) for one in q)
        return stencil.step(Coefficients(*c), u, v)

    def tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, s: Streams, ds: Streams
    ) -> Sequence[Any]:
        d_nu = ds["viscosity"][0] if "viscosity" in ds else None
        points = (Star(*one[:5]) for one in (*q, *dq))
        return stencil.tangent(Coefficients(*c)._replace(d_nu=d_nu), *points)

    def adjoint(self, c: Sequence[Any], q: Crosses, p: Crosses, s: Streams) -> Sequence[Any]:
        return stencil.adjoint(Coefficients(*c), *(Star(*one[:5]) for one in (*q, *p)))

    def adjoint_tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, p: Crosses, dp: Crosses,
        s: Streams, ds: Streams,
    ) -> Sequence[Any]:  # fmt: skip
        d_nu = ds["viscosity"][0].here if "viscosity" in ds else None
        points = (Star(*one[:5]) for one in (*q, *dq, *p, *dp))
        return stencil.adjoint_tangent(Coefficients(*c)._replace(d_nu=d_nu), *points)

    def sensitivities(
        self, c: Sequence[Any], q: Crosses, p: Sequence[Any], s: Streams
    ) -> Mapping[str, Sequence[Any]]:
        u, v = (Star(*one[:5]) for one in q)
        return {"viscosity": [stencil.viscosity(Coefficients(*c), u, v, p[0], p[1])]}

    def sensitivities_tangent(
        self, c: Sequence[Any], q: Crosses, dq: Crosses, p: Sequence[Any], s: Streams, ds: Streams
    ) -> Mapping[str, Sequence[Any]]:
        du, dv = (Star(*one[:5]) for one in dq)
        return {"viscosity": [stencil.viscosity(Coefficients(*c), du, dv, p[0], p[1])]}
