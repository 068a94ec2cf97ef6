"""Runs that outlive their jobs: composes the sweeps of a problem with durable restart data."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.fingerprints import require_same_files
from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.runs import Reversal, outcome, sweep
from burgers_adjoint.checkpointing.actions import FusedAction
from burgers_adjoint.checkpointing.counts import Counts, Observer
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.online import Online
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.commands.identity import folder_of, identity_of
from burgers_adjoint.commands.kept import kept_if_not_written
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.commands.rest import Rest
from burgers_adjoint.commands.saved import ForwardSweep, GradientContents
from burgers_adjoint.errors import (
    ConfigError,
    RestartError,
    agreed_error,
)
from burgers_adjoint.files.whole import reason, require_writable
from burgers_adjoint.output.summary import Restarted, RunSummary, summary_of, to_mapping
from burgers_adjoint.parallel.agreement import from_rank, largest
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.restart.choice import thinned
from burgers_adjoint.restart.keeper import Keeper
from burgers_adjoint.restart.manifest import Manifest
from burgers_adjoint.restart.progress import steps_done
from burgers_adjoint.restart.reader import read_part, require_identity, shared_manifests
from burgers_adjoint.stepping.stepper import Cotangent

logger = logging.getLogger(__name__)

Resume = Literal["refuse", "never", "auto", "must"]
Store = SnapshotStore[np.ndarray]


class DurableRun:
    """One command's run with restart data; all methods are collective.

    Args:
        case: what is computed.
        checkpointing: of it.
        command: gradient or forward.
        resume: whether to go on with what the folder holds: "auto" if there is anything, "must",
            "never", or "refuse" to begin anew in place of an unfinished run.
        also: what else another run must have in common with this one, by name.

    Attributes:
        found: the generation that the run goes on from, None for a new run.
        summary: of the run that is in the folder, when it is done already.

    Raises:
        ConfigError: on all ranks: an unfinished run is in the way, or there is none to resume.
        RestartError: on all ranks: the data is of another run or format, or none of it is whole.
    """

    def __init__(
        self,
        case: Case,
        checkpointing: Checkpointing,
        command: str,
        resume: Resume,
        also: Mapping[str, Any] | None = None,
    ) -> None:
        self.case, self.comm, self._checkpointing = case, case.comm, checkpointing
        self.folder = folder_of(case.config)
        self.identity = identity_of(case, command, also or {})
        self.found: Manifest | None = None
        self.summary: RunSummary | None = None
        self._vital: dict[str, np.ndarray] = {}
        self._lost, self._resume_seconds = 0, 0.0
        self._begun: float | None = None
        self._ended: float | None = None
        if resume != "never":
            with self._timed():
                self._find(resume)
        self._prepare_folder()
        self.keeper = Keeper(
            case.config.restart, self.folder, case.decomposition, self.identity, self.found
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
            require_same_files(
                self.case.config,
                newest.identity.get("files", {}),
                self.case.files,
                f"the restart data in {self.folder}",
                "begin anew with --resume never",
            )
            require_identity(self.folder, newest, self.identity.values)
        if newest.phase == "done":
            self.summary = summary_of(newest.facts["summary"])
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
        decomposition = self.case.decomposition
        return read_part(self.folder, manifest, manifest.sweep, decomposition)

    def _count_lost(self, manifest: Manifest) -> None:
        noted = steps_done(self.folder, manifest.run) if self.comm.rank == 0 else None
        saved = manifest.counts["forward_steps"] + manifest.counts["reverse_steps"]
        lost = 0 if noted is None else max(0, noted - int(saved))
        self._lost = manifest.facts["lost_steps"] + from_rank(self.comm, lost)

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
        return {"resumed": before, "lost_steps": self._lost, "seconds_sweeps": self._sweeping()}

    def _sweeping(self) -> float:
        """Seconds that the sweeps of this job and those before it have taken."""
        now = time.perf_counter() if self._ended is None else self._ended
        return self._before("seconds_sweeps") + (now - self._begun if self._begun else 0.0)

    def _before(self, name: str) -> float:
        """Seconds that earlier jobs have counted."""
        if self.found is None:
            return 0.0
        return float({**self.found.facts, **self.found.counts}.get(name, 0.0))

    def of_this_job(self, seconds: dict[str, float]) -> dict[str, float]:
        """What this job alone has taken of the parts that all have: forward, adjoint, snapshots."""
        return {part: taken - self._before(f"seconds_{part}") for part, taken in seconds.items()}

    def schedule(self) -> Schedule:
        """The configured schedule, or one for what remains, which `reverse` makes anew."""
        return self._checkpointing.schedule() if self.found is None else self._rest({0: 0})

    def _rest(self, live: dict[int, int], position: int | None = None) -> Schedule:
        """The least work from the live snapshots on, whatever schedule has left them."""
        assert self.found is not None
        whole, found = self._checkpointing.schedule(), self.found
        if found.n_steps is None:
            return Online.resume(whole.snapshots, live.items(), position or 0)
        rest = Rest.resume(
            found.n_steps,
            whole.snapshots + whole.snapshots_on_disk,
            live.items(),
            to_reverse=found.position if found.phase == "reverse" else None,
            forward_steps=int(found.counts["forward_steps"]),
            position=position,
        )
        rest.memory = whole.snapshots
        return rest

    def reverse(self, schedule: Schedule, store: Store, monitor: Monitor | LossyError) -> Reversal:
        """Do what is left of both sweeps; see `assembly.runs.reverse`.

        Raises:
            InterruptedRunError: on all ranks: the run is to stop, and everything is saved.
        """
        return outcome(self.case, self.executed(schedule, store, monitor))

    def executed(
        self, schedule: Schedule, store: Store, monitor: Monitor | LossyError
    ) -> Executor[np.ndarray, Cotangent, Any]:
        """An executor that has done what is left of both sweeps; see `reverse`."""
        case, model = self.case, self.case.model
        state = model.initial_state(case.fields)

        def observed(action: FusedAction, counts: Counts) -> None:
            monitor(action, counts)
            self.keeper.done(counts.forward_steps + counts.reverse_steps)

        executor: Executor[np.ndarray, Cotangent, Any]
        if self.found is None:
            executor = Executor(model, schedule, store, observed)
        else:
            with self._timed():
                executor = self._go_on(state, store, observed)
        self.schedule_used = executor.schedule
        monitor.follow(executor)
        self.keeper.watch(executor, GradientContents(case, self.facts, executor), store)
        self._begun = time.perf_counter()
        with self.keeper:
            executor.run(state)
            self.keeper.finish()
        self._ended = time.perf_counter()
        return executor

    def _go_on(
        self, state: np.ndarray, store: Store, observer: Observer
    ) -> Executor[np.ndarray, Cotangent, Any]:
        """An executor for what is left, with the snapshots that are saved in the store."""
        found, model = self.found, self.case.model
        assert found is not None
        whole = self._checkpointing.schedule()
        limit = whole.snapshots + whole.snapshots_on_disk
        model.time_steps.go_on(found.facts)
        # what was counted in whole numbers comes back as such: mypy knows of int or float alone
        counts = Counts(**found.counts)  # type: ignore[arg-type]
        position, cotangent = None, None
        live = self._load_snapshots(store, limit)
        if found.phase == "reverse":
            model.resume(state, self.case.fields, self.case.n_steps)
            self._bring_final(state, store, live)
            cotangent = model.new_cotangent()
            for name, field in model.tile_fields(cotangent).items():
                field[...] = self._vital[name]
            if self.comm.rank == 0:
                cotangent.bins[...] = found.facts["bins"]
        else:
            position = found.position
            model.resume(state, self._vital["state"], position)
        return Executor(
            self.case.model,
            self._rest(live, position),
            store,
            observer,
            counts=counts,
            position=position or 0,
            cotangent=cotangent,
            held={slot: step for step, slot in live.items()},
        )

    def _bring_final(self, state: np.ndarray, store: Store, live: dict[int, int]) -> None:
        """Read the final state, or compute it anew where its file is lost.

        The state is that of step 0, store has the snapshots, live their slots by step.
        """
        found, model = self.found, self.case.model
        assert found is not None
        assert found.final is not None
        try:
            with agreed(self.comm):
                final = read_part(self.folder, found, found.final, self.case.decomposition)
        except RestartError as error:
            step = max(live)
            self._say("%s: computing the final state anew from step %d", error, step)
            if step:
                store.load(live[step], step, lambda snapshot: model.restore(snapshot, state))
            model.advance(state, step, self.case.n_steps)
            model.final = model.layout.interior(state)
            self.keeper.forget_final()
        else:
            model.final = final["state"]

    def _save(self, store: Store, slot: int, step: int, field: np.ndarray) -> None:
        """Save the snapshot of a step whose state has these points."""
        model = self.case.model
        state = model.state_of(field)
        model.keep(state, step)
        store.save(slot, step, lambda snapshot: model.snapshot(state, snapshot))

    def _load_snapshots(self, store: Store, limit: int) -> dict[int, int]:
        """Bring the saved snapshots into the store; returns step to slot."""
        found, decomposition = self.found, self.case.decomposition
        assert found is not None
        self._save(store, 0, 0, self.case.fields)
        live = {0: 0}
        for step in thinned(sorted(found.snapshots), limit - 1):
            try:
                with agreed(self.comm):
                    part = found.snapshots[step]
                    field = read_part(self.folder, found, part, decomposition)["state"]
            except RestartError as error:
                self._say("%s: going on without the snapshot of step %d", error, step)
                continue
            self._save(store, len(live), step, field)
            live[step] = len(live)
        return live

    def sweep(self, monitor: Monitor) -> float:
        """Do what is left of the primal alone; see `assembly.runs.sweep`.

        Raises:
            InterruptedRunError: on all ranks: the run is to stop, and everything is saved.
        """
        case, model = self.case, self.case.model
        state, bins, n = model.initial_state(case.fields), model.objective.new_bins(), 0
        if self.found is not None:
            n = self.found.position
            model.time_steps.go_on(self.found.facts)
            model.resume(state, self._vital["state"], n)
            if self.comm.rank == 0:
                bins[...] = self.found.facts["bins"]
        sweeps = ForwardSweep(case, self.facts, state, bins, n)

        def updated(done: int) -> None:
            sweeps.swept_to = done
            if sweeps.complete:  # evaluating the last state adds to them
                sweeps.bins = bins.copy()
            monitor.update(done)
            self.keeper.done(done)

        monitor.follow(sweeps)
        self.keeper.watch(sweeps, sweeps, None)
        self._begun = time.perf_counter()
        with self.keeper:
            objective = sweep(case, updated, start=(state, bins, n))
            self.keeper.finish()
        self._ended = time.perf_counter()
        return objective

    def kept_if_not_written(self, what: str) -> AbstractContextManager[None]:
        """Save what was computed as restart data where the block cannot write it. Collective.

        Args:
            what: was computed, in words.
        """
        kept = f"the {what} is saved: {self.identity.goes_on_with} writes it"
        return kept_if_not_written(self.keeper.save_end, kept, "nor can it be saved")

    def conclude(self, summary: RunSummary) -> None:
        """Note that the results are written: nothing is left to resume."""
        self.keeper.conclude(to_mapping(summary))

    def report(
        self, forward_steps: int, planned: int | None, seconds: dict[str, float]
    ) -> Restarted:
        """What interruptions and saving have cost, and what all jobs together have taken.

        Args:
            seconds: that all jobs have taken for the parts of the sweeps.
            forward_steps: taken by the whole run, those that were lost left out.
            planned: forward steps of a run without interruptions; None when nobody knows.
        """
        facts = self.facts()
        return Restarted(
            resumed=facts["resumed"],
            lost_steps=facts["lost_steps"],
            repeated_steps=None if planned is None else forward_steps - planned,
            seconds_of_all_jobs={
                name: largest(self.comm, taken)
                for name, taken in {"sweeps": facts["seconds_sweeps"], **seconds}.items()
            },
            resume_seconds=largest(self.comm, self._resume_seconds),
            **self.keeper.report(),
        )
