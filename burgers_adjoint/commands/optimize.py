"""The `optimize` command: recovers controls from observations, or lowers any other objective."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import Gradient, evaluate, reverse
from burgers_adjoint.assembly.stores import Store, closed_at_end
from burgers_adjoint.assembly.twin import true_case
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.commands.best import (
    ended_search,
    identity_of_search,
    read_facts,
    require_same_search_files,
    settings_of,
)
from burgers_adjoint.commands.influence import require_influence
from burgers_adjoint.commands.job import (
    prepare_output,
    seconds_of,
    seconds_since_start,
    summarize,
    write_run,
)
from burgers_adjoint.commands.kept import kept_if_not_written
from burgers_adjoint.commands.monitor import Monitor
from burgers_adjoint.commands.room import hold_again, room_released
from burgers_adjoint.config import Config
from burgers_adjoint.equations.burgers.objectives.misfit import Misfit
from burgers_adjoint.equations.burgers.preparation import prepare_kernels
from burgers_adjoint.errors import BurgersAdjointError, ConfigError, agreed_error
from burgers_adjoint.inverse import tao
from burgers_adjoint.inverse.control_file import read_values, write_values
from burgers_adjoint.inverse.vector import ControlVector, Values
from burgers_adjoint.output.plots import plot_recovery
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.results import BEST
from burgers_adjoint.output.summary import Optimized, RunSummary, Scheduled, to_line
from burgers_adjoint.parallel.agreement import Comm, anywhere, largest, last_arrival, smallest
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.problem import Problem
from burgers_adjoint.second_order.entries import EntryProducts
from burgers_adjoint.second_order.search import minimized, petsc_for

logger = logging.getLogger(__name__)


def optimize(config: Config, comm: Comm, progress: Progress) -> RunSummary:
    """Minimise the objective over the configured controls; returns the summary. Collective.

    The best controls so far are in `controls.h5` of the output folder after every iteration; a run
    with the same problem goes on from them unless it has converged.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, PETSc that is missing or not
            fit, a first guess whose run fails, or results that cannot be written.
    """
    petsc = petsc_for(config)
    with (
        Problem(config, comm) as problem,
        room_released(problem.case),
        Monitor(problem.case, "optimize", progress) as monitor,
    ):
        case, checkpointing = problem.case, problem.checkpointing
        require_influence(case)
        directory = prepare_output(case, None, groups=3, searched=True)
        search = Search(case, checkpointing, directory, monitor)
        if search.ended is not None:
            return search.write_ended(search.ended)
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
        self.products = EntryProducts(case, self.vector, config.tao.hessian == "full")
        self.history: list[dict[str, Any]] = []
        self.identity = identity_of_search(config)
        self.counts = Counts()
        self.evaluations = self.snapshot_bytes = 0
        self.seconds_evaluating = self.seconds_saving = 0.0
        self._parts: dict[float, dict[str, float]] = {}
        self._first_norm = 1.0  # of the gradient, over that at the start of this job
        self._unsaved = False
        self.ended: RunSummary | None = None  # of a search whose results are not written
        self.start = self._find_start()

    def _find_truth(self) -> Values:
        config, case = self.case.config, self.case
        if config.observations.path:
            path = config.observations.path
            return read_values(path, "truth", case.controls, case.decomposition)
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
            require_same_search_files(self.case.config, self.comm, facts, self.case.files)
            values = read_values(path, "controls", self.case.controls, self.case.decomposition)
            self.history = json.loads(facts["history"])
            self.ended = ended_search(self.case.config, facts)
            doing = "going on from" if self.ended is None else "writing the results of"
            self.monitor.say(
                f"{doing} {path}, objective {self.history[-1]['objective']:.8g} after "
                f"{len(self.history) - 1} iterations"
            )
            if self.ended is not None:
                self.case.inputs.set_all(values)
                return start
            # TAO takes the norm that it begins with for the first one. What the method remembers
            # of earlier gradients is not kept: petsc4py 3.18 has no way to read it or to set it.
            norms = [entry["gradient_norm"] for entry in self.history]
            self._first_norm = norms[0] / norms[-1] if norms[-1] else 1.0
            self.history.pop()
        self.vector.put_values(values, start)
        return start

    def run(self, petsc: Any, store: Store) -> tao.Outcome:
        """Let TAO minimise."""
        self._begun = time.perf_counter()

        def evaluate(entries: np.ndarray, gradient: np.ndarray) -> float:
            return self._evaluate(store, entries, gradient)

        return minimized(
            petsc, self.case, self.vector, self.products, evaluate, self.start, self._iterated,
            self._first_norm,
        )  # fmt: skip

    def _evaluate(self, store: Store, entries: np.ndarray, gradient: np.ndarray) -> float:
        case, values = self.case, self.vector.values(entries)
        start = time.perf_counter()
        try:
            # a trial may well be beyond what a run can bear
            with np.errstate(over="ignore", invalid="ignore"):
                self.case.inputs.set_all(values)
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

    def _iterated(self, at: tao.Iteration) -> None:
        """Note, save and print an accepted point."""
        start = time.perf_counter()
        parts = self._parts.get(at.objective, {})
        self._parts.clear()
        self.history.append(
            {"objective": at.objective, "parts": parts, "gradient_norm": at.gradient_norm}
        )
        self._save_or_warn(self.vector.values(at.entries))
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

    def _save_or_warn(self, values: Mapping[str, np.ndarray | float]) -> None:
        """Save a point where that can be done: the search has not ended, and room may be made."""
        try:
            self._save(values)
        except BurgersAdjointError as error:
            if not error.agreed:
                raise
            if not self._unsaved and self.comm.rank == 0:
                logger.warning("%s; the search goes on, and tries again after each step", error)
            self._unsaved = True
        else:
            self._unsaved = False
            if self.comm.rank == 0:
                hold_again(self.directory / BEST)

    def _save(
        self,
        values: Mapping[str, np.ndarray | float],
        converged: bool = False,
        ended: RunSummary | None = None,
    ) -> None:
        """Write controls.h5, with the summary of a search that has ended without results."""
        case = self.case
        facts = {
            "identity": self.identity,
            "history": json.dumps(self.history),
            "converged": converged,
            "files": json.dumps(case.files),
        }
        if ended is not None:
            facts |= {"ended": to_line(ended), "tao": settings_of(case.config)}
        write_values(
            self.directory / BEST, "controls", case.controls, values, case.grid,
            case.decomposition, facts,
        )  # fmt: skip

    def conclude(self, outcome: tao.Outcome, startup: float, sweeps: float) -> RunSummary:
        """Run once with the best controls, write everything, and return the summary."""
        found: Values = {
            name: np.copy(value) for name, value in self.vector.values(outcome.entries).items()
        }
        start = time.perf_counter()
        self.case.inputs.set_all(found)
        summary = self._summary(found, outcome, startup, sweeps)
        return self._write(found, summary, start)

    def write_ended(self, summary: RunSummary) -> RunSummary:
        """Write the results of a search that has ended before; returns its summary."""
        start = time.perf_counter()
        evaluate(self.case)
        return self._write(self.case.inputs.copies(self.prior), summary, start)

    def _summary(
        self, found: Values, outcome: tao.Outcome, startup: float, sweeps: float
    ) -> RunSummary:
        """Run once with the best controls, and sum up."""
        case, comm = self.case, self.comm
        objective = evaluate(case)
        counts = self.counts
        seconds = seconds_of(counts)
        summary = summarize(case, objective, case.model.final, {}, startup, sweeps, seconds)
        self.seconds_evaluating += self.products.seconds
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
            products=self.products.count,
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
        return summary

    def _write(self, found: Values, summary: RunSummary, start: float) -> RunSummary:
        """Write everything; the output's seconds in the summary are those since the start."""
        case, final = self.case, self.case.model.final
        groups: dict[str, Gradient] = {"controls": found, "prior": self.prior, "truth": self.truth}
        kept = (
            f"what the search found is saved in {self.directory / BEST}: "
            f"burgers-adjoint resume {self.directory} writes the results"
        )
        with kept_if_not_written(
            lambda: self._save(found, ended=summary), kept, "nor can what the search found be saved"
        ):
            write_run(case, self.directory, final, groups, summary, plot_recovery, "recovery.png")
        # Last, as a run that is interrupted before goes on.
        self._save(found, bool(summary.optimize and summary.optimize.converged))
        summary.seconds["output"] = largest(self.comm, time.perf_counter() - start)
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
