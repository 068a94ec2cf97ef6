"""Notes for the next job: how far a run is, why it stopped, and how long a job takes to end.

A job script measures the last, from the time of the note of the stop to the end of the launcher.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

NAME = "progress"
STOPPED = "stopped"
WAY_OUT = "way-out"


def note_progress(folder: Path, run: str, steps: int) -> None:
    """Write down the steps done; it need not survive more than the process."""
    text = f"{run} {steps:16d}\n"
    with suppress(OSError):
        descriptor = os.open(folder / NAME, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, text.encode(), 0)
        finally:
            os.close(descriptor)


def steps_done(folder: Path, run: str) -> int | None:
    """Forward and reverse steps that the run has noted; None when it has not, or not readably."""
    try:
        name, steps = (folder / NAME).read_text(encoding="utf-8").split()
        return int(steps) if name == run else None
    except (OSError, ValueError):
        return None


def note_stop(folder: Path, why: str | None) -> None:
    """Write down when a run has stopped with everything saved, and why: a signal, or "walltime".

    None takes back the note of an earlier run.
    """
    with suppress(OSError):
        if why is None:
            (folder / STOPPED).unlink(missing_ok=True)
            return
        (folder / STOPPED).write_text(f"{why} {time.time():.0f}\n", encoding="utf-8")


def way_out(folder: Path) -> float | None:
    """Seconds from a stop to the end of the launcher, as measured before; None when unknown."""
    try:
        return max(1.0, float((folder / WAY_OUT).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def guessed_way_out(ranks: int) -> float:
    """Seconds that it may take on so many ranks."""
    return 5.0 + 0.01 * ranks
