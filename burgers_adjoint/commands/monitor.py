"""Shows how far a run is: on the terminal, and in files for `watch`."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.commands.saved import ForwardSweep
from burgers_adjoint.errors import BurgersAdjointError, InterruptedRunError
from burgers_adjoint.files.whole import reason
from burgers_adjoint.output import preview, status
from burgers_adjoint.output.lock import holder_of, this_run
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.results import remove_leftovers
from burgers_adjoint.output.status import Event, Job, Place, Status
from burgers_adjoint.parallel.agreement import from_rank
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.stepping.stepper import Cotangent

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
STATUS_SECONDS = 1.0
FIRST_SECONDS = 2.0  # a run that is over by then leaves nothing to watch
FIRST_STEPS = 16
# Share of the time that previews, and likewise the status, may take as rank 0 sees it. What they
# cost the other ranks is not seen: together they are to stay below 1 %.
SHARE = 0.003
COSTS, FURTHEST_AT_FIRST = 3, 10

Sweeps = Executor[np.ndarray, Cotangent, Any] | ForwardSweep


class Monitor:
    """What a run shows of itself while it goes on; a context manager around the run.

    It stands for the progress on the terminal, and writes a status and a preview of the fields into
    the output folder, unless output.preview is 0. All ranks look up together after as many steps as
    take a quarter of a second, and gather a preview when rank 0 says so.

    Args:
        case: that is run.
        command: of the command line.
        progress: on the terminal.
    """

    def __init__(self, case: Case, command: str, progress: Progress) -> None:
        self.case, self.comm, self.progress = case, case.comm, progress
        self.seconds = case.config.output.preview
        self._command, self._directory = command, Path(case.config.output.directory)
        self._status: Status | None = None  # on rank 0, where there is something to watch
        self._events: list[Event] = []
        self._recorder = _Recorder(self._note)
        self._sweeps: Sweeps | None = None
        self._limits = self._shown = self._broken = False
        self._before = self._done = 0
        self._ahead = self._next_look = FIRST_STEPS
        self._spent = 0.0
        self._previews = _Distance(self.seconds)
        self._words = _Distance(min(STATUS_SECONDS, self.seconds))

    def __enter__(self) -> "Monitor":
        if self.seconds and self.comm.rank == 0:
            logging.getLogger("burgers_adjoint").addHandler(self._recorder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.getLogger("burgers_adjoint").removeHandler(self._recorder)
        if error is not None:
            stopped = isinstance(error, InterruptedRunError)
            message = str(error)
            if not isinstance(error, BurgersAdjointError):
                message = f"{type(error).__name__} {error}".strip()
            self._conclude("stopped" if stopped else "failed", message)

    def prepare(self, continued: bool, limits: bool = True) -> None:
        """Begin, in an output folder that is there. Collective.

        Args:
            continued: this job goes on with the run that has left its status in the folder.
            limits: nobody else has the sweeps tell often enough how far they are.

        Raises:
            BurgersAdjointError: on all ranks: what an older run has left cannot be removed.
        """
        self._limits, self._begun = limits, time.monotonic()
        with agreed(self.comm):
            if self.comm.rank:
                return
            before = status.read(self._directory) if continued and self.seconds else None
            if before is None:
                remove_leftovers(self._directory, [status.FILE, preview.FILE])
                with suppress(OSError):
                    (self._directory / status.FILE).parent.rmdir()
            if self.seconds:
                self._status = self._new_status(before)
                if before is not None:
                    self._write()

    def _new_status(self, before: Status | None) -> Status:
        decomposition = self.case.decomposition
        holder = holder_of(self._directory) or this_run(self.comm.size)
        job = Job(holder=holder, process_grid=decomposition.process_grid, begun=time.time())
        if before is None:
            return Status(command=self._command, grid=decomposition.shape, jobs=[job])
        self._shown = True
        last = before.jobs[-1]
        if not last.end:
            last.end, last.ended = "died", before.updated
        before.phase, before.seconds_left = "preparing", None
        before.jobs.append(job)
        self._events[:0] = before.events
        return before

    # ---- what a progress does

    def begin(self, title: str, total: int | None) -> None:
        """Start showing a sweep of so many steps; see `Progress.begin`."""
        self.progress.begin(title, total)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self.progress.say(line)
        self._note(line)

    def __call__(self, action: Any, counts: Any) -> None:
        """Observe an action of the executor. Collective."""
        self.progress(action, counts)
        self._at(counts.forward_steps + counts.reverse_steps)

    def update(self, done: int) -> None:
        """Say how many steps of a forward sweep are done. Collective."""
        self.progress.update(done)
        self._at(done)

    def end(self) -> None:
        """Say that the sweeps are over. Collective."""
        self.progress.end()
        if self.seconds and self._sweeps is not None:
            if from_rank(self.comm, self._shown or self._words.due()):
                self._take_preview()
                if self._status is not None:
                    self._tell("writing")
            self._sweeps = None

    # ---- what it does itself

    def follow(self, sweeps: Sweeps) -> None:
        """Say which sweeps are next, before they begin."""
        self._sweeps, self._before = sweeps, self._done
        if self._limits:
            sweeps.limit_runs(self._ahead)
        counts = sweeps.counted()
        done = int(counts["forward_steps"] + counts["reverse_steps"])
        if self._before == 0:
            self._done = self._seen = self._first = done
            self._next_look = done + self._ahead
            self._last = self._begun = time.monotonic()
            first = self._begun + min(FIRST_SECONDS, self.seconds)
            self._previews.next = self._words.next = first
        if self._status is not None:
            self._status.schedule = sweeps.schedule.name if isinstance(sweeps, Executor) else ""
            if self._command == "optimize":
                self._status.evaluation += 1
            elif self._before == 0:
                self._status.jobs[-1].first = done
                self._status.places.append(Place(done, sweeps.swept_to, sweeps.turned))

    def conclude(self, objective: float) -> None:
        """Say that the run is over and its results are written."""
        if self._status is not None:
            self._status.objective = objective
        self._conclude("finished", "")

    def _conclude(self, end: str, message: str) -> None:
        if self._status is None or not self._shown:
            return
        job = self._status.jobs[-1]
        if end == "finished":
            self._status.phase, self._status.seconds_left = "done", None
        job.end, job.message, job.ended = end, message, time.time()
        self._write()

    def _at(self, done: int) -> None:
        self._done = self._before + done
        if self.seconds and self._done >= self._next_look:
            self._look()

    def _look(self) -> None:
        """Look up with all other ranks. What they do follows from what rank 0 says."""
        assert self._sweeps is not None
        take, self._ahead = from_rank(self.comm, self._wish())
        self._next_look = self._done + self._ahead
        if self._limits:
            self._sweeps.limit_runs(self._ahead)
        if take:
            self._take_preview()
        if self._status is not None and self._words.due():
            self._tell("reverse" if self._sweeps.turned else "forward")

    def _wish(self) -> tuple[bool, int]:
        """Whether to gather a preview now, and the steps to the next look."""
        now = time.monotonic()
        steps, seconds = self._done - self._seen, now - self._last
        self._seen, self._last = self._done, now
        # At most doubled at a time: the first steps may have been far from the usual speed.
        ahead = min(steps * LOOK_SECONDS / max(seconds, 1e-9), 2 * steps)
        return self._previews.due(), max(1, int(ahead))

    def _take_preview(self) -> None:
        """Gather and write a preview. Collective."""
        start, sweeps, model = time.perf_counter(), self._sweeps, self.case.model
        assert sweeps is not None
        fields: dict[str, np.ndarray] = {}
        cotangent = sweeps.cotangent
        if sweeps.state is not None:
            # tangents may lie behind the two
            fields |= dict(zip("uv", model.fields_of(sweeps.state), strict=False))
        if cotangent is not None:
            names = ("cotangent u", "cotangent v")
            fields |= dict(zip(names, model.fields_of(cotangent.field), strict=False))
        found = preview.gather(self.case.decomposition, fields)
        if found is None or self._status is None:
            return
        grid, number = self.case.grid, self._status.preview + 1
        facts = {
            "number": number,
            "taken": time.time(),
            "step": sweeps.position,
            "time": model.time_steps.time(sweeps.position),
            "cotangent_step": None if cotangent is None else sweeps.swept_to,
            "grid": grid.shape,
            "x": [float(grid.x[0]), float(grid.x[-1])],
            "y": [float(grid.y[0]), float(grid.y[-1])],
        }
        if self._on_disk(lambda: preview.write(self._directory, facts, found)):
            self._status.preview = number
        spent = time.perf_counter() - start
        self._spent += spent
        self._previews.took(spent)

    def _tell(self, phase: str) -> None:
        """Write down how far the run is; on rank 0."""
        start, now, sweeps, told = time.perf_counter(), time.monotonic(), self._sweeps, self._status
        assert sweeps is not None
        assert told is not None
        counts, left = sweeps.counted(), sum(sweeps.steps_left())
        told.phase, told.n_steps, told.step = phase, sweeps.n_steps, sweeps.swept_to
        told.forward_steps, told.reverse_steps = (
            int(counts[f"{kind}_steps"]) for kind in ("forward", "reverse")
        )
        done = told.forward_steps + told.reverse_steps
        told.total, told.seconds_left = None, None
        if math.isfinite(left):
            pace = (now - self._begun) / max(self._done - self._first, 1)
            told.total, told.seconds_left = done + left, left * pace
        told.snapshots = sorted(sweeps.live)
        told.preview_share = self._spent / max(now - self._begun, 1e-9)
        self._mark(told, done)
        self._write()
        spent = time.perf_counter() - start
        self._spent += spent
        self._words.took(spent)

    def _mark(self, told: Status, done: int) -> None:
        """Note where the run is, at about equal distances."""
        assert self._sweeps is not None
        places, gap = told.places, (told.total or done) / status.MOST_PLACES
        if places and 0 <= done - places[-1].done < gap:
            return
        places.append(Place(done, told.step, self._sweeps.turned))
        if len(places) > 2 * status.MOST_PLACES:
            del places[1::2]

    def _note(self, text: str) -> None:
        if self.seconds and self.comm.rank == 0:
            self._events.append(Event(time.time(), text))
            del self._events[: -status.MOST_EVENTS]

    def _write(self) -> None:
        told = self._status
        assert told is not None
        told.updated, told.events = time.time(), self._events
        self._shown = self._on_disk(lambda: status.write(self._directory, told)) or self._shown

    def _on_disk(self, write: Callable[[], None]) -> bool:
        """Write, where that can be done: a run does not end for what it shows."""
        try:
            (self._directory / status.FILE).parent.mkdir(exist_ok=True)
            write()
        except OSError as error:
            if not self._broken:
                self._broken = True
                folder = (self._directory / status.FILE).parent
                logger.warning(
                    "cannot write to %s: %s; the run goes on, and cannot be watched",
                    folder, reason(error),
                )  # fmt: skip
            return False
        return True


class _Distance:
    """When to do what comes again and again, at a limited share of the time.

    Args:
        seconds: from one time to the next at least.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._costs: deque[float] = deque(maxlen=COSTS)
        self.next = math.inf

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self.next

    def took(self, seconds: float) -> None:
        """Note what it took. The least of some counts: others have waited for a busy machine."""
        self._costs.append(seconds)
        apart = max(self._seconds, min(self._costs) / SHARE)
        if len(self._costs) < COSTS:
            apart = min(apart, FURTHEST_AT_FIRST * self._seconds)
        self.next = time.monotonic() + apart


class _Recorder(logging.Handler):
    """Notes the package's warnings, and leaves it to others to show them."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._record = note

    def emit(self, record: logging.LogRecord) -> None:
        """Note a warning."""
        self._record(record.getMessage())
        # Python shows by itself what no handler takes: with this one it would not
        last = logging.lastResort
        if last is not None and not logging.getLogger().handlers:
            last.handle(record)
