"""`forward`: the primal alone, from a configuration to results and a summary."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import new_recorder, sweep
from burgers_adjoint.commands.job import (
    dumps_of,
    durable_run,
    is_continued,
    prepare_output,
    seconds_since_start,
    summarize,
    write_run,
)
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.commands.room import hold_observations, room_released
from burgers_adjoint.commands.saved import ForwardSweep
from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.output.plots import plot_results
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.summary import Dumped, RunSummary, published_comparison
from burgers_adjoint.parallel.agreement import Comm, last_arrival
from burgers_adjoint.problem import Problem

if TYPE_CHECKING:
    from burgers_adjoint.commands.durable import Resume
    from burgers_adjoint.observing.observations import Recorder


def forward(
    config: Config,
    comm: Comm,
    progress: Progress,
    observe: str | None = None,
    resume: "Resume" = "refuse",
) -> RunSummary:
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
    with (
        Problem(config, comm) as problem,
        room_released(problem.case, observe),
        Monitor(problem.case, "forward", progress) as monitor,
    ):
        return _forward(problem, monitor, observe, resume)


def _forward(
    problem: Problem, monitor: Monitor, observe: str | None, resume: "Resume"
) -> RunSummary:
    case, observer = problem.case, None
    config, comm = case.config, case.comm
    if observe is not None:
        if config.restart.enabled:
            raise agreed_error(
                ConfigError("--observe needs a run in one piece: set restart.enabled = false")
            )
        prepare_kernels(case.model, reverse=False)
        observer = new_recorder(case)
    durable = durable_run(case, problem.checkpointing, "forward", resume)
    if durable is not None and durable.summary is not None:
        return durable.summary
    directory = prepare_output(case, durable, groups=0, dumped=2)
    if observe is not None and observer is not None:
        hold_observations(case, observe, observer.observations)
    monitor.prepare(is_continued(durable))
    dumps = dumps_of(case, directory, durable)
    prepare_kernels(case.model, reverse=False)
    startup = seconds_since_start(comm)
    monitor.begin("forward", case.model.n_steps)
    start = last_arrival(comm)
    objective = _sweep(case, monitor, observer) if durable is None else durable.sweep(monitor)
    sweeps = last_arrival(comm) - start
    monitor.end()
    seconds = {"forward": sweeps, "adjoint": 0.0, "snapshots": 0.0}
    summary = summarize(case, objective, case.model.final, {}, startup, sweeps, seconds)
    if dumps is not None:
        summary.dumps = Dumped(dumps.files, dumps.seconds, dumps.lost)
    summary.published = published_comparison(config, objective, None)
    if durable is not None:
        summary.restart = durable.report(case.n_steps, case.n_steps, {})
    final = case.model.final
    with nullcontext() if durable is None else durable.kept_if_not_written("final state"):
        write_run(case, directory, final, {}, summary, plot_results, "gradient.png", dumps)
    if observe is not None and observer is not None:
        _write_observations(case, observe, observer)
    if durable is not None:
        durable.conclude(summary)
    monitor.conclude(summary.objective)
    return summary


def _sweep(case: Case, monitor: Monitor, observer: "Recorder | None") -> float:
    """The primal from its start; returns J."""
    model = case.model
    state = model.initial_state(case.fields, observer is not None)
    sweeps = ForwardSweep(case, dict, state, model.objective.new_bins(), 0)
    monitor.follow(sweeps)

    def updated(done: int) -> None:
        sweeps.swept_to = done
        monitor.update(done)

    return sweep(case, updated, observer, (sweeps.state, sweeps.bins, 0))


def _write_observations(case: Case, path: str, recorder: "Recorder") -> None:
    from burgers_adjoint.inverse import observation_file

    observation_file.write(
        path,
        recorder.observations,
        case.grid,
        case.decomposition,
        case.all_controls,
        {"initial": case.fields, "viscosity": case.inputs.value("viscosity")},
        {"config": case.config.to_toml()},
    )
