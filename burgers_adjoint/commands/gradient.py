"""`gradient`: both sweeps, from a configuration to results and a summary."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.runs import Gradient, Reversal
from burgers_adjoint.assembly.stores import closed_at_end
from burgers_adjoint.commands.job import (
    dumps_of,
    durable_run,
    is_continued,
    planned,
    prepare_output,
    write_run,
)
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.commands.reversal import summary_of, swept
from burgers_adjoint.commands.room import room_released
from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.output.plots import plot_results
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import (
    Dumped,
    PlanOutcome,
    RunSummary,
    published_comparison,
)
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.parallel.reductions import norm
from burgers_adjoint.problem import Problem

if TYPE_CHECKING:
    from burgers_adjoint.commands.durable import Resume


def gradient(
    config: Config, comm: Comm, progress: Progress, resume: "Resume" = "refuse"
) -> RunSummary:
    """Run both sweeps; returns the summary, the same on all ranks. Collective.

    Args:
        config: what to compute.
        comm: the ranks.
        progress: shows how far it is.
        resume: where restart data is kept, what to do with data that is there; see `DurableRun`.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, too little memory, a state or
            gradient that is not finite, or results that cannot be written.
    """
    with (
        Problem(config, comm) as problem,
        room_released(problem.case),
        Monitor(problem.case, "gradient", progress) as monitor,
    ):
        return _gradient(problem, monitor, resume)


def _gradient(problem: Problem, monitor: Monitor, resume: "Resume") -> RunSummary:
    case, checkpointing = problem.case, problem.checkpointing
    config, comm = case.config, case.comm
    durable = durable_run(case, checkpointing, "gradient", resume)
    if durable is not None and durable.summary is not None:
        return durable.summary
    directory = prepare_output(case, durable, groups=1, dumped=4)
    monitor.prepare(is_continued(durable), limits=durable is None)
    schedule = checkpointing.schedule() if durable is None else durable.schedule()
    dumps = dumps_of(case, directory, durable)
    with closed_at_end(checkpointing.store(schedule), config.snapshots.keep) as store:
        prepare_kernels(case.model)

        def run() -> tuple[Reversal, LossyError | None]:
            if durable is None:
                return checkpointing.reversed(schedule, store, monitor)
            watch = LossyError(case, monitor) if store.lossy else None
            return durable.reverse(schedule, store, watch or monitor), watch

        done = swept(checkpointing, durable, monitor, "gradient", schedule, store, run)
    result = done.found
    summary = summary_of(
        case, checkpointing, durable, done,
        result.objective, result.final, result.gradient, result.counts, result.damages,
    )  # fmt: skip
    if dumps is not None:
        summary.dumps = Dumped(dumps.files, dumps.seconds, dumps.lost)
    if config.checkpointing.schedule == "auto":
        summary.plan = _outcome(problem, done.seconds - (0.0 if dumps is None else dumps.seconds))
    summary.published = published_comparison(
        config, result.objective, _pointwise_squares(comm, result.gradient)
    )
    reported = {"gradient": _in_inner_product(case, result.gradient)}
    with nullcontext() if durable is None else durable.kept_if_not_written("gradient"):
        write_run(
            case,
            directory,
            np.asarray(result.final),
            reported,
            summary,
            plot_results,
            "gradient.png",
            dumps,
        )
    if durable is not None:
        durable.conclude(summary)
    monitor.conclude(summary.objective)
    return summary


def _outcome(problem: Problem, seconds: float) -> PlanOutcome:
    """The plan beside the seconds that it took."""
    found, predicted = planned(problem), problem.checkpointing.plan.best.prediction.seconds
    return PlanOutcome(
        predicted_seconds=predicted, actual_seconds=seconds, **msgspec.structs.asdict(found)
    )


def _pointwise_squares(comm: Comm, gradient: Gradient) -> float | None:
    """Norm of (dJ/du0)^2 + (dJ/dv0)^2, point by point; None where it was not asked for."""
    initial = gradient.get("initial")
    if not isinstance(initial, np.ndarray):
        return None
    with np.errstate(over="ignore"):  # far from what is published
        return norm(comm, np.square(initial).sum(axis=0))


def _in_inner_product(case: Case, gradient: Gradient) -> Gradient:
    """The gradient as the configured inner product represents the derivative.

    In the L2 inner product, sum of a b dx dy, a field's gradient is the Euclidean one over dx dy.
    """
    if case.config.gradient.inner_product == "euclidean":
        return gradient
    area = case.grid.dx * case.grid.dy
    controls = case.controls
    return {name: part / area if controls[name].shape else part for name, part in gradient.items()}
