"""Runs in this process that are asked to stop at a chosen moment, as a signal would."""

import pytest

from burgers_adjoint.output.progress import Progress
from burgers_adjoint.restart import keeper

_asked: dict[str, bool] = {}


class At:
    """A progress that asks its rank for a stop when so many steps are done."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.quiet = Progress(False)
        _asked.clear()

    def begin(self, title: str, total: int | None) -> None:
        pass

    def end(self) -> None:
        pass

    def update(self, done: int) -> None:
        if done >= self.steps:
            _asked["SIGTERM"] = True

    def __call__(self, action: object, counts: object) -> None:
        self.update(counts.forward_steps + counts.reverse_steps)  # type: ignore[attr-defined]


def stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs stop where `At` says so, and look whether they are to stop after every action."""
    _asked.clear()
    monkeypatch.setattr(
        keeper.StopSignals,
        "received",
        property(lambda self: "SIGTERM" if _asked else None, lambda self, value: None),
        raising=False,
    )
    monkeypatch.setattr(keeper, "SECONDS_BETWEEN_LOOKS", 1e-9)
