"""All that the two halves share: what a model offers and what a snapshot store offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

State = TypeVar("State")
Cotangent = TypeVar("Cotangent")
Snapshot = TypeVar("Snapshot")
State_contra = TypeVar("State_contra", contravariant=True)
Snapshot_co = TypeVar("Snapshot_co", covariant=True)


class AdjointModel(Protocol[State_contra, Cotangent, Snapshot]):
    """A time stepper with its adjoint; step n leads from the state at n to the state at n + 1."""

    def advance(self, state: State_contra, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1 - 1 in place, as one call: a range can run faster than steps."""
        ...

    def seed(self, state: State_contra) -> Cotangent:
        """Return dJ/d(state) at `state`, the state after the last step.

        It is called once in a gradient, and is the one call that sees the final state: a model
        that wants the objective, or a copy of the final state, takes it here.
        """
        ...

    def adjoint_step(self, cotangent: Cotangent, state: State_contra, n: int) -> None:
        """Take the cotangent from n + 1 to n in place, with `state` at the START of step n."""
        ...

    def new_snapshot(self) -> Snapshot:
        """Return a new buffer for `snapshot` to fill; one with `nbytes` can be accounted for."""
        ...

    def snapshot(self, state: State_contra, out: Snapshot) -> None:
        """Copy into `out` all that `restore` needs to make the same state, bit for bit."""
        ...

    def restore(self, snapshot: Snapshot, state: State_contra) -> None:
        """Make `state` the one that `snapshot` was taken of; the snapshot stays as it is."""
        ...


class OnlineModel(AdjointModel[State_contra, Cotangent, Snapshot], Protocol):
    """A model that finds out on its way after how many steps a run ends."""

    @property
    def n_steps(self) -> int | None:
        """Steps of the run, once they are known: before the last step or right after it."""
        ...

    def explore(self, state: State_contra, n0: int, n1: int) -> int:
        """Take the steps from n0 on, for the first time, in place, and return the step reached.

        That is n1, or an earlier one as soon as `n_steps` is known; never one behind `n_steps`.
        Whatever was decided on the way, such as the length of a step, `advance` repeats.
        """
        ...


class ExchangingModel(AdjointModel[State_contra, Cotangent, Snapshot], Protocol):
    """A model whose snapshots can be states, and that can step from one state to another."""

    def advance_from(self, source: State_contra, state: State_contra, n0: int, n1: int) -> None:
        """Take the steps n0 .. n1-1, at least one, from `source`, which stays, to `state`."""
        ...

    def advance_along(self, states: Sequence[State_contra], n0: int) -> None:
        """Take a step from each state to the next one, the first of them step n0."""
        ...

    def adjoint_steps(self, cotangent: Cotangent, states: Sequence[State_contra], n: int) -> None:
        """Take the cotangent from n + 1 to n + 1 - len(states) in place.

        `states` are those at the STARTS of the steps n, n - 1, ...; the result is the one of as
        many calls of `adjoint_step`, bit for bit.
        """
        ...


class KeepingModel(AdjointModel[State_contra, Cotangent, Snapshot], Protocol):
    """A model whose snapshots keep, beside a state, what the adjoint of its step wants."""

    def keep(self, state: State_contra, n: int) -> None:
        """Prepare a `snapshot` of `state`, which is at the start of step n.

        It is called right before the snapshot, and does work of step n, which an `advance` right
        after it spares.
        """
        ...

    @property
    def kept(self) -> bool:
        """Whether a snapshot has brought all that the adjoint of the next step wants."""
        ...


class SnapshotStore(Protocol[Snapshot_co]):
    """Numbered slots, each of them empty or holding the snapshot of one step.

    A store owns its buffers and never aliases those of its caller: `fill` and `read` get a buffer
    that is valid during the call alone. Where ranks share a run, a call raises on all of them or on
    none.
    """

    def save(self, slot: int, step: int, fill: Callable[[Snapshot_co], None]) -> None:
        """Let `fill` write the snapshot of `step` to `slot`, in place of what the slot holds.

        Raises:
            SnapshotError: there is no such slot.
            StorageError: a snapshot, this one or an earlier one, cannot be written.
        """
        ...

    def load(self, slot: int, step: int, read: Callable[[Snapshot_co], None]) -> None:
        """Let `read` read the snapshot of `step` from `slot`, which keeps it.

        Raises:
            SnapshotError: the slot does not hold `step`, or what it holds is damaged.
        """
        ...

    def fetch(self, slot: int, step: int) -> None:
        """Begin to bring `slot`, which holds `step`, near, as a `load` of it comes soon.

        Where there is nothing to gain by it, it does nothing. Errors are left to the `load`.
        """
        ...

    def free(self, slot: int) -> None:
        """Forget what `slot` holds.

        Raises:
            SnapshotError: the slot is empty, or there is no such slot.
        """
        ...

    def close(self) -> None:
        """Give back all that the store holds; it cannot be used afterwards."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that the store holds in memory for snapshots, in this process."""
        ...


class ExchangingStore(SnapshotStore[State], Protocol):
    """A store whose snapshots are states: it swaps memory with its caller, and copies no bytes.

    Its model has to be an `ExchangingModel`. Of a state that is lent, or was handed over, the
    caller may write what `restore` does not need, such as a halo.

    Attributes:
        exchanges: True, where a store can do this.
    """

    exchanges: bool

    def hand_over(self, slot: int, step: int, state: State) -> State:
        """Keep `state` itself as the snapshot of `step`, and give another state for it.

        The caller may go on reading `state` as if it had been lent.
        """
        ...

    def lend(self, places: Sequence[tuple[int, int]]) -> list[State]:
        """Let the caller read the snapshots in slots of the store themselves.

        They stay as they are until the caller saves, hands over, takes over or frees a snapshot, or
        is lent others.

        Args:
            places: slots and their steps, at least one.

        Returns:
            The snapshots, or the first ones if the store cannot lend as many at once.

        Raises:
            SnapshotError: as for `load`.
        """
        ...

    def fills(self, slot: int) -> bool:
        """Whether `lend_to_fill` can lend the slot."""
        ...

    def lend_to_fill(self, places: Sequence[tuple[int, int]]) -> list[State]:
        """Let the caller make snapshots in the memory of slots, before any other call.

        Args:
            places: slots and the steps that they hold from now on.
        """
        ...

    def take_over(self, slot: int, step: int, state: State) -> State:
        """Give the snapshot of `step` itself, and keep the memory of `state`; free the slot.

        Raises:
            SnapshotError: as for `load`; then the slot is not freed.
        """
        ...
