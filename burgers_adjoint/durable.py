"""Runs that outlive their jobs: composes the sweeps of a problem with durable restart data."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from mpi4py import MPI

from burgers_adjoint.burgers.model import Cotangent
from burgers_adjoint.checkpointing.actions import Action
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import LONGEST_ADVANCE, Counts, Executor, Observer
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.config import Config
from burgers_adjoint.errors import ConfigError, RestartError, agreed_error
from burgers_adjoint.output.files import reason, require_writable
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.problem import Problem, Reversal
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.restart.choice import thinned
from burgers_adjoint.restart.keeper import Identity, Keeper
from burgers_adjoint.restart.manifest import Manifest
from burgers_adjoint.restart.parts import Fields
from burgers_adjoint.restart.progress import steps_done
from burgers_adjoint.restart.reader import read_part, require_identity, shared_manifests

logger = logging.getLogger(__name__)

Resume = Literal["refuse", "never", "auto", "must"]
# A run may go on with other values of these: they change how results are made, not their bits.
MAY_DIFFER = {"checkpointing", "snapshots", "restart", "parallel", "output", "check"}
Store = SnapshotStore[np.ndarray]


def folder_of(config: Config) -> Path:
    """Where the restart data of a run is."""
    return Path(config.restart.directory or Path(config.output.directory) / "restart")


def identity_of(problem: Problem, command: str) -> Identity:
    """What another run must have in common with this one to go on with it. Collective."""
    config = problem.config
    values = {
        name: section
        for name, section in msgspec.to_builtins(config).items()
        if name not in MAY_DIFFER
    }
    values["initial"].pop("path")  # the fields count, wherever they come from
    values["gradient"].pop("inner_product")
    values["initial"]["digest"] = problem.digest(problem.fields, {})
    values = msgspec.json.decode(msgspec.json.encode({"command": command, **values}))
    goes_on = f"burgers-adjoint resume {config.output.directory}"
    return Identity(command, values, problem.n_steps, goes_on)


class Rest(Binomial):
    """The least work for what remains of a reversal, whatever schedule has begun it.

    Attributes:
        memory: slots that may be in memory.
    """

    memory: int

    @property
    def memory_slots(self) -> int:
        """Slots in memory, the first ones."""
        return min(self.memory, self.slots)


class DurableRun:
    """One command's run with restart data; all methods are collective.

    Args:
        problem: what is computed.
        command: gradient or forward.
        resume: whether to go on with what the folder holds: "auto" if there is anything, "must",
            "never", or "refuse" to begin anew in place of an unfinished run.

    Attributes:
        found: the generation that the run goes on from, None for a new run.
        summary: of the run that is in the folder, when it is done already.

    Raises:
        ConfigError: on all ranks: an unfinished run is in the way, or there is none to resume.
        RestartError: on all ranks: the data is of another run or format, or none of it is whole.
    """

    def __init__(self, problem: Problem, command: str, resume: Resume) -> None:
        self.problem, self.comm = problem, problem.comm
        self.folder = folder_of(problem.config)
        self.identity = identity_of(problem, command)
        self.found: Manifest | None = None
        self.summary: dict[str, Any] | None = None
        self._vital: dict[str, np.ndarray] = {}
        self._lost = 0
        self._resume_seconds = 0.0
        if resume != "never":
            with self._timed():
                self._find(resume)
        self._prepare_folder()
        self.keeper = Keeper(
            problem.config.restart, self.folder, problem.decomposition, self.identity, self.found
        )

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._resume_seconds += time.perf_counter() - begin

    def _say(self, message: str, *values: object) -> None:
        if self.comm.rank == 0:
            logger.warning(message, *values)

    def _find(self, resume: Resume) -> None:
        manifests, damages = shared_manifests(self.comm, self.folder)
        for damage in damages:
            self._say("%s: falling back to an older generation", damage)
        if not manifests:
            if resume == "must":
                self._say("%s holds no restart data: starting at step 0", self.folder)
            return
        newest = manifests[0]
        if resume == "refuse":
            if newest.phase != "done":
                raise agreed_error(
                    ConfigError(
                        f"{self.folder} holds a run that was interrupted in its {newest.phase} "
                        f"sweep: {self.identity.goes_on_with} goes on with it, --resume never "
                        "discards it"
                    )
                )
            return
        with agreed(self.comm):
            require_identity(self.folder, newest, self.identity.values)
        if newest.phase == "done":
            self.summary = newest.facts["summary"]
            return
        for manifest in manifests:
            try:
                with agreed(self.comm):
                    self._vital = self._read_vital(manifest)
            except RestartError as error:
                damages.append(str(error))
                self._say("%s: falling back to an older generation", error)
            else:
                self.found = manifest
                self._count_lost(manifest)
                return
        raise agreed_error(
            RestartError(f"{self.folder} holds no whole restart data: {damages[-1]}")
        )

    def _read_vital(self, manifest: Manifest) -> dict[str, np.ndarray]:
        require_identity(self.folder, manifest, self.identity.values)
        assert manifest.sweep is not None
        decomposition = self.problem.decomposition
        fields = read_part(self.folder, manifest, manifest.sweep, decomposition)
        if manifest.final is not None:
            final = read_part(self.folder, manifest, manifest.final, decomposition)
            fields["final"] = final["state"]
        return fields

    def _count_lost(self, manifest: Manifest) -> None:
        noted = steps_done(self.folder, manifest.run) if self.comm.rank == 0 else None
        saved = manifest.counts["forward_steps"] + manifest.counts["reverse_steps"]
        lost = 0 if noted is None else max(0, noted - int(saved))
        self._lost = manifest.facts["lost_steps"] + self.comm.bcast(lost, root=0)

    def _prepare_folder(self) -> None:
        with agreed(self.comm):
            if self.comm.rank == 0:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise ConfigError(
                        f"cannot make the folder of the restart data {self.folder}: {reason(error)}"
                    ) from error
                require_writable(self.folder / "probe")

    def facts(self) -> dict[str, Any]:
        """What this run and those before it have gone through."""
        before = 0 if self.found is None else self.found.facts["resumed"] + 1
        return {"resumed": before, "lost_steps": self._lost}

    def schedule(self) -> Schedule:
        """The configured schedule, or one for what remains, which `reverse` makes anew."""
        return self.problem.schedule() if self.found is None else self._rest({0: 0})

    def _rest(self, live: dict[int, int], position: int | None = None) -> Schedule:
        """The least work from the live snapshots on, whatever schedule has left them."""
        assert self.found is not None
        whole, found = self.problem.schedule(), self.found
        rest = Rest.resume(
            self.identity.n_steps,
            whole.snapshots + whole.snapshots_on_disk,
            live.items(),
            to_reverse=found.position if found.phase == "reverse" else None,
            forward_steps=int(found.counts["forward_steps"]),
            position=position,
        )
        rest.memory = whole.snapshots
        return rest

    def reverse(self, schedule: Schedule, store: Store, observer: Observer) -> Reversal:
        """Do what is left of both sweeps; see `Problem.reverse`.

        Raises:
            InterruptedRunError: on all ranks: the run is to stop, and everything is saved.
        """
        problem, model = self.problem, self.problem.model
        state = model.initial_state(problem.fields)
        if self.found is None:
            executor = Executor(problem.swept_model, schedule, store)
        else:
            with self._timed():
                executor = self._go_on(state, store)
        self.schedule_used = executor.schedule
        sweeps = GradientSweeps(self, executor, observer)
        executor.observer = sweeps
        self.keeper.watch(sweeps, store)
        with self.keeper:
            executor.run(state)
            self.keeper.finish()
        return problem.result(executor)

    def _go_on(
        self, state: np.ndarray, store: Store
    ) -> Executor[np.ndarray, Cotangent, np.ndarray]:
        """An executor for what is left, with the snapshots that are saved in the store."""
        found, model = self.found, self.problem.model
        assert found is not None
        whole = self.problem.schedule()
        n_steps, limit = self.identity.n_steps, whole.snapshots + whole.snapshots_on_disk
        counts = Counts(**found.counts)  # type: ignore[arg-type]
        position, cotangent = None, None
        live = self._load_snapshots(store, limit)
        if found.phase == "reverse":
            model.resume(state, self.problem.fields, n_steps)
            cotangent = model.new_cotangent()
            for name, field in model.tile_fields(cotangent).items():
                field[...] = self._vital[name]
            if self.comm.rank == 0:
                cotangent.bins[...] = found.facts["bins"]
            model.final[...] = self._vital["final"]
        else:
            position = found.position
            model.resume(state, self._vital["state"], position)
        return Executor(
            self.problem.swept_model,
            self._rest(live, position),
            store,
            counts=counts,
            position=position or 0,
            cotangent=cotangent,
            held={slot: step for step, slot in live.items()},
        )

    def own_points(self, snapshot: np.ndarray) -> np.ndarray:
        """The tile's own points (2, ny, nx) of a snapshot, which may be a whole state."""
        if snapshot.shape[1:] == self.problem.decomposition.tile_shape:
            return snapshot
        return self.problem.model.layout.interior(snapshot)

    def _fill(self, field: np.ndarray, snapshot: np.ndarray) -> None:
        self.own_points(snapshot)[...] = field

    def _load_snapshots(self, store: Store, limit: int) -> dict[int, int]:
        """Bring the saved snapshots into the store; returns step to slot."""
        found, decomposition = self.found, self.problem.decomposition
        assert found is not None
        store.save(0, 0, partial(self._fill, self.problem.fields))
        live = {0: 0}
        for step in thinned(sorted(found.snapshots), limit - 1):
            try:
                with agreed(self.comm):
                    part = found.snapshots[step]
                    field = read_part(self.folder, found, part, decomposition)["state"]
            except RestartError as error:
                self._say("%s: going on without the snapshot of step %d", error, step)
                continue
            store.save(len(live), step, partial(self._fill, field))
            live[step] = len(live)
        return live

    def sweep(self, update: Callable[[int], None]) -> float:
        """Do what is left of the primal alone; see `Problem.sweep`.

        Raises:
            InterruptedRunError: on all ranks: the run is to stop, and everything is saved.
        """
        problem, model = self.problem, self.problem.model
        state, bins, n = model.initial_state(problem.fields), model.functional.new_bins(), 0
        if self.found is not None:
            n = self.found.position
            model.resume(state, self._vital["state"], n)
            if self.comm.rank == 0:
                bins[...] = self.found.facts["bins"]
        sweeps = ForwardSweep(self, state, bins, n)

        def updated(done: int) -> None:
            update(done)
            sweeps.position = done
            self.keeper.done(done)

        self.keeper.watch(sweeps, None)
        with self.keeper:
            objective = problem.sweep(problem.fields, updated, start=(state, bins, n))
            self.keeper.finish()
        return objective

    def conclude(self, summary: dict[str, Any]) -> None:
        """Note that the results are written: nothing is left to resume."""
        self.keeper.conclude(summary)

    def report(self, forward_steps: int, planned: int) -> dict[str, Any]:
        """What interruptions and saving have cost.

        Args:
            forward_steps: taken by the whole run, those that were lost left out.
            planned: forward steps of a run without interruptions.
        """
        facts = self.facts()
        return {
            "resumed": facts["resumed"],
            "lost_steps": facts["lost_steps"],
            "repeated_steps": forward_steps - planned,
            "resume_seconds": self.comm.allreduce(self._resume_seconds, op=MPI.MAX),
            **self.keeper.report(),
        }


