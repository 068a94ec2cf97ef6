"""Runge-Kutta steps on a tile, for any advection scheme, viscosity field and forcing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from burgers_adjoint.equations.burgers.advection import central, upwind
from burgers_adjoint.equations.burgers.forcing import Forcing
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.halo import Frame, Halo
from burgers_adjoint.stepping.tableaux import TABLEAUX

HALO = 2  # of all schemes' arrays, though one may exchange less of it
ADVECTION = {"central": central, "upwind": upwind}


@dataclass(frozen=True)
class Method:
    """How the equation is discretised.

    Attributes:
        integrator: a name of `integrators.TABLEAUX`.
        advection: a name of `ADVECTION`.
        smooth_speed: below about this speed upwinding fades, so that it has a derivative at rest
            [length/time].
    """

    integrator: str = "euler"
    advection: str = "central"
    smooth_speed: float = 0.01


class StagedStepper:
    """Steps of a Runge-Kutta method, their tangent and their adjoint.

    The states of the stages are computed from the state at the step's start wherever tangent and
    adjoint need them, unless they are at hand: `prepare` and `restore` see to that. Dirichlet
    points have no rate of change: they stay at their initial values through all stages.

    Args:
        grid: the points.
        decomposition: who owns which of them.
        method: of the discretisation.

    Attributes:
        layout: of all arrays.
        nu: viscosity, (1, rows, pitch), halo filled; see `set_viscosity`.
        forcing: what is added to the rates.
        n_stages: of a step.
        states_ready: whether the states of the stages of the next step, or adjoint step, are there.

    Raises:
        ConfigError: a tile is too small for the scheme; every rank finds the same.
    """

    def __init__(self, grid: Grid, decomposition: Decomposition, method: Method) -> None:
        self.decomposition = decomposition
        self._tableau = TABLEAUX[method.integrator]
        self._scheme = ADVECTION[method.advection]
        if decomposition.size > 1 and min(decomposition.smallest_tile) < self._scheme.REACH:
            raise ConfigError(
                f"{decomposition.size} ranks leave tiles of {decomposition.smallest_tile} points, "
                f"but {method.advection} advection reads {self._scheme.REACH} points on each side: "
                "use fewer ranks"
            )
        layout = self.layout = Layout(*decomposition.tile_shape, halo=HALO)
        frame = Frame(layout.rows, layout.columns)
        reach = self._scheme.REACH
        self._pair = Halo(decomposition, frame, depth=reach, n_fields=2, corners=False)
        self._single = Halo(decomposition, frame, depth=1, n_fields=1, corners=False)
        self.nu = layout.new_array(1)
        self.forcing = Forcing(decomposition.tile_shape)
        self.n_stages = len(self._tableau.b)
        stages = range(self.n_stages)
        self._states = [layout.new_array(2) for _ in stages]
        self._rates = [layout.new_array(2) for _ in stages]
        self._force, self._d_force = layout.new_array(2), layout.new_array(2)
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
        self.forget()
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

    def set_viscosity(self, viscosity: float, field: np.ndarray | None) -> None:
        """Set nu to a number plus, when given, a field (ny, nx) of the tile. Collective."""
        inner = self.layout.interior(self.nu)
        inner[...] = viscosity if field is None else viscosity + field
        self._single.exchange(self.nu)
        self.forget()

    def forget(self) -> None:
        """Compute the states of all stages anew, whatever is at hand."""
        self.states_ready = self._rates_ready = False

    def prepare(self, state: np.ndarray, time: float, dt: float) -> None:
        """Have the states of the stages at hand, which the step from here does not compute anew."""
        last = self.n_stages - 1
        for stage in range(last):
            self._evaluate(stage, state, time, dt)
        self._stage_state(last, state, dt)
        self.states_ready = self._rates_ready = True

    def stage_fields(self) -> list[np.ndarray]:
        """The tile's points of the states of all stages but the first: views (2, ny, nx)."""
        return [self.layout.interior(state) for state in self._states[1:]]

    def restore(self) -> None:
        """Take what was written to `stage_fields` for the states of the next adjoint step."""
        self.forget()
        self.states_ready = True

    def advance(self, source: np.ndarray, state: np.ndarray, time: float, dt: float) -> None:
        """Take one step from `time`, from the source's points, which stay, to the state's."""
        first = self.n_stages - 1 if self._rates_ready else 0
        self.forget()
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
        if self.states_ready:
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

    def adjoint(
        self,
        cotangent: np.ndarray,
        density: np.ndarray,
        forces: "Forcing | None",
        state: np.ndarray,
        time: float,
        dt: float,
    ) -> None:
        """Apply the transposed Jacobian of one step to the cotangent, in place.

        For a step u1 = u0 + dt sum b_i K_i it goes through the stages backwards: K_i's cotangent
        is dt (b_i p + sum_j>i a_ji q_j), where q_j, of stage j's state, is the transposed Jacobian
        of the rates times K_j's (Hager 2000, without the change of variables).

        Args:
            cotangent: (2, rows, pitch).
            density: (1, rows, pitch): each point's part of dJ/d(nu) is added.
            forces: dJ/d(forcing), added to; None when nobody asks.
            state: at the start of the step, (2, rows, pitch).
            time, dt: of the step.
        """
        tableau, interior = self._tableau, self.layout.interior
        states = list(self._stages(state, time, dt))
        self.forget()
        of_rates = self._force
        of_states = self._rates  # whose values are not needed any more
        for stage in reversed(range(len(states))):
            interior(of_rates)[...] = 0.0
            later = [dt * row[stage] for row in tableau.a[stage + 1 :]]
            self._add(of_rates, of_rates, [dt * tableau.b[stage]], [cotangent])
            self._add(of_rates, of_rates, later, of_states[stage + 1 :])
            self._hold(of_rates)
            if forces is not None:
                forces.add_transposed(time + tableau.c[stage] * dt, interior(of_rates))
            self._pair.exchange(of_rates)
            self._scheme.adjoint(
                states[stage], of_rates, self.nu, density, of_states[stage], self._numbers,
                self._w_rows, self._w_columns, self._box,
            )  # fmt: skip
        self._add(cotangent, cotangent, [1.0] * len(states), of_states[::-1])

    def tangent(
        self,
        perturbation: np.ndarray,
        d_nu: np.ndarray,
        d_forcing: Forcing,
        state: np.ndarray,
        time: float,
        dt: float,
    ) -> np.ndarray:
        """Perturbation after one step, for one of the state, of nu and of the forcing."""
        tableau = self._tableau
        self.forget()
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
