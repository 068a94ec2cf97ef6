"""Keeps the restart data of a run up to date while its sweeps go on, and stops it in time."""

import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np

from burgers_adjoint.config import Restart
from burgers_adjoint.errors import (
    InterruptedRunError,
    RestartWriteError,
    SnapshotError,
    agreed_error,
)
from burgers_adjoint.parallel.agreement import from_rank, largest_each, total
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.restart.choice import worth_saving
from burgers_adjoint.restart.copies import Copies
from burgers_adjoint.restart.deadline import Deadline
from burgers_adjoint.restart.manifest import Manifest, next_generation
from burgers_adjoint.restart.parts import Field
from burgers_adjoint.restart.policy import Pace, Policy
from burgers_adjoint.restart.progress import guessed_way_out, note_progress, note_stop, way_out
from burgers_adjoint.restart.signals import SIGNALS, StopSignals
from burgers_adjoint.restart.sweeps import Contents, Sweeps
from burgers_adjoint.restart.writer import Writer

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1
SNAPSHOTS_PER_SAVE = 2
# A snapshot is worth saving when the steps to make it anew take this share of a save's time; most
# of that time costs nothing, as the sweeps go on meanwhile.
WORTH = 0.03
GUESSED_BYTES_PER_SECOND = 1e9
BY_WALLTIME = 1  # reasons to stop; above it, the signals


@dataclass(frozen=True)
class Identity:
    """Which run it is.

    Attributes:
        command: of the command line.
        values: what a run must have in common with this one to go on with it, as JSON has it.
        goes_on_with: the command that resumes it, for people.
    """

    command: str
    values: dict[str, Any]
    goes_on_with: str


