"""Measures, on the ranks of a run, what its parts take: small reversals with real stores."""

from collections import defaultdict
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from mpi4py import MPI

from burgers_adjoint.burgers.model import BurgersModel
from burgers_adjoint.burgers.preparation import prepare_kernels
from burgers_adjoint.checkpointing.actions import Action, Advance, Load, Reverse, Save
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.planner import Costs
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.storage import Store, closed_at_end, idle_share

SECONDS = 0.2  # of small reversals with one store
FEWEST_STEPS, MOST_STEPS = 10, 96
SNAPSHOTS = 5
COPIES = 5


class Stopwatch:
    """An observer that notes how long every action took, by its kind."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
        self._slots: set[int] = set()
        self._kept = 0
        self._last = perf_counter()

    def __call__(self, action: Action, counts: Any) -> None:
        """Note the time since the action before."""
        now = perf_counter()
        kind, length = type(action).__name__, 0
        if isinstance(action, Advance):
            length = action.step1 - action.step0
        elif isinstance(action, Save):
            if action.slot not in self._slots:
                kind = "first Save"
            self._slots.add(action.slot)
        elif isinstance(action, Load):
            length = int(action.free)
        elif isinstance(action, Reverse):
            length = int(counts.kept_steps > self._kept)
            self._kept = counts.kept_steps
        else:
            kind = "other"
        self.seconds[kind, length].append(now - self._last)
        self._last = perf_counter()

    def restart(self) -> None:
        """Begin a new run."""
        self._kept = 0
        self._last = perf_counter()


def measure(
    model: BurgersModel,
    fields: np.ndarray,
    n_steps: int,
    memory: Callable[[Schedule], Store],
    disk: Callable[[Schedule], Store] | None,
) -> Costs:
    """Measure with the run's own model and fields; it can start anew afterwards. Collective.

    Args:
        model: of the run.
        fields: (2, ny, nx) of the tile.
        n_steps: of the run.
        memory: makes a store in memory.
        disk: makes a store on disk without a thread; None for no disk.
    """
    comm = model.comm
    prepare_kernels(model)
    state = model.initial_state(fields)
    model.advance(state, 0, 1)
    singles = []
    for _ in range(3):
        start = perf_counter()
        model.advance(state, 0, 1)
        singles.append(perf_counter() - start)
    one = comm.allreduce(min(singles), op=MPI.MAX)
    wanted = int(SECONDS / max(20 * one, 1e-9))  # some turns, each some times its steps
    n_small = min(n_steps, max(FEWEST_STEPS, min(MOST_STEPS, wanted)))

    def small() -> Schedule:
        return Binomial(n_small, SNAPSHOTS)

    near = _reversals(model, fields, small, memory)
    far = _reversals(model, fields, small, disk) if disk is not None else {}
    copy_in, copy_out = _copies(model, fields)

    def of(times: dict[tuple[str, int], float], *keys: tuple[str, int]) -> float:
        for key in keys:
            if key in times:
                return times[key]
        return 0.0

    saves = (("Save", 0), ("first Save", 0))
    loads = (("Load", 1), ("Load", 0))
    return Costs(
        advance=_smoothed(
            {length: mean for (kind, length), mean in near.items() if kind == "Advance"}
        )
        or ((1, one),),
        adjoint=of(near, ("Reverse", 0), ("Reverse", 1)),
        kept_adjoint=near.get(("Reverse", 1)),
        save=of(near, *saves),
        first_save=of(near, *saves[::-1]),
        load=of(near, *loads[::-1]),
        last_load=of(near, *loads),
        copy_in=copy_in,
        copy_out=copy_out,
        write=max(0.0, of(far, *saves) - copy_in),
        first_write=max(0.0, of(far, *saves[::-1]) - copy_in),
        read=max(0.0, of(far, *loads) - copy_out),
        hidden=idle_share(comm),
    )


def _smoothed(calls: dict[int, float]) -> tuple[tuple[int, float], ...]:
    """Rare lengths are measured once or twice: none costs more per step than a shorter one."""
    found, rate = [], float("inf")
    for length, seconds in sorted(calls.items()):
        seconds = min(seconds, rate * length)
        rate = seconds / length
        found.append((length, seconds))
    return tuple(found)


def _reversals(
    model: BurgersModel,
    fields: np.ndarray,
    schedule: Callable[[], Schedule],
    make: Callable[[Schedule], Store],
) -> dict[tuple[str, int], float]:
    """Run the schedule some times; the typical seconds of each kind of action, over all ranks."""
    stopwatch = Stopwatch()
    with closed_at_end(make(schedule())) as store:
        begun, late = perf_counter(), False
        while not late:
            state = model.initial_state(fields)
            executor: Executor[np.ndarray, Any, np.ndarray]
            executor = Executor(model, schedule(), store, stopwatch)
            stopwatch.restart()
            executor.run(state)
            late = model.comm.bcast(perf_counter() - begun > SECONDS, root=0)
    return {
        key: model.comm.allreduce(float(np.median(seconds)), op=MPI.SUM) / model.comm.size
        for key, seconds in sorted(stopwatch.seconds.items())
    }


def _copies(model: BurgersModel, fields: np.ndarray) -> tuple[float, float]:
    """Seconds to copy a state to a buffer and back."""
    state = model.initial_state(fields)
    buffers = [model.new_snapshot() for _ in range(2)]
    inward, outward = [], []
    for turn in range(2 * COPIES):
        buffer = buffers[turn % 2]
        start = perf_counter()
        model.snapshot(state, buffer)
        middle = perf_counter()
        model.restore(buffer, state)
        inward.append(middle - start)
        outward.append(perf_counter() - middle)
    mean = [float(np.median(times[2:])) for times in (inward, outward)]
    comm = model.comm
    copied = [comm.allreduce(value, op=MPI.SUM) / comm.size for value in mean]
    return copied[0], copied[1]
