"""`forward`: the primal alone, from a configuration to results and a summary."""

from typing import TYPE_CHECKING

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
from burgers_adjoint.commands.sweeps import ForwardSweep
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
    with Problem(config, comm) as problem, Monitor(problem, "forward", progress) as monitor:
        return _forward(problem, monitor, observe, resume)


def _forward(
    problem: Problem, monitor: Monitor, observe: str | None, resume: "Resume"
) -> RunSummary:
    config, comm, observer = problem.config, problem.comm, None
    if observe is not None:
        if config.restart.enabled:
            raise agreed_error(
                ConfigError("--observe needs a run in one piece: set restart.enabled = false")
            )
        prepare_kernels(problem.model, reverse=False)
        observer = problem.recorder()
    durable = durable_run(problem, "forward", resume)
    if durable is not None and durable.summary is not None:
        return durable.summary
    directory = prepare_output(problem, durable, groups=0, dumped=2)
    monitor.prepare(is_continued(durable))
    dumps = dumps_of(problem, directory, durable)
    prepare_kernels(problem.model, reverse=False)
    startup = seconds_since_start(comm)
    monitor.begin("forward", problem.model.n_steps)
    start = last_arrival(comm)
    objective = _sweep(problem, monitor, observer) if durable is None else durable.sweep(monitor)
    sweeps = last_arrival(comm) - start
    monitor.end()
    seconds = {"forward": sweeps, "adjoint": 0.0, "snapshots": 0.0}
    summary = summarize(problem, objective, problem.model.final, {}, startup, sweeps, seconds)
    if dumps is not None:
        summary.dumps = Dumped(dumps.files, dumps.seconds)
    summary.published = published_comparison(config, objective, None)
    if durable is not None:
        summary.restart = durable.report(problem.n_steps, problem.n_steps, {})
    write_run(problem, directory, problem.model.final, {}, summary, plot_results, "gradient.png")
    if observe is not None and observer is not None:
        _write_observations(problem, observe, observer)
    if durable is not None:
        durable.conclude(summary)
    monitor.conclude(summary.objective)
    return summary


def _sweep(problem: Problem, monitor: Monitor, observer: "Recorder | None") -> float:
    """The primal from its start; returns J."""
    model = problem.model
    state = model.initial_state(problem.fields, observer is not None)
    sweeps = ForwardSweep(problem, dict, state, model.objective.new_bins(), 0)
    monitor.follow(sweeps)

    def updated(done: int) -> None:
        sweeps.swept_to = done
        monitor.update(done)

    start = sweeps.state, sweeps.bins, 0
    return problem.sweep(problem.fields, updated, observer, start)


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
