"""What a forward sweep leaves behind, for one reverse sweep after the other to begin with."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from burgers_adjoint.checkpointing.actions import Advance, Free, Load, Save, Seed, Turn
from burgers_adjoint.checkpointing.schedule import Schedule


@dataclass(frozen=True)
class ForwardPart:
    """A schedule, cut where its forward sweep ends.

    Attributes:
        rest: the schedule right before the cotangent is seeded; to be copied.
        position: step at whose start the working state is then.
        held: slot to the step whose start it holds then.
        saved_again: slots that the reverse sweep saves to.
    """

    rest: Schedule
    position: int
    held: dict[int, int]
    saved_again: tuple[int, ...]


def forward_part(schedule: Schedule) -> ForwardPart:
    """Cut a schedule that is at its start, and knows its steps; it stays as it is."""
    going = copy.deepcopy(schedule)
    position, held = 0, dict[int, int]()
    while not isinstance(action := going.take(), Turn | Seed):
        if isinstance(action, Advance):
            position = action.step1
        elif isinstance(action, Save):
            held[action.slot] = action.step
        elif isinstance(action, Load):
            position = action.step
        if isinstance(action, Free) or (isinstance(action, Load) and action.free):
            held.pop(action.slot, None)
    going.put_back(action)
    rest = copy.deepcopy(going)
    saved_again = sorted({one.slot for one in going if isinstance(one, Save)})
    return ForwardPart(rest, position, held, tuple(saved_again))


@dataclass(frozen=True)
class Places:
    """Room for a schedule's slots as a forward sweep fills them, and for those saved to again.

    Attributes:
        snapshots: of the schedule.
        slots: of both; those in memory come first, and among them what is saved to again.
        memory_slots: those in memory.
        first: the place of each slot for the forward sweep.
        place_again: another one of each slot that the reverse sweep saves to.
    """

    snapshots: int
    slots: int
    memory_slots: int
    first: tuple[int, ...]
    place_again: dict[int, int]


def places_of(schedule: Schedule, saved_again: tuple[int, ...]) -> Places:
    """Places for a schedule's slots, and a second one for each that the reverse sweep saves to."""
    near = min(schedule.memory_slots, schedule.slots)
    ahead = [slot for slot in saved_again if slot < near]
    behind = [slot for slot in saved_again if slot >= near]
    n_slots = schedule.slots + len(saved_again)
    in_memory = near + len(ahead)
    twice = {slot: place for place, slot in enumerate(ahead)}
    twice |= {slot: len(ahead) + schedule.slots + place for place, slot in enumerate(behind)}
    first = tuple(range(len(ahead), len(ahead) + schedule.slots))
    return Places(schedule.snapshots, n_slots, in_memory, first, twice)
