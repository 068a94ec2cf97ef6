"""What a model is composed of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.grid import Grid
from burgers_adjoint.stepping.ending import StepLimits
from burgers_adjoint.stepping.stepper import Cotangent, Stepper, Value
from burgers_adjoint.stepping.time_steps import TimeSteps


class Objective(Protocol):
    """J as a sum over states; what it has seen is in bins that its caller holds. Collective."""

    def new_bins(self) -> np.ndarray: ...

    def looks_at(self, n: int, last: bool) -> bool: ...

    def add_value(self, state: np.ndarray, n: int, last: bool, bins: np.ndarray) -> None: ...

    def add_derivative(self, state: np.ndarray, n: int, last: bool, out: np.ndarray) -> None: ...

    def value(self, bins: np.ndarray) -> float: ...

    def close(self) -> None: ...


class PullBack(Protocol):
    """What a gradient is taken to: its part of a cotangent at the start of the run."""

    def pull_back(self, cotangent: Cotangent) -> Value: ...


class Viewer(Protocol):
    """Sees states on the way of a run, and with them the cotangents of a reversal."""

    def wants(self, n: int) -> bool: ...

    def see(self, n: int, state: np.ndarray, cotangent: Cotangent | None) -> None: ...


@dataclass
class Parts:
    """What a model is composed of.

    Attributes:
        grid, decomposition: the points, and who owns which of them.
        time_steps: lengths of the steps, and the end; the stepper's as well.
        stepper: takes the steps.
        limits: of the lengths of steps; None where they do not follow the state.
        objective: J.
        controls: what the gradient is taken to, by name.
        names: of the fields of a state.
        keep_stages: whether snapshots keep the stages of their step.
    """

    grid: Grid
    decomposition: Decomposition
    time_steps: TimeSteps
    stepper: Stepper
    limits: StepLimits | None
    objective: Objective
    controls: Mapping[str, PullBack]
    names: Sequence[str]
    keep_stages: bool = False
