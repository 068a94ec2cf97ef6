"""Computes a snapshot anew that is damaged or missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burgers_adjoint.checkpointing.actions import Load
from burgers_adjoint.checkpointing.working_state import WorkingState
from burgers_adjoint.errors import SnapshotError


def recompute(
    working: WorkingState[Any, Any, Any],
    action: Load,
    held: Mapping[int, int],
    error: SnapshotError,
) -> int:
    """Make the working state the one that could not be loaded, from the nearest earlier snapshot.

    The snapshot is saved again unless this was its last use.

    Args:
        working: the state to compute in.
        action: what failed.
        held: slot to the step whose start it should hold.
        error: why.

    Returns:
        The step that it was computed from.

    Raises:
        SnapshotError: there is no earlier one; or the schedule, not the store, is wrong.
    """
    if held.get(action.slot) != action.step:
        raise error
    model, store, state = working.model, working.store, working.state
    for slot, step in sorted(held.items(), key=lambda item: -item[1]):
        if step < action.step:
            try:
                store.load(slot, step, working.read)
            except SnapshotError:
                continue
            break
    else:
        final = SnapshotError(f"{error}; no earlier snapshot is left to compute it from")
        final.agreed = error.agreed
        raise final from error
    model.advance(state, step, action.step)
    if action.free:
        store.free(action.slot)
    else:
        if model.keeps:
            model.keep(state, action.step)
        store.save(action.slot, action.step, working.fill)
    return step
