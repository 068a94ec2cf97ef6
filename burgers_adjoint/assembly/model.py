"""The model that a configuration asks for: which stepper, with which controls and objective."""

from dataclasses import dataclass, field, replace

import numpy as np

from burgers_adjoint.assembly.backends import backend_of
from burgers_adjoint.config import Config
from burgers_adjoint.config.registry import ADVECTION, CONTROLS, INTEGRATORS
from burgers_adjoint.equations.burgers.controls import Control, Kind, Traits, make_controls
from burgers_adjoint.equations.burgers.equation import Burgers
from burgers_adjoint.equations.burgers.euler import FusedBurgers
from burgers_adjoint.equations.burgers.objectives.energy import FinalEnergy
from burgers_adjoint.equations.burgers.objectives.objective import Objective
from burgers_adjoint.equations.burgers.stability import StepLimits
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping import parts
from burgers_adjoint.stepping.along import (
    ControlAlong,
    LimitsAlong,
    ObjectiveAlong,
    TwiceDifferentiableObjective,
)
from burgers_adjoint.stepping.backend import PROCESSOR, Backend
from burgers_adjoint.stepping.directions import WithDirections
from burgers_adjoint.stepping.engine import Engine
from burgers_adjoint.stepping.equation import Steps
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.parts import Parts
from burgers_adjoint.stepping.stepper import Stepper, Value
from burgers_adjoint.stepping.tableaux import Tableau
from burgers_adjoint.stepping.time_steps import TimeSteps

FIELDS = ("u", "v")
# what the equation sees varied by a control
_VARIED = {
    "viscosity": ("viscosity",),
    "viscosity_field": ("viscosity",),
    "forcing": ("forcing",),
    "forcing_in_time": ("knot0", "knot1"),
}


@dataclass(frozen=True)
class Recipe:
    """What a model is made of, on any grid.

    Attributes:
        controls: names of what the gradient is taken to.
        viscosity: nu [length^2/time].
        integrator, advection: names of the method's two halves.
        smooth_speed: see `advection.upwind`.
        traits: of the controls.
        keep_stages: whether snapshots keep the stages of their step.
        steps_per_exchange: steps that share an exchange of halos; None to choose.
        overlap: advance the interior while the halo is under way.
        directions: along how many steps have derivatives beside them.
        full: whether these are of whole cotangents, or what Gauss-Newton takes of them.
        backend: where the steps are taken.
    """

    controls: tuple[str, ...] = ("initial", "viscosity")
    viscosity: float = 0.0
    integrator: str = "euler"
    advection: str = "central"
    smooth_speed: float = 0.01
    traits: Traits = field(default_factory=Traits)
    keep_stages: bool = False
    steps_per_exchange: int | None = None
    overlap: bool = False
    directions: int = 0
    full: bool = True
    backend: Backend = PROCESSOR

    @property
    def kinds(self) -> dict[str, Kind]:
        """All kinds of controls there are, by name."""
        return {name: CONTROLS[name] for name in CONTROLS.names}

    def stepper(self, grid: Grid, decomposition: Decomposition, time_steps: TimeSteps) -> Stepper:
        """What takes the steps.

        Raises:
            ConfigError: on all ranks: the tiles are too small for the method.
        """
        try:
            return Engine(
                self.steps(grid), self.tableau, decomposition, time_steps, self.wanted,
                self.steps_per_exchange, self.overlap, self.backend,
            )  # fmt: skip
        except ConfigError as error:
            raise agreed_error(error) from None

    @property
    def tableau(self) -> Tableau:
        """Of the integrator."""
        tableau: Tableau = INTEGRATORS[self.integrator]
        return tableau

    @property
    def wanted(self) -> list[str]:
        """What the equation sees varied by the controls."""
        return [one for name in self.controls for one in _VARIED.get(name, ())]

    def equation(self, grid: Grid) -> Burgers:
        """The equation, with what the controls need and no more."""
        scheme = ADVECTION[self.advection]()
        spacing = grid.dx, grid.dy
        fields = [name for name in ("viscosity_field", "forcing") if name in self.controls]
        knots = self.traits.knots if "forcing_in_time" in self.controls else ()
        if (self.integrator, scheme.name, fields, knots) == ("euler", "central", [], ()):
            return FusedBurgers(spacing, self.viscosity)
        return Burgers(
            spacing,
            None if grid.periodic else grid.shape,
            scheme,
            self.viscosity,
            self.smooth_speed,
            viscosity_field="viscosity_field" in fields,
            forcing="forcing" in fields,
            knots=knots,
        )

    def steps(self, grid: Grid) -> Steps:
        """The equation, beside its derivatives where there are directions."""
        equation = self.equation(grid)
        if not self.directions:
            return equation
        return WithDirections(equation, self.directions, self.wanted, self.full)

    def limits(self, grid: Grid) -> StepLimits:
        """How long steps may be."""
        scheme = ADVECTION[self.advection]
        rate, damping = scheme.largest_rate, scheme.largest_damping
        return StepLimits(grid, self.tableau, rate, damping, self.smooth_speed)

    def model(self, grid: Grid, decomposition: Decomposition, time_steps: TimeSteps) -> Model:
        """A model of the grid whose objective is the final energy; see `compose`. Collective."""
        stepper = self.stepper(grid, decomposition, time_steps)
        energy = FinalEnergy(decomposition, stepper.layout)
        objective = self.along(Objective({energy: 1.0}, decomposition))
        return self.compose(grid, decomposition, time_steps, stepper, objective)

    def along(self, objective: TwiceDifferentiableObjective) -> parts.Objective:
        """J of the recipe's states, which have tangents beside them where there are directions."""
        if not self.directions:
            return objective
        return ObjectiveAlong(objective, len(FIELDS), self.full)

    def compose(
        self,
        grid: Grid,
        decomposition: Decomposition,
        time_steps: TimeSteps,
        stepper: Stepper,
        objective: parts.Objective,
    ) -> Model:
        """A model of the grid, put together. Collective.

        Args:
            grid, decomposition: the points, and who owns which of them.
            time_steps: of the run.
            stepper: of this recipe, for the same points and steps.
            objective: J of its states; see `along`.
        """
        every = self.all_controls(decomposition, stepper)
        # in the order of all, whatever the configured one is: that of digests
        controls = {name: one for name, one in every.items() if name in self.controls}
        values: dict[str, Value | None] = {"viscosity": self.viscosity}
        values |= {
            name: control.zeros()
            for name, control in controls.items()
            if control.of_steps and name != "viscosity"
        }
        limits = self.limits(grid)
        whole = Parts(
            grid, decomposition, time_steps, stepper, limits, objective, controls, FIELDS,
            self.keep_stages,
        )  # fmt: skip
        if self.directions:
            whole.limits = LimitsAlong(limits, len(FIELDS))
            whole.controls = {
                name: ControlAlong(one, self.directions) for name, one in controls.items()
            }
            whole.names = self.steps(grid).fields
        return Model(whole, values, self._like)

    def _like(self, grid: Grid, decomposition: Decomposition) -> Model:
        """A model of the same kind, whose values and steps are zero."""
        same = replace(self, viscosity=0.0, steps_per_exchange=None, overlap=False)
        return same.model(grid, decomposition, TimeSteps(0.0))

    def all_controls(self, decomposition: Decomposition, stepper: Stepper) -> dict[str, Control]:
        """All controls that there are, by name, on a tile."""
        return make_controls(self.kinds, decomposition, stepper.layout, self.traits, self.controls)


