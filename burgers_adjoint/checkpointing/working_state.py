"""The state that is stepped, and its ways to a store and back: copies, or states that change hands.

Neither counts or takes the time, and neither knows of schedules: that is the executor's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from burgers_adjoint.checkpointing.actions import AdvanceSaving, ReverseLoading
from burgers_adjoint.errors import ScheduleError
from burgers_adjoint.protocols import AdjointModel, SnapshotStore

State = TypeVar("State")
Cotangent = TypeVar("Cotangent")
Snapshot = TypeVar("Snapshot")


class WorkingState(Generic[State, Cotangent, Snapshot]):
    """A state that is copied to the store and back.

    Attributes:
        state: memory of the working state.
        exchanged: whether it changes hands with those of the store.
    """

    exchanged = False

    def __init__(
        self,
        model: AdjointModel[State, Cotangent, Snapshot],
        store: SnapshotStore[Snapshot],
        state: State,
    ) -> None:
        self.model, self.store, self.state = model, store, state

    @property
    def readable(self) -> State:
        """Where the working state can be read."""
        return self.state

    def settled(self) -> State:
        """The working state in its own memory, to be changed."""
        return self.state

    def advance(self, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1-1."""
        self.model.advance(self.state, n0, n1)

    def save(self, slot: int, step: int) -> None:
        """Keep the working state, at the start of `step`, in a slot."""
        self.store.save(slot, step, self.fill)

    def load(self, slot: int, step: int, last: bool) -> None:
        """Make the working state that of a slot, which is freed if this is the last time.

        Raises:
            SnapshotError: the slot, as it was, cannot be loaded.
        """
        self.store.load(slot, step, self.read)
        if last:
            self.store.free(slot)

    def advance_saving(self, action: AdvanceSaving) -> None:
        """Take single steps and make the states between them in the store's memory."""
        # asked for, as `reverse_loading` is, only of a state that is `exchanged`
        raise NotImplementedError("this store cannot lend memory to be filled")

    def reverse_loading(self, action: ReverseLoading, cotangent: Cotangent) -> int:
        """Reverse steps whose states are in the store, and free their slots.

        Returns:
            How many of the slots; fewer than asked for if the store cannot lend as many at once.

        Raises:
            SnapshotError: one of them cannot be loaded; then nothing is done.
        """
        raise NotImplementedError("this store cannot lend states")

    def fill(self, snapshot: Snapshot) -> None:
        """Copy the working state."""
        self.model.snapshot(self.state, snapshot)

    def read(self, snapshot: Snapshot) -> None:
        """Copy to the working state."""
        self.model.restore(snapshot, self.state)


class ExchangedState(WorkingState[State, Cotangent, State]):
    """A state that changes hands with those of a store that exchanges.

    A state that the store has lent, or was handed over, is where the next step starts from; it is
    copied to the working state's own memory only where it has to be changed.
    """

    exchanged = True
    _source: State | None = None  # where the working state is, if not in its own memory

    @property
    def readable(self) -> State:
        return self.state if self._source is None else self._source

    def settled(self) -> State:
        if self._source is not None:
            self.model.restore(self._source, self.state)
            self._source = None
        return self.state

    def advance(self, n0: int, n1: int) -> None:
        source = self._source
        if source is None:
            self.model.advance(self.state, n0, n1)
        else:
            self.model.advance_from(source, self.state, n0, n1)
            self._source = None

    def save(self, slot: int, step: int) -> None:
        # an advance is next, as a rule: it reads the snapshot and writes elsewhere
        source = self.settled()
        self.state = self.store.hand_over(slot, step, source)
        self._source = source

    def load(self, slot: int, step: int, last: bool) -> None:
        self._source = None
        if last:
            # the slot gets the working state's memory in return
            self.state = self.store.take_over(slot, step, self.state)
        else:
            (self._source,) = self.store.lend(((slot, step),))

    def advance_saving(self, action: AdvanceSaving) -> None:
        step, slots = action.first_saved, action.slots
        if step > action.step0 and self._source is None:
            self.model.advance(self.state, action.step0, step)
        if self._source is None or step == action.step0:
            self.save(slots[0], step)
            start, slots = step, slots[1:]
            step += 1
        else:
            start = action.step0
        assert self._source is not None
        lent: Sequence[State] = ()
        if slots:
            lent = self.store.lend_to_fill([*zip(slots, range(step, action.step1), strict=True)])
        self.model.advance_along([self._source, *lent, self.state], start)
        self._source = None

    def reverse_loading(self, action: ReverseLoading, cotangent: Cotangent) -> int:
        state, step, slots = self.settled(), action.step, action.slots
        lent = self.store.lend([*zip(slots, range(step - 1, -1, -1), strict=False)])
        self.model.adjoint_steps(cotangent, [state, *lent], step)
        loads, free = len(lent), self.store.free
        for slot in slots[: loads - 1]:
            free(slot)
        self.state = self.store.take_over(slots[loads - 1], step - loads, state)
        return loads


def working_state(
    model: AdjointModel[Any, Any, Any], store: SnapshotStore[Any], state: Any
) -> WorkingState[Any, Any, Any]:
    """The working state of a run with this store.

    Raises:
        ScheduleError: the store exchanges states, the model does not.
    """
    if not store.exchanges:
        return WorkingState(model, store, state)
    if not model.exchanges:
        raise ScheduleError(
            "a store that exchanges states needs a model that steps from one to another: "
            f"{type(model).__name__} does not (protocols.AdjointModel.exchanges)"
        )
    return ExchangedState(model, store, state)
