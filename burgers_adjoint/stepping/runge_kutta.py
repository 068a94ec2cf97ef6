"""A step of an explicit Runge-Kutta method as a program: levels of row formulas.

For u1 = u0 + sum_i dt b_i K_i, K_i the rate at Y_i = u0 + sum_j dt a_ij K_j, a level is a stage: it
computes the stage's rate and adds it, times what it counts, to the states that it is part of; the
next stage's state is then complete. Backwards, with p the cotangent of u1, that of K_i is k_i =
dt b_i p + sum_j>i dt a_ji q_j, where q_j is the transposed Jacobian of the rate at Y_j times k_j;
that of u0 is p + sum_j q_j (Hager 2000, without the change of variables).

The streams of a level: `state`, that of the stage; `start`, u0; `next`, the next stage's state or
that after the step; `sum0`, `sum1`, ... what later ones are made of so far. Backwards `state`,
`rates`, the cotangent of the stage's rates; `end`, p; `next`, the cotangent of the rates of the
stage before, or that of u0; `sum..` likewise. `held`: values on the boundary. Perturbations, and
what is added up of the gradient, are `d_` and a name.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from burgers_adjoint.kernels.formula import fma
from burgers_adjoint.kernels.programs import Fix, Kind, Points, Row
from burgers_adjoint.stepping.equation import Cross, Steps, with_tangent
from burgers_adjoint.stepping.tableaux import Tableau

Reader = Callable[[Sequence[Any]], Any]
Ahead = Sequence[tuple[str, int]]
Base = Callable[[Sequence[Any], list[Any], Iterator[Any]], list[Any] | None]


def targets_of(tableau: Tableau, stage: int, end: bool = True) -> list[int]:
    """Stages whose states a stage's rate is part of, and the step's end, in order."""
    stop = len(tableau.b) + (1 if end else 0)
    later = range(stage + 1, stop)
    return [j for j in later if j == stage + 1 or weight(tableau, j, stage)]


def weight(tableau: Tableau, target: int, stage: int) -> float:
    """How much a stage's rate counts in a stage's state, or in the step's end."""
    row = tableau.b if target == len(tableau.b) else tableau.a[target]
    return row[stage] if stage < len(row) else 0.0


