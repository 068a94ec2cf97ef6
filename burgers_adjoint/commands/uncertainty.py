"""`uncertainty`: how well the observations determine the controls that a search has found."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import ArrayLike

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import Gradient, evaluate
from burgers_adjoint.commands.best import found_by_search
from burgers_adjoint.commands.optimize import optimize
from burgers_adjoint.config import Config
from burgers_adjoint.config.background import Background
from burgers_adjoint.config.sections import Objective
from burgers_adjoint.equations.burgers.controls import split
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.inverse.control_file import read_values
from burgers_adjoint.inverse.posterior import Posterior
from burgers_adjoint.output.folder import prepare_directory
from burgers_adjoint.output.posterior_plots import plot_posterior
from burgers_adjoint.output.progress import Progress
from burgers_adjoint.output.results import BEST, POSTERIOR, POSTERIOR_PICTURE, write_results
from burgers_adjoint.output.summary import (
    Deviations,
    Predicted,
    UncertaintySummary,
    to_line,
    to_mapping,
)
from burgers_adjoint.output.system import versions
from burgers_adjoint.parallel.agreement import Comm, largest, last_arrival
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.reductions import digest, exact_sum
from burgers_adjoint.problem import Problem
from burgers_adjoint.second_order.posterior import PosteriorSearch


def uncertainty(config: Config, comm: Comm, progress: Progress) -> UncertaintySummary:
    """Find the posterior at the controls of a search; returns the summary. Collective.

    The controls are those of the search that has ended in the output folder; where there is none,
    it is run, or goes on, before.

    Raises:
        BurgersAdjointError: on all ranks: a wrong configuration, a search that fails, a state that
            is not finite, or results that cannot be written.
    """
    _require_posterior(config)
    converged = found_by_search(config, comm)
    if not converged:
        with _search_of(config, comm):
            pass  # what has no posterior is refused before the search
        done = optimize(config, comm, progress).optimize
        converged = bool(done and done.converged)
    with _search_of(config, comm) as (case, search):
        directory = prepare_directory(config, comm)
        path = directory / BEST
        controls = read_values(path, "controls", case.controls, case.decomposition)
        case.inputs.set_all(controls)
        objective = evaluate(case)
        background = case.objective.parts["background"]  # products have parts of their own
        if not converged:
            progress.say(f"the search has not converged: {path} need not be the most probable")
        start = last_arrival(comm)
        progress.begin("products with directions", search.most_products * case.n_steps)
        posterior = search.found(lambda n: progress.update(n * case.n_steps))
        progress.end()
        seconds = {"products": last_arrival(comm) - start}
        predicted = _predicted(config, comm, posterior, controls)
        report = Report(case, posterior, controls, background, predicted)
        if config.uncertainty.final_state_samples:
            report.add_final_state(*_of_final_state(case, search, posterior, progress, seconds))
        summary = report.summary(objective, converged, search.n_products, seconds)
        report.write(directory, summary)
        return summary


def _of_final_state(
    case: Case,
    search: PosteriorSearch,
    posterior: Posterior,
    progress: Progress,
    seconds: dict[str, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of the final state, whose seconds are noted."""
    start, steps = last_arrival(case.comm), case.n_steps
    n_tangents = 2 * case.config.uncertainty.final_state_samples
    progress.begin("tangents of the final state", n_tangents * steps)
    found = search.final_state_spread(posterior, lambda n: progress.update(n * steps))
    progress.end()
    seconds["final_state"] = last_arrival(case.comm) - start
    return found


def _require_posterior(config: Config) -> None:
    terms = config.objective.weights or (config.objective.kind,)
    if "misfit" not in terms:
        raise agreed_error(
            ConfigError(
                "uncertainty is what observations leave of it: expected the misfit to them in "
                f"objective.kind or objective.weights, not {', '.join(terms)} alone"
            )
        )
    if config.background.informed:
        raise agreed_error(
            ConfigError(
                f"background.informed = {config.background.informed!r}: uncertainty wants the "
                "whole background term, which is what is known before the observations"
            )
        )


def _predicted(
    config: Config, comm: Comm, posterior: Posterior, controls: Gradient
) -> dict[str, Predicted]:
    """What the controls lead to, and how far they leave it open, as [uncertainty] asks."""
    found: dict[str, Predicted] = {}
    for name in config.uncertainty.predict:
        alone = replace(config, objective=Objective(kind=name), background=Background())
        with Problem(alone, comm) as problem:
            value, gradient = problem.value_and_gradient(controls)
        before, after = posterior.spread(gradient)
        found[name] = Predicted(before, after, value)
    return found


@contextmanager
def _search_of(config: Config, comm: Comm) -> Iterator[tuple[Case, PosteriorSearch]]:
    with (
        Problem(config, comm) as problem,
        closing(PosteriorSearch(problem.case, config.uncertainty)) as search,
    ):
        yield problem.case, search


