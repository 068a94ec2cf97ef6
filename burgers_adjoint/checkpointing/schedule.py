"""What every schedule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from burgers_adjoint.checkpointing.actions import Action
from burgers_adjoint.errors import ConfigError


class Schedule(ABC):
    """A pure source of actions that reverses `n_steps` steps, last to first.

    The next action is a function of plain attributes, never of a suspended frame: a schedule can
    be pickled between any two actions, and its copy goes on with the same ones.

    Attributes:
        n_steps: steps to reverse, at least 1.
        snapshots: snapshots that may be alive at any moment, the one of the initial state
            included, at least 1.
        slots: slots that the schedule uses, numbered from 0; never more than `snapshots`.
    """

    name: ClassVar[str]
    n_steps: int
    snapshots: int
    slots: int

    @abstractmethod
    def next_action(self) -> Action | None:
        """Return the next action, or None when every step is reversed."""

    @property
    @abstractmethod
    def predicted_forward_steps(self) -> int:
        """Forward steps from the first action to the last, by formula, that of `Turn` included."""

    def __iter__(self) -> Iterator[Action]:
        """Go through the actions that are left; this uses them up."""
        return iter(self.next_action, None)


def at_least_one(name: str, value: int) -> int:
    """Return `value`; raise ConfigError when it is below 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")
    return value