class StepKinds:
    """The kinds of an equation's steps by one method.

    Args:
        equation: whose formulas they are made of.
        tableau: of the method.
        wanted: what of `Equation.varied` the adjoint adds up the gradient to.
        bounded: whether the domain has a boundary, whose points keep their values.
    """

    def __init__(
        self, equation: Steps, tableau: Tableau, wanted: Sequence[str], bounded: bool
    ) -> None:
        self.bounded = bounded
        self.equation, self.tableau = equation, tableau
        self.wanted = tuple(name for name in equation.varied if name in wanted)
        self.n_stages = len(tableau.b)
        self.n_fields = len(equation.fields)

    # what formulas read

    def _crosses(self, points: Points, stream: str, n_fields: int, reach: int) -> Reader:
        numbers = [points.cross(stream, f, reach) for f in range(n_fields)]
        return lambda values: [Cross(*(values[k] for k in one)) for one in numbers]

    def _here(self, points: Points, stream: str, n_fields: int) -> Reader:
        return self._those([points.at(stream, f) for f in range(n_fields)])

    @staticmethod
    def _those(numbers: Sequence[int]) -> Reader:
        return lambda values: [values[k] for k in numbers]

    def _streams(self, points: Points, around: bool) -> Reader:
        equation = self.equation
        readers: dict[str, Reader] = {}
        for name, n_fields in equation.streams.items():
            reach = equation.reach if around and name in equation.around else 0
            readers[name] = self._crosses(points, name, n_fields, reach)
        span = range(-equation.reach, equation.reach + 1)
        for name, axis in equation.profiles.items():
            if axis == "x":
                numbers = [points.at(name, east=k) for k in span]
            else:
                numbers = [points.at(name, north=k, east=None) for k in span]
            readers[name] = self._those(numbers)
        return lambda values: {name: reader(values) for name, reader in readers.items()}

    def _rows(self, stream: str, n_fields: int | None = None, north: int = 0) -> list[Row]:
        return [Row(stream, f, north) for f in range(n_fields or self.n_fields)]

    # forwards

    def forward(self, stage: int, ahead: Ahead = (), end: bool = True) -> Kind:
        """The kind of a stage.

        Args:
            stage: its number.
            ahead: streams, and how many rows to the north, to fetch into the cache.
            end: whether the state after the step is wanted, or those of the stages alone.
        """
        equation, n_numbers = self.equation, self.equation.n_numbers
        points = Points()
        state = self._crosses(points, "state", self.n_fields, equation.reach)
        streams = self._streams(points, around=False)
        targets, bases = self._bases(points, stage, end=end)

        def formula(c: Sequence[Any], values: Sequence[Any]) -> list[Any]:
            q = state(values)
            rates = equation.rate(c[:n_numbers], q, streams(values))
            if equation.whole_step:
                return list(rates)
            results = []
            for weight_, base in zip(c[n_numbers:], bases, strict=True):
                before = [one.here for one in q] if base is None else base(values)
                results += [fma(weight_, k, u) for k, u in zip(rates, before, strict=True)]
            return results

        outputs = [row for name in self._names(stage, targets) for row in self._rows(name)]
        soon = [row for name, north in ahead for row in self._rows(name, north=north)]
        n = n_numbers + (0 if equation.whole_step else len(targets))
        fixes = self.fixes(Fix("next", "keep", "held"))
        return Kind(formula, tuple(points.found), tuple(outputs), tuple(soon), n, fixes)

    def fixes(self, *fixes: Fix) -> tuple[Fix, ...]:
        """These fixes, where there is a boundary."""
        return fixes if self.bounded else ()

    def forward_numbers(self, stage: int, time: float, dt: float, end: bool = True) -> list[float]:
        """The numbers of a stage of a step that starts at this time."""
        tableau = self.tableau
        own = list(self.equation.numbers(time + tableau.c[stage] * dt, dt))
        if self.equation.whole_step:
            return own
        return own + [dt * weight(tableau, j, stage) for j in targets_of(tableau, stage, end)]

    @staticmethod
    def _names(stage: int, targets: Sequence[int]) -> list[str]:
        return ["next" if j == stage + 1 else f"sum{j}" for j in targets]

    def _bases(
        self, points: Points, stage: int, of: str = "", end: bool = True
    ) -> tuple[list[int], list[Any]]:
        """Targets of a stage, and what the stage adds its rate to; None is the stage's state."""
        targets = targets_of(self.tableau, stage, end)
        bases: list[Any] = []
        for j in targets:
            if any(weight(self.tableau, j, i) for i in range(stage)):
                bases.append(self._here(points, f"{of}sum{j}", self.n_fields))
            elif stage == 0:
                bases.append(None)
            else:
                bases.append(self._here(points, f"{of}start", self.n_fields))
        return targets, bases

    # backwards

    def backward(self, stage: int, ahead: Ahead = (), final: bool = True) -> Kind:
        """The kind of a stage's adjoint; the last stage's `rates` are `end` itself.

        What reaches a point on the boundary stays there: it is added up in `cotangent`, which the
        final step of a sweep writes to.
        """
        equation, n_numbers = self.equation, self.equation.n_numbers
        last = stage == self.n_stages - 1
        points = Points()
        state = self._crosses(points, "state", self.n_fields, equation.reach)
        rates = self._crosses(points, "end" if last else "rates", self.n_fields, equation.reach)
        streams = self._streams(points, around=True)
        added = {
            name: self._here(points, f"d_{name}", equation.varied[name]) for name in self.wanted
        }
        targets = self.backward_targets(stage)
        before = [self._before(points, i, stage) for i in targets]

        def formula(c: Sequence[Any], values: Sequence[Any]) -> list[Any]:
            own, factors = c[:n_numbers], iter(c[n_numbers:])
            q, p, s = state(values), rates(values), streams(values)
            here = [one.here for one in p]
            pulled = list(equation.adjoint(own, q, p, s))
            found = equation.sensitivities(own, q, here, s) if added else {}
            scale = next(factors) if last and not equation.whole_step else None
            densities: list[Any] = []
            for name, reader in added.items():
                for density, part in zip(reader(values), found[name], strict=True):
                    densities.append(density + part if scale is None else fma(scale, part, density))
            if equation.whole_step:
                return pulled + densities
            if scale is not None:
                pulled = [scale * one for one in pulled]
            results: list[Any] = []
            for i, base in zip(targets, before, strict=True):
                start = base(values, here, factors)
                results += _plus(start, next(factors) if i >= 0 else None, pulled)
            return results + densities

        outputs = [row for i in targets for row in self._rows(self.backward_name(stage, i))]
        for name in self.wanted:
            outputs += self._rows(f"d_{name}", equation.varied[name])
        soon = [row for name, north in ahead for row in self._rows(name, north=north)]
        n = n_numbers + len(self.backward_weights(stage, 1.0))
        fix = Fix("next", "zero")
        if stage == 0:
            fix = Fix("next", "add_here") if final else Fix("next", "add", "cotangent")
        fixes = self.fixes(fix)
        return Kind(formula, tuple(points.found), tuple(outputs), tuple(soon), n, fixes)

    def _before(self, points: Points, target: int, stage: int) -> Base:
        """What a stage's adjoint adds to: values, those of the last stage's rates, factors."""
        last = stage == self.n_stages - 1
        if not last and self._begun(target, stage):
            so_far = self._here(points, f"sum{target}", self.n_fields)
            return lambda values, here, factors: so_far(values)
        if target >= 0 and not self.tableau.b[target]:
            return lambda values, here, factors: None
        end = None if last else self._here(points, "end", self.n_fields)

        def from_end(values: Sequence[Any], here: list[Any], factors: Iterator[Any]) -> list[Any]:
            base = here if end is None else end(values)
            if target < 0:
                return base
            factor = next(factors)
            return [factor * one for one in base]

        return from_end

    def backward_targets(self, stage: int) -> list[int]:
        """Stages before this one whose rates' cotangents it is part of, then -1: that of u0."""
        if self.equation.whole_step:
            return [-1]
        return [
            *(i for i in range(stage) if i == stage - 1 or weight(self.tableau, stage, i)), -1
        ]  # fmt: skip

    def backward_name(self, stage: int, target: int) -> str:
        """Stream that a stage's adjoint writes a target to."""
        return "next" if target == stage - 1 else f"sum{target}"

    def _begun(self, target: int, stage: int) -> bool:
        """Whether a stage after this one has been part of the target."""
        return target < 0 or any(
            weight(self.tableau, j, target) for j in range(stage + 1, self.n_stages)
        )

    def backward_weights(self, stage: int, dt: float) -> list[float]:
        """What the adjoint of a stage multiplies with, in the order of its formula."""
        if self.equation.whole_step:
            return []
        tableau, last = self.tableau, stage == self.n_stages - 1
        factors = [dt * tableau.b[stage]] if last else []
        for i in self.backward_targets(stage):
            if i >= 0:
                if tableau.b[i] and (last or not self._begun(i, stage)):
                    factors.append(dt * tableau.b[i])
                factors.append(dt * weight(tableau, stage, i))
        return factors

    def backward_numbers(self, stage: int, time: float, dt: float) -> list[float]:
        """The numbers of the adjoint of a stage of a step that starts at this time."""
        own = self.equation.numbers(time + self.tableau.c[stage] * dt, dt)
        return [*own, *self.backward_weights(stage, dt)]

    # tangent

    def tangent(self, stage: int) -> Kind:
        """The kind of a stage's tangent, which computes the next stage's state too."""
        equation, n_numbers = with_tangent(self.equation), self.equation.n_numbers
        points = Points()
        state = self._crosses(points, "state", self.n_fields, equation.reach)
        d_state = self._crosses(points, "d_state", self.n_fields, equation.reach)
        streams = self._streams(points, around=False)
        varied = {name: self._here(points, f"d_{name}", n) for name, n in equation.varied.items()}
        targets, bases = self._bases(points, stage)
        _, d_bases = self._bases(points, stage, of="d_")

        def formula(c: Sequence[Any], values: Sequence[Any]) -> list[Any]:
            own = c[:n_numbers]
            q, dq, s = state(values), d_state(values), streams(values)
            ds = {name: reader(values) for name, reader in varied.items()}
            rates = equation.rate(own, q, s)
            d_rates = equation.tangent(own, q, dq, s, ds)
            if equation.whole_step:
                return [*rates, *d_rates]
            results: list[Any] = []
            for here, changes, all_bases in ((q, rates, bases), (dq, d_rates, d_bases)):
                for weight_, base in zip(c[n_numbers:], all_bases, strict=True):
                    before = [one.here for one in here] if base is None else base(values)
                    results += [fma(weight_, k, u) for k, u in zip(changes, before, strict=True)]
            return results

        names = self._names(stage, targets)
        outputs = [row for of in ("", "d_") for name in names for row in self._rows(of + name)]
        n = n_numbers + (0 if equation.whole_step else len(targets))
        fixes = self.fixes(Fix("next", "keep", "held"), Fix("d_next", "keep", "d_held"))
        return Kind(formula, tuple(points.found), tuple(outputs), (), n, fixes)


def _plus(base: list[Any] | None, factor: Any, values: list[Any]) -> list[Any]:
    """Base plus factor times values, field by field; None is no base, or a factor of 1."""
    if base is None:
        return [factor * one for one in values]
    if factor is None:
        return [start + one for start, one in zip(base, values, strict=True)]
    return [fma(factor, one, start) for start, one in zip(base, values, strict=True)]
