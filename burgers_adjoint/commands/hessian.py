"""`hessian`: products of J's second derivative with directions, from a configuration to results."""

from __future__ import annotations

from contextlib import closing, nullcontext
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import Gradient, executed
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.commands.job import (
    is_continued,
    prepare_output,
    scheduled,
    seconds_of,
    seconds_since_start,
    summarize,
    write_run,
)
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.commands.room import room_released
from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.controls import split
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.files.hdf5 import opened
from burgers_adjoint.inverse.control_file import read_values
from burgers_adjoint.output.plots import plot_results
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import RunSummary
from burgers_adjoint.parallel.agreement import Comm, from_rank, largest, last_arrival
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.reductions import digest
from burgers_adjoint.problem import Problem
from burgers_adjoint.second_order.products import Products, SecondOrder

if TYPE_CHECKING:
    from burgers_adjoint.commands.durable import DurableRun, Resume


def hessian(
    config: Config, comm: Comm, progress: Progress, resume: Resume = "refuse"
) -> RunSummary:
    """Multiply directions with the second derivative of J; returns the summary. Collective.

    States and their tangents go through both sweeps together, as the states of a gradient do.

    Args:
        config: what to compute.
        comm: the ranks.
        progress: shows how far it is.
        resume: where restart data is kept, what to do with data that is there; see `DurableRun`.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, a term of J that has no second
            derivative, too little memory, a state that is not finite, or results that cannot be
            written.
    """
    full = config.hessian.kind == "full"
    with Problem(config, comm) as problem:
        directions = _directions(problem.case)
        second = SecondOrder(problem.case, len(directions), full, at_once=True)
        with (
            closing(second),
            room_released(problem.case),
            Monitor(second.case, "hessian", progress) as monitor,
        ):
            second.set_directions(directions)
            return _multiplied(second, directions, monitor, resume)


def _multiplied(
    second: SecondOrder, directions: list[Gradient], monitor: Monitor, resume: Resume
) -> RunSummary:
    case, checkpointing = second.case, second.checkpointing
    config, comm = case.config, case.comm
    durable = _durable(second, directions, resume)
    if durable is not None and durable.summary is not None:
        return durable.summary
    directory = prepare_output(case, durable, groups=1 + 2 * len(directions))
    monitor.prepare(is_continued(durable), limits=durable is None)
    schedule = checkpointing.schedule() if durable is None else durable.schedule()
    with closed_at_end(checkpointing.store(schedule), config.snapshots.keep) as store:
        startup = seconds_since_start(comm)
        known = schedule.n_steps
        total = None if known is None else schedule.predicted_forward_steps + known
        monitor.begin("hessian", total)
        start = last_arrival(comm)
        if durable is None:
            executor = executed(case, schedule, store, monitor, monitor.follow)
        else:
            executor = durable.executed(schedule, store, monitor)
            schedule = durable.schedule_used
        sweeps = last_arrival(comm) - start
        monitor.end()
        snapshot_bytes = largest(comm, store.nbytes)
    found, final = second.ended(executor), case.model.final[:2].copy()
    second.add_prior(directions, found)
    gradient = found.gradient or {}
    seconds = seconds_of(found.counts)
    own = seconds if durable is None else durable.of_this_job(seconds)
    summary = summarize(case, found.objective, final, gradient, startup, sweeps, own)
    kind = checkpointing.store_kind
    summary.schedule = scheduled(kind, schedule, found.counts, executor.damages)
    summary.snapshot_bytes = snapshot_bytes
    summary.product_norms = [
        {name: case.controls[name].norm(part) for name, part in product.items()}
        for product in found.products
    ]
    summary.digest = _digest(case, found)
    if durable is not None:
        whole = checkpointing.schedule()
        planned_steps = None if whole.n_steps is None else whole.predicted_forward_steps
        summary.restart = durable.report(found.counts.forward_steps, planned_steps, seconds)
    groups = {"gradient": gradient} if gradient else {}
    for name, several in (("directions", directions), ("products", found.products)):
        groups |= {f"{name}/{n:04d}": one for n, one in enumerate(several)}
    with nullcontext() if durable is None else durable.kept_if_not_written("products"):
        write_run(case, directory, final, groups, summary, plot_results, "gradient.png")
    if durable is not None:
        durable.conclude(summary)
    monitor.conclude(summary.objective)
    return summary


def _durable(second: SecondOrder, directions: list[Gradient], resume: Resume) -> DurableRun | None:
    """What keeps restart data, where it is asked for: of these directions and no others."""
    case = second.case
    if not case.config.restart.enabled:
        return None
    from burgers_adjoint.commands.durable import DurableRun

    tiles, numbers = _parts(case, "directions", directions)
    also: dict[str, Any] = {
        "hessian": {
            "kind": case.config.hessian.kind,
            "directions": digest(case.decomposition, tiles, numbers),
        }
    }
    return DurableRun(case, second.checkpointing, "hessian", resume, also)


def _digest(case: Case, found: Products) -> str:
    """Fingerprint of the bits of J, its gradient and all products, alike for all rank counts."""
    values = [found.gradient or {}, *found.products]
    tiles, numbers = _parts(case, "products", values)
    return digest(case.decomposition, tiles, [found.objective, *numbers])


def _parts(case: Case, group: str, several: list[Gradient]) -> tuple[list[np.ndarray], list[float]]:
    """Tiles and numbers of some values of controls, in their order."""
    tiles: list[np.ndarray] = []
    numbers: list[float] = []
    for values in several:
        more, others = split(group, case.controls, values)
        tiles += more.values()
        numbers += others.values()
    return tiles, numbers


def _directions(case: Case) -> list[Gradient]:
    """The configured directions, with a value for every control. Collective.

    Raises:
        ConfigError: on all ranks: the file has none, or some that do not fit.
    """
    section, controls = case.config.hessian, case.controls
    path, group = section.directions, section.group
    if not path:
        return [
            {name: one.masked(one.random(section.seed + n)) for name, one in controls.items()}
            for n in range(section.count)
        ]
    label = f"hessian.directions = {path}"
    count = 0
    with agreed(case.comm):
        if case.comm.rank == 0:
            with opened(path, label) as file:
                numbers = (f"{group}/{n:04d}" for n in range(10_000))
                count = len(list(takewhile(file.__contains__, numbers)))
    count = from_rank(case.comm, count)
    if not count:
        raise agreed_error(
            ConfigError(f"{label}: there is no /{group}/0000, as hessian.group = {group!r}")
        )
    found = []
    for n in range(count):
        given = read_values(path, f"{group}/{n:04d}", controls, case.decomposition)
        if not given:
            raise agreed_error(
                ConfigError(
                    f"{label}: /{group}/{n:04d} has none of the controls {', '.join(controls)}"
                )
            )
        found.append({name: given.get(name, one.zeros()) for name, one in controls.items()})
    return found
