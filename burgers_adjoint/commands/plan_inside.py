"""`plan --inside`: what to keep of a step, and how many snapshots, for one budget of memory."""

from contextlib import ExitStack
from typing import Any

import msgspec

from burgers_adjoint.assembly.device_stores import Room
from burgers_adjoint.checkpointing.call_tree_choice import Choice
from burgers_adjoint.config import Config
from burgers_adjoint.config.registry import INTEGRATORS
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import BurgersAdjointError
from burgers_adjoint.files.whole import write_text
from burgers_adjoint.output.inside_picture import draw_inside
from burgers_adjoint.output.summary import InsideSummary
from burgers_adjoint.parallel.agreement import Comm
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.planning.inside import InsidePlan, points
from burgers_adjoint.planning.inside_engine import ENCODING, STAGES, kinds_of, plan_engine
from burgers_adjoint.planning.plan import SHARE_OF_FREE_MEMORY
from burgers_adjoint.problem import Problem

BY_CHANCE = 12  # choices that a picture shows beside those of the strategies


def plan_inside(
    config: Config, comm: Comm, draw: str | None = None, write: str | None = None
) -> tuple[InsideSummary, str]:
    """Measure and choose; returns the summary, and the list for people. Collective.

    Args:
        config: what to plan; `snapshots.memory` is the budget.
        comm: all ranks.
        draw: file for a picture of what was tried; then other choices are run, too.
        write: TOML file for the configuration with the choice in it.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, or a file that cannot be made.
    """
    budget = Room(comm, config.snapshots).given(SHARE_OF_FREE_MEMORY)
    keeping = (False, True) if len(INTEGRATORS[config.time.integrator].b) > 1 else (False,)
    with ExitStack() as stack:
        by_stages = {}
        for keeps in keeping:
            problem = stack.enter_context(Problem(_with_stages(config, keeps), comm))
            prepare_kernels(problem.case.model)
            by_stages[keeps] = problem.case, problem.checkpointing
        kinds = kinds_of(by_stages)
        found = plan_engine(kinds, budget, by_chance=BY_CHANCE if draw is not None else 0)
    choice: Choice = found.best.profile.choice
    shown = found.paths, points(found.by_chance), points(found.binomial)
    with agreed(comm):
        if comm.rank == 0 and write is not None:
            write_text(write, with_choice(config, choice).to_toml())
        if comm.rank == 0 and draw is not None and not draw_inside(draw, *shown):
            raise BurgersAdjointError("drawing a plan takes matplotlib: install it")
    return _summary(found, comm), str(found)


def _with_stages(config: Config, keeps: bool) -> Config:
    """A configuration that keeps stages or does not, with snapshots in memory."""
    replace = msgspec.structs.replace
    return replace(
        config,
        time=replace(config.time, stages="keep" if keeps else "recompute"),
        checkpointing=replace(config.checkpointing, schedule="binomial"),
        snapshots=replace(config.snapshots, store="memory"),
    )


def with_choice(config: Config, choice: Choice) -> Config:
    """A configuration with what was chosen of its step and of its snapshots."""
    replace = msgspec.structs.replace
    config = _with_stages(config, STAGES in choice.recorded)
    codec = "lossless" if ENCODING in choice.recorded else config.snapshots.codec
    return replace(
        config,
        checkpointing=replace(config.checkpointing, snapshots=choice.snapshots),
        snapshots=replace(config.snapshots, codec=codec),
    )


def _summary(found: InsidePlan, comm: Comm) -> InsideSummary:
    def tried(strategy: str, one: Any) -> dict[str, Any]:
        profile = one.profile
        return {
            "strategy": strategy,
            "recorded": sorted(profile.choice.recorded),
            "snapshots": profile.choice.snapshots,
            "predicted_seconds": one.seconds,
            "seconds": profile.seconds,
            "predicted_bytes": one.bytes,
            "bytes": profile.bytes,
        }

    return InsideSummary(
        steps=found.first.n_steps,
        ranks=comm.size,
        budget=found.budget,
        sites=[
            {"site": row.site, "occurrences": row.occurrences, "seconds": row.seconds,
             "bytes": row.bytes, "chosen": row.chosen}
            for row in found.rows()
        ],
        tried=[tried(name, one) for name, rounds in found.rounds.items() for one in rounds],
        chosen=tried("", found.best),
    )  # fmt: skip