class Keeper:
    """An observer of a run's sweeps that saves them; a context manager around the sweeps.

    All ranks look up together after as many steps as take a tenth of a second: whether one of them
    has got a signal, whether the job's time is nearly over, whether a save is due, whether one in
    the background has come a stage further. What they do follows from the agreed answers alone.

    Args:
        settings: the section [restart].
        folder: of the restart data; it must be there.
        decomposition: who owns which points.
        identity: of the run.
        resumed: the generation that the run goes on from, if it does.
    """

    def __init__(
        self,
        settings: Restart,
        folder: Path,
        decomposition: Decomposition,
        identity: Identity,
        resumed: Manifest | None,
    ) -> None:
        self.settings, self.folder, self.identity = settings, folder, identity
        self.decomposition, self.comm = decomposition, decomposition.comm
        name = f"{time.time_ns():x}-{id(self):x}" if resumed is None else resumed.run
        with agreed(self.comm):
            generation = next_generation(folder) if self.comm.rank == 0 else 0
        name, self._generation = from_rank(self.comm, (name, generation))
        self.writer = Writer(decomposition, folder, name, settings.keep)
        self.writer.kept = [] if resumed is None else [resumed]
        self._final = None if resumed is None else resumed.final
        self._sweep: tuple[int, str] | None = None
        self._copies = Copies()
        self._signals = StopSignals()
        self._pace = Pace()
        self._stall = 0.0
        self._failed = self._waited = False

    def forget_final(self) -> None:
        """Save the final state anew: the file that holds it is lost."""
        self._final = None

    def watch(
        self, sweeps: Sweeps, contents: Contents, store: SnapshotStore[np.ndarray] | None
    ) -> None:
        """Say what is to be saved, and where its snapshots are, before the sweeps begin."""
        self._sweeps, self._contents, self._store = sweeps, contents, store
        now = time.monotonic()
        ny, nx = self.decomposition.tile_shape
        nbytes = 2 * 8 * ny * nx
        self._policy = Policy(
            self.settings.overhead,
            self.settings.mtbf,
            (1 + SNAPSHOTS_PER_SAVE) * nbytes / GUESSED_BYTES_PER_SECOND,
            now,
        )
        self._begun = now
        self._deadline: Deadline | None = None
        if self.comm.rank == 0:
            note_stop(self.folder, None)
            self._deadline = Deadline(self.settings.walltime)
            self._way_out = way_out(self.folder) or guessed_way_out(self.comm.size)
        self._steps = self._done()
        self._next_look, self._last_look = self._steps, now
        self._gap = 1

    def __enter__(self) -> "Keeper":
        self._signals.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._signals.__exit__(*failure)

    def done(self, steps: int) -> None:
        """Note that so many forward and reverse steps are done, and look up when it is time.

        Raises:
            InterruptedRunError: on all ranks: the run is to stop, and everything is saved.
        """
        if steps >= self._next_look:
            self.look()

    def _done(self) -> int:
        counts = self._sweeps.counted()
        return int(counts["forward_steps"] + counts["reverse_steps"])

    def look(self) -> None:
        """Look up, together with all other ranks, and do what has to be done; see `done`."""
        stop, busy, due, steps, self._gap = self._agree()
        begin = time.perf_counter()
        self._steps = self._done()
        self._next_look = self._steps + steps
        self._sweeps.limit_runs(steps)
        if self.writer.stage is not None and not busy:
            self._proceed()
        if not self._sweeps.complete:
            if stop:
                self._stop(stop)
            elif due and self.writer.stage is None:
                self._save(SNAPSHOTS_PER_SAVE)
        self._stall += time.perf_counter() - begin

    def _agree(self) -> tuple[int, bool, bool, int, int]:
        """What all ranks do now: stop and why, writing, save, steps to the next look, least gap."""
        wishes = np.zeros(6)
        received = self._signals.received
        if received is not None:
            wishes[0] = BY_WALLTIME + 1 + [number.name for number in SIGNALS].index(received)
        wishes[1] = self.writer.busy
        wishes[5] = self._copies.waited
        if self.comm.rank == 0:
            now = time.monotonic()
            counts = self._sweeps.counted()
            self._pace.measure(counts, self.writer.stage is not None)
            if self._deadline is not None and self._deadline.seconds_left() <= self._margin():
                wishes[0] = max(wishes[0], BY_WALLTIME)
            wishes[2] = self.writer.stage is None and self._policy.due(now, self._seconds_left())
            wishes[3] = self._steps_ahead(now)
            wishes[4] = self._pace.steps_worth(WORTH * self._policy.slowest)
            note_progress(self.folder, self.writer.run, self._done())
        wishes = largest_each(self.comm, wishes)
        self._say_waited(bool(wishes[5]))
        return int(wishes[0]), bool(wishes[1]), bool(wishes[2]), int(wishes[3]), int(wishes[4])

    def _say_waited(self, waited: bool) -> None:
        if waited and not self._waited and self.comm.rank == 0:
            logger.warning(
                "the device has no memory for copies of restart data: the steps wait while they "
                "are brought to the host"
            )
        self._waited |= waited

    def _steps_ahead(self, now: float) -> int:
        done = self._done() - self._steps
        seconds, self._last_look = now - self._last_look, now
        ahead = done * SECONDS_BETWEEN_LOOKS / max(seconds, 1e-9)
        # At most doubled at a time: the first steps may have been far from the usual speed.
        return max(1, int(min(ahead, 2 * done)))

    def _seconds_left(self) -> float:
        return self._pace.seconds_for(*self._sweeps.steps_left())

    def _margin(self) -> float:
        """Seconds before the deadline at which to stop."""
        assert self._deadline is not None
        share = 0.01 * (time.monotonic() - self._begun + self._deadline.seconds_left())
        return self._way_out + min(share, 60) + 3 * self._policy.slowest

    def _save(self, most: int) -> None:
        """Begin to save: copy what changes, and let the writer do the rest."""
        sweeps = self._sweeps
        self._policy.begun(time.monotonic())
        self._generation += 1
        suffix = f"{self._generation:08d}"
        new: dict[str, dict[str, Field]] = {}
        at = self._done()
        if self._sweep is None or self._sweep[0] != at:
            self._sweep = (at, f"sweep-{suffix}")
            new[self._sweep[1]] = {
                name: self._copies.of(field)
                for name, field in self._contents.sweep_fields().items()
            }
        final = self._final
        if sweeps.turned and final is None:
            final = f"final-{suffix}"
            new[final] = {
                name: self._copies.of_lasting(field)
                for name, field in self._contents.final_fields().items()
            }
        snapshots = {
            step: part for step, part in self.writer.snapshots.items() if step in sweeps.live
        }
        for step in self._missing(most):
            fields = self._read_snapshot(step)
            if fields is not None:
                snapshots[step] = f"snapshot-{step}-{suffix}"
                new[snapshots[step]] = fields
        self.writer.begin(self._draft(final, snapshots), new)

    def _draft(self, final: str | None, snapshots: dict[int, str]) -> Manifest:
        sweeps = self._sweeps
        return Manifest(
            run=self.writer.run,
            generation=self._generation,
            saved_at=time.time(),
            identity=self.identity.values,
            shape=self.decomposition.shape,
            n_steps=sweeps.n_steps,
            command=self.identity.command,
            phase="reverse" if sweeps.turned else "forward",
            position=sweeps.swept_to,
            counts=sweeps.counted(),
            facts=self._contents.facts(),
            sweep=None if self._sweep is None else self._sweep[1],
            final=final,
            snapshots=snapshots,
        )

    def _missing(self, most: int) -> list[int]:
        """Steps of the live snapshots to save next."""
        if self._store is not None and self._store.lossy:
            return []  # restart data has the bits of the run, or is not there
        live, saved = set(self._sweeps.live), set(self.writer.snapshots)
        return worth_saving(live, saved, self._sweeps.swept_to, most, self._gap)

    def _read_snapshot(self, step: int) -> dict[str, Field] | None:
        """Copy of a snapshot; None, on all ranks, where the store cannot give it."""
        assert self._store is not None
        copies: list[Field] = []
        try:
            slot = self._sweeps.live[step]
            self._store.load(slot, step, lambda data: copies.append(self._copy_snapshot(data)))
        except SnapshotError:
            return None
        return {"state": copies[0]}

    def _copy_snapshot(self, data: np.ndarray) -> Field:
        return self._copies.of(self._contents.own_points(data))

    def _proceed(self, last: bool = False) -> None:
        try:
            valid = self.writer.proceed()
        except RestartWriteError as error:
            self._copies.give_back()
            self._sweep = None
            self._policy.failed()
            if last:
                raise
            if not self._failed and self.comm.rank == 0:
                logger.warning("%s; the run goes on, and tries again later", error)
            self._failed = True
            return
        if not valid:
            self._copies.give_back()
            return
        self._failed = False
        self._final = self.writer.kept[-1].final
        self._policy.ended(time.monotonic(), self._stall, self._pace.take_excess())
        self._stall = 0.0

    def _drain(self, last: bool = False) -> None:
        """Wait until what is being written is on the disk. Collective."""
        while self.writer.stage is not None:
            self.writer.wait()
            self._proceed(last)

    def _stop(self, reason: int) -> NoReturn:
        """Save everything and end the run on all ranks.

        The first generation has the sweep alone, which is soon on the disk; snapshots follow while
        there is time.

        Raises:
            InterruptedRunError: everything is saved.
            RestartWriteError: it cannot be written.
        """
        self.save_end()
        with suppress(RestartWriteError):
            while self._time_left() and self._missing(1):
                self._save(SNAPSHOTS_PER_SAVE)
                self._drain(last=True)
        sweep = "reverse" if self._sweeps.turned else "forward"
        at = (
            f"at step {self._sweeps.swept_to} of {self._sweeps.n_steps or '?'} of the {sweep} sweep"
        )
        why = "the end of the walltime" if reason == BY_WALLTIME else SIGNALS[reason - 2].name
        if self.comm.rank == 0:
            note_stop(self.folder, "walltime" if reason == BY_WALLTIME else why)
        raise agreed_error(
            InterruptedRunError(
                f"stopped by {why} {at}; everything is saved: {self.identity.goes_on_with} goes on"
            )
        )

    def _time_left(self) -> bool:
        left = True
        if self._deadline is not None:
            left = self._deadline.seconds_left() > self._margin() / 2
        return from_rank(self.comm, left)

    def save_end(self) -> None:
        """Save what the sweeps have come to, without snapshots, and wait for it. Collective.

        Raises:
            RestartWriteError: it cannot be written.
        """
        self._drain()
        self._save(0)
        self._drain(last=True)

    def finish(self) -> None:
        """End the sweeps: wait for what is being written. Collective."""
        self._drain()
        self._elapsed = time.monotonic() - self._begun

    def conclude(self, summary: dict[str, Any]) -> None:
        """Leave a note that the run is done, with its summary, in place of its data. Collective."""
        self._generation += 1
        draft = self._draft(None, {})
        facts = {**draft.facts, "summary": summary}
        draft = msgspec.structs.replace(draft, phase="done", sweep=None, facts=facts)
        try:
            self.writer.finish(draft)
        except RestartWriteError as error:
            if self.comm.rank == 0:
                logger.warning("%s", error)

    def report(self) -> dict[str, Any]:
        """What saving has cost, the same on all ranks. Collective."""
        policy = self._policy
        found = {
            "saves": policy.saves,
            "seconds": policy.spent,
            "overhead": policy.spent / self._elapsed if self._elapsed else 0.0,
            "predicted_overhead": policy.predicted_overhead,
            "interval": policy.interval if math.isfinite(policy.interval) else None,
        }
        found["bytes"] = total(self.comm, self.writer.nbytes)
        return from_rank(self.comm, found)
