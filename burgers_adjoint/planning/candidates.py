"""Schedules and stores that a plan chooses between: all that fit memory and tiers behind it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from burgers_adjoint.assembly.store_kinds import DISK, HOST
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.fusion import LONGEST_ADVANCE
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.periodic import Periodic, shortest_period
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.planning.prediction import Candidate, Costs

ALONE = {HOST: "pinned", DISK: "hdf5"}  # the stores of one tier, behind buffers


def candidates(
    n_steps: int, memory_slots: int, behind: Mapping[str, int], buffers: int, costs: Costs
) -> list[Candidate]:
    """Every schedule with every store that fits.

    Args:
        n_steps: steps to reverse.
        memory_slots: snapshots that the memory holds, at least 1.
        behind: snapshots that each tier behind it holds, beside those, the nearest first, the disk
            last.
        buffers: of the thread in front of each tier, taken from the memory; 0 for none.
        costs: decide how many of the snapshots in tiers are worth their writing.
    """
    several = [
        _in_memory(Binomial(n_steps, n)) for n in _counts(min(memory_slots, max(1, n_steps - 1)))
    ]
    found = [_cheapest(several, costs)]
    if n_steps - 1 <= memory_slots:
        found.append(_in_memory(StoreAll(n_steps)))
    else:
        with suppress(ConfigError):  # it needs more snapshots than there are
            found.append(_in_memory(Periodic(n_steps, shortest_period(n_steps, memory_slots))))
    behind = {name: n for name, n in behind.items() if n > 0}
    if not behind or n_steps < 3 or memory_slots < max(buffers, 1):
        return found
    for name, slots in behind.items():
        if n_steps - 1 <= slots:
            found.append(_alone(StoreAll(n_steps), name, buffers))
        counts = _counts(min(slots, n_steps - 2))
        options = [_alone(Binomial(n_steps, n), name, buffers) for n in counts]
        found.append(_cheapest(options, costs))
    if memory_slots < n_steps - 1:
        found += _tiered(n_steps, memory_slots, behind, buffers, costs)
    return found


def _tiered(
    n_steps: int, memory_slots: int, behind: Mapping[str, int], buffers: int, costs: Costs
) -> list[Candidate]:
    """Those with slots in memory and in tiers behind it: the nearest that has room for a slot."""
    found = []
    # all that fits, and all that fits without the tiers farthest behind
    rooms = [sum(list(behind.values())[: n + 1]) for n in range(len(behind))]
    counts = {n for room in rooms for n in _counts(min(room, n_steps - 2))}
    for kind in (Multistage, TwoLevel):
        options = []
        for n in sorted(counts, reverse=True):
            taken = _filled(behind, n)
            near = memory_slots - buffers * len(taken)
            if near < 1:
                continue
            with suppress(ConfigError):  # too many snapshots to plan
                options.append(_in_tiers(kind(n_steps, near, n), behind, buffers))
        if options:
            found.append(_cheapest(options, costs))
    return found


def _filled(behind: Mapping[str, int], n_slots: int) -> dict[str, int]:
    """How many slots each tier has of so many, the nearest first; those that have none left out."""
    taken = {}
    for name, room in behind.items():
        taken[name] = min(room, n_slots)
        n_slots -= taken[name]
    return {name: n for name, n in taken.items() if n}


def _in_tiers(schedule: Schedule, behind: Mapping[str, int], buffers: int) -> Candidate:
    near = schedule.memory_slots
    taken = _filled(behind, schedule.slots - near)
    between = tuple((name, n) for name, n in taken.items() if name != DISK)
    return Candidate(schedule, "tiered", near, buffers, between=between)


def _alone(schedule: Schedule, name: str, buffers: int) -> Candidate:
    """All slots in one tier."""
    between = () if name == DISK else ((name, schedule.slots),)
    return Candidate(schedule, ALONE[name], 0, buffers, between=between)


def _in_memory(schedule: Schedule) -> Candidate:
    return Candidate(schedule, "memory", schedule.slots, 0)


def _counts(most: int) -> list[int]:
    """Numbers of snapshots up to the most, each half as many again as the one before."""
    counts = [most]
    while counts[-1] > 2:
        counts.append(counts[-1] * 2 // 3)
    return counts


def _cheapest(options: Sequence[Candidate], costs: Costs) -> Candidate:
    """The one that will be fastest, by a rule of thumb: each slot is written once."""

    def estimate(one: Candidate) -> float:
        step = costs.of_advance(LONGEST_ADVANCE) / LONGEST_ADVANCE
        moves = one.near_slots * costs.first_save
        for name, n in one.far.items():
            moves += n * (costs.far[name].write + costs.far[name].read)
        return one.schedule.predicted_forward_steps * step + moves

    return min(options, key=estimate)
