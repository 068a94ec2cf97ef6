"""`plan`: what schedules and stores would take, measured and predicted."""

import msgspec

from burgers_adjoint.commands.job import planned
from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.output.summary import PlanSummary
from burgers_adjoint.parallel.agreement import Comm, last_arrival
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.problem import Problem


def plan(config: Config, comm: Comm, draw: str | None = None) -> PlanSummary:
    """Predict what schedules and stores would take; returns the summary. Collective.

    Args:
        config: what to plan; with its own schedule, that one is among the predicted.
        comm: all ranks.
        draw: file for a picture of the configured schedule, or of the one that "auto" takes.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, or a picture that cannot be made.
    """
    with Problem(config, comm) as problem:
        return _plan(problem, draw)


def _plan(problem: Problem, draw: str | None) -> PlanSummary:
    case, comm = problem.case, problem.case.comm
    prepare_kernels(case.model)
    start = last_arrival(comm)
    found = problem.checkpointing.plan
    planning = last_arrival(comm) - start
    if draw is not None:
        from burgers_adjoint.output.schedule_picture import draw_schedule

        schedule = problem.checkpointing.schedule()
        with agreed(comm):
            if comm.rank == 0 and not draw_schedule(schedule, draw):
                raise BurgersAdjointError("drawing a schedule takes matplotlib: install it")
    return PlanSummary(
        steps=case.n_steps,
        ranks=comm.size,
        configured=case.config.checkpointing.schedule,
        disk_left_out=found.no_disk,
        seconds={"planning": planning},
        **msgspec.structs.asdict(planned(problem)),
    )
