"""What a configuration describes: the model, its initial fields, a schedule and its store."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from burgers_adjoint.assembly.fingerprints import fingerprints
from burgers_adjoint.assembly.model import initial_fields, recipe_of, require_tiles
from burgers_adjoint.assembly.objective import Setting, build_objective
from burgers_adjoint.assembly.prior import Prior
from burgers_adjoint.config import Config, time_is_open
from burgers_adjoint.equations.burgers.controls import Inputs, split
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import Comm, largest
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import digest
from burgers_adjoint.stepping import primal
from burgers_adjoint.stepping.stepper import Cotangent, Stepper, Value
from burgers_adjoint.stepping.time_steps import TimeSteps

if TYPE_CHECKING:
    from burgers_adjoint.assembly.stores import Store, StoreMaker
    from burgers_adjoint.checkpointing.counts import Counts, Observer
    from burgers_adjoint.checkpointing.executor import Executor
    from burgers_adjoint.checkpointing.schedule import Schedule
    from burgers_adjoint.equations.burgers.objectives.objective import Objective
    from burgers_adjoint.observing.observations import Observations, Recorder
    from burgers_adjoint.output.dumps import Dumps
    from burgers_adjoint.planning.plan import Plan

Gradient = dict[str, Value]


@dataclass
class Reversal:
    """One gradient and what it took.

    Attributes:
        objective: J.
        final: final state, (2, ny, nx) of the tile.
        gradient: Euclidean, per control, as `Model.gradient` returns it.
        counts: what the executor did.
        damages: what was wrong with each snapshot that was computed anew.
    """

    objective: float
    final: np.ndarray
    gradient: Gradient
    counts: Counts
    damages: list[str]


class Problem:
    """The model half as a configuration sets it up; all methods are collective.

    Args:
        config: what to compute.
        comm: the ranks that share the grid.
        process_grid: (py, px), in place of the configured one.

    Attributes:
        model: takes the steps.
        every_control: all kinds of controls, by name.
        controls: those that the gradient is taken to.
        inputs: the values of these.
        files: fingerprints of what was read, by the keys that name the files.
        setting: the configuration with its grid, ranks and steps.
        planned: what was measured and predicted; None as long as nobody asked.

    Raises:
        ConfigError: on all ranks: the ranks do not fit the grid, or the initial file the problem.
        NumericalError: on all ranks: the time step is unstable.
    """

    def __init__(
        self, config: Config, comm: Comm, process_grid: tuple[int, int] | None = None
    ) -> None:
        self.config = config
        self.comm = comm
        self.planned: Plan | None = None
        periodic = config.grid.boundary == "periodic"
        self.grid = Grid(config.grid.nx, config.grid.ny, config.grid.x, config.grid.y, periodic)
        process_grid = process_grid or config.parallel.process_grid or (0, 0)
        try:
            self.decomposition = Decomposition(comm, self.grid.shape, periodic, process_grid)
        except ConfigError as error:
            raise agreed_error(error) from None
        fields = initial_fields(config, self.grid, self.decomposition)
        recipe = recipe_of(config)
        self._limits = recipe.limits(self.grid)
        self._require_stable(fields, config.physics.viscosity)
        require_tiles(config, self.decomposition)
        time = config.time
        time_steps = TimeSteps(time.dt, time.steps, time.until, time.cfl, time.steady)

        def new_objective(stepper: Stepper) -> Objective:
            self.setting = Setting(
                config, self.grid, self.decomposition, stepper.layout, time_steps,
                self._observe_truth,
            )  # fmt: skip
            self.objective = build_objective(self.setting)
            return self.objective

        self.model = recipe.model(self.grid, self.decomposition, time_steps, new_objective)
        self.every_control = recipe.all_controls(self.decomposition, self.model.stepper)
        self.controls = {
            name: one for name, one in self.every_control.items() if name in recipe.controls
        }
        self.inputs = Inputs(self.every_control, fields, self.model)
        self.files = fingerprints(config, comm)
        self._prior = Prior(
            config, self.decomposition, self.model.layout, self.controls, self.inputs,
            self.objective,
        )  # fmt: skip

    def __enter__(self) -> Problem:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release what the model holds."""
        self.model.close()
        self._prior.close()

    @property
    def fields(self) -> np.ndarray:
        """Initial (u, v), (2, ny, nx) of the tile."""
        return self.inputs.fields

    @fields.setter
    def fields(self, fields: np.ndarray) -> None:
        self.inputs.fields = fields

    def _require_stable(self, fields: np.ndarray, viscosity: float) -> None:
        """See that the steps are small enough, unless any are allowed."""
        time = self.config.time
        if not time.allow_unstable:
            follows = time.cfl is not None
            self._limits.require_stable(self.decomposition, fields, viscosity, time.dt, follows)

    def highest_viscosity(self) -> float:
        """Nu where it is highest [length^2/time]. Collective."""
        nu = np.asarray(self.model.values["viscosity"])
        return float(largest(self.comm, (nu + self.model.values.get("viscosity_field", 0.0)).max()))

    def truth(self) -> Problem:
        """The twin experiment's true problem, with the final energy as its objective. Collective.

        Raises:
            BurgersAdjointError: see `Problem`.
        """
        from burgers_adjoint.assembly.twin import true_bumps, true_config

        try:
            twin = Problem(true_config(self.config), self.comm, self.decomposition.process_grid)
            try:
                for name, bump in true_bumps(self.config.truth, self.grid, twin.controls).items():
                    twin.set_control(name, bump)
                twin._require_stable(twin.fields, twin.highest_viscosity())
            except BurgersAdjointError:
                twin.close()
                raise
        except BurgersAdjointError as error:
            error.args = (f"the truth of the twin experiment: {error}",)
            raise
        return twin

    def _observe_truth(self) -> Observations:
        with self.truth() as twin:
            seen = twin.recorder()
            twin.sweep(twin.fields, recorder=seen)
        return seen.observations

    def control(self, name: str) -> Value:
        """Value of a control, laid out like its gradient; not to be changed."""
        return self.inputs.value(name)

    def set_control(self, name: str, value: Value) -> None:
        """Set a control, laid out like its gradient. Collective; the array is not copied."""
        self.inputs.set(name, value)

    @property
    def n_steps(self) -> int:
        """Steps of the run.

        Raises:
            ConfigError: on all ranks: nobody knows before the run.
        """
        if self.model.n_steps is None:
            raise agreed_error(ConfigError("the number of steps is not known before the run"))
        return self.model.n_steps

    def schedule(self, name: str | None = None) -> Schedule:
        """A new schedule, the configured one or the named one."""
        if (name or self.config.checkpointing.schedule) == "auto":
            return copy.deepcopy(self.plan().best.candidate.schedule)
        from burgers_adjoint.assembly.schedules import make_schedule

        return make_schedule(self.config.checkpointing, self.model.n_steps, name)

    def store(self, schedule: Schedule) -> Store:
        """A new store with the slots of the schedule, as [snapshots] says.

        Raises:
            ConfigError: on all ranks: the memory or the disk is too small for it.
            StorageError: on all ranks: the folder or a file cannot be made.
        """
        kind = None
        if self.config.checkpointing.schedule == "auto":
            kind = self.plan().best.candidate.store
        return self.store_maker().make(schedule, kind)

    def plan(self) -> Plan:
        """What schedules and stores would take, measured once; with "auto" the best is taken.

        Raises:
            ConfigError: on all ranks: the memory given does not hold one snapshot.
        """
        from burgers_adjoint.planning.plan import make_plan

        if self.planned is None:
            maker, section, configured = self.store_maker(), self.config.checkpointing, None
            if section.schedule != "auto":
                configured = (self.schedule(), self.config.snapshots.store)
            self.planned = make_plan(self.model, self.fields, self.n_steps, maker, configured)
        return self.planned

    def dump(self, dumps: Dumps) -> None:
        """Let the runs that follow write the fields of some steps."""
        from burgers_adjoint.assembly.dumping import DumpViewer

        self.model.viewer = DumpViewer(self.model, dumps)

    def store_maker(self) -> StoreMaker:
        """What makes stores for the snapshots of this problem's model."""
        from burgers_adjoint.assembly.stores import StoreMaker

        model = self.model
        return StoreMaker(
            self.config,
            self.decomposition,
            model.new_snapshot,
            None if model.keeps else model.new_state,
            model.own_points,
        )

    def reverse(
        self,
        schedule: Schedule,
        store: Store,
        fields: np.ndarray,
        observer: Observer | None = None,
        follow: Callable[[Executor[np.ndarray, Cotangent, Any]], None] | None = None,
    ) -> Reversal:
        """Compute J and its gradient at these initial fields and the model's viscosity.

        The executor is shown to `follow` before it begins.

        Raises:
            NumericalError: on all ranks: a state or the gradient is not finite.
        """
        from burgers_adjoint.checkpointing.executor import Executor

        model = self.model
        executor: Executor[np.ndarray, Cotangent, Any]
        executor = Executor(self.model, schedule, store, observer)
        if follow is not None:
            follow(executor)
        # The end of an open run is known to a schedule only from the run before.
        replay = schedule.n_steps is not None and time_is_open(self.config.time)
        executor.run(model.initial_state(fields, replay))
        return self.result(executor, fields)

    def result(
        self,
        executor: Executor[np.ndarray, Cotangent, Any],
        fields: np.ndarray | None = None,
    ) -> Reversal:
        """What an executor of this problem's model has come to at its end.

        fields are the initial ones of its run, those of the problem when not given.
        """
        model = self.model
        assert executor.cotangent is not None
        gradient = model.gradient(executor.cotangent)
        start = self.fields if fields is None else fields
        objective = self._prior.added_to(model.value, start, gradient)
        return Reversal(objective, model.final.copy(), gradient, executor.counts, executor.damages)

    def evaluate(self, fields: np.ndarray) -> float:
        """J at these initial fields and the model's viscosity, without a gradient.

        Steps that follow the state are those of the run before: the gradient is for these.
        """
        start = self.model.initial_state(fields, replay=True), self.model.objective.new_bins(), 0
        return self.sweep(fields, start=start)

    def recorder(self) -> Recorder:
        """What observes a run as the configuration says. Collective.

        Where steps are chosen on the way a run comes first, whose steps the observed one takes.

        Raises:
            ConfigError: on all ranks: a time or a sensor is outside of the run or the domain.
        """
        from burgers_adjoint.assembly.objective import recorder

        steps = self.model.time_steps
        if steps.adaptive or steps.n_steps is None:
            self.sweep(self.fields)
        return recorder(self.setting)

    def sweep(
        self,
        fields: np.ndarray,
        update: Callable[[int], None] | None = None,
        recorder: Recorder | None = None,
        start: tuple[np.ndarray, np.ndarray, int] | None = None,
    ) -> float:
        """Run the primal alone from these initial fields; returns J.

        Args:
            fields: (2, ny, nx) of the tile.
            update: called now and then with the number of steps done.
            recorder: observes the states that it asks for, in a run whose steps are known.
            start: where to go on: a working state, what the objective has seen of those before
                it, both changed in place, and the number of steps done.

        Raises:
            NumericalError: on all ranks: a state or J is not finite.
        """
        model = self.model
        if start is None:
            start = model.initial_state(fields, recorder is not None), model.objective.new_bins(), 0
        state, bins, n = start
        primal.sweep(model, state, bins, n, update, recorder)
        return self._prior.added_to(model.evaluate(state, bins), fields)

    def digest(self, final: np.ndarray, gradient: Gradient) -> str:
        """Fingerprint of the bits of a final state and a gradient, alike for all rank counts."""
        tiles, numbers = split("gradient", self.controls, gradient)
        values = list(numbers.values())
        return digest(self.decomposition, [*final, *tiles.values()], values)
