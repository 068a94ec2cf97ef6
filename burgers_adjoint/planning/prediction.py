"""Predicts what a schedule does and how long it takes, without running it."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from burgers_adjoint.checkpointing.actions import (
    Action,
    Advance,
    Fetch,
    Free,
    Load,
    Reverse,
    Save,
    Turn,
)
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import LONGEST_ADVANCE, LONGEST_REVERSAL
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.periodic import Periodic, shortest_period
from burgers_adjoint.checkpointing.residency import Move, Residency
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.checkpointing.store_all import StoreAll
from burgers_adjoint.checkpointing.two_level import TwoLevel
from burgers_adjoint.errors import ConfigError

LONGEST_WALK = 50_000


Table = tuple[tuple[int, float], ...]
"""(steps, seconds) of calls that take so many steps at once, fewest first."""


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a run take, on its slowest rank.

    The first write of a slot takes longer than later ones: its memory, or its place in the cache of
    the file system, has to be found.

    Attributes:
        advance: forward.
        along: forward, into snapshots in memory one after the other.
        adjoint: reversals of steps whose states are in memory together.
        kept_adjoint: one step whose snapshot has kept part of the work; see
            `protocols.KeepingModel`.
        seed: of the cotangent, and what else the turn takes beside a step.
        save, first_save: with a store in memory.
        load, last_load: with a store in memory; after the last load the slot is free.
        call: of a store on disk, for what is in its buffers.
        copy: of a state to a buffer, or back, where a store on disk has one alone.
        write, first_write: from a buffer to the disk.
        read: back.
        hidden: share of the reading and writing that a thread does beside the computation.
    """

    advance: Table
    along: Table
    adjoint: Table
    seed: float
    save: float
    first_save: float
    load: float
    last_load: float
    call: float
    copy: float
    write: float
    first_write: float
    read: float
    hidden: float
    kept_adjoint: float | None = None

    def of_advance(self, n_steps: int) -> float:
        """Seconds of one call that takes so many steps."""
        return _between(self.advance, n_steps)

    def of_steps_along(self, n_steps: int) -> float:
        """Seconds of one call that takes so many steps, with saves between them."""
        return _between(self.along, n_steps)

    def of_reversal(self, n_steps: int) -> float:
        """Seconds of one call that reverses so many steps."""
        return _between(self.adjoint, n_steps)


def _between(table: Table, n_steps: int) -> float:
    """Seconds of one call that takes so many steps, from those of calls with fewer and more."""
    lengths = [length for length, _ in table]
    upper = bisect_left(lengths, n_steps)
    if upper == len(lengths):
        length, seconds = table[-1]
        return seconds * n_steps / length
    length1, seconds1 = table[upper]
    if upper == 0:
        return seconds1 * n_steps / length1
    length0, seconds0 = table[upper - 1]
    return seconds0 + (seconds1 - seconds0) * (n_steps - length0) / (length1 - length0)


@dataclass(frozen=True)
class Candidate:
    """A schedule and where its snapshots live.

    Attributes:
        store: as [snapshots] says.
        near_slots: slots in memory; the others are on disk.
        buffers: in front of the disk; 0 for none.
        swaps: whether the stores exchange states, so that steps in a row are taken at once.
    """

    schedule: Schedule
    store: str
    near_slots: int
    buffers: int
    swaps: bool = True

    @property
    def longest_reversal(self) -> int:
        """Steps that are reversed at once at most: their states are in memory together."""
        if not self.swaps:
            return 1
        return LONGEST_REVERSAL if self.near_slots else max(1, self.buffers)

    @property
    def memory_snapshots(self) -> int:
        """Snapshots that memory is taken for."""
        far = self.schedule.slots - self.near_slots
        return self.near_slots + (min(max(self.buffers, 1), max(far, 2)) if far else 0)


@dataclass(frozen=True)
class Prediction:
    """What a run will have done, and its seconds.

    `writes` and `reads` are those of the disk; the thread spares some that the schedule asks for.
    """

    forward_steps: int
    saves: int
    loads: int
    writes: int
    reads: int
    forward: float
    adjoint: float
    snapshots: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.forward + self.adjoint + self.snapshots


@dataclass
class _Walk:
    """What the actions of a schedule add up to.

    Attributes:
        advances, alongs, reversals: number of calls by the steps that they take.
        passed_saves, passed_loads: those that are part of a call of several steps; not among
            `saves` and `loads`.
    """

    advances: Counter[int]
    alongs: Counter[int]
    reversals: Counter[int]
    saves: int = 0
    passed_saves: int = 0
    passed_loads: int = 0
    loads: int = 0
    last_loads: int = 0
    kept_steps: int = 0
    writes: int = 0
    reads: int = 0


