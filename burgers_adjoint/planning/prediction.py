"""Predicts what a schedule does and how long it takes, without running it."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from burgers_adjoint.checkpointing.actions import (
    Advance,
    AdvanceSaving,
    Fetch,
    Free,
    FusedAction,
    Load,
    Reverse,
    ReverseLoading,
    Save,
    Turn,
    parts_of,
)
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.fusion import LONGEST_ADVANCE, LONGEST_REVERSAL, Limits, fused
from burgers_adjoint.checkpointing.multistage import Multistage
from burgers_adjoint.checkpointing.periodic import Periodic, shortest_period
from burgers_adjoint.checkpointing.residency import Move, Order, Residency
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
            `protocols.AdjointModel.keeps`.
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
        swaps: whether states are alike enough to snapshots for stores to exchange them.
        codec: that encodes snapshots, by its name.
    """

    schedule: Schedule
    store: str
    near_slots: int
    buffers: int
    swaps: bool = True
    codec: str = "none"

    @property
    def longest_reversal(self) -> int:
        """Steps that are reversed at once at most: their states are in memory together."""
        return LONGEST_REVERSAL if self.near_slots else max(1, self.buffers)

    def actions(self) -> Iterator[FusedAction]:
        """What an executor will carry out; the schedule stays at its start."""
        exchanges = self.swaps and (self.near_slots == self.schedule.slots or self.buffers > 0)
        limits = Limits(reversal=self.longest_reversal)
        fits = (lambda slot: slot < self.near_slots) if exchanges else None
        return fused(copy.deepcopy(self.schedule), limits, fits)

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
    """What the actions of a candidate add up to.

    Attributes:
        near: slots in memory.
        residency: of the buffers in front of the disk, if there are any.
        advances, alongs, reversals: number of calls by the steps that they take.
        passed_saves, passed_loads: those that are part of a call of several steps; not among
            `saves` and `loads`.
        reversed_steps: so far.
        actions: so far, those in a run one by one.
    """

    near: int
    residency: Residency | None
    advances: Counter[int] = field(default_factory=Counter)
    alongs: Counter[int] = field(default_factory=Counter)
    reversals: Counter[int] = field(default_factory=Counter)
    saves: int = 0
    passed_saves: int = 0
    passed_loads: int = 0
    loads: int = 0
    last_loads: int = 0
    kept_steps: int = 0
    writes: int = 0
    reads: int = 0
    reversed_steps: int = 0
    actions: int = 0
    _at_snapshot: bool = False  # whether the working state is that of a snapshot

    def meet(self, action: FusedAction) -> None:
        """Add one action."""
        if isinstance(action, Advance):
            self.advances[action.step1 - action.step0] += 1
        elif isinstance(action, AdvanceSaving):
            self.alongs[action.step1 - action.step0] += 1
            handed_over = action.first_saved == action.step0
            self.saves += handed_over
            self.passed_saves += len(action.slots) - handed_over
        elif isinstance(action, Reverse | ReverseLoading):
            loads = len(action.slots) if isinstance(action, ReverseLoading) else 0
            self.reversals[1 + loads] += 1
            self.passed_loads += loads
            self.reversed_steps += 1 + loads
            self.kept_steps += self._at_snapshot + loads
        elif isinstance(action, Save):
            self.saves += 1
        elif isinstance(action, Load):
            self.loads += 1
            self.last_loads += action.free
        if not isinstance(action, Fetch | Free):
            self._at_snapshot = isinstance(action, Load | Save | Turn)
        for part in parts_of(action):
            self.actions += 1
            if isinstance(part, Save | Load | Fetch | Free) and part.slot >= self.near:
                self._move(part)

    def _move(self, action: Save | Load | Fetch | Free) -> None:
        """Add what an action moves to the disk and back."""
        if self.residency is None:
            self.writes += isinstance(action, Save)
            self.reads += isinstance(action, Load)
            return
        orders = _orders(self.residency, action)
        writes = sum(move is Move.WRITE for move, _, _ in orders)
        self.writes += writes
        self.reads += len(orders) - writes


def _orders(residency: Residency, action: Save | Load | Fetch | Free) -> list[Order]:
    """What a store gives orders for."""
    if isinstance(action, Fetch):
        return residency.fetch(action.slot)
    orders: list[Order] = []
    if isinstance(action, Save):
        orders += residency.save(action.slot, action.step)[1] + residency.settle()
    if isinstance(action, Load):
        orders += residency.load(action.slot)[1] + residency.settle()
    if isinstance(action, Free) or (isinstance(action, Load) and action.free):
        residency.free(action.slot)
        orders += residency.settle()
    return orders


def predict(candidate: Candidate, costs: Costs) -> Prediction:
    """Predict a run by walking through its schedule, or, of a very long one, its beginning.

    The schedule stays at its start. Forward steps are by formula in any case.
    """
    schedule = candidate.schedule
    assert schedule.n_steps is not None
    residency = Residency(candidate.buffers, costs.hidden > 0) if candidate.buffers else None
    walk = _Walk(candidate.near_slots, residency)
    for action in candidate.actions():
        walk.meet(action)
        if walk.actions > LONGEST_WALK and walk.reversed_steps:
            break
    scale = schedule.n_steps / walk.reversed_steps if walk.reversed_steps else 1.0
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
