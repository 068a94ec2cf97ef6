"""What a configuration describes: the model, its initial fields, a schedule and its store."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from mpi4py import MPI

from burgers_adjoint.assembly.objective import Setting, build_objective
from burgers_adjoint.assembly.stability import require_stable
from burgers_adjoint.config import Config, time_is_open
from burgers_adjoint.equations.burgers import initial
from burgers_adjoint.equations.burgers.controls import FIELD_CONTROLS, tiles_of
from burgers_adjoint.equations.burgers.model import BurgersModel, Cotangent
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, agreed_error
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.parallel.reductions import digest
from burgers_adjoint.stepping.time_steps import TimeSteps

if TYPE_CHECKING:
    from burgers_adjoint.assembly.stores import Store, StoreMaker
    from burgers_adjoint.checkpointing.counts import Counts, Observer
    from burgers_adjoint.checkpointing.executor import Executor
    from burgers_adjoint.checkpointing.schedule import Schedule
    from burgers_adjoint.equations.burgers.staged_model import StagedModel
    from burgers_adjoint.inverse.background import Background
    from burgers_adjoint.observing.observations import Observations, Recorder
    from burgers_adjoint.output.dumps import Dumps
    from burgers_adjoint.planning.plan import Plan

Gradient = dict[str, np.ndarray | float]
STEPS_PER_UPDATE = 256


@dataclass
class Reversal:
    """One gradient and what it took.

    Attributes:
        objective: J.
        final: final state, (2, ny, nx) of the tile.
        gradient: Euclidean, per control, as `BurgersModel.gradient` returns it.
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
        setting: the configuration with its grid and ranks.
        fields: initial (u, v), (2, ny, nx) of the tile.
        dumps: where the sweeps that follow write fields; None at first.
        planned: what was measured and predicted; None as long as nobody asked.

    Raises:
        ConfigError: on all ranks: the ranks do not fit the grid, or the initial file the problem.
        NumericalError: on all ranks: the time step is unstable.
    """

    def __init__(
        self, config: Config, comm: MPI.Comm, process_grid: tuple[int, int] | None = None
    ) -> None:
        self.config = config
        self.comm = comm
        self.dumps: Dumps | None = None
        self.planned: Plan | None = None
        periodic = config.grid.boundary == "periodic"
        self.grid = Grid(config.grid.nx, config.grid.ny, config.grid.x, config.grid.y, periodic)
        process_grid = process_grid or config.parallel.process_grid or (0, 0)
        try:
            self.decomposition = Decomposition(comm, self.grid.shape, periodic, process_grid)
        except ConfigError as error:
            raise agreed_error(error) from None
        self.fields = self._initial_fields()
        self._fields: dict[str, np.ndarray] = {}
        if not config.time.allow_unstable:
            require_stable(config, comm, self.grid, self.fields)
        self.model = self._new_model()
        self.setting = Setting(config, self.grid, self.decomposition, self.model.layout)
        self.model.functional = build_objective(self.setting, self._observe_truth)
        self.background = self._new_background()

    def close(self) -> None:
        """Release what the model holds."""
        self.model.close()
        if self.background is not None:
            self.background.close()

    def _new_model(self) -> BurgersModel:
        config, physics = self.config, self.config.physics
        controls, knots = config.gradient.controls, config.controls.knots
        grid, dec, nu = self.grid, self.decomposition, physics.viscosity
        scheme = (config.time.integrator, physics.advection)
        fields = [name for name in FIELD_CONTROLS if name in controls]
        if scheme == ("euler", "central") and not fields:
            return BurgersModel(
                grid,
                dec,
                nu,
                self._time_steps(),
                controls,
                self._steps_per_exchange(),
                self._overlap(),
            )
        if config.parallel.overlap:
            message = (
                'parallel.overlap = true: there is an interior with time.integrator = "euler", '
                'physics.advection = "central" and no control that is a field besides the initial '
                "one"
            )
            raise agreed_error(ConfigError(message))
        if config.parallel.steps_per_exchange is not None:
            message = (
                f"parallel.steps_per_exchange = {config.parallel.steps_per_exchange}: several "
                'steps share an exchange with time.integrator = "euler", physics.advection = '
                '"central" and no control that is a field besides the initial one'
            )
            raise agreed_error(ConfigError(message))
        from burgers_adjoint.equations.burgers.staged import Method
        from burgers_adjoint.equations.burgers.staged_model import StagedModel

        method = Method(*scheme, physics.smooth_speed)
        try:
            steps, keep = self._time_steps(), config.time.stages == "keep"
            model = StagedModel(grid, dec, nu, steps, controls, method, knots, keep)
        except ConfigError as error:
            raise agreed_error(error) from None
        for name in fields:
            leading = {"viscosity_field": (), "forcing": (2,)}.get(name, (len(knots), 2))
            self._fields[name] = np.zeros((*leading, *dec.tile_shape))
            model.set_field(name, self._fields[name])
        return model

    def _steps_per_exchange(self) -> int | None:
        """The configured number, which the tiles have to be large enough for."""
        steps = self.config.parallel.steps_per_exchange
        smallest = min(self.decomposition.smallest_tile)
        alone = self.decomposition.size == 1 and not self.decomposition.periodic
        if steps is not None and steps > smallest and not alone:
            message = (
                f"parallel.steps_per_exchange = {steps}: a halo of {steps} layers reaches beyond "
                f"the neighbours, the smallest of whose tiles is {smallest} points wide"
            )
            raise agreed_error(ConfigError(message))
        return steps

    def _overlap(self) -> bool:
        """Whether the interior is advanced while the halo is under way: by ranks of whole rows."""
        columns = self.decomposition.process_grid[1]
        if self.config.parallel.overlap and (columns > 1 or self.decomposition.periodic):
            message = (
                "parallel.overlap = true: only ranks that own whole rows of a dirichlet grid have "
                f"an interior that needs no halo, this one is {self.config.grid.boundary} on "
                f"{list(self.decomposition.process_grid)} ranks: set parallel.process_grid = "
                f"[{self.decomposition.size}, 1] or leave parallel.overlap out"
            )
            raise agreed_error(ConfigError(message))
        return self.config.parallel.overlap

    def truth(self) -> Problem:
        """The twin experiment's true problem, with the final energy as its objective. Collective.

        Raises:
            BurgersAdjointError: see `Problem`.
        """
        from burgers_adjoint.assembly.twin import true_bumps, true_config

        config = self.config
        try:
            twin = Problem(true_config(config), self.comm, self.decomposition.process_grid)
        except BurgersAdjointError as error:
            error.args = (f"the truth of the twin experiment: {error}",)
            raise
        bumps = true_bumps(config.truth, self.grid, self.decomposition, self._fields)
        for name, bump in bumps.items():
            twin.set_control(name, bump)
        return twin

    def _observe_truth(self) -> Observations:
        from burgers_adjoint.assembly.objective import recorder

        twin = self.truth()
        seen = recorder(twin.setting)
        twin.sweep(twin.fields, recorder=seen)
        twin.close()
        return seen.observations

    def _new_background(self) -> Background | None:
        section = self.config.background
        names = [*section.deviation, *section.smoothness]
        if not names:
            return None
        from burgers_adjoint.inverse.background import Background

        return Background(
            self.decomposition,
            self.model.layout,
            {name: self.control(name) for name in names},
            section.deviation,
            section.smoothness,
        )

    def _add_background(
        self, objective: float, fields: np.ndarray, gradient: Gradient | None
    ) -> float:
        """J with the background term, whose gradient is added to the given one."""
        if self.background is None:
            return objective
        names: Sequence[str] = self.config.gradient.controls
        values = {name: self._control_of(fields, name) for name in names}
        value, parts = self.background.value_and_gradient(values)
        if gradient is not None:
            for name, part in parts.items():
                gradient[name] = gradient[name] + part
        self.model.functional.parts["background"] = value
        return objective + value

    def control(self, name: str) -> np.ndarray | float:
        """Value of a control, laid out like its gradient; not to be changed."""
        return self._control_of(self.fields, name)

    def _control_of(self, initial_fields: np.ndarray, name: str) -> np.ndarray | float:
        if name == "viscosity":
            return self.model.viscosity
        if name in FIELD_CONTROLS:
            return self._fields[name]
        return self.part_of(name, initial_fields)

    def set_control(self, name: str, value: np.ndarray | float) -> None:
        """Set a control, laid out like its gradient. Collective; the array is not copied."""
        if name == "viscosity":
            self.model.viscosity = float(value)
        elif name in FIELD_CONTROLS:
            self._fields[name] = np.asarray(value)
            cast("StagedModel", self.model).set_field(name, self._fields[name])
        elif name == "boundary":
            self.fields = np.where(self.model.boundary, value, self.fields)
        elif "boundary" in self.config.gradient.controls:
            self.fields = np.where(self.model.boundary, self.fields, value)
        else:
            self.fields = np.asarray(value)

    def part_of(self, name: str, value: np.ndarray) -> np.ndarray:
        """A control's values with zeros at the points that are not its own."""
        if name == "boundary":
            return np.where(self.model.boundary, value, 0.0)
        if name == "initial" and "boundary" in self.config.gradient.controls:
            return np.where(self.model.boundary, 0.0, value)
        return value

    @property
    def n_steps(self) -> int:
        """Steps of the run.

        Raises:
            ConfigError: on all ranks: nobody knows before the run.
        """
        if self.model.n_steps is None:
            raise agreed_error(ConfigError("the number of steps is not known before the run"))
        return self.model.n_steps

    def _time_steps(self) -> TimeSteps:
        time = self.config.time
        return TimeSteps(time.dt, time.steps, time.until, time.cfl, time.steady)

    def _initial_fields(self) -> np.ndarray:
        section = self.config.initial
        if section.kind == "file":
            return initial.from_file(self.grid, self.decomposition, section.path)
        if section.kind == "sines":
            return initial.sines(self.grid, self.decomposition, section.amplitude)
        width = section.width
        widths = width if isinstance(width, tuple) else (width, width)
        return initial.gaussian(
            self.grid, self.decomposition, section.center, widths, section.amplitude
        )

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
        return self._store_maker().make(schedule, kind)

    def plan(self) -> Plan:
        """What schedules and stores would take, measured once; with "auto" the best is taken.

        Raises:
            ConfigError: on all ranks: the memory given does not hold one snapshot.
        """
        from burgers_adjoint.planning.plan import make_plan

        if self.planned is None:
            maker, section, configured = self._store_maker(), self.config.checkpointing, None
            if section.schedule != "auto":
                configured = (self.schedule(), self.config.snapshots.store)
            self.planned = make_plan(self.model, self.fields, self.n_steps, maker, configured)
        return self.planned

    @property
    def swept_model(self) -> BurgersModel:
        """The model, or one like it that writes the dumps on its way."""
        if self.dumps is None:
            return self.model
        from burgers_adjoint.assembly.dumping_model import DumpingModel

        return cast(BurgersModel, DumpingModel(self.model, self.dumps))

    def _store_maker(self) -> StoreMaker:
        from burgers_adjoint.assembly.stores import StoreMaker

        model = self.model
        return StoreMaker(
            self.config,
            self.decomposition,
            model.new_snapshot,
            model.new_state,
            model.layout.interior,
        )

    def reverse(
        self,
        schedule: Schedule,
        store: Store,
        fields: np.ndarray,
        observer: Observer | None = None,
    ) -> Reversal:
        """Compute J and its gradient at these initial fields and the model's viscosity.

        Raises:
            NumericalError: on all ranks: a state or the gradient is not finite.
        """
        from burgers_adjoint.checkpointing.executor import Executor

        model = self.model
        executor: Executor[np.ndarray, Cotangent, np.ndarray]
        executor = Executor(self.swept_model, schedule, store, observer)
        # The end of an open run is known to a schedule only from the run before.
        replay = schedule.n_steps is not None and time_is_open(self.config.time)
        executor.run(model.initial_state(fields, replay))
        return self.result(executor, fields)

    def result(
        self,
        executor: Executor[np.ndarray, Cotangent, np.ndarray],
        fields: np.ndarray | None = None,
    ) -> Reversal:
        """What an executor of this problem's model has come to at its end.

        fields are the initial ones of its run, those of the problem when not given.
        """
        model = self.model
        assert executor.cotangent is not None
        gradient = model.gradient(executor.cotangent)
        start = self.fields if fields is None else fields
        objective = self._add_background(model.objective, start, gradient)
        return Reversal(objective, model.final.copy(), gradient, executor.counts, executor.damages)

    def evaluate(self, fields: np.ndarray) -> float:
        """J at these initial fields and the model's viscosity, without a gradient.

        Steps that follow the state are those of the run before: the gradient is for these.
        """
        start = self.model.initial_state(fields, replay=True), self.model.functional.new_bins(), 0
        return self.sweep(fields, start=start)

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
            recorder: observes the states that it asks for.
            start: where to go on: a working state, what the objective has seen of those before
                it, both changed in place, and the number of steps done.

        Raises:
            NumericalError: on all ranks: a state or J is not finite.
        """
        model, functional = self.model, self.model.functional
        state, bins, n = start or (model.initial_state(fields), functional.new_bins(), 0)
        while model.n_steps is None or n < model.n_steps:
            if functional.looks_at(n, False):
                model.observe(state, n, bins)
            if recorder is not None and recorder.looks_at(n):
                recorder.record(state, n)
            stop = n + 1
            furthest = n + STEPS_PER_UPDATE
            if model.n_steps is not None:
                furthest = min(furthest, model.n_steps)
            while stop < furthest and not (
                functional.looks_at(stop, False) or (recorder and recorder.looks_at(stop))
            ):
                stop += 1
            before = n
            if model.n_steps is None:
                n = model.explore(state, n, stop)
            if n == before:
                stop = min(stop, self.n_steps)
                model.advance(state, n, stop)
                n = stop
            if update is not None:
                update(n)
        if recorder is not None and recorder.looks_at(n):
            recorder.record(state, n)
        return self._add_background(model.evaluate(state, bins), fields, None)

    def digest(self, final: np.ndarray, gradient: Gradient) -> str:
        """Fingerprint of the bits of a final state and a gradient, alike for all rank counts."""
        tiles, scalars = [*final], []
        for control, part in gradient.items():
            if isinstance(part, np.ndarray):
                tiles += tiles_of(control, part).values()
            else:
                scalars.append(part)
        return digest(self.decomposition, tiles, scalars)
