"""Makes runs of actions one action each, where states lie in memory one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from burgers_adjoint.checkpointing.actions import (
    Advance,
    AdvanceSaving,
    FusedAction,
    Reverse,
    ReverseLoading,
    Save,
    parts_of,
)
from burgers_adjoint.checkpointing.schedule import Schedule

LONGEST_ADVANCE = 256
LONGEST_REVERSAL = 64
ACTIONS_AHEAD = 64


@dataclass
class Limits:
    """Steps of one action at most: whoever observes a run is never far away.

    Attributes:
        advance: steps that are taken.
        reversal: steps that are reversed.
    """

    advance: int = LONGEST_ADVANCE
    reversal: int = LONGEST_REVERSAL


def fused(
    schedule: Schedule, limits: Limits, fits: Callable[[int], bool] | None
) -> Iterator[FusedAction]:
    """Go through the actions that are left, runs of them as one; this uses them up.

    Whenever an action is given, the schedule is right behind it. Nothing is fused while nobody
    knows the end, where steps may turn out to be fewer than asked for.

    Args:
        schedule: source of the actions.
        limits: of the runs; a longer `Advance` is given in pieces.
        fits: whether a state can be made in a slot; None where no states change hands, so that
            nothing is fused.
    """
    take, put_back = schedule.take, schedule.put_back
    while (action := take()) is not None:
        if schedule.n_steps is None:
            yield action
        elif type(action) is Advance:
            steps = action.step1 - action.step0
            if steps > limits.advance:
                stop = action.step0 + limits.advance
                put_back(Advance(stop, action.step1))
                yield Advance(action.step0, stop)
            elif steps == 1 and fits is not None:
                yield _with_saves(schedule, action, {}, limits.advance - 1, fits)
            else:
                yield action
        elif fits is None:
            yield action
        elif type(action) is Save and fits(action.slot):
            advance = take()
            if type(advance) is Advance and advance.step1 == advance.step0 + 1:
                yield _with_saves(schedule, advance, {action.slot: None}, limits.advance, fits)
            else:
                put_back(advance)
                yield action
        elif type(action) is Reverse:
            loads = schedule.take_loads(action.step, limits.reversal - 1)
            yield ReverseLoading(action.step, tuple(loads)) if loads else action
        else:
            yield action


class Fusion:
    """The fused actions of a schedule, for somebody who carries them out.

    Several are made ahead of their time: between calls of a model that fill the caches, each made
    by itself takes twice as long. `rewind` gives those that are left back to the schedule.

    Args:
        schedule: source of the actions.
        fits: see `fused`.

    Attributes:
        limits: of the actions that follow; they may change on the way.
    """

    def __init__(self, schedule: Schedule, fits: Callable[[int], bool] | None) -> None:
        self.limits = Limits()
        self._schedule, self._fits = schedule, fits
        self._ahead: deque[FusedAction] = deque()

    def __iter__(self) -> Iterator[FusedAction]:
        """Go through the actions that are left; this uses them up."""
        schedule, ahead, limits = self._schedule, self._ahead, self.limits
        while True:
            if ahead:
                action = ahead.popleft()
            elif schedule.n_steps is None:
                taken = schedule.take()
                if taken is None:
                    return
                action = taken
            else:
                ahead.extend(islice(fused(schedule, Limits(), self._fits), ACTIONS_AHEAD))
                if not ahead:
                    return
                continue
            if limits.advance < LONGEST_ADVANCE:
                action = self._limited(action)
            yield action

    def _limited(self, action: FusedAction) -> FusedAction:
        """The action, or the first part of it that is within the limits."""
        if isinstance(action, Advance | AdvanceSaving):
            too_long = action.step1 - action.step0 > self.limits.advance
            if too_long and self._schedule.n_steps is not None:
                action, *rest = action.split(self.limits.advance)
                self.put_back(*rest)
        elif isinstance(action, ReverseLoading) and len(action.slots) >= self.limits.reversal:
            action, *rest = action.split(self.limits.reversal)
            self.put_back(*rest)
        return action

    def put_back(self, *actions: FusedAction) -> None:
        """Let these come next, in this order: parts of what was given that are not carried out."""
        self._ahead.extendleft(reversed(actions))

    def rewind(self) -> None:
        """Let the schedule be right behind the latest action that was given."""
        self._schedule.put_back(*(part for action in self._ahead for part in parts_of(action)))
        self._ahead.clear()


def _with_saves(
    schedule: Schedule,
    first: Advance,
    slots: dict[int, None],
    most: int,
    fits: Callable[[int], bool],
) -> Advance | AdvanceSaving:
    """One action of a step, whose start may be saved, and of the steps that follow with saves."""
    saved_before = len(slots)
    schedule.take_saves(first.step1, slots, most, fits)
    if not slots:
        return first
    return AdvanceSaving(first.step0, first.step1 + len(slots) - saved_before, tuple(slots))
