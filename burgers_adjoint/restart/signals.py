"""Signals that ask a run to save and stop."""

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# A launcher may pass on to a rank what the rank has got itself.
SECONDS_TO_THE_SECOND_INTERRUPT = 0.3


class StopSignals:
    """Notes signals in place of ending; a context manager. A second SIGINT ends at once.

    Attributes:
        received: name of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._interrupted_at: float | None = None

    def __enter__(self) -> "StopSignals":
        # Under nohup interrupts are ignored, and stay so.
        active = list(SIGNALS)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            active.remove(signal.SIGINT)
        self._before = {number: signal.signal(number, self._note) for number in active}
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT:
            if self._interrupted_at is None:
                self._interrupted_at = now
            elif now - self._interrupted_at > SECONDS_TO_THE_SECOND_INTERRUPT:
                before = self._before[signal.SIGINT]
                if callable(before):
                    before(number, frame)
                raise KeyboardInterrupt
        if self.received is None:
            self.received = signal.Signals(number).name