def predict(candidate: Candidate, costs: Costs) -> Prediction:
    """Predict a run by walking through its schedule, or, of a very long one, its beginning.

    The schedule stays at its start. Forward steps are by formula in any case.
    """
    schedule = candidate.schedule
    assert schedule.n_steps is not None
    walk, reversed_steps = _walk(candidate, ahead=costs.hidden > 0)
    scale = schedule.n_steps / reversed_steps if reversed_steps else 1.0
    total = schedule.predicted_forward_steps
    calls_by_steps = [*walk.advances.items(), *walk.alongs.items()]
    walked = sum(steps * calls for steps, calls in calls_by_steps) + 1
    forward = sum(costs.of_advance(steps) * calls for steps, calls in walk.advances.items())
    forward += sum(costs.of_steps_along(steps) * calls for steps, calls in walk.alongs.items())
    forward = (forward + costs.of_advance(1)) * total / walked
    adjoint = sum(costs.of_reversal(steps) * calls for steps, calls in walk.reversals.items())
    adjoint = scale * adjoint + costs.seed
    if costs.kept_adjoint is not None:
        adjoint -= (costs.of_reversal(1) - costs.kept_adjoint) * scale * walk.kept_steps
    saves = walk.saves + walk.passed_saves
    first = min(schedule.slots, saves)
    if candidate.store == "memory":
        copies = walk.saves * costs.save + walk.last_loads * costs.last_load
        copies += (walk.loads - walk.last_loads) * costs.load
    else:
        calls = saves + walk.loads + walk.passed_loads
        copies = calls * (costs.call if candidate.buffers else costs.copy)
    moves = walk.writes * costs.write + walk.reads * costs.read
    near_first = min(first, candidate.memory_snapshots)
    copies = scale * copies + near_first * (costs.first_save - costs.save)
    far_first = min(schedule.slots - candidate.near_slots, walk.writes)
    moves = scale * moves + far_first * (costs.first_write - costs.write)
    hidden = min(costs.hidden * moves if candidate.buffers else 0.0, forward + adjoint)
    return Prediction(
        total,
        round(scale * saves),
        round(scale * (walk.loads + walk.passed_loads)),
        round(scale * walk.writes),
        round(scale * walk.reads),
        forward,
        adjoint,
        copies + moves - hidden,
    )


def _walk(candidate: Candidate, ahead: bool) -> tuple[_Walk, int]:
    """Go through a copy of the schedule; returns what was met and the steps that were reversed."""
    walk, near = _Walk(Counter(), Counter(), Counter()), candidate.near_slots
    residency = Residency(candidate.buffers, ahead) if candidate.buffers else None
    reversed_steps = together = along = 0
    before: Action | None = None
    loaded = False  # whether the working state is that of a snapshot
    for count, action in enumerate(copy.deepcopy(candidate.schedule)):
        orders = []
        if isinstance(action, Reverse):
            reversed_steps += 1
            walk.kept_steps += loaded
            together += 1
        elif together and not (
            isinstance(action, Load)
            and action.free
            and isinstance(before, Reverse)
            and together < candidate.longest_reversal
        ):
            walk.reversals[together] += 1
            together = 0
        single = isinstance(action, Advance) and action.step1 == action.step0 + 1
        if along and not single and not (isinstance(action, Save) and action.slot < near):
            walk.alongs[along] += 1
            along = 0
        if single and isinstance(before, Save) and candidate.swaps:
            walk.saves -= along > 0
            walk.passed_saves += along > 0
            along += 1
        elif isinstance(action, Advance):
            whole, rest = divmod(action.step1 - action.step0, LONGEST_ADVANCE)
            if whole:
                walk.advances[LONGEST_ADVANCE] += whole
            if rest:
                walk.advances[rest] += 1
        elif isinstance(action, Save):
            walk.saves += 1
            if action.slot >= near:
                if residency is None:
                    walk.writes += 1
                else:
                    orders = residency.save(action.slot, action.step)[1] + residency.settle()
        elif isinstance(action, Load):
            if together:
                walk.passed_loads += 1
            else:
                walk.loads += 1
                walk.last_loads += action.free
            if action.slot >= near:
                if residency is None:
                    walk.reads += 1
                else:
                    orders = residency.load(action.slot)[1] + residency.settle()
                    if action.free:
                        residency.free(action.slot)
                        orders += residency.settle()
        elif isinstance(action, Fetch) and residency is not None and action.slot >= near:
            orders = residency.fetch(action.slot)
        elif isinstance(action, Free) and residency is not None and action.slot >= near:
            residency.free(action.slot)
            orders = residency.settle()
        if not isinstance(action, Fetch | Free):
            loaded = isinstance(action, Load | Save | Turn)
        before = action
        writes = sum(move is Move.WRITE for move, _, _ in orders)
        walk.writes += writes
        walk.reads += len(orders) - writes
        if count > LONGEST_WALK and reversed_steps:
            break
    if together:
        walk.reversals[together] += 1
    if along:
        walk.alongs[along] += 1
    return walk, reversed_steps


def candidates(
    n_steps: int, memory_slots: int, disk_slots: int, buffers: int, costs: Costs
) -> list[Candidate]:
    """Every schedule with every store that fits.

    Args:
        n_steps: steps to reverse.
        memory_slots: snapshots that the memory holds, at least 1.
        disk_slots: snapshots that the disk holds, beside those.
        buffers: of the thread in front of the disk, taken from the memory; 0 for none.
        costs: decide how many of the snapshots on disk are worth their writing.
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
    if disk_slots < 1 or n_steps < 3 or memory_slots < max(buffers, 1):
        return found
    if n_steps - 1 <= disk_slots:
        found.append(Candidate(StoreAll(n_steps), "hdf5", 0, buffers))
    counts = _counts(min(disk_slots, n_steps - 2))
    found.append(
        _cheapest([Candidate(Binomial(n_steps, n), "hdf5", 0, buffers) for n in counts], costs)
    )
    near = memory_slots - buffers
    if near >= 1 and memory_slots < n_steps - 1:
        for kind in (Multistage, TwoLevel):
            options = []
            for n in counts:
                with suppress(ConfigError):  # too many snapshots to plan
                    options.append(kind(n_steps, near, n))
            tiered = [Candidate(one, "tiered", one.memory_slots, buffers) for one in options]
            if tiered:
                found.append(_cheapest(tiered, costs))
    return found


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
        far = one.schedule.slots - one.near_slots
        step = costs.of_advance(LONGEST_ADVANCE) / LONGEST_ADVANCE
        moves = far * (costs.write + costs.read) + one.near_slots * costs.first_save
        return one.schedule.predicted_forward_steps * step + moves

    return min(options, key=estimate)
