"""Actions in a row that can be carried out at once, where states lie in memory one by one."""

from __future__ import annotations

from collections.abc import Callable

from burgers_adjoint.checkpointing.actions import Action, Advance, Load, Reverse, Save
from burgers_adjoint.checkpointing.schedule import Schedule


def loads_after(schedule: Schedule, step: int, most: int) -> list[Load]:
    """Take the last loads of the steps before `step` off the schedule, and their reversals.

    At most so many; the schedule's next action is the first that is not of this kind.
    """
    loads: list[Load] = []
    while len(loads) < most:
        step -= 1
        load = schedule.take()
        if not isinstance(load, Load) or not load.free or load.step != step:
            _put_back(schedule, load)
            break
        reverse = schedule.take()
        if reverse != Reverse(step):
            _put_back(schedule, load, reverse)
            break
        loads.append(load)
    return loads


def saves_after(
    schedule: Schedule, step: int, most: int, fits: Callable[[int], bool]
) -> list[Save]:
    """Take the saves from the start of `step` on off the schedule, and the single step after each.

    At most so many, to slots that fit and are not met twice; the schedule's next action is the
    first that is not of this kind.
    """
    saves: list[Save] = []
    met: set[int] = set()
    while len(saves) < most:
        save = schedule.take()
        if (
            not isinstance(save, Save)
            or save.step != step
            or save.slot in met
            or not fits(save.slot)
        ):
            _put_back(schedule, save)
            break
        advance = schedule.take()
        if advance != Advance(step, step + 1):
            _put_back(schedule, save, advance)
            break
        saves.append(save)
        met.add(save.slot)
        step += 1
    return saves


def _put_back(schedule: Schedule, *actions: Action | None) -> None:
    schedule.put_back(*(action for action in actions if action is not None))
