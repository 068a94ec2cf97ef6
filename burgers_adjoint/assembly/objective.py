"""The objective as a configuration sets it up, and the observations that a run makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from burgers_adjoint.assembly.own_objective import OwnObjective, OwnTerm
from burgers_adjoint.config import Config
from burgers_adjoint.config.registry import TERMS
from burgers_adjoint.equations.burgers.objectives.objective import Objective
from burgers_adjoint.equations.burgers.objectives.term import Term
from burgers_adjoint.errors import ConfigError
from burgers_adjoint.kernels.tile_layout import Layout
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.time_steps import TimeSteps

if TYPE_CHECKING:
    from burgers_adjoint.equations.burgers.objectives.misfit import Misfit
    from burgers_adjoint.observing.observations import Observations, Recorder
    from burgers_adjoint.observing.sensors import Sensors


@dataclass(frozen=True)
class Setting:
    """What terms and observations are made for; an `objectives.term.Setting`.

    Attributes:
        config: what is asked for.
        grid, decomposition: the points, and who owns which of them.
        layout: of the states.
        time_steps: of the run.
        observe_truth: makes the observations of a twin experiment on so many ranks (py, px).
    """

    config: Config
    grid: Grid
    decomposition: Decomposition
    layout: Layout
    time_steps: TimeSteps
    observe_truth: Callable[[tuple[int, int]], Observations]


def build_objective(setting: Setting, own: OwnObjective | None = None) -> Objective:
    """The configured objective, or one of the user's own. Collective.

    Raises:
        ConfigError: on all ranks: there are no observations for a misfit, or they do not fit.
    """
    if own is not None:
        return Objective({OwnTerm(own, setting): 1.0}, setting.decomposition)
    section = setting.config.objective
    weights = section.weights or {section.kind: 1.0}
    terms: dict[Term, float] = {TERMS[name](setting): weight for name, weight in weights.items()}
    return Objective(terms, setting.decomposition)


def misfit(setting: Setting) -> Misfit:
    """The misfit to the configured observations, or to those of the truth."""
    from burgers_adjoint.equations.burgers.objectives.misfit import Misfit
    from burgers_adjoint.inverse import observation_file

    path = setting.config.observations.path
    decomposition = setting.decomposition
    if path:
        observations = observation_file.read(path, decomposition)
    else:
        observations = setting.observe_truth(decomposition.process_grid)
    return Misfit(
        observations,
        _steps(setting, observations),
        setting.layout,
        _sensors(setting, observations),
    )


def _steps(setting: Setting, observations: Observations) -> dict[int, list[int]]:
    from burgers_adjoint.observing.observations import steps_of

    nearest = setting.config.observations.between_steps == "nearest"
    with agreed(setting.decomposition.comm):
        steps = steps_of(observations.times.tolist(), setting.time_steps, nearest)
    return steps


def _sensors(setting: Setting, observations: Observations) -> Sensors | None:
    if not len(observations.positions):
        return None
    from burgers_adjoint.observing.sensors import Sensors

    with agreed(setting.decomposition.comm):
        sensors = Sensors(
            setting.grid, setting.decomposition, setting.layout, observations.positions
        )
    return sensors


def recorder(setting: Setting) -> Recorder:
    """What observes a run, whose steps are known, as the configuration says. Collective.

    Raises:
        ConfigError: on all ranks: a time or a sensor is outside of the run or the domain.
    """
    from burgers_adjoint.observing.observations import Observations, Recorder

    section, time_steps = setting.config.observations, setting.time_steps
    n_steps = time_steps.n_steps
    assert n_steps is not None
    if section.times:
        times = np.array(section.times)
    else:
        if section.count > n_steps:
            with agreed(setting.decomposition.comm):
                raise ConfigError(
                    f"observations.count = {section.count}: expected at most {n_steps}, the number "
                    "of steps"
                )
        steps = np.round(np.arange(1, section.count + 1) * n_steps / section.count)
        times = np.array([time_steps.time(int(n)) for n in steps])
    empty = Observations(times, section.noise)
    if section.kind == "sensors":
        empty.positions = np.array(section.sensors or _spread(setting))
    return Recorder(
        empty,
        _steps(setting, empty),
        setting.decomposition,
        setting.layout,
        section.seed,
        _sensors(setting, empty),
    )


def _spread(setting: Setting) -> list[tuple[float, float]]:
    """Sensors in the middle of each of (py, px) equal rectangles."""
    n_y, n_x = setting.config.observations.sensor_grid
    (x0, x1), (y0, y1) = setting.grid.x_range, setting.grid.y_range
    return [
        (x0 + (i + 0.5) * (x1 - x0) / n_x, y0 + (j + 0.5) * (y1 - y0) / n_y)
        for j in range(n_y)
        for i in range(n_x)
    ]