class Report:
    """What is written and told of a posterior. Collective.

    Args:
        case: at its most probable controls.
        posterior: there.
        controls: their values.
        background: J's part of it.
        predicted: what the controls lead to, by name.
    """

    def __init__(
        self,
        case: Case,
        posterior: Posterior,
        controls: Gradient,
        background: float,
        predicted: Mapping[str, Predicted],
    ) -> None:
        section = case.config.uncertainty
        self._case, self._posterior, self._background = case, posterior, background
        modes = posterior.modes()
        before, after = posterior.deviations(modes)
        groups: dict[str, Gradient] = {
            "controls": controls,
            "deviation/prior": before,
            "deviation/posterior": after,
        }
        groups |= {f"modes/{n:04d}": mode for n, mode in enumerate(modes)}
        # the directions at the start have the seed itself
        samples = posterior.samples(section.seed + 1, section.samples)
        for n, sample in enumerate(samples):
            groups[f"samples/{n:04d}"] = {
                name: controls[name] + departure for name, departure in sample.items()
            }
        self._before, self._after = before, after
        self._predicted = dict(predicted)
        self._of_states: dict[str, Deviations] = {}
        self._tiles: dict[str, np.ndarray] = {}
        self._numbers: dict[str, float] = {}
        for group, values in groups.items():
            tiles, numbers = split(group, case.controls, values)
            self._tiles |= tiles
            self._numbers |= numbers

    def add_final_state(self, before: np.ndarray, after: np.ndarray) -> None:
        """Tell the standard deviations of the final state, (2, ny, nx), too."""
        spreads = []
        for group, fields in (("prior", before), ("posterior", after)):
            self._tiles |= {
                f"/deviation/{group}/final_state/{name}": field
                for name, field in zip("uv", fields, strict=True)
            }
            grid = self._case.grid
            mean = exact_sum(self._case.comm, np.square(fields)) / (2 * grid.nx * grid.ny)
            spreads.append(math.sqrt(mean))
        self._of_states["final_state"] = Deviations(*spreads)

    def summary(
        self, objective: float, converged: bool, n_products: int, seconds: dict[str, float]
    ) -> UncertaintySummary:
        """What is told of it."""
        case, posterior, pairs = self._case, self._posterior, self._posterior.pairs
        scalars = [*self._numbers.values(), *pairs.values.tolist()]
        scalars += [one.posterior for one in self._predicted.values()]
        return UncertaintySummary(
            objective=objective,
            converged=converged,
            controls=posterior.whitening.n_values,
            eigenvalues=pairs.values.tolist(),
            largest_residual=_share(pairs.residuals, pairs.values),
            informed=posterior.n_informed,
            degrees_of_freedom=posterior.degrees_of_freedom,
            information_gain=posterior.information_gain(self._background),
            log_determinants=posterior.log_determinants,
            deviation={
                name: Deviations(self._rms(name, self._before), self._rms(name, self._after))
                for name in case.controls
            }
            | self._of_states,
            predicted=self._predicted,
            products=n_products,
            digest=digest(case.decomposition, [*self._tiles.values()], scalars),
            ranks=case.comm.size,
            steps=case.n_steps,
            seconds=seconds,
        )

    def _rms(self, name: str, deviations: Gradient) -> float:
        """Root of the mean variance of a control's own values."""
        control, value = self._case.controls[name], np.asarray(deviations[name])
        if not control.shape:
            return float(value)
        count = exact_sum(self._case.comm, np.asarray(control.masked(np.ones(control.shape))))
        return math.sqrt(exact_sum(self._case.comm, np.square(value)) / count)

    def write(self, directory: Path, summary: UncertaintySummary) -> None:
        """Write uncertainty.h5 and its picture; the summary gets the time."""
        start, case, pairs = time.perf_counter(), self._case, self._posterior.pairs
        scalars: dict[str, ArrayLike] = {**self._numbers}
        scalars |= {"/eigenvalues": pairs.values, "/residuals": pairs.residuals}
        for name, one in self._predicted.items():
            for part, number in to_mapping(one).items():
                scalars[f"/predicted/{name}/{part}"] = number
        attributes = {
            "config": case.config.to_toml(),
            "versions": to_line(versions()) if case.comm.rank == 0 else "",
            "summary": to_line(summary),
            "files": to_line(case.files),
        }
        path, grid = directory / POSTERIOR, case.grid
        write_results(path, case.decomposition, grid.x, grid.y, self._tiles, scalars, attributes)
        with agreed(case.comm):
            if case.comm.rank == 0 and case.config.output.plots:
                plot_posterior(path, directory / POSTERIOR_PICTURE)
        summary.seconds["output"] = float(largest(case.comm, time.perf_counter() - start))


def _share(residuals: np.ndarray, values: np.ndarray) -> float:
    """The largest residual as a share of 1 + the largest eigenvalue."""
    return float(residuals.max() / (1.0 + values.max())) if len(values) else 0.0
