"""What the commands that reverse a run share: how its sweeps go, and what the summary tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from msgspec import UNSET

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.runs import Gradient
from burgers_adjoint.assembly.stores import Store
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.commands.compression import compressed
from burgers_adjoint.commands.job import seconds_of, seconds_since_start, summarize
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.output.summary import Compressed, RunSummary, Scheduled
from burgers_adjoint.parallel.agreement import largest, last_arrival
from burgers_adjoint.planning.checkpointing import Checkpointing

if TYPE_CHECKING:
    from burgers_adjoint.commands.durable import DurableRun

Found = TypeVar("Found")


@dataclass(frozen=True)
class Swept(Generic[Found]):
    """Both sweeps, done.

    Attributes:
        found: what has come of them.
        schedule: that was followed.
        startup, seconds: until they began, and that they took.
        snapshot_bytes: in memory, of the rank that has most.
        compression: what a codec made of the snapshots, if one did.
    """

    found: Found
    schedule: Schedule
    startup: float
    seconds: float
    snapshot_bytes: int
    compression: Compressed | None


def swept(
    checkpointing: Checkpointing,
    durable: DurableRun | None,
    monitor: Monitor,
    command: str,
    schedule: Schedule,
    store: Store,
    run: Callable[[], tuple[Found, LossyError | None]],
) -> Swept[Found]:
    """Carry out both sweeps, before everybody's eyes. Collective.

    Args:
        checkpointing: has made the schedule and the store.
        durable: keeps restart data, and then knows the schedule that was followed.
        monitor: of the run.
        command: what is shown.
        schedule: at its start.
        store: of its snapshots.
        run: does them; returns what has come of them, and what has seen the loss of bits.
    """
    comm, known = monitor.comm, schedule.n_steps
    startup = seconds_since_start(comm)
    monitor.begin(command, None if known is None else schedule.predicted_forward_steps + known)
    start = last_arrival(comm)
    found, watch = run()
    seconds = last_arrival(comm) - start
    monitor.end()
    return Swept(
        found,
        schedule if durable is None else durable.schedule_used,
        startup,
        seconds,
        largest(comm, store.nbytes),
        compressed(checkpointing, store, watch),
    )


def summary_of(
    case: Case,
    checkpointing: Checkpointing,
    durable: DurableRun | None,
    done: Swept[Found],
    objective: float,
    final: np.ndarray,
    gradient: Gradient,
    counts: Counts,
    damages: list[str],
) -> RunSummary:
    """What the summaries of all such commands have, the same on all ranks. Collective.

    Args:
        case: that was run.
        checkpointing: of it.
        durable: what keeps its restart data.
        done: its sweeps.
        objective, final, gradient: J, final state (2, ny, nx) of the tile, and gradient.
        counts: what was done.
        damages: what was wrong with each snapshot that was computed anew.

    Raises:
        NumericalError: on all ranks: the gradient is not finite.
    """
    seconds, schedule = seconds_of(counts), done.schedule
    own = seconds if durable is None else durable.of_this_job(seconds)
    summary = summarize(case, objective, final, gradient, done.startup, done.seconds, own)
    summary.schedule = Scheduled(
        name=schedule.name,
        snapshots=schedule.snapshots,
        snapshots_on_disk=schedule.snapshots_on_disk,
        forward_steps=counts.forward_steps,
        predicted_forward_steps=schedule.predicted_forward_steps,
        snapshots_written=counts.saves,
        kept_steps=counts.kept_steps,
        store=checkpointing.store_kind,
        damaged=counts.damaged,
        recomputed_steps=counts.recomputed_steps,
        damages=damages,
    )
    summary.snapshot_bytes = done.snapshot_bytes
    summary.compression = done.compression or UNSET
    if durable is not None:
        whole = checkpointing.schedule()
        planned = None if whole.n_steps is None else whole.predicted_forward_steps
        summary.restart = durable.report(counts.forward_steps, planned, seconds)
    return summary
