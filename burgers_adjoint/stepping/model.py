"""The model that a run steps, reverses and takes snapshots of: its parts, put together."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import numpy as np

from burgers_adjoint.errors import ConfigError, NumericalError, agreed_error
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import exact_sum
from burgers_adjoint.protocols import AdjointModel
from burgers_adjoint.stepping.ending import Ending
from burgers_adjoint.stepping.guards import FiniteGuard
from burgers_adjoint.stepping.parts import Objective, Parts, Viewer
from burgers_adjoint.stepping.snapshot import Snapshot
from burgers_adjoint.stepping.stepper import Cotangent, Directions, Value


class Model(AdjointModel[np.ndarray, Cotangent, Any]):
    """A `protocols.AdjointModel` that exchanges states, keeps stages and explores.

    States are arrays (n_fields, rows, pitch) as `Layout` says; snapshots are `Snapshot`s, or other
    states.

    Args:
        parts: what the model is composed of.
        values: of what steps depend on, by name; see `set_value`.
        like: makes a model of the same kind on another grid.

    Attributes:
        value: J of the last run that was evaluated or reversed; nan before.
        values: of what steps depend on, by name; not to be changed but by `set_value`.
        viewer: sees what the reversals that follow come by; None at first.
        exchanges, explores: it steps from one state to another, and finds out when a run ends.
    """

    exchanges = True
    explores = True

    def __init__(
        self,
        parts: Parts,
        values: Mapping[str, Value | None],
        like: "Callable[[Grid, Decomposition], Model]",
    ) -> None:
        self.grid, self.decomposition = parts.grid, parts.decomposition
        self.time_steps, self.stepper = parts.time_steps, parts.stepper
        self.objective, self.controls = parts.objective, parts.controls
        self.layout = parts.stepper.layout
        self.like = like
        self.value = math.nan
        self._final = self.layout.interior(self.stepper.new_array(len(parts.names)))
        self.viewer: Viewer | None = None
        self.values: dict[str, Value | None] = {}
        for name, value in values.items():
            self.set_value(name, value)
        n_stages = len(self.stepper.stage_fields()) if parts.keep_stages else 0
        self._n_stages, self.keeps = n_stages, n_stages > 0
        self._guard = FiniteGuard(
            self.grid, self.decomposition, self.layout, self.time_steps, parts.names,
            self.stepper.new_array, self._repeat,
        )  # fmt: skip
        self._ending = Ending(
            self.time_steps, parts.limits, self.values, self.layout, self.decomposition, self._guard
        )

    def with_objective(self, objective: Objective) -> "Model":
        """A model that takes the same steps, with the values that this one has, for another J.

        They share the stepper: their runs take turns, and this one releases it.
        """
        other = copy.copy(self)
        other.objective, other.value, other.viewer = objective, math.nan, None
        other._final = self.layout.interior(self.stepper.new_array(len(self._final)))
        return other

    @property
    def final(self) -> np.ndarray:
        """The final state of the last run that was evaluated or reversed, (n_fields, ny, nx).

        It is a copy of the tile's points; zeros before any run.
        """
        return np.array(self._final)

    @final.setter
    def final(self, fields: np.ndarray) -> None:
        self._final[...] = fields

    @property
    def final_to_save(self) -> np.ndarray:
        """As `final`; a view where it is on a device, which is to be copied before the next run."""
        return self.final if isinstance(self._final, np.ndarray) else self._final

    @property
    def final_copy(self) -> np.ndarray:
        """As `final`; a copy on the device that has it, where there is room for one."""
        kept: Any = self._final
        if not isinstance(kept, np.ndarray):
            with suppress(ConfigError):
                return cast("np.ndarray", kept.copy())
        return self.final

    @property
    def steps_per_sweep(self) -> int:
        """Steps that are taken in one sweep over memory."""
        return self.stepper.steps_per_sweep

    @property
    def n_steps(self) -> int | None:
        """Steps of the run; None as long as nobody knows."""
        return self.time_steps.n_steps

    @property
    def halo_seconds(self) -> float:
        """Time spent in halo exchange so far."""
        return self.stepper.halo_seconds

    @property
    def comm(self) -> Any:
        """The ranks that share the grid."""
        return self.decomposition.comm

    def close(self) -> None:
        """Release what stepper and objective hold."""
        self.stepper.close()
        self.objective.close()

    def set_value(self, name: str, value: Value | None) -> None:
        """Set what steps depend on, between runs. Collective; arrays are not copied."""
        self.stepper.set_control(name, value)
        self.values[name] = value

    # ---- forwards

    def initial_state(self, fields: np.ndarray, replay: bool = False) -> np.ndarray:
        """Working state that starts a new run at step 0 from fields (n_fields, ny, nx) of the tile.

        A replay takes the very steps of the run before, other runs choose their own.
        """
        state = self.new_state()
        if not replay:
            self.time_steps.forget()
        self.restart(state, fields)
        return state

    def state_of(self, fields: np.ndarray) -> np.ndarray:
        """A working array with fields (n_fields, ny, nx) at the tile's own points."""
        state = self.new_state()
        self.layout.interior(state)[...] = fields
        return state

    def restart(self, state: np.ndarray, fields: np.ndarray) -> None:
        """Put a working state back to step 0 of a run, with the fields of the tile."""
        self.resume(state, fields, 0)

    def resume(self, state: np.ndarray, fields: np.ndarray, step: int) -> None:
        """Go on with a run that has these fields of the tile at the start of `step`.

        Raises:
            ConfigError: on all ranks, as all have to give fields alike: they have another shape.
        """
        if fields.shape != self._final.shape:
            raise agreed_error(
                ConfigError(
                    f"a run starts from fields of the shape {self._final.shape} on this rank, not "
                    f"of {fields.shape}"
                )
            )
        self.stepper.forget_stages()
        self.layout.interior(state)[...] = fields
        self._guard.begin(state, step)

    def explore(self, state: np.ndarray, n0: int, n1: int) -> int:
        """Take the steps from n0 on for the first time, and look out for the end; see `Ending`."""
        return self._ending.explore(state, n0, n1, self.advance)

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
            self.stepper.advance(source, state, n0, stop)
            self._guard.arrive(state, stop)
            source = state
            n0 = stop

    def advance_along(self, states: Sequence[np.ndarray], n0: int) -> None:
        """Take a step from each state to the next one, the first of them step n0."""
        n, n1 = n0, n0 + len(states) - 1
        while n < n1:
            stop = self._stop_before(n1, states[n - n0], n)
            self.stepper.advance_along(states[n - n0 : stop - n0 + 1], n)
            self._guard.arrive(states[stop - n0], stop)
            n = stop

    def _stop_before(self, n1: int, source: np.ndarray, n0: int) -> int:
        """How far to go from the source at n0, on the way to n1, with lengths that are known."""
        if self.time_steps.chosen < n1:
            self._ending.choose_step(source, n0)
            n1 = n0 + 1
        return self._guard.furthest(n1)

    def _repeat(self, state: np.ndarray, n0: int, n1: int) -> None:
        """Take steps in place that have been taken before."""
        self.stepper.advance(state, state, n0, n1)

    # ---- the objective

    def observe(self, state: np.ndarray, n: int, bins: np.ndarray) -> None:
        """Show the objective the state after n steps, which is not the last one."""
        self._ending.look_ahead(state, n)  # the state's share may depend on the step from it
        self.objective.add_value(state, n, False, bins)

    def evaluate(self, state: np.ndarray, bins: np.ndarray | None = None) -> float:
        """J of a run that ends with this state; kept as `value`, its own points as `final`.

        Args:
            state: after the last step, or before the first one.
            bins: what the objective has seen of the states before it; see `observe`.

        Raises:
            NumericalError: on all ranks, when the state or J is not finite.
        """
        bins = self.objective.new_bins() if bins is None else bins
        self._final[...] = self.layout.interior(state)
        self.objective.add_value(state, self._guard.reached, True, bins)
        self._guard.check(state)
        self._conclude(bins)
        return self.value

    def _conclude(self, bins: np.ndarray) -> None:
        self.value = self.objective.value(bins)
        if not math.isfinite(self.value):
            raise agreed_error(NumericalError(f"the objective is {self.value}: its sum overflows"))

    # ---- backwards

    def seed(self, state: np.ndarray) -> Cotangent:
        """Return the cotangent at the final state, whose own points are kept as `final`.

        Raises:
            NumericalError: on all ranks, when the state, or what J sees of it, is not finite.
        """
        cotangent, last = self.new_cotangent(), self._guard.reached
        self.evaluate(state, cotangent.bins)
        self.objective.add_derivative(state, last, True, cotangent.field)
        if self.viewer is not None and self.viewer.wants(last):
            self.viewer.see(last, state, cotangent)
        return cotangent

    def new_cotangent(self) -> Cotangent:
        """A cotangent of zeros, of an objective that has seen nothing."""
        cotangent = self.stepper.new_cotangent()
        cotangent.bins = self.objective.new_bins()
        return cotangent

    def adjoint_step(self, cotangent: Cotangent, state: np.ndarray, n: int) -> None:
        """Take the cotangent from n+1 to n, in place, linearised at the state at n.

        What the objective sees of the state at n enters the cotangent, and J, here.
        """
        self.adjoint_steps(cotangent, [state], n)

    def adjoint_steps(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        """Take the cotangent from n+1 to n+1-len(states), in place, as single steps would.

        They are linearised at the states at n, n-1, ...
        """
        looks_at, viewer, start = self.objective.looks_at, self.viewer, 0
        for stop, step in enumerate(range(n, n - len(states), -1), 1):
            # at once: steps with no state between them that anybody looks at
            looks, views = looks_at(step, False), viewer is not None and viewer.wants(step)
            if not (looks or views or stop == len(states)):
                continue
            self.stepper.adjoint(cotangent, states[start:stop], n - start)
            state, start = states[stop - 1], stop
            if looks:
                self.objective.add_value(state, step, False, cotangent.bins)
                self.objective.add_derivative(state, step, False, cotangent.field)
            if views:
                assert viewer is not None
                viewer.see(step, state, cotangent)

    def gradient(self, cotangent: Cotangent) -> dict[str, Value]:
        """Euclidean gradient per control from the cotangent at step 0; `value` is complete.

        Raises:
            NumericalError: on all ranks, when J is not finite.
        """
        self._conclude(cotangent.bins)
        return {name: control.pull_back(cotangent) for name, control in self.controls.items()}

    # ---- the tangent

    def tangent_step(
        self, perturbation: np.ndarray, state: np.ndarray, directions: Directions, n: int
    ) -> np.ndarray:
        """Perturbation at n+1 of one at n, (n_fields, rows, pitch), linearised at the state at n.

        directions are perturbations of what steps depend on, by name.
        """
        return self.stepper.tangent(perturbation, state, directions, n)

    def objective_tangent(
        self, perturbation: np.ndarray, state: np.ndarray, n: int, last: bool = False
    ) -> float:
        """Derivative of what J sees of the state after n steps, in the perturbation's direction."""
        derivative = self.new_state()
        self.objective.add_derivative(state, n, last, derivative)
        products = self.layout.interior(derivative) * self.layout.interior(perturbation)
        return exact_sum(self.comm, products)

    # ---- states and snapshots

    @property
    def kept(self) -> bool:
        """Whether the next adjoint step has the states of its stages at hand."""
        return self.stepper.kept

    def keep(self, state: np.ndarray, n: int) -> None:
        """Compute the stages of step n, where they are kept, for the `snapshot` that follows."""
        if self.keeps:
            self._ending.choose_step(state, n)
            self.stepper.keep(state, n)

    def new_state(self) -> np.ndarray:
        """A working state of zeros, (n_fields, rows, pitch)."""
        return self.stepper.new_array(self.stepper.n_fields)

    def new_snapshot(self) -> Snapshot:
        """A buffer for the tile's own points of a state and, where kept, of the stages."""
        return Snapshot(self.stepper.n_fields, self._n_stages, self.decomposition.tile_shape)

    def snapshot(self, state: np.ndarray, out: Snapshot | np.ndarray) -> None:
        """Copy the state, and the stages that `keep` has made for it, to a snapshot.

        Another state, as in a store that exchanges them, gets all points.

        Raises:
            ValueError: the snapshot keeps stages, and no `keep` came before.
        """
        if not isinstance(out, Snapshot):
            out[...] = state
            return
        out.state[...] = self.layout.interior(state)
        if out.stages:
            if not self.kept:
                raise ValueError("a snapshot that keeps stages needs a `keep` of its step before")
            for stage, values in zip(out.stages, self.stepper.stage_fields(), strict=True):
                stage[...] = values

    def restore(self, snapshot: Snapshot | np.ndarray, state: np.ndarray) -> None:
        """Copy a snapshot to the state, and its stages to where they are at hand."""
        self.stepper.forget_stages()
        if not isinstance(snapshot, Snapshot):
            state[...] = snapshot
            return
        self.layout.interior(state)[...] = snapshot.state
        if snapshot.stages:
            for stage, values in zip(self.stepper.stage_fields(), snapshot.stages, strict=True):
                stage[...] = values
            self.stepper.restore_stages()

    def own_points(self, snapshot: Snapshot | np.ndarray) -> np.ndarray:
        """The tile's own points of the state in a snapshot, a view (n_fields, ny, nx)."""
        if not isinstance(snapshot, Snapshot):
            return self.layout.interior(snapshot)
        return snapshot.state

    def fields_of(self, state: np.ndarray) -> np.ndarray:
        """The tile's own points of a state, (n_fields, ny, nx); a view where it is on the host."""
        return np.asarray(self.layout.interior(state))

    def tile_fields(self, cotangent: Cotangent) -> dict[str, np.ndarray]:
        """All that a cotangent has of each point of the tile: views (k, ny, nx), by name."""
        fields = {"field": self.layout.interior(cotangent.field)}
        for name, density in cotangent.densities.items():
            if density.ndim == 3:
                fields[f"{name}_density"] = self.layout.interior(density)
                continue
            for number, part in enumerate(density):
                fields[f"{name}_density_{number:04d}"] = self.layout.interior(part)
        return fields
