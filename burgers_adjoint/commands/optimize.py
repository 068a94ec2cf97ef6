"""The `optimize` command: recovers controls from observations, or lowers any other objective."""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.fingerprints import fingerprints, require_same_files
from burgers_adjoint.assembly.runs import Gradient, evaluate, reverse
from burgers_adjoint.assembly.stores import Store, closed_at_end
from burgers_adjoint.assembly.twin import true_case
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.commands.job import (
    prepare_output,
    seconds_of,
    seconds_since_start,
    summarize,
    write_run,
)
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.config import Config, time_is_open
from burgers_adjoint.equations.burgers.objectives.misfit import Misfit
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.files.hdf5 import attributes
from burgers_adjoint.inverse import tao
from burgers_adjoint.inverse.control_file import read_values, write_values
from burgers_adjoint.inverse.vector import ControlVector, Values
from burgers_adjoint.output.plots import plot_recovery
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.results import BEST, RESULTS
from burgers_adjoint.output.summary import Optimized, RunSummary, Scheduled, summary_of
from burgers_adjoint.parallel.agreement import (
    Comm,
    anywhere,
    from_rank,
    largest,
    last_arrival,
    smallest,
)
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.problem import Problem

# What makes two runs look for the same controls.
IDENTITY = (
    "grid", "physics", "initial", "time", "objective", "observations", "gradient", "controls",
    "background", "truth",
)  # fmt: skip


def optimize(config: Config, comm: Comm, progress: Progress) -> RunSummary:
    """Minimise the objective over the configured controls; returns the summary. Collective.

    The best controls so far are in `controls.h5` of the output folder after every iteration; a run
    with the same problem goes on from them unless it has converged.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, PETSc that is missing or not
            fit, a first guess whose run fails, or results that cannot be written.
    """
    try:
        petsc = tao.load_petsc(config.petsc.options)
    except ConfigError as error:
        raise agreed_error(error) from None
    if time_is_open(config.time):
        with agreed(comm):
            raise ConfigError(
                "optimize needs a number of steps that is known: leave out time.steady and time.cfl"
            )
    with Problem(config, comm) as problem, Monitor(problem.case, "optimize", progress) as monitor:
        case, checkpointing = problem.case, problem.checkpointing
        require_influence(case)
        directory = prepare_output(case, None, groups=4)  # three in results.h5, and controls.h5
        search = Search(case, checkpointing, directory, monitor)
        monitor.prepare(continued=bool(search.history))
        schedule = checkpointing.schedule()
        with closed_at_end(checkpointing.store(schedule), config.snapshots.keep) as store:
            prepare_kernels(case.model)
            tao.prepare(petsc, comm, config.tao.type)
            startup = seconds_since_start(comm)
            start = last_arrival(comm)
            outcome = search.run(petsc, store)
            sweeps = last_arrival(comm) - start
            search.snapshot_bytes = largest(comm, store.nbytes)
        summary = search.conclude(outcome, startup, sweeps)
        monitor.conclude(summary.objective)
        return summary


def require_influence(case: Case) -> None:
    """See that the objective depends on every control. Collective.

    Raises:
        ConfigError: on all ranks, naming the control that nothing depends on.
    """
    objective, steps = case.objective, case.n_steps
    looks = (n for n in range(steps, -1, -1) if objective.looks_at(n, n == steps))
    last = next(looks, None)
    names = case.config.gradient.controls
    with agreed(case.comm):
        if not any(objective.terms.values()):
            raise ConfigError("objective.weights are all 0: the objective depends on no control")
        for name in names:
            if last == 0 and name not in ("initial", "boundary"):
                raise ConfigError(
                    f"the objective looks at the initial state alone: it does not depend on {name}"
                )
        if "forcing_in_time" in names and last:
            knots, end = case.config.controls.knots, case.model.time_steps.time(last)
            for knot, since in enumerate((-math.inf, *knots[:-1])):
                until = knots[knot + 1] if knot + 1 < len(knots) else math.inf
                if since >= end or until <= 0:
                    raise ConfigError(
                        f"controls.knots[{knot}] = {knots[knot]:.6g}: the objective does not "
                        f"depend on it, as it looks at times from 0 to {end:.6g}"
                    )


