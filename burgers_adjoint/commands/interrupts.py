"""Ctrl-C."""

import signal
import sys
from typing import Any, NoReturn

SECONDS_BETWEEN_INTERRUPTS = 1.0


class Interrupts:
    """Makes sure that Ctrl-C ends the run.

    Compiled code that calls Python, as the compiler of the kernels does, swallows exceptions: the
    interrupt is raised again until it comes through.
    """

    came = False

    def __enter__(self) -> "Interrupts":
        # Under nohup and in the background of a script interrupts are ignored, and stay so.
        self._active = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._active:
            signal.signal(signal.SIGINT, self._interrupt)
            self._alarm = signal.signal(signal.SIGALRM, self._interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        if self._active:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._alarm)
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def settle(self) -> None:
        """Interrupt no more: it has come through, and its message is to."""
        if self._active:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _interrupt(self, number: int, frame: object) -> NoReturn:
        self.came = True
        _leave_compiler_as_it_is()
        # What is swallowed would be reported with a traceback.
        sys.unraisablehook = lambda report: None
        signal.setitimer(signal.ITIMER_REAL, SECONDS_BETWEEN_INTERRUPTS)
        raise KeyboardInterrupt


def _leave_compiler_as_it_is() -> None:
    """See that no object of the compiler of the kernels is disposed of any more.

    One that was changing hands, from a module to an engine, would be disposed of twice: that ends
    the process by a signal, after its message.
    """
    compiler: Any = sys.modules.get("llvmlite.binding.ffi")
    if compiler is not None:
        compiler.ObjectRef.__del__ = lambda self: None
