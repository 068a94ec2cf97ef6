"""Measures, on the ranks of a run, what its parts take: small reversals with real stores."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from burgers_adjoint.assembly.store_kinds import HOST
from burgers_adjoint.assembly.stores import Store, closed_at_end, idle_share
from burgers_adjoint.checkpointing.actions import (
    Advance,
    AdvanceSaving,
    FusedAction,
    Load,
    Reverse,
    ReverseLoading,
    Save,
)
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.residency import Move
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.parallel.agreement import Comm, from_rank, largest, total, total_each
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.planning.prediction import Costs, Moves, Table
from burgers_adjoint.snapshots.write_behind import Transfer
from burgers_adjoint.stepping.model import Model

SECONDS = 0.15  # of small reversals with one store
FEWEST_STEPS, MOST_STEPS = 10, 96
SNAPSHOTS = 10
COPIES = 5
STATES = 4  # that are stepped through at once
LONG_ADVANCE = 32
AGREEMENTS = 50


class Stopwatch:
    """An observer that notes how long every action took, by its kind and its steps.

    Args:
        finish: waits for what was asked for.
    """

    def __init__(self, finish: Callable[[], None]) -> None:
        self._finish = finish
        self.seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        self._slots: set[int] = set()
        self._kept = 0
        self._last = perf_counter()

    def __call__(self, action: FusedAction, counts: Counts) -> None:
        """Note the time since the action before."""
        self._finish()
        now = perf_counter()
        self.seconds[self._kind(action, counts)].append(now - self._last)
        self._last = perf_counter()

    def _kind(self, action: FusedAction, counts: Counts) -> tuple[str, int]:
        kind = type(action).__name__
        if isinstance(action, Advance | AdvanceSaving):
            return kind, action.step1 - action.step0
        if isinstance(action, Save):
            first = action.slot not in self._slots
            self._slots.add(action.slot)
            return "first Save" if first else kind, 0
        if isinstance(action, Load):
            return kind, int(action.free)
        if isinstance(action, Reverse):
            kept, self._kept = counts.kept_steps > self._kept, counts.kept_steps
            return "kept Reverse" if kept else kind, 1
        if isinstance(action, ReverseLoading):
            return kind, 1 + len(action.slots)
        return "other", 0

    def restart(self) -> None:
        """Begin a new run."""
        self._kept = 0
        self._last = perf_counter()


def measure(
    model: Model,
    fields: np.ndarray,
    n_steps: int,
    memory_slots: int,
    memory: Callable[[Schedule], Store],
    swaps: bool,
    behind: Mapping[str, int],
    sample: Callable[..., tuple[Store, list[Transfer]]],
) -> Costs:
    """Measure with the run's own model and fields; it can start anew afterwards. Collective.

    Args:
        model: of the run.
        fields: (2, ny, nx) of the tile.
        n_steps: of the run.
        memory_slots: snapshots that the memory holds.
        memory: makes a store in memory.
        swaps: whether it exchanges states.
        behind: snapshots that each tier behind it holds; 0 for none.
        sample: makes a store in such a tier and a list of the transfers that it will make; see
            `assembly.stores.StoreMaker.sample`.
    """
    comm = model.comm
    prepare_kernels(model)
    one = _one_step(model, fields)
    wanted = int(SECONDS / max(20 * one, 1e-9))  # some turns, each some times its steps
    n_small = min(n_steps, max(FEWEST_STEPS, min(MOST_STEPS, wanted)))

    def small(slots: int) -> Callable[[], Schedule]:
        return lambda: Binomial(n_small, min(SNAPSHOTS, slots))

    near = _reversals(model, fields, small(memory_slots), memory)
    far = _far(model, fields, small, memory_slots, memory, behind, sample)

    def of(*keys: tuple[str, int]) -> float:
        return next((near[key] for key in keys if key in near), 0.0)

    saves = (("Save", 0), ("first Save", 0))
    loads = (("Load", 1), ("Load", 0))
    advance, along, adjoint = _calls(model, fields, n_steps, memory_slots, swaps, one)
    return Costs(
        advance=advance,
        along=along,
        adjoint=adjoint,
        kept_adjoint=near.get(("kept Reverse", 1)),
        seed=max(0.0, of(("other", 0)) - advance[0][1]),
        save=of(*saves),
        first_save=of(*saves[::-1]),
        load=of(*loads[::-1]),
        last_load=of(*loads),
        call=of(*saves) + _agreement(comm),
        copy=_copy(model, fields),
        far=far,
    )


def _far(
    model: Model,
    fields: np.ndarray,
    small: Callable[[int], Callable[[], Schedule]],
    memory_slots: int,
    memory: Callable[[Schedule], Store],
    behind: Mapping[str, int],
    sample: Callable[..., tuple[Store, list[Transfer]]],
) -> dict[str, Moves]:
    """Transfers to each tier behind the memory; see `measure`. `small` makes short schedules."""
    far, idle = {}, idle_share(model.comm)
    for place, slots in behind.items():
        write = first_write = read = 0.0
        if slots:
            found = _transfers(model, fields, small(slots), partial(sample, place=place))
            write, first_write, read = found
        far[place] = Moves(write, first_write, read, hidden=idle, ahead=idle > 0)
        if place == HOST and slots:  # the device copies, whatever the processor does
            schedule = small(min(memory_slots, slots))
            store, transfers = sample(schedule(), place, threaded=True)
            with closed_at_end(store), closed_at_end(memory(schedule())) as inside:
                share = _overlap(model, fields, schedule, inside, store, transfers, far[place])
            far[place] = replace(far[place], hidden=share, ahead=True)
    return far


def _one_step(model: Model, fields: np.ndarray) -> float:
    """Seconds of one step, the most of all ranks."""
    state = model.initial_state(fields)
    model.advance(state, 0, 1)
    model.stepper.finish()
    singles = []
    for _ in range(3):
        start = perf_counter()
        model.advance(state, 0, 1)
        model.stepper.finish()
        singles.append(perf_counter() - start)
    return float(largest(model.comm, min(singles)))


def _smoothed(calls: dict[int, float]) -> tuple[tuple[int, float], ...]:
    """Rare lengths are measured once or twice: none costs more per step than a shorter one."""
    found, rate = [], float("inf")
    for length, seconds in sorted(calls.items()):
        seconds = min(seconds, rate * length)
        rate = seconds / length
        found.append((length, seconds))
    return tuple(found)


def _calls(
    model: Model,
    fields: np.ndarray,
    n_steps: int,
    memory_slots: int,
    swaps: bool,
    one: float,
) -> tuple[Table, Table, Table]:
    """What calls of the model for one step and for several take: forward, along, and adjoint."""
    comm = model.comm
    many = min(STATES, memory_slots, n_steps)
    long = max(1, min(LONG_ADVANCE, n_steps, int(SECONDS / one)))
    states = [model.initial_state(fields), *(model.new_state() for _ in range(many))]
    cotangent = model.new_cotangent()
    # where states are swapped, an advance begins in the snapshot before it
    target = states[1] if swaps else states[0]
    kinds = {
        "advance": (lambda steps: model.advance_from(states[0], target, 0, steps), (1, long)),
        "along": (lambda steps: model.advance_along(states[: steps + 1], 0), (1, many)),
        "adjoint": (
            lambda steps: model.adjoint_steps(cotangent, states[:steps], steps - 1),
            (1, many),
        ),
    }
    tables = []
    for call, lengths in kinds.values():
        found = {}
        for steps in lengths:
            call(steps)  # memory that is used for the first time takes longer
            model.stepper.finish()
            seconds = []
            for _ in range(COPIES):
                start = perf_counter()
                call(steps)
                model.stepper.finish()
                seconds.append(perf_counter() - start)
            found[steps] = total(comm, float(np.median(seconds))) / comm.size
        tables.append(_smoothed(found))
    return tables[0], tables[1], tables[2]


def _reversals(
    model: Model,
    fields: np.ndarray,
    schedule: Callable[[], Schedule],
    make: Callable[[Schedule], Store],
) -> dict[tuple[str, int], float]:
    """Run the schedule some times; the typical seconds of each kind of action, over all ranks."""
    stopwatch = Stopwatch(model.stepper.finish)
    with closed_at_end(make(schedule())) as store:
        _repeat(model, fields, schedule, store, stopwatch)
    return {
        key: total(model.comm, float(np.median(seconds))) / model.comm.size
        for key, seconds in sorted(stopwatch.seconds.items())
    }


def _repeat(
    model: Model,
    fields: np.ndarray,
    schedule: Callable[[], Schedule],
    store: Store,
    stopwatch: Stopwatch,
) -> None:
    """Run the schedule for some time."""
    begun, late = perf_counter(), False
    while not late:
        state = model.initial_state(fields)
        executor: Executor[np.ndarray, Any, Any]
        executor = Executor(model, schedule(), store, stopwatch)
        stopwatch.restart()
        executor.run(state)
        late = from_rank(model.comm, perf_counter() - begun > SECONDS)


def _transfers(
    model: Model,
    fields: np.ndarray,
    schedule: Callable[[], Schedule],
    make: Callable[[Schedule], tuple[Store, list[Transfer]]],
) -> list[float]:
    """Run the schedule some times; the typical seconds to write, write first, and read."""
    store, transfers = make(schedule())
    with closed_at_end(store):
        _repeat(model, fields, schedule, store, Stopwatch(model.stepper.finish))
    written: set[int] = set()
    samples: tuple[list[float], ...] = ([], [], [])
    for move, slot, seconds in transfers:
        if move is Move.READ:
            samples[2].append(seconds)
        else:
            samples[slot not in written].append(seconds)
            written.add(slot)
    typical = np.array([float(np.median(one)) if one else 0.0 for one in samples])
    return list(total_each(model.comm, typical) / model.comm.size)


def _overlap(
    model: Model,
    fields: np.ndarray,
    schedule: Callable[[], Schedule],
    inside: Store,
    behind: Store,
    transfers: list[Transfer],
    moves: Moves,
) -> float:
    """Share of a thread's transfers that a reversal does not wait for.

    Args:
        model: of the run.
        fields: its initial fields.
        schedule: makes the reversal's.
        inside: a store that moves nothing.
        behind: one with the thread.
        transfers: what it has moved.
        moves: what that takes with nothing else to do.
    """
    each, moved = {Move.WRITE: moves.write, Move.READ: moves.read}, 0.0
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(1 + COPIES):  # memory that is used for the first time takes longer
        for moving, store in ((False, inside), (True, behind)):
            state = model.initial_state(fields)
            executor: Executor[np.ndarray, Any, Any] = Executor(model, schedule(), store)
            transfers.clear()
            model.stepper.finish()
            start = perf_counter()
            executor.run(state)
            store.flush()
            model.stepper.finish()
            if turn:
                seconds[moving].append(perf_counter() - start)
        moved = sum(each[move] for move, _, _ in transfers)
    typical = [float(np.median(seconds[moving])) for moving in (False, True)]
    computing, both, moved = total_each(model.comm, np.array([*typical, moved])) / model.comm.size
    return hidden_share(computing, moved, both)


def hidden_share(computing: float, moving: float, both: float) -> float:
    """Share of transfers that go on beside a computation, of as many as could.

    Args:
        computing: seconds without transfers.
        moving: seconds of the transfers alone.
        both: seconds of both, begun together.
    """
    most = min(computing, moving)
    return min(1.0, max(0.0, (computing + moving - both) / most)) if most > 0 else 0.0


def _copy(model: Model, fields: np.ndarray) -> float:
    """Seconds to copy a state to a buffer, or back."""
    state = model.initial_state(fields)
    buffers = [model.new_snapshot() for _ in range(2)]
    model.keep(state, 0)
    samples = []
    for turn in range(2 * COPIES):
        buffer = buffers[turn % 2]
        start = perf_counter()
        model.snapshot(state, buffer)
        model.restore(buffer, state)
        model.stepper.finish()
        samples.append((perf_counter() - start) / 2)
    return float(total(model.comm, float(np.median(samples[2:]))) / model.comm.size)


def _agreement(comm: Comm) -> float:
    """Seconds that ranks take to agree that nothing has failed."""
    start = perf_counter()
    for _ in range(AGREEMENTS):
        with agreed(comm):
            pass
    return float(largest(comm, (perf_counter() - start) / AGREEMENTS))
