"""A note of how far a run is, so that the next one can say what was lost."""

import os
from contextlib import suppress
from pathlib import Path

NAME = "progress"


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
