"""The primal alone: from a state to the end of the run, with looks at states on the way."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from burgers_adjoint.stepping.model import Model

STEPS_PER_UPDATE = 256


class Watcher(Protocol):
    """What records states of a run."""

    def looks_at(self, n: int) -> bool: ...

    def record(self, state: np.ndarray, n: int) -> None: ...


def stretches(
    model: Model, state: np.ndarray, bins: np.ndarray, n: int, wanted: Callable[[int], bool]
) -> Iterator[int]:
    """Take all steps that are left of a run, and stop on the way. Collective.

    Args:
        model: takes them.
        state: the working state at step n; at the steps that are given back while they are.
        bins: what the objective has seen of the states before it; changed in place.
        n: steps done.
        wanted: says which steps to stop at.

    Yields:
        The number of steps done: n, all that are wanted, some others, and that of the whole run.

    Raises:
        NumericalError: on all ranks: a state is not finite.
    """
    seen = model.objective
    while True:
        yield n
        if model.n_steps is not None and n >= model.n_steps:
            return
        if seen.looks_at(n, False):
            model.observe(state, n, bins)
        stop, furthest = n + 1, n + STEPS_PER_UPDATE
        if model.n_steps is not None:
            furthest = min(furthest, model.n_steps)
        while stop < furthest and not (seen.looks_at(stop, False) or wanted(stop)):
            stop += 1
        before = n
        if model.n_steps is None:
            n = model.explore(state, n, stop)
        if n == before:
            assert model.n_steps is not None
            stop = min(stop, model.n_steps)
            if stop == n:  # it has just turned out that the run ends here
                return
            model.advance(state, n, stop)
            n = stop


def sweep(
    model: Model,
    state: np.ndarray,
    bins: np.ndarray,
    n: int,
    update: Callable[[int], None] | None = None,
    watcher: Watcher | None = None,
) -> None:
    """Take all steps that are left of a run, with looks of the model's viewer. Collective.

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
    viewer, first = model.viewer, n

    def watched(n: int) -> bool:
        return watcher is not None and watcher.looks_at(n)

    def viewed(n: int) -> bool:
        return viewer is not None and viewer.wants(n)

    for n in stretches(model, state, bins, n, lambda n: watched(n) or viewed(n)):
        if update is not None and n > first:
            update(n)
        if watcher is not None and watched(n):
            watcher.record(state, n)
        if viewer is not None and viewed(n):
            viewer.see(n, state, None)
