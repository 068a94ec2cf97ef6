"""How far a run is: a bar on a terminal, a plain line every few seconds elsewhere."""

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import rich.progress

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_LOOKS = 0.1


class Progress:
    """Shows the steps done of a known total; a context manager that leaves the terminal clean.

    An instance is an observer of the executor. It is called after every action, so it reads the
    clock only when as many steps are done as took a tenth of a second so far.

    Args:
        shown: False keeps it silent: --quiet, and every rank but 0.
        stream: where to, standard error when not given; standard output belongs to the results.
        terminal: whether the stream is a terminal that a bar can be drawn on; asks the stream
            when not given.
    """

    def __init__(
        self, shown: bool = True, stream: TextIO | None = None, terminal: bool | None = None
    ) -> None:
        self.shown = shown
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty() if terminal is None else terminal
        self._title = ""
        self._total: int | None = None
        self._next_look: float = math.inf
        self._bar: rich.progress.Progress | None = None

    def begin(self, title: str, total: int | None) -> None:
        """Start showing a sweep of so many steps, forward and reverse steps counted alike.

        Where nobody knows how many there will be, `total` is None.
        """
        self.end()
        if not self.shown:
            return
        self._title, self._total = title, total
        self._begun = self._last_look = self._last_line = time.monotonic()
        self._last_done, self._next_look = 0, 0
        if self._terminal:
            self._bar = _bar(self._stream)
            self._task = self._bar.add_task(title, total=total)
            self._bar.start()

    def __call__(self, action: object, counts: Any) -> None:
        """Observe an action of the executor; counts has forward_steps and reverse_steps."""
        done = counts.forward_steps + counts.reverse_steps
        if done >= self._next_look:
            self._look(done)

    def update(self, done: int) -> None:
        """Say how many steps are done in all."""
        if done >= self._next_look:
            self._look(done)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        if self.shown:
            self._write(line)

    def end(self) -> None:
        """Stop showing; the terminal is as it was."""
        self._next_look = math.inf
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def _look(self, done: int) -> None:
        now = time.monotonic()
        rate = (done - self._last_done) / max(now - self._last_look, 1e-9)
        # At most doubled at a time: the first steps may have been far from the usual speed.
        ahead = min(rate * SECONDS_BETWEEN_LOOKS, 2.0 * (done - self._last_done) + 1)
        self._last_look, self._last_done = now, done
        self._next_look = done + ahead
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._write(self._line(done, now - self._begun))

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")  # `print` may hand over the end by itself
        self._stream.flush()

    def _line(self, done: int, seconds: float) -> str:
        if self._total is None:
            return f"{self._title}: {done} steps, {seconds:.0f} s"
        left = seconds * (self._total - done) / done if done else math.inf
        return (
            f"{self._title}: {done} of {self._total} steps ({done / self._total:.0%}), "
            f"{seconds:.0f} s" + (f", about {left:.0f} s left" if math.isfinite(left) else "")
        )


def _bar(stream: TextIO) -> "rich.progress.Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream, force_terminal=True),
        transient=True,
    )
