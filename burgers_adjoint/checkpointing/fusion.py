"""Makes runs of actions one action each, where states lie in memory one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from burgers_adjoint.checkpointing.actions import (
    Advance,
    AdvanceSaving,
    FusedAction,
    Reverse,
    ReverseLoading,
    Save,
)
from burgers_adjoint.checkpointing.schedule import Schedule

LONGEST_ADVANCE = 256
LONGEST_REVERSAL = 64


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
        limits: of the runs; a longer `Advance` is given in pieces. They may change on the way.
        fits: whether a state can be made in a slot; None where no states change hands, so that
            nothing is fused.
    """
    take, put_back = schedule.take, schedule.put_back
    while (action := take()) is not None:
        if schedule.n_steps is None:
            yield action
        elif isinstance(action, Advance) and action.step1 - action.step0 > limits.advance:
            stop = action.step0 + limits.advance
            put_back(Advance(stop, action.step1))
            yield Advance(action.step0, stop)
        elif fits is None:
            yield action
        elif isinstance(action, Advance) and action.step1 == action.step0 + 1:
            yield _with_saves(schedule, action, {}, limits.advance - 1, fits)
        elif isinstance(action, Save) and fits(action.slot):
            advance = take()
            if isinstance(advance, Advance) and advance.step1 == advance.step0 + 1:
                yield _with_saves(schedule, advance, {action.slot: None}, limits.advance, fits)
            else:
                put_back(advance)
                yield action
        elif isinstance(action, Reverse):
            loads = schedule.take_loads(action.step, limits.reversal - 1)
            yield ReverseLoading(action.step, tuple(loads)) if loads else action
        else:
            yield action


def _with_saves(
    schedule: Schedule,
    first: Advance,
    slots: dict[int, None],
    most: int,
    fits: Callable[[int], bool],
) -> Advance | AdvanceSaving:
    """A single step, that may have been saved before, and those that follow with saves."""
    saved_before = len(slots)
    schedule.take_saves(first.step1, slots, most, fits)
    if not slots:
        return first
    return AdvanceSaving(first.step0, first.step1 + len(slots) - saved_before, tuple(slots))
