"""The main jobs: a forward sweep, and a gradient, from a configuration to files and a summary."""

import json
import math
import os
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.controls import split
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, NumericalError, agreed_error
from burgers_adjoint.output.folder import prepare_directory
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import published_comparison
from burgers_adjoint.parallel.agreement import Comm, largest, last_arrival
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.reductions import norm
from burgers_adjoint.problem import Gradient, Problem

if TYPE_CHECKING:
    from burgers_adjoint.checkpointing.schedule import Schedule
    from burgers_adjoint.commands.durable import DurableRun, Resume
    from burgers_adjoint.observing.observations import Recorder
    from burgers_adjoint.output.dumps import Dumps
    from burgers_adjoint.problem import Reversal


def forward(
    config: Config,
    comm: Comm,
    progress: Progress,
    observe: str | None = None,
    resume: "Resume" = "refuse",
) -> dict[str, Any]:
    """Run the primal alone; returns the summary, the same on all ranks. Collective.

    Args:
        config: what to compute.
        comm: the ranks.
        progress: shows how far it is.
        observe: path of an HDF5 file; the run is observed as the configuration says.
        resume: where restart data is kept, what to do with data that is there; see `DurableRun`.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, a state that is not finite, or
            results that cannot be written.
    """
    with Problem(config, comm) as problem:
        return _forward(problem, progress, observe, resume)


def _forward(
    problem: Problem, progress: Progress, observe: str | None, resume: "Resume"
) -> dict[str, Any]:
    config, comm, observer = problem.config, problem.comm, None
    if observe is not None:
        if config.restart.enabled:
            raise agreed_error(
                ConfigError("--observe needs a run in one piece: set restart.enabled = false")
            )
        prepare_kernels(problem.model, reverse=False)
        observer = problem.recorder()
    durable = _durable(problem, "forward", resume)
    if durable is not None and durable.summary is not None:
        return durable.summary
    directory = prepare_directory(config, comm)
    prepare_kernels(problem.model, reverse=False)
    startup = seconds_since_start(comm)
    progress.begin("forward", problem.model.n_steps)
    start = last_arrival(comm)
    if durable is None:
        objective = problem.sweep(problem.fields, progress.update, observer)
    else:
        objective = durable.sweep(progress.update)
    sweeps = last_arrival(comm) - start
    progress.end()
    seconds = {"forward": sweeps, "adjoint": 0.0, "snapshots": 0.0}
    summary = summarize(problem, objective, problem.model.final, {}, startup, sweeps, seconds)
    summary["schedule"] = None
    summary["snapshot_bytes"] = 0
    summary["published"] = published_comparison(config, objective, None)
    if durable is not None:
        summary["restart"] = durable.report(problem.n_steps, problem.n_steps, {})
    _write(problem, directory, problem.model.final, {}, summary)
    if observe is not None and observer is not None:
        _write_observations(problem, observe, observer)
    if durable is not None:
        durable.conclude(summary)
    return summary


def _write_observations(problem: Problem, path: str, recorder: "Recorder") -> None:
    from burgers_adjoint.inverse import observation_file

    observation_file.write(
        path,
        recorder.observations,
        problem.grid,
        problem.decomposition,
        problem.every_control,
        {"initial": problem.fields, "viscosity": problem.control("viscosity")},
        {"config": problem.config.to_toml()},
    )


def gradient(
    config: Config, comm: Comm, progress: Progress, resume: "Resume" = "refuse"
) -> dict[str, Any]:
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
    with Problem(config, comm) as problem:
        return _gradient(problem, progress, resume)