def total_bins(comm: MPI.Comm, bins: np.ndarray) -> list[list[int]]:
    """What all ranks' bins add up to, which one rank alone can go on with. Collective."""
    totals = np.empty_like(bins)
    comm.Allreduce(bins, totals, op=MPI.SUM)
    return [[int(value) for value in row] for row in totals]


@dataclass
class GradientSweeps:
    """Both sweeps of a gradient, as a `keeper.Sweeps`; the executor's observer."""

    run: DurableRun
    executor: Executor[np.ndarray, Cotangent, np.ndarray]
    observer: Observer

    def __call__(self, action: Action, counts: Counts) -> None:
        self.observer(action, counts)
        self.run.keeper.done(counts.forward_steps + counts.reverse_steps)

    @property
    def live(self) -> dict[int, int]:
        """Step to slot of the snapshots that are in the store."""
        return {step: slot for slot, step in self.executor.held.items()}

    @property
    def longest_advance(self) -> int:
        """Steps after which a longer `Advance` pauses."""
        return self.executor.longest_advance

    @longest_advance.setter
    def longest_advance(self, steps: int) -> None:
        self.executor.longest_advance = min(steps, LONGEST_ADVANCE)

    @property
    def turned(self) -> bool:
        """Whether the cotangent has been seeded."""
        return self.executor.cotangent is not None

    @property
    def complete(self) -> bool:
        """Whether nothing is to be saved: all is reversed, or the cotangent about to be seeded."""
        n_steps = self.run.identity.n_steps
        if not self.turned:
            return self.executor.position == n_steps
        return self.executor.counts.reverse_steps == n_steps

    @property
    def position(self) -> int:
        """Step at whose start the working state, or later the cotangent is."""
        if self.turned:
            return self.run.identity.n_steps - self.executor.counts.reverse_steps
        return self.executor.position

    def counts(self) -> dict[str, int | float]:
        """What the executor has counted."""
        return asdict(self.executor.counts)

    def sweep_fields(self) -> Fields:
        """Working state, or later the cotangent."""
        model, cotangent = self.run.problem.model, self.executor.cotangent
        if cotangent is not None:
            return model.tile_fields(cotangent)
        state = self.executor.state
        assert state is not None
        return {"state": model.layout.interior(state)}

    def own_points(self, snapshot: np.ndarray) -> np.ndarray:
        """The tile's own points of a snapshot in the store."""
        return self.run.own_points(snapshot)

    def final_fields(self) -> Fields:
        """The final state."""
        return {"state": self.run.problem.model.final}

    def facts(self) -> dict[str, Any]:
        """What has been gone through, and what the objective has seen. Collective."""
        cotangent = self.executor.cotangent
        facts = self.run.facts()
        if cotangent is not None:
            facts["bins"] = total_bins(self.run.comm, cotangent.bins)
        return facts


@dataclass
class ForwardSweep:
    """The primal alone, as a `keeper.Sweeps`."""

    run: DurableRun
    state: np.ndarray
    bins: np.ndarray
    position: int
    longest_advance: int = LONGEST_ADVANCE
    turned: bool = False

    def __post_init__(self) -> None:
        self.live: dict[int, int] = {}

    @property
    def complete(self) -> bool:
        """Whether every step is taken."""
        return self.position == self.run.identity.n_steps

    def counts(self) -> dict[str, int | float]:
        """What is done."""
        return asdict(Counts(forward_steps=self.position))

    def sweep_fields(self) -> Fields:
        """The working state."""
        return {"state": self.run.problem.model.layout.interior(self.state)}

    def own_points(self, snapshot: np.ndarray) -> np.ndarray:
        """There are no snapshots."""
        return snapshot

    def final_fields(self) -> Fields:
        """None before the end."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What has been gone through, and what the objective has seen. Collective."""
        return {**self.run.facts(), "bins": total_bins(self.run.comm, self.bins)}
