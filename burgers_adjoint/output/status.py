"""The status of a run: a small file that says, while it goes on, how far it is.

Rank 0 writes it anew every second or so, and `watch` reads it. It goes on from job to job, and
stays when a job is killed, as the last that is known of it.
"""

from pathlib import Path

import msgspec
from msgspec import Struct, field

from burgers_adjoint.files.whole import replace_quickly
from burgers_adjoint.output.lock import Holder

FILE = "watch/status.json"
MOST_EVENTS = 200
MOST_PLACES = 400


class Job(Struct, kw_only=True):
    """One job of a run.

    Attributes:
        holder: who the job is; its lock on the output folder has the same token.
        process_grid: (py, px).
        begun: seconds since 1970, as all times here.
        first: forward and reverse steps that earlier jobs have done for it.
        end: how it ended: "finished", "stopped", "failed", "died"; empty while it runs.
        ended: when; of one that died, when it was last heard of.
        message: what it said at its end.
    """

    holder: Holder
    process_grid: tuple[int, int]
    begun: float
    first: int = 0
    end: str = ""
    ended: float | None = None
    message: str = ""


class Place(Struct, array_like=True):
    """Where a run was: steps done in all, and the step that it was at, reversing it or not."""

    done: int
    step: int
    reverse: bool


class Event(Struct):
    """What a run has said, and when."""

    at: float
    text: str


class Status(Struct, kw_only=True):
    """How far a run is.

    Attributes:
        command: of the command line.
        phase: "preparing", "forward", "reverse", "writing" or "done".
        updated: when this was written.
        grid: (ny, nx).
        schedule: its name.
        n_steps: of the forward sweep; None as long as nobody knows.
        step: at whose start the working state is, or, in the reverse sweep, the cotangent.
        forward_steps, reverse_steps: done, those of earlier jobs too.
        total: forward and reverse steps of the whole run; None as long as nobody knows.
        seconds_left: of the sweeps, at the pace of this job; None as long as nobody knows.
        snapshots: steps of those that are there.
        evaluation: number of the gradient that is computed, of `optimize`; 0 elsewhere.
        objective: J, at the end of the run.
        preview: how many there have been; 0 for none yet.
        preview_share: of the time of this job's sweeps that the previews and this file have taken.
        jobs: of the run, the last one last.
        places: where the run was, at about equal distances of steps done.
        events: what it has said.
    """

    command: str
    phase: str = "preparing"
    updated: float = 0.0
    grid: tuple[int, int]
    schedule: str = ""
    n_steps: int | None = None
    step: int = 0
    forward_steps: int = 0
    reverse_steps: int = 0
    total: float | None = None
    seconds_left: float | None = None
    snapshots: list[int] = field(default_factory=list)
    evaluation: int = 0
    objective: float | None = None
    preview: int = 0
    preview_share: float = 0.0
    jobs: list[Job]
    places: list[Place] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def write(directory: Path, status: Status) -> None:
    """Write the status in place of the last one.

    Raises:
        OSError: it cannot be written.
    """
    replace_quickly(directory / FILE, msgspec.json.encode(status))


def read(directory: Path) -> Status | None:
    """The status in an output folder; None when there is none that can be read."""
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError):
        return None
