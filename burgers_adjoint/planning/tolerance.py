"""Finds the tolerance of a codec with which the gradient is within a wanted error."""

from collections.abc import Callable
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.encoding import Encoding
from burgers_adjoint.assembly.first_steps import Cotangents, FirstSteps
from burgers_adjoint.assembly.lossy_error import LossyError
from burgers_adjoint.assembly.runs import Reversal, reverse
from burgers_adjoint.checkpointing.binomial import Binomial
from burgers_adjoint.checkpointing.counts import Observer
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.parallel.reductions import norm
from burgers_adjoint.protocols import SnapshotStore
from burgers_adjoint.snapshots.block import Block
from burgers_adjoint.snapshots.memory import MemoryStore

PILOT_SHARE, FEWEST = 16, 16  # of the steps, one of so many is in the pilot run, and at least
GROWTH = 0.35  # power with which the error grows with the steps, by experience
LEAST, MOST = 1e-13, 1e-2  # tolerances to begin with
# The estimate of an error is right to a factor of 3. So it is to be well below what is wanted.
AIM, ACCEPTED = 1 / 6, 1 / 2.5
TRIES = 4


def piloted(case: Case, encoding: Encoding, wanted: float, snapshots: int) -> None:
    """Set a tolerance by short runs of the case's beginning, exact and lossy. Collective.

    Args:
        case: whose gradient it is for.
        encoding: of the snapshots.
        wanted: relative error of the gradient.
        snapshots: of the schedule.
    """
    tolerance = encoding.tolerance = min(MOST, max(LEAST, wanted))
    n_steps = case.model.n_steps or PILOT_SHARE * FEWEST
    short = min(n_steps, max(FEWEST, n_steps // PILOT_SHARE))
    slots = max(1, min(snapshots, short - 1))
    states = MemoryStore(case.model.new_state, slots, exchanges=True)
    exact = _swept(case, short, slots, states, replay=False)
    blocks = encoding.before(MemoryStore(Block, slots), 0, None)
    found = _swept(case, short, slots, blocks, replay=True)
    size, comm = norm(case.comm, exact), case.comm
    error = norm(comm, found - exact) / size if size else 0.0
    if error > 0:
        encoding.tolerance = min(
            MOST, AIM * tolerance * wanted / (error * (n_steps / short) ** GROWTH)
        )


def _swept(
    case: Case, n_steps: int, slots: int, store: SnapshotStore[Any], replay: bool
) -> np.ndarray:
    """The cotangent at the start of a run of so many steps that ends with its state's energy."""
    model = case.model

    def seed(state: np.ndarray) -> Cotangents:
        cotangent = model.new_cotangent()
        cotangent.field[...] = state
        return [(n_steps, cotangent)]

    run = FirstSteps(model, seed)
    executor = Executor(run, Binomial(n_steps, slots), store)
    executor.run(model.initial_state(case.fields, replay))
    assert executor.cotangent is not None
    ((_, cotangent),) = executor.cotangent
    return model.layout.interior(cotangent.field).copy()


def reversed_within(
    case: Case,
    encoding: Encoding | None,
    schedule: Schedule,
    new_schedule: Callable[[], Schedule],
    store: SnapshotStore[Any],
    observer: Observer | None = None,
) -> tuple[Reversal, LossyError | None]:
    """A gradient whose estimated error is within the wanted one, if one is wanted. Collective.

    A gradient that is not is computed again, with a smaller tolerance.

    Args:
        case: whose inputs it is for.
        encoding: of the store's snapshots; None where it keeps them as they are.
        schedule: at its start.
        new_schedule: returns another one like it.
        store: of its snapshots.
        observer: is told what is done, and has `follow`, or not.

    Returns:
        The gradient, and what has estimated its error; None where it is exact.
    """
    wanted = case.config.snapshots.gradient_error
    if encoding is None or not store.lossy:
        follow = getattr(observer, "follow", None)
        return reverse(case, schedule, store, observer, follow), None
    watch = LossyError(case, observer)
    for turn in range(TRIES):
        one = new_schedule() if turn else schedule
        found = reverse(case, one, store, watch, watch.follow)
        estimate = watch.estimate() if wanted is not None else None
        if not estimate or wanted is None or estimate <= ACCEPTED * wanted or turn == TRIES - 1:
            break
        assert encoding.tolerance is not None
        encoding.tolerance *= AIM * wanted / estimate
    return found, watch
