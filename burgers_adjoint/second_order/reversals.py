"""Reversals of the same states, one after the other, each for what drives its adjoint."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from burgers_adjoint.assembly.case import Case
from burgers_adjoint.assembly.runs import executed
from burgers_adjoint.assembly.stores import Store
from burgers_adjoint.checkpointing.actions import FusedAction, Seed, Turn
from burgers_adjoint.checkpointing.counts import Counts
from burgers_adjoint.checkpointing.executor import Executor
from burgers_adjoint.checkpointing.forward_part import ForwardPart, forward_part, places_of
from burgers_adjoint.checkpointing.schedule import Schedule
from burgers_adjoint.config import time_is_open
from burgers_adjoint.errors import ConfigError, agreed_error
from burgers_adjoint.parallel.agreement import everywhere, largest
from burgers_adjoint.planning.checkpointing import Checkpointing
from burgers_adjoint.snapshots.kept import KeptStore
from burgers_adjoint.stepping.model import Model
from burgers_adjoint.stepping.stepper import Cotangent, Value

Reversed = Executor[np.ndarray, Cotangent, Any]


class StateReversals:
    """Reverses the states of a case for one J after the other. Collective.

    Where `hessian.keep_states` says so, what the forward sweep has saved is kept: as long as the
    case's inputs stay, later reversals begin where the forward sweep has ended.

    Args:
        case: whose states they are.
        checkpointing: makes the schedules and the store.
        other_bytes: of this rank, that are held beside the snapshots.

    Attributes:
        store: of the snapshots, to be closed.

    Raises:
        ConfigError: on all ranks: the memory or the disk is too small for the snapshots, or they
            cannot be kept.
    """

    def __init__(self, case: Case, checkpointing: Checkpointing, other_bytes: int) -> None:
        self._case, self._checkpointing = case, checkpointing
        self._other_bytes = other_bytes
        schedule = checkpointing.schedule()
        self._forward = self._to_keep(schedule)
        self._kept: KeptStore[Any] | None = None
        self._turned = case.model.new_state() if self._forward is not None else None
        self._point: list[Value | None] | None = None
        if self._forward is None:
            self.store: Store = checkpointing.store(schedule)
            return
        places = places_of(schedule, self._forward.saved_again)
        try:
            store = checkpointing.store(places)
        except ConfigError as error:
            if case.config.hessian.keep_states is True:
                raise agreed_error(ConfigError(f"hessian.keep_states = true: {error}")) from None
            raise
        self._kept = self.store = KeptStore(store, places, _copy)

    @property
    def keeps(self) -> bool:
        """Whether snapshots are kept from one reversal to the next."""
        return self._kept is not None

    def _to_keep(self, schedule: Schedule) -> ForwardPart | None:
        """What to keep of a schedule's forward sweep; None for nothing."""
        wanted = self._case.config.hessian.keep_states
        if wanted is False:
            return None
        if schedule.n_steps is None or time_is_open(self._case.config.time):
            if wanted is True:
                raise agreed_error(
                    ConfigError(
                        f"hessian.keep_states = true with the {schedule.name} schedule: expected "
                        "one that knows its steps before the run, and no time.steady or time.cfl"
                    )
                )
            return None
        part = forward_part(schedule)
        if wanted is True or not part.saved_again:
            return part
        return part if self._fits(schedule.slots + len(part.saved_again)) else None

    def _fits(self, n_places: int) -> bool:
        """Whether so many snapshots, and a state, fit the memory that the user gives them."""
        stores = self._checkpointing.stores
        limit = stores.room.limit()
        if limit is None or stores.encoding is not None:
            return False
        if self._checkpointing.store_kind != "memory":
            return False
        beside = largest(self._case.comm, self._other_bytes)
        return (n_places + 1) * stores.largest_memory_bytes + beside <= limit

    def reversed(self, model: Model) -> Reversed:
        """An executor that has reversed the states for a model's J, from the case's inputs.

        Raises:
            NumericalError: on all ranks: a state is not finite.
        """
        case, kept = replace(self._case, model=model), self._kept
        if kept is None:
            return executed(case, self._checkpointing.schedule(), self.store)
        if not self._at_point():
            return self._began(case, kept)
        forward = self._forward
        assert forward is not None
        assert self._turned is not None
        kept.rewind()
        executor: Reversed = Executor(
            model,
            copy.deepcopy(forward.rest),
            kept,
            counts=Counts(forward_steps=forward.position),
            position=forward.position,
            held=forward.held,
        )
        state = model.new_state()
        model.resume(state, model.layout.interior(self._turned), forward.position)
        executor.run(state)
        executor.counts.forward_steps -= forward.position  # nobody has taken these
        return executor

    def _began(self, case: Case, kept: KeptStore[Any]) -> Reversed:
        """A whole reversal, which leaves behind what the next ones begin with."""
        self._point = None
        kept.begin()
        running: list[Reversed] = []

        def observe(action: FusedAction, counts: Counts) -> None:
            if isinstance(action, Turn | Seed):
                assert self._turned is not None
                self._turned[...] = running[0].state
                kept.settle()

        schedule = self._checkpointing.schedule()
        executor = executed(case, schedule, kept, observe, running.append)
        self._point = [copy.deepcopy(one) for one in self._inputs()]
        return executor

    def _inputs(self) -> list[Value | None]:
        """What states depend on."""
        return [self._case.fields, *self._case.model.values.values()]

    def _at_point(self) -> bool:
        """Whether the inputs are those of what is kept, on all ranks."""
        moved = self._point is None or not all(
            one is other or np.array_equal(one, other)  # type: ignore[arg-type]
            for one, other in zip(self._inputs(), self._point, strict=True)
        )
        return everywhere(self._case.comm, not moved)


def _copy(source: np.ndarray, target: np.ndarray) -> None:
    target[...] = source