class Search:
    """One optimisation: evaluations, iterations and what they leave behind."""

    def __init__(
        self, case: Case, checkpointing: Checkpointing, directory: Path, monitor: Monitor
    ) -> None:
        self.case, self.comm, self._checkpointing = case, case.comm, checkpointing
        self.directory, self.monitor = directory, monitor
        config = case.config
        names = config.gradient.controls
        self.prior: Values = case.inputs.copies(names)
        self.truth = self._find_truth()
        self.vector = ControlVector(self.comm, {name: case.controls[name] for name in names})
        self.history: list[dict[str, Any]] = []
        self.identity = _identity(config)
        self.counts = Counts()
        self.evaluations = self.snapshot_bytes = 0
        self.seconds_evaluating = self.seconds_saving = 0.0
        self._parts: dict[float, dict[str, float]] = {}
        self._first_norm = 1.0  # of the gradient, over that at the start of this job
        self.start = self._find_start()

    def _find_truth(self) -> Values:
        config = self.case.config
        if config.observations.path:
            return read_values(
                config.observations.path,
                "truth",
                self.case.controls,
                self.case.decomposition,
            )
        if not config.truth.twin:
            return {}
        truth = true_case(config, self.comm, self.case.decomposition.process_grid)
        try:
            return truth.inputs.copies(self.prior)
        finally:
            truth.close()

    def _find_start(self) -> np.ndarray:
        """The first guess, or the best controls of an unfinished run with the same problem."""
        start = np.zeros(self.vector.size)
        values: Mapping[str, Any] = self.prior
        path = self.directory / BEST
        facts = read_facts(path, self.comm)
        if facts.get("identity") == self.identity and not facts.get("converged", True):
            _require_same_files(self.case.config, self.comm, facts, self.case.files)
            values = read_values(path, "controls", self.case.controls, self.case.decomposition)
            self.history = json.loads(facts["history"])
            self.monitor.say(
                f"going on from {path}, objective {self.history[-1]['objective']:.8g} after "
                f"{len(self.history) - 1} iterations"
            )
            # TAO takes the norm that it begins with for the first one
            norms = [entry["gradient_norm"] for entry in self.history]
            self._first_norm = norms[0] / norms[-1] if norms[-1] else 1.0
            self.history.pop()
        self.vector.put_values(values, start)
        return start

    def run(self, petsc: Any, store: Store) -> tao.Outcome:
        """Let TAO minimise."""
        section, bounds = self.case.config.tao, None
        limits = self.case.config.controls
        if limits.lower or limits.upper:
            bounds = np.zeros(self.vector.size), np.zeros(self.vector.size)
            self.vector.put_bounds(tao.INFINITE, *bounds)
        settings = tao.Settings(
            section.type, section.gatol, section.grtol, section.gttol * self._first_norm,
            section.iterations, section.evaluations,
        )  # fmt: skip
        self._begun = time.perf_counter()

        def evaluate(entries: np.ndarray, gradient: np.ndarray) -> float:
            return self._evaluate(store, entries, gradient)

        return tao.minimize(
            petsc, self.comm, evaluate, self.start, bounds, settings, self._iterated
        )

    def _evaluate(self, store: Store, entries: np.ndarray, gradient: np.ndarray) -> float:
        case, values = self.case, self.vector.values(entries)
        start = time.perf_counter()
        try:
            # a trial may well be beyond what a run can bear
            with np.errstate(over="ignore", invalid="ignore"):
                self._set(values)
                schedule, monitor = self._checkpointing.schedule(), self.monitor
                result = reverse(case, schedule, store, monitor, monitor.follow)
            self._parts[result.objective] = dict(case.objective.parts)
            if not self.evaluations:
                self._require_a_slope(result.gradient)
            self.evaluations += 1
            for field in ("forward_steps", "reverse_steps", "seconds_forward", "seconds_adjoint",
                          "seconds_snapshots", "saves"):  # fmt: skip
                total = getattr(self.counts, field) + getattr(result.counts, field)
                setattr(self.counts, field, total)
        finally:
            self.seconds_evaluating += time.perf_counter() - start
        with np.errstate(over="ignore"):
            self.vector.put_gradient(result.gradient, gradient)
        return result.objective

    def _require_a_slope(self, gradient: Gradient) -> None:
        """Say which controls do not matter at the first guess. Collective.

        Raises:
            ConfigError: on all ranks: none does.
        """
        idle = [
            name for name, part in gradient.items() if not anywhere(self.comm, bool(np.any(part)))
        ]
        if len(idle) == len(gradient):
            raise agreed_error(
                ConfigError(
                    f"the gradient with respect to {', '.join(idle)} vanishes at the first guess: "
                    "there is no direction to search in; start from another one"
                )
            )
        for name in idle:
            self.monitor.say(
                f"the objective does not depend on {name} at the first guess, where its gradient "
                "vanishes"
            )

    def _set(self, values: Mapping[str, np.ndarray | float]) -> None:
        for name, value in values.items():
            self.case.inputs.set(name, value)

    def _iterated(self, at: tao.Iteration) -> None:
        """Note, save and print an accepted point."""
        start = time.perf_counter()
        parts = self._parts.get(at.objective, {})
        self._parts.clear()
        self.history.append(
            {"objective": at.objective, "parts": parts, "gradient_norm": at.gradient_norm}
        )
        self._save(self.vector.values(at.entries), converged=False)
        spent = time.perf_counter() - self._begun
        left = spent / max(at.number, 1) * (self.case.config.tao.iterations - at.number)
        shown = ", ".join(f"{name} {value:.6g}" for name, value in parts.items())
        self.monitor.say(
            f"iteration {len(self.history) - 1}: objective {at.objective:.8g} ({shown}), "
            f"gradient norm {at.gradient_norm:.3g}, step {at.step:.3g}, "
            f"{self.counts.forward_steps} forward steps, {spent:.1f} s"
            + (f", at most {left:.0f} s left" if at.number else "")
        )
        self.seconds_saving += time.perf_counter() - start

    def _save(self, values: Mapping[str, np.ndarray | float], converged: bool) -> None:
        facts = {
            "identity": self.identity,
            "history": json.dumps(self.history),
            "converged": converged,
            "files": json.dumps(self.case.files),
        }
        case = self.case
        write_values(
            self.directory / BEST,
            "controls",
            case.controls,
            values,
            case.grid,
            case.decomposition,
            facts,
        )

    def conclude(self, outcome: tao.Outcome, startup: float, sweeps: float) -> RunSummary:
        """Run once with the best controls, write everything, and return the summary."""
        case, comm = self.case, self.comm
        start = time.perf_counter()
        found: Values = {
            name: np.copy(value) for name, value in self.vector.values(outcome.entries).items()
        }
        self._set(found)
        objective = evaluate(case)
        counts = self.counts
        seconds = seconds_of(counts)
        summary = summarize(case, objective, case.model.final, {}, startup, sweeps, seconds)
        own = sweeps - self.seconds_evaluating - self.seconds_saving
        summary.seconds |= {
            "evaluations": largest(comm, self.seconds_evaluating),
            "saving": largest(comm, self.seconds_saving),
            # what the others have beyond it they wait for the slowest one's evaluations
            "tao": smallest(comm, own),
        }
        section = case.config.checkpointing
        summary.schedule = Scheduled(
            section.schedule, section.snapshots, counts.forward_steps, counts.saves
        )
        summary.snapshot_bytes = self.snapshot_bytes
        summary.optimize = Optimized(
            iterations=len(self.history) - 1,
            evaluations=self.evaluations,
            failed_trials=outcome.failed_trials,
            converged=outcome.converged,
            reason=outcome.reason,
            tao_share=summary.seconds["tao"] / sweeps,
            objective=[entry["objective"] for entry in self.history],
            parts=[entry["parts"] for entry in self.history],
            gradient_norm=[entry["gradient_norm"] for entry in self.history],
            chi_square=self._chi_square(),
            control_error=self._errors(found),
        )
        groups: dict[str, Gradient] = {"controls": found, "prior": self.prior, "truth": self.truth}
        write_run(
            case, self.directory, case.model.final, groups, summary, plot_recovery,
            "recovery.png",
        )  # fmt: skip
        # Last, as a run that is interrupted before goes on.
        self._save(found, outcome.converged)
        summary.seconds["output"] = largest(comm, time.perf_counter() - start)
        return summary

    def _chi_square(self) -> float | None:
        """Misfit per observation over the variance of the noise, of the run just evaluated."""
        objective = self.case.objective
        for term, weight in objective.terms.items():
            if isinstance(term, Misfit) and weight:
                count = term.observations.count(self.case.decomposition)
                return 2.0 * objective.parts[term.name] / weight / count
        return None

    def _errors(self, found: Mapping[str, np.ndarray | float]) -> dict[str, dict[str, float]]:
        errors = {}
        for name, truth in self.truth.items():
            norm = self.case.controls[name].norm
            size = norm(truth) or 1.0
            errors[name] = {
                "prior": norm(self.prior[name] - truth) / size,
                "recovered": norm(found[name] - truth) / size,
            }
        return errors


