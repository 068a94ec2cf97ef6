"""The Burgers model: a domain-decomposed time stepper, its tangent and its adjoint."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from burgers_adjoint.equations.burgers.forcing import Forcing
from burgers_adjoint.equations.burgers.objectives.energy import FinalEnergy
from burgers_adjoint.equations.burgers.objectives.objective import Objective
from burgers_adjoint.equations.burgers.objectives.term import counted
from burgers_adjoint.equations.burgers.stencil import Coefficients, coefficients
from burgers_adjoint.equations.burgers.stepper import Stepper
from burgers_adjoint.errors import ConfigError, NumericalError, agreed_error
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import exact_sum, largest
from burgers_adjoint.protocols import AdjointModel
from burgers_adjoint.stepping.time_steps import TimeSteps

STEPS_BETWEEN_CHECKS = 256
SHORTEST_STEP = 1e-3  # over the first one
STEPS_BETWEEN_LOOKS = 10  # for a steady state


Directions = Mapping[str, np.ndarray | float]


@dataclass
class Cotangent:
    """dJ/d(state) at some step and what of dJ/d(viscosity) the steps after it have contributed.

    Attributes:
        field: (2, rows, pitch) as `Layout` says.
        viscosity_density: (rows, pitch), each point's part of dJ/d(viscosity), added up step by
            step at the point itself: an order that no decomposition changes. Empty when the
            viscosity is no control.
        forces: dJ/d(forcing), added up likewise; None when it is no control.
        bins: what the objective has seen of this rank's states, as `Objective.new_bins` says.
    """

    field: np.ndarray
    viscosity_density: np.ndarray
    bins: np.ndarray
    forces: Forcing | None = None


class BurgersModel(AdjointModel[np.ndarray, Cotangent, np.ndarray]):
    """Forward Euler steps of the viscous Burgers equation on this rank's tile.

    It exchanges states and finds its end on the way. States are arrays (2, rows, pitch) as `Layout`
    says, snapshots arrays (2, ny, nx) of the tile's own points.

    Args:
        grid: the points.
        decomposition: who owns which of them.
        viscosity: nu [length^2/time].
        dt: length of all time steps [time], or what chooses the lengths and the end.
        controls: what the gradient is taken to, of "initial" and "viscosity".
        steps_per_exchange: layers of halo, and steps taken per exchange of them; chosen from the
            tile when not given.
        overlap: advance the interior while the halo is under way.

    Attributes:
        time_steps: lengths of the steps, and the end.
        functional: the objective; the final energy unless another one is set.
        objective: J of the last run that was evaluated or reversed; nan before.
        final: that final state, (2, ny, nx) of the tile.
        boundary: (ny, nx), which of the tile's points keep their values.
    """

    exchanges = True
    explores = True

    def __init__(
        self,
        grid: Grid,
        decomposition: Decomposition,
        viscosity: float,
        dt: float | TimeSteps,
        controls: Sequence[str],
        steps_per_exchange: int | None = None,
        overlap: bool = False,
    ) -> None:
        self.grid = grid
        self.decomposition = decomposition
        self.time_steps = dt if isinstance(dt, TimeSteps) else TimeSteps(dt)
        self.dt = self.time_steps.dt
        self.controls = tuple(controls)
        self.objective = math.nan
        ny, nx = decomposition.tile_shape
        self.final = np.zeros((2, ny, nx))
        self._make_stepper(steps_per_exchange, overlap)
        self.viscosity = viscosity
        self.boundary = boundary_points(decomposition)
        self.functional = Objective({FinalEnergy(decomposition, self.layout): 1.0}, decomposition)
        self._last_finite = np.zeros_like(self.final)
        self._finite_until = 0
        self._reached = 0

    def _make_stepper(self, steps_per_exchange: int | None, overlap: bool) -> None:
        self.stepper = Stepper(self.decomposition, steps_per_exchange, overlap)
        self.layout = self.stepper.layout

    def like(self, grid: Grid, decomposition: Decomposition) -> "BurgersModel":
        """A model of the same kind, with the same controls, on another grid."""
        return BurgersModel(grid, decomposition, 0.0, 0.0, self.controls)

    @property
    def steps_per_sweep(self) -> int:
        """Steps that are taken in one sweep over memory."""
        return self.stepper.steps_per_sweep

    @property
    def viscosity(self) -> float:
        """Nu [length^2/time]; may be set anew between runs."""
        return self._viscosity

    @viscosity.setter
    def viscosity(self, viscosity: float) -> None:
        self._viscosity = viscosity
        self._coefficients = coefficients(viscosity, self.dt, self.grid.dx, self.grid.dy)
        self._coefficients_length = self.dt

    def _coefficients_at(self, n: int) -> Coefficients:
        """Weights of step n."""
        length = self.time_steps.length(n)
        if length != self._coefficients_length:
            self._coefficients = coefficients(self._viscosity, length, self.grid.dx, self.grid.dy)
            self._coefficients_length = length
        return self._coefficients

    @property
    def n_steps(self) -> int | None:
        """Steps of the run; None as long as nobody knows."""
        return self.time_steps.n_steps

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        return self.stepper.halo_seconds

    @property
    def comm(self) -> MPI.Comm:
        """The ranks that share the grid."""
        return self.decomposition.comm

    def close(self) -> None:
        """Release the messages' requests."""
        self.stepper.close()
        self.functional.close()

    def initial_state(self, fields: np.ndarray, replay: bool = False) -> np.ndarray:
        """Working state that starts a new run at step 0 from fields (2, ny, nx) of the tile.

        A replay takes the very steps of the run before, other runs choose their own.
        """
        state = self.new_state()
        if not replay:
            self.time_steps.forget()
        self.restart(state, fields)
        return state

    def restart(self, state: np.ndarray, fields: np.ndarray) -> None:
        """Put a working state back to step 0 of a run, with the fields (2, ny, nx)."""
        self.restore(fields, state)
        self._last_finite[...] = fields
        self._finite_until = self._reached = 0

    def explore(self, state: np.ndarray, n0: int, n1: int) -> int:
        """Take the steps from n0 on, up to n1, for the first time, and look out for the end.

        A steady state is looked for after every tenth step: the largest change of a point in that
        step, over its length, has to be below `time_steps.steady`.

        Returns:
            The step reached: n1, or an earlier one as soon as `n_steps` is known.

        Raises:
            ConfigError: on all ranks: nothing will ever end the run.
            NumericalError: on all ranks, when a state is no longer finite.
        """
        steps = self.time_steps
        if steps.endless:
            raise agreed_error(
                ConfigError(
                    "nothing ends this run: its time steps have neither a number (steps) nor a "
                    "time (until) nor a steady state (steady) to stop at"
                )
            )
        self._look_ahead(state, n0)
        while n0 < n1 and steps.n_steps is None:
            look = n0 - n0 % STEPS_BETWEEN_LOOKS + STEPS_BETWEEN_LOOKS
            stop = n0 + 1 if steps.adaptive else min(n1, max(n0 + 1, look - 1))
            if steps.most is not None:
                stop = min(stop, steps.most - 1)
            if steps.steady is not None and stop == look:
                before = np.zeros_like(self.final)
                self.snapshot(state, before)
                self.advance(state, n0, stop)
                change = largest(self.comm, np.abs(self.layout.interior(state) - before))
                if change < steps.steady * steps.length(n0):
                    steps.n_steps = stop
            else:
                self.advance(state, n0, stop)
            n0 = stop
            self._look_ahead(state, n0)
        return n0

    def _look_ahead(self, state: np.ndarray, n: int) -> None:
        """See whether step n will be the last."""
        steps = self.time_steps
        if steps.n_steps is None:
            if n + 1 == steps.most:
                steps.n_steps = steps.most
            elif steps.chosen <= n:
                self._choose_step(state, n)

    def _choose_step(self, state: np.ndarray, n: int) -> None:
        """Choose the length of step n by the state at its start. Collective.

        The limits are those of the flow crossing a cell, dt (|u|/dx + |v|/dy) <= 1, and of forward
        Euler with central differences, dt (u^2 + v^2) <= 2 nu. Maxima are exact: all ranks, and
        any number of them, choose the same length.
        """
        u, v = self.layout.interior(state)
        crossing = np.abs(u) / self.grid.dx + np.abs(v) / self.grid.dy
        rates = np.array([crossing.max(), (u * u + v * v).max()])
        if not np.isfinite(rates).all():
            rates[:] = math.inf
        self.comm.Allreduce(MPI.IN_PLACE, rates, op=MPI.MAX)
        if math.isinf(rates[0]):
            self._reached = n
            self._check_finite(state)
            raise agreed_error(NumericalError(f"the speeds before step {n} overflow"))
        rate = float(rates[0])
        if self._viscosity > 0:
            rate = max(rate, float(rates[1]) / (2 * self._viscosity))
        steps = self.time_steps
        steps.choose(1 / rate if rate > 0 else math.inf)
        # The end has a short last step; else it is the speed that has grown, and no flow of this
        # equation gets faster than its fastest point was.
        if steps.n_steps is None and steps.length(n) < SHORTEST_STEP * steps.length(0):
            raise agreed_error(
                NumericalError(
                    f"step {n} (t = {steps.time(n):.6g}) would have the length "
                    f"{steps.length(n):.3g} to follow the flow, the first one had "
                    f"{steps.length(0):.3g}: the state grows without bound; more grid points "
                    "or more viscosity may help"
                )
            )

    def resume(self, state: np.ndarray, fields: np.ndarray, step: int) -> None:
        """Go on with a run whose state at the start of `step` was (2, ny, nx) of the tile."""
        self.restart(state, fields)
        self._finite_until = self._reached = step

    def tile_fields(self, cotangent: Cotangent) -> dict[str, np.ndarray]:
        """All that a cotangent has of each point of the tile: views (k, ny, nx), by name."""
        fields = {"field": self.layout.interior(cotangent.field)}
        if cotangent.viscosity_density.size:
            density = cotangent.viscosity_density[None]
            fields["viscosity_density"] = self.layout.interior(density)
        return fields

    def advance(self, state: np.ndarray, n0: int, n1: int) -> None:
        """Take steps n0 .. n1-1 in place.

        Steps taken for the first time are checked now and then.

        Raises:
            NumericalError: on all ranks, when a state is no longer finite.
        """
        self.advance_from(state, state, n0, n1)

    def advance_from(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        """Take steps n0 .. n1-1, at least one, from the source, which stays, to the state."""
        while n0 < n1:
            stop = self._stop_before(n1, source, n0)
            self._advance_unchecked(source, state, n0, stop)
            self._arrive(state, stop)
            source = state
            n0 = stop

    def advance_along(self, states: Sequence[np.ndarray], n0: int) -> None:
        """Take a step from each state to the next one, the first of them step n0."""
        n, n1 = n0, n0 + len(states) - 1
        while n < n1:
            stop = self._stop_before(n1, states[n - n0], n)
            self._advance_along_unchecked(states[n - n0 : stop - n0 + 1], n)
            self._arrive(states[stop - n0], stop)
            n = stop

    def _stop_before(self, n1: int, source: np.ndarray, n0: int) -> int:
        """How far to go from the source at n0, on the way to n1, with lengths that are known."""
        if self.time_steps.chosen < n1:
            if self.time_steps.chosen <= n0:
                self._choose_step(source, n0)
            n1 = n0 + 1
        if n1 > self._finite_until:
            return min(n1, self._finite_until + STEPS_BETWEEN_CHECKS)
        return n1

    def _arrive(self, state: np.ndarray, n: int) -> None:
        self._reached = n
        if n == self._finite_until + STEPS_BETWEEN_CHECKS:
            self._check_finite(state)

    def _advance_unchecked(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        while n0 < n1:
            stop = self.time_steps.alike(n0, n1)
            self.stepper.advance(source, state, self._coefficients_at(n0), stop - n0)
            source = state
            n0 = stop

    def _advance_along_unchecked(self, states: Sequence[np.ndarray], n0: int) -> None:
        while len(states) > 1:
            n_now = self.time_steps.alike(n0, n0 + len(states) - 1) - n0
            self.stepper.advance_along(states[: n_now + 1], self._coefficients_at(n0))
            states, n0 = states[n_now:], n0 + n_now

    def _check_finite(self, state: np.ndarray) -> None:
        """See that the state that was just reached is finite on all ranks, and remember it.

        Raises:
            NumericalError: on all ranks, naming the first step whose result is not finite, the
                point and the rank that owns it; found by repeating the steps since the last check.
        """
        if self._find_not_finite(state) is None:
            self.snapshot(state, self._last_finite)
            self._finite_until = self._reached
            return
        step = self._finite_until
        self.restore(self._last_finite, state)
        while (place := self._find_not_finite(state)) is None:
            self._advance_unchecked(state, state, step, step + 1)
            step += 1
        field, row, column = place
        time = self.time_steps.time(step)
        raise agreed_error(
            NumericalError(
                f"the state is no longer finite after step {step} (t = {time:.6g}): "
                f"{'uv'[field]} at point [{row}, {column}], x = {self.grid.x[column]:.6g}, "
                f"y = {self.grid.y[row]:.6g}, on rank {self.decomposition.owner(row, column)} "
                f"of {self.decomposition.size}; a smaller time.dt may help"
            )
        )

    def _find_not_finite(self, state: np.ndarray) -> tuple[int, int, int] | None:
        """First (field, row, column) in global order that is not finite on any rank."""
        ny, nx = self.grid.shape
        bad = ~np.isfinite(self.layout.interior(state))
        first = 2 * ny * nx
        if bad.any():
            fields, rows, columns = np.nonzero(bad)
            rows = rows + self.decomposition.rows.start
            columns = columns + self.decomposition.columns.start
            first = int(np.min((fields * ny + rows) * nx + columns))
        first = self.comm.allreduce(first, op=MPI.MIN)
        if first == 2 * ny * nx:
            return None
        return first // (ny * nx), first // nx % ny, first % nx

    def evaluate(self, state: np.ndarray, bins: np.ndarray | None = None) -> float:
        """J of a run that ends with this state; kept as `objective`, its own points as `final`.

        Args:
            state: after the last step, or before the first one.
            bins: what the objective has seen of the states before it; see `observe`.

        Raises:
            NumericalError: on all ranks, when the state or J is not finite.
        """
        bins = self.functional.new_bins() if bins is None else bins
        self.snapshot(state, self.final)
        self.functional.add_value(state, self._reached, True, bins)
        self._check_finite(state)
        self._conclude(bins)
        return self.objective

    def observe(self, state: np.ndarray, n: int, bins: np.ndarray) -> None:
        """Show the objective the state after n steps, which is not the last one."""
        self.functional.add_value(state, n, False, bins)

    def _conclude(self, bins: np.ndarray) -> None:
        self.objective = self.functional.value(bins)
        if not math.isfinite(self.objective):
            raise agreed_error(
                NumericalError(f"the objective is {self.objective}: its sum overflows")
            )

    def seed(self, state: np.ndarray) -> Cotangent:
        """Return the cotangent at the final state, whose own points are kept as `final`.

        Raises:
            NumericalError: on all ranks, when the state, or what J sees of it, is not finite.
        """
        cotangent = self.new_cotangent()
        self.evaluate(state, cotangent.bins)
        self.functional.add_derivative(state, self._reached, True, cotangent.field)
        return cotangent

    def new_cotangent(self, viscosity: bool | None = None) -> Cotangent:
        """A cotangent of zeros, with dJ/d(viscosity) when that is a control, or when asked for."""
        with_density = "viscosity" in self.controls if viscosity is None else viscosity
        density = self.layout.new_array(1)[0] if with_density else np.zeros((0, 0))
        return Cotangent(self.layout.new_array(2), density, self.functional.new_bins())

    def adjoint_step(self, cotangent: Cotangent, state: np.ndarray, n: int) -> None:
        """Take the cotangent from n+1 to n, in place, linearised at the state at n.

        What the objective sees of the state at n enters the cotangent, and J, here.
        """
        self.adjoint_steps(cotangent, [state], n)

    def adjoint_steps(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        """Take the cotangent from n+1 to n+1-len(states), in place, as single steps would.

        They are linearised at the states at n, n-1, ...
        """
        looks_at, alike = self.functional.looks_at, self.time_steps.alike
        start = 0
        while start < len(states):
            # at once: steps of one length, with no state between them that the objective looks at
            stop, step = start + 1, n - start
            while stop < len(states) and not looks_at(step, False):
                if alike(step - 1, step + 1) == step:
                    break
                stop, step = stop + 1, step - 1
            self.transposed_steps(cotangent, states[start:stop], n - start)
            if looks_at(step, False):
                state = states[stop - 1]
                self.functional.add_value(state, step, False, cotangent.bins)
                self.functional.add_derivative(state, step, False, cotangent.field)
            start = stop

    def transposed_step(self, cotangent: Cotangent, state: np.ndarray, n: int) -> None:
        """Apply the transposed Jacobian of step n, in place, linearised at the state at n."""
        self.transposed_steps(cotangent, [state], n)

    def transposed_steps(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        """Apply the transposed Jacobians of step n and those before it, all of one length.

        They are linearised at the states at n, n-1, ..
        """
        self.stepper.adjoint(
            cotangent.field, states, cotangent.viscosity_density, self._coefficients_at(n)
        )

    def tangent_step(
        self, perturbation: np.ndarray, state: np.ndarray, directions: Directions, n: int
    ) -> np.ndarray:
        """Perturbation at n+1 of one at n, (2, rows, pitch), linearised at the state at n.

        directions are perturbations of controls by name, laid out like their gradients; those of
        the initial fields and the boundary are in the perturbation already.
        """
        c = self._coefficients_at(n)._replace(d_nu=float(directions.get("viscosity", 0.0)))
        return self.stepper.tangent(perturbation, state, c)

    def objective_tangent(
        self, perturbation: np.ndarray, state: np.ndarray, n: int, last: bool = False
    ) -> float:
        """Derivative of what J sees of the state after n steps, in the perturbation's direction."""
        derivative = self.layout.new_array(2)
        self.functional.add_derivative(state, n, last, derivative)
        products = self.layout.interior(derivative) * self.layout.interior(perturbation)
        return exact_sum(self.comm, products)

    def gradient(self, cotangent: Cotangent) -> dict[str, np.ndarray | float]:
        """Euclidean gradient per control from the cotangent at step 0; `objective` is complete.

        Returns:
            "initial": (2, ny, nx) of the tile; "viscosity": the scalar dJ/d(nu); "boundary":
            (2, ny, nx), zero but at the points that keep their values. With both, these points
            belong to the boundary, and have zeros in "initial".

        Raises:
            NumericalError: on all ranks, when J is not finite.
        """
        self._conclude(cotangent.bins)
        parts: dict[str, np.ndarray | float] = {}
        field = self.layout.interior(cotangent.field)
        if "initial" in self.controls:
            parts["initial"] = field
            if "boundary" in self.controls:
                parts["initial"] = np.where(self.boundary, 0.0, field)
        if "boundary" in self.controls:
            parts["boundary"] = np.where(self.boundary, field, 0.0)
        if "viscosity" in self.controls:
            density = cotangent.viscosity_density[None]
            parts["viscosity"] = exact_sum(self.comm, self.layout.interior(density))
        return parts

    def new_snapshot(self) -> np.ndarray:
        """A buffer for the tile's own points, (2, ny, nx)."""
        return np.zeros((2, *self.decomposition.tile_shape))

    def new_state(self) -> np.ndarray:
        """A working state of zeros, (2, rows, pitch)."""
        return self.layout.new_array(2)

    def snapshot(self, state: np.ndarray, out: np.ndarray) -> None:
        """Copy the state's own points to a snapshot; the halo is filled anew by every step.

        A snapshot that is another state, as in a store that exchanges them, gets all points.
        """
        out[...] = state if out.shape == state.shape else self.layout.interior(state)

    def restore(self, snapshot: np.ndarray, state: np.ndarray) -> None:
        """Copy a snapshot, or another state, to the state's own points."""
        if snapshot.shape == state.shape:
            state[...] = snapshot
        else:
            self.layout.interior(state)[...] = snapshot


def boundary_points(decomposition: Decomposition) -> np.ndarray:
    """Which of the tile's points lie on the boundary of the domain, (ny, nx)."""
    inside = np.zeros(decomposition.tile_shape, dtype=bool)
    inside[counted(decomposition)[1:]] = True
    return ~inside
