"""What every schedule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import ClassVar

from burgers_adjoint.checkpointing.actions import Action
from burgers_adjoint.errors import ConfigError, ScheduleError


class Schedule(ABC):
    """A pure source of actions that reverses `n_steps` steps, last to first.

    The next action is a function of plain attributes, never of a suspended frame: a schedule can
    be pickled between any two actions, and its copy goes on with the same ones.

    Attributes:
        n_steps: steps to reverse, at least 1; None as long as nobody knows, and then `end` tells.
        snapshots: snapshots that may be alive in memory at any moment, the one of the initial
            state included, at least 1.
        snapshots_on_disk: snapshots that may be alive on disk at any moment.
        slots: slots that the schedule uses, numbered from 0; never more than `snapshots` and
            `snapshots_on_disk` together.
    """

    name: ClassVar[str]
    n_steps: int | None
    snapshots: int
    snapshots_on_disk: int = 0
    slots: int
    _put_back: deque[Action] | None = None

    @property
    def memory_slots(self) -> int:
        """Slots in memory: those below this number; those from it on are on disk."""
        return self.slots

    def end(self, n_steps: int, position: int) -> None:
        """Tell a schedule whose `n_steps` is None that it is this.

        Args:
            n_steps: steps of the whole run.
            position: step at whose start the working state is, at most `n_steps`; the last
                `Advance` may have been to lead farther.

        Raises:
            ScheduleError: the schedule knows its steps.
        """
        raise ScheduleError(f"the {self.name} schedule knows its {self.n_steps} steps")

    @abstractmethod
    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""

    @property
    @abstractmethod
    def predicted_forward_steps(self) -> int:
        """Forward steps from the first action to the last, by formula, that of `Turn` included.

        While `n_steps` is None, those that have been asked for.
        """

    def __iter__(self) -> Iterator[Action]:
        """Go through the actions that are left; this uses them up."""
        return iter(self.take, None)

    def take(self) -> Action | None:
        """Return the next action, one that was put back first; None when every step is reversed."""
        return self._put_back.popleft() if self._put_back else self.next_action()

    def put_back(self, *actions: Action) -> None:
        """Give back the latest actions that were taken: they come again, in this order."""
        if self._put_back is None:
            self._put_back = deque()
        self._put_back.extendleft(reversed(actions))


def at_least_one(name: str, value: int) -> int:
    """Return `value`; raise ConfigError when it is below 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")
    return value
