"""An equation beside its derivatives in some directions: forward over reverse, formula by formula.

The derivative of a step along a direction is linear in those of its rates, and so is that of its
adjoint. Steps of a state and its tangents, and the adjoint of steps beside its own tangents, are
therefore those of another equation, whose formulas are the first one's and their derivatives: they
share the methods in time, the sweeps, the exchange of halos and the snapshots of all equations.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from burgers_adjoint.stepping.equation import Crosses, Streams, TwiceDifferentiable
from burgers_adjoint.stepping.stepper import Cotangent, Directions


class WithDirections:
    """`equation.Steps` of (q, dq_1, ..., dq_k), with the cotangents (p, dp_1, ..., dp_k).

    dq_j is the derivative of the state q along direction j (its tangent), dp_j that of the
    cotangent p (the second-order adjoint; Wang, Navon, Le Dimet and Zou 1992). Without the terms
    that p has a part in, dp_j goes back as p would, and p is zero: what Gauss-Newton asks for.

    Args:
        equation: whose steps they are.
        n_directions: k.
        along: names of `equation.varied` that directions perturb.
        full: whether the terms with p are there.
    """

    def __init__(
        self,
        equation: TwiceDifferentiable,
        n_directions: int,
        along: Sequence[str],
        full: bool = True,
    ) -> None:
        self.equation, self.n_directions, self.full = equation, n_directions, full
        self._along = {name: n for name, n in equation.varied.items() if name in along}
        self._n_fields = len(equation.fields)
        numbers = range(n_directions)
        self.fields: Sequence[str] = [
            *equation.fields,
            *(f"tangent {j} of {name}" for j in numbers for name in equation.fields),
        ]
        perturbed = {f"along_{name}": n * n_directions for name, n in self._along.items()}
        self.streams: Mapping[str, int] = {**equation.streams, **perturbed}
        around = [f"along_{name}" for name in equation.around if name in self._along]
        self.around: Sequence[str] = [*equation.around, *around]
        self.varied: Mapping[str, int] = {
            name: n * (1 + n_directions) for name, n in equation.varied.items()
        }
        self.reach, self.profiles = equation.reach, equation.profiles
        self.n_numbers, self.whole_step = equation.n_numbers, equation.whole_step
        self.numbers, self.profile = equation.numbers, equation.profile
        self.set_control = equation.set_control

    @property
    def changing(self) -> bool:
        return self.equation.changing

    def sources(self, time: float) -> Mapping[str, Hashable]:
        found = self.equation.sources(time)
        return {**found, **{f"along_{name}": ("along", found[name]) for name in self._along}}

    def directions(
        self, directions: Sequence[Directions], shape: tuple[int, int]
    ) -> Mapping[Hashable, np.ndarray]:
        """What steps read of perturbations of what they depend on, (n, ny, nx), by key."""
        each = [self.equation.perturbations(one, shape) for one in directions]
        wanted = self.equation.density_shapes(list(self._along))
        return {
            ("along", key): np.concatenate([one[key] for one in each])
            for key in each[0]
            if (key[0] if isinstance(key, tuple) else key) in wanted
        }

    def density_shapes(self, wanted: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
        return {
            name: (*shape[:-1], shape[-1] * (1 + self.n_directions))
            for name, shape in self.equation.density_shapes(wanted).items()
        }

    # formulas

    def _parts(self, crosses: Sequence[Any]) -> list[Sequence[Any]]:
        """Fields of the state, and of each direction."""
        n = self._n_fields
        return [crosses[k : k + n] for k in range(0, len(crosses), n)]

    def _perturbed(self, s: Streams, direction: int) -> dict[str, Sequence[Any]]:
        return {
            name: s[f"along_{name}"][n * direction : n * (direction + 1)]
            for name, n in self._along.items()
        }

    def rate(self, c: Sequence[Any], q: Crosses, s: Streams) -> Sequence[Any]:
        state, *tangents = self._parts(q)
        rates = list(self.equation.rate(c, state, s))
        for j, dq in enumerate(tangents):
            ds = {name: [one.here for one in part] for name, part in self._perturbed(s, j).items()}
            rates += self.equation.tangent(c, state, dq, s, ds)
        return rates

    def adjoint(self, c: Sequence[Any], q: Crosses, p: Crosses, s: Streams) -> Sequence[Any]:
        state, *tangents = self._parts(q)
        first, *others = self._parts(p)
        equation = self.equation
        if not self.full:
            pulled = [one for dp in others for one in equation.adjoint(c, state, dp, s)]
            return [0.0] * self._n_fields + pulled
        pulled = list(equation.adjoint(c, state, first, s))
        for j, (dq, dp) in enumerate(zip(tangents, others, strict=True)):
            pulled += equation.adjoint_tangent(c, state, dq, first, dp, s, self._perturbed(s, j))
        return pulled

    def sensitivities(
        self, c: Sequence[Any], q: Crosses, p: Sequence[Any], s: Streams
    ) -> Mapping[str, Sequence[Any]]:
        state, *tangents = self._parts(q)
        first, *others = self._parts(p)
        found: dict[str, list[Any]] = {
            name: list(parts) if self.full else [0.0] * len(parts)
            for name, parts in self.equation.sensitivities(c, state, first, s).items()
        }
        for j, (dq, dp) in enumerate(zip(tangents, others, strict=True)):
            own = self.equation.sensitivities(c, state, dp, s)
            second: Mapping[str, Sequence[Any]] = {}
            if self.full:
                ds = self._perturbed(s, j)
                second = self.equation.sensitivities_tangent(c, state, dq, first, s, ds)
            for name, parts in own.items():
                more = second.get(name)
                if more is not None:
                    parts = [one + other for one, other in zip(parts, more, strict=True)]
                found[name] += parts
        return found


def parts_of(cotangent: Cotangent, n_directions: int) -> list[Cotangent]:
    """Views of a cotangent's own part, and of its derivative along each direction."""

    def cut(array: np.ndarray, number: int) -> np.ndarray:
        n = array.shape[-3] // (1 + n_directions)
        return array[..., n * number : n * (number + 1), :, :]

    return [
        Cotangent(
            cut(cotangent.field, number),
            {name: cut(density, number) for name, density in cotangent.densities.items()},
        )
        for number in range(1 + n_directions)
    ]
