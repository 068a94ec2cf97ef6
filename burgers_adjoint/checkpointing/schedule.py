"""What every schedule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol

from burgers_adjoint.checkpointing.actions import Action, Advance, Load, Reverse, Save
from burgers_adjoint.errors import ConfigError, ScheduleError


class Slotted(Protocol):
    """What has numbered slots; see `Schedule`."""

    @property
    def snapshots(self) -> int:
        """Snapshots that may be alive in memory at any moment."""
        ...

    @property
    def slots(self) -> int:
        """Slots, numbered from 0."""
        ...

    @property
    def memory_slots(self) -> int:
        """Slots in memory: those below this number."""
        ...


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
        if self._put_back:
            return self._put_back.popleft()
        return self.next_action()

    def put_back(self, *actions: Action | None) -> None:
        """Give back the latest actions that were taken: they come again, in this order.

        None stands for the end, which comes again by itself.
        """
        if self._put_back is None:
            self._put_back = deque()
        self._put_back.extendleft(action for action in reversed(actions) if action is not None)

    def take_saves(
        self, step: int, slots: dict[int, None], most: int, fits: Callable[[int], bool]
    ) -> None:
        """Take the saves from the start of `step` on, and the single step after each.

        The next action is the first that is not of this kind. A schedule that knows where such
        runs end may do this faster.

        Args:
            step: where the state in hand is.
            slots: those of the saves are added, up to `most`; none is met twice.
            most: slots at the end.
            fits: whether a slot can be part of the run.
        """
        take = self.take
        while len(slots) < most:
            save = take()
            if type(save) is not Save or save.step != step:
                self.put_back(save)
                return
            if save.slot in slots or not fits(save.slot):
                self.put_back(save)
                return
            advance = take()
            if type(advance) is not Advance or (advance.step0, advance.step1) != (step, step + 1):
                self.put_back(save, advance)
                return
            slots[save.slot] = None
            step += 1

    def take_loads(self, step: int, most: int) -> list[int]:
        """Take the last loads of the steps before `step`, and the reversal after each.

        The next action is the first that is not of this kind; see `take_saves`.

        Args:
            step: that was the latest to be reversed.
            most: loads.

        Returns:
            Their slots.
        """
        take = self.take
        slots: list[int] = []
        while len(slots) < most:
            step -= 1
            load = take()
            if type(load) is not Load or not load.free or load.step != step:
                self.put_back(load)
                break
            reverse = take()
            if type(reverse) is not Reverse or reverse.step != step:
                self.put_back(load, reverse)
                break
            slots.append(load.slot)
        return slots


def at_least_one(name: str, value: int) -> int:
    """Return `value`; raise ConfigError when it is below 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")
    return value