def _gradient(problem: Problem, progress: Progress, resume: "Resume") -> dict[str, Any]:
    from burgers_adjoint.assembly.stores import closed_at_end

    config, comm = problem.config, problem.comm
    durable = _durable(problem, "gradient", resume)
    if durable is not None and durable.summary is not None:
        return durable.summary
    directory = prepare_directory(config, comm)
    schedule = problem.schedule() if durable is None else durable.schedule()
    dumps = _dumps(problem, directory, durable is not None and durable.found is not None)
    with closed_at_end(problem.store(schedule), config.snapshots.keep) as store:
        prepare_kernels(problem.model)
        startup = seconds_since_start(comm)
        known = schedule.n_steps
        total = None if known is None else schedule.predicted_forward_steps + known
        progress.begin("gradient", total)
        start = last_arrival(comm)
        if durable is None:
            result = problem.reverse(schedule, store, problem.fields, progress)
        else:
            result = durable.reverse(schedule, store, progress)
            schedule = durable.schedule_used
        sweeps = last_arrival(comm) - start
        progress.end()
        snapshot_bytes = largest(comm, store.nbytes)
    counts = result.counts
    seconds = {
        "forward": counts.seconds_forward,
        "adjoint": counts.seconds_adjoint,
        "snapshots": counts.seconds_snapshots,
    }
    own = seconds if durable is None else durable.of_this_job(seconds)
    summary = summarize(
        problem, result.objective, result.final, result.gradient, startup, sweeps, own
    )
    summary["schedule"] = _scheduled(problem, schedule, result)
    summary["snapshot_bytes"] = snapshot_bytes
    if dumps is not None:
        summary["dumps"] = {"files": dumps.written, "seconds": dumps.seconds}
    if config.checkpointing.schedule == "auto":
        summary["plan"] = {
            "predicted_seconds": problem.plan().best.prediction.seconds,
            "actual_seconds": sweeps - summary.get("dumps", {}).get("seconds", 0.0),
            **_planned(problem),
        }
    summary["published"] = published_comparison(
        config, result.objective, _pointwise_squares(comm, result.gradient)
    )
    if durable is not None:
        whole = problem.schedule()
        planned = None if whole.n_steps is None else whole.predicted_forward_steps
        summary["restart"] = durable.report(counts.forward_steps, planned, seconds)
    reported = _in_inner_product(problem, result.gradient)
    _write(problem, directory, result.final, reported, summary)
    if durable is not None:
        durable.conclude(summary)
    return summary


def _dumps(problem: Problem, directory: Path, continued: bool) -> "Dumps | None":
    """What writes fields on the way, where it is asked for."""
    every = problem.config.output.every
    if not every:
        return None
    from burgers_adjoint.output.dumps import Dumps

    grid, steps = problem.grid, problem.config.time.steps
    dumps = Dumps(
        directory, every, steps, problem.decomposition, grid.x, grid.y, continued=continued
    )
    problem.dump(dumps)
    return dumps


def _scheduled(problem: Problem, schedule: "Schedule", result: "Reversal") -> dict[str, Any]:
    """What the summary tells of the schedule and of what came of it."""
    counts = result.counts
    return {
        "name": schedule.name,
        "snapshots": schedule.snapshots,
        "snapshots_on_disk": schedule.snapshots_on_disk,
        "forward_steps": counts.forward_steps,
        "predicted_forward_steps": schedule.predicted_forward_steps,
        "snapshots_written": counts.saves,
        "kept_steps": counts.kept_steps,
        "store": store_kind(problem),
        "damaged": counts.damaged,
        "recomputed_steps": counts.recomputed_steps,
        "damages": result.damages,
    }


def _pointwise_squares(comm: Comm, gradient: Gradient) -> float | None:
    """Norm of (dJ/du0)^2 + (dJ/dv0)^2, point by point; None where it was not asked for."""
    initial = gradient.get("initial")
    if not isinstance(initial, np.ndarray):
        return None
    return norm(comm, np.square(initial).sum(axis=0))


def _durable(problem: Problem, command: str, resume: "Resume") -> "DurableRun | None":
    """What keeps restart data of a run, where it is asked for."""
    if not problem.config.restart.enabled:
        return None
    from burgers_adjoint.commands.durable import DurableRun

    return DurableRun(problem, command, resume)


def plan(config: Config, comm: Comm, draw: str | None = None) -> dict[str, Any]:
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


def _plan(problem: Problem, draw: str | None) -> dict[str, Any]:
    comm = problem.comm
    prepare_kernels(problem.model)
    start = last_arrival(comm)
    found = problem.plan()
    planning = last_arrival(comm) - start
    if draw is not None:
        from burgers_adjoint.output.schedule_picture import draw_schedule

        schedule = problem.schedule()
        with agreed(comm):
            if comm.rank == 0 and not draw_schedule(schedule, draw):
                raise BurgersAdjointError("drawing a schedule takes matplotlib: install it")
    return {
        "steps": problem.n_steps,
        "ranks": comm.size,
        "configured": problem.config.checkpointing.schedule,
        "disk_left_out": found.no_disk,
        "seconds": {"planning": planning},
        **_planned(problem),
    }


