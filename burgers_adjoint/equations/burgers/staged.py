"""Runge-Kutta steps on a tile, for any advection scheme, viscosity field and forcing."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from burgers_adjoint.equations.burgers.forcing import Forcing
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.stepping.stepper import Cotangent, Directions, Value
from burgers_adjoint.stepping.tableaux import Tableau
from burgers_adjoint.stepping.time_steps import TimeSteps

HALO = 2  # of all schemes' arrays, though one may exchange less of it


@dataclass(frozen=True)
class Method:
    """How the equation is discretised.

    Attributes:
        tableau: of the integrator.
        scheme: the advection scheme's REACH and sweeps.
        name: of the scheme, for messages.
        smooth_speed: below about this speed upwinding fades, so that it has a derivative at rest
            [length/time].
    """

    tableau: Tableau
    scheme: Any
    name: str
    smooth_speed: float = 0.01


class StagedStepper:
    """Steps of a Runge-Kutta method, with tangent and adjoint: a `stepping.stepper.Stepper`.

    The states of the stages are computed from the state at the step's start wherever tangent and
    adjoint need them, unless they are at hand: `keep` and `restore_stages` see to that. Dirichlet
    points have no rate of change: they stay at their initial values through all stages.

    Args:
        grid: the points.
        decomposition: who owns which of them.
        method: of the discretisation.
        time_steps: of the run.
        controls: names of what cotangents have densities of.
        knots: times of the forcing in time.

    Attributes:
        layout: of all arrays.
        nu: viscosity, (1, rows, pitch), halo filled.
        forcing: what is added to the rates.
        n_stages: of a step.

    Raises:
        ConfigError: a tile is too small for the scheme; every rank finds the same.
    """

    n_fields = 2
    steps_per_sweep = 1

    def __init__(
        self,
        grid: Grid,
        decomposition: Decomposition,
        method: Method,
        time_steps: TimeSteps,
        controls: Collection[str] = (),
        knots: Sequence[float] = (),
    ) -> None:
        self.decomposition = decomposition
        self.time_steps = time_steps
        self._controls = frozenset(controls)
        self._tableau = method.tableau
        self._scheme = method.scheme
        if decomposition.size > 1 and min(decomposition.smallest_tile) < self._scheme.REACH:
            raise ConfigError(
                f"{decomposition.size} ranks leave tiles of {decomposition.smallest_tile} points, "
                f"but {method.name} advection reads {self._scheme.REACH} points on each side: "
                "use fewer ranks"
            )
        layout = self.layout = Layout(*decomposition.tile_shape, halo=HALO)
        frame = Frame(layout.rows, layout.columns)
        reach = self._scheme.REACH
        self._pair = Halo(decomposition, frame, depth=reach, n_fields=2, corners=False)
        self._single = Halo(decomposition, frame, depth=1, n_fields=1, corners=False)
        self.nu = layout.new_array(1)
        self._viscosity: tuple[float, np.ndarray | None] = (0.0, None)
        self.forcing = Forcing(decomposition.tile_shape, knots)
        self.n_stages = len(self._tableau.b)
        stages = range(self.n_stages)
        self._states = [layout.new_array(2) for _ in stages]
        self._rates = [layout.new_array(2) for _ in stages]
        self._force, self._d_force = layout.new_array(2), layout.new_array(2)
        self._unasked = layout.new_array(1)  # a density that nobody reads
        self._numbers = (
            1 / grid.dx, 1 / grid.dy, 1 / grid.dx**2, 1 / grid.dy**2, method.smooth_speed**2,
        )  # fmt: skip
        rows, columns = layout.rows, layout.columns
        n_rows, pitch = self.nu.shape[1:]
        self._w_rows = self._five_points(rows, decomposition.rows, grid.ny, n_rows)
        self._w_columns = layout.new_array(1)[:, 0]
        self._w_columns[0] = self._five_points(columns, decomposition.columns, grid.nx, pitch)
        box = (rows.start, rows.stop, columns.start, columns.stop)
        self._box = np.array(box, dtype=np.int64)
        self.forget_stages()
        self._moving = self._find_moving()

    def _five_points(self, own: slice, span: slice, n_points: int, size: int) -> np.ndarray:
        """1 where all five points along an axis are in the domain; see `rates.Scheme`."""
        number = np.arange(size) - own.start + span.start
        inside = (number >= 2) & (number < n_points - 2)
        return np.where(inside | self.decomposition.periodic, 1.0, 0.0)

    def _find_moving(self) -> np.ndarray:
        """Row start, row stop, column start and column stop of the tile's points that move."""
        limits = self._box.copy()
        if not self.decomposition.periodic:
            spans = (self.decomposition.rows, self.decomposition.columns)
            for axis, span in enumerate(spans):
                limits[2 * axis] += span.start == 0
                limits[2 * axis + 1] -= span.stop == self.decomposition.shape[axis]
        return limits

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        return self._pair.seconds + self._single.seconds

    def close(self) -> None:
        """Release the messages' requests."""
        self._pair.close()
        self._single.close()

    def set_control(self, name: str, value: Value | None) -> None:
        number, field = self._viscosity
        if name == "viscosity" and isinstance(value, float | int):
            self._set_viscosity(float(value), field)
        elif name == "viscosity_field" and not isinstance(value, float | int):
            self._set_viscosity(number, value)
        elif name == "forcing" and not isinstance(value, float | int):
            self.forcing.steady = value
        elif name == "forcing_in_time" and not isinstance(value, float | int):
            self.forcing.at_knots = value
        else:
            raise ConfigError(f"steps do not depend on {name}, or not on a value of its kind")
        self.forget_stages()

    def _set_viscosity(self, number: float, field: np.ndarray | None) -> None:
        """Set nu to a number plus, when given, a field (ny, nx) of the tile. Collective."""
        self._viscosity = number, field
        inner = self.layout.interior(self.nu)
        inner[...] = number if field is None else number + field
        self._single.exchange(self.nu)

    def new_cotangent(self) -> Cotangent:
        new = self.layout.new_array
        cotangent = Cotangent(new(2))
        if not self._controls.isdisjoint(("viscosity", "viscosity_field")):
            cotangent.densities["viscosity"] = new(1)
        if "forcing" in self._controls:
            cotangent.densities["forcing"] = new(2)
        if "forcing_in_time" in self._controls:
            knots = len(self.forcing.knots)
            cotangent.densities["forcing_in_time"] = new(2 * knots).reshape(
                knots, 2, *self.nu.shape[1:]
            )
        return cotangent

    @property
    def kept(self) -> bool:
        """Whether the states of the stages of the next step, or adjoint step, are at hand."""
        return self._states_ready

    def forget_stages(self) -> None:
        self._states_ready = self._rates_ready = False

    def keep(self, state: np.ndarray, n: int) -> None:
        time, dt = self.time_steps.time(n), self.time_steps.length(n)
        last = self.n_stages - 1
        with np.errstate(over="ignore", invalid="ignore"):
            for stage in range(last):
                self._evaluate(stage, state, time, dt)
            self._stage_state(last, state, dt)
        self._states_ready = self._rates_ready = True

    def stage_fields(self) -> list[np.ndarray]:
        return [self.layout.interior(state) for state in self._states[1:]]

    def restore_stages(self) -> None:
        self.forget_stages()
        self._states_ready = True

    def advance(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        # what blows up is found by the model's checks, on all ranks
        with np.errstate(over="ignore", invalid="ignore"):
            for n in range(n0, n1):
                self._advance(source, state, self.time_steps.time(n), self.time_steps.length(n))
                source = state

    def advance_along(self, states: Sequence[np.ndarray], n0: int) -> None:
        for n, (source, state) in enumerate(pairwise(states), start=n0):
            self.advance(source, state, n, n + 1)

    def _advance(self, source: np.ndarray, state: np.ndarray, time: float, dt: float) -> None:
        """Take one step from `time`, from the source's points, which stay, to the state's."""
        first = self.n_stages - 1 if self._rates_ready else 0
        self.forget_stages()
        for stage in range(first, self.n_stages):
            self._evaluate(stage, source, time, dt)
        self._add(state, source, [dt * b for b in self._tableau.b], self._rates)

    def _evaluate(self, stage: int, state: np.ndarray, time: float, dt: float) -> np.ndarray:
        """Compute a stage's rates, those before it being there; returns the stage's state."""
        here = self._stage_state(stage, state, dt)
        self._pair.exchange(here)
        self.forcing.at(time + self._tableau.c[stage] * dt, self.layout.interior(self._force))
        rates = self._rates[stage]
        self._scheme.rate(
            here, self.nu, self._force, rates, self._numbers,
            self._w_rows, self._w_columns, self._moving,
        )  # fmt: skip
        self._hold(rates)
        return here

    def _stage_state(self, stage: int, state: np.ndarray, dt: float) -> np.ndarray:
        if stage == 0:
            return state
        here = self._states[stage]
        self._add(here, state, [dt * a for a in self._tableau.a[stage]], self._rates)
        return here

    def _add(
        self, out: np.ndarray, base: np.ndarray, factors: list[float], arrays: list[np.ndarray]
    ) -> None:
        """Set the tile's points of `out` to base plus factors times arrays, in their order."""
        interior = self.layout.interior
        total = interior(out)
        if out is not base:
            total[...] = interior(base)
        for factor, array in zip(factors, arrays, strict=False):
            if factor:
                total += factor * interior(array)

    def _hold(self, array: np.ndarray) -> None:
        """Put zeros at the tile's points that do not move."""
        row0, row1, column0, column1 = self._moving
        box = self._box
        array[:, box[0] : row0, box[2] : box[3]] = 0.0
        array[:, row1 : box[1], box[2] : box[3]] = 0.0
        array[:, box[0] : box[1], box[2] : column0] = 0.0
        array[:, box[0] : box[1], column1 : box[3]] = 0.0

    def _stages(self, state: np.ndarray, time: float, dt: float) -> Iterator[np.ndarray]:
        """The stages' states, halo filled; rates are computed where a later stage needs them."""
        if self._states_ready:
            for here in (state, *self._states[1:]):
                self._pair.exchange(here)
                yield here
            return
        last = self.n_stages - 1
        for stage in range(last):
            yield self._evaluate(stage, state, time, dt)
        here = self._stage_state(last, state, dt)
        self._pair.exchange(here)
        yield here

    def adjoint(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        for step, state in zip(range(n, -1, -1), states, strict=False):
            time, dt = self.time_steps.time(step), self.time_steps.length(step)
            self._adjoint(cotangent, state, time, dt)

    def _adjoint(self, of_state: Cotangent, state: np.ndarray, time: float, dt: float) -> None:
        """Apply the transposed Jacobian of one step to the cotangent, in place.

        For a step u1 = u0 + dt sum b_i K_i it goes through the stages backwards: K_i's cotangent
        is dt (b_i p + sum_j>i a_ji q_j), where q_j, of stage j's state, is the transposed Jacobian
        of the rates times K_j's (Hager 2000, without the change of variables).

        Args:
            of_state: the cotangent, with its densities.
            state: at the start of the step, (2, rows, pitch).
            time, dt: of the step.
        """
        cotangent, densities = of_state.field, of_state.densities
        density = densities.get("viscosity", self._unasked)
        tableau, interior = self._tableau, self.layout.interior
        of_forcing = [
            interior(densities[name]) if name in densities else None
            for name in ("forcing", "forcing_in_time")
        ]
        states = list(self._stages(state, time, dt))
        self.forget_stages()
        of_rates = self._force
        of_states = self._rates  # whose values are not needed any more
        for stage in reversed(range(len(states))):
            interior(of_rates)[...] = 0.0
            later = [dt * row[stage] for row in tableau.a[stage + 1 :]]
            self._add(of_rates, of_rates, [dt * tableau.b[stage]], [cotangent])
            self._add(of_rates, of_rates, later, of_states[stage + 1 :])
            self._hold(of_rates)
            self.forcing.add_transposed(
                time + tableau.c[stage] * dt, interior(of_rates), *of_forcing
            )
            self._pair.exchange(of_rates)
            self._scheme.adjoint(
                states[stage], of_rates, self.nu, density, of_states[stage], self._numbers,
                self._w_rows, self._w_columns, self._box,
            )  # fmt: skip
        self._add(cotangent, cotangent, [1.0] * len(states), of_states[::-1])

    def tangent(
        self, perturbation: np.ndarray, state: np.ndarray, directions: Directions, n: int
    ) -> np.ndarray:
        time, dt = self.time_steps.time(n), self.time_steps.length(n)
        d_nu = self.layout.new_array(1)
        self.layout.interior(d_nu)[...] = directions.get("viscosity", 0.0)
        self.layout.interior(d_nu)[...] += directions.get("viscosity_field", 0.0)
        d_forcing = Forcing(self.decomposition.tile_shape, self.forcing.knots)
        if "forcing" in directions:
            d_forcing.steady = np.asarray(directions["forcing"])
        if "forcing_in_time" in directions:
            d_forcing.at_knots = np.asarray(directions["forcing_in_time"])
        tableau = self._tableau
        self.forget_stages()
        states = [here.copy() for here in self._stages(state, time, dt)]
        d_rates = [np.zeros_like(state) for _ in states]
        for stage, here in enumerate(states):
            d_here = perturbation.copy()
            self._add(d_here, perturbation, [dt * a for a in tableau.a[stage]], d_rates)
            self._pair.exchange(d_here)
            time_here = time + tableau.c[stage] * dt
            d_forcing.at(time_here, self.layout.interior(self._d_force))
            self._scheme.tangent(
                here, d_here, self.nu, d_nu, self._d_force, d_rates[stage], self._numbers,
                self._w_rows, self._w_columns, self._moving,
            )  # fmt: skip
            self._hold(d_rates[stage])
        out = perturbation.copy()
        self._add(out, perturbation, [dt * b for b in tableau.b], d_rates)
        return out