def recipe_of(config: Config, comm: Comm) -> Recipe:
    """The configured recipe. Collective.

    Raises:
        ConfigError: on all ranks: there is no such device as the configuration asks for.
    """
    time, physics, parallel = config.time, config.physics, config.parallel
    section = config.controls
    return Recipe(
        config.gradient.controls, physics.viscosity, time.integrator, physics.advection,
        physics.smooth_speed,
        Traits(section.scale, section.lower, section.upper, section.knots),
        time.stages == "keep", parallel.steps_per_exchange, parallel.overlap,
        backend=backend_of(parallel.device, comm, parallel.messages),
    )  # fmt: skip


def require_tiles(config: Config, decomposition: Decomposition) -> None:
    """See that the tiles are fit for the configured exchange of their halos.

    Raises:
        ConfigError: on all ranks: they are too small, or have no interior.
    """
    steps, smallest = config.parallel.steps_per_exchange, min(decomposition.smallest_tile)
    if config.parallel.overlap and config.parallel.device != "cpu":
        message = (
            "parallel.overlap = true: halos are exchanged while the interior is advanced on the "
            'processor alone: leave it out, or set parallel.device = "cpu"'
        )
        raise agreed_error(ConfigError(message))
    alone = decomposition.size == 1 and not decomposition.periodic
    scheme, tableau = ADVECTION[config.physics.advection], INTEGRATORS[config.time.integrator]
    layers = (steps or 0) * len(tableau.b) * scheme.reach
    if steps is not None and layers > smallest and not alone:
        message = (
            f"parallel.steps_per_exchange = {steps}: a halo of {layers} layers reaches beyond "
            f"the neighbours, the smallest of whose tiles is {smallest} points wide"
        )
        raise agreed_error(ConfigError(message))
    if config.parallel.overlap and (decomposition.process_grid[1] > 1 or decomposition.periodic):
        message = (
            "parallel.overlap = true: only ranks that own whole rows of a dirichlet grid have "
            f"an interior that needs no halo, this one is {config.grid.boundary} on "
            f"{list(decomposition.process_grid)} ranks: set parallel.process_grid = "
            f"[{decomposition.size}, 1] or leave parallel.overlap out"
        )
        raise agreed_error(ConfigError(message))


def initial_fields(config: Config, grid: Grid, decomposition: Decomposition) -> np.ndarray:
    """The configured initial state, (2, ny, nx) of the tile. Collective.

    Raises:
        ConfigError: on all ranks: there is no such state, or its file does not fit.
    """
    from burgers_adjoint.config.registry import INITIAL_STATES

    fields: np.ndarray = INITIAL_STATES[config.initial.kind](config.initial, grid, decomposition)
    return fields
