"""The primal alone: from a state to the end of the run, with looks at states on the way."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from burgers_adjoint.stepping.model import Model

STEPS_PER_UPDATE = 256


class Watcher(Protocol):
    """What records states of a run."""

    def looks_at(self, n: int) -> bool: ...

    def record(self, state: np.ndarray, n: int) -> None: ...


def sweep(
    model: Model,
    state: np.ndarray,
    bins: np.ndarray,
    n: int,
    update: Callable[[int], None] | None = None,
    watcher: Watcher | None = None,
) -> None:
    """Take all steps that are left of a run. Collective.

    Args:
        model: takes them.
        state: the working state at step n; at the end of the run afterwards.
        bins: what the objective has seen of the states before it; changed in place.
        n: steps done.
        update: called now and then with the number of steps done.
        watcher: records the states that it looks at, in a run whose steps are known.

    Raises:
        NumericalError: on all ranks: a state is not finite.
    """
    seen = model.objective
    while model.n_steps is None or n < model.n_steps:
        if seen.looks_at(n, False):
            model.observe(state, n, bins)
        if watcher is not None and watcher.looks_at(n):
            watcher.record(state, n)
        stop, furthest = n + 1, n + STEPS_PER_UPDATE
        if model.n_steps is not None:
            furthest = min(furthest, model.n_steps)
        while stop < furthest and not (
            seen.looks_at(stop, False) or (watcher and watcher.looks_at(stop))
        ):
            stop += 1
        before = n
        if model.n_steps is None:
            n = model.explore(state, n, stop)
        if n == before:
            assert model.n_steps is not None
            stop = min(stop, model.n_steps)
            model.advance(state, n, stop)
            n = stop
        if update is not None:
            update(n)
    if watcher is not None and watcher.looks_at(n):
        watcher.record(state, n)
