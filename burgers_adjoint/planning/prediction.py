"""Predicts what a schedule does and how long it takes, without running it."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from burgers_adjoint.assembly.store_kinds import DISK
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
from burgers_adjoint.checkpointing.fusion import LONGEST_REVERSAL, Limits, fused
from burgers_adjoint.checkpointing.residency import Move, Order, Residency
from burgers_adjoint.checkpointing.schedule import Schedule

LONGEST_WALK = 50_000


Table = tuple[tuple[int, float], ...]
"""(steps, seconds) of calls that take so many steps at once, fewest first."""


@dataclass(frozen=True)
class Moves:
    """Seconds of transfers between buffers and a tier behind the memory, on the slowest rank.

    The first write of a slot takes longer than later ones: its memory, or its place in the cache of
    the file system, has to be found.

    Attributes:
        write, first_write: from a buffer to the tier.
        read: back.
        hidden: share of that which a thread does beside the computation.
        ahead: whether moves are made before they are needed.
    """

    write: float
    first_write: float
    read: float
    hidden: float
    ahead: bool


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a run take, on its slowest rank.

    The first use of a slot in memory takes longer than later ones, too.

    Attributes:
        advance: forward.
        along: forward, into snapshots in memory one after the other.
        adjoint: reversals of steps whose states are in memory together.
        kept_adjoint: one step whose snapshot has kept part of the work; see
            `protocols.AdjointModel.keeps`.
        seed: of the cotangent, and what else the turn takes beside a step.
        save, first_save: with a store in memory.
        load, last_load: with a store in memory; after the last load the slot is free.
        call: of a store behind the memory, for what is in its buffers.
        copy: of a state to a buffer, or back, where a store on disk has one alone.
        far: transfers to each tier behind the memory and back, by its name.
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
    far: Mapping[str, Moves]
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
        near_slots: slots in memory; the others are in the tiers behind it.
        buffers: in front of each of these; 0 for none.
        swaps: whether states are alike enough to snapshots for stores to exchange them.
        codec: that encodes snapshots, by its name.
        between: tiers between memory and disk, the nearest first, and how many slots each has.
    """

    schedule: Schedule
    store: str
    near_slots: int
    buffers: int
    swaps: bool = True
    codec: str = "none"
    between: tuple[tuple[str, int], ...] = ()

    @property
    def far(self) -> dict[str, int]:
        """Slots in each tier behind the memory that has some, the nearest first."""
        slots = dict(self.between)
        slots[DISK] = self.schedule.slots - self.near_slots - sum(slots.values())
        return {name: n for name, n in slots.items() if n}

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
        buffers = (min(max(self.buffers, 1), max(n, 2)) for n in self.far.values())
        return self.near_slots + sum(buffers)


@dataclass(frozen=True)
class Prediction:
    """What a run will have done, and its seconds.

    `moves` are writes to each tier behind the memory and reads from it, by its name; the thread
    spares some that the schedule asks for.
    """

    forward_steps: int
    saves: int
    loads: int
    moves: Mapping[str, tuple[int, int]]
    forward: float
    adjoint: float
    snapshots: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.forward + self.adjoint + self.snapshots

    @property
    def writes(self) -> int:
        """To the disk."""
        return self.moves.get(DISK, (0, 0))[0]

    @property
    def reads(self) -> int:
        """From the disk."""
        return self.moves.get(DISK, (0, 0))[1]


@dataclass
class _Tier:
    """What is moved to one tier behind the memory and back.

    Attributes:
        end: its slots are below this number, and not in the tiers before it.
        residency: of the buffers in front of it, if there are any.
    """

    end: int
    residency: Residency | None
    writes: int = 0
    reads: int = 0

    def move(self, action: Save | Load | Fetch | Free) -> None:
        """Add what an action moves."""
        if self.residency is None:
            self.writes += isinstance(action, Save)
            self.reads += isinstance(action, Load)
            return
        orders = _orders(self.residency, action)
        writes = sum(move is Move.WRITE for move, _, _ in orders)
        self.writes += writes
        self.reads += len(orders) - writes


@dataclass
class _Walk:
    """What the actions of a candidate add up to.

    Attributes:
        near: slots in memory.
        tiers: behind it, the nearest first, by name.
        advances, alongs, reversals: number of calls by the steps that they take.
        passed_saves, passed_loads: those that are part of a call of several steps; not among
            `saves` and `loads`.
        reversed_steps: so far.
        actions: so far, those in a run one by one.
    """

    near: int
    tiers: dict[str, _Tier]
    advances: Counter[int] = field(default_factory=Counter)
    alongs: Counter[int] = field(default_factory=Counter)
    reversals: Counter[int] = field(default_factory=Counter)
    saves: int = 0
    passed_saves: int = 0
    passed_loads: int = 0
    loads: int = 0
    last_loads: int = 0
    kept_steps: int = 0
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
                next(tier for tier in self.tiers.values() if part.slot < tier.end).move(part)


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
    walk = _Walk(candidate.near_slots, _tiers(candidate, costs))
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
    near_first = min(first, candidate.memory_snapshots)
    copies = scale * copies + near_first * (costs.first_save - costs.save)
    moves = {}
    for name, tier in walk.tiers.items():
        each = costs.far[name]
        moves[name] = scale * (tier.writes * each.write + tier.reads * each.read)
        far_first = min(candidate.far[name], tier.writes)
        moves[name] += far_first * (each.first_write - each.write)
    waited = sum(moves.values())
    if candidate.buffers:
        beside = [costs.far[name].hidden * seconds for name, seconds in moves.items()]
        waited -= _hidden(beside, forward + adjoint)
    return Prediction(
        total,
        round(scale * saves),
        round(scale * (walk.loads + walk.passed_loads)),
        {
            name: (round(scale * tier.writes), round(scale * tier.reads))
            for name, tier in walk.tiers.items()
        },
        forward,
        adjoint,
        copies + waited,
    )


def _tiers(candidate: Candidate, costs: Costs) -> dict[str, _Tier]:
    """Those of a candidate, with nothing moved yet."""
    found, end = {}, candidate.near_slots
    for name, n_slots in candidate.far.items():
        end += n_slots
        residency = None
        if candidate.buffers:
            residency = Residency(candidate.buffers, costs.far[name].ahead)
        found[name] = _Tier(end, residency)
    return found


def _hidden(beside: list[float], computing: float) -> float:
    """Seconds of transfers that nobody waits for.

    Args:
        beside: seconds of each thread's transfers; threads do theirs at the same time.
        computing: seconds beside which they do.
    """
    longest = max(beside, default=0.0)
    return sum(beside) - longest + min(longest, computing)
