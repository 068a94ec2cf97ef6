"""Runs of a case: the primal, and the reversal that gives the gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from burgers_adjoint.assembly import objective as observing
from burgers_adjoint.assembly.case import Case
from burgers_adjoint.checkpointing.counts import Counts, Observer
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.config import time_is_open
from burgers_adjoint.observing.observations import Recorder
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.stepping import primal
from burgers_adjoint.stepping.stepper import Cotangent, Value

Gradient = dict[str, Value]


@dataclass
class Reversal:
    """One gradient and what it took.

    Attributes:
        objective: J.
        final: final state, (2, ny, nx) of the tile; on a device where the steps are taken on one.
        gradient: Euclidean, per control, as `Model.gradient` returns it.
        counts: what the executor did.
        damages: what was wrong with each snapshot that was computed anew.
    """

    objective: float
    final: np.ndarray
    gradient: Gradient
    counts: Counts
    damages: list[str]


def reverse(
    case: Case,
    schedule: Schedule,
    store: SnapshotStore[Any],
    observer: Observer | None = None,
    follow: Callable[[Executor[np.ndarray, Cotangent, Any]], None] | None = None,
) -> Reversal:
    """Compute J and its gradient at the case's inputs. Collective.

    Args:
        case: whose inputs they are.
        schedule: at its start.
        store: of its snapshots.
        observer: is told what is done.
        follow: is shown the executor before it begins.

    Raises:
        NumericalError: on all ranks: a state or the gradient is not finite.
    """
    return outcome(case, executed(case, schedule, store, observer, follow))


def executed(
    case: Case,
    schedule: Schedule,
    store: SnapshotStore[Any],
    observer: Observer | None = None,
    follow: Callable[[Executor[np.ndarray, Cotangent, Any]], None] | None = None,
) -> Executor[np.ndarray, Cotangent, Any]:
    """An executor that has reversed a run of the case's model; see `reverse`. Collective."""
    executor: Executor[np.ndarray, Cotangent, Any]
    executor = Executor(case.model, schedule, store, observer)
    if follow is not None:
        follow(executor)
    # The end of an open run is known to a schedule only from the run before.
    replay = schedule.n_steps is not None and time_is_open(case.config.time)
    executor.run(case.model.initial_state(case.fields, replay))
    return executor


def outcome(case: Case, executor: Executor[np.ndarray, Cotangent, Any]) -> Reversal:
    """What an executor of the case's model that has done all of its actions ends with."""
    model = case.model
    assert executor.cotangent is not None
    gradient = model.gradient(executor.cotangent)
    objective = case.prior.added_to(model.value, case.fields, gradient)
    return Reversal(objective, model.final_copy, gradient, executor.counts, executor.damages)


def sweep(
    case: Case,
    update: Callable[[int], None] | None = None,
    recorder: Recorder | None = None,
    start: tuple[np.ndarray, np.ndarray, int] | None = None,
) -> float:
    """Run the primal alone from the case's initial fields; returns J. Collective.

    Args:
        case: whose inputs it has.
        update: called now and then with the number of steps done.
        recorder: observes the states that it asks for, in a run whose steps are known.
        start: where to go on: a working state, what the objective has seen of those before
            it, both changed in place, and the number of steps done.

    Raises:
        NumericalError: on all ranks: a state or J is not finite.
    """
    model = case.model
    if start is None:
        replay = recorder is not None
        start = model.initial_state(case.fields, replay), model.objective.new_bins(), 0
    state, bins, n = start
    primal.sweep(model, state, bins, n, update, recorder)
    return case.prior.added_to(model.evaluate(state, bins), case.fields)


def evaluate(case: Case) -> float:
    """J at the case's inputs, without a gradient. Collective.

    Steps that follow the state are those of the run before: the gradient is for these.

    Raises:
        NumericalError: on all ranks: a state or J is not finite.
    """
    model = case.model
    state = model.initial_state(case.fields, replay=True)
    return sweep(case, start=(state, model.objective.new_bins(), 0))


def new_recorder(case: Case) -> Recorder:
    """What observes a run of the case as its configuration says. Collective.

    Where steps are chosen on the way a run comes first, whose steps the observed one takes.

    Raises:
        ConfigError: on all ranks: a time or a sensor is outside of the run or the domain.
    """
    steps = case.model.time_steps
    if steps.adaptive or steps.n_steps is None:
        sweep(case)
    return observing.recorder(case.setting)
