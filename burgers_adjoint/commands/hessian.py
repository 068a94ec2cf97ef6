"""`hessian`: products of J's second derivative with directions, from a configuration to results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import Gradient, executed
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.commands.job import (
    durable_run,
    is_continued,
    prepare_output,
    write_run,
)
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.commands.reversal import summary_of, swept
from burgers_adjoint.commands.room import room_released
from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.controls import split
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.files.hdf5 import opened
from burgers_adjoint.inverse.control_file import read_values
from burgers_adjoint.output.plots import plot_results
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import RunSummary
from burgers_adjoint.parallel.agreement import Comm, from_rank
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.reductions import digest
from burgers_adjoint.problem import Problem
from burgers_adjoint.second_order.products import SecondOrder
from burgers_adjoint.stepping.stepper import Cotangent

if TYPE_CHECKING:
    from burgers_adjoint.commands.durable import Resume


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
    config = case.config
    also = {"kind": config.hessian.kind, "directions": _digest(case, directions)}
    durable = durable_run(case, checkpointing, "hessian", resume, {"hessian": also})
    if durable is not None and durable.summary is not None:
        return durable.summary
    directory = prepare_output(case, durable, groups=1 + 2 * len(directions))
    monitor.prepare(is_continued(durable), limits=durable is None)
    schedule = checkpointing.schedule() if durable is None else durable.schedule()
    with closed_at_end(checkpointing.store(schedule), config.snapshots.keep) as store:

        def run() -> tuple[Executor[np.ndarray, Cotangent, Any], None]:
            if durable is None:
                return executed(case, schedule, store, monitor, monitor.follow), None
            return durable.executed(schedule, store, monitor), None

        done = swept(checkpointing, durable, monitor, "hessian", schedule, store, run)
    found, final = second.ended(done.found), case.model.final[:2]
    second.add_prior(directions, found)
    gradient = found.gradient or {}
    summary = summary_of(
        case, checkpointing, durable, done,
        found.objective, final, gradient, found.counts, done.found.damages,
    )  # fmt: skip
    summary.product_norms = [
        {name: case.controls[name].norm(part) for name, part in product.items()}
        for product in found.products
    ]
    summary.digest = _digest(case, [gradient, *found.products], [found.objective])
    groups = {"gradient": gradient} if gradient else {}
    for name, several in (("directions", directions), ("products", found.products)):
        groups |= {f"{name}/{n:04d}": one for n, one in enumerate(several)}
    with nullcontext() if durable is None else durable.kept_if_not_written("products"):
        write_run(case, directory, final, groups, summary, plot_results, "gradient.png")
    if durable is not None:
        durable.conclude(summary)
    monitor.conclude(summary.objective)
    return summary


def _digest(case: Case, several: list[Gradient], numbers: Sequence[float] = ()) -> str:
    """Fingerprint of the bits of some values of controls, alike for all rank counts. Collective."""
    tiles, scalars = list[np.ndarray](), list(numbers)
    for values in several:
        fields, others = split("values", case.controls, values)
        tiles += fields.values()
        scalars += others.values()
    return digest(case.decomposition, tiles, scalars)


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