def _planned(problem: Problem) -> dict[str, Any]:
    found, comm = problem.plan(), problem.comm
    slot_bytes = largest(comm, problem.model.new_snapshot().nbytes)
    return {
        "memory_slots": found.memory_slots,
        "disk_slots": found.disk_slots,
        "costs": asdict(found.costs),
        "options": found.rows(slot_bytes),
    }


def store_kind(problem: Problem) -> str:
    """The kind of store that a run uses."""
    if problem.config.checkpointing.schedule == "auto":
        return problem.plan().best.candidate.store
    return problem.config.snapshots.store


def seconds_since_start(comm: Comm) -> float:
    """Age of the oldest rank's process."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])  # from boot to our own start
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return float(largest(comm, since))


def _in_inner_product(problem: Problem, gradient: Gradient) -> Gradient:
    """The gradient as the configured inner product represents the derivative.

    In the L2 inner product, sum of a b dx dy, a field's gradient is the Euclidean one over dx dy.
    """
    if problem.config.gradient.inner_product == "euclidean":
        return gradient
    area = problem.grid.dx * problem.grid.dy
    controls = problem.controls
    return {name: part / area if controls[name].shape else part for name, part in gradient.items()}


def summarize(
    problem: Problem,
    objective: float,
    final: np.ndarray,
    gradient: Gradient,
    startup: float,
    sweeps: float,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What the summaries of all commands have, the same on all ranks. Collective.

    Raises:
        NumericalError: on all ranks: the gradient is not finite.
    """
    comm = problem.comm
    norms = {name: problem.controls[name].norm(part) for name, part in gradient.items()}
    for control in gradient:
        if not math.isfinite(norms[control]):
            raise agreed_error(
                NumericalError(
                    f"the gradient with respect to {control} is not finite: the cotangent grew "
                    "beyond all bounds in the reverse sweep; a smaller time.dt may help"
                )
            )
    slowest = {
        name: float(largest(comm, value))
        for name, value in {**seconds, "halo": problem.model.halo_seconds}.items()
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "objective": objective,
        "gradient_norm": norms,
        "digest": problem.digest(final, gradient),
        "ranks": comm.size,
        "process_grid": list(problem.decomposition.process_grid),
        "steps": problem.n_steps,
        "time": problem.model.time_steps.time(problem.n_steps),
        "seconds": {"startup": startup, "sweeps": sweeps, **slowest},
        "peak_rss_bytes": largest(comm, peak),
        "checks": [],
    }


def _write(
    problem: Problem,
    directory: Path,
    final: np.ndarray,
    gradient: Gradient,
    summary: dict[str, Any],
) -> None:
    """Write results.h5 and the picture; adds the time that takes to the summary."""
    from burgers_adjoint.output.dumps import STEPS
    from burgers_adjoint.output.results import PICTURES, remove_leftovers, write_results
    from burgers_adjoint.output.system import versions

    comm = problem.comm
    start = time.perf_counter()
    fields = {f"/state/initial/{name}": problem.fields[f] for f, name in enumerate("uv")}
    fields |= {f"/state/final/{name}": final[f] for f, name in enumerate("uv")}
    tiles, numbers = split("gradient", problem.controls, gradient)
    fields |= tiles
    scalars = {"/objective": summary["objective"], **numbers}
    attributes = {
        "config": problem.config.to_toml(),
        "versions": json.dumps(versions()) if comm.rank == 0 else "",
        "summary": json.dumps(summary),
    }
    results = directory / "results.h5"
    write_results(
        results, problem.decomposition, problem.grid.x, problem.grid.y, fields, scalars, attributes
    )
    with agreed(comm):
        if comm.rank == 0:
            remove_leftovers(directory, PICTURES if problem.model.viewer else [*PICTURES, STEPS])
            if problem.config.output.plots:
                from burgers_adjoint.output.plots import plot_results

                plot_results(results, directory / "gradient.png")
    summary["seconds"]["output"] = float(largest(comm, time.perf_counter() - start))