def _identity(config: Config) -> str:
    sections = {name: msgspec.to_builtins(getattr(config, name)) for name in IDENTITY}
    sections["time"].pop("stages")  # makes no difference to the bits
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()


def summary_when_converged(config: Config, comm: Comm) -> RunSummary | None:
    """The summary of the optimisation in the output folder, unless there is more to do."""
    directory = Path(config.output.directory)
    facts = read_facts(directory / BEST, comm)
    if facts.get("identity") != _identity(config) or not facts.get("converged"):
        return None
    _require_same_files(config, comm, facts, fingerprints(config, comm))
    summary = json.loads(read_facts(directory / RESULTS, comm).get("summary", "{}"))
    if "optimize" not in summary:  # another command's results
        return None
    return summary_of(summary)


def _require_same_files(
    config: Config, comm: Comm, facts: Mapping[str, Any], files: Mapping[str, str]
) -> None:
    """See that the controls in the output folder were found from the same files. Collective."""
    path, there = Path(config.output.directory) / BEST, json.loads(facts.get("files", "{}"))
    with agreed(comm):
        require_same_files(config, there, files, str(path), "begin anew in another folder (-o)")


def controls_are_of(config: Config, comm: Comm) -> bool:
    """Whether an optimisation of this problem has left its controls in the output folder."""
    facts = read_facts(Path(config.output.directory) / BEST, comm)
    return bool(facts.get("identity") == _identity(config))


def read_facts(path: Path, comm: Comm) -> dict[str, Any]:
    """Attributes of an HDF5 file as rank 0 finds them, on all ranks."""
    return dict(from_rank(comm, attributes(path) if comm.rank == 0 else None))
