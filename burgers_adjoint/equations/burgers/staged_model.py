"""The model for every integrator, advection scheme, viscosity field and forcing."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from burgers_adjoint.equations.burgers.controls import FIELD_CONTROLS
from burgers_adjoint.equations.burgers.forcing import Forcing
from burgers_adjoint.equations.burgers.model import BurgersModel, Cotangent, Directions
from burgers_adjoint.equations.burgers.staged import Method, StagedStepper
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.time_steps import TimeSteps


class StagedModel(BurgersModel):
    """Like `BurgersModel`, whose single steps it replaces by those of a `StagedStepper`.

    With `keep_stages` a snapshot (2 n_stages, ny, nx) of the tile
    holds the state at a step's start and then the states of the step's later stages.

    Args:
        grid, decomposition, viscosity, dt, controls: see `BurgersModel`; controls may have the
            names of `controls.FIELD_CONTROLS` too.
        method: of the discretisation.
        knots: times of the forcing in time.
        keep_stages: whether snapshots keep the states of the stages; else every adjoint step
            computes them anew.
    """

    keeps = True
    stepper: StagedStepper  # type: ignore[assignment]  # this class alone makes and uses it

    def __init__(
        self,
        grid: Grid,
        decomposition: Decomposition,
        viscosity: float,
        dt: float | TimeSteps,
        controls: Sequence[str],
        method: Method,
        knots: Sequence[float] = (),
        keep_stages: bool = False,
    ) -> None:
        self._method = method
        self._keep_stages = keep_stages
        self._knots = tuple(knots)
        self._viscosity_field: np.ndarray | None = None
        super().__init__(grid, decomposition, viscosity, dt, controls)

    def _make_stepper(self, steps_per_exchange: int | None, overlap: bool) -> None:
        self.stepper = StagedStepper(self.grid, self.decomposition, self._method)
        self.stepper.forcing = self._new_forcing()
        self.layout = self.stepper.layout

    def like(self, grid: Grid, decomposition: Decomposition) -> "StagedModel":
        model = StagedModel(grid, decomposition, 0.0, 0.0, self.controls, self._method, self._knots)
        for name in FIELD_CONTROLS:
            if name in self.controls:
                leading = {"viscosity_field": (), "forcing": (2,)}.get(name, (len(self._knots), 2))
                model.set_field(name, np.zeros((*leading, *decomposition.tile_shape)))
        return model

    @property
    def steps_per_sweep(self) -> int:
        return 1

    def _new_forcing(self) -> Forcing:
        return Forcing(self.decomposition.tile_shape, self._knots)

    @property
    def viscosity(self) -> float:
        """Nu, or what `viscosity_field` adds to [length^2/time]; setting it is collective."""
        return self._viscosity

    @viscosity.setter
    def viscosity(self, viscosity: float) -> None:
        self._viscosity = viscosity
        self.stepper.set_viscosity(viscosity, self._viscosity_field)

    def set_field(self, name: str, value: np.ndarray) -> None:
        """Set one of `controls.FIELD_CONTROLS`, laid out like its gradient. Collective.

        The array is not copied.
        """
        if name == "viscosity_field":
            self._viscosity_field = value
            self.stepper.set_viscosity(self._viscosity, value)
        elif name == "forcing":
            self.stepper.forcing.steady = value
        else:
            self.stepper.forcing.at_knots = value
        self.stepper.forget()

    @property
    def kept(self) -> bool:
        """Whether the next adjoint step has the states of its stages at hand."""
        return self.stepper.states_ready

    def keep(self, state: np.ndarray, n: int) -> None:
        """Compute the stages of step n, where they are kept, for the `snapshot` that follows."""
        if self._snapshot_states > 1:
            if self.time_steps.chosen <= n:
                self._choose_step(state, n)
            with np.errstate(over="ignore", invalid="ignore"):
                self.stepper.prepare(state, self.time_steps.time(n), self.time_steps.length(n))

    @property
    def _snapshot_states(self) -> int:
        return self.stepper.n_stages if self._keep_stages else 1

    def new_snapshot(self) -> np.ndarray:
        """A buffer for the tile's own points, of the state and, where kept, of the stages."""
        return np.zeros((2 * self._snapshot_states, *self.decomposition.tile_shape))

    def snapshot(self, state: np.ndarray, out: np.ndarray) -> None:
        """Copy the state, and the stages that `keep` has made for it, to a snapshot."""
        if len(out) == len(state):
            super().snapshot(state, out)
            return
        super().snapshot(state, out[:2])
        if self.kept:
            for place, stage in enumerate(self.stepper.stage_fields(), 1):
                out[2 * place : 2 * place + 2] = stage
        else:
            out[2:, 0, 0] = math.nan  # no stages

    def restore(self, snapshot: np.ndarray, state: np.ndarray) -> None:
        """Copy a snapshot to the state, and what it has of stages to where they are at hand."""
        self.stepper.forget()
        super().restore(snapshot[:2], state)
        if len(snapshot) > len(state) and not math.isnan(snapshot[2, 0, 0]):
            for place, stage in enumerate(self.stepper.stage_fields(), 1):
                stage[...] = snapshot[2 * place : 2 * place + 2]
            self.stepper.restore()

    def _advance_unchecked(self, source: np.ndarray, state: np.ndarray, n0: int, n1: int) -> None:
        # what blows up is found by the checks, on all ranks
        with np.errstate(over="ignore", invalid="ignore"):
            for n in range(n0, n1):
                time, length = self.time_steps.time(n), self.time_steps.length(n)
                self.stepper.advance(source, state, time, length)
                source = state

    def _advance_along_unchecked(self, states: Sequence[np.ndarray], n0: int) -> None:
        for n, (source, state) in enumerate(pairwise(states), start=n0):
            self._advance_unchecked(source, state, n, n + 1)

    def new_cotangent(self, viscosity: bool | None = None) -> Cotangent:
        cotangent = super().new_cotangent(viscosity=True)
        forces = self._new_forcing()
        shape = self.decomposition.tile_shape
        if "forcing" in self.controls:
            forces.steady = np.zeros((2, *shape))
        if "forcing_in_time" in self.controls:
            forces.at_knots = np.zeros((len(self._knots), 2, *shape))
        cotangent.forces = forces
        return cotangent

    def tile_fields(self, cotangent: Cotangent) -> dict[str, np.ndarray]:
        fields = super().tile_fields(cotangent)
        assert cotangent.forces is not None
        if cotangent.forces.steady is not None:
            fields["forcing"] = cotangent.forces.steady
        if cotangent.forces.at_knots is not None:
            for knot, field in enumerate(cotangent.forces.at_knots):
                fields[f"forcing_{knot:04d}"] = field
        return fields

    def transposed_steps(self, cotangent: Cotangent, states: Sequence[np.ndarray], n: int) -> None:
        for step, state in zip(range(n, -1, -1), states, strict=False):
            self.stepper.adjoint(
                cotangent.field,
                cotangent.viscosity_density[None],
                cotangent.forces,
                state,
                self.time_steps.time(step),
                self.time_steps.length(step),
            )

    def tangent_step(
        self, perturbation: np.ndarray, state: np.ndarray, directions: Directions, n: int
    ) -> np.ndarray:
        d_nu = self.layout.new_array(1)
        interior = self.layout.interior(d_nu)
        interior[...] = directions.get("viscosity", 0.0)
        interior += directions.get("viscosity_field", 0.0)
        d_forcing = self._new_forcing()
        if "forcing" in directions:
            d_forcing.steady = np.asarray(directions["forcing"])
        if "forcing_in_time" in directions:
            d_forcing.at_knots = np.asarray(directions["forcing_in_time"])
        time, length = self.time_steps.time(n), self.time_steps.length(n)
        return self.stepper.tangent(perturbation, d_nu, d_forcing, state, time, length)

    def gradient(self, cotangent: Cotangent) -> dict[str, np.ndarray | float]:
        """See `BurgersModel.gradient`, and three more.

        Returns:
            "viscosity_field": (ny, nx); "forcing": (2, ny, nx); "forcing_in_time":
            (n_knots, 2, ny, nx), all of the tile.
        """
        parts = super().gradient(cotangent)
        forces = cotangent.forces
        assert forces is not None
        if "viscosity_field" in self.controls:
            parts["viscosity_field"] = self.layout.interior(cotangent.viscosity_density[None])[0]
        if forces.steady is not None:
            parts["forcing"] = forces.steady
        if forces.at_knots is not None:
            parts["forcing_in_time"] = forces.at_knots
        return parts
